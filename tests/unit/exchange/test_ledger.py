"""The ledger as a file: it survives, it is refused when it is not ours, and others can read it meanwhile."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from support.exchange_builders import NOW_NS, make_answer, make_execution, make_submit

from common.errors import ConfigError, FatalError
from exchange.ledger import Ledger, Synchronous
from exchange.ledger_reading import read_ledger

WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from support.exchange_builders import NOW_NS, make_answer, make_execution, make_submit
from exchange.ledger import Ledger

ledger = Ledger(Path(sys.argv[1]))
ledger.record_submission(make_submit(), make_answer(make_submit()), NOW_NS)
ledger.record_repeat("order-1")
ledger.record_executions([make_execution()])
os.kill(os.getpid(), signal.SIGKILL)
"""


def record_order(ledger: Ledger, client_order_id: str = "order-1", number: int = 1) -> None:
    """Have an accepted order in the ledger."""
    request = make_submit(client_order_id)
    ledger.record_submission(request, make_answer(request, venue_order_id=f"sim-{number}"), NOW_NS)


def test_every_write_survives_kill_9(tmp_path: Path) -> None:
    """Durable when the method returns, though nothing was closed."""
    path = tmp_path / "ledger.sqlite"

    died = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(path)], env=_environment(), check=False)

    assert died.returncode == -signal.SIGKILL
    assert read_ledger(path)["summary"]["executions"] == 1
    with Ledger(path) as ledger:
        found = ledger.find("order-1")
        assert found is not None
        assert (found.submissions, found.filled_quantity) == (2, Decimal("0.4"))
        assert ledger.executions_from(1, 10) == [make_execution()]


def test_reopened_ledger_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Both counts continue, so no number is ever used twice."""
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        record_order(ledger)
        ledger.record_executions([make_execution(1)])

    with Ledger(path) as ledger:
        record_order(ledger, "order-2", 2)
        ledger.record_executions([make_execution(2, filled_quantity="0.8", leaves_quantity="0.2")])

        assert (ledger.last_order_number(), ledger.last_execution_number()) == (2, 2)


@pytest.mark.parametrize(("synchronous", "level"), [("normal", 1), ("full", 2)])
def test_durability_is_as_configured(tmp_path: Path, synchronous: Synchronous, level: int) -> None:
    """WAL always; every commit waits for the disk only when power loss matters."""
    with Ledger(tmp_path / "ledger.sqlite", synchronous) as ledger:
        connection = ledger._connection  # the setting belongs to the connection, no other can see it

        assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_open_orders_are_found_without_reading_the_finished_ones(tmp_path: Path) -> None:
    """A restart after a million orders is as quick as after ten."""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        statements: list[str] = []
        ledger._connection.set_trace_callback(statements.append)
        ledger.open_orders()

        plan = ledger._connection.execute(f"EXPLAIN QUERY PLAN {statements[0]}").fetchall()

    assert "orders_open" in plan[0][3]


def test_foreign_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A wrong path must not turn somebody's file into a ledger."""
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    before = path.read_bytes()

    with pytest.raises(ConfigError, match="expected a tickpulse ledger"):
        Ledger(path)

    assert path.read_bytes() == before


def test_other_programs_meta_table_is_refused(tmp_path: Path) -> None:
    """A table of the same name does not make it ours; the message names the owner."""
    path = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE meta (key TEXT, value TEXT)")
        connection.execute("INSERT INTO meta VALUES ('application', 'tickpulse journal')")
        connection.commit()

    with pytest.raises(ConfigError, match="was 'tickpulse journal'"):
        Ledger(path)


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    """An old program must not write into a file whose rules it does not know."""
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE meta SET value = '3' WHERE key = 'schema_version'")
        connection.commit()

    with pytest.raises(ConfigError, match="expected schema version 2, was 3"):
        Ledger(path)


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be looked at" * 100, b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """Neither repaired nor overwritten: it may be all that is left."""
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"ledger\.sqlite"):
        Ledger(path)

    assert path.read_bytes() == content


def test_missing_directory_is_refused(tmp_path: Path) -> None:
    """The message says which file could not be opened."""
    with pytest.raises(ConfigError, match="expected a directory that this user can write"):
        Ledger(tmp_path / "nowhere" / "ledger.sqlite")


def test_failing_write_is_fatal(tmp_path: Path) -> None:
    """The process must end: it can no longer keep what it decides."""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger._connection.execute("PRAGMA query_only = ON")

        with pytest.raises(FatalError, match="record_submission: attempt to write a readonly database"):
            record_order(ledger)


def test_number_that_no_column_holds_is_fatal(tmp_path: Path) -> None:
    """A broken feed may claim any time; what cannot be kept is not told."""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        record_order(ledger)

        with pytest.raises(FatalError, match="record_executions"):
            ledger.record_executions([make_execution(timestamp_ns=1 << 64)])

        assert ledger.last_execution_number() == 0
        assert ledger.executions_from(1, 1) == []


def test_second_writer_is_found_out(tmp_path: Path) -> None:
    """Two exchanges on one file would give the same execution number twice; the second to try ends."""
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger, Ledger(path) as intruder:
        record_order(ledger)
        intruder.record_executions([make_execution(1)])

        with pytest.raises(FatalError, match="UNIQUE constraint failed"):
            ledger.record_executions([make_execution(1)])


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(sys.path)}
