"""Bars hold what was traded in them, and are the same however the trades arrive."""

import math
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.bars import BarBuilder, parse_interval
from common.errors import InvalidValueError
from common.events.base import DRAFT
from common.events.market import TICK_DTYPE, Bar, Tick, Trade

S = 1_000_000_000
START_NS = 1_700_000_040 * S  # a whole minute
Element = tuple[int, float, float]

amounts = st.floats(0, 1e6)
# Times that mostly rise, and go back sometimes within a bar and sometimes behind it.
steps = st.sampled_from([0, 1, S // 3, S, 4 * S, 61 * S, -1, -S, -90 * S])
elements: st.SearchStrategy[list[Element]] = st.lists(st.tuples(steps, amounts, amounts), max_size=60).map(
    lambda rows: [
        (START_NS + sum(step for step, _, _ in rows[: number + 1]), price, quantity)
        for number, (_, price, quantity) in enumerate(rows)
    ]
)
intervals = st.sampled_from(["1s", "5s", "1m", "1t", "3t", "7t", "0.5v", "1000v", "3000000v"])


def make_builder(interval: str = "1m") -> BarBuilder:
    """A builder of BTC/USDT."""
    return BarBuilder(interval, exchange="simulated", symbol="BTC/USDT")


def add_each(builder: BarBuilder, rows: list[Element]) -> list[Bar]:
    """One by one."""
    return [bar for row in rows if (bar := builder.add(*row)) is not None]


def add_arrays(builder: BarBuilder, rows: list[Element]) -> list[Bar]:
    """All at once."""
    times, prices, quantities = ([row[column] for row in rows] for column in range(3))
    return builder.add_many(np.array(times, np.int64), np.array(prices, float), np.array(quantities, float))


def counts_of(builder: BarBuilder) -> tuple[int, int, int]:
    """What was not as it should be."""
    return builder.late, builder.backward, builder.unpriced


def test_time_bar_has_first_highest_lowest_and_last_price_and_sums() -> None:
    """It ends with the first trade of a later interval, and begins at a whole minute."""
    builder = make_builder("1m")
    rows = [(1, 10.0, 1.0), (20, 12.0, 2.0), (40, 9.0, 3.0), (59, 11.0, 4.0)]

    assert add_each(builder, [(START_NS + second * S, price, quantity) for second, price, quantity in rows]) == []
    bar = builder.add(START_NS + 60 * S, 50.0, 1.0)

    assert bar == Bar(
        **DRAFT,
        timestamp_ns=START_NS + 60 * S,
        exchange="simulated",
        symbol="BTC/USDT",
        bar_kind="time",
        interval="1m",
        open_timestamp_ns=START_NS,
        close_timestamp_ns=START_NS + 60 * S,
        open=10.0,
        high=12.0,
        low=9.0,
        close=11.0,
        volume=10.0,
        quote_volume=10.0 + 24.0 + 27.0 + 44.0,
        trade_count=4,
        is_closed=True,
    )


def test_bars_of_a_day_begin_at_midnight_utc() -> None:
    """Multiples since 1970 are what everybody else's bars are, too."""
    builder = make_builder("1d")

    builder.add(START_NS, 10.0, 1.0)
    forming = builder.forming()

    assert forming is not None
    assert forming.open_timestamp_ns % (86_400 * S) == 0
    assert (forming.is_closed, forming.timestamp_ns) == (False, START_NS)


def test_empty_intervals_are_not_told() -> None:
    """Three quiet minutes: the bar before them and the one after them, nothing between."""
    builder = make_builder("1m")

    bars = add_each(builder, [(START_NS, 10.0, 1.0), (START_NS + 240 * S, 11.0, 1.0), (START_NS + 300 * S, 12.0, 1.0)])

    assert [bar.open_timestamp_ns for bar in bars] == [START_NS, START_NS + 240 * S]


def test_time_that_has_come_ends_a_bar_without_a_trade() -> None:
    """As a gateway does live; the bar is the same as the one that the next trade would have ended."""
    by_time, by_trade = make_builder("1m"), make_builder("1m")
    by_time.add(START_NS, 10.0, 1.0)
    by_trade.add(START_NS, 10.0, 1.0)

    assert by_time.advance(START_NS + 60 * S - 1) is None
    assert by_time.advance(START_NS + 60 * S) == by_trade.add(START_NS + 61 * S, 11.0, 1.0)
    assert by_time.advance(START_NS + 120 * S) is None


def test_late_trade_changes_no_bar_and_is_counted() -> None:
    """The bar that it belongs to was told already."""
    builder = make_builder("1m")
    builder.add(START_NS, 10.0, 1.0)
    builder.advance(START_NS + 60 * S)

    assert builder.add(START_NS + 59 * S, 99.0, 1.0) is None

    assert (builder.late, builder.forming()) == (1, None)


def test_time_that_goes_back_inside_a_bar_counts_in_the_order_of_arrival() -> None:
    """The last to arrive is the close."""
    builder = make_builder("1m")

    add_each(builder, [(START_NS + 5 * S, 10.0, 1.0), (START_NS + 4 * S, 11.0, 1.0)])
    forming = builder.forming()

    assert forming is not None
    assert (forming.open, forming.close, forming.timestamp_ns) == (10.0, 11.0, START_NS + 5 * S)
    assert (builder.backward, builder.late) == (1, 0)


def test_tick_bar_ends_with_its_last_trade() -> None:
    """Its times are those of its first and newest trade."""
    builder = make_builder("2t")

    bars = add_each(builder, [(START_NS + number, float(number), 1.0) for number in range(5)])

    assert [(bar.open, bar.close, bar.open_timestamp_ns, bar.close_timestamp_ns) for bar in bars] == [
        (0.0, 1.0, START_NS, START_NS + 1),
        (2.0, 3.0, START_NS + 2, START_NS + 3),
    ]


def test_volume_bar_keeps_the_trade_that_fills_it_whole() -> None:
    """A trade belongs to one bar; the next one begins empty."""
    builder = make_builder("2.5v")

    bars = add_each(builder, [(START_NS, 10.0, quantity) for quantity in (1.0, 1.0, 4.0, 1.0, 1.5)])

    assert [(bar.volume, bar.trade_count) for bar in bars] == [(6.0, 3), (2.5, 2)]


@given(rows=elements, interval=intervals, cuts=st.lists(st.integers(0, 60), max_size=4))
def test_arrays_give_the_very_same_bars(rows: list[Element], interval: str, cuts: list[int]) -> None:
    """However the stream is cut into arrays, in bytes; what still forms and the counts, too."""
    one_by_one, in_arrays = make_builder(interval), make_builder(interval)
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]

    expected = add_each(one_by_one, rows)
    found = [bar for start, end in pairwise(edges) for bar in add_arrays(in_arrays, rows[start:end])]

    assert msgspec.msgpack.encode(found) == msgspec.msgpack.encode(expected)
    assert in_arrays.forming() == one_by_one.forming()
    assert counts_of(in_arrays) == counts_of(one_by_one)


@given(
    rows=st.lists(st.tuples(steps, *[st.none() | amounts] * 3), max_size=40),
    interval=st.sampled_from(["1s", "1m", "3t"]),
)
def test_packed_ticks_give_the_same_bars_as_single_ones(rows: list[tuple[Any, ...]], interval: str) -> None:
    """Mid where both sides are there, else the last price, else nothing."""
    one_by_one, packed = make_builder(interval), make_builder(interval)
    records = np.zeros(len(rows), TICK_DTYPE)
    ticks, now_ns = [], START_NS
    for record, (step, bid, ask, last) in zip(records, rows, strict=True):
        now_ns += step
        record["timestamp_ns"] = now_ns
        for name, amount in (("bid", bid), ("ask", ask), ("last", last)):
            record[name] = math.nan if amount is None else amount
        ticks.append(Tick(**DRAFT, timestamp_ns=now_ns, exchange="x", symbol="B", raw_symbol="B",
                          local_timestamp_ns=0, bid=bid, ask=ask, last=last))  # fmt: skip

    expected = [bar for tick in ticks if (bar := one_by_one.add_tick(tick)) is not None]

    assert packed.add_ticks(records) == expected
    assert packed.forming() == one_by_one.forming()
    assert counts_of(packed) == counts_of(one_by_one)


@given(rows=elements, interval=st.sampled_from(["3t", "1000v"]))
def test_nothing_is_lost_between_bars(rows: list[Element], interval: str) -> None:
    """Every trade is in exactly one bar."""
    builder = make_builder(interval)

    bars = add_each(builder, rows)
    forming = builder.forming()

    assert sum(bar.trade_count for bar in bars) + (forming.trade_count if forming else 0) == len(rows)


def test_trade_is_taken_by_its_own_time() -> None:
    """A `Trade` as a strategy has it."""
    builder = make_builder("1t")
    trade = Trade(**DRAFT, timestamp_ns=START_NS, exchange="simulated", symbol="BTC/USDT", raw_symbol="BTCUSDT",
                  local_timestamp_ns=1, price=10.0, quantity=2.0)  # fmt: skip

    bar = builder.add_trade(trade)

    assert bar is not None
    assert (bar.close, bar.volume, bar.open_timestamp_ns) == (10.0, 2.0, START_NS)


def test_volume_bars_refuse_ticks() -> None:
    """A tick repeats the volume of the newest trade; adding it up would invent volume."""
    tick = Tick(**DRAFT, timestamp_ns=1, exchange="x", symbol="B", raw_symbol="B", local_timestamp_ns=0, last=1.0)

    with pytest.raises(InvalidValueError, match="ticks have no volume"):
        make_builder("1v").add_tick(tick)
    with pytest.raises(InvalidValueError, match="ticks have no volume"):
        make_builder("1v").add_ticks(np.zeros(1, TICK_DTYPE))


@pytest.mark.parametrize(
    ("text", "kind", "size"),
    [
        ("5s", "time", 5 * S),
        ("1m", "time", 60 * S),
        ("4h", "time", 14_400 * S),
        ("100t", "tick", 100),
        ("2.5v", "volume", 2.5),
    ],
)
def test_interval_is_read(text: str, kind: str, size: float) -> None:
    """The name is kept as it was given."""
    assert parse_interval(text) == (text, kind, size)


@pytest.mark.parametrize(
    "text", ["", "1", "m", "0m", "0v", "1.5m", "1.5t", "-1m", "1 m", "1M", "٣m", "1m\n", "9" * 20 + "s"]
)
def test_what_is_no_interval_is_refused(text: str) -> None:
    """The message shows what one looks like."""
    with pytest.raises(InvalidValueError, match="such as 5s, 1m"):
        parse_interval(text)
