"""Venue domain: the dialogue between executor and exchange gateway. Requests, their answers, and executions."""

import enum
from decimal import Decimal
from typing import ClassVar

import msgspec

from common.events.base import (
    Command,
    Count,
    Event,
    EventId,
    Id,
    ListedMessage,
    Name,
    Priority,
    Query,
    Reply,
    Symbol,
    Text,
)
from common.events.trading import Liquidity, OrderStatus, OrderType, Side, TimeInForce

EXECUTIONS_PER_ANSWER_MAX = 500
OPEN_ORDERS_PER_ANSWER_MAX = 1_000


class SubmitOrder(
    ListedMessage, Command, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Order.Submit.v1"
):
    """Place an order. Repeating it under the same `client_order_id` never makes a second one.

    Like every request it carries the executor's name and life in `source` and `epoch`: a request of an older life than
    the newest seen is answered FENCED. `order_count` is how many orders that executor has ever intended, this one
    included: an exchange that has more of them refuses to go on.
    """

    kind: ClassVar[str] = "submit_order"
    emitters = ("executor",)
    answer = "order_answer"

    request_id: Id
    client_order_id: Id
    side: Side
    order_type: OrderType
    quantity: Decimal
    limit_price: Decimal | None = None
    time_in_force: TimeInForce
    expires_ns: int
    order_count: Count | None = None
    cause_id: EventId | None = None
    correlation_id: EventId | None = None


class ReplaceOrder(
    ListedMessage, Command, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Order.Replace.v1"
):
    """Give a working limit order other terms, under the same `client_order_id`.

    `quantity` is the new total, fills included: not above what is filled already, it is refused. `replace_id` names
    this change: repeating it changes nothing and is answered as the first time. Time priority stays when only the
    quantity shrinks. After `expires_ns` it is refused.
    """

    kind: ClassVar[str] = "replace_order"
    emitters = ("executor",)
    answer = "order_answer"

    request_id: Id
    client_order_id: Id
    replace_id: Id
    quantity: Decimal
    limit_price: Decimal
    expires_ns: int


class CancelOrder(
    ListedMessage, Command, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Order.Cancel.v1"
):
    """Take back what is left of an order."""

    kind: ClassVar[str] = "cancel_order"
    emitters = ("executor",)
    answer = "order_answer"

    request_id: Id
    client_order_id: Id


class QueryOrder(
    ListedMessage, Query, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Order.Query.v1"
):
    """Ask where an order stands.

    `since_ns`: it was sent then or later. An exchange that forgets orders after a time answers NOT_FOUND only where it
    would still know one of that age, and UNDECIDED elsewhere.
    """

    kind: ClassVar[str] = "query_order"
    emitters = ("executor",)
    answer = "order_answer"

    request_id: Id
    client_order_id: Id
    since_ns: int | None = None


class CancelAllOrders(
    Command, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Orders.CancelAll.v1"
):
    """Take back every working order, or those of one instrument: FIX's order mass cancel. Executions tell each.

    `exchange` and `symbol` are both there or both absent.
    """

    kind: ClassVar[str] = "cancel_all_orders"
    emitters = ("executor",)
    answer = "cancel_all_answer"

    request_id: Id
    exchange: Name | None = None
    symbol: Symbol | None = None

    def topic(self) -> str:
        return f"{self.kind}.venue.all"


class OrdersCancelled(Reply, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Orders.Cancelled.v1"):
    """The answer to a mass cancel: so many orders were working and are not any more."""

    kind: ClassVar[str] = "cancel_all_answer"
    emitters = ("exchange",)

    request_id: Id
    count: Count

    def topic(self) -> str:
        return f"{self.kind}.venue.all"


class QueryAccount(Query, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Account.Query.v1"):
    """Ask for working orders, positions and balances; asked at regular times, it is also the executor's sign of life.

    `after_arrival_number` pages through more open orders than an answer holds: ask again from the last one.
    """

    kind: ClassVar[str] = "query_account"
    emitters = ("executor",)
    answer = "account_answer"

    request_id: Id
    after_arrival_number: Count = 0

    def topic(self) -> str:
        return f"{self.kind}.venue.all"


class VenueOrder(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A working order as the venue has it. `arrival_number` rises with each order of the venue's life."""

    arrival_number: Count
    exchange: Name
    symbol: Symbol
    client_order_id: Id
    venue_order_id: Name
    side: Side
    order_type: OrderType
    quantity: Decimal
    limit_price: Decimal | None = None
    time_in_force: TimeInForce
    filled_quantity: Decimal
    status: OrderStatus
    accepted_ns: int


class VenuePosition(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The net of all fills in one instrument: base units, long above 0."""

    exchange: Name
    symbol: Symbol
    quantity: Decimal


class AccountReported(Reply, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Account.Reported.v1"):
    """Where the account stands after execution number `last_number`.

    `cash` is the change by all fills and fees since the venue's beginning, per quote currency; `balances` what is there
    to trade with, where the venue keeps an account. `is_complete` is false when there are more open orders than one
    answer holds.
    """

    kind: ClassVar[str] = "account_answer"
    emitters = ("exchange",)

    request_id: Id
    last_number: Count
    order_count: Count
    open_orders: list[VenueOrder]
    is_complete: bool = True
    positions: list[VenuePosition]
    cash: dict[str, Decimal]
    balances: dict[str, Decimal] = msgspec.field(default_factory=dict)

    def topic(self) -> str:
        return f"{self.kind}.venue.all"


class ResendExecutions(
    Query, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Executions.Resend.v1"
):
    """Ask for the execution reports from a number on; the answer holds at most 500, ask again for the rest."""

    kind: ClassVar[str] = "resend_executions"
    emitters = ("executor",)
    answer = "executions_answer"

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
    NOT_FOUND = "not_found"  # cancel, replace or query of an order that the exchange does not know, and never had
    UNDECIDED = "undecided"  # submit or query: the exchange cannot tell whether it has, or had, the order
    FENCED = "fenced"  # the asker is an older life than the newest that was heard; nothing was done
    THROTTLED = "throttled"  # too many requests; nothing was done or kept, it may be asked again later


class OrderAnswered(
    ListedMessage, Reply, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Order.Answered.v1"
):
    """The answer to submit, replace, cancel or query, with the state of the order where there is one.

    The terms that hold after a replacement are in its execution report.
    """

    kind: ClassVar[str] = "order_answer"
    emitters = ("exchange",)

    request_id: Id
    client_order_id: Id
    outcome: AnswerOutcome
    status: OrderStatus | None = None
    venue_order_id: Name | None = None
    filled_quantity: Decimal | None = None
    reason: Name | None = None
    detail: Text | None = None


class RequestRefused(Reply, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Request.Refused.v1"):
    """The request could not be read; nothing was done."""

    kind: ClassVar[str] = "request_refused"
    emitters = ("exchange",)

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
    REPLACED = "replaced"  # other terms hold from here on: `order_quantity` and `limit_price`
    TRADE_CANCEL = "trade_cancel"  # the trade `corrects` never was: its quantity is unfilled again, and will not fill
    TRADE_CORRECT = "trade_correct"  # the trade `corrects` had this price and this fee


class ExecutionReported(
    ListedMessage, Event, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Execution.Reported.v1"
):
    """One change of an order at the venue, numbered without a hole over the venue's whole life.

    `quantity`, `price`, `fee` and `liquidity` belong to a trade; `fee` is in quote units, negative for a rebate.
    `corrects` is the number of the trade that a cancel or a correction of a trade is about.
    """

    kind: ClassVar[str] = "execution"
    priority = Priority.CRITICAL
    emitters = ("exchange",)

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
    corrects: Count | None = None
    order_quantity: Decimal | None = None
    limit_price: Decimal | None = None
    replace_id: Id | None = None


class ExecutionsResent(
    Reply, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Venue.Executions.Resent.v1"
):
    """Execution reports in the order of their numbers, and the newest number there is."""

    kind: ClassVar[str] = "executions_answer"
    emitters = ("exchange",)

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
