"""An order and its legal moves: what should happen, what an exchange may do against its own word, and nothing else."""

import enum
from decimal import Decimal

import msgspec

from common.errors import FatalError
from common.events.trading import FINAL_STATUSES, OrderStatus, Signal
from common.money import EXACT, ROUNDING, SPLIT_STEP, ZERO, is_bounded


class Move(enum.Enum):
    """What can happen to an order."""

    ACCEPTED = enum.auto()
    REJECTED = enum.auto()
    UNANSWERED = enum.auto()
    ABANDONED = enum.auto()
    PARTIALLY_FILLED = enum.auto()
    FILLED = enum.auto()
    CANCEL_REQUESTED = enum.auto()
    CANCEL_REFUSED = enum.auto()
    REPLACE_REQUESTED = enum.auto()
    REPLACED = enum.auto()
    REPLACE_REFUSED = enum.auto()
    CANCELLED = enum.auto()
    EXPIRED = enum.auto()
    REOPENED = enum.auto()


class IllegalMoveError(FatalError):
    """The journal tells, or we have decided, something that cannot happen; state is not trusted any more."""


class UnbookableError(FatalError):
    """An execution report has amounts that are none, or is about a trade that nobody knows. Nothing was changed."""


_S, _M = OrderStatus, Move
# Every move that should happen. A fill may overtake the answer to our order, and our cancel: the venue decides.
NEXT_STATUS = {
    (_S.PENDING_NEW, _M.ACCEPTED): _S.ACCEPTED,
    (_S.PENDING_NEW, _M.REJECTED): _S.REJECTED,
    (_S.PENDING_NEW, _M.UNANSWERED): _S.UNKNOWN,
    (_S.PENDING_NEW, _M.ABANDONED): _S.DENIED,
    (_S.PENDING_NEW, _M.PARTIALLY_FILLED): _S.PARTIALLY_FILLED,
    (_S.PENDING_NEW, _M.FILLED): _S.FILLED,
    (_S.PENDING_NEW, _M.CANCELLED): _S.CANCELLED,
    (_S.PENDING_NEW, _M.EXPIRED): _S.EXPIRED,
    (_S.UNKNOWN, _M.ACCEPTED): _S.ACCEPTED,
    (_S.UNKNOWN, _M.REJECTED): _S.REJECTED,
    (_S.UNKNOWN, _M.ABANDONED): _S.DENIED,
    (_S.UNKNOWN, _M.PARTIALLY_FILLED): _S.PARTIALLY_FILLED,
    (_S.UNKNOWN, _M.FILLED): _S.FILLED,
    (_S.UNKNOWN, _M.CANCELLED): _S.CANCELLED,
    (_S.UNKNOWN, _M.EXPIRED): _S.EXPIRED,
    (_S.ACCEPTED, _M.PARTIALLY_FILLED): _S.PARTIALLY_FILLED,
    (_S.ACCEPTED, _M.FILLED): _S.FILLED,
    (_S.ACCEPTED, _M.CANCEL_REQUESTED): _S.PENDING_CANCEL,
    (_S.ACCEPTED, _M.REPLACE_REQUESTED): _S.PENDING_REPLACE,
    (_S.ACCEPTED, _M.CANCELLED): _S.CANCELLED,
    (_S.ACCEPTED, _M.EXPIRED): _S.EXPIRED,
    (_S.PARTIALLY_FILLED, _M.PARTIALLY_FILLED): _S.PARTIALLY_FILLED,
    (_S.PARTIALLY_FILLED, _M.FILLED): _S.FILLED,
    (_S.PARTIALLY_FILLED, _M.CANCEL_REQUESTED): _S.PENDING_CANCEL,
    (_S.PARTIALLY_FILLED, _M.REPLACE_REQUESTED): _S.PENDING_REPLACE,
    (_S.PARTIALLY_FILLED, _M.CANCELLED): _S.CANCELLED,
    (_S.PARTIALLY_FILLED, _M.EXPIRED): _S.EXPIRED,
    (_S.PENDING_CANCEL, _M.PARTIALLY_FILLED): _S.PENDING_CANCEL,
    (_S.PENDING_CANCEL, _M.FILLED): _S.FILLED,
    (_S.PENDING_CANCEL, _M.CANCELLED): _S.CANCELLED,
    (_S.PENDING_CANCEL, _M.EXPIRED): _S.EXPIRED,
    (_S.PENDING_CANCEL, _M.CANCEL_REFUSED): _S.ACCEPTED,
    (_S.PENDING_CANCEL, _M.REPLACED): _S.PENDING_CANCEL,
    (_S.PENDING_CANCEL, _M.REPLACE_REFUSED): _S.PENDING_CANCEL,
    (_S.PENDING_REPLACE, _M.PARTIALLY_FILLED): _S.PENDING_REPLACE,
    (_S.PENDING_REPLACE, _M.FILLED): _S.FILLED,
    (_S.PENDING_REPLACE, _M.CANCEL_REQUESTED): _S.PENDING_CANCEL,
    (_S.PENDING_REPLACE, _M.REPLACED): _S.ACCEPTED,
    (_S.PENDING_REPLACE, _M.REPLACE_REFUSED): _S.ACCEPTED,
    (_S.PENDING_REPLACE, _M.CANCELLED): _S.CANCELLED,
    (_S.PENDING_REPLACE, _M.EXPIRED): _S.EXPIRED,
}

# Moves by which an exchange contradicts itself: it executes what was at its end, or changes what nobody asked about.
# Its executions are the truth about money, so they are booked; each is an alarm and a halt. No other move is legal.
CONTRADICTIONS = {
    (status, move): after
    for statuses, moves in (
        (
            (_S.REJECTED, _S.DENIED, _S.CANCELLED, _S.EXPIRED),
            {
                _M.PARTIALLY_FILLED: _S.PARTIALLY_FILLED,
                _M.FILLED: _S.FILLED,
                _M.REPLACED: _S.ACCEPTED,
                _M.CANCELLED: _S.CANCELLED,
                _M.EXPIRED: _S.EXPIRED,
                _M.REOPENED: _S.ACCEPTED,
            },
        ),
        ((_S.FILLED,), dict.fromkeys((_M.PARTIALLY_FILLED, _M.FILLED, _M.CANCELLED, _M.EXPIRED), _S.FILLED)),
        ((_S.FILLED,), dict.fromkeys((_M.REPLACED, _M.REOPENED), _S.ACCEPTED)),
        ((_S.PENDING_NEW, _S.UNKNOWN, _S.ACCEPTED, _S.PARTIALLY_FILLED), {_M.REPLACED: _S.ACCEPTED}),
    )
    for status in statuses
    for move, after in moves.items()
}

UNANSWERED_STATUSES = frozenset({OrderStatus.PENDING_NEW, OrderStatus.UNKNOWN})


class Replacement(msgspec.Struct, frozen=True):
    """Terms that the exchange was asked to give to an order, and has not answered yet."""

    replace_id: str
    quantity: Decimal
    limit_price: Decimal
    expires_ns: int


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order, with the signal that it came from. `filled_cost` is the sum of price times quantity of its fills.

    `amended_quantity` and `amended_limit_price` are the terms that hold since the exchange changed them.
    `busted_quantity` is what the exchange took back after it was filled: it fills no more.
    """

    client_order_id: str
    signal: Signal
    status: OrderStatus = OrderStatus.PENDING_NEW
    filled_quantity: Decimal = ZERO
    filled_cost: Decimal = ZERO
    venue_order_id: str | None = None
    reason: str | None = None
    is_cancel_wanted: bool = False
    amended_quantity: Decimal | None = None
    amended_limit_price: Decimal | None = None
    busted_quantity: Decimal = ZERO
    replacement: Replacement | None = None

    @property
    def quantity(self) -> Decimal:
        """What is ordered in all, fills included."""
        return self.signal.quantity if self.amended_quantity is None else self.amended_quantity

    @property
    def limit_price(self) -> Decimal | None:
        """The limit that holds; None for a market order."""
        return self.signal.limit_price if self.amended_limit_price is None else self.amended_limit_price

    @property
    def is_final(self) -> bool:
        """Tell whether nothing should happen to it any more."""
        return self.status in FINAL_STATUSES

    @property
    def is_unanswered(self) -> bool:
        """Tell whether the exchange has not said yet that it has the order."""
        return self.status in UNANSWERED_STATUSES

    @property
    def leaves_quantity(self) -> Decimal:
        """What can still be filled; below 0 where the exchange has filled more than was ordered."""
        return EXACT.subtract(EXACT.subtract(self.quantity, self.filled_quantity), self.busted_quantity)

    @property
    def exposed_quantity(self) -> Decimal:
        """What may still be filled in the worst case: with more asked for, the exchange may have agreed already."""
        if self.replacement is None or self.replacement.quantity <= self.quantity:
            return self.leaves_quantity
        return EXACT.add(self.leaves_quantity, EXACT.subtract(self.replacement.quantity, self.quantity))

    @property
    def exposed_limit_price(self) -> Decimal | None:
        """The limit that it may be filled at in the worst case, for the same reason."""
        if self.replacement is None or self.limit_price is None:
            return self.limit_price
        further = max if self.signal.action == "buy" else min
        return further(self.limit_price, self.replacement.limit_price)

    @property
    def average_price(self) -> Decimal | None:
        """Cost of one filled unit, 12 decimals; None before the first fill."""
        if not self.filled_quantity:
            return None
        return ROUNDING.divide(self.filled_cost, self.filled_quantity).quantize(SPLIT_STEP, context=ROUNDING)

    def after(self, move: Move, *, venue_order_id: str | None = None, reason: str | None = None) -> "Order":
        """The order after something happened to it.

        Raises:
            IllegalMoveError: It cannot happen in this state.
        """
        status = NEXT_STATUS.get((self.status, move)) or CONTRADICTIONS.get((self.status, move))
        if status is None:
            raise IllegalMoveError(f"order {self.client_order_id}: {move.name} cannot follow {self.status.value}")
        if move is Move.CANCEL_REFUSED and self.replacement is not None:
            status = OrderStatus.PENDING_REPLACE  # the cancel came on top of it
        elif status is OrderStatus.ACCEPTED and self.filled_quantity:
            status = OrderStatus.PARTIALLY_FILLED  # a refused cancel leaves the order as filled as it was
        return msgspec.structs.replace(
            self,
            status=status,
            venue_order_id=venue_order_id or self.venue_order_id,
            reason=reason or self.reason,
            is_cancel_wanted=self.is_cancel_wanted and not self.is_final,  # what works again needs a cancel of its own
        )

    def after_fill(self, quantity: Decimal, price: Decimal) -> "Order":
        """The order after a fill, be it of more than was ordered.

        Raises:
            UnbookableError: It is of nothing, or at a price that is no amount.
        """
        if not (is_bounded(quantity) and quantity > 0 and is_bounded(price)):
            raise UnbookableError(
                f"order {self.client_order_id}: expected a fill above 0 at a finite price, was {quantity} at {price}"
            )
        moved = self.after(Move.PARTIALLY_FILLED if quantity < self.leaves_quantity else Move.FILLED)
        return msgspec.structs.replace(
            moved,
            filled_quantity=EXACT.add(self.filled_quantity, quantity),
            filled_cost=EXACT.add(self.filled_cost, EXACT.multiply(quantity, price)),
        )

    def after_replacement(self, quantity: Decimal, limit_price: Decimal) -> "Order":
        """The order under the terms that the exchange has given it.

        Raises:
            IllegalMoveError: It cannot happen in this state.
            UnbookableError: The terms are no amounts, or no more could be filled.
        """
        changed = msgspec.structs.replace(
            self.after(Move.REPLACED), amended_quantity=quantity, amended_limit_price=limit_price, replacement=None
        )
        if not (is_bounded(quantity) and is_bounded(limit_price) and changed.leaves_quantity > 0):
            raise UnbookableError(
                f"order {self.client_order_id}: expected new terms above the {self.filled_quantity} filled, "
                f"was {quantity} at {limit_price}"
            )
        return changed

    def after_bust(self, quantity: Decimal, price: Decimal) -> "Order":
        """The order after the exchange took a fill back: that part fills no more, and a filled order is cancelled."""
        left = EXACT.subtract(self.filled_quantity, quantity)
        status = self.status
        if status is OrderStatus.FILLED:
            status = OrderStatus.CANCELLED
        elif status is OrderStatus.PARTIALLY_FILLED and not left:
            status = OrderStatus.ACCEPTED
        return msgspec.structs.replace(
            self,
            status=status,
            filled_quantity=left,
            filled_cost=EXACT.subtract(self.filled_cost, EXACT.multiply(quantity, price)),
            busted_quantity=EXACT.add(self.busted_quantity, quantity),
        )

    def after_correction(self, quantity: Decimal, price_before: Decimal, price: Decimal) -> "Order":
        """The order after the exchange corrected the price of a fill."""
        change = EXACT.multiply(quantity, EXACT.subtract(price, price_before))
        return msgspec.structs.replace(self, filled_cost=EXACT.add(self.filled_cost, change))
