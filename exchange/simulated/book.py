"""What the market shows of one instrument, and how much of it our own orders have already taken."""

import math
from decimal import Decimal
from typing import NamedTuple

from common.instruments import Instrument
from common.money import EXACT, ZERO


class Touch(NamedTuple):
    """The best level of a side, on the grid: its price and the size that is left for our orders."""

    price: Decimal
    available: Decimal


NOTHING_SHOWN = Touch(ZERO, ZERO)


class BookSide:
    """The newest quote of one side.

    What our orders take stays taken while the market shows the same price and size: a repeated quote may be the
    same shares as before. A different price or size is a new quote, all of which can be had.
    """

    __slots__ = ("_instrument", "_price", "_size", "_touch", "is_consumed")

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._price: float | None = None
        self._size: float | None = None
        self._touch: Touch | None = NOTHING_SHOWN
        self.is_consumed = False

    def show(self, price: float | None, size: float | None) -> None:
        """Take the market's quote; None or NaN where it names none."""
        if price == self._price and size == self._size:
            return
        self._price = price
        self._size = size
        self._touch = None
        self.is_consumed = False

    def touch(self) -> Touch:
        """What can be traded now. Without a price or a size, nothing."""
        # Converted when it is asked for: 3 µs that only a tick which meets an order needs to cost.
        if self._touch is None:
            self._touch = self._convert()
        return self._touch

    def take(self, quantity: Decimal) -> None:
        """Use up a part of what is shown."""
        touch = self.touch()
        self._touch = touch._replace(available=EXACT.subtract(touch.available, quantity))
        self.is_consumed = True

    def _convert(self) -> Touch:
        if self._price is None or self._size is None or not math.isfinite(self._price + self._size):
            return NOTHING_SHOWN
        # To the nearest price: 0.1 + 0.2 is a market at 0.3, not one tick above it.
        price = self._instrument.round_price(self._price)
        return Touch(price, self._instrument.round_quantity(self._size)) if price > ZERO else NOTHING_SHOWN
