"""Rolling windows, pivots, levels and mids: each against a slow and obvious definition of the same thing."""

import doctest
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategy_builders import make_tick

from common.rules.measures import mid_price
from strategy import indicators
from strategy.indicators import Prices, Ring, find_levels, find_pivots

# Few distinct prices, so that plateaus and repeated touches are common.
PATHS = st.lists(st.integers(1, 30), max_size=120).map(lambda prices: np.array(prices, dtype=np.float64) / 10)

# A busy machine may stop us for a second within one example.
UNTIMED = settings(deadline=None)


@UNTIMED
@given(capacity=st.integers(1, 12), values=st.lists(st.floats(allow_nan=False), max_size=60))
def test_window_after_any_pushes_equals_a_bounded_deque(capacity: int, values: list[float]) -> None:
    """The newest values, oldest first, after every single push."""
    ring, reference = Ring(capacity), deque[float](maxlen=capacity)

    for value in values:
        ring.push(value)
        reference.append(value)

        assert ring.window().tolist() == list(reference)
        assert len(ring) == len(reference)


def test_window_is_one_read_only_piece_of_the_buffer() -> None:
    """Reading copies nothing, and a reader cannot change what others read."""
    ring = Ring(4)
    for value in range(11):
        ring.push(value)

    window = ring.window()

    assert np.shares_memory(window, ring.window())
    assert window.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        window[0] = 1.0


def test_example_in_the_docstring_of_find_levels_is_true() -> None:
    """What a quant reads there is what the code does."""
    results = doctest.testmod(indicators)

    assert results.attempted > 0
    assert results.failed == 0


@UNTIMED
@given(prices=PATHS, half_window=st.integers(1, 6))
def test_pivots_of_any_path_are_those_found_one_by_one(prices: Prices, half_window: int) -> None:
    """The vectorised search agrees with the definition, price by price."""
    expected = [prices[index] for index in range(len(prices)) if is_pivot(prices.tolist(), index, half_window)]

    pivots = find_pivots(prices, half_window)

    assert pivots.tolist() == expected


def test_market_that_rests_at_its_high_touches_it_once() -> None:
    """A plateau is one pivot, however many prices it lasts."""
    prices = np.array([1.0, 2.0, 3.0, 5.0, 5.0, 5.0, 5.0, 2.0, 1.0])

    pivots = find_pivots(prices, 3)

    assert pivots.tolist() == [5.0]


@UNTIMED
@given(
    prices=PATHS,
    half_window=st.integers(1, 4),
    tolerance=st.floats(0, 1),
    touches_min=st.integers(2, 5),
)
def test_levels_of_any_path_lie_in_its_range_with_enough_touches(
    prices: Prices, half_window: int, tolerance: float, touches_min: int
) -> None:
    """Levels come by rising price, and no pivot counts for two of them."""
    levels = find_levels(prices, half_window=half_window, tolerance=tolerance, touches_min=touches_min)

    level_prices = [level.price for level in levels]
    assert level_prices == sorted(level_prices)
    assert all(prices.min() <= price <= prices.max() for price in level_prices)
    assert all(level.touches >= touches_min for level in levels)
    assert sum(level.touches for level in levels) <= len(find_pivots(prices, half_window))


@UNTIMED
@given(prices=PATHS, tolerance=st.floats(0, 1), touches_min=st.integers(2, 5))
def test_level_of_any_path_has_its_touches_within_the_tolerance(
    prices: Prices, tolerance: float, touches_min: int
) -> None:
    """No level claims pivots that are further away than a cluster is wide."""
    pivots = find_pivots(prices, 1)

    levels = find_levels(prices, half_window=1, tolerance=tolerance, touches_min=touches_min)

    for level in levels:
        assert np.count_nonzero(np.abs(pivots - level.price) <= tolerance + 1e-9) >= level.touches


def test_dense_cluster_keeps_its_touches_beside_a_sparse_one() -> None:
    """Clusters built from below would start at 9.5 with four touches and tear the level at 10.45 in two."""
    path = zigzag(lows=[9.5, 9.7, 10.2, 10.3, 10.4, 10.5, 10.6, 11.0], highs=[20, 22, 24, 26, 28, 30, 32])

    levels = find_levels(path, half_window=1, tolerance=0.85, touches_min=2)

    assert [level.touches for level in levels] == [2, 6]
    assert [level.price for level in levels] == pytest.approx([9.6, 10.45])


@pytest.mark.parametrize("prices", [[], [5.0], [5.0] * 50, list(range(50))], ids=["none", "one", "flat", "line"])
def test_path_without_turns_has_no_levels(prices: list[float]) -> None:
    """A level needs a turn."""
    levels = find_levels(np.array(prices, dtype=np.float64), half_window=2, tolerance=1.0, touches_min=2)

    assert levels == ()


@pytest.mark.parametrize(
    ("bid", "ask", "last", "expected"),
    [
        (99.0, 101.0, 98.0, 100.0),
        (99.0, None, 98.0, 98.0),
        (None, 101.0, None, None),
        (None, None, 98.0, 98.0),
        (0.0, 101.0, 98.0, 98.0),
        (None, None, 0.0, None),
        (None, None, None, None),
    ],
)
def test_mid_price_falls_back_to_the_last_price_and_then_to_none(
    bid: float | None, ask: float | None, last: float | None, expected: float | None
) -> None:
    """Half a book has no middle; a price of 0 is no price."""
    tick = make_tick(bid=bid, ask=ask, last=last)

    price = mid_price(tick)

    assert price == expected


def is_pivot(prices: list[float], index: int, half_window: int) -> bool:
    """The definition of a pivot, in Python."""
    before, after = prices[max(0, index - half_window) : index], prices[index + 1 : index + 1 + half_window]
    if min(len(before), len(after)) < half_window:
        return False
    here = prices[index]
    is_high = here > max(before) and here >= max(after)
    is_low = here < min(before) and here <= min(after)
    return is_high or is_low


def zigzag(lows: list[float], highs: list[float]) -> Prices:
    """A path that turns at each low and between them at each high."""
    turns = [price for pair in zip(lows, highs, strict=False) for price in pair]
    return np.array([15.0, *turns, lows[-1], 15.0])
