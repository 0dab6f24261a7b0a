"""What is due when, and how much of it is measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.benchmark_builders import make_plan
from support.feed_builders import make_instrument

from benchmarks.schedule import due_times
from gateway.config import SyntheticConfig
from gateway.feeds.synthetic import SyntheticFeed

START_NS = 1_760_000_000_123_456_789


@pytest.mark.parametrize("rate", [1.0, 3.0, 2_000.0, 49_999.9, 50_000.0])
def test_floor_and_gateway_have_the_same_schedule_to_the_nanosecond(rate: float) -> None:
    """Else a ratio would compare two loads."""
    config = SyntheticConfig(exchange="simulated", rate=rate, trade_share=0.0, tick_count_max=5_000)
    feed = SyntheticFeed(config, [make_instrument()])
    feed.start(START_NS)

    updates = feed.read(START_NS + 10**15, 5_000)

    assert due_times(START_NS, rate, 5_000) == [update.local_timestamp_ns for update in updates]


@given(
    rate=st.floats(1, 1e4),
    duration_s=st.floats(0.1, 3),
    warm_up_s=st.floats(0, 2),
    signal_every=st.integers(1, 500),
)
def test_counts_of_any_plan_are_those_of_a_strategy_that_counts(
    rate: float, duration_s: float, warm_up_s: float, signal_every: int
) -> None:
    """Orders and measured orders, tick by tick."""
    plan = make_plan(rate=rate, duration_s=duration_s, warm_up_s=warm_up_s, signal_every=signal_every)

    orders = [number for number in range(1, plan.tick_count + 1) if not number % signal_every]

    assert plan.signal_count == len(orders)
    assert plan.measured_count == sum(number > plan.warm_up_ticks for number in orders)
    assert plan.warm_up_signals == plan.signal_count - plan.measured_count
