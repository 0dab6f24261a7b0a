"""Shipped rules over five minutes of BTCUSDT as they were recorded; what they find is recomputed from the quotes."""

import contextlib
import math
import statistics
from itertools import pairwise

import pytest
from support.feed_builders import START_NS, drain, make_recorded_feed
from support.message_builders import make_tick
from support.real_data import real_capture
from support.rule_builders import through_a_file

from common.clock import NS_PER_S
from common.events.market import Tick
from common.rules import Finding, RuleEngine
from common.rules.measures import log_mid, mid_price, spread_bps
from common.rules.shipped.momentum import momentum
from common.rules.shipped.spread_widening import spread_widening
from common.rules.shipped.volatility_burst import volatility_burst
from gateway.feeds.base import QuoteUpdate

pytestmark = pytest.mark.unmeasured


@pytest.fixture(scope="module")
def ticks() -> list[Tick]:
    """Every quote of the capture at the time at which it was received."""
    with contextlib.closing(make_recorded_feed(real_capture(), speed=0.0)) as feed:
        feed.start(START_NS)
        quotes = [update for update in drain(feed) if isinstance(update, QuoteUpdate)]
    return [
        make_tick(seq, timestamp_ns=quote.local_timestamp_ns, bid=quote.bid, ask=quote.ask)
        for seq, quote in enumerate(quotes, start=1)
    ]


def make_rules() -> RuleEngine:
    """Each with windows that five minutes fill."""
    return RuleEngine(
        [
            momentum(5),
            spread_widening(window_s=60, deviations=4, ratio=2, cooldown_s=5),
            volatility_burst(short_s=2, long_s=60, factor=2, cooldown_s=5),
        ]
    )


def feed(rules: RuleEngine, ticks: list[Tick]) -> list[Finding]:
    """What they find."""
    return [output for tick in ticks for output in rules.feed(tick) if isinstance(output, Finding)]


def test_each_finding_is_there_in_the_recorded_quotes(ticks: list[Tick]) -> None:
    """Runs: every one of them and no other. The rest: each at its moment, with the numbers that the formulas give."""
    rules = make_rules()

    findings = feed(rules, ticks)

    told: dict[str, list[Finding]] = {"momentum_rising": [], "spread_widening": [], "volatility_burst": []}
    for finding in findings:
        told[finding.rule].append(finding)
    assert [each.cause_id for each in told["momentum_rising"]] == find_runs(ticks, 5)
    for finding in told["spread_widening"]:
        check_spread(ticks, finding)
    for finding in told["volatility_burst"]:
        check_volatility(ticks, finding)
    assert all(told.values()), {name: len(each) for name, each in told.items()}
    assert rules.disabled == {}
    assert rules.counters()["events"] == len(ticks) == 45_134


def test_restart_in_the_middle_changes_nothing(ticks: list[Tick]) -> None:
    """And so does a second run."""
    before, half = make_rules(), len(ticks) // 2

    told = feed(before, ticks[:half])
    told += feed(through_a_file(before, make_rules()), ticks[half:])

    assert told == feed(make_rules(), ticks)


def find_runs(ticks: list[Tick], length: int) -> list[str]:
    """The ticks at which the mid has risen so often in a row."""
    run, before, found = 0, mid_price(ticks[0]) or 0.0, []
    for tick in ticks[1:]:
        mid = mid_price(tick) or 0.0
        if mid != before:
            run = run + 1 if mid > before else 0
            if run == length:
                found.append(tick.event_id())
        before = mid
    return found


def held_at(ticks: list[Tick], finding: Finding, seconds: float) -> tuple[int, int]:
    """The places of the ticks of so many seconds that end with a finding's."""
    end = next(place for place, tick in enumerate(ticks) if tick.event_id() == finding.cause_id)
    newest_ns = max(tick.timestamp_ns for tick in ticks[: end + 1])
    begin = end
    while begin > 0 and ticks[begin - 1].timestamp_ns > newest_ns - round(seconds * NS_PER_S):
        begin -= 1
    return begin, end + 1


def check_spread(ticks: list[Tick], finding: Finding) -> None:
    """Compare with mean and deviation of the minute before."""
    begin, end = held_at(ticks, finding, 60)
    spreads = [spread_bps(tick) or 0.0 for tick in ticks[begin:end]]
    mean, stddev = statistics.fmean(spreads), statistics.stdev(spreads)
    assert finding.values == {
        "spread_bps": pytest.approx(spreads[-1]),
        "mean_bps": pytest.approx(mean, rel=1e-9),
        "stddev_bps": pytest.approx(stddev, rel=1e-6),
    }
    assert spreads[-1] >= max(2 * mean, mean + 4 * stddev)


def check_volatility(ticks: list[Tick], finding: Finding) -> None:
    """Compare with the sums of squared log returns."""
    volatilities = {}
    for name, seconds in (("short_bps", 2), ("long_bps", 60)):
        begin, end = held_at(ticks, finding, seconds)
        logs = [log_mid(tick) or 0.0 for tick in ticks[max(begin - 1, 0) : end]]
        squares = sum((later - earlier) ** 2 for earlier, later in pairwise(logs))
        volatilities[name] = math.sqrt(squares / seconds) * 10_000
        assert finding.values[name] == pytest.approx(volatilities[name], rel=1e-6)
    assert volatilities["short_bps"] >= 2 * volatilities["long_bps"]
