"""The order desk: one order for one client_order_id, whatever is repeated, lost or killed.

A new order goes this way: the venue decides, the ledger keeps it, the venue takes it, then it is told to anyone. If
the process dies in between, nobody has heard of the decision: it either is in the ledger, from which the next life
rebuilds the venue, or it was never made, and its number is given again to whatever comes next.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

from common.errors import FatalError
from common.events.base import DRAFT
from common.events.market import Tick, Ticks, Trade
from common.events.trading import OrderStatus
from common.events.venue import (
    EXECUTIONS_PER_ANSWER_MAX,
    OPEN_ORDERS_PER_ANSWER_MAX,
    AccountReported,
    AnswerOutcome,
    CancelAllOrders,
    CancelOrder,
    ExecutionReported,
    ExecutionsResent,
    ExecutionType,
    OrderAnswered,
    OrdersCancelled,
    QueryAccount,
    QueryOrder,
    ReplaceOrder,
    RequestRefused,
    ResendExecutions,
    SubmitOrder,
    VenueOrder,
    terms_of,
)
from common.money import EXACT, ZERO
from exchange.account import Account
from exchange.answers import OrderRequest, make_answer
from exchange.ports import OrderLedger, Venue
from exchange.records import RecordedOrder, make_replacement, terms_key
from exchange.refusals import GatewayReason, Refusal
from exchange.replacing import expiry_refusal, halt_refusal, replace_refusal
from exchange.sources import EPOCH_MAX, Sources

Request = OrderRequest | CancelAllOrders | QueryAccount | ResendExecutions
Reply = OrderAnswered | OrdersCancelled | AccountReported | ExecutionsResent | RequestRefused
_REBUILD_PAGE = 10_000


class Alarm(NamedTuple):
    """Something that a person must hear of."""

    event: str
    detail: str


def _ignore(_alarm: Alarm) -> None:
    pass


class OrderDesk:
    """Answers requests and passes the market on, with every order and execution in the ledger first.

    After a FatalError venue and ledger may differ: the process must end, and its next life starts from the ledger.
    """

    def __init__(
        self,
        venue: Venue,
        ledger: OrderLedger,
        *,
        balances: Mapping[str, Decimal] | None = None,
        silence_ns_max: int = 0,
        on_silence: Literal["cancel", "leave"] = "cancel",
        on_alarm: Callable[[Alarm], None] = _ignore,
    ) -> None:
        """Open the desk: the venue takes over what the ledger holds.

        Args:
            venue: Where orders trade.
            ledger: What was really ordered.
            balances: What the account held at the beginning; None where the venue keeps no account.
            silence_ns_max: After so long without a request the orders of a source are left alone no more; 0: never.
            on_silence: What becomes of them then.
            on_alarm: Hears what a person must know.

        Raises:
            ConfigError: The venue cannot take an open order over.
        """
        venue.restore(ledger.open_orders(), ledger.last_order_number(), ledger.last_execution_number())
        self._venue = venue
        self._ledger = ledger
        self._balances = balances or {}
        self._on_silence = on_silence
        self._on_alarm = on_alarm
        self._sources = Sources(ledger, silence_ns_max)
        self._unreported: list[ExecutionReported] = []
        self._silences = 0
        self._account = Account(lambda number: ledger.executions_from(number, 1)[0])
        self._rebuild_account()
        if self._sources.halt is not None:
            on_alarm(Alarm("exchange_halted", halt_refusal(self._sources.halt).detail))

    def handle(self, request: Request, now_ns: int) -> Reply:  # noqa: PLR0911  # one for each kind of request
        """Answer one request. Executions that it caused come out of the next `market` or `advance`."""
        if not self._sources.admit(request.source, request.epoch):
            return _fenced(request, now_ns)
        match request:
            case SubmitOrder():
                return self._submit(request, now_ns)
            case ReplaceOrder():
                return self._replace(request, now_ns)
            case CancelOrder():
                return self._cancel(request, now_ns)
            case QueryOrder():
                return self._query(request, now_ns)
            case CancelAllOrders():
                return self._cancel_all(request, now_ns)
            case QueryAccount():
                return self._report_account(request, now_ns)
            case ResendExecutions():
                return self._resend(request, now_ns)

    def market(self, message: Tick | Ticks | Trade) -> list[ExecutionReported]:
        """Pass a market message on.

        Returns:
            New execution reports, already durable, to be published in this order.

        Raises:
            ValueError: A batch is malformed; nothing of it was applied.
        """
        match message:
            case Tick():
                executions = self._venue.on_tick(message)
            case Ticks():
                executions = self._venue.on_ticks(message)
            case Trade():
                executions = self._venue.on_trade(message)
        return self._recorded(executions)

    def advance(self, now_ns: int) -> list[ExecutionReported]:
        """Let time pass when no market message is waiting; returns what `market` returns."""
        return self._recorded(self._venue.advance(now_ns))

    def check_silence(self, now_ns: int, monotonic_ns: int) -> list[ExecutionReported]:
        """The dead-man's switch; call it some times a second. Returns what `market` returns."""
        for source in self._sources.take_silent(monotonic_ns):
            orders = [order for order in self._ledger.open_orders() if order.source == source]
            if not orders:
                continue
            self._silences += 1
            if self._on_silence == "cancel":
                self._cancel_at_venue(orders, GatewayReason.EXECUTOR_SILENT, now_ns)
            detail = f"{source}: {len(orders)} working orders, which it was asked to {self._on_silence}"
            self._on_alarm(Alarm("executor_silent", detail))
        return self._recorded([])

    def next_due_ns(self) -> int | None:
        """When `advance` may next have something to do; 0 for at once, None when it waits for nothing."""
        return 0 if self._unreported else self._venue.next_due_ns()

    def counters(self) -> dict[str, int]:
        """What a person should see: whether new orders are refused, and how often an executor went silent."""
        return {"is_halted": int(self._sources.halt is not None), "executors_silent": self._silences}

    def _submit(self, request: SubmitOrder, now_ns: int) -> OrderAnswered:
        # The count is compared first, because it is a comparison in memory; only a repeat may be behind it.
        if self._sources.exceeds(request) and self._ledger.find(request.client_order_id) is None:
            self._halt(request, now_ns)
        answer = self._decide(request, now_ns)
        if not self._ledger.record_submission(request, answer, now_ns):
            return self._repeat(request, now_ns)
        self._sources.count(request.source)
        self._venue.enter(request, answer, now_ns)
        return answer

    def _decide(self, request: SubmitOrder, now_ns: int) -> OrderAnswered:
        halt = self._sources.halt
        refusal = expiry_refusal(request, now_ns) if halt is None else halt_refusal(halt)
        if refusal is None:
            return self._venue.decide(request, now_ns)
        return make_answer(
            request,
            now_ns,
            AnswerOutcome.REJECTED,
            status=OrderStatus.REJECTED,
            reason=refusal.reason,
            detail=refusal.detail,
        )

    def _repeat(self, request: SubmitOrder, now_ns: int) -> OrderAnswered:
        self._ledger.record_repeat(request.client_order_id)
        recorded = self._known(request.client_order_id)
        if terms_key(recorded.terms) != terms_key(terms_of(request)):
            return _conflict(request, now_ns)
        return _answer_from(recorded, request, AnswerOutcome.EXISTS, now_ns)

    def _halt(self, request: SubmitOrder, now_ns: int) -> None:
        if self._sources.halt is None:
            self._sources.stop(request, now_ns)
            self._cancel_at_venue(self._ledger.open_orders(), GatewayReason.COUNT_MISMATCH, now_ns)
        if self._sources.halt is not None:
            self._on_alarm(Alarm("exchange_halted", halt_refusal(self._sources.halt).detail))

    def _query(self, request: QueryOrder, now_ns: int) -> OrderAnswered:
        # Asked of the ledger, not of the venue: it alone remembers what is finished, and knows nothing that could
        # still be lost.
        recorded = self._ledger.find(request.client_order_id)
        if recorded is None:
            return make_answer(request, now_ns, AnswerOutcome.NOT_FOUND)
        if not _is_same_instrument(recorded, request):
            return _conflict(request, now_ns)
        return _answer_from(recorded, request, AnswerOutcome.ACCEPTED, now_ns)

    def _cancel(self, request: CancelOrder, now_ns: int) -> OrderAnswered:
        recorded = self._ledger.find(request.client_order_id)
        if recorded is None:
            return make_answer(request, now_ns, AnswerOutcome.NOT_FOUND)
        if not _is_same_instrument(recorded, request):
            return _conflict(request, now_ns)
        if recorded.is_open:
            self._cancel_at_venue([recorded], GatewayReason.CANCEL_REQUESTED, now_ns)
            recorded = self._known(request.client_order_id)
        # A repeat finds the order cancelled, which is what was asked for.
        is_done = recorded.status is OrderStatus.CANCELLED
        return _answer_from(recorded, request, AnswerOutcome.ACCEPTED if is_done else AnswerOutcome.REJECTED, now_ns)

    def _replace(self, request: ReplaceOrder, now_ns: int) -> OrderAnswered:
        recorded = self._ledger.find(request.client_order_id)
        replacement = self._ledger.find_replacement(request.replace_id)
        if replacement is not None and not replacement.is_of(request):
            return _conflict(request, now_ns)
        if recorded is None:
            return make_answer(request, now_ns, AnswerOutcome.NOT_FOUND)
        if not _is_same_instrument(recorded, request):
            return _conflict(request, now_ns)
        if replacement is not None:
            return _answer_from(recorded, request, replacement.outcome, now_ns, replacement.reason)
        return self._replace_anew(request, now_ns)

    def _replace_anew(self, request: ReplaceOrder, now_ns: int) -> OrderAnswered:
        # What has been filled by now comes first: it may be more than the new quantity.
        self._settle(now_ns)
        recorded = self._known(request.client_order_id)
        refusal = replace_refusal(request, recorded, self._sources.halt, now_ns)
        refusal = refusal or self._venue.find_replace_refusal(request)
        if refusal is not None:
            outcome = AnswerOutcome.REJECTED
            self._ledger.record_replacement(make_replacement(request, outcome, refusal.reason, now_ns))
            return _answer_from(recorded, request, outcome, now_ns, refusal.reason, refusal.detail)
        self._venue.replace(request, now_ns)
        executions = self._venue.advance(now_ns)
        replacement = make_replacement(request, AnswerOutcome.ACCEPTED, None, now_ns)
        self._ledger.record_executions(executions, replacement)
        self._unreported += self._accounted(executions)
        return _answer_from(self._known(request.client_order_id), request, AnswerOutcome.ACCEPTED, now_ns)

    def _cancel_all(self, request: CancelAllOrders, now_ns: int) -> OrdersCancelled | RequestRefused:
        instrument = (request.exchange, request.symbol)
        if (request.exchange is None) is not (request.symbol is None):
            detail = f"exchange and symbol: expected both or neither, were {instrument}"
            return _refused(request, Refusal(GatewayReason.INSTRUMENT_INCOMPLETE, detail), now_ns)
        orders = [
            order
            for order in self._ledger.open_orders()
            if request.symbol is None or (order.terms.exchange, order.terms.symbol) == instrument
        ]
        count = self._cancel_at_venue(orders, GatewayReason.CANCEL_REQUESTED, now_ns)
        return OrdersCancelled(**DRAFT, timestamp_ns=now_ns, request_id=request.request_id, count=count)

    def _cancel_at_venue(self, orders: Sequence[RecordedOrder], reason: str, now_ns: int) -> int:
        for order in orders:
            self._venue.cancel(order.client_order_id, now_ns, reason)
        # An order may have been filled in the same moment. What the ledger then says is true in either case.
        executions = self._settle(now_ns)
        ended = {execution.client_order_id for execution in executions if execution.leaves_quantity == ZERO}
        working = [order.client_order_id for order in orders if order.client_order_id not in ended]
        if working:
            raise FatalError(
                f"order {working[0]}: expected the venue to have ended it, the ledger says it is open; "
                f"restart to rebuild the venue from the ledger"
            )
        return sum(execution.execution_type is ExecutionType.CANCELLED for execution in executions)

    def _report_account(self, request: QueryAccount, now_ns: int) -> AccountReported:
        after_number = min(request.after_arrival_number, EPOCH_MAX)
        orders = self._ledger.open_orders(after_number, OPEN_ORDERS_PER_ANSWER_MAX + 1)
        cash = self._account.cash()
        return AccountReported(
            **DRAFT,
            timestamp_ns=now_ns,
            request_id=request.request_id,
            last_number=self._ledger.last_execution_number(),
            order_count=self._sources.order_count(request.source),
            open_orders=[_venue_order(order) for order in orders[:OPEN_ORDERS_PER_ANSWER_MAX]],
            is_complete=len(orders) <= OPEN_ORDERS_PER_ANSWER_MAX,
            positions=self._account.positions(),
            cash=cash,
            balances={name: EXACT.add(amount, cash.get(name, ZERO)) for name, amount in self._balances.items()},
        )

    def _resend(self, request: ResendExecutions, now_ns: int) -> ExecutionsResent:
        last_number = self._ledger.last_execution_number()
        # Compared here, since a number from the wire may be larger than what SQLite can compare.
        is_due = request.from_number <= last_number
        return ExecutionsResent(
            **DRAFT,
            timestamp_ns=now_ns,
            request_id=request.request_id,
            last_number=last_number,
            executions=(self._ledger.executions_from(request.from_number, EXECUTIONS_PER_ANSWER_MAX) if is_due else []),
        )

    def _known(self, client_order_id: str) -> RecordedOrder:
        recorded = self._ledger.find(client_order_id)
        if recorded is None:
            raise FatalError(f"order {client_order_id}: the ledger has forgotten it; restore the file from a backup")
        return recorded

    def _settle(self, now_ns: int) -> list[ExecutionReported]:
        """Record what the venue has to tell by now, to be published with what comes next."""
        executions = self._venue.advance(now_ns)
        if executions:
            self._ledger.record_executions(executions)
        self._unreported += self._accounted(executions)
        return executions

    def _recorded(self, executions: list[ExecutionReported]) -> list[ExecutionReported]:
        if executions:
            self._ledger.record_executions(executions)
            self._accounted(executions)
        if self._unreported:
            executions = self._unreported + executions
            self._unreported = []
        return executions

    def _accounted(self, executions: list[ExecutionReported]) -> list[ExecutionReported]:
        for execution in executions:
            self._account.apply(execution)
        return executions

    def _rebuild_account(self) -> None:
        number = 1
        while page := self._ledger.executions_from(number, _REBUILD_PAGE):
            self._accounted(page)
            number += len(page)


def _is_same_instrument(recorded: RecordedOrder, request: OrderRequest) -> bool:
    return (recorded.terms.exchange, recorded.terms.symbol) == (request.exchange, request.symbol)


def _fenced(request: Request, now_ns: int) -> OrderAnswered | RequestRefused:
    detail = f"{request.source} epoch {request.epoch}: a newer life of it was heard; nothing was done"
    if isinstance(request, SubmitOrder | ReplaceOrder | CancelOrder | QueryOrder):
        return make_answer(request, now_ns, AnswerOutcome.FENCED, reason=GatewayReason.FENCED, detail=detail)
    return _refused(request, Refusal(GatewayReason.FENCED, detail), now_ns)


def _refused(
    request: CancelAllOrders | QueryAccount | ResendExecutions, refusal: Refusal, now_ns: int
) -> RequestRefused:
    return RequestRefused(
        **DRAFT, timestamp_ns=now_ns, request_id=request.request_id, reason=refusal.reason, detail=refusal.detail
    )


def _conflict(request: OrderRequest, now_ns: int) -> OrderAnswered:
    return make_answer(
        request,
        now_ns,
        AnswerOutcome.CONFLICT,
        reason=GatewayReason.TERMS_DIFFER,
        detail="this id was submitted before with other terms; nothing was done",
    )


def _answer_from(
    recorded: RecordedOrder,
    request: OrderRequest,
    outcome: AnswerOutcome,
    now_ns: int,
    reason: str | None = None,
    detail: str = "",
) -> OrderAnswered:
    if reason is None:
        # Too late to cancel: ORDER_FILLED, ORDER_EXPIRED, ORDER_REJECTED.
        is_rejected = outcome is AnswerOutcome.REJECTED
        reason = f"ORDER_{recorded.status.upper()}" if is_rejected else recorded.reason
    return make_answer(
        request,
        now_ns,
        outcome,
        status=recorded.status,
        venue_order_id=recorded.venue_order_id,
        filled_quantity=recorded.filled_quantity,
        reason=reason,
        detail=detail or None,
    )


def _venue_order(order: RecordedOrder) -> VenueOrder:
    return VenueOrder(
        arrival_number=order.arrival_number,
        exchange=order.terms.exchange,
        symbol=order.terms.symbol,
        client_order_id=order.client_order_id,
        venue_order_id=order.venue_order_id or "",
        side=order.terms.side,
        order_type=order.terms.order_type,
        quantity=order.quantity,
        limit_price=order.limit_price,
        time_in_force=order.terms.time_in_force,
        filled_quantity=order.filled_quantity,
        status=order.status,
        accepted_ns=order.answered_ns,
    )
