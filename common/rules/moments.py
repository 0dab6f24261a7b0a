"""Sum and variance of a sliding window, O(1) for a value, and as exact after a billion values as after the first.

Adding what comes and subtracting what leaves has three enemies. Each has its answer:

- Rounding piles up. A second pair of sums is begun beside the first and only ever added to; it takes over as soon as
  all values from before its begin have left. So no sum is older than three windows.
- Prices are large and their variance is small. Sums are of deviations from a shift near the mean. Where the mean has
  moved away from it by more than ten standard deviations, they are made anew.
- An outlier that leaves takes the small digits of the sum with it. Where the sum of squares falls below a hundredth of
  its peak, it is made anew.

Making anew is O(window), exactly rounded, and takes a hundredfold change of the variance: a few times in a window's
length at the worst. The error of the variance of n values stays below its (n * 4e-12 + 1e-12)-th part, plus the square
of a 1e-12-th part of the largest value. Values are 0 or of 1e-100 to 1e100 either way; squares of others fit no float.
"""

import math
from collections.abc import Collection

import msgspec

PEAK_RATIO_MAX = 100.0
OFFSET_RATIO_MAX = 100.0
OFFSET_SHARE_MIN = 1e-9  # of the shift: a smaller offset than this cannot be told from its rounding


class SavedMoments(msgspec.Struct, array_like=True):
    """What the next life needs to go on to the last bit."""

    shift: float
    total: float
    squares: float
    peak: float
    next_shift: float
    next_total: float
    next_squares: float
    next_first_number: int


class Moments:
    """Sums of deviations from a shift, and those that will take over."""

    __slots__ = ("_next_first", "_next_shift", "_next_squares", "_next_total", "_peak", "_shift", "_squares", "_total")

    def __init__(self) -> None:
        self.begin(0.0, 0)

    def begin(self, value: float, number: int) -> None:
        """Start over: the window was empty, and this is its first value."""
        self._shift = self._next_shift = value
        self._total = self._squares = self._peak = 0.0
        self._next_total = self._next_squares = 0.0
        self._next_first = number + 1

    def push(self, value: float) -> None:
        """Take the newest value."""
        deviation = value - self._shift
        self._total += deviation
        self._squares += deviation * deviation
        if self._squares > self._peak:  # noqa: PLR1730  # max() costs 0.05 µs more
            self._peak = self._squares
        deviation = value - self._next_shift
        self._next_total += deviation
        self._next_squares += deviation * deviation

    def evict(self, value: float, first_number: int, next_number: int) -> None:
        """Take back the oldest value.

        Args:
            value: What leaves.
            first_number: That of the oldest value that stays.
            next_number: That of the value that comes next.
        """
        deviation = value - self._shift
        self._total -= deviation
        self._squares -= deviation * deviation
        if first_number == self._next_first and first_number < next_number:
            self._shift, self._total, self._squares = self._next_shift, self._next_total, self._next_squares
            self._peak = self._squares
            self._next_shift = self._shift + self._total / (next_number - first_number)
            self._next_total = self._next_squares = 0.0
            self._next_first = next_number

    def mend(self, values: Collection[float]) -> None:
        """After evictions: make the sums anew where what has left was a hundred times what is left."""
        if self._squares * PEAK_RATIO_MAX < self._peak:
            self._renew(values)

    def sum(self, values: Collection[float]) -> float:
        """The sum of the window's values, of which there is one at least."""
        self.centred_squares(values)
        return self._shift * len(values) + self._total

    def mean(self, values: Collection[float]) -> float:
        """Their mean."""
        self.centred_squares(values)
        return self._shift + self._total / len(values)

    def centred_squares(self, values: Collection[float]) -> float:
        """The sum of squared deviations from the mean. Sums whose shift is too far from it are made anew first."""
        count = len(values)
        offset = self._total / count
        shared = self._total * offset
        centred = self._squares - shared
        if shared > OFFSET_RATIO_MAX * centred and abs(offset) > OFFSET_SHARE_MIN * abs(self._shift):
            self._renew(values)
            centred = self._squares - self._total * self._total / count
        return centred if centred > 0 else 0.0

    def save(self) -> list[float]:
        """As `load` takes it."""
        return [
            self._shift,
            self._total,
            self._squares,
            self._peak,
            self._next_shift,
            self._next_total,
            self._next_squares,
            self._next_first,
        ]

    def load(self, saved: SavedMoments) -> None:
        """Go on from there."""
        self._shift, self._total, self._squares, self._peak = saved.shift, saved.total, saved.squares, saved.peak
        self._next_shift, self._next_total = saved.next_shift, saved.next_total
        self._next_squares, self._next_first = saved.next_squares, saved.next_first_number

    def _renew(self, values: Collection[float]) -> None:
        self._shift = math.fsum(values) / len(values)
        deviations = [value - self._shift for value in values]
        self._total = math.fsum(deviations)
        self._squares = self._peak = math.fsum([deviation * deviation for deviation in deviations])
