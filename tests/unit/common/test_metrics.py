import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.metrics import HIGHEST_NS, Latency, merge_counters

MS_NS = 1_000_000


def make_latency(*durations_ns: int) -> Latency:
    """A distribution of these."""
    latency = Latency()
    for duration_ns in durations_ns:
        latency.record(duration_ns)
    return latency


def test_negative_latency_is_counted_apart_and_never_clipped() -> None:
    """Clock skew is real: the histogram would lose it without a word."""
    latency = make_latency(5 * MS_NS, -3_000, -7_000)

    assert (latency.count, latency.negative_count, latency.negative_ns_min) == (1, 2, -7_000)
    assert latency.value_ns_at(50) == pytest.approx(5 * MS_NS, rel=0.001)


def test_zero_is_a_duration() -> None:
    """Two readings of a coarse clock may be equal."""
    latency = make_latency(0)

    assert (latency.count, latency.negative_count) == (1, 0)


def test_duration_above_the_highest_is_kept_as_the_highest() -> None:
    """It must show in the maximum, not vanish."""
    latency = make_latency(HIGHEST_NS * 10)

    assert latency.count == 1
    assert latency.summary_us()["max"] == pytest.approx(HIGHEST_NS / 1_000, rel=0.001)


def test_percentiles_of_a_known_distribution_are_right_to_three_digits() -> None:
    """1 to 1,000 ms, once each."""
    summary = make_latency(*(number * MS_NS for number in range(1, 1_001))).summary_us()

    expected = {"p50": 500_000, "p90": 900_000, "p99": 990_000, "p99_9": 999_000, "max": 1_000_000}
    assert summary == {name: pytest.approx(value_us, rel=0.002) for name, value_us in expected.items()}


def test_summary_of_nothing_is_none_and_not_zero() -> None:
    """Zero would read as the best latency there is."""
    summary = make_latency(-5).summary_us()

    assert summary == {"p50": None, "p90": None, "p99": None, "p99_9": None, "max": None}


@settings(max_examples=30)  # a histogram takes 5 ms to decode
@given(st.lists(st.integers(0, HIGHEST_NS), max_size=50), st.lists(st.integers(0, HIGHEST_NS), max_size=50))
def test_merged_histograms_equal_the_histogram_of_all(first: list[int], second: list[int]) -> None:
    """A process that was restarted counts as one."""
    merged = make_latency(*first)

    merged.merge(make_latency(*second).encode())

    both = make_latency(*first, *second)
    assert merged.count == both.count == len(first) + len(second)
    for percentile in (1, 50, 90, 99, 100):
        assert merged.value_ns_at(percentile) == both.value_ns_at(percentile)


def test_counters_are_added_by_name() -> None:
    """A counter that only one life had is kept."""
    assert merge_counters([{"ticks": 3, "gaps": 1}, {"ticks": 4}, {}]) == {"ticks": 7, "gaps": 1}
