"""Everything the executor knows: a fold over journal entries. The same entries give the same state and events."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from common.events.base import DRAFT, Message
from common.events.trading import (
    Acknowledgement,
    HeldPosition,
    OpenOrder,
    OrderAccepted,
    OrderAmendRequested,
    OrderCancelled,
    OrderCancelRequested,
    OrderDenied,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderPartiallyFilled,
    OrderRejected,
    OrderStatus,
    OrderSubmitted,
    OrderUnknown,
    PositionClosed,
    PositionEvent,
    PositionModified,
    PositionOpened,
    SignalAcknowledged,
)
from common.events.venue import AnswerOutcome, ExecutionReported, ExecutionType
from common.money import ZERO, is_bounded
from executor.digest import digest_of
from executor.entries import (
    CancelIntended,
    CancelRefused,
    Entry,
    ExecutionTaken,
    OrderAbandoned,
    OrderAnswerTaken,
    OrderIntended,
    OrderUnanswered,
    Outcome,
    SignalConflicted,
    SignalDenied,
)
from executor.exposure import Exposure
from executor.orders import IllegalMoveError, Move, Order
from executor.positions import Position

PositionKey = tuple[str, str, str]  # strategy, exchange, symbol

EVENT_OF_STATUS: dict[OrderStatus, type[OrderEvent]] = {
    OrderStatus.PENDING_NEW: OrderSubmitted,
    OrderStatus.ACCEPTED: OrderAccepted,
    OrderStatus.PARTIALLY_FILLED: OrderPartiallyFilled,
    OrderStatus.FILLED: OrderFilled,
    OrderStatus.CANCELLED: OrderCancelled,
    OrderStatus.EXPIRED: OrderExpired,
    OrderStatus.REJECTED: OrderRejected,
    OrderStatus.DENIED: OrderDenied,
    OrderStatus.UNKNOWN: OrderUnknown,
    OrderStatus.PENDING_CANCEL: OrderCancelRequested,
    OrderStatus.PENDING_REPLACE: OrderAmendRequested,
}

# What the exchange says about an order that we have no answer for yet. Fills come as executions, never from here.
MOVE_OF_ANSWER = {
    AnswerOutcome.ACCEPTED: Move.ACCEPTED,
    AnswerOutcome.EXISTS: Move.ACCEPTED,
    AnswerOutcome.REJECTED: Move.REJECTED,
    AnswerOutcome.CONFLICT: Move.REJECTED,
}
MOVE_OF_EXECUTION = {ExecutionType.CANCELLED: Move.CANCELLED, ExecutionType.EXPIRED: Move.EXPIRED}


class SignalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a signal: enough to recognise it and to answer for it again."""

    signal_id: str
    strategy: str
    exchange: str
    symbol: str
    digest: str
    client_order_id: str | None = None
    outcome: Outcome | None = None


class Book:
    """Signals, orders and positions."""

    def __init__(self) -> None:
        self.signals: dict[str, SignalRecord] = {}
        self.orders: dict[str, Order] = {}
        self.positions: dict[PositionKey, Position] = {}
        self.last_execution_number = 0
        self.foreign_executions = 0
        self.exposure = Exposure()
        self._working: dict[str, Order] = {}
        self._on_entry: dict[type[Entry], Callable[[Any], list[Message]]] = {
            OrderIntended: self._on_intended,
            SignalDenied: self._on_denied,
            SignalConflicted: lambda _: [],
            OrderAnswerTaken: self._on_answer,
            OrderUnanswered: lambda entry: self._on_move(entry, Move.UNANSWERED),
            OrderAbandoned: lambda entry: self._on_move(entry, Move.ABANDONED, entry.reason),
            CancelIntended: self._on_cancel,
            CancelRefused: self._on_cancel_refused,
            ExecutionTaken: self._on_execution,
        }

    def apply(self, entry: Entry) -> list[Message]:
        """Learn one fact, and return the events that tell of it.

        Raises:
            IllegalMoveError: The fact contradicts what is known.
        """
        return self._on_entry[type(entry)](entry)

    def working_orders(self) -> list[Order]:
        """Orders that are not at their end, oldest first."""
        return list(self._working.values())

    def open_orders_of(self, strategy: str) -> list[OpenOrder]:
        """A strategy's working orders, as it is told of them."""
        return [_open_order(order) for order in self._working.values() if order.signal.strategy == strategy]

    def positions_of(self, strategy: str) -> list[HeldPosition]:
        """A strategy's positions, as it is told of them."""
        return [
            HeldPosition(
                exchange=exchange,
                symbol=symbol,
                quantity=position.quantity,
                realised_pnl=position.realised_pnl,
                fees=position.fees,
                entry_price=position.entry_price,
            )
            for (owner, exchange, symbol), position in self.positions.items()
            if owner == strategy
        ]

    def held_quantity(self, key: PositionKey) -> Decimal:
        """The signed quantity of a position; 0 where there is none."""
        position = self.positions.get(key)
        return ZERO if position is None else position.quantity

    def acknowledgement(self, record: SignalRecord, outcome: Outcome, now_ns: int) -> SignalAcknowledged:
        """The answer to a signal."""
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

    def _on_intended(self, entry: OrderIntended) -> list[Message]:
        signal = entry.signal
        self.signals[signal.signal_id] = SignalRecord(
            signal_id=signal.signal_id,
            strategy=signal.strategy,
            exchange=signal.exchange,
            symbol=signal.symbol,
            digest=digest_of(signal),
            client_order_id=entry.client_order_id,
        )
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
        self.signals[entry.signal_id] = record
        return [self.acknowledgement(record, outcome, entry.timestamp_ns)]

    def _on_answer(self, entry: OrderAnswerTaken) -> list[Message]:
        order = self.orders[entry.client_order_id]
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

    def _on_move(self, entry: OrderUnanswered | OrderAbandoned, move: Move, reason: str | None = None) -> list[Message]:
        return self._after(self.orders[entry.client_order_id].after(move, reason=reason), entry.timestamp_ns)

    def _on_cancel(self, entry: CancelIntended) -> list[Message]:
        order = msgspec.structs.replace(self.orders[entry.client_order_id], is_cancel_wanted=True)
        if order.is_unanswered:
            self._keep(order)  # the cancel follows the answer: the exchange may not know the order yet
            return []
        return self._after(order.after(Move.CANCEL_REQUESTED), entry.timestamp_ns)

    def _on_cancel_refused(self, entry: CancelRefused) -> list[Message]:
        order = self.orders[entry.client_order_id]
        if order.status is not OrderStatus.PENDING_CANCEL:
            return []
        order = msgspec.structs.replace(order, is_cancel_wanted=False)
        return self._after(order.after(Move.CANCEL_REFUSED, reason=entry.reason), entry.timestamp_ns)

    def _on_execution(self, entry: ExecutionTaken) -> list[Message]:
        report = entry.report
        self.last_execution_number = report.execution_number
        order = self.orders.get(report.client_order_id)
        if order is None:
            self.foreign_executions += 1
            return []
        if report.execution_type is not ExecutionType.TRADE:
            moved = order.after(
                MOVE_OF_EXECUTION[report.execution_type], venue_order_id=report.venue_order_id, reason=report.reason
            )
            return self._after(moved, entry.timestamp_ns, report)
        price, fee = report.price, ZERO if report.fee is None else report.fee
        if price is None or not is_bounded(fee):
            raise IllegalMoveError(
                f"execution {report.execution_number}: expected a trade with a price and a finite fee, "
                f"was {price} and {fee}"
            )
        filled = order.after_fill(report.quantity, price)
        # The position first: told of the order's end while it still looks flat, a strategy would buy a second time.
        position = self._fill_position(order, report, price, fee, entry)
        return [position, *self._after_word(filled, entry.timestamp_ns, report)]

    def _fill_position(
        self, order: Order, report: ExecutionReported, price: Decimal, fee: Decimal, entry: ExecutionTaken
    ) -> PositionEvent:
        signal = order.signal
        key = (signal.strategy, signal.exchange, signal.symbol)
        before = self.positions.get(key, Position())
        after = before.after_fill(signal.action, report.quantity, price, fee)
        self.positions[key] = after
        self.exposure.on_position(key, before, after, entry.mark_price or price, entry.timestamp_ns)
        return position_event(key, before, after, entry)

    def _after_word(self, order: Order, now_ns: int, report: ExecutionReported | None = None) -> list[Message]:
        """Keep an order that the exchange has told of; a cancel that waited for that is requested now."""
        events = self._after(order, now_ns, report)
        if order.is_cancel_wanted and not order.is_final and order.status is not OrderStatus.PENDING_CANCEL:
            events += self._after(order.after(Move.CANCEL_REQUESTED), now_ns)
        return events

    def _after(self, order: Order, now_ns: int, report: ExecutionReported | None = None) -> list[Message]:
        """Keep a changed order; tell of it, and of the end of its signal when this is it."""
        self._keep(order)
        events: list[Message] = [order_event(order, now_ns, report)]
        record = self.signals[order.signal.signal_id]
        if record.outcome is None and not order.is_unanswered:
            outcome = Outcome(_acknowledgement_of(order.status), order.reason)
            self.signals[record.signal_id] = msgspec.structs.replace(record, outcome=outcome)
            events.append(self.acknowledgement(record, outcome, now_ns))
        return events

    def _keep(self, order: Order) -> None:
        self.exposure.on_order(self.orders.get(order.client_order_id), order)
        self.orders[order.client_order_id] = order
        if order.is_final:
            self._working.pop(order.client_order_id, None)
        else:
            self._working[order.client_order_id] = order


def _acknowledgement_of(status: OrderStatus) -> Acknowledgement:
    if status is OrderStatus.REJECTED:
        return Acknowledgement.REJECTED
    return Acknowledgement.DENIED if status is OrderStatus.DENIED else Acknowledgement.ACCEPTED


def order_event(order: Order, now_ns: int, report: ExecutionReported | None = None) -> OrderEvent:
    """The event that tells where an order stands; with the fill, when a report brought one."""
    signal = order.signal
    is_trade = report is not None and report.execution_type is ExecutionType.TRADE
    status = order.status
    # A fill while a cancel is on its way leaves the order pending, and is told as the fill that it is.
    event_type = OrderPartiallyFilled if is_trade and status is OrderStatus.PENDING_CANCEL else EVENT_OF_STATUS[status]
    return event_type(
        **DRAFT,
        timestamp_ns=now_ns,
        exchange=signal.exchange,
        symbol=signal.symbol,
        client_order_id=order.client_order_id,
        signal_id=signal.signal_id,
        strategy=signal.strategy,
        status=status,
        side=signal.action,
        order_type=signal.order_type,
        quantity=signal.quantity,
        limit_price=signal.limit_price,
        time_in_force=signal.time_in_force,
        filled_quantity=order.filled_quantity,
        average_price=order.average_price,
        last_quantity=report.quantity if report is not None and is_trade else None,
        last_price=report.price if report is not None and is_trade else None,
        fee=report.fee if report is not None else None,
        liquidity=report.liquidity if report is not None else None,
        venue_order_id=order.venue_order_id,
        execution_number=report.execution_number if report is not None else None,
        reason=order.reason,
        cause_id=signal.cause_id,
        correlation_id=signal.correlation_id,
    )


def position_event(key: PositionKey, before: Position, after: Position, entry: ExecutionTaken) -> PositionEvent:
    """The event that tells of a position after a fill."""
    strategy, exchange, symbol = key
    if not after.quantity:
        event_type: type[PositionEvent] = PositionClosed
    else:
        has_crossed = not before.quantity or (before.quantity > 0) != (after.quantity > 0)
        event_type = PositionOpened if has_crossed else PositionModified
    return event_type(
        **DRAFT,
        timestamp_ns=entry.timestamp_ns,
        exchange=exchange,
        symbol=symbol,
        strategy=strategy,
        quantity=after.quantity,
        entry_price=after.entry_price,
        mark_price=entry.mark_price if after.quantity else None,
        realised_pnl=after.realised_pnl,
        unrealised_pnl=after.unrealised_pnl(entry.mark_price),
        fees=after.fees,
    )


def _open_order(order: Order) -> OpenOrder:
    signal = order.signal
    return OpenOrder(
        client_order_id=order.client_order_id,
        signal_id=signal.signal_id,
        exchange=signal.exchange,
        symbol=signal.symbol,
        status=order.status,
        side=signal.action,
        order_type=signal.order_type,
        quantity=signal.quantity,
        filled_quantity=order.filled_quantity,
        limit_price=signal.limit_price,
    )
