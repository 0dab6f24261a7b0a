"""Windows beside a plain recomputation of everything they tell."""

import math
import random
import statistics
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.clock import NS_PER_S
from common.errors import InvalidValueError
from common.rules import Window, last, last_seconds
from common.rules.moments import Moments

Pushes = list[tuple[float, int]]
# Prices, tiny spreads, outliers; times that stand still, move, and jump over the whole window.
VALUES = st.one_of(
    st.floats(-1e6, 1e6).map(lambda value: round(value, 9)),
    st.sampled_from([100.0, 100.01, 100.02, 60_000.0, 1e12, 1e-9, 0.0]),
)
GAPS_NS = st.sampled_from([0, 0, 1, NS_PER_S // 3, NS_PER_S, 3 * NS_PER_S, 100 * NS_PER_S])
PUSHES = st.lists(st.tuples(VALUES, GAPS_NS), max_size=60)
MEASURES = (
    "count",
    "first",
    "last",
    "sum",
    "mean",
    "variance",
    "min",
    "max",
    "rising",
    "falling",
    "square_sum",
    "rate",
)


def timed(pushes: Pushes) -> Pushes:
    """Values with times, from gaps."""
    now_ns, result = 1_000 * NS_PER_S, []
    for value, gap_ns in pushes:
        now_ns += gap_ns
        result.append((value, now_ns))
    return result


def fill(window: Window, pushes: Iterable[tuple[float, int]]) -> Window:
    """Push all of it."""
    for value, now_ns in pushes:
        window.push(value, now_ns)
    return window


def expected_of(pushes: Pushes, count_max: int, span_ns: int | None) -> Pushes:
    """What the window must hold, from the definition."""
    if span_ns is not None and pushes:
        limit_ns = pushes[-1][1] - span_ns
        pushes = [(value, time_ns) for value, time_ns in pushes if time_ns > limit_ns]
    return pushes[-count_max:]


def runs_of(values: list[float]) -> tuple[int, int]:
    """Rises and falls in a row at the end, from the definition."""
    moves = [later - earlier for earlier, later in pairwise(values) if later != earlier]
    rising = next((index for index, move in enumerate(reversed(moves)) if move < 0), len(moves))
    falling = next((index for index, move in enumerate(reversed(moves)) if move > 0), len(moves))
    return rising, falling


def exact_squares(values: list[float]) -> float:
    """Sum of squared deviations from the mean, without any rounding before the end."""
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    return float(sum((value - mean) ** 2 for value in exact))


def assert_tells(window: Window, held: Pushes, span_ns: int | None) -> None:
    """Compare every measure with its recomputation, within the error that `moments` states."""
    values = [value for value, _ in held]
    largest = max(map(abs, values))
    count = len(values)
    squares = exact_squares(values)
    share = count * 4e-12 + 1e-12
    assert [window[index] for index in range(window.count)] == values
    assert (window.first, window.last, window.min, window.max) == (values[0], values[-1], min(values), max(values))
    assert (window.rising, window.falling) == runs_of(values)
    assert window.sum == pytest.approx(math.fsum(values), rel=0, abs=1e-12 * largest * count)
    assert window.mean == pytest.approx(math.fsum(values) / count, rel=0, abs=1e-12 * largest)
    if count > 1:
        assert window.variance == pytest.approx(squares / (count - 1), rel=share, abs=(1e-12 * largest) ** 2)
        assert window.stddev == math.sqrt(window.variance)
    else:
        assert math.isnan(window.variance)
    exact_square_sum = float(sum(Fraction(value) ** 2 for value in values))
    assert window.square_sum == pytest.approx(exact_square_sum, rel=1e-9, abs=1e-300)
    held_ns = held[-1][1] - held[0][1]
    assert window.span_s == held_ns / NS_PER_S
    if span_ns is not None:
        assert window.rate == count * NS_PER_S / span_ns
    elif held_ns:
        assert window.rate == pytest.approx((count - 1) * NS_PER_S / held_ns)
    else:
        assert math.isnan(window.rate)


@given(PUSHES, st.integers(1, 12), st.sampled_from([None, 1, NS_PER_S, 5 * NS_PER_S]))
@settings(max_examples=150)
def test_every_measure_equals_its_recomputation_after_every_value(
    pushes: Pushes, count_max: int, span_ns: int | None
) -> None:
    """By number, by time, and by time with too many values for its limit."""
    window = Window(count_max, span_ns)
    given_so_far: Pushes = []
    for value, now_ns in timed(pushes):
        window.push(value, now_ns)
        given_so_far.append((value, now_ns))
        assert_tells(window, expected_of(given_so_far, count_max, span_ns), span_ns)


@given(PUSHES, st.integers(1, 12), st.sampled_from([None, NS_PER_S, 5 * NS_PER_S]), st.integers(0, 60))
def test_window_that_was_saved_and_loaded_goes_on_to_the_last_bit(
    pushes: Pushes, count_max: int, span_ns: int | None, cut: int
) -> None:
    """Also the sums, whose last digits depend on what has left the window long ago."""
    whole, before, after = Window(count_max, span_ns), Window(count_max, span_ns), Window(count_max, span_ns)
    given_times = timed(pushes)

    fill(whole, given_times)
    fill(before, given_times[:cut])
    after.load_state(msgspec.msgpack.decode(msgspec.msgpack.encode(before.save_state())))
    fill(after, given_times[cut:])

    assert after.save_state() == whole.save_state()
    assert [str(getattr(after, name)) for name in MEASURES] == [str(getattr(whole, name)) for name in MEASURES]


@pytest.mark.parametrize("level", [0.0, 60_000.0])
def test_error_stays_within_its_bound_over_many_values_with_outliers(level: float) -> None:
    """Steps of a cent, and now and then a price that is wrong by nine digits: sums that only add and subtract drift."""
    seeded = random.Random(11)
    window, mid = Window(500), level
    held: list[float] = []
    for number in range(200_000):
        mid += seeded.choice((-0.01, 0.0, 0.01))
        value = 1e9 if number % 99_991 == 77 else mid
        window.push(value, number)
        held.append(value)
        if number % 49_999 == 0 and number:
            expected = statistics.variance(map(Fraction, held[-500:]))
            assert window.variance == pytest.approx(float(expected), rel=500 * 4e-12 + 1e-12, abs=1e-18)
            assert window.mean == pytest.approx(math.fsum(held[-500:]) / 500, rel=1e-12)


def test_outlier_that_has_left_is_forgotten() -> None:
    """Its square has thirty digits; what is left has a variance of a millionth."""
    window = fill(Window(4), [(1e15, 1), *((100 + 0.001 * (number % 2), number) for number in range(2, 8))])

    assert window.variance == pytest.approx(statistics.variance([100.0, 100.001] * 2), rel=1e-9)


def test_price_that_stands_has_no_variance() -> None:
    """However large it is, and whatever was before: not even that of a rounding."""
    window = fill(
        Window(50), [*((17.3, number) for number in range(70)), *((61_234.57, number) for number in range(70))]
    )

    assert (window.variance, window.stddev, window.mean) == (0.0, 0.0, 61_234.57)


def test_cost_of_a_value_does_not_grow_with_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums are made anew a few times only, over a million values of a walk: counted, not timed."""
    work = []
    renew = Moments._renew
    monkeypatch.setattr(Moments, "_renew", lambda self, values: (work.append(len(values)), renew(self, values))[1])
    seeded = random.Random(5)
    window, value = Window(100_000), 60_000.0
    for number in range(300_000):
        value += seeded.choice((-0.01, 0.0, 0.01))
        window.push(value, number)
        if number % 1_000 == 0:
            assert window.variance != 1.0

    assert sum(work) <= 2 * 300_000


def test_window_of_seconds_holds_what_is_younger_than_that() -> None:
    """A value of exactly T seconds ago has left."""
    window = fill(Window(10, 2 * NS_PER_S), [(1.0, 0), (2.0, 1), (3.0, 2 * NS_PER_S)])

    assert [window[index] for index in range(window.count)] == [2.0, 3.0]


def test_window_of_seconds_that_is_too_full_lets_the_oldest_go_and_counts_it() -> None:
    """Memory has a limit, whatever comes in a second."""
    window = fill(Window(3, NS_PER_S), [(float(number), number) for number in range(10)])

    assert (window.count, window.first, window.values_cut) == (3, 7.0, 7)


def test_time_that_goes_back_counts_as_the_newest() -> None:
    """So the oldest is always the first to leave."""
    window = fill(Window(10, NS_PER_S), [(1.0, 5 * NS_PER_S), (2.0, 1)])

    window.expire(6 * NS_PER_S)

    assert window.count == 0


def test_window_is_full_when_it_tells_of_its_whole_length() -> None:
    """N values, or values for T seconds."""
    by_count, by_time = Window(2), Window(10, 2 * NS_PER_S)

    fill(by_count, [(1.0, 0)])
    fill(by_time, [(1.0, 0), (1.0, 2 * NS_PER_S - 1)])
    before = (by_count.is_full, by_time.is_full, Window(1, 1).is_full)
    fill(by_count, [(1.0, 0)])
    fill(by_time, [(1.0, 2 * NS_PER_S)])

    assert (before, by_count.is_full, by_time.is_full) == ((False, False, False), True, True)


def test_empty_window_tells_nothing_that_a_comparison_would_pass() -> None:
    """NaN is neither above nor below anything."""
    window = fill(Window(2, 1), [(1.0, 0)])

    window.expire(10)

    names = ("first", "last", "mean", "variance", "stddev", "min", "max")
    assert all(math.isnan(getattr(window, name)) for name in names)
    assert (window.count, len(window), window.sum, window.square_sum, window.rising, window.falling) == (
        0,
        0,
        0,
        0,
        0,
        0,
    )


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: last(0, of=float), "a count from 1 to 10000000, was 0"),
        (lambda: last_seconds(0, of=float), "more than 0 seconds and up to 7 days, was 0"),
        (lambda: last_seconds(math.nan, of=float), "was nan"),
        (lambda: last_seconds(1, of=float, count_max=0), "a count from 1"),
    ],
)
def test_window_that_cannot_be_is_refused(build: Any, expected: str) -> None:
    """At once, with what was expected and what was there."""
    with pytest.raises(InvalidValueError, match=expected):
        build()


@pytest.mark.parametrize(
    "state",
    [None, [], [0, None, b"12345678", b"", [0.0] * 8], [0, None, b"123", b"123", [0.0] * 8], "text"],
)
def test_saved_window_that_is_damaged_is_refused(state: object) -> None:
    """A state comes from a file."""
    with pytest.raises(InvalidValueError, match="saved window"):
        Window(3).load_state(state)


def test_saved_window_with_more_values_than_fit_or_with_nan_is_refused() -> None:
    """It belongs to another window, or was written by another program."""
    wide = fill(Window(3), [(1.0, 1), (2.0, 2), (3.0, 3)]).save_state()
    broken = fill(Window(1), [(math.nan, 1)]).save_state()

    for state in (wide, broken):
        with pytest.raises(InvalidValueError, match="expected up to 2 finite values"):
            Window(2).load_state(state)
