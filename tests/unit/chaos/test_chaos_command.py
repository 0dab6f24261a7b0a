"""`tickpulse chaos`: table, JSON, exit codes."""

import json
import re

import pytest
from click.testing import CliRunner

from chaos.__main__ import chaos
from chaos.facts import Violation
from chaos.histories import HistoryResult
from chaos.report import format_report, make_report
from common.errors import ExitCode
from executor.dialogue import ExchangeDialogue


def make_result(seed: int, *violations: Violation, rested_ms: float | None = 10.0) -> HistoryResult:
    """A history of the network scenario."""
    return HistoryResult(
        scenario="network",
        seed=seed,
        counts={"orders": 7, "frames lost": 3},
        violations=list(violations),
        unresolved_count=0,
        rested_ms=rested_ms,
        fingerprint="",
    )


def test_sound_histories_end_with_a_table_and_exit_0() -> None:
    """One row for each scenario that had a history."""
    result = CliRunner().invoke(chaos, ["--simulated", "--seeds", "2", "--jobs", "1"])

    assert result.exit_code == ExitCode.OK, result.output
    assert [line.split()[:2] for line in result.output.splitlines()[1:3]] == [["calm", "1"], ["network", "1"]]


def test_broken_promise_is_told_with_the_command_that_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3, and what to type."""
    monkeypatch.setattr(ExchangeDialogue, "ask_for_executions", lambda _dialogue, _now_ns: None)
    arguments = ["--simulated", "--seeds", "3", "--scenario", "network", "--jobs", "1"]

    result = CliRunner().invoke(chaos, [*arguments, "--verbose"])

    assert result.exit_code == ExitCode.CHECKS_FAILED
    assert "agreement: executions: expected the ledger's" in result.output
    assert re.search(r"tickpulse chaos --simulated --seeds 1 --first \d --scenario network", result.output)


def test_json_has_every_row_and_nothing_else() -> None:
    """For programs."""
    result = CliRunner().invoke(chaos, ["--simulated", "--seeds", "1", "--jobs", "1", "--json", "--verbose"])

    (row,) = json.loads(result.output)["scenarios"]
    assert (row["scenario"], row["histories"], row["lost"], row["duplicated"]) == ("calm", 1, 0, 0)


def test_layer_must_be_named() -> None:
    """There will be another one."""
    assert CliRunner().invoke(chaos, []).exit_code == ExitCode.USAGE


@pytest.mark.processes
def test_workers_give_the_same_results_as_one_thread() -> None:
    """How many cores there are decides nothing."""
    outputs = [
        CliRunner().invoke(chaos, ["--simulated", "--seeds", "4", "--jobs", jobs, "--json"]).output for jobs in "12"
    ]

    assert outputs[0] == outputs[1]
    assert json.loads(outputs[0])["failures"] == []


def test_report_sums_up_by_scenario() -> None:
    """Counts are added, recoveries are ranked, what never came to rest is counted apart."""
    lost, doubled = Violation("no loss", "a"), Violation("no duplicate", "b")
    results = [make_result(1, rested_ms=30.0), make_result(2, lost, doubled, rested_ms=None), make_result(3)]

    report = make_report(results)

    (row,) = report.scenarios
    assert (row.histories, row.orders, row.violations, row.lost, row.duplicated, row.stopped) == (3, 21, 2, 1, 1, 1)
    assert (row.recovery_ms_p50, row.recovery_ms_p99) == (10.0, 30.0)
    assert row.injected == {"frames lost": 9}
    assert not report.is_sound


def test_only_the_first_failures_are_shown() -> None:
    """A broken build fails in every history; ten commands are enough."""
    results = [make_result(seed, Violation("live", "x")) for seed in range(12)]

    text = format_report(make_report(results))

    assert text.count("tickpulse chaos") == 10
    assert "and 2 more histories" in text
