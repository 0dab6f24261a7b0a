"""The benchmark of rules: a window that tells something wrong must not pass."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import rules
from benchmarks.__main__ import bench
from benchmarks.results import Check
from benchmarks.rules import PAIRED, check_side, make_mids, make_sides, make_tick, measure
from common.errors import ExitCode


def test_findings_of_each_side_agree_with_their_recomputation() -> None:
    """3,000 ticks: three findings, and none of a rule that has nothing to tell."""
    mids = make_mids(3_000)
    ticks = [make_tick(number, mid) for number, mid in enumerate(mids)]

    checks = {side: check_side(side, measure(made, ticks, 100)[0], mids, n) for side, (made, n) in make_sides().items()}

    assert checks.pop("no window") == [Check("no window: findings", 0, 0)]
    assert {check.expected for each in checks.values() for check in each} == {3}
    assert all(check.is_met for each in checks.values() for check in each)


def test_finding_that_is_wrong_or_missing_is_seen() -> None:
    """Otherwise the count means nothing."""
    mids = make_mids(3_000)
    ticks = [make_tick(number, mid) for number, mid in enumerate(mids)]
    made, window_count = make_sides()["last 10"]
    findings, _ = measure(made, ticks, 100)

    other_mids = check_side("last 10", findings, [mid + 1 for mid in mids], window_count)
    one_less = check_side(PAIRED, findings[:-1], mids, 0)

    assert [check.is_met for check in other_mids] == [True, False]
    assert [check.is_met for check in one_less] == [False, False]


def test_benchmark_measures_every_length_of_window_and_checks_every_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """3,000 ticks after the 2,000 that fill the longest window here; a finding for each thousandth."""
    monkeypatch.setattr(rules, "WINDOW_COUNTS", (10, 2_000))
    path = tmp_path / "rules.json"

    done = CliRunner().invoke(bench, ["rules", "--count", "3000", "--rounds", "1", "--json", str(path)])

    assert done.exit_code == ExitCode.OK, done.output
    result = json.loads(path.read_bytes())
    assert {"no window", "sequence", "last 10", "last 2,000", "last 0.04 s (2,000)"} <= result["rates"].keys()
    counts = {check["name"]: (check["expected"], check["actual"]) for check in result["checks"][0]}
    assert counts.pop("no window: findings") == (0, 0)
    assert set(counts.values()) == {(5, 5)}
    assert len(counts) == 2 * (len(result["rates"]) - 1)
    assert all(rate > 0 for rate in result["rates"].values())
    assert "MISMATCH" not in done.output
