"""Percentiles, ratios, verdicts and checks."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.benchmark_builders import make_latency, make_latency_report, make_throughput_report

from benchmarks.results import BroadcastRun, Check, Target, curve_percentiles, describe, find_ratios, merge, sum_up

LESS_IS_BETTER = Target(must=1.5, aim=1.3)
MORE_IS_BETTER = Target(must=0.35, aim=0.5)


@pytest.mark.parametrize(
    ("target", "value", "judgement"),
    [
        (LESS_IS_BETTER, 1.3, "aim met"),
        (LESS_IS_BETTER, 1.31, "must met, aim missed"),
        (LESS_IS_BETTER, 1.5, "must met, aim missed"),
        (LESS_IS_BETTER, 1.51, "must missed"),
        (MORE_IS_BETTER, 0.5, "aim met"),
        (MORE_IS_BETTER, 0.49, "must met, aim missed"),
        (MORE_IS_BETTER, 0.34, "must missed"),
        (MORE_IS_BETTER, None, "not measured"),
        (LESS_IS_BETTER, float("nan"), "must missed"),
    ],
)
def test_judgement_knows_which_way_is_better(target: Target, value: float | None, judgement: str) -> None:
    """A ratio of latencies should be low, one of rates high; what is no number has missed."""
    assert target.judge(value) == judgement


def test_ratio_is_that_of_the_percentiles() -> None:
    """Twice as slow everywhere is 2 everywhere, within the histogram's three digits."""
    floor = describe(make_latency(range(100, 200)))
    pipeline = describe(make_latency(range(200, 400, 2)))

    ratios = find_ratios(floor, pipeline)

    assert ratios == pytest.approx(dict.fromkeys(ratios, 2.0), rel=0.01)


def test_ratio_to_nothing_is_absent() -> None:
    """A side without a single value has no percentiles to compare with."""
    ratios = find_ratios(describe(make_latency([])), describe(make_latency([100])))

    assert set(ratios.values()) == {None}


@given(count=st.integers(2, 1_000_000))
def test_curve_goes_from_the_median_to_the_last_value_that_can_be_told_apart(count: int) -> None:
    """One in `count` lies above its end; there is nothing more to draw."""
    percentiles = curve_percentiles(count)

    assert percentiles[0] == pytest.approx(50)
    assert (100 - percentiles[-1]) / 100 * count == pytest.approx(1)
    assert all(below <= above for below, above in itertools.pairwise(percentiles))


def test_merged_distribution_has_the_values_of_all() -> None:
    """Also of an empty one, which has none."""
    merged = merge([make_latency([100]), make_latency([]), make_latency([300])])

    assert merged.count == 2
    assert describe(merged).us["max"] == pytest.approx(300, rel=0.001)


def test_mismatches_that_cancel_out_over_rounds_are_not_met() -> None:
    """One tick too few in one round and one too many in the next is two faults, not none."""
    rounds = [[Check("ticks", 10, 9)], [Check("ticks", 10, 11)]]

    assert sum_up(rounds) == [(Check("ticks", 20, 20), False)]


def test_run_whose_last_tick_never_came_has_no_rate() -> None:
    """Rather than a good one."""
    assert BroadcastRun.timed(1_000, 0, []).rate == 0


def test_latency_report_is_over_all_rounds_and_keeps_each() -> None:
    """The verdict is on all, with every round beside it."""
    report = make_latency_report(factors=[2, 3])

    assert (report.floor.count, report.pipeline.count) == (200, 200)
    assert [each.ratios["p50"] for each in report.rounds] == pytest.approx([2, 3], rel=0.01)
    assert report.verdicts[0].by_round == pytest.approx([2, 3], rel=0.01)
    assert report.is_sound


def test_report_with_one_mismatch_is_not_sound() -> None:
    """On either side: a floor that lost something is no floor."""
    assert not make_latency_report(floor_check=Check("ticks published", 100, 99)).is_sound


def test_throughput_is_the_median_of_the_rounds() -> None:
    """One disturbed round does not decide."""
    report = make_throughput_report(floor_rates=[1.0e6, 1.1e6, 9.0e6], single_rate=0.55e6)

    assert report.rates["floor"] == 1.1e6
    assert report.ratio == 0.5
    assert [verdict.judgement for verdict in report.verdicts] == ["aim met", "aim met"]
