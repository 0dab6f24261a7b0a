"""Positions as a fold over fills, exact: realised profit plus the cost of what is held equals the cash that moved.

Average cost method. Only the split of a cost between what is closed and what stays is rounded, to 12 decimals; the sum
of both parts is not.
"""

from decimal import Decimal

import msgspec

from common.events.trading import Side
from common.money import EXACT, ROUNDING, ZERO, divide_rounded


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Long above 0, short below. `cost` is the signed cash that was paid for what is held, without fees."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realised_pnl: Decimal = ZERO
    fees: Decimal = ZERO

    @property
    def entry_price(self) -> Decimal | None:
        """Average cost of one unit, 12 decimals; None when flat."""
        return divide_rounded(self.cost, self.quantity) if self.quantity else None

    def unrealised_pnl(self, mark_price: Decimal | None) -> Decimal:
        """Profit if everything were closed at the mark price; 0 without one."""
        if mark_price is None or not self.quantity:
            return ZERO
        return EXACT.subtract(EXACT.multiply(self.quantity, mark_price), self.cost)

    def after_fill(self, side: Side, quantity: Decimal, price: Decimal, fee: Decimal) -> "Position":
        """The position after a fill.

        Args:
            side: Of the order that was filled.
            quantity: Base units, above 0.
            price: Quote units for one.
            fee: Quote units; negative for a rebate.
        """
        # copy_negate and copy_abs, since - and abs() would round to the 28 digits of Python's default context.
        signed = quantity if side == "buy" else quantity.copy_negate()
        fees = EXACT.add(self.fees, fee)
        is_growing = not self.quantity or (self.quantity > 0) == (signed > 0)
        if is_growing:
            return msgspec.structs.replace(
                self,
                quantity=EXACT.add(self.quantity, signed),
                cost=EXACT.add(self.cost, EXACT.multiply(signed, price)),
                fees=fees,
            )
        closed = min(quantity, self.quantity.copy_abs())
        reduced = msgspec.structs.replace(self._reduced(closed, price), fees=fees)
        opened = EXACT.subtract(quantity, closed)
        return reduced.after_fill(side, opened, price, ZERO) if opened else reduced

    def _reduced(self, closed: Decimal, price: Decimal) -> "Position":
        """Close a part, or all, at a price."""
        signed = closed if self.quantity > 0 else closed.copy_negate()
        left = EXACT.subtract(self.quantity, signed)
        # When all is closed the whole cost goes with it, so no rounding is left behind.
        share = self.cost if not left else divide_rounded(ROUNDING.multiply(self.cost, signed), self.quantity)
        profit = EXACT.subtract(EXACT.multiply(signed, price), share)
        return msgspec.structs.replace(
            self,
            quantity=left,
            cost=EXACT.subtract(self.cost, share),
            realised_pnl=EXACT.add(self.realised_pnl, profit),
        )
