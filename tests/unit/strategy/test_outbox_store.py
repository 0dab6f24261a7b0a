"""The outbox on disk: what survives a kill, what is refused, and what ends the process."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from support.executor_builders import make_cancel_request, make_signal

from common.errors import ConfigError, FatalError
from common.events.base import DRAFT
from common.events.trading import AmendRequested
from strategy.checkpoint import Checkpoint
from strategy.outbox import Instruction, Kept
from strategy.outbox_store import APPLICATION_ID, SCHEMA_VERSION, SqliteOutboxStore

CHECKPOINT = Checkpoint(timestamp_ns=5, market={"tick.simulated.BTC/USDT": ("gateway", 7, 41)}, state=b"state")
Open = Callable[[], SqliteOutboxStore]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "mine.outbox.sqlite"


@pytest.fixture
def open_store(path: Path) -> Iterator[Open]:
    """Opens the file again and again, as the lives of a process do that is killed each time: none closes it."""
    opened: list[SqliteOutboxStore] = []

    def open_again() -> SqliteOutboxStore:
        opened.append(SqliteOutboxStore(path, "normal"))
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()


def make_instructions() -> list[Instruction]:
    """One of each kind."""
    amend = AmendRequested(
        **DRAFT,
        timestamp_ns=1,
        exchange="simulated",
        symbol="BTC/USDT",
        request_id="mine-7-3",
        signal_id="mine-7-1",
        strategy="mine",
        limit_price=Decimal("100.10"),
        expires_ns=9,
        follows="mine-7-2",
    )
    return [
        make_signal("mine-7-1", quantity="0.500"),
        make_cancel_request("mine-7-1", request_id="mine-7-2", follows="mine-7-1"),
        amend,
    ]


def test_new_file_is_empty(open_store: Open) -> None:
    """There was no life before."""
    assert open_store().load() == Kept()


def test_what_was_added_survives_a_kill(open_store: Open) -> None:
    """Nobody closed the file: every instruction is there in its order, to the last digit, with the newest id."""
    store = open_store()
    store.load()
    instructions = make_instructions()
    store.add(instructions[:1], Checkpoint(timestamp_ns=4, market={}))
    store.add(instructions[1:], CHECKPOINT)

    kept = open_store().load()

    assert kept == Kept(instructions=instructions, last_id="mine-7-3", checkpoint=CHECKPOINT)
    assert str(kept.instructions[0].quantity) == "0.500"  # type: ignore[union-attr]


def test_newest_id_is_known_also_when_everything_has_its_end(open_store: Open) -> None:
    """The next life goes on from it; that is how the executor hears that nothing was lost."""
    store = open_store()
    store.load()
    store.add(make_instructions(), CHECKPOINT)

    store.remove(["mine-7-1", "mine-7-2", "mine-7-3"])

    assert open_store().load() == Kept(last_id="mine-7-3", checkpoint=CHECKPOINT)


def test_later_life_adds_behind_what_is_left_and_removes_it(open_store: Open) -> None:
    """The order of emission is that of all lives together."""
    first = open_store()
    first.load()
    instructions = make_instructions()
    first.add(instructions, CHECKPOINT)
    first.remove(["mine-7-2"])

    second = open_store()
    second.load()
    second.add([make_signal("mine-8-1")], CHECKPOINT)
    second.remove(["mine-7-1"])

    kept = open_store().load()
    assert kept.instructions == [instructions[2], make_signal("mine-8-1")]
    assert kept.last_id == "mine-8-1"


def test_checkpoint_without_an_instruction_leaves_the_newest_id(open_store: Open) -> None:
    """Also in a life that has emitted nothing yet."""
    first = open_store()
    first.load()
    first.add(make_instructions()[:1], CHECKPOINT)
    second = open_store()
    second.load()

    second.add([], Checkpoint(timestamp_ns=6, market={}))

    kept = open_store().load()
    assert (kept.last_id, kept.checkpoint) == ("mine-7-1", Checkpoint(timestamp_ns=6, market={}))


def test_emission_that_cannot_be_written_leaves_nothing_of_it(open_store: Open, path: Path) -> None:
    """The instruction and the state after it are one: half of it would let a decision be made twice."""
    store = open_store()
    store.load()
    store.add(make_instructions()[:1], CHECKPOINT)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TRIGGER full BEFORE UPDATE ON checkpoint BEGIN SELECT RAISE(ABORT, 'disk full'); END")

    with pytest.raises(FatalError, match=r"outbox .*mine.outbox.sqlite: it could not be written, disk full"):
        store.add(make_instructions()[1:], Checkpoint(timestamp_ns=6, market={}))

    kept = open_store().load()
    assert (len(kept.instructions), kept.last_id, kept.checkpoint) == (1, "mine-7-1", CHECKPOINT)


def test_failed_background_checkpoint_ends_the_next_write(open_store: Open) -> None:
    """The disk has refused something: what is written now may be lost too."""
    store = open_store()
    store.load()
    store._checkpoints.error = sqlite3.OperationalError("disk I/O error")

    with pytest.raises(FatalError, match="disk I/O error"):
        store.add([], CHECKPOINT)


def test_file_of_somebody_else_is_left_as_it_is(path: Path) -> None:
    """A mistaken path must not destroy another database, nor must a restart be tried."""
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    content = path.read_bytes()

    with pytest.raises(ConfigError, match="expected a tickpulse outbox, was another SQLite file; move it away"):
        SqliteOutboxStore(path, "normal")

    assert path.read_bytes() == content


def test_file_of_a_newer_version_is_refused(open_store: Open, path: Path) -> None:
    """Reading it wrongly could send an order twice."""
    open_store()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")

    with pytest.raises(ConfigError, match=r"expected schema version 1, was 2; use the tickpulse that wrote it"):
        open_store()


def test_file_that_is_no_database_ends_the_process(path: Path) -> None:
    """The message says which file, and what to do."""
    path.write_bytes(b"no database, but long enough to be one. " * 100)

    with pytest.raises(FatalError, match=r"mine.outbox.sqlite: expected a readable SQLite file, .*restore or remove"):
        SqliteOutboxStore(path, "normal")


def test_torn_file_ends_the_process(path: Path) -> None:
    """Half of it is missing: what was emitted is not known any more, so nothing may be sent."""
    store = SqliteOutboxStore(path, "normal")
    store.load()
    store.add([make_signal(f"mine-7-{number}") for number in range(1, 200)], CHECKPOINT)
    store.close()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])

    with (
        pytest.raises(FatalError, match=r"mine.outbox.sqlite: expected a readable"),
        closing(SqliteOutboxStore(path, "normal")) as torn,
    ):
        torn.load()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("UPDATE instructions SET body = x'c1'", "row 1: expected an instruction, body"),
        ("UPDATE instructions SET id = 'mine-7-9'", "row 1: expected instruction mine-7-9, was Signal"),
        ("UPDATE checkpoint SET market = x'c1'", "expected a market position"),
        ("DELETE FROM checkpoint", "expected one checkpoint row, was none"),
    ],
)
def test_row_that_cannot_be_read_ends_the_process(open_store: Open, path: Path, change: str, text: str) -> None:
    """Somebody has changed it: no guess is good enough for an order."""
    store = open_store()
    store.load()
    store.add(make_instructions()[:1], CHECKPOINT)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(change)

    with pytest.raises(FatalError, match=text):
        open_store().load()


@pytest.mark.parametrize(("synchronous", "expected"), [("normal", 1), ("full", 2)])
def test_durability_is_that_of_the_config(path: Path, synchronous: str, expected: int) -> None:
    """Against power loss each commit waits for the disk; and our files are told from others."""
    with closing(SqliteOutboxStore(path, synchronous)) as store:
        answers = [
            store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")
        ]
        application_id = store._connection.execute("PRAGMA application_id").fetchone()[0]

    assert (answers, application_id) == ([expected, "wal"], APPLICATION_ID)
