"""What strategies measure prices with: a rolling window, and support and resistance levels."""

from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Prices = npt.NDArray[np.float64]


class Level(msgspec.Struct, frozen=True, gc=False):
    """A price, in quote units, at which the market has turned `touches` times."""

    price: float
    touches: int


def find_levels(prices: Prices, *, half_window: int, tolerance: float, touches_min: int) -> tuple[Level, ...]:
    """Find the prices at which a path turned again and again.

        14 |    H           H              ═══ 14.0, touched 3 times
        13 |                            H
        12 |       *     *                 *
        11 | *                 *     *
        10 |          L                    ═══ 9.5, touched twice
         9 |                      L

    1. Pivots: a price that is the extreme of its neighbours, `half_window` of them on each side: highs H and lows L.
    2. Clusters: pivots within `tolerance` of one another, the densest first, so that no cluster loses a touch to a
       sparser one beside it. Highs and lows count alike: a support that broke turns prices from below.
    3. Score: how many pivots a cluster has. Its level is their median, so that one overshoot moves it little.

    The path above in numbers:

    >>> path = np.array([11.0, 14, 12, 10, 12, 14, 11, 9, 11, 13, 12])
    >>> find_levels(path, half_window=1, tolerance=1.0, touches_min=2)
    (Level(price=9.5, touches=2), Level(price=14.0, touches=3))

    Args:
        prices: (count,) float64, oldest first.
        half_window: Also how many of the newest prices cannot be pivots yet: what follows them is not known.
        tolerance: Width of a cluster in quote units.
        touches_min: Clusters with fewer touches are noise.

    Returns:
        The levels by rising price, each between the lowest and the highest of `prices`.
    """
    pivots = np.sort(find_pivots(prices, half_window))
    levels = [
        Level((float(pivots[(start + stop - 1) // 2]) + float(pivots[(start + stop) // 2])) / 2, stop - start)
        for start, stop in _densest_spans(pivots, tolerance, touches_min)
    ]
    return tuple(sorted(levels, key=lambda level: level.price))


def find_pivots(prices: Prices, half_window: int) -> Prices:
    """Pick the prices that none of their neighbours exceeds, as highs and as lows: (count,) float64.

    Of equal prices within a half-window only the first is a pivot: a market that rests there touches it once.
    """
    if len(prices) <= 2 * half_window:
        return prices[:0]
    # Row k is the path shifted by k. Long rows make the reductions run along memory: 41 µs for 1,000 prices and a
    # half-window of 5, against 199 µs with one short row per price.
    shifted = sliding_window_view(prices, len(prices) - 2 * half_window)
    before, here, after = shifted[:half_window], shifted[half_window], shifted[half_window + 1 :]
    is_high = (here > before.max(axis=0)) & (here >= after.max(axis=0))
    is_low = (here < before.min(axis=0)) & (here <= after.min(axis=0))
    pivots: Prices = here[is_high | is_low]
    return pivots


def _densest_spans(pivots: Prices, tolerance: float, touches_min: int) -> Iterator[tuple[int, int]]:
    """Index ranges of clusters in sorted pivots: the densest, then the densest of what lies on either side of it."""
    stops = np.searchsorted(pivots, pivots + tolerance, side="right")
    starts = np.arange(len(pivots))
    spans = [(0, len(pivots))]
    while spans:
        low, high = spans.pop()
        if high - low < touches_min:
            continue
        touches = np.minimum(stops[low:high], high) - starts[low:high]
        densest = int(touches.argmax())
        start, stop = low + densest, low + densest + int(touches[densest])
        if stop - start >= touches_min:
            yield start, stop
            spans += [(low, start), (stop, high)]


class Ring:
    """The newest `capacity` numbers, oldest first, always in one piece of memory.

        buffer of 2 x capacity   [ . . 3 4 5 6 | . . ]     a push writes behind the window and moves it on by one;
                                       ~~~~~~~             at the end the window is copied back to the front

    So a push writes one number, a copy comes once in `capacity` pushes, and reading copies nothing.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._buffer = np.zeros(2 * capacity, dtype=np.float64)
        self._readable = self._buffer.view()
        self._readable.flags.writeable = False
        self._stop = 0

    def __len__(self) -> int:
        return min(self._stop, self.capacity)

    def push(self, value: float) -> None:
        """Add the newest number; the oldest one leaves when the window is full."""
        stop = self._stop
        if stop == len(self._buffer):
            stop = self.capacity
            self._buffer[:stop] = self._buffer[stop:]
        self._buffer[stop] = value
        self._stop = stop + 1

    def window(self) -> Prices:
        """The numbers so far: (count,) float64, a read-only view that is good until the next push."""
        return self._readable[max(0, self._stop - self.capacity) : self._stop]
