"""The simulated venue: orders in, numbered execution reports out, driven by the market stream.

Time is that of the ticks. An order is active one entry latency after it was submitted, and meets the market as it
stood then: before a tick is applied, the orders of its instrument that became active by its `timestamp_ns` are
matched. What is filled therefore does not depend on when the service empties its socket. `advance` serves the
instruments whose market is quiet.

Each instrument goes by its own ticks: batches of two instruments overlap in time.
"""

from collections.abc import Iterable

from common.clock import NS_PER_US
from common.errors import ConfigError
from common.events.market import Tick, Ticks, Trade
from common.events.trading import OrderStatus
from common.events.venue import AnswerOutcome, ExecutionReported, OrderAnswered, ReplaceOrder, SubmitOrder
from common.instruments import InstrumentTable
from common.money import ZERO
from exchange.answers import make_answer
from exchange.records import RecordedOrder, keeps_place
from exchange.refusals import GatewayReason, Refusal
from exchange.simulated import admission
from exchange.simulated.config import SimulatedVenueConfig
from exchange.simulated.faults import FaultName, FaultPlan
from exchange.simulated.fees import FeeSchedule
from exchange.simulated.matching import Matcher
from exchange.simulated.orders import VenueOrder, arrival, open_order, restored_order, venue_order_id
from exchange.simulated.reasons import Reason
from exchange.simulated.reports import ReportWriter

_NEVER_NS = 1 << 63


class SimulatedVenue:
    """Every instrument of the table, whatever exchange it belongs to."""

    def __init__(
        self, config: SimulatedVenueConfig, instruments: InstrumentTable, faults: FaultPlan | None = None
    ) -> None:
        self._faults = faults
        self._open_orders_max = config.open_orders_max
        self._entry_latency_ns = config.order_entry_latency_us * NS_PER_US
        self._reports = ReportWriter(FeeSchedule(config.maker_fee_rate, config.taker_fee_rate), faults)
        self._matchers = {(entry.exchange, entry.symbol): Matcher(entry, self._reports) for entry in instruments}
        self._orders: dict[str, VenueOrder] = {}
        self._last_order_number = 0
        self._next_active_ns = _NEVER_NS  # no order becomes active before it; a tick may have activated it already

    def restore(self, orders: Iterable[RecordedOrder], last_order_number: int, last_execution_number: int) -> None:
        """Take over the open orders and the numbers of an earlier life.

        What was on its way arrives at its time again, and so do the resting ones, in their old order. What our
        orders had taken of the shown sizes is forgotten with the market itself: until the first tick nothing is shown,
        so an order that cannot rest expires.

        Raises:
            ConfigError: An open order's instrument is not in the table any more.
        """
        self._last_order_number = last_order_number
        self._reports.last_number = last_execution_number
        for recorded in orders:
            matcher = self._matchers.get((recorded.terms.exchange, recorded.terms.symbol))
            if matcher is None:
                raise ConfigError(_missing_instrument(recorded))
            entered_ns = recorded.answered_ns if recorded.priority_ns is None else recorded.priority_ns
            active_ns = entered_ns + self._entry_latency_ns
            self._enter(restored_order(recorded, matcher.instrument, active_ns), matcher)

    @property
    def is_idle(self) -> bool:
        """Tell whether no order is here and nothing shown is taken: of each instrument only the newest tick counts."""
        return not self._orders and all(matcher.is_idle for matcher in self._matchers.values())

    def open_orders(self) -> list[VenueOrder]:
        """The working orders, in order of arrival."""
        return [order for order in self._orders.values() if order.is_working]

    def decide(self, request: SubmitOrder, now_ns: int) -> OrderAnswered:
        """Say whether an order will be taken, and under which id; nothing is done yet."""
        refusal = self._find_refusal(request)
        if refusal is not None:
            return make_answer(
                request,
                now_ns,
                AnswerOutcome.REJECTED,
                status=OrderStatus.REJECTED,
                reason=refusal.reason,
                detail=refusal.detail,
            )
        return make_answer(
            request,
            now_ns,
            AnswerOutcome.ACCEPTED,
            status=OrderStatus.ACCEPTED,
            venue_order_id=venue_order_id(self._last_order_number + 1),
            filled_quantity=ZERO,
        )

    def enter(self, request: SubmitOrder, answer: OrderAnswered, now_ns: int) -> None:
        """Take an order as it was decided. The caller vouches that this client_order_id is new.

        A market order of any time in force but fok is treated as ioc: what is shown is filled, the rest expires.
        Every submission has a number, the refused ones too, so that numbers here and in the ledger are the same.
        """
        self._last_order_number += 1
        if answer.outcome is AnswerOutcome.ACCEPTED:
            matcher = self._matchers[request.exchange, request.symbol]
            active_ns = now_ns + self._entry_latency_ns
            self._enter(open_order(request, matcher.instrument, self._last_order_number, active_ns), matcher)

    def find_replace_refusal(self, request: ReplaceOrder) -> Refusal | None:
        """The first rule of the instrument that the new terms break."""
        return admission.find_replace_refusal(request, self._matchers[request.exchange, request.symbol].instrument)

    def replace(self, request: ReplaceOrder, now_ns: int) -> None:
        """Give a working order other terms, at once; the report comes with the next call for reports.

        One that only shrinks stays where it is. Any other takes its way to the market again, like a new order, and
        lines up behind what is there then; until it arrives nothing fills it.
        """
        order = self._orders[request.client_order_id]
        matcher = self._matcher_of(order)
        is_shrinking = keeps_place(order, request.quantity, request.limit_price)
        if not is_shrinking:
            matcher.withdraw(order)
        order.quantity, order.limit_price = request.quantity, request.limit_price
        self._reports.write_replaced(order, request.replace_id, now_ns)
        if not is_shrinking:
            order.active_ns = now_ns + self._entry_latency_ns
            self._enter(order, matcher)

    def cancel(self, client_order_id: str, now_ns: int, reason: str = GatewayReason.CANCEL_REQUESTED) -> bool:
        """Take back what is left of a working order, at once; the report comes with the next call for reports.

        Returns:
            Whether it was still working; one that is filled by now is not.
        """
        self._activate_due(now_ns)
        order = self._orders.get(client_order_id)
        if order is None or not order.is_working:
            return False
        self._matcher_of(order).cancel(order, reason, now_ns)
        return True

    def on_tick(self, tick: Tick) -> list[ExecutionReported]:
        """Apply a tick; one of an instrument that is not in the table changes nothing."""
        matcher = self._matchers.get((tick.exchange, tick.symbol))
        if matcher is None:
            return []
        matcher.on_quote(tick.timestamp_ns, tick.bid, tick.ask, tick.bid_size, tick.ask_size)
        return self._take_reports()

    def on_ticks(self, ticks: Ticks) -> list[ExecutionReported]:
        """Apply a batch, with the same result as its ticks one by one.

        Raises:
            ValueError: The batch is malformed; nothing of it was applied.
        """
        matcher = self._matchers.get((ticks.exchange, ticks.symbol))
        if matcher is None:
            return []
        if matcher.is_idle:
            # The usual case, ten thousand times a second: 1 µs for the newest quote instead of 8 for all of them.
            bid, ask, bid_size, ask_size, _, _ = ticks.newest()
            matcher.on_quote(ticks.timestamp_ns, bid, ask, bid_size, ask_size)
        else:
            matcher.on_records(ticks.records())
        return self._take_reports()

    def on_trade(self, trade: Trade) -> list[ExecutionReported]:
        """Apply a public trade."""
        matcher = self._matchers.get((trade.exchange, trade.symbol))
        if matcher is None:
            return []
        matcher.on_trade(trade)
        return self._take_reports()

    def advance(self, now_ns: int) -> list[ExecutionReported]:
        """Activate what is due by now.

        Call it when no market message is waiting: a tick that is older than `now_ns` but comes later finds the orders
        already matched.
        """
        self._activate_due(now_ns)
        return self._take_reports()

    def next_due_ns(self) -> int | None:
        """When the next order becomes active, or earlier; None when none is on its way."""
        return self._next_active_ns if self._next_active_ns < _NEVER_NS else None

    def _activate_due(self, now_ns: int) -> None:
        if now_ns < self._next_active_ns:
            return
        due = [order for matcher in self._matchers.values() for order in matcher.take_due(now_ns)]
        for order in sorted(due, key=arrival):
            self._matcher_of(order).activate(order)
        waiting = [matcher.next_active_ns() for matcher in self._matchers.values()]
        self._next_active_ns = min((active_ns for active_ns in waiting if active_ns is not None), default=_NEVER_NS)

    def _take_reports(self) -> list[ExecutionReported]:
        reports = self._reports.take()
        for report in reports:
            if report.leaves_quantity == ZERO:
                self._orders.pop(report.client_order_id, None)
        return reports

    def _find_refusal(self, request: SubmitOrder) -> Refusal | None:
        matcher = self._matchers.get((request.exchange, request.symbol))
        if matcher is None:
            return Refusal(Reason.INSTRUMENT_UNKNOWN, f"{request.exchange}.{request.symbol} is not traded here")
        if len(self._orders) >= self._open_orders_max:
            return Refusal(Reason.TOO_MANY_ORDERS, f"at most {self._open_orders_max} orders may be open")
        if self._faults is not None and self._faults.occurs(FaultName.REJECT):
            return Refusal(Reason.FAULT_INJECTED, "the fault plan has the venue refuse it")
        return admission.find_refusal(request, matcher.instrument, matcher.touch_price(request.side))

    def _enter(self, order: VenueOrder, matcher: Matcher) -> None:
        self._orders[order.client_order_id] = order
        matcher.enter(order)
        self._next_active_ns = min(self._next_active_ns, order.active_ns)

    def _matcher_of(self, order: VenueOrder) -> Matcher:
        return self._matchers[order.instrument.exchange, order.instrument.symbol]


def _missing_instrument(recorded: RecordedOrder) -> str:
    name = f"{recorded.terms.exchange}.{recorded.terms.symbol}"
    return (
        f"ledger: order {recorded.client_order_id} is open on {name}, which is not in the instrument table; "
        f"put it back, let the order end, then remove it"
    )
