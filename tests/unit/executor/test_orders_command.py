"""`tickpulse orders`: what people and scripts are told about a journal."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from support.executor_builders import NOW_NS, ExecutorHarness, make_denial

from common.errors import ExitCode
from common.money import plain
from executor.entries import Entry, OrderIntended, OrderUnanswered
from executor.journal import SqliteJournal
from executor.orders_command import orders


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory with a place for the journal, away from any tickpulse.toml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").mkdir()
    return tmp_path


@pytest.fixture
def journal(run_dir: Path) -> Iterator[SqliteJournal]:
    """The journal of an executor that is running."""
    opened = SqliteJournal(run_dir / "state" / "journal.sqlite", "normal")
    yield opened
    opened.close()


def make_entries() -> list[Entry]:
    """A filled order, one that works, a rejected one, a denied signal and a position."""
    life = ExecutorHarness()
    life.signal("s-1", quantity="1.50")
    life.answer()
    life.fill("s-1", quantity="0.5", price="100", fee="0.02")
    life.fill("s-1", quantity="1", price="99.5", fee="-0.005")
    life.signal("s-2", action="sell", limit_price="100.10")
    life.answer()
    life.signal("s-3", order_type="market", time_in_force="ioc")
    life.reject("INSUFFICIENT_BALANCE")
    life.signal("s-4", quantity="0.001")
    return life.journal.entries


def invoke(run_dir: Path, *options: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(orders, ["--run-dir", str(run_dir), *options])


def test_orders_and_positions_are_listed_under_their_titles(run_dir: Path, journal: SqliteJournal) -> None:
    """One line each, newest last, columns aligned; the sums at the end."""
    journal.append(make_entries())

    result = invoke(run_dir)

    assert result.exit_code == ExitCode.OK
    titles, *rows, blank, position_titles, position, _, summary = result.output.splitlines()
    assert [row.split()[0] for row in rows] == ["s-1", "s-2", "s-3"]
    assert rows[0].index("filled") == titles.index("STATUS")
    assert rows[0].split() == ["s-1", "simulated.BTC/USDT", "buy", "1.5", "100", "filled", "1.5", "99.6667"]
    assert rows[2].split()[4:6] == ["market", "rejected"]
    assert blank == ""
    assert position.split()[0] == "momentum"
    assert position.index("1.5") + 3 == position_titles.index("QUANTITY") + len("QUANTITY")
    assert summary == "3 orders, 1 working; 4 signals: 2 accepted, 1 rejected, 1 denied"


def test_limit_keeps_the_newest_and_says_so(run_dir: Path, journal: SqliteJournal) -> None:
    """The sums still count everything; 0 means all."""
    journal.append(make_entries())

    limited, everything = invoke(run_dir, "--limit", "1"), invoke(run_dir, "--limit", "0")

    assert "s-3" in limited.output
    assert "s-2" not in limited.output
    assert "1 of 3 orders, 1 working" in limited.output
    assert "s-1" in everything.output


def test_json_is_one_object_with_exact_amounts(run_dir: Path, journal: SqliteJournal) -> None:
    """Amounts are text, so that no reader turns money into a float by accident; --limit does not cut it."""
    journal.append(make_entries())

    result = invoke(run_dir, "--json", "--limit", "1")

    view = msgspec.json.decode(result.output)
    assert [order["status"] for order in view["orders"]] == ["filled", "accepted", "rejected"]
    assert (view["orders"][0]["quantity"], view["orders"][0]["average_price"]) == ("1.5", "99.666666666667")
    assert [signal["outcome"] for signal in view["signals"]] == ["accepted", "accepted", "rejected", "denied"]
    assert [signal["reason"] for signal in view["signals"]] == [None, None, "INSUFFICIENT_BALANCE", "OFF_LOT"]
    assert view["positions"] == [
        {
            "strategy": "momentum",
            "exchange": "simulated",
            "symbol": "BTC/USDT",
            "quantity": "1.5",
            "entry_price": "99.666666666667",
            "realised_pnl": "0",
            "fees": "0.015",
        }
    ]
    assert view["summary"] == {
        "signals": 4,
        "signals_acknowledged": 4,
        "signals_accepted": 2,
        "signals_rejected": 1,
        "signals_denied": 1,
        "orders": 3,
        "orders_working": 1,
        "last_execution_number": 2,
        "orders_adopted": 0,
    }
    assert view["journal_seq"] == len(make_entries())


def test_signal_that_is_still_open_has_no_outcome(run_dir: Path, journal: SqliteJournal) -> None:
    """It is neither accepted nor refused yet."""
    life = ExecutorHarness()
    life.signal()
    journal.append(life.journal.entries)

    view = msgspec.json.decode(invoke(run_dir, "--json").output)

    assert view["signals"][0]["outcome"] is None
    assert (view["summary"]["signals"], view["summary"]["signals_acknowledged"]) == (1, 0)


@pytest.mark.usefixtures("journal")
def test_empty_journal_is_a_page_of_nothing(run_dir: Path) -> None:
    """An executor that had no signal yet is no error."""
    result = invoke(run_dir)

    assert result.exit_code == ExitCode.OK
    assert "0 orders, 0 working; 0 signals" in result.output


def test_missing_journal_is_one_clear_message_and_exit_code_3(run_dir: Path) -> None:
    """No executor has run there; the message names the file and what to do, without a traceback."""
    result = invoke(run_dir)

    assert result.exit_code == ExitCode.CHECKS_FAILED
    [line] = result.output.splitlines()
    assert line.startswith(f"Error: journal {run_dir / 'state' / 'journal.sqlite'}: no such file")
    assert "--run-dir" in line
    assert not (run_dir / "state" / "journal.sqlite").exists()


def test_file_that_is_no_journal_is_one_clear_message(run_dir: Path) -> None:
    """And no traceback."""
    (run_dir / "state" / "journal.sqlite").write_bytes(b"garbage " * 1_000)

    result = invoke(run_dir)

    assert result.exit_code == ExitCode.FAULT
    [line] = result.output.splitlines()
    assert "expected a tickpulse journal" in line


def test_journal_that_contradicts_itself_is_one_clear_message(run_dir: Path, journal: SqliteJournal) -> None:
    """An order of which nothing is known any more after it was: the command says which one, and shows no numbers."""
    entries = make_entries()
    [order_id, *_] = [entry.client_order_id for entry in entries if isinstance(entry, OrderIntended)]
    journal.append([*entries, OrderUnanswered(NOW_NS, order_id)])

    result = invoke(run_dir)

    assert result.exit_code == ExitCode.FAULT
    [line] = result.output.splitlines()
    assert f"order {order_id}: UNANSWERED cannot follow filled" in line


def test_reading_leaves_the_executor_alone(run_dir: Path, journal: SqliteJournal) -> None:
    """It goes on writing, and the next look sees it."""
    journal.append(make_entries())
    invoke(run_dir)

    journal.append([make_denial("s-9")])

    assert "5 signals" in invoke(run_dir).output


def test_past_is_shown_up_to_an_entry_and_no_further(run_dir: Path, journal: SqliteJournal) -> None:
    """What was known then: the fold of the journal up to there."""
    entries = make_entries()
    journal.append(entries)
    for count in range(len(entries) + 1):
        view = msgspec.json.decode(invoke(run_dir, "--at", str(count), "--json").output)

        life = ExecutorHarness(entries=entries[:count])
        assert view["journal_seq"] == count
        assert [order["status"] for order in view["orders"]] == [
            order.status.value for order in life.book.orders.values()
        ]
        assert [position["quantity"] for position in view["positions"]] == [
            plain(position.quantity) for position in life.book.positions.values()
        ]
