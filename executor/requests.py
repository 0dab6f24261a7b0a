"""What the executor asks of the exchange, made from what it knows, and signed with its name and life.

The exchange heeds only the newest life that it has heard of, so one that was paused and forgotten can do no harm.
"""

from typing import TypedDict

import msgspec

from common.errors import FatalError
from common.events.venue import (
    CancelAllOrders,
    CancelOrder,
    QueryAccount,
    QueryOrder,
    ReplaceOrder,
    ResendExecutions,
    SubmitOrder,
)
from executor.orders import Order

# The past: a submission that expires then is refused, and its id with it.
VOID_NS = 1

Request = SubmitOrder | ReplaceOrder | CancelOrder | QueryOrder | CancelAllOrders | QueryAccount | ResendExecutions


class _Head(TypedDict):
    source: str
    epoch: int
    seq: int
    timestamp_ns: int
    request_id: str


class RequestWriter:
    """Numbers the requests of one life."""

    def __init__(self, source: str, epoch: int) -> None:
        self._source = source
        self._epoch = epoch
        self._number = 0

    def submit(self, order: Order, order_count: int, now_ns: int) -> SubmitOrder:
        """Place it, or place it again under the same id; `order_count` is how many were ever intended."""
        signal = order.signal
        return SubmitOrder(
            **self._head(now_ns),
            exchange=signal.exchange,
            symbol=signal.symbol,
            client_order_id=order.client_order_id,
            side=signal.action,
            order_type=signal.order_type,
            quantity=signal.quantity,
            limit_price=signal.limit_price,
            time_in_force=signal.time_in_force,
            expires_ns=signal.expires_ns,
            order_count=order_count,
            cause_id=signal.cause_id,
            correlation_id=signal.correlation_id,
        )

    def void(self, order: Order, order_count: int, now_ns: int) -> SubmitOrder:
        """Use up the id of an order that is not wanted any more.

        As expired it is refused, and so is whatever of it may still be on its way.
        """
        return msgspec.structs.replace(self.submit(order, order_count, now_ns), expires_ns=VOID_NS)

    def replace(self, order: Order, now_ns: int) -> ReplaceOrder:
        """Ask for the terms that were decided on; the same again after silence.

        Raises:
            FatalError: None were.
        """
        replacement = order.replacement
        if replacement is None:
            raise FatalError(f"order {order.client_order_id}: expected new terms to ask for")
        return ReplaceOrder(
            **self._head(now_ns),
            exchange=order.signal.exchange,
            symbol=order.signal.symbol,
            client_order_id=order.client_order_id,
            replace_id=replacement.replace_id,
            quantity=replacement.quantity,
            limit_price=replacement.limit_price,
            expires_ns=replacement.expires_ns,
        )

    def query(self, order: Order, now_ns: int) -> QueryOrder:
        """Ask where it stands."""
        return QueryOrder(
            **self._head(now_ns),
            exchange=order.signal.exchange,
            symbol=order.signal.symbol,
            client_order_id=order.client_order_id,
            since_ns=order.signal.timestamp_ns,
        )

    def cancel(self, order: Order, now_ns: int) -> CancelOrder:
        """Take back what is left of it."""
        return CancelOrder(
            **self._head(now_ns),
            exchange=order.signal.exchange,
            symbol=order.signal.symbol,
            client_order_id=order.client_order_id,
        )

    def cancel_all(self, now_ns: int) -> CancelAllOrders:
        """Take back what is left of every order."""
        return CancelAllOrders(**self._head(now_ns))

    def resend(self, from_number: int, now_ns: int) -> ResendExecutions:
        """Ask for the executions from a number on."""
        return ResendExecutions(**self._head(now_ns), from_number=from_number)

    def account(self, after_arrival_number: int, now_ns: int) -> QueryAccount:
        """Ask for working orders, positions and cash."""
        return QueryAccount(**self._head(now_ns), after_arrival_number=after_arrival_number)

    def _head(self, now_ns: int) -> _Head:
        self._number += 1
        return {
            "source": self._source,
            "epoch": self._epoch,
            "seq": self._number,
            "timestamp_ns": now_ns,
            "request_id": f"{self._epoch}-{self._number}",
        }
