"""Reports of orders at a rate and of halts, and that the risk limits of their load are really all on."""

import os

import msgspec
import pytest
from support.benchmark_builders import make_halt_report, make_orders_report

from benchmarks.pipeline_orders import EVERY_LIMIT
from benchmarks.processor_time import ProcessorTime, find_shares, read_processor_time
from benchmarks.results import Check
from benchmarks.tables_orders import format_halt, format_orders
from executor.limits import RiskLimits, ScopeLimits, SymbolLimits, describe_limits


def test_load_has_every_risk_limit_on() -> None:
    """A limit that is added later must be added there, or the figure is not what it says."""
    limits = msgspec.convert(EVERY_LIMIT, RiskLimits, strict=False)
    tables = {"each_strategy", "strategies", "symbols"}
    expected = {field for field in RiskLimits.__struct_fields__ if field not in tables}
    expected |= {f"each_strategy.{field}" for field in ScopeLimits.__struct_fields__}
    # The other two stand for every symbol already.
    own = {field for field in SymbolLimits.__struct_fields__ if field.startswith(("order_", "position_quantity"))}
    expected |= {f"symbols.simulated.BTC/USDT.{field}" for field in own}

    assert describe_limits(limits).keys() == expected


def test_share_of_a_process_is_its_time_over_the_time_that_passed() -> None:
    """Of those that were seen at both looks."""
    before = {"executor": ProcessorTime(1e9, 2e9), "gone": ProcessorTime(0, 0)}

    shares = find_shares(before, {"executor": ProcessorTime(2e9, 3.5e9)}, elapsed_s=2)

    assert shares == {"executor": ProcessorTime(0.5, 0.75)}


def test_processor_time_of_a_process_that_is_not_there_is_unknown() -> None:
    """It has ended in that moment."""
    assert read_processor_time(2**31 - 1) is None


def test_processor_time_of_the_main_thread_is_part_of_that_of_all() -> None:
    """Read of this very process."""
    time = read_processor_time(os.getpid())

    if time is None:
        pytest.skip("needs a kernel that counts the time of each thread")
    assert 0 < time.main_thread <= time.threads


@pytest.mark.parametrize(
    ("accepted_per_s", "judgement"), [(1_000.0, "aim met"), (996.0, "must met, aim missed"), (990.0, "must missed")]
)
def test_rate_is_kept_when_all_but_the_last_orders_were_accepted_in_time(accepted_per_s: float, judgement: str) -> None:
    """Of 1,000 signals/s."""
    report = make_orders_report(accepted_per_s=accepted_per_s)

    assert [verdict.judgement for verdict in report.verdicts] == [judgement]


def test_process_is_full_at_the_rate_that_leaves_its_main_thread_no_time() -> None:
    """A quarter of a core for 1,000 orders/s is full at 4,000."""
    [each] = make_orders_report(share=0.25).rates

    assert each.processes["executor"].us_per_order == 250
    assert each.processes["executor"].full_at_per_s == 4_000


def test_orders_table_shows_pace_processes_and_counts() -> None:
    """With what did not add up."""
    text = format_orders(make_orders_report(check=Check("signals lost", 0, 2)))

    for expected in ("Test CPU, 2 cores", "1,000 signals/s", "25%", "4,000", "MISMATCH"):
        assert expected in text
    assert not make_orders_report(check=Check("signals lost", 0, 2)).is_sound


def test_halt_is_judged_by_the_later_of_last_order_and_last_cancel() -> None:
    """The slowest 1 % of the rounds decide."""
    report = make_halt_report(quiet_ms=[*[10] * 98, 60, 60])

    assert [verdict.judgement for verdict in report.verdicts] == ["must missed"]
    assert report.hops["to_quiet"].us["p50"] == pytest.approx(10_000, rel=0.001)
    assert "last cancel at the exchange" in format_halt(report)


def test_halt_within_the_target_is_said_to_be() -> None:
    """In ms."""
    report = make_halt_report(quiet_ms=[10] * 100)

    assert [(verdict.value, verdict.judgement) for verdict in report.verdicts] == [(10.0, "aim met")]
