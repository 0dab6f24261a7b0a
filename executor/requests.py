"""The four things that the executor asks of the exchange, made from what it knows."""

from common.events.base import DRAFT
from common.events.venue import CancelOrder, QueryOrder, ResendExecutions, SubmitOrder
from executor.orders import Order


def submit(order: Order, request_id: str, now_ns: int) -> SubmitOrder:
    """Place it, or place it again under the same id."""
    signal = order.signal
    return SubmitOrder(
        **DRAFT,
        timestamp_ns=now_ns,
        exchange=signal.exchange,
        symbol=signal.symbol,
        request_id=request_id,
        client_order_id=order.client_order_id,
        side=signal.action,
        order_type=signal.order_type,
        quantity=signal.quantity,
        limit_price=signal.limit_price,
        time_in_force=signal.time_in_force,
        expires_ns=signal.expires_ns,
        cause_id=signal.cause_id,
        correlation_id=signal.correlation_id,
    )


def query(order: Order, request_id: str, now_ns: int) -> QueryOrder:
    """Ask where it stands."""
    return QueryOrder(
        **DRAFT,
        timestamp_ns=now_ns,
        exchange=order.signal.exchange,
        symbol=order.signal.symbol,
        request_id=request_id,
        client_order_id=order.client_order_id,
    )


def cancel(order: Order, request_id: str, now_ns: int) -> CancelOrder:
    """Take back what is left of it."""
    return CancelOrder(
        **DRAFT,
        timestamp_ns=now_ns,
        exchange=order.signal.exchange,
        symbol=order.signal.symbol,
        request_id=request_id,
        client_order_id=order.client_order_id,
    )


def resend(from_number: int, request_id: str, now_ns: int) -> ResendExecutions:
    """Ask for the executions from a number on."""
    return ResendExecutions(**DRAFT, timestamp_ns=now_ns, request_id=request_id, from_number=from_number)
