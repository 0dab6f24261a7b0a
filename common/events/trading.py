"""Trading domain: what strategies ask for and what becomes of it. Money is `Decimal`, a string on the wire."""

import enum
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

import msgspec

from common.events.base import (
    Command,
    Count,
    Event,
    EventId,
    Id,
    ListedMessage,
    Name,
    Price,
    Priority,
    Query,
    Reply,
    Symbol,
    Text,
)

Side = Literal["buy", "sell"]
OrderType = Literal["market", "limit"]
TimeInForce = Literal["gtc", "ioc", "fok"]
Liquidity = Literal["maker", "taker"]
Confidence = Annotated[float, msgspec.Meta(ge=0, le=1)]


class OrderStatus(enum.StrEnum):
    """Where an order stands: the FIX states, DENIED (never left us) and UNKNOWN (outcome not known)."""

    PENDING_NEW = "pending_new"
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    DENIED = "denied"
    UNKNOWN = "unknown"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"


FINAL_STATUSES = frozenset(
    {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REJECTED, OrderStatus.DENIED}
)


class Signal(
    ListedMessage, Event, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Trading.Signal.Generated.v1"
):
    """A strategy's decision to trade, pushed to the executor; it is asked for once and only once by its `signal_id`.

    `expires_ns`: wall time after which it must not be sent any more. `trigger_timestamp_ns`: time of its tick.
    `follows`: the instruction before it, as `signal_id` or `request_id`; it is applied only after that one has its
    verdict. Without it a signal is applied as it comes.
    """

    kind: ClassVar[str] = "signal"
    priority = Priority.HIGH
    emitters = ("strategy",)

    signal_id: Id
    strategy: Id
    action: Side
    order_type: OrderType
    quantity: Decimal
    limit_price: Decimal | None = None
    time_in_force: TimeInForce
    expires_ns: int
    trigger_price: Price | None = None
    trigger_timestamp_ns: int | None = None
    confidence: Confidence | None = None
    reduce_only: bool = False
    follows: Id | None = None
    cause_id: EventId | None = None
    correlation_id: EventId | None = None


class CancelRequested(
    ListedMessage, Command, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Trading.Cancel.Requested.v1"
):
    """A strategy asks the executor to cancel the order of one of its signals. Repeating it does no harm.

    One with a `request_id` is acknowledged under that id, like a signal; `follows` as in `Signal`.
    """

    kind: ClassVar[str] = "cancel"
    emitters = ("strategy",)
    answer = "signal_acknowledged"

    signal_id: Id
    strategy: Id
    request_id: Id | None = None
    follows: Id | None = None


class AmendRequested(
    ListedMessage, Command, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Trading.Amend.Requested.v1"
):
    """A strategy asks for other terms of a working limit order: FIX's cancel/replace.

    `quantity` is the new total, fills included; `limit_price` the new limit. What is absent stays as it is. It is
    acknowledged under its `request_id`, once, like a signal; `follows` and `expires_ns` as in `Signal`.
    """

    kind: ClassVar[str] = "amend"
    emitters = ("strategy",)
    answer = "signal_acknowledged"

    request_id: Id
    signal_id: Id
    strategy: Id
    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    expires_ns: int
    follows: Id | None = None


class Acknowledgement(enum.StrEnum):
    """The end of a signal, as its strategy is told."""

    ACCEPTED = "accepted"  # the exchange has the order
    REJECTED = "rejected"  # the exchange refused it
    DENIED = "denied"  # the executor refused it, or gave it up; it was not placed, as far as anyone can tell
    CONFLICT = "conflict"  # the id is taken by another body; nothing was sent


class SignalAcknowledged(
    ListedMessage, Event, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Trading.Signal.Acknowledged.v1"
):
    """What became of a signal. Emitted by the executor once its outcome is durable, and again for each repeat."""

    kind: ClassVar[str] = "signal_acknowledged"
    priority = Priority.HIGH
    emitters = ("executor",)

    signal_id: Id
    strategy: Id
    outcome: Acknowledgement
    reason: Name | None = None  # an UPPER_CASE code
    detail: Text | None = None
    client_order_id: Id | None = None
    cause_id: EventId | None = None
    correlation_id: EventId | None = None


class OrderEvent(ListedMessage, Event, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """An order after a change, in full: each event alone tells where the order stands.

    `fee` and `liquidity` belong to the last fill; `fee` is in quote units, negative for a rebate.
    """

    priority = Priority.HIGH
    emitters = ("executor",)

    client_order_id: Id
    signal_id: Id
    strategy: Id
    status: OrderStatus
    side: Side
    order_type: OrderType
    quantity: Decimal
    limit_price: Decimal | None = None
    time_in_force: TimeInForce
    filled_quantity: Decimal
    average_price: Decimal | None = None
    last_quantity: Decimal | None = None
    last_price: Decimal | None = None
    fee: Decimal | None = None
    liquidity: Liquidity | None = None
    venue_order_id: Name | None = None
    execution_number: Count | None = None
    reason: Name | None = None
    cause_id: EventId | None = None
    correlation_id: EventId | None = None


class OrderSubmitted(OrderEvent, frozen=True, gc=False, omit_defaults=True, tag="Trading.Order.Submitted.v1"):
    """The intent is durable; the order is on its way to the exchange."""

    kind: ClassVar[str] = "order_submitted"


class OrderAccepted(OrderEvent, frozen=True, gc=False, omit_defaults=True, tag="Trading.Order.Accepted.v1"):
    """The exchange has the order."""

    kind: ClassVar[str] = "order_accepted"


class OrderRejected(OrderEvent, frozen=True, gc=False, omit_defaults=True, tag="Trading.Order.Rejected.v1"):
    """The exchange refused the order."""

    kind: ClassVar[str] = "order_rejected"


class OrderDenied(OrderEvent, frozen=True, gc=False, omit_defaults=True, tag="Trading.Order.Denied.v1"):
    """The order ended here; the exchange never had it, or nobody can tell, with the reason UNRESOLVED."""

    kind: ClassVar[str] = "order_denied"


class OrderUnknown(OrderEvent, frozen=True, gc=False, omit_defaults=True, tag="Trading.Order.Unknown.v1"):
    """The exchange did not answer in time: it may or may not have the order, and is being asked."""

    kind: ClassVar[str] = "order_unknown"


class OrderPartiallyFilled(
    OrderEvent, frozen=True, gc=False, omit_defaults=True, tag="Trading.Order.PartiallyFilled.v1"
):
    """A part was filled; the rest is still working."""

    kind: ClassVar[str] = "order_partially_filled"
    priority = Priority.CRITICAL


class OrderFilled(OrderEvent, frozen=True, gc=False, omit_defaults=True, tag="Trading.Order.Filled.v1"):
    """The whole quantity was filled."""

    kind: ClassVar[str] = "order_filled"
    priority = Priority.CRITICAL


class OrderCancelRequested(
    OrderEvent, frozen=True, gc=False, omit_defaults=True, tag="Trading.Order.CancelRequested.v1"
):
    """A cancel is on its way to the exchange; a fill may still overtake it."""

    kind: ClassVar[str] = "order_cancel_requested"


class OrderAmendRequested(OrderEvent, frozen=True, gc=False, omit_defaults=True, tag="Trading.Order.AmendRequested.v1"):
    """New terms are on their way to the exchange; the old ones hold, and may be filled, until it agrees."""

    kind: ClassVar[str] = "order_amend_requested"


class OrderAmended(OrderEvent, frozen=True, gc=False, omit_defaults=True, tag="Trading.Order.Amended.v1"):
    """The exchange answered an amendment: the terms in this event hold, with a `reason` where it refused."""

    kind: ClassVar[str] = "order_amended"


class OrderCancelled(OrderEvent, frozen=True, gc=False, omit_defaults=True, tag="Trading.Order.Cancelled.v1"):
    """The rest was cancelled on request."""

    kind: ClassVar[str] = "order_cancelled"


class OrderExpired(OrderEvent, frozen=True, gc=False, omit_defaults=True, tag="Trading.Order.Expired.v1"):
    """The rest ended by its time in force."""

    kind: ClassVar[str] = "order_expired"


class TradeExecuted(ListedMessage, Event, frozen=True, kw_only=True, tag="Trading.Trade.Executed.v1"):
    """A fill of ours, alone: emitted once per trade at the venue, before the order and position events that follow it.

    A trade that is cancelled or corrected later is told by those, not here again.
    """

    kind: ClassVar[str] = "trade_executed"
    priority = Priority.CRITICAL
    emitters = ("executor",)

    strategy: Id
    signal_id: Id
    client_order_id: Id
    venue_order_id: Name
    execution_number: Count
    side: Side
    quantity: Decimal
    price: Decimal
    notional: Decimal
    fee: Decimal
    liquidity: Liquidity | None = None
    cause_id: EventId | None = None
    correlation_id: EventId | None = None


class PnlUpdated(ListedMessage, Event, frozen=True, kw_only=True, tag="Trading.PnL.Updated.v1"):
    """What a strategy has won or lost in one instrument so far, in quote units, marked at `mark_price`."""

    kind: ClassVar[str] = "pnl_updated"
    priority = Priority.HIGH

    strategy: Id
    realised_pnl: Decimal
    unrealised_pnl: Decimal
    fees: Decimal
    total_pnl: Decimal
    mark_price: Decimal | None = None
    cause_id: EventId | None = None
    correlation_id: EventId | None = None


class PositionEvent(ListedMessage, Event, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A strategy's position in one instrument after a fill. Long above 0, short below.

    `entry_price` is the average cost for one unit, 12 decimals; profits and fees are in quote units.
    `unrealised_pnl` is marked at `mark_price`; a closed position has neither.
    """

    priority = Priority.HIGH
    emitters = ("executor",)

    strategy: Id
    quantity: Decimal
    entry_price: Decimal | None = None
    mark_price: Decimal | None = None
    realised_pnl: Decimal
    unrealised_pnl: Decimal
    fees: Decimal
    cause_id: EventId | None = None
    correlation_id: EventId | None = None


class PositionOpened(PositionEvent, frozen=True, gc=False, omit_defaults=True, tag="Trading.Position.Opened.v1"):
    """The position left zero, or crossed it."""

    kind: ClassVar[str] = "position_opened"


class PositionModified(PositionEvent, frozen=True, gc=False, omit_defaults=True, tag="Trading.Position.Modified.v1"):
    """The position grew or shrank."""

    kind: ClassVar[str] = "position_modified"


class PositionClosed(PositionEvent, frozen=True, gc=False, omit_defaults=True, tag="Trading.Position.Closed.v1"):
    """The position is zero again."""

    kind: ClassVar[str] = "position_closed"


class StateRequested(Query, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Trading.State.Requested.v1"):
    """A strategy that starts, or that missed events, asks the executor for its open orders and positions.

    `last_id` is its newest instruction that it knows of, so that the executor hears of a strategy that lost its memory.
    """

    kind: ClassVar[str] = "state_request"
    emitters = ("strategy",)
    answer = "state_reported"

    strategy: Id
    request_id: Id
    last_id: Id | None = None

    def topic(self) -> str:
        return f"{self.kind}.executor.{self.strategy}"


class OpenOrder(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A working order, as a strategy sees it."""

    client_order_id: Id
    signal_id: Id
    exchange: Name
    symbol: Symbol
    status: OrderStatus
    side: Side
    order_type: OrderType
    quantity: Decimal
    filled_quantity: Decimal
    limit_price: Decimal | None = None


class HeldPosition(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A position, as a strategy sees it; the fields mean what they mean in `PositionEvent`."""

    exchange: Name
    symbol: Symbol
    quantity: Decimal
    realised_pnl: Decimal
    fees: Decimal
    entry_price: Decimal | None = None
    mark_price: Decimal | None = None
    unrealised_pnl: Decimal = Decimal(0)


class StateReported(Reply, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Trading.State.Reported.v1"):
    """The executor's answer, in the stream of its events: what came before it on `events` is contained in it.

    `last_id` is the strategy's newest instruction that has its verdict. One that the strategy does not know means that
    its outbox was lost, or restored from a backup.
    """

    kind: ClassVar[str] = "state_reported"
    emitters = ("executor",)

    strategy: Id
    request_id: Id
    open_orders: list[OpenOrder]
    positions: list[HeldPosition]
    last_id: Id | None = None

    def topic(self) -> str:
        return f"{self.kind}.executor.{self.strategy}"
