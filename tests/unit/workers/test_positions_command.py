"""`tickpulse positions`, `pnl`, `trades`: what people and programs are shown of the read model."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.executor_builders import make_intent, make_report
from support.worker_builders import NEXT_DAY_NS, build_positions, entries_of_a_day

from executor.entries import ExecutionTaken
from executor.history import JOURNAL_NAME
from executor.journal import SqliteJournal
from workers.positions_command import pnl, positions, trades


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory with a journal of two days, all of it in the read model."""
    entries = entries_of_a_day()
    sale = make_report(6, "s-5", side="sell", quantity="1", price="120", fee="0", timestamp_ns=NEXT_DAY_NS)
    entries += [make_intent("s-5", action="sell"), ExecutionTaken(NEXT_DAY_NS, sale)]
    state = tmp_path / "state"
    state.mkdir()
    journal = SqliteJournal(state / JOURNAL_NAME, "normal")
    journal.append(entries)
    journal.close()
    build_positions(entries, state)
    return tmp_path


def show(command: Any, run: Path, *options: str) -> Any:
    """What a command prints as JSON."""
    done = CliRunner().invoke(command, ["--run-dir", str(run), "--json", *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_flat_positions_are_left_out(run: Path) -> None:
    """Unless they are asked for."""
    assert show(positions, run)["positions"] == []
    assert [row["quantity"] for row in show(positions, run, "--all")["positions"]] == ["0"]


def test_profit_is_shown_with_its_sum(run: Path) -> None:
    """Net is what is left after fees, exactly."""
    shown = show(pnl, run)

    [row] = shown["pnl"]
    assert row["net_pnl"] == shown["totals"]["USDT"]["net_pnl"]
    assert (row["unrealised_pnl"], row["fees"]) == ("0", "0.4")
    assert (shown["behind"], shown["journal_seq"]) == (0, len(entries_of_a_day()) + 2)


def test_profit_by_day_is_that_of_each_days_end(run: Path) -> None:
    """The last of the second day is what is so now."""
    days = show(pnl, run, "--by-day")["days"]

    assert [row["day"] for row in days] == ["2023-11-14", "2023-11-15"]
    assert days[0]["net_pnl"] != days[1]["net_pnl"] == show(pnl, run)["pnl"][0]["net_pnl"]


def test_trades_are_limited_and_filtered(run: Path) -> None:
    """The newest ones, of one symbol or strategy."""
    assert [row["execution_number"] for row in show(trades, run)["trades"]] == [1, 2, 4, 6]
    assert [row["execution_number"] for row in show(trades, run, "--limit", "2")["trades"]] == [4, 6]
    assert show(trades, run, "--strategy", "nobody")["trades"] == []
    assert len(show(trades, run, "--symbol", "BTC/USDT", "--strategy", "momentum")["trades"]) == 4


def test_model_that_is_behind_says_so(run: Path) -> None:
    """With the question that leads on."""
    journal = SqliteJournal(run / "state" / JOURNAL_NAME, "normal")
    journal.append([ExecutionTaken(NEXT_DAY_NS, make_report(7, "s-4"))])
    journal.close()

    done = CliRunner().invoke(pnl, ["--run-dir", str(run)])

    assert show(pnl, run)["behind"] == 1
    assert "1 behind the journal; are the workers running?" in done.stdout
