"""Venue domain: the dialogue between executor and exchange gateway. Requests, their answers, and executions."""

import enum
from decimal import Decimal
from typing import ClassVar

import msgspec

from common.events.base import Count, EventId, Id, ListedMessage, Message, Name, Text
from common.events.trading import Liquidity, OrderStatus, OrderType, Side, TimeInForce

EXECUTIONS_PER_ANSWER_MAX = 500


class SubmitOrder(ListedMessage, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Order.Submit.v1"):
    """Place an order. Repeating it under the same `client_order_id` never makes a second one."""

    kind: ClassVar[str] = "submit_order"

    request_id: Id
    client_order_id: Id
    side: Side
    order_type: OrderType
    quantity: Decimal
    limit_price: Decimal | None = None
    time_in_force: TimeInForce
    expires_ns: int
    cause_id: EventId | None = None
    correlation_id: EventId | None = None


class CancelOrder(ListedMessage, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Order.Cancel.v1"):
    """Take back what is left of an order."""

    kind: ClassVar[str] = "cancel_order"

    request_id: Id
    client_order_id: Id


class QueryOrder(ListedMessage, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Order.Query.v1"):
    """Ask where an order stands."""

    kind: ClassVar[str] = "query_order"

    request_id: Id
    client_order_id: Id


class ResendExecutions(
    Message, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Executions.Resend.v1"
):
    """Ask for the execution reports from a number on; the answer holds at most 500, ask again for the rest."""

    kind: ClassVar[str] = "resend_executions"

    request_id: Id
    from_number: Count

    def topic(self) -> str:
        return f"{self.kind}.venue.all"


class AnswerOutcome(enum.StrEnum):
    """What an exchange says to a request. No answer is none of these: it means unknown."""

    ACCEPTED = "accepted"  # done as asked
    REJECTED = "rejected"  # refused, with a reason; for an order: it will never live
    EXISTS = "exists"  # this client_order_id was submitted before with this body; `status` tells what became of it
    CONFLICT = "conflict"  # this client_order_id was submitted before with another body
    NOT_FOUND = "not_found"  # cancel or query of an order that the exchange does not know


class OrderAnswered(
    ListedMessage, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Order.Answered.v1"
):
    """The answer to submit, cancel or query, with the state of the order where there is one."""

    kind: ClassVar[str] = "order_answer"

    request_id: Id
    client_order_id: Id
    outcome: AnswerOutcome
    status: OrderStatus | None = None
    venue_order_id: Name | None = None
    filled_quantity: Decimal | None = None
    reason: Name | None = None
    detail: Text | None = None


class RequestRefused(Message, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Request.Refused.v1"):
    """The request could not be read; nothing was done."""

    kind: ClassVar[str] = "request_refused"

    reason: Name
    detail: Text
    request_id: Id | None = None

    def topic(self) -> str:
        return f"{self.kind}.venue.all"


class ExecutionType(enum.StrEnum):
    """What an execution report tells, after FIX ExecType."""

    TRADE = "trade"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class ExecutionReported(
    ListedMessage, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Execution.Reported.v1"
):
    """One change of an order at the venue, numbered without a hole over the venue's whole life.

    `quantity`, `price`, `fee` and `liquidity` belong to a trade; `fee` is in quote units, negative for a rebate.
    """

    kind: ClassVar[str] = "execution"

    execution_number: Count
    execution_type: ExecutionType
    client_order_id: Id
    venue_order_id: Name
    side: Side
    quantity: Decimal
    price: Decimal | None = None
    fee: Decimal | None = None
    liquidity: Liquidity | None = None
    filled_quantity: Decimal
    leaves_quantity: Decimal
    reason: Name | None = None


class ExecutionsResent(
    Message, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Executions.Resent.v1"
):
    """Execution reports in the order of their numbers, and the newest number there is."""

    kind: ClassVar[str] = "executions_answer"

    request_id: Id
    last_number: Count
    executions: list[ExecutionReported]

    def topic(self) -> str:
        return f"{self.kind}.venue.all"


class OrderTerms(msgspec.Struct, frozen=True, gc=False):
    """What makes two submissions the same order."""

    exchange: str
    symbol: str
    side: Side
    order_type: OrderType
    quantity: Decimal
    limit_price: Decimal | None
    time_in_force: TimeInForce


def terms_of(request: SubmitOrder) -> OrderTerms:
    """The economic content of a submission; equal for repeats, whatever their request id and number."""
    return OrderTerms(
        request.exchange,
        request.symbol,
        request.side,
        request.order_type,
        request.quantity,
        request.limit_price,
        request.time_in_force,
    )
