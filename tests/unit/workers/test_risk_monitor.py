"""The risk monitor: what it says of the portfolio, when it alerts, and when it halts."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.executor_builders import ExecutorHarness
from support.worker_builders import Desk, build_positions, make_quote

from common.clock import NS_PER_S
from common.errors import ConfigError
from common.events.portfolio import PortfolioValued
from common.events.risk import AlertTriggered, ScoreUpdated, Severity
from workers.risk_monitor import STATE_NAME, RiskMonitor

OPTIONS: dict[str, Any] = {"starting_equity": "1000", "limits": {"drawdown_max": "100"}, "may_halt": True}


@pytest.fixture
def holding(tmp_path: Path) -> Path:
    """The directory of a run that holds 2 bought at 100, without fees."""
    harness = ExecutorHarness()
    harness.recover()
    harness.have_working("s-1", quantity="2")
    harness.fill("s-1", quantity="2", price="100", fee="0", filled_quantity="2", leaves_quantity="0")
    build_positions(harness.journal.entries, tmp_path)
    return tmp_path


def watch(
    directory: Path, *mids: float, options: Mapping[str, Any] = OPTIONS, refusal: str | None = None, start_s: int = 0
) -> Desk:
    """Have a new monitor see these prices, two seconds apart; gives back what it said and did."""
    desk = Desk(directory, options)
    desk.refusal = refusal
    desk.clock.advance_to(desk.clock.now_ns() + start_s * NS_PER_S)

    async def run() -> None:
        monitor = RiskMonitor()
        await monitor.start(desk.context)
        for mid in mids:
            await monitor.process_event(make_quote(mid), desk.context)
            desk.clock.advance_to(desk.clock.now_ns() + 2 * NS_PER_S)
        await monitor.stop()

    asyncio.run(run())
    return desk


def alerts(desk: Desk) -> list[tuple[str, Severity]]:
    """Codes and severities of what it alerted of."""
    return [(event.code, event.severity) for event in desk.of(AlertTriggered)]


def test_portfolio_is_valued_at_the_market(holding: Path) -> None:
    """Once in an interval, however many quotes there are."""
    desk = watch(holding, 100.0, 110.0)

    assert [event.equity for event in desk.of(PortfolioValued)] == [1_000, 1_020]
    assert desk.of(PortfolioValued)[1].gross_value == 220


def test_quotes_between_two_looks_only_set_the_mark(holding: Path) -> None:
    """A look costs a query, a quote does not."""
    desk = watch(holding, 100.0, options={**OPTIONS, "interval_ms": 5_000})
    desk = watch(holding, 100.0, 90.0, 110.0, 120.0, options={**OPTIONS, "interval_ms": 5_000})

    assert [event.equity for event in desk.of(PortfolioValued)] == [1_000, 1_040]


def test_limit_that_comes_near_and_breaks_is_told_once_each(holding: Path) -> None:
    """And again after it was whole."""
    desk = watch(holding, 100.0, 58.0, 57.0, 50.0, 49.0, 57.0, 90.0, 58.0)

    assert alerts(desk) == [
        ("DRAWDOWN_LIMIT_NEAR", Severity.WARNING),
        ("DRAWDOWN_LIMIT_BROKEN", Severity.CRITICAL),
        ("DRAWDOWN_LIMIT_NEAR", Severity.WARNING),
    ]


def test_broken_limit_halts_once_until_it_is_whole(holding: Path) -> None:
    """A person who resumes although it is broken has reasons."""
    desk = watch(holding, 100.0, 50.0, 49.0, 48.0, 90.0, 50.0)

    assert [(scope, by) for scope, by, _ in desk.halts] == [("all", "risk_monitor")] * 2
    assert "drawdown at 100 % of its limit" in desk.halts[0][2]


def test_restart_repeats_neither_alert_nor_halt_and_forgets_no_peak(holding: Path) -> None:
    """What it said and did outlives it."""
    first = watch(holding, 130.0, 79.0)
    second = watch(holding, 79.0, start_s=10)

    assert (len(first.halts), len(alerts(first))) == (1, 1)
    assert second.halts == alerts(second) == []
    assert second.of(ScoreUpdated)[0].score == 1.0


def test_halt_that_is_refused_is_asked_for_again(holding: Path) -> None:
    """Until the executor has done it."""
    desk = watch(holding, 50.0, 50.0, refusal="no answer")

    assert len(desk.halts) == 2


def test_without_permission_nothing_is_halted(holding: Path) -> None:
    """It alerts, and that is all."""
    desk = watch(holding, 50.0, options={**OPTIONS, "may_halt": False})

    assert (desk.halts, len(alerts(desk))) == ([], 1)


def test_score_is_told_when_it_changes(holding: Path) -> None:
    """With the one before, and its parts."""
    desk = watch(holding, 100.0, 75.0, 75.0)

    found = [(event.score, event.previous_score, event.parts) for event in desk.of(ScoreUpdated)]

    assert found == [(0.0, None, {"drawdown": 0.0}), (0.5, 0.0, {"drawdown": 0.5})]


def test_run_without_a_read_model_says_nothing(tmp_path: Path) -> None:
    """It is there as soon as the worker `positions` is."""
    assert watch(tmp_path, 100.0).published == []


def test_quote_of_another_currency_values_nothing_of_this_one(holding: Path) -> None:
    """Amounts of several currencies are never added."""
    desk = watch(holding, 100.0, options={**OPTIONS, "currency": "EUR"})

    assert [event.gross_value for event in desk.of(PortfolioValued)] == [0]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"limits": {"drawdown_max": "0"}}, "drawdown_max: expected an amount above 0, was 0"),
        ({"starting_equity": "NaN"}, "starting_equity: expected an amount above 0"),
        ({"limit": {}}, r"\[workers.options.worker\].*unknown field `limit`"),
        ({"interval_ms": 0}, "interval_ms"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any], text: str) -> None:
    """At the start, by name."""
    with pytest.raises(ConfigError, match=text):
        watch(tmp_path, options=options)


def test_state_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    """A forgotten peak would hide a loss."""
    (tmp_path / STATE_NAME).write_text("{")

    with pytest.raises(ConfigError, match="remove it"):
        watch(tmp_path)


def test_equity_counts_fees(tmp_path: Path) -> None:
    """They are gone, whatever the market does."""
    harness = ExecutorHarness()
    harness.recover()
    harness.have_working("s-1", quantity="2")
    harness.fill("s-1", quantity="2", price="100", fee="1.5", filled_quantity="2", leaves_quantity="0")
    build_positions(harness.journal.entries, tmp_path)

    assert watch(tmp_path, 100.0).of(PortfolioValued)[0].equity == Decimal("998.5")
