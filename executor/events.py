"""The events that tell of orders and positions, written from what the book knows."""

from decimal import Decimal

from common.events.base import DRAFT, Message
from common.events.risk import LimitBreached, TradingHalted, TradingResumed, TradingState
from common.events.trading import (
    HeldPosition,
    OpenOrder,
    OrderAccepted,
    OrderAmended,
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
    Signal,
    TradeExecuted,
)
from common.events.venue import ExecutionReported, ExecutionType
from common.money import EXACT
from executor.entries import ExecutionTaken, TradingStateMoved
from executor.orders import Order
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


def order_event(
    order: Order, now_ns: int, report: ExecutionReported | None = None, *, is_amended: bool = False
) -> OrderEvent:
    """The event that tells where an order stands; with the fill, when a report brought one."""
    signal = order.signal
    is_trade = report is not None and report.execution_type is ExecutionType.TRADE
    status = order.status
    event_type = EVENT_OF_STATUS[status]
    if is_trade and status in (OrderStatus.PENDING_CANCEL, OrderStatus.PENDING_REPLACE):
        event_type = OrderPartiallyFilled  # what is on its way is still pending; the fill is told as what it is
    if is_amended:
        event_type = OrderAmended
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
        quantity=order.quantity,
        limit_price=order.limit_price,
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


def trade_event(order: Order, price: Decimal, fee: Decimal, entry: ExecutionTaken) -> TradeExecuted:
    """The event that tells of a fill alone."""
    signal, report = order.signal, entry.report
    return TradeExecuted(
        **DRAFT,
        timestamp_ns=entry.timestamp_ns,
        exchange=signal.exchange,
        symbol=signal.symbol,
        strategy=signal.strategy,
        signal_id=signal.signal_id,
        client_order_id=order.client_order_id,
        venue_order_id=report.venue_order_id,
        execution_number=report.execution_number,
        side=signal.action,
        quantity=report.quantity,
        price=price,
        notional=EXACT.multiply(report.quantity, price),
        fee=fee,
        liquidity=report.liquidity,
        cause_id=signal.cause_id,
        correlation_id=signal.correlation_id,
    )


def stop_events(entry: TradingStateMoved) -> list[Message]:
    """What a move of the kill switch means, beside the move: a broken limit, a halt, or the end of one."""
    events: list[Message] = []
    mover, _, code = entry.by.partition(":")
    if mover == "limit":
        events.append(
            LimitBreached(
                **DRAFT,
                timestamp_ns=entry.timestamp_ns,
                scope=entry.scope,
                code=code,
                state=entry.state,
                detail=entry.reason,
            )
        )
    if entry.state is not TradingState.REDUCING:
        event_type = TradingHalted if entry.state is TradingState.HALTED else TradingResumed
        events.append(
            event_type(**DRAFT, timestamp_ns=entry.timestamp_ns, scope=entry.scope, by=entry.by, reason=entry.reason)
        )
    return events


def position_event(signal: Signal, before: Position, after: Position, entry: ExecutionTaken) -> PositionEvent:
    """The event that tells of a position after a fill of a signal's order."""
    if not after.quantity:
        event_type: type[PositionEvent] = PositionClosed
    else:
        has_crossed = not before.quantity or (before.quantity > 0) != (after.quantity > 0)
        event_type = PositionOpened if has_crossed else PositionModified
    return event_type(
        **DRAFT,
        timestamp_ns=entry.timestamp_ns,
        exchange=signal.exchange,
        symbol=signal.symbol,
        strategy=signal.strategy,
        quantity=after.quantity,
        entry_price=after.entry_price,
        mark_price=entry.mark_price if after.quantity else None,
        realised_pnl=after.realised_pnl,
        unrealised_pnl=after.unrealised_pnl(entry.mark_price),
        fees=after.fees,
        cause_id=signal.cause_id,
        correlation_id=signal.correlation_id,
    )


def open_order(order: Order) -> OpenOrder:
    """A working order, as its strategy is told of it when it asks."""
    signal = order.signal
    return OpenOrder(
        client_order_id=order.client_order_id,
        signal_id=signal.signal_id,
        exchange=signal.exchange,
        symbol=signal.symbol,
        status=order.status,
        side=signal.action,
        order_type=signal.order_type,
        quantity=order.quantity,
        filled_quantity=order.filled_quantity,
        limit_price=order.limit_price,
    )


def held_position(key: PositionKey, position: Position) -> HeldPosition:
    """A position, as its strategy is told of it when it asks."""
    _, exchange, symbol = key
    return HeldPosition(
        exchange=exchange,
        symbol=symbol,
        quantity=position.quantity,
        realised_pnl=position.realised_pnl,
        fees=position.fees,
        entry_price=position.entry_price,
    )
