"""What every journal promises: the SQLite file and the fake in memory. And what only a file must withstand."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path

import msgspec
import pytest
from support.executor_builders import (
    MemoryJournal,
    make_amend_request,
    make_cancel_request,
    make_denial,
    make_ending,
    make_intent,
    make_report,
    make_signal,
)

from chaos.disk import VirtualFile, VirtualJournal
from chaos.facts import Facts
from common.errors import ConfigError, FatalError
from common.events.trading import OrderStatus
from common.events.venue import AnswerOutcome
from common.ids import make_client_order_id
from executor.core import Journal
from executor.entries import (
    AmendIntended,
    CancelIntended,
    CancelRefused,
    Entry,
    ExecutionTaken,
    OrderAbandoned,
    OrderAdopted,
    OrderAnswerTaken,
    OrderIntended,
    OrderUnanswered,
    SignalConflicted,
)
from executor.journal import (
    _OF_ORDER,
    _OF_REQUEST,
    _OF_SIGNAL,
    APPLICATION_ID,
    SCHEMA_VERSION,
    SqliteJournal,
    open_readonly,
    read_entries,
)
from executor.snapshot import Snapshot

OpenJournal = Callable[[], Journal]

ONE_OF_EACH_KIND: list[Entry] = [
    make_intent("s-1", quantity="0.50", limit_price="100.10", trigger_price=99.95, confidence=0.5, reduce_only=True),
    make_denial("s-2", signal=make_signal("s-2")),
    make_denial("s-3"),
    SignalConflicted(timestamp_ns=3, signal_id="s-1", digest="e" * 32),
    OrderUnanswered(4, "tp-1"),
    OrderAnswerTaken(
        timestamp_ns=5,
        client_order_id="tp-1",
        outcome=AnswerOutcome.EXISTS,
        status=OrderStatus.PARTIALLY_FILLED,
        venue_order_id="venue-7",
        reason="REASON",
    ),
    OrderAbandoned(6, "tp-2", "EXPIRED"),
    CancelIntended(7, "tp-1"),
    CancelRefused(8, "tp-1", "TOO_LATE"),
    ExecutionTaken(9, make_report(1, fee="-0.000000000001"), make_report(1).price),
    ExecutionTaken(10, make_ending(2, reason="CANCEL_REQUESTED")),
]


@pytest.fixture(params=["file", "memory", "virtual"])
def open_journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenJournal]:
    """Opens the same journal again and again, as one life after the other does."""
    opened: list[SqliteJournal | MemoryJournal] = []
    entries: list[Entry] = []
    kept: list[Snapshot] = []
    file: VirtualFile[Sequence[Entry]] = VirtualFile(is_synced=True)

    def open_next() -> Journal:
        if request.param == "virtual":
            return VirtualJournal(file, lambda _point: None, Facts([], reference_age_ns_max=0))
        if opened:
            opened[-1].close()
        is_file = request.param == "file"
        opened.append(SqliteJournal(tmp_path / "journal.sqlite", "normal") if is_file else MemoryJournal(entries, kept))
        return opened[-1]

    yield open_next
    for journal in opened:
        journal.close()


def test_new_journal_is_empty(open_journal: OpenJournal) -> None:
    """The first life begins with nothing."""
    assert list(open_journal().replay()) == []


def test_entries_of_every_kind_come_back_as_they_were_in_their_order(open_journal: OpenJournal) -> None:
    """Each amount digit by digit, each absent field absent."""
    journal = open_journal()

    for entry in ONE_OF_EACH_KIND:
        journal.append([entry])

    assert list(journal.replay()) == ONE_OF_EACH_KIND
    assert [repr(entry) for entry in journal.replay()] == [repr(entry) for entry in ONE_OF_EACH_KIND]


def test_next_life_sees_what_was_appended(open_journal: OpenJournal) -> None:
    """And goes on behind it."""
    open_journal().append([make_intent("s-1")])
    open_journal().append([make_intent("s-2"), make_denial("s-3")])

    entries = list(open_journal().replay())

    assert [entry.subject for entry in entries] == ["s-1", "s-2", "s-3"]


def test_replay_can_be_repeated(open_journal: OpenJournal) -> None:
    """It reads, nothing more."""
    journal = open_journal()
    journal.append(ONE_OF_EACH_KIND)

    assert list(journal.replay()) == list(journal.replay())


@pytest.mark.parametrize("second", [make_intent("s-1", quantity="2"), make_denial("s-1")], ids=["intent", "denial"])
@pytest.mark.parametrize("first", [make_intent("s-1"), make_denial("s-1")], ids=["intent", "denial"])
def test_signal_has_one_verdict_whatever_the_code_above_believes(
    open_journal: OpenJournal, first: Entry, second: Entry
) -> None:
    """The journal itself refuses a second intent or denial: at most one order per signal, by construction."""
    journal = open_journal()
    journal.append([first])

    with pytest.raises(FatalError, match="could not be written"):
        journal.append([second])

    assert list(open_journal().replay()) == [first]


def test_execution_is_booked_once_whatever_the_code_above_believes(open_journal: OpenJournal) -> None:
    """No fill counts twice."""
    journal = open_journal()
    journal.append([ExecutionTaken(1, make_report(7))])

    with pytest.raises(FatalError, match="could not be written"):
        journal.append([ExecutionTaken(2, make_report(7, quantity="0.1"))])

    assert len(list(journal.replay())) == 1


def test_other_facts_may_repeat(open_journal: OpenJournal) -> None:
    """A cancel may be wanted, refused and wanted again; a conflict may come a hundred times."""
    journal = open_journal()
    repeated: list[Entry] = [CancelIntended(1, "tp-1"), CancelRefused(2, "tp-1", "BUSY"), OrderUnanswered(3, "tp-1")]

    journal.append(repeated)
    journal.append(repeated)

    assert list(journal.replay()) == repeated * 2


def test_entries_that_are_appended_together_are_kept_together_or_not_at_all(open_journal: OpenJournal) -> None:
    """A failure in the middle leaves nothing behind, and nothing open: what comes after it is durable again."""
    journal = open_journal()
    journal.append([make_intent("s-1")])

    with pytest.raises(FatalError):
        journal.append([make_intent("s-2"), make_intent("s-1")])
    journal.append([make_intent("s-3")])

    assert [entry.subject for entry in open_journal().replay()] == ["s-1", "s-3"]


@pytest.mark.parametrize("quantity", ["NaN", "sNaN", "-Infinity", "1E+400", "0.000000000000000000001", "-0"])
def test_refused_signal_is_kept_with_whatever_amount_it_had(open_journal: OpenJournal, quantity: str) -> None:
    """The journal of a refusal must not be what refuses to be read."""
    journal = open_journal()

    journal.append([make_denial("s-1", signal=make_signal("s-1", quantity=quantity))])

    [entry] = journal.replay()
    assert repr(entry) == repr(make_denial("s-1", signal=make_signal("s-1", quantity=quantity)))


def test_tail_is_what_comes_behind_an_entry(open_journal: OpenJournal) -> None:
    """A start that has a snapshot reads no more."""
    journal = open_journal()
    assert journal.last_seq() == 0
    journal.append(ONE_OF_EACH_KIND)

    assert journal.last_seq() == len(ONE_OF_EACH_KIND)
    assert list(journal.replay(after_seq=4)) == ONE_OF_EACH_KIND[4:]
    assert list(journal.replay(after_seq=len(ONE_OF_EACH_KIND))) == []


ORDER_ID = make_client_order_id("s-1")
LIFE_OF_AN_ORDER: list[Entry] = [
    make_intent("s-1"),
    OrderUnanswered(2, ORDER_ID),
    AmendIntended(3, ORDER_ID, make_amend_request("a-1", "s-1"), Decimal(2), Decimal(101)),
    ExecutionTaken(4, make_report(1, "s-1")),
    CancelIntended(5, ORDER_ID, make_cancel_request("s-1", request_id="c-1")),
    CancelIntended(6, ORDER_ID),
    ExecutionTaken(7, make_ending(2, "s-1")),
]
OTHER_LIVES: list[Entry] = [
    make_intent("s-2"),
    make_denial("s-3"),
    make_denial("a-2", is_request=True),
    SignalConflicted(timestamp_ns=3, signal_id="s-1", digest="e" * 32),
    ExecutionTaken(9, make_report(3, "s-2")),
    OrderAdopted(10, "theirs", make_signal("adopted-1"), Decimal(0), "venue-1"),
]


def interleaved(journal: Journal) -> None:
    """Append the entries of several orders, in turn."""
    for mine, other in zip_longest(LIFE_OF_AN_ORDER, OTHER_LIVES):
        journal.append([entry for entry in (mine, other) if entry is not None])


def test_history_of_an_order_is_all_that_is_about_it(open_journal: OpenJournal) -> None:
    """In order, and nothing of others; folded alone it gives the order again."""
    interleaved(open_journal())
    journal = open_journal()
    journal.keep_snapshot(Snapshot(5, b"", ""))  # what lies behind one must be found as well

    assert list(journal.history_of_order(ORDER_ID, journal.last_seq())) == LIFE_OF_AN_ORDER
    assert list(journal.history_of_order("theirs", journal.last_seq())) == OTHER_LIVES[-1:]
    assert list(journal.history_of_order("tp-nobody", journal.last_seq())) == []


@pytest.mark.parametrize("instruction_id", ["s-1", "a-1", "c-1"])
def test_history_of_an_instruction_is_that_of_its_order(open_journal: OpenJournal, instruction_id: str) -> None:
    """A signal, a cancel, an amendment: each is found by its own id."""
    journal = open_journal()
    interleaved(journal)

    assert list(journal.history_of_instruction(instruction_id, journal.last_seq())) == LIFE_OF_AN_ORDER


def test_history_of_a_refused_instruction_is_its_refusal(open_journal: OpenJournal) -> None:
    """Of a signal, or of a request; a new instruction has none, and an adopted order is found by its made-up signal."""
    journal = open_journal()
    interleaved(journal)
    last_seq = journal.last_seq()

    assert list(journal.history_of_instruction("s-3", last_seq)) == [OTHER_LIVES[1]]
    assert list(journal.history_of_instruction("a-2", last_seq)) == [OTHER_LIVES[2]]
    assert list(journal.history_of_instruction("adopted-1", last_seq)) == OTHER_LIVES[-1:]
    assert list(journal.history_of_instruction("s-4", last_seq)) == []


def test_history_ends_where_it_is_told_to(open_journal: OpenJournal) -> None:
    """A fold of the past must not see what came later."""
    journal = open_journal()
    journal.append(LIFE_OF_AN_ORDER)

    for last_seq in range(len(LIFE_OF_AN_ORDER) + 1):
        assert list(journal.history_of_order(ORDER_ID, last_seq)) == LIFE_OF_AN_ORDER[:last_seq]
        assert list(journal.history_of_instruction("s-1", last_seq)) == LIFE_OF_AN_ORDER[:last_seq]
    assert list(journal.history_of_instruction("c-1", 4)) == []


def test_snapshots_come_back_newest_first(open_journal: OpenJournal) -> None:
    """And survive the life that wrote them; the same number is kept once."""
    journal = open_journal()
    journal.append(LIFE_OF_AN_ORDER)
    assert list(journal.snapshots()) == []

    for seq, body in ((1, b"one"), (3, b"three"), (5, b"five"), (5, b"cinq")):
        journal.keep_snapshot(Snapshot(seq, body, f"sum of {seq}"))

    found = list(open_journal().snapshots())[:2]
    assert found == [Snapshot(5, b"cinq", "sum of 5"), found[1]]
    assert found[1].seq in {3, 5}
    assert list(open_journal().replay()) == LIFE_OF_AN_ORDER


# What only a file must withstand


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "journal.sqlite"


def write(path: Path, *entries: Entry) -> None:
    """Have a closed journal with these entries."""
    journal = SqliteJournal(path, "normal")
    if entries:
        journal.append(entries)
    journal.close()


def append_many(journal: Journal) -> None:
    """Append more than a full disk takes."""
    for number in range(2, 200):
        journal.append([make_intent(f"s-{number}")])


def read(path: Path) -> list[Entry]:
    """What the next life finds."""
    journal = SqliteJournal(path, "normal")
    try:
        return list(journal.replay())
    finally:
        journal.close()


def test_what_was_appended_survives_a_process_that_never_closes(path: Path, tmp_path: Path) -> None:
    """The files as they lie on disk after the append are what a killed process leaves."""
    journal = SqliteJournal(path, "normal")
    journal.append([make_intent("s-1")])
    journal.append([make_intent("s-2")])

    after_death = tmp_path / "after_death"
    after_death.mkdir()
    for file in path.parent.glob("journal.sqlite*"):
        shutil.copy(file, after_death)
    journal.close()

    assert [entry.subject for entry in read(after_death / path.name)] == ["s-1", "s-2"]


def test_write_that_was_torn_by_a_power_cut_loses_the_newest_entries_and_no_other(path: Path, tmp_path: Path) -> None:
    """Wherever the log ends, what can be read is a prefix of what was written."""
    names = [f"s-{number}" for number in range(20)]
    journal = SqliteJournal(path, "normal")
    for name in names:
        journal.append([make_intent(name)])
    database, log = path.read_bytes(), path.with_name("journal.sqlite-wal").read_bytes()
    journal.close()

    counts = []
    for length in range(len(log), 0, -len(log) // 15):
        torn = tmp_path / "torn.sqlite"
        torn.write_bytes(database)
        torn.with_name("torn.sqlite-wal").write_bytes(log[:length])
        found = [entry.subject for entry in read(torn)]
        assert found == names[: len(found)]
        counts.append(len(found))

    assert counts[0] == len(names)
    assert counts == sorted(counts, reverse=True)


def test_journal_can_be_read_while_it_is_written(path: Path) -> None:
    """`tickpulse orders` looks on; a reader in the middle of its reading sees the moment at which it began."""
    journal = SqliteJournal(path, "normal")
    journal.append([make_intent("s-1"), make_intent("s-2")])
    reader = open_readonly(path)
    rows = read_entries(reader)
    first = next(rows)

    journal.append([make_intent("s-3")])

    assert [first[0], *(seq for seq, _ in rows)] == [1, 2]
    assert [entry.subject for _, entry in read_entries(reader)] == ["s-1", "s-2", "s-3"]
    reader.close()
    journal.close()


def test_reader_cannot_write(path: Path) -> None:
    """One process writes."""
    write(path, make_intent("s-1"))
    reader = open_readonly(path)

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM entries")

    reader.close()


@pytest.mark.parametrize(("synchronous", "level"), [("normal", 1), ("full", 2)])
def test_file_is_as_synchronous_as_asked(path: Path, synchronous: str, level: int) -> None:
    """Normal survives the death of the process, full survives power loss."""
    journal = SqliteJournal(path, synchronous)

    assert journal._connection.execute("PRAGMA synchronous").fetchone() == (level,)
    assert journal._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    journal.close()


def test_rows_are_readable_with_any_sqlite(path: Path) -> None:
    """Number, time, kind, subject, and a JSON body: an auditor needs no code of ours."""
    write(path, make_intent("s-1", quantity="0.50"))

    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT seq, kind, subject, json_extract(body, '$.signal.quantity') FROM entries")
    assert rows.fetchall() == [(1, "intent", "s-1", "0.50")]
    connection.close()


def test_closing_twice_does_no_harm(path: Path) -> None:
    """A stop that is interrupted by another stop."""
    journal = SqliteJournal(path, "normal")

    journal.close()
    journal.close()


def test_closed_journal_takes_nothing(path: Path) -> None:
    """Fail closed: who appends to it hears so."""
    journal = SqliteJournal(path, "normal")
    journal.close()

    with pytest.raises(FatalError, match="could not be written"):
        journal.append([make_intent("s-1")])


def test_file_of_another_program_is_refused_and_left_as_it_was(path: Path) -> None:
    """A wrong path must not cost somebody their data, not even a byte of the header."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(ConfigError, match="expected a tickpulse journal, was another SQLite file; move it away"):
        SqliteJournal(path, "normal")

    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_journal_of_a_newer_version_is_refused(path: Path) -> None:
    """It may hold entries that this version would misunderstand."""
    write(path, make_intent("s-1"))
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()

    with pytest.raises(ConfigError, match=f"expected schema version {SCHEMA_VERSION}, was {SCHEMA_VERSION + 1}"):
        SqliteJournal(path, "normal")


SCHEMA_OF_VERSION_1 = """
PRAGMA application_id = 0x54504A31;
PRAGMA user_version = 1;
CREATE TABLE entries (
  seq INTEGER PRIMARY KEY,
  timestamp_ns INTEGER NOT NULL,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_verdict_per_signal ON entries (subject) WHERE kind IN ('intent', 'denied');
CREATE UNIQUE INDEX one_booking_per_execution ON entries (subject) WHERE kind = 'execution';
"""


def write_version_1(path: Path, entries: Sequence[Entry]) -> None:
    """A file as the version before this one has left it."""
    connection = sqlite3.connect(path)
    connection.executescript(SCHEMA_OF_VERSION_1)
    connection.executemany(
        "INSERT INTO entries (timestamp_ns, kind, subject, body) VALUES (?, ?, ?, ?)",
        [
            (each.timestamp_ns, each.__struct_config__.tag, each.subject, msgspec.json.encode(each).decode())
            for each in entries
        ],
    )
    connection.commit()
    connection.close()


def test_journal_of_version_1_is_taken_over(path: Path, tmp_path: Path) -> None:
    """All that was in it is there, and can be found as in a file that was of this version from the start."""
    entries = [*LIFE_OF_AN_ORDER, *OTHER_LIVES]
    write_version_1(path, entries)
    (tmp_path / "new").mkdir()
    journal = SqliteJournal(tmp_path / "new" / path.name, "normal")
    journal.append(entries)
    journal.keep_snapshot(Snapshot(len(entries), b"", ""))
    journal.close()

    assert read(path) == entries

    tables = []
    for each in (path, tmp_path / "new" / path.name):
        connection = sqlite3.connect(each)
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        rows = connection.execute("SELECT seq, order_id, instruction_id FROM entries ORDER BY seq").fetchall()
        lookups = connection.execute("SELECT name, seq FROM lookups ORDER BY name, seq").fetchall()
        derived = "SELECT sql FROM sqlite_master WHERE name NOT LIKE 'entries' ORDER BY name"
        tables.append((rows, lookups, connection.execute(derived).fetchall()))
        connection.close()
    assert tables[0] == tables[1]


def test_journal_that_was_taken_over_goes_on(path: Path) -> None:
    """Old and new entries of one order are one history."""
    write_version_1(path, LIFE_OF_AN_ORDER[:3])
    journal = SqliteJournal(path, "normal")

    journal.append(LIFE_OF_AN_ORDER[3:])

    assert journal.history_of_instruction("a-1", 100) == LIFE_OF_AN_ORDER
    journal.close()


def test_orders_of_a_journal_of_version_1_can_be_read_without_taking_it_over(path: Path) -> None:
    """Who only looks changes nothing."""
    write_version_1(path, LIFE_OF_AN_ORDER)
    reader = open_readonly(path)

    assert [entry for _, entry in read_entries(reader)] == LIFE_OF_AN_ORDER

    assert reader.execute("PRAGMA user_version").fetchone() == (1,)
    reader.close()


def test_entry_that_is_missing_is_fatal_and_named(path: Path) -> None:
    """Who takes one away changes what all others add up to."""
    write(path, *(make_intent(f"s-{number}") for number in range(5)))
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM entries WHERE seq = 3")
    connection.commit()
    connection.close()

    with pytest.raises(FatalError, match="journal entry 3: expected it before 4, was none"):
        read(path)


def test_only_the_newest_snapshots_are_kept(path: Path) -> None:
    """The file does not grow by them."""
    journal = SqliteJournal(path, "normal")

    for seq in range(1, 10):
        journal.keep_snapshot(Snapshot(seq, b"body", "sum"))

    assert [each.seq for each in journal.snapshots()] == [9, 8, 7]
    journal.close()


def test_snapshot_that_cannot_be_read_has_no_body(path: Path) -> None:
    """So it fails its checksum; the others and all entries are still there."""
    write(path, *LIFE_OF_AN_ORDER)
    connection = sqlite3.connect(path)
    connection.executescript("DROP TABLE snapshots; CREATE TABLE snapshots (seq INTEGER PRIMARY KEY);")
    connection.execute("INSERT INTO snapshots VALUES (7)")
    connection.commit()
    connection.close()
    journal = SqliteJournal(path, "normal")

    assert list(journal.snapshots()) == [Snapshot(7, b"", "")]
    assert list(journal.replay()) == LIFE_OF_AN_ORDER
    journal.close()


def test_snapshots_that_are_gone_are_told(path: Path) -> None:
    """One that nobody can use stands for those that nobody can count."""
    write(path, *LIFE_OF_AN_ORDER)
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE snapshots")
    connection.close()
    journal = SqliteJournal(path, "normal")

    assert list(journal.snapshots()) == [Snapshot(0, b"", "")]
    journal.close()


def test_closed_journal_keeps_and_finds_nothing(path: Path) -> None:
    """Fail closed: who asks it hears so."""
    journal = SqliteJournal(path, "normal")
    journal.close()

    with pytest.raises(FatalError, match="snapshot 1 could not be written"):
        journal.keep_snapshot(Snapshot(1, b"body", "sum"))
    with pytest.raises(FatalError, match="expected a readable file"):
        journal.history_of_order("tp-1", 1)


def test_lookups_use_their_indexes(path: Path) -> None:
    """However long the journal is."""
    journal = SqliteJournal(path, "normal")
    for query in (_OF_ORDER, _OF_SIGNAL, _OF_REQUEST):
        key = {"name": "name", "last": 9, "after": 5}
        plan = [row[3] for row in journal._connection.execute(f"EXPLAIN QUERY PLAN {query}", key)]
        assert plan
        assert not any(step.startswith("SCAN entries") for step in plan), plan
    journal.close()


def test_file_that_is_no_database_is_refused(path: Path) -> None:
    """Garbage is named as such; it is not overwritten with an empty journal."""
    path.write_bytes(b"this is no database " * 100)

    with pytest.raises(FatalError, match=r"journal\.sqlite: expected a readable SQLite file"):
        SqliteJournal(path, "normal")
    with pytest.raises(FatalError, match="expected a tickpulse journal"):
        open_readonly(path)

    assert path.read_bytes().startswith(b"this is no database")


def test_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """The message has the path."""
    with pytest.raises(FatalError, match=r"nowhere/journal\.sqlite"):
        SqliteJournal(tmp_path / "nowhere" / "journal.sqlite", "normal")


def test_database_that_was_cut_off_is_fatal_and_says_so(path: Path) -> None:
    """A copy that ended early: half a truth is not replayed as the whole."""
    write(path, *(make_intent(f"s-{number}") for number in range(200)))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size // 2)

    with pytest.raises(FatalError, match=r"journal"):
        read(path)


def test_page_that_was_overwritten_is_fatal_and_says_where_reading_ended(path: Path) -> None:
    """A disk that lies."""
    write(path, *(make_intent(f"s-{number}") for number in range(200)))
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        file.seek(4096 * (pages // 2))
        file.write(b"\xff" * 4096 * (pages // 4))

    with pytest.raises(FatalError, match=r"journal"):
        read(path)


@pytest.mark.parametrize("body", ["{}", "not json", '{"kind": "teleport", "timestamp_ns": 1}'])
def test_entry_that_cannot_be_read_is_fatal_and_named(path: Path, body: str) -> None:
    """By its number, so that a person can look at it."""
    write(path, make_intent("s-1"))
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO entries (timestamp_ns, kind, subject, body) VALUES (1, 'odd', 's-2', ?)", (body,))
    connection.commit()
    connection.close()

    with pytest.raises(FatalError, match="journal entry 2: expected a known entry"):
        read(path)


def test_journal_carries_its_name_and_version(path: Path) -> None:
    """`file` and a hex dump tell it from other databases."""
    write(path)

    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert APPLICATION_ID.to_bytes(4, "big") == b"TPJ1"
    connection.close()


def test_memory_journal_that_is_broken_keeps_nothing() -> None:
    """The fake fails as the file does."""
    journal = MemoryJournal()
    journal.is_broken = True

    with pytest.raises(FatalError, match="could not be written"):
        journal.append([make_intent()])

    assert list(journal.replay()) == []


def test_journal_of_a_whole_disk_is_fatal_and_what_was_there_stays(path: Path) -> None:
    """No page more may be added: the append fails aloud, the entries before it are all there."""
    journal = SqliteJournal(path, "normal")
    journal.append([make_intent("s-1")])
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(FatalError, match="full"):
        append_many(journal)

    count = len(list(journal.replay()))
    journal.close()
    entries = read(path)
    assert [entry.subject for entry in entries] == [f"s-{number}" for number in range(1, count + 1)]
    assert all(isinstance(entry, OrderIntended) for entry in entries)
