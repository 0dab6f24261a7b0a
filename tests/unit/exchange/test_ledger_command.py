"""`tickpulse ledger`: what people and scripts are told about a ledger."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from support.exchange_builders import NOW_NS, make_answer, make_execution, make_replace, make_submit

from common.errors import ConfigError, ExitCode, NotReadyError
from common.events.trading import OrderStatus
from common.events.venue import AnswerOutcome, SubmitOrder
from exchange.ledger import Ledger
from exchange.ledger_command import ledger as ledger_command
from exchange.ledger_reading import read_ledger
from exchange.records import Halt, make_replacement


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory with a place for the ledger, away from any tickpulse.toml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").mkdir()
    return tmp_path


def ledger_path(run_dir: Path) -> Path:
    """Where the exchange keeps its ledger."""
    return run_dir / "state" / "ledger.sqlite"


def record(ledger: Ledger, request: SubmitOrder, number: int, **answer: Any) -> None:
    """Keep one order."""
    ledger.record_submission(request, make_answer(request, venue_order_id=f"sim-{number}", **answer), NOW_NS)


def fill(ledger: Ledger) -> None:
    """An order filled in part and repeated, one without a fill, and a refused one."""
    record(ledger, make_submit("order-1"), 1)
    record(ledger, make_submit("order-2", order_type="market"), 2)
    refusal = {"outcome": AnswerOutcome.REJECTED, "status": OrderStatus.REJECTED, "reason": "EXPIRED"}
    record(ledger, make_submit("order-3"), 3, **refusal)
    ledger.record_repeat("order-1")
    ledger.record_executions([make_execution(1), make_execution(2, filled_quantity="0.8", leaves_quantity="0.2")])


def invoke(run_dir: Path, *options: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(ledger_command, ["--run-dir", str(run_dir), *options])


def test_ledger_of_a_running_exchange_is_read_without_disturbing_it(run_dir: Path) -> None:
    """The exchange holds the file open and goes on writing after it was read."""
    with Ledger(ledger_path(run_dir)) as ledger:
        fill(ledger)

        contents = read_ledger(ledger_path(run_dir))
        record(ledger, make_submit("order-4"), 4)

    assert [row["client_order_id"] for row in contents["orders"]] == ["order-1", "order-2", "order-3"]
    assert [row["execution_number"] for row in contents["executions"]] == [1, 2]


def test_summary_counts_the_whole_file(run_dir: Path) -> None:
    """The numbers that a demo or a test checks."""
    with Ledger(ledger_path(run_dir)) as ledger:
        fill(ledger)

    summary = read_ledger(ledger_path(run_dir))["summary"]

    assert summary == {
        "orders": 3,
        "accepted": 2,
        "rejected": 1,
        "executions": 2,
        "repeats": 1,
        "duplicate_orders": 0,
        "overfilled_orders": 0,
        "filled_quantity": {"simulated.BTC/USDT": "0.8"},
    }


def test_second_order_at_the_venue_is_counted_as_a_duplicate(run_dir: Path) -> None:
    """An execution under another venue_order_id betrays an order that the ledger was never told of."""
    with Ledger(ledger_path(run_dir)) as ledger:
        record(ledger, make_submit("order-1"), 1)
        ledger.record_executions([make_execution(1), make_execution(2, venue_order_id="sim-2")])

    summary = read_ledger(ledger_path(run_dir))["summary"]

    assert summary["duplicate_orders"] == 1


def test_order_filled_beyond_its_quantity_is_counted(run_dir: Path) -> None:
    """Counted from the executions themselves, not from what the orders claim."""
    with Ledger(ledger_path(run_dir)) as ledger:
        record(ledger, make_submit("order-1", quantity="0.7"), 1)
        ledger.record_executions([make_execution(1), make_execution(2)])

    summary = read_ledger(ledger_path(run_dir))["summary"]

    assert summary["overfilled_orders"] == 1


def test_orders_are_listed_newest_last_under_their_titles(run_dir: Path) -> None:
    """Columns are aligned; what is absent is a dash; the summary ends the page."""
    with Ledger(ledger_path(run_dir)) as ledger:
        fill(ledger)

    result = invoke(run_dir)

    titles, *rows, blank, summary = result.output.splitlines()
    assert result.exit_code == ExitCode.OK
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert rows[0].index("order-1") == titles.index("client_order_id")
    assert rows[1][titles.index("limit") :].startswith("-")
    assert "2023-11-14 22:13:20.000000" in rows[0]
    assert "2 x" in rows[0]
    assert blank == ""
    assert summary.startswith("3 orders (2 accepted, 1 rejected), 1 repeats, 0 duplicate orders")


def test_limit_keeps_the_newest_rows(run_dir: Path) -> None:
    """The summary still counts everything."""
    with Ledger(ledger_path(run_dir)) as ledger:
        fill(ledger)

    result = invoke(run_dir, "--limit", "1")

    assert "order-3" in result.output
    assert "order-2" not in result.output
    assert "3 orders" in result.output


def test_executions_are_listed_on_request(run_dir: Path) -> None:
    """Fills with price and fee."""
    with Ledger(ledger_path(run_dir)) as ledger:
        fill(ledger)

    result = invoke(run_dir, "--executions", "--limit", "1")

    _, row, _, _ = result.output.splitlines()
    assert row.split()[0] == "2"
    assert "taker" in row


def test_json_is_one_object_with_everything(run_dir: Path) -> None:
    """Amounts are text, so that no reader turns money into a float by accident."""
    with Ledger(ledger_path(run_dir)) as ledger:
        fill(ledger)

    result = invoke(run_dir, "--json")

    contents = msgspec.json.decode(result.output)
    assert contents == read_ledger(ledger_path(run_dir))
    assert contents["orders"][0]["filled_quantity"] == "0.8"


def test_empty_ledger_is_a_summary_of_nothing(run_dir: Path) -> None:
    """An exchange that had no order yet is no error."""
    Ledger(ledger_path(run_dir)).close()

    result = invoke(run_dir)

    assert result.exit_code == ExitCode.OK
    assert result.output.startswith("0 orders")
    assert "filled: nothing" in result.output


def test_missing_ledger_is_a_message_and_exit_code_3(run_dir: Path) -> None:
    """The exchange has not run here yet; the message says what to do."""
    result = invoke(run_dir)

    assert result.exit_code == ExitCode.CHECKS_FAILED
    assert "start `tickpulse exchange`" in result.output
    with pytest.raises(NotReadyError):
        read_ledger(ledger_path(run_dir))


def test_file_that_is_no_ledger_is_refused(run_dir: Path) -> None:
    """Garbage is named as such, not shown as an empty ledger."""
    ledger_path(run_dir).write_bytes(b"garbage" * 1000)

    with pytest.raises(ConfigError, match="expected a tickpulse ledger"):
        read_ledger(ledger_path(run_dir))


def test_reading_changes_no_file(run_dir: Path) -> None:
    """The witness is not touched by those who ask it."""
    with Ledger(ledger_path(run_dir)) as ledger:
        fill(ledger)
    before = ledger_path(run_dir).read_bytes()

    invoke(run_dir)

    assert ledger_path(run_dir).read_bytes() == before


def test_halt_that_holds_is_shown_with_what_to_do(run_dir: Path) -> None:
    """Whoever wonders why nothing is ordered any more looks here; a halt that was lifted is history."""
    with Ledger(ledger_path(run_dir)) as ledger:
        ledger.record_halt(Halt(source="executor", order_count=3, counted=4, halted_ns=NOW_NS))
        halted = invoke(run_dir)
        ledger.clear_halts(NOW_NS + 1)

    assert "HALTED since 2023-11-14 22:13:20" in halted.stdout
    assert "executor said 3 orders, 4 were counted" in halted.stdout
    assert "--clear-halt" in halted.stdout
    assert "HALTED" not in invoke(run_dir).stdout
    assert [row["cleared_ns"] for row in read_ledger(ledger_path(run_dir))["halts"]] == [NOW_NS + 1]


def test_replacements_are_listed_on_request(run_dir: Path) -> None:
    """Other terms that were asked for, also those that were refused."""
    with Ledger(ledger_path(run_dir)) as ledger:
        fill(ledger)
        ledger.record_replacement(make_replacement(make_replace(), AnswerOutcome.REJECTED, "TOO_LATE", NOW_NS))

    shown = invoke(run_dir, "--replacements").stdout.splitlines()

    assert shown[0].split()[-6:] == ["client_order_id", "replace_id", "quantity", "limit", "outcome", "reason"]
    assert shown[1].split()[-6:] == ["order-1", "replace-1", "2", "100", "rejected", "TOO_LATE"]
