"""The printed summary of a run."""

from pathlib import Path
from typing import Any

import pytest
from support.report_builders import (
    RUN_NS,
    make_execution_row,
    make_journal,
    make_latencies,
    make_ledger,
    make_position_row,
    make_report,
    make_signal_row,
    make_tally,
)

from monitor.report import print_summary
from monitor.summary import summarise

RUN_DIRECTORY = Path("/var/lib/tickpulse/run-of-a-name-that-is-longer-than-a-terminal-is-wide-and-must-not-be-cut")


def make_summary(*, ended_signals: int = 3, **executor: Any) -> dict[str, Any]:
    """A run with three signals, and a position that the ledger agrees with."""
    return summarise(
        make_tally(
            make_report("gateway", counters={"ticks_published": 12_345, "lines_malformed": 2}),
            make_report("support_resistance", counters={"signals_emitted": 3, "ticks_received": 12_345}),
            make_report("executor", **executor),
        ),
        make_journal(
            signals=[
                make_signal_row(number, life=f"support_resistance-{make_report().epoch}")
                for number in range(1, ended_signals + 1)
            ],
            positions=[make_position_row("0.00831", strategy="support_resistance", realised_pnl="-12345.678")],
        ),
        make_ledger(executions=[make_execution_row("0.00831")], summary={"accepted": 3}),
        RUN_NS,
    )


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal, or a file, of the usual width."""
    monkeypatch.setenv("COLUMNS", "80")


def printed(summary: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    """What a person reads."""
    print_summary(summary, RUN_DIRECTORY)
    return capsys.readouterr().out


def cells(text: str, name: str) -> list[str]:
    """The words of the row that begins with a name, behind it."""
    return next(line for line in text.splitlines() if line.startswith(name)).removeprefix(name).split()


@pytest.mark.usefixtures("columns")
def test_clean_run_is_called_clean_with_its_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """The verdict first, the counts behind it."""
    text = printed(make_summary(latencies=make_latencies(2_000_000)), capsys)

    assert "traded for 20.0 s: every signal has its end, no order was lost or made twice" in text
    assert cells(text, "ticks published") == cells(text, "ticks received") == ["12,345"]
    assert (cells(text, "orders accepted"), cells(text, "fills"), cells(text, "lost signals")) == (["3"], ["1"], ["0"])
    assert cells(text, "journal and ledger agree on positions") == ["yes"]
    assert cells(text, "feed: lines malformed") == ["2"]


@pytest.mark.usefixtures("columns")
def test_unclean_run_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """Who looks at the first line only must see it."""
    summary = {**make_summary(ended_signals=1), "positions_agree": False, "duplicate_orders": 1}

    text = printed(summary, capsys)

    assert "1 orders were made twice" in text
    assert "2 signals have no end in the journal" in text
    assert "disagree on positions" in text
    assert (cells(text, "lost signals"), cells(text, "duplicate orders")) == (["2"], ["1"])
    assert cells(text, "journal and ledger agree on positions") == ["NO"]


@pytest.mark.usefixtures("columns")
def test_latency_is_shown_in_microseconds_or_as_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    """A run without an order has none."""
    measured = printed(make_summary(latencies=make_latencies(2_000_000)), capsys)
    nothing = printed(make_summary(), capsys)

    assert cells(measured, "tick to acknowledgement") == ["p50", "p90", "p99", "p99.9", "max"]
    assert all(value.startswith(("2,00", "1,99")) for value in cells(measured, "µs"))
    assert cells(nothing, "µs") == ["-"] * 5


@pytest.mark.usefixtures("columns")
def test_positions_are_shown_with_whole_names_at_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """A summary is kept in files, where a name that was cut is lost."""
    text = printed(make_summary(), capsys)

    assert cells(text, "support_resistance") == ["simulated.BTC/USDT", "0.00831", "60,000.50", "-12,345.68", "0.25"]
    assert max(len(line) for line in text.splitlines() if "support_resistance" in line) <= 80


@pytest.mark.usefixtures("columns")
def test_run_without_positions_shows_no_table_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty table says nothing."""
    text = printed({**make_summary(), "positions": []}, capsys)

    assert "position  " not in text


@pytest.mark.usefixtures("columns")
def test_closed_position_has_no_entry_price(capsys: pytest.CaptureFixture[str]) -> None:
    """It is a dash, not a zero."""
    closed = make_position_row("0", strategy="momentum", entry_price=None, realised_pnl="1.005")

    text = printed({**make_summary(), "positions": [closed]}, capsys)

    assert cells(text, "momentum") == ["simulated.BTC/USDT", "0", "-", "1.00", "0.25"]


@pytest.mark.usefixtures("columns")
def test_places_to_look_closer_are_printed_in_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that is broken over two lines cannot be copied."""
    text = printed(make_summary(), capsys)

    assert f"journal, ledger and logs: {RUN_DIRECTORY}\n" in text
    assert f"tickpulse orders --run-dir {RUN_DIRECTORY}\n" in text
    assert f"tickpulse ledger --run-dir {RUN_DIRECTORY}\n" in text
