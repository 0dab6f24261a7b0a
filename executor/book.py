"""Everything the executor knows: a fold over journal entries. The same entries give the same state and events."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import msgspec

from common.events.base import DRAFT, Message
from common.events.risk import TradingState
from common.events.trading import (
    Acknowledgement,
    HeldPosition,
    OpenOrder,
    OrderStatus,
    PositionEvent,
    Side,
    SignalAcknowledged,
)
from common.events.venue import AnswerOutcome, ExecutionReported, ExecutionType
from common.instruments import quote_currency
from common.money import EXACT, ZERO, is_bounded
from executor.archive import Archive
from executor.entries import (
    AmendIntended,
    AmendRefused,
    CancelIntended,
    CancelRefused,
    Entry,
    ExecutionTaken,
    OrderAbandoned,
    OrderAdopted,
    OrderAnswerTaken,
    OrderIntended,
    OrderReopened,
    OrderUnanswered,
    OrderVanished,
    Outcome,
    SignalConflicted,
    SignalDenied,
    TradingStateMoved,
)
from executor.events import (
    PositionKey,
    held_position,
    open_order,
    order_event,
    position_event,
    stop_events,
    trade_event,
)
from executor.exposure import Exposure
from executor.memory import Memory
from executor.orders import Move, Order, Replacement, UnbookableError
from executor.positions import Position
from executor.records import Fill, SignalRecord, record_for
from executor.trading_state import KillSwitch

# What the exchange says about an order that we have no answer for yet. Fills come as executions, never from here.
MOVE_OF_ANSWER = {
    AnswerOutcome.ACCEPTED: Move.ACCEPTED,
    AnswerOutcome.EXISTS: Move.ACCEPTED,
    AnswerOutcome.REJECTED: Move.REJECTED,
    AnswerOutcome.CONFLICT: Move.REJECTED,
}
MOVE_OF_EXECUTION = {ExecutionType.CANCELLED: Move.CANCELLED, ExecutionType.EXPIRED: Move.EXPIRED}


class Book:
    """Signals, requests, orders and positions.

    `signals`, `requests` and `orders` are what is held of them: with an archive, what ended long ago is forgotten.
    """

    def __init__(self, archive: Archive | None = None) -> None:
        """Know nothing. The archive has the entries that are applied, and gives back what `memory` has forgotten."""
        self.memory = Memory(archive, fold_memory)
        self.signals = self.memory.signals
        self.requests = self.memory.requests
        self.orders = self.memory.orders
        self.positions: dict[PositionKey, Position] = {}
        self.last_ids: dict[str, str] = {}  # of each strategy, the newest instruction that has its verdict
        self.last_execution_number = 0
        self.orders_intended = 0
        self.orders_adopted = 0
        self.exposure = Exposure()
        self.kill_switch = KillSwitch()
        self._on_entry: dict[type[Entry], Callable[[Any], list[Message]]] = {
            OrderIntended: self._on_intended,
            SignalDenied: self._on_denied,
            SignalConflicted: lambda _: [],
            OrderAnswerTaken: self._on_answer,
            OrderUnanswered: lambda entry: self._on_move(entry, Move.UNANSWERED),
            OrderAbandoned: lambda entry: self._on_move(entry, Move.ABANDONED, entry.reason),
            OrderVanished: lambda entry: self._on_move(entry, Move.CANCELLED, entry.reason),
            OrderReopened: lambda entry: self._on_move(entry, Move.REOPENED),
            CancelIntended: self._on_cancel,
            CancelRefused: self._on_cancel_refused,
            AmendIntended: self._on_amend,
            AmendRefused: self._on_amend_refused,
            OrderAdopted: self._on_adopted,
            ExecutionTaken: self._on_execution,
            TradingStateMoved: self._on_state_moved,
        }

    def apply(self, entry: Entry) -> list[Message]:
        """Learn one fact, and return the events that tell of it.

        Raises:
            IllegalMoveError: The fact cannot follow what is known.
            UnbookableError: It is an execution with amounts that are none; nothing was changed but its number noted.
        """
        events = self._on_entry[type(entry)](entry)
        self.memory.last_seq += 1
        return events

    def record_of(self, instruction_id: str) -> SignalRecord | None:
        """What is kept of a signal or request; None for one that has no verdict yet."""
        return self.memory.record_of(instruction_id)

    def find_order(self, client_order_id: str) -> Order | None:
        """An order, however long ago it ended; None where there is no such order."""
        return self.memory.find_order(client_order_id)

    def order(self, client_order_id: str) -> Order:
        """An order that there must be.

        Raises:
            IllegalMoveError: There is none.
        """
        return self.memory.order(client_order_id)

    def working_orders(self) -> list[Order]:
        """Orders that are not at their end, oldest first."""
        return list(self.memory.working.values())

    def open_orders_of(self, strategy: str) -> list[OpenOrder]:
        """A strategy's working orders, as it is told of them."""
        return [open_order(order) for order in self.memory.working.values() if order.signal.strategy == strategy]

    def positions_of(self, strategy: str) -> list[HeldPosition]:
        """A strategy's positions, as it is told of them."""
        return [held_position(key, position) for key, position in self.positions.items() if key[0] == strategy]

    def held_quantity(self, key: PositionKey) -> Decimal:
        """The signed quantity of a position; 0 where there is none."""
        position = self.positions.get(key)
        return ZERO if position is None else position.quantity

    def net_quantities(self) -> dict[tuple[str, str], Decimal]:
        """What all strategies hold together, by exchange and symbol: what the exchange must have too."""
        quantities: dict[tuple[str, str], Decimal] = {}
        for (_, exchange, symbol), position in self.positions.items():
            key = (exchange, symbol)
            quantities[key] = EXACT.add(quantities.get(key, ZERO), position.quantity)
        return quantities

    def cash(self) -> dict[str, Decimal]:
        """What all fills and fees have moved, by quote currency: what the exchange must have too."""
        amounts: dict[str, Decimal] = {}
        for (_, _, symbol), position in self.positions.items():
            currency = quote_currency(symbol)
            moved = EXACT.subtract(EXACT.subtract(position.realised_pnl, position.cost), position.fees)
            amounts[currency] = EXACT.add(amounts.get(currency, ZERO), moved)
        return amounts

    def acknowledgement(self, record: SignalRecord, outcome: Outcome, now_ns: int) -> SignalAcknowledged:
        """The answer to an instruction."""
        return SignalAcknowledged(
            **DRAFT,
            timestamp_ns=now_ns,
            exchange=record.exchange,
            symbol=record.symbol,
            signal_id=record.signal_id,
            strategy=record.strategy,
            outcome=outcome.outcome,
            reason=outcome.reason,
            detail=outcome.detail,
            client_order_id=record.client_order_id,
        )

    # Strategies

    def _on_intended(self, entry: OrderIntended) -> list[Message]:
        signal = entry.signal
        self._keep_record(record_for(signal, signal.signal_id, entry.client_order_id))
        self.last_ids[signal.strategy] = signal.signal_id
        self.orders_intended += 1
        order = Order(client_order_id=entry.client_order_id, signal=signal)
        self._keep(order)
        self.exposure.on_intent(signal, entry.timestamp_ns)
        return [order_event(order, entry.timestamp_ns)]

    def _on_denied(self, entry: SignalDenied) -> list[Message]:
        outcome = Outcome(Acknowledgement.DENIED, entry.reason, entry.detail)
        record = SignalRecord(
            signal_id=entry.signal_id,
            strategy=entry.strategy,
            exchange=entry.exchange,
            symbol=entry.symbol,
            digest=entry.digest,
            outcome=outcome,
        )
        self._keep_record(record, is_request=entry.is_request)
        self.last_ids[entry.strategy] = entry.signal_id
        return [self.acknowledgement(record, outcome, entry.timestamp_ns)]

    def _on_cancel(self, entry: CancelIntended) -> list[Message]:
        events: list[Message] = []
        order = msgspec.structs.replace(self.order(entry.client_order_id), is_cancel_wanted=True)
        request = entry.request
        if request is not None and request.request_id is not None:
            outcome = Outcome(Acknowledgement.ACCEPTED)
            record = record_for(request, request.request_id, entry.client_order_id, outcome)
            self._keep_record(record, is_request=True)
            self.last_ids[record.strategy] = record.signal_id
            events.append(self.acknowledgement(record, outcome, entry.timestamp_ns))
        if order.is_unanswered or order.is_final or order.status is OrderStatus.PENDING_CANCEL:
            # The cancel follows the answer, since the exchange may not know the order yet; or is under way already.
            self._keep(order)
            return events
        return [*self._after(order.after(Move.CANCEL_REQUESTED), entry.timestamp_ns), *events]

    def _on_cancel_refused(self, entry: CancelRefused) -> list[Message]:
        order = self.order(entry.client_order_id)
        if order.status is not OrderStatus.PENDING_CANCEL:
            return []
        order = msgspec.structs.replace(order, is_cancel_wanted=False)
        return self._after(order.after(Move.CANCEL_REFUSED, reason=entry.reason), entry.timestamp_ns)

    def _on_amend(self, entry: AmendIntended) -> list[Message]:
        request = entry.request
        self._keep_record(record_for(request, request.request_id, entry.client_order_id), is_request=True)
        self.last_ids[request.strategy] = request.request_id
        self.exposure.on_order_message(request.strategy, entry.timestamp_ns)
        order = msgspec.structs.replace(
            self.order(entry.client_order_id).after(Move.REPLACE_REQUESTED),
            replacement=Replacement(request.request_id, entry.quantity, entry.limit_price, request.expires_ns),
        )
        return self._after(order, entry.timestamp_ns)

    def _on_amend_refused(self, entry: AmendRefused) -> list[Message]:
        order = self.order(entry.client_order_id)
        if order.replacement is None:
            return []
        replace_id = order.replacement.replace_id
        if not order.is_final:
            order = order.after(Move.REPLACE_REFUSED, reason=entry.reason)
        order = msgspec.structs.replace(order, replacement=None)
        self._keep(order)
        outcome = Outcome(Acknowledgement.REJECTED, entry.reason)
        return [
            order_event(order, entry.timestamp_ns, is_amended=not order.is_final),
            *self._end_request(replace_id, outcome, entry.timestamp_ns),
        ]

    # People and limits

    def _on_state_moved(self, entry: TradingStateMoved) -> list[Message]:
        if entry.state is TradingState.ACTIVE:
            self.exposure.count_anew(entry.scope, entry.timestamp_ns)
        return [self.kill_switch.apply(entry), *stop_events(entry)]

    # Exchange

    def _on_answer(self, entry: OrderAnswerTaken) -> list[Message]:
        order = self.order(entry.client_order_id)
        if not order.is_unanswered:
            return []  # an execution overtook the answer and has said more than it can
        moved = order.after(
            MOVE_OF_ANSWER[entry.outcome]
            if entry.status is not OrderStatus.REJECTED
            else Move.REJECTED,  # a repeat of what was refused the first time
            venue_order_id=entry.venue_order_id,
            reason=entry.reason,
        )
        return self._after_word(moved, entry.timestamp_ns)

    def _on_move(self, entry: Entry, move: Move, reason: str | None = None) -> list[Message]:
        return self._after(self.order(entry.subject).after(move, reason=reason), entry.timestamp_ns)

    def _on_adopted(self, entry: OrderAdopted) -> list[Message]:
        signal = entry.signal
        outcome = Outcome(Acknowledgement.ACCEPTED)
        self._keep_record(record_for(signal, signal.signal_id, entry.client_order_id, outcome))
        self.orders_adopted += 1
        order = Order(
            client_order_id=entry.client_order_id,
            signal=signal,
            status=OrderStatus.ACCEPTED,
            # What was filled before we knew is in no position of ours: the exchange's executions are asked for first.
            busted_quantity=entry.filled_quantity,
            venue_order_id=entry.venue_order_id,
        )
        return self._after(order, entry.timestamp_ns)

    def _on_execution(self, entry: ExecutionTaken) -> list[Message]:
        report = entry.report
        self.last_execution_number = report.execution_number
        if entry.defect is not None:
            return []
        order = self.order(report.client_order_id)
        match report.execution_type:
            case ExecutionType.TRADE:
                return self._on_trade(order, entry)
            case ExecutionType.REPLACED:
                return self._on_replaced(order, entry)
            case ExecutionType.TRADE_CANCEL | ExecutionType.TRADE_CORRECT:
                return self._on_correction(order, entry)
            case ending:
                moved = order.after(
                    MOVE_OF_EXECUTION[ending], venue_order_id=report.venue_order_id, reason=report.reason
                )
                return self._after(moved, entry.timestamp_ns, report)

    def _on_trade(self, order: Order, entry: ExecutionTaken) -> list[Message]:
        report = entry.report
        fill = _fill_of(report, order)
        filled = order.after_fill(report.quantity, fill.price)
        if order.is_final and not filled.is_final and not report.leaves_quantity:
            # It came late, but the order is at its end all the same.
            filled = filled.after(Move.EXPIRED if order.status is OrderStatus.EXPIRED else Move.CANCELLED)
        self.memory.keep_fill(report.execution_number, fill)
        # The position first: told of the order's end while it still looks flat, a strategy would buy a second time.
        position = self._fill_position(order, fill, entry)
        trade = trade_event(order, fill.price, fill.fee, entry)
        return [trade, position, *self._after_word(filled, entry.timestamp_ns, report)]

    def _on_replaced(self, order: Order, entry: ExecutionTaken) -> list[Message]:
        report, replacement = entry.report, order.replacement
        if report.order_quantity is None or report.limit_price is None:
            raise UnbookableError(f"execution {report.execution_number}: expected the new quantity and limit price")
        changed = order.after_replacement(report.order_quantity, report.limit_price)
        self._keep(changed)
        events: list[Message] = [order_event(changed, entry.timestamp_ns, report, is_amended=True)]
        if replacement is not None:
            events += self._end_request(replacement.replace_id, Outcome(Acknowledgement.ACCEPTED), entry.timestamp_ns)
        if order.is_unanswered:
            events += self._after_word(changed, entry.timestamp_ns)
        return events

    def _on_correction(self, order: Order, entry: ExecutionTaken) -> list[Message]:
        """The exchange takes a trade back, or gives it another price: the old one is undone, then the new one done."""
        report = entry.report
        fills = self.memory.fills.get(order.client_order_id, {})
        before = fills.get(report.corrects or 0)
        if before is None:
            raise UnbookableError(
                f"execution {report.execution_number}: expected to correct a trade of order {order.client_order_id}, "
                f"was number {report.corrects}"
            )
        corrected = None
        if report.execution_type is ExecutionType.TRADE_CORRECT:
            corrected = msgspec.structs.replace(_fill_of(report, order), quantity=before.quantity)
        opposite: Side = "sell" if before.side == "buy" else "buy"
        undone = Fill(before.client_order_id, opposite, before.quantity, before.price, before.fee.copy_negate())
        position = self._fill_position(order, undone, entry)
        if corrected is None:
            del fills[report.corrects or 0]
            changed = order.after_bust(before.quantity, before.price)
        else:
            fills[report.corrects or 0] = corrected
            position = self._fill_position(order, corrected, entry)
            changed = order.after_correction(before.quantity, before.price, corrected.price)
        self._keep(changed)
        return [position, order_event(changed, entry.timestamp_ns, report)]

    # Keeping

    def _fill_position(self, order: Order, fill: Fill, entry: ExecutionTaken) -> PositionEvent:
        signal = order.signal
        key = (signal.strategy, signal.exchange, signal.symbol)
        before = self.positions.get(key, Position())
        after = before.after_fill(fill.side, fill.quantity, fill.price, fill.fee)
        self.positions[key] = after
        self.exposure.on_position(key, before, after, entry.mark_price or fill.price, entry.timestamp_ns)
        return position_event(signal, before, after, entry)

    def _after_word(self, order: Order, now_ns: int, report: ExecutionReported | None = None) -> list[Message]:
        """Keep an order that the exchange has told of; a cancel that waited for that is requested now."""
        events = self._after(order, now_ns, report)
        if order.is_cancel_wanted and not order.is_final and order.status is not OrderStatus.PENDING_CANCEL:
            events += self._after(order.after(Move.CANCEL_REQUESTED), now_ns)
        return events

    def _after(self, order: Order, now_ns: int, report: ExecutionReported | None = None) -> list[Message]:
        """Keep a changed order; tell of it, and of the end of its signal when this is it."""
        replacement = order.replacement
        if order.is_final and replacement is not None:
            order = msgspec.structs.replace(order, replacement=None)
        self._keep(order)
        events: list[Message] = [order_event(order, now_ns, report)]
        record = self.signals[order.signal.signal_id]
        if record.outcome is None and not order.is_unanswered:
            outcome = Outcome(_acknowledgement_of(order.status), order.reason)
            self._keep_record(msgspec.structs.replace(record, outcome=outcome))
            events.append(self.acknowledgement(record, outcome, now_ns))
        if order.is_final and replacement is not None:
            outcome = Outcome(Acknowledgement.REJECTED, f"ORDER_{order.status.upper()}")
            events += self._end_request(replacement.replace_id, outcome, now_ns)
        return events

    def _end_request(self, request_id: str, outcome: Outcome, now_ns: int) -> list[Message]:
        record = self.requests[request_id]
        self._keep_record(msgspec.structs.replace(record, outcome=outcome), is_request=True)
        return [self.acknowledgement(record, outcome, now_ns)]

    def _keep(self, order: Order) -> None:
        self.exposure.on_order(self.memory.keep_order(order), order)

    def _keep_record(self, record: SignalRecord, *, is_request: bool = False) -> None:
        self.memory.keep_record(record, is_request=is_request)


def fold_memory(entries: Iterable[Entry]) -> Memory:
    """What these entries alone tell of orders and instructions."""
    book = Book()
    for entry in entries:
        book.apply(entry)
    return book.memory


def _fill_of(report: ExecutionReported, order: Order) -> Fill:
    fee = ZERO if report.fee is None else report.fee
    if report.price is None or not is_bounded(fee) or not is_bounded(report.price):
        raise UnbookableError(
            f"execution {report.execution_number}: expected a trade with a finite price and a finite fee, "
            f"was {report.price} and {fee}"
        )
    return Fill(report.client_order_id, order.signal.action, report.quantity, report.price, fee)


def _acknowledgement_of(status: OrderStatus) -> Acknowledgement:
    if status is OrderStatus.REJECTED:
        return Acknowledgement.REJECTED
    return Acknowledgement.DENIED if status is OrderStatus.DENIED else Acknowledgement.ACCEPTED
