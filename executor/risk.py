"""What a signal must pass before it becomes an order. Each refusal has a reason code; nothing is rounded or guessed."""

import enum
from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from common.clock import NS_PER_MS
from common.events.risk import TradingState
from common.events.trading import Signal
from common.instruments import Instrument, Listed
from common.money import EXACT, ROUNDING, ZERO, divide_rounded, is_bounded, is_multiple, plain
from executor.exposure import NOTHING_HELD, Exposure, InstrumentKey
from executor.orders import Order

TWO = Decimal(2)


class Reason(enum.StrEnum):
    """Why a signal was denied; in the journal and in its acknowledgement."""

    MALFORMED = "MALFORMED"
    CONFLICT = "CONFLICT"
    UNKNOWN_INSTRUMENT = "UNKNOWN_INSTRUMENT"
    INVALID_QUANTITY = "INVALID_QUANTITY"
    OFF_LOT = "OFF_LOT"
    BELOW_MIN_QUANTITY = "BELOW_MIN_QUANTITY"
    ABOVE_MAX_QUANTITY = "ABOVE_MAX_QUANTITY"
    MISSING_LIMIT_PRICE = "MISSING_LIMIT_PRICE"
    UNEXPECTED_LIMIT_PRICE = "UNEXPECTED_LIMIT_PRICE"
    INVALID_LIMIT_PRICE = "INVALID_LIMIT_PRICE"
    OFF_TICK = "OFF_TICK"
    EXPIRED = "EXPIRED"
    NO_REFERENCE = "NO_REFERENCE"
    STALE_REFERENCE = "STALE_REFERENCE"
    BELOW_MIN_NOTIONAL = "BELOW_MIN_NOTIONAL"
    ABOVE_MAX_NOTIONAL = "ABOVE_MAX_NOTIONAL"
    REDUCE_ONLY = "REDUCE_ONLY"
    QUEUE_FULL = "QUEUE_FULL"
    ORDER_ADOPTED = "ORDER_ADOPTED"
    PREDECESSOR_MISSING = "PREDECESSOR_MISSING"
    NO_WORKING_ORDER = "NO_WORKING_ORDER"
    NOT_AMENDABLE = "NOT_AMENDABLE"
    CIRCUIT_OPEN = "CIRCUIT_OPEN"
    CANCELLED_BEFORE_SENT = "CANCELLED_BEFORE_SENT"
    MISSING_AT_EXCHANGE = "MISSING_AT_EXCHANGE"
    UNRESOLVED = "UNRESOLVED"
    TRADING_HALTED = "TRADING_HALTED"
    TRADING_REDUCING = "TRADING_REDUCING"
    ORDER_QUANTITY_LIMIT = "ORDER_QUANTITY_LIMIT"
    ORDER_NOTIONAL_LIMIT = "ORDER_NOTIONAL_LIMIT"
    PRICE_COLLAR = "PRICE_COLLAR"
    POSITION_QUANTITY_LIMIT = "POSITION_QUANTITY_LIMIT"
    POSITION_NOTIONAL_LIMIT = "POSITION_NOTIONAL_LIMIT"
    GROSS_NOTIONAL_LIMIT = "GROSS_NOTIONAL_LIMIT"
    NET_NOTIONAL_LIMIT = "NET_NOTIONAL_LIMIT"
    OPEN_ORDERS_LIMIT = "OPEN_ORDERS_LIMIT"
    ORDER_RATE_LIMIT = "ORDER_RATE_LIMIT"
    DUPLICATE_ORDER = "DUPLICATE_ORDER"
    SELF_TRADE = "SELF_TRADE"
    DAILY_LOSS_LIMIT = "DAILY_LOSS_LIMIT"
    DRAWDOWN_LIMIT = "DRAWDOWN_LIMIT"
    LOSS_STREAK_LIMIT = "LOSS_STREAK_LIMIT"
    UNKNOWN_BALANCE = "UNKNOWN_BALANCE"
    INSUFFICIENT_BALANCE = "INSUFFICIENT_BALANCE"
    INSUFFICIENT_MARGIN = "INSUFFICIENT_MARGIN"
    MARGIN_CALL = "MARGIN_CALL"  # no refusal: what is held already needs more than there is


class Reference(msgspec.Struct, frozen=True):
    """What the market showed last: prices in quote units, the time when the gateway made it."""

    bid: Decimal | None
    ask: Decimal | None
    last: Decimal | None
    timestamp_ns: int

    def price(self, side: str) -> Decimal | None:
        """What an order of this side would meet; the last price where that side is empty."""
        return (self.ask if side == "buy" else self.bid) or self.last

    def mark(self) -> Decimal | None:
        """The middle of bid and ask, or the last price; 12 decimals, since a float of a broken feed has up to 324."""
        if self.bid is not None and self.ask is not None:
            return divide_rounded(ROUNDING.add(self.bid, self.ask), TWO)
        return None if self.last is None else divide_rounded(self.last, Decimal(1))


FindReference = Callable[[Listed], Reference | None]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A signal and everything that its checks look at.

    To check other terms of a working order, `signal` has the new terms, less what is filled, and `replaced` is the
    order as it is: what it may still do is not counted twice.
    """

    signal: Signal
    key: InstrumentKey
    instrument: Instrument
    reference: Reference | None
    mark: Decimal | None = None  # of the reference; looked at by checks of limits only
    exposure: Exposure
    waiting_count: int
    waiting_count_max: int
    reference_age_ns_max: int
    now_ns: int
    trading_state: TradingState = TradingState.ACTIVE
    replaced: Order | None = None

    @property
    def notional(self) -> Decimal | None:
        """Value in quote units at the limit price, or at what the market shows."""
        price = self.signal.limit_price
        if price is None and self.reference is not None:
            price = self.reference.price(self.signal.action)
        return None if price is None else EXACT.multiply(self.signal.quantity, price)

    @property
    def growth(self) -> Decimal:
        """By how much the order raises what working orders may do; below 0 where it replaces a larger one."""
        quantity = self.signal.quantity
        return quantity if self.replaced is None else EXACT.subtract(quantity, self.replaced.leaves_quantity)

    @property
    def reducible(self) -> Decimal:
        """How much of the strategy's position an order may take away, less what working orders may take already."""
        holdings = self.exposure.strategy(self.signal.strategy).holdings
        return holdings.get(self.key, NOTHING_HELD).reducible(self.signal.action)

    @property
    def is_reducing(self) -> bool:
        """Whatever of our working orders fills, the strategy's position gets smaller and does not turn."""
        return self.growth <= max(self.reducible, ZERO)


class Refusal(msgspec.Struct, frozen=True):
    """A reason code, and what was expected and was there."""

    reason: Reason
    detail: str


Check = Callable[[Case], Refusal | None]


def find_refusal(case: Case, checks: Iterable[Check]) -> Refusal | None:
    """The first reason to deny a signal, in the order of the checks; None when it may become an order."""
    for check in checks:
        refusal = check(case)
        if refusal is not None:
            return refusal
    return None


def check_quantity(case: Case) -> Refusal | None:
    """Finite, above zero, a whole number of lots, within the instrument's limits."""
    quantity, instrument = case.signal.quantity, case.instrument
    if not (is_bounded(quantity) and quantity > 0):
        return Refusal(Reason.INVALID_QUANTITY, f"quantity: expected a finite amount above 0, was {quantity}")
    if not is_multiple(quantity, instrument.lot_size):
        return Refusal(Reason.OFF_LOT, f"quantity: expected a multiple of {instrument.lot_size}, was {quantity}")
    if quantity < instrument.quantity_floor:
        return Refusal(Reason.BELOW_MIN_QUANTITY, f"quantity: expected {instrument.quantity_floor} or more: {quantity}")
    if quantity > instrument.max_quantity:
        return Refusal(Reason.ABOVE_MAX_QUANTITY, f"quantity: expected up to {instrument.max_quantity}, was {quantity}")
    return None


def check_limit_price(case: Case) -> Refusal | None:
    """Present for a limit order and only there, finite, above zero, a whole number of ticks."""
    price, tick_size = case.signal.limit_price, case.instrument.tick_size
    if case.signal.order_type == "market":
        is_absent = price is None
        return None if is_absent else Refusal(Reason.UNEXPECTED_LIMIT_PRICE, f"market order with limit price {price}")
    if price is None:
        return Refusal(Reason.MISSING_LIMIT_PRICE, "limit order without limit_price")
    if not (is_bounded(price) and price > 0):
        return Refusal(Reason.INVALID_LIMIT_PRICE, f"limit_price: expected a finite amount above 0, was {price}")
    if not is_multiple(price, tick_size):
        return Refusal(Reason.OFF_TICK, f"limit_price: expected a multiple of {tick_size}, was {price}")
    return None


def check_expiry(case: Case) -> Refusal | None:
    """Not over yet."""
    if case.now_ns < case.signal.expires_ns:
        return None
    late_ms = (case.now_ns - case.signal.expires_ns) / NS_PER_MS
    return Refusal(Reason.EXPIRED, f"expires_ns: the signal expired {late_ms:.1f} ms ago")


def check_reference(case: Case) -> Refusal | None:
    """The market is known, and fresh: neither older than allowed, nor by as much ahead of our clock."""
    reference = case.reference
    if reference is None or reference.price(case.signal.action) is None:
        return Refusal(Reason.NO_REFERENCE, f"no market price of {case.instrument.name} is known")
    age_ns = case.now_ns - reference.timestamp_ns
    if abs(age_ns) <= case.reference_age_ns_max:
        return None
    limit_ms, age_ms = case.reference_age_ns_max / NS_PER_MS, age_ns / NS_PER_MS
    if age_ns < 0:
        detail = f"up to {limit_ms:.0f} ms ahead of our clock, was {-age_ms:.0f}; set the clocks of both hosts"
        return Refusal(Reason.STALE_REFERENCE, f"market price: expected {detail}")
    return Refusal(Reason.STALE_REFERENCE, f"market price: expected up to {limit_ms:.0f} ms old, was {age_ms:.0f}")


def check_notional(case: Case) -> Refusal | None:
    """Quantity times price within the instrument's limits."""
    notional, instrument = case.notional, case.instrument
    if notional is None:
        return Refusal(Reason.NO_REFERENCE, f"no price of {instrument.name} to value the order with")
    if notional < instrument.min_notional:
        return Refusal(Reason.BELOW_MIN_NOTIONAL, f"notional: expected {instrument.min_notional} or more: {notional}")
    if notional > instrument.max_notional:
        return Refusal(Reason.ABOVE_MAX_NOTIONAL, f"notional: expected up to {instrument.max_notional}, was {notional}")
    return None


def check_trading_state(case: Case) -> Refusal | None:
    """The kill switch lets it pass."""
    if case.trading_state is TradingState.ACTIVE:
        return None
    if case.trading_state is TradingState.HALTED:
        return Refusal(Reason.TRADING_HALTED, "trading: expected active, was halted; a named person may resume it")
    if case.is_reducing:
        return None
    return Refusal(Reason.TRADING_REDUCING, f"trading is reducing: {_reduction_text(case)}")


def check_reduce_only(case: Case) -> Refusal | None:
    """A reducing order is against the position and no larger than what working orders leave of it."""
    if not case.signal.reduce_only or case.is_reducing:
        return None
    return Refusal(Reason.REDUCE_ONLY, f"reduce_only: {_reduction_text(case)}")


def _reduction_text(case: Case) -> str:
    reducible = max(case.reducible, ZERO)
    return f"expected to {case.signal.action} up to {plain(reducible)}, was {plain(case.growth)}"


def check_queue(case: Case) -> Refusal | None:
    """The exchange is keeping up."""
    if case.waiting_count < case.waiting_count_max:
        return None
    return Refusal(Reason.QUEUE_FULL, f"{case.waiting_count} orders wait for the exchange to answer")


CHECKS: tuple[Check, ...] = (
    check_quantity,
    check_limit_price,
    check_expiry,
    check_trading_state,
    check_reference,
    check_notional,
    check_reduce_only,
    check_queue,
)
