import math
from decimal import Decimal

import numpy as np
import pytest
from support.backtest_builders import BTC, START_NS, MessageSource, Taker, make_plan, make_tick, run

from backtest.performance import Curve, draw_curve, make_returns, measure, ratio
from backtest.pipeline import Pipeline
from common.clock import NS_PER_DAY, NS_PER_S
from exchange.simulated.config import SimulatedVenueConfig


def round_trip() -> Pipeline:
    """Buy 1 at 100.02 with a mid of 100, sell it at 109.98 with a mid of 110; a share of 0.001 is the fee."""
    market = [
        *(make_tick(after, 99.98, 100.02) for after in (0, 500, 1_000, 1_400)),
        *(make_tick(after, 109.98, 110.02) for after in (2_000, 3_000, 3_900)),
    ]
    venue = SimulatedVenueConfig(taker_fee_rate=Decimal("0.001"))
    return run(make_plan(Taker, {"every": 3}, venue=venue, sample_ns=NS_PER_S // 2), MessageSource(market))


def make_curve(equity: list[float], step_ns: int) -> Curve:
    """A curve of equity alone."""
    values = np.array(equity)
    times = START_NS + np.arange(len(equity)) * step_ns
    return Curve(times, values, values * 0, values * 0, values / np.maximum.accumulate(values) - 1)


def test_money_is_exact_and_adds_up() -> None:
    """9.96 won, less a thousandth of 100.02 and of 109.98."""
    statistics, curve = measure(round_trip().recording, Decimal(10_000))

    assert statistics.realised_profit == Decimal("9.96")
    assert statistics.fees == Decimal("0.21")
    assert statistics.net_profit == Decimal("9.75")
    assert statistics.unrealised_profit == 0
    assert statistics.final_equity == Decimal("10009.75")
    assert statistics.turnover == Decimal("210.00")
    assert curve.equity[-1] == pytest.approx(10_009.75)


def test_round_trips_and_slippage_by_hand() -> None:
    """Each fill is 0.02 worse than the mid it was decided on; on a turnover of 210 that is 1.9 bps."""
    statistics, _ = measure(round_trip().recording, Decimal(10_000))

    assert (statistics.orders, statistics.fills, statistics.round_trips) == (2, 2, 1)
    assert statistics.hit_rate == 1
    assert math.isnan(statistics.profit_factor)
    assert statistics.average_round_trip == pytest.approx(9.75)
    assert statistics.average_holding_s == pytest.approx(2)
    assert statistics.slippage_decision.amount == pytest.approx(0.04)
    assert statistics.slippage_decision.bps == pytest.approx(0.04 / 210 * 10_000)
    assert statistics.maker_share == 0


def test_curve_values_what_is_held_at_each_sample() -> None:
    """After the purchase the fee is gone and the spread; after the rise the position is worth it."""
    curve = draw_curve(round_trip().recording, 10_000.0)
    at = {int(time_ns - START_NS) // 1_000_000: index for index, time_ns in enumerate(curve.times)}

    assert curve.equity[at[1_000]] == pytest.approx(10_000)
    assert curve.equity[at[1_500]] == pytest.approx(10_000 - 0.02 - 0.10002)
    assert curve.equity[at[2_000]] == pytest.approx(10_000 + 9.98 - 0.10002)
    assert curve.gross[at[1_500]] == pytest.approx(100)
    assert curve.net[at[2_000]] == pytest.approx(110)


def test_sharpe_and_drawdown_by_hand() -> None:
    """Daily returns of 1 %, -1 %, 2 %, 0, 1 %, and again: mean by deviation, times the root of 365."""
    returns = [0.01, -0.01, 0.02, 0.0, 0.01] * 2
    equity = list(10_000 * np.cumprod([1.0, *(1 + each for each in returns)]))
    name, found, a_year = make_returns(make_curve(equity, NS_PER_DAY))

    assert (name, a_year) == ("day", 365)
    assert found == pytest.approx(returns)
    expected = np.mean(returns) / np.std(returns, ddof=1) * math.sqrt(365)
    assert ratio("sharpe_ratio", found, a_year) == pytest.approx(expected)
    downside = math.sqrt(np.mean(np.minimum(returns, 0) ** 2))
    assert ratio("sortino_ratio", found, a_year) == pytest.approx(np.mean(returns) * 365 / (downside * math.sqrt(365)))


@pytest.mark.parametrize(
    ("step_s", "count", "name", "intervals"),
    [(3_600, 241, "day", 10), (60, 601, "hour", 10), (60, 11, "minute", 10), (1, 100, "minute", 0)],
)
def test_interval_is_the_longest_that_the_range_has_ten_of(step_s: int, count: int, name: str, intervals: int) -> None:
    """Below ten minutes there is no ratio at all: it would be a number without a meaning."""
    found, returns, _ = make_returns(make_curve([10_000.0 + index for index in range(count)], step_s * NS_PER_S))

    assert (found, len(returns)) == (name, intervals)


def test_ratios_that_make_no_sense_are_nan() -> None:
    """Too few returns, or returns that never differ."""
    assert math.isnan(ratio("sharpe_ratio", np.array([0.1, 0.2]), 365))
    assert math.isnan(ratio("sharpe_ratio", np.zeros(50), 365))


def test_days_add_up_to_the_whole() -> None:
    """A profit that is made across midnight is split there; fees and fills are of their own day."""
    midnight_ms = (NS_PER_DAY - START_NS % NS_PER_DAY) // 1_000_000
    market = [
        *(make_tick(after, 99.98, 100.02) for after in (0, 1_000, 2_000)),
        make_tick(midnight_ms + 1_000, 109.98, 110.02),
        make_tick(midnight_ms + 2_000, 119.98, 120.02),
    ]
    pipeline = run(make_plan(Taker, {"every": 2}, sample_ns=NS_PER_S), MessageSource(market))
    statistics, _ = measure(pipeline.recording, Decimal(10_000))

    assert [day.date for day in statistics.days] == ["2023-11-14", "2023-11-15"]
    assert [day.fills for day in statistics.days] == [1, 1]
    assert sum(day.profit for day in statistics.days) == pytest.approx(float(statistics.net_profit))
    assert sum(day.turnover for day in statistics.days) == pytest.approx(float(statistics.turnover))
    assert pipeline.recording.last_mid((BTC.exchange, BTC.symbol)) == 120
