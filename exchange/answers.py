"""The answer to a request about one order."""

from decimal import Decimal
from typing import TypedDict, Unpack

from common.events.base import DRAFT
from common.events.trading import OrderStatus
from common.events.venue import AnswerOutcome, CancelOrder, OrderAnswered, QueryOrder, ReplaceOrder, SubmitOrder

OrderRequest = SubmitOrder | ReplaceOrder | CancelOrder | QueryOrder


class OrderState(TypedDict, total=False):
    """What an answer may tell of the order beside the outcome."""

    status: OrderStatus
    venue_order_id: str | None
    filled_quantity: Decimal
    reason: str | None
    detail: str | None


def make_answer(
    request: OrderRequest, now_ns: int, outcome: AnswerOutcome, **state: Unpack[OrderState]
) -> OrderAnswered:
    """Write the draft of an answer, which carries the ids of its request."""
    return OrderAnswered(
        **DRAFT,
        timestamp_ns=now_ns,
        exchange=request.exchange,
        symbol=request.symbol,
        request_id=request.request_id,
        client_order_id=request.client_order_id,
        outcome=outcome,
        **state,
    )
