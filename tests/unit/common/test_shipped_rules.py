"""The rules that come with tickpulse: what each tells, and what it must not."""

import math
import random
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engine_builders import make_order_event
from support.rule_builders import at, fill, position, through_a_file, tick

from common.errors import InvalidValueError
from common.events.base import Message
from common.events.market import Tick
from common.events.risk import Severity
from common.rules import Finding, RuleEngine
from common.rules.finding import Output
from common.rules.shipped.fill_without_position import WAITING_MAX, fill_without_position
from common.rules.shipped.momentum import momentum
from common.rules.shipped.spread_widening import spread_widening
from common.rules.shipped.volatility_burst import volatility_burst


def findings(rules: RuleEngine, events: list[Any]) -> list[Finding]:
    """What the rules find in these events."""
    return only_findings([output for event in events for output in rules.feed(event)])


def only_findings(outputs: list[Output]) -> list[Finding]:
    """The same outputs, which are findings all."""
    assert all(isinstance(output, Finding) for output in outputs)
    return [output for output in outputs if isinstance(output, Finding)]


def path(mids: list[float]) -> list[Tick]:
    """One tick a second."""
    return [tick(mid, seconds) for seconds, mid in enumerate(mids)]


# Momentum


def test_fifth_rise_is_told_once_for_a_run() -> None:
    """A longer run is the same run; equal mids neither count nor end it."""
    (one,) = findings(
        RuleEngine([momentum(5)]), path([100, 101, 102, 102, 103, 104, 105, 105, 106, 107, 108, 109, 110])
    )

    assert (one.rule, one.timestamp_ns, one.severity) == ("momentum_rising", at(6), Severity.INFO)
    assert one.values == {"moves": 5, "change_bps": pytest.approx(500), "span_s": 6}
    assert one.detail == "5 rising ticks in a row, from 100 to 105"


@given(st.lists(st.sampled_from([-1, 0, 1]), max_size=80), st.integers(1, 6))
def test_every_run_of_either_direction_is_told_at_its_nth_move(steps: list[int], ticks: int) -> None:
    """Beside a plain count of moves."""
    rules = RuleEngine([momentum(ticks), momentum(ticks, direction="falling")])
    mids, run, expected = [1_000.0], 0, []
    for place, step in enumerate(steps, start=1):
        mids.append(mids[-1] + step)
        if step:
            run = run + step if run * step > 0 else step
            if abs(run) == ticks:
                expected.append((at(place), "momentum_rising" if run > 0 else "momentum_falling"))

    assert [(each.timestamp_ns, each.rule) for each in findings(rules, path(mids))] == expected


# Spread


def test_spread_is_told_when_it_stands_out_of_the_last_minute() -> None:
    """Mean and deviation are those of the window with the newest tick in it."""
    spreads = [0.02 + 0.01 * (number % 2) for number in range(150)] + [0.2]
    ticks = [tick(100, number / 10, spread=spread) for number, spread in enumerate(spreads)]

    (one,) = findings(RuleEngine([spread_widening(window_s=60)]), ticks)

    bps = [spread / 100 * 10_000 for spread in spreads]
    assert one.timestamp_ns == at(15)
    assert one.values == {
        "spread_bps": pytest.approx(20),
        "mean_bps": pytest.approx(statistics.mean(bps)),
        "stddev_bps": pytest.approx(statistics.stdev(bps)),
    }


@pytest.mark.parametrize(
    "spreads",
    [[0.02] * 60 + [0.2], [0.02] * 150 + [0.03], [0.02] * 150, [0.01, 0.2] * 100, [0.0] * 150, [-0.02] * 150 + [-0.01]],
    ids=["too few ticks", "not twice the mean", "it stands", "it always jumps", "locked", "crossed"],
)
def test_spread_that_does_not_stand_out_is_not_told(spreads: list[float]) -> None:
    """Both conditions must hold, and there must be something to compare with."""
    ticks = [tick(100, number / 10, spread=spread) for number, spread in enumerate(spreads)]

    assert findings(RuleEngine([spread_widening()]), ticks) == []


def test_wide_spread_is_told_again_only_after_the_silence() -> None:
    """Each tick of a wide spread would be an alert."""
    ticks = [tick(100, number / 10, spread=0.02 if number < 1_000 else 1.0) for number in range(1_000 + 30)]
    rules = RuleEngine([spread_widening(window_s=600, cooldown_s=2)])

    assert [each.timestamp_ns for each in findings(rules, ticks)] == [at(100), at(102)]


# Volatility


def walk(step_bps: list[float]) -> list[Tick]:
    """Ten ticks a second; each moves up or down by so many hundredths of a percent."""
    seeded, mid, ticks = random.Random(3), 100.0, []
    for number, bps in enumerate(step_bps):
        mid *= math.exp(bps / 10_000 * seeded.choice((-1, 1)))
        ticks.append(tick(mid, number / 10))
    return ticks


def test_burst_is_told_when_the_market_moves_several_times_faster() -> None:
    """A calm minute of 1 bps steps, then steps of 10: the ratio is that of the formula at that tick."""
    steps = [1.0] * 700 + [10.0] * 20
    ticks = walk(steps)

    first, *_ = findings(RuleEngine([volatility_burst(short_s=1, long_s=60, factor=3, cooldown_s=0)]), ticks)

    place = ticks.index(next(each for each in ticks if each.timestamp_ns == first.timestamp_ns))
    short = math.sqrt(sum(step**2 for step in steps[place - 9 : place + 1]) / 1)
    long = math.sqrt(sum(step**2 for step in steps[place - 599 : place + 1]) / 60)
    assert 700 <= place < 705
    assert first.values["short_bps"] == pytest.approx(short, rel=1e-6)
    assert first.values["long_bps"] == pytest.approx(long, rel=1e-6)
    assert first.values["ratio"] == pytest.approx(short / long, rel=1e-6)
    assert first.values["ratio"] >= 3


@pytest.mark.parametrize(
    "steps",
    [[1.0] * 1_000, [1.0] * 500 + [10.0] * 20, [0.0] * 1_000],
    ids=["calm", "not yet long enough", "it stands"],
)
def test_market_that_is_no_faster_than_before_is_not_told(steps: list[float]) -> None:
    """Nor is one that is not known for long enough."""
    assert findings(RuleEngine([volatility_burst(short_s=1, long_s=60)]), walk(steps)) == []


# Fill without a position


def test_fill_without_a_position_event_is_told_when_its_time_is_over() -> None:
    """Two seconds and one of lateness after the fill."""
    rules = RuleEngine([fill_without_position(within_s=2)])
    lost = fill(10, client_order_id="lost", last_quantity="0.5", last_price="101")
    rules.feed(lost)

    assert rules.advance(at(13)) == []
    (one,) = only_findings(rules.advance(at(13.001)))

    assert (one.severity, one.timestamp_ns, one.cause_id) == (Severity.CRITICAL, at(10), lost.event_id())
    assert one.values == {"quantity": 0.5, "price": 101.0}
    assert one.detail == "strategy mine: no position event within 2 s of a fill of 0.5 of order lost"
    assert rules.advance(at(99)) == []


@pytest.mark.parametrize(
    "events",
    [
        [position(0), fill(0)],
        [fill(0), position(2)],
        [position(0), fill(2)],
        [position(0), position(0), fill(0), fill(0)],
        [fill(0), fill(1), position(1), position(2)],
        [make_order_event(timestamp_ns=at(0)), position(0)],
    ],
    ids=["the executor's order", "after", "before", "two at once", "in turn", "no fill"],
)
def test_fill_with_a_position_event_is_in_order(events: list[Message]) -> None:
    """Before or after, as long as each has its own."""
    rules = RuleEngine([fill_without_position(within_s=2)])

    assert findings(rules, events) == []
    assert rules.advance(at(1_000)) == []


@pytest.mark.parametrize(
    "events",
    [
        [fill(0), position(2.001)],
        [position(0), fill(2.001)],
        [fill(0), fill(1), position(1)],
        [fill(0), position(0, strategy="other")],
        [fill(0), position(0, symbol="ETH/USDT")],
    ],
    ids=["too late", "too early", "one for two", "another strategy", "another symbol"],
)
def test_position_event_serves_one_fill_that_is_near_it(events: list[Message]) -> None:
    """One finding is left in each of these."""
    rules = RuleEngine([fill_without_position(within_s=2)])

    assert len(findings(rules, events) + only_findings(rules.advance(at(1_000)))) == 1


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.5, 1.5, 2.0, 4.0])), max_size=30),
    st.integers(0, 30),
)
def test_pairing_goes_on_after_a_restart_and_every_fill_is_paired_or_told(
    steps: list[tuple[bool, float]], cut: int
) -> None:
    """Findings and position events together are at least as many as fills, and never is one told twice."""
    seconds, events = 100.0, []
    for number, (is_fill, step_s) in enumerate(steps):
        seconds += step_s
        events.append(fill(seconds, client_order_id=f"o{number}") if is_fill else position(seconds))
    whole, before = RuleEngine([fill_without_position()]), RuleEngine([fill_without_position()])

    expected = findings(whole, events) + only_findings(whole.advance(at(10_000)))
    told = findings(before, events[:cut])
    after = through_a_file(before, RuleEngine([fill_without_position()]))
    told += findings(after, events[cut:]) + only_findings(after.advance(at(10_000)))

    fills = sum(is_fill for is_fill, _ in steps)
    assert told == expected
    assert len({each.detail for each in told}) == len(told)
    assert fills - (len(steps) - fills) <= len(told) <= fills


def test_waiting_fills_have_a_limit() -> None:
    """Where no position event ever comes, the oldest are forgotten and counted."""
    rules = RuleEngine([fill_without_position(within_s=3_600)])

    findings(rules, [fill(number / 1_000) for number in range(WAITING_MAX + 7)])

    assert rules.counters()["fills_dropped"] == 7
    assert len(rules.advance(at(10_000))) == WAITING_MAX


def test_saved_pairing_of_another_time_or_damaged_is_not_used() -> None:
    """Two seconds are not three."""
    saved = RuleEngine([fill_without_position(within_s=2)])
    saved.feed(fill(0))
    other = through_a_file(saved, RuleEngine([fill_without_position(within_s=3)]))
    shape, [slot] = saved.save_state()["rules"]["fill_without_position"]

    assert other.counters()["states_unfit"] == 1
    for state in (None, [["text"], []], [[b"garbage"], []]):
        with pytest.raises(InvalidValueError, match="saved"):
            saved.load_state({"rules": {"fill_without_position": [shape, [[*slot[:-1], state]]]}})


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: momentum(0), "1 to 10000 ticks, rising or falling, was 0 ticks"),
        (lambda: momentum(5, direction="up"), "was 5 ticks, 'up'"),  # type: ignore[arg-type]
        (lambda: spread_widening(ratio=1), "ratio above 1"),
        (lambda: spread_widening(deviations=10, ticks_min=100), "100 ticks cannot show 10 deviations"),
        (lambda: spread_widening(window_s=0), "more than 0 seconds"),
        (lambda: volatility_burst(short_s=10, long_s=10), "a long window above the short one"),
        (lambda: volatility_burst(short_s=5, long_s=20, factor=2), r"between 1 and sqrt\(long_s / short_s\)"),
        (lambda: fill_without_position(within_s=0), "within_s above 0 and up to 3600, was 0"),
    ],
)
def test_parameters_that_can_tell_nothing_are_refused(build: Any, expected: str) -> None:
    """A rule that can never speak looks like a quiet market."""
    with pytest.raises(InvalidValueError, match=expected):
        build()
