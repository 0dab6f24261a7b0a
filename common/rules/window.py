"""Windows over event time: the last N values, or those of the last T seconds, with what quants ask of them.

    runs = last(6, of=mid_price).changes()              # mids that differ from the one before
    returns = last_seconds(60, of=log_mid).steps()      # differences: log returns

A value costs the same whatever the window's length. Extremes and runs are kept from the first time they are asked for.
"""

import math
from array import array
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from common.clock import NS_PER_S
from common.errors import InvalidValueError
from common.rules.extremes import Extremes, Run
from common.rules.moments import Moments, SavedMoments

COUNT_MAX = 10_000_000
COUNT_MAX_DEFAULT = 100_000  # 2 s of 50 k ticks/s; about 8 MB in memory, 1.6 MB in a saved state
NAN = math.nan


class WindowSpec(msgspec.Struct, frozen=True):
    """What a window holds; made by `last` and `last_seconds`."""

    of: Callable[[Any], float | None]
    count_max: int
    span_ns: int | None = None
    takes: Literal["values", "changes", "steps"] = "values"

    def changes(self) -> "WindowSpec":
        """Only values that differ from the one before them."""
        return msgspec.structs.replace(self, takes="changes")

    def steps(self) -> "WindowSpec":
        """Each value minus the one before it; the first one gives none."""
        return msgspec.structs.replace(self, takes="steps")

    def shape(self) -> str:
        """What must be equal for a saved window to fit."""
        return f"{self.takes}:{self.count_max}:{self.span_ns}"


def last(count: int, *, of: Callable[[Any], float | None]) -> WindowSpec:
    """Ask for a window of the last `count` values.

    Args:
        count: 1 to 10,000,000.
        of: Gives an event's value. None, NaN and what is beyond 1e100 mean that it has none: the window gets no value.

    Raises:
        InvalidValueError: The count is outside its range.
    """
    return WindowSpec(of, _check_count(count))


def last_seconds(
    seconds: float, *, of: Callable[[Any], float | None], count_max: int = COUNT_MAX_DEFAULT
) -> WindowSpec:
    """Ask for a window of the values of the last `seconds` of event time: those younger than that.

    Args:
        seconds: Above 0, up to 7 days.
        of: As of `last`.
        count_max: Where more values come in that time, the oldest leaves early and `values_cut` counts it.

    Raises:
        InvalidValueError: A number is outside its range.
    """
    if not 0 < seconds <= 7 * 86_400:
        raise InvalidValueError(f"window: expected more than 0 seconds and up to 7 days, was {seconds}")
    return WindowSpec(of, _check_count(count_max), max(round(seconds * NS_PER_S), 1))


def _check_count(count: int) -> int:
    if not 1 <= count <= COUNT_MAX:
        raise InvalidValueError(f"window: expected a count from 1 to {COUNT_MAX}, was {count}")
    return count


class _Saved(msgspec.Struct, array_like=True):
    first_number: int
    begin_ns: int | None
    values: bytes
    times_ns: bytes
    moments: SavedMoments


class Window:
    """Numbers with their times, oldest first. What an empty one cannot tell is NaN, which no comparison passes."""

    __slots__ = (
        "_begin_ns",
        "_count_max",
        "_extremes",
        "_first_number",
        "_moments",
        "_run",
        "_span_ns",
        "_times_ns",
        "_values",
        "values_cut",
    )

    def __init__(self, count_max: int, span_ns: int | None = None) -> None:
        self.values_cut = 0
        self._count_max = count_max
        self._span_ns = span_ns
        self._values: deque[float] = deque()
        self._times_ns: deque[int] = deque()
        self._first_number = 0  # of the oldest value; numbers rise by one with each value ever taken
        self._begin_ns: int | None = None
        self._moments = Moments()
        self._extremes: Extremes | None = None
        self._run: Run | None = None

    def push(self, value: float, now_ns: int) -> None:
        """Take a value up to 1e100; what is too old or too much then leaves.

        A time that goes back counts as the newest.
        """
        values, times_ns = self._values, self._times_ns
        if times_ns and now_ns < times_ns[-1]:
            now_ns = times_ns[-1]
        if self._span_ns is not None:
            self.expire(now_ns)
        if len(values) == self._count_max:
            self._evict(1)
            self.values_cut += self._span_ns is not None
        number = self._first_number + len(values)
        if not values:
            self._moments.begin(value, number)
            if self._begin_ns is None:
                self._begin_ns = now_ns
        else:
            self._moments.push(value)
        values.append(value)
        times_ns.append(now_ns)
        if self._extremes is not None:
            self._extremes.push(number, value)
        if self._run is not None:
            self._run.push(number, value, self._first_number)

    def expire(self, now_ns: int) -> None:
        """Let time pass: values of `now_ns` minus the span, and older, leave."""
        if self._span_ns is None:
            return
        limit_ns, count = now_ns - self._span_ns, 0
        for time_ns in self._times_ns:
            if time_ns > limit_ns:
                break
            count += 1
        if count:
            self._evict(count)

    def _evict(self, count: int) -> None:
        values, times_ns, moments = self._values, self._times_ns, self._moments
        first_number, next_number = self._first_number, self._first_number + len(values)
        for _ in range(count):
            first_number += 1
            moments.evict(values.popleft(), first_number, next_number)
            times_ns.popleft()
        self._first_number = first_number
        if values:
            moments.mend(values)
        if self._extremes is not None:
            self._extremes.evict(self._first_number)
        if self._run is not None:
            self._run.evict(self._first_number)

    # What it holds

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> float:
        """A value by its place: 0 is the oldest, -1 the newest; O(1) near either end."""
        return self._values[index]

    @property
    def count(self) -> int:
        """How many values there are."""
        return len(self._values)

    @property
    def is_full(self) -> bool:
        """N values are there; or values have come for T seconds, however many there are now."""
        if self._span_ns is None:
            return len(self._values) == self._count_max
        if self._begin_ns is None or not self._times_ns:
            return False
        return self._times_ns[-1] - self._begin_ns >= self._span_ns or len(self._values) == self._count_max

    @property
    def first(self) -> float:
        """The oldest value."""
        return self._values[0] if self._values else NAN

    @property
    def last(self) -> float:
        """The newest value."""
        return self._values[-1] if self._values else NAN

    @property
    def sum(self) -> float:
        """The sum; 0 when empty."""
        return self._moments.sum(self._values) if self._values else 0.0

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        return self._moments.mean(self._values) if self._values else NAN

    @property
    def variance(self) -> float:
        """The sample variance (divided by count - 1); NaN below two values. For its error see `moments`."""
        count = len(self._values)
        return self._moments.centred_squares(self._values) / (count - 1) if count > 1 else NAN

    @property
    def stddev(self) -> float:
        """The root of the variance."""
        return math.sqrt(self.variance)

    @property
    def square_sum(self) -> float:
        """The sum of squares; of log returns it is the realised variance."""
        if not self._values:
            return 0.0
        mean = self.mean
        return self._moments.centred_squares(self._values) + len(self._values) * mean * mean

    @property
    def min(self) -> float:
        """The lowest value."""
        return self._known_extremes().lowest if self._values else NAN

    @property
    def max(self) -> float:
        """The highest value."""
        return self._known_extremes().highest if self._values else NAN

    @property
    def rising(self) -> int:
        """How many of the newest moves in a row were rises. Equal values neither count nor end a run."""
        return self._known_run().rising

    @property
    def falling(self) -> int:
        """How many of the newest moves in a row were falls."""
        return self._known_run().falling

    @property
    def span_s(self) -> float:
        """Seconds from the oldest to the newest value."""
        return (self._times_ns[-1] - self._times_ns[0]) / NS_PER_S if self._times_ns else 0.0

    @property
    def rate(self) -> float:
        """Values per second: count / T for T seconds; (count - 1) / `span_s` for N values, NaN without a span."""
        if self._span_ns is not None:
            return len(self._values) * NS_PER_S / self._span_ns
        return (len(self._values) - 1) / self.span_s if self.span_s else NAN

    def _known_extremes(self) -> Extremes:
        if self._extremes is None:
            self._extremes = Extremes(self._first_number, self._values)
        return self._extremes

    def _known_run(self) -> Run:
        if self._run is None:
            self._run = Run(self._first_number, self._values)
        return self._run

    # Over a restart

    def save_state(self) -> list[Any]:
        """Plain data, 16 bytes for each value."""
        return [
            self._first_number,
            self._begin_ns,
            array("d", self._values).tobytes(),
            array("q", self._times_ns).tobytes(),
            self._moments.save(),
        ]

    def load_state(self, state: Any) -> None:
        """Go on from what `save_state` gave, to the last bit, on a machine of the same byte order.

        Raises:
            InvalidValueError: It is not that, or holds more than this window may.
        """
        try:
            saved = msgspec.convert(state, _Saved)
            values, times_ns = array("d", saved.values), array("q", saved.times_ns)
        except (msgspec.ValidationError, ValueError) as error:
            raise InvalidValueError(f"saved window: {error}") from error
        if not (len(values) == len(times_ns) <= self._count_max and all(map(math.isfinite, values))):
            raise InvalidValueError(
                f"saved window: expected up to {self._count_max} finite values with their times, "
                f"was {len(values)} values and {len(times_ns)} times"
            )
        self._values, self._times_ns = deque(values), deque(times_ns)
        self._first_number, self._begin_ns = saved.first_number, saved.begin_ns
        self._moments.load(saved.moments)
        self._extremes = self._run = None
