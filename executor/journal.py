"""The journal: an append-only SQLite file of everything the executor learned. Anyone may read it, one process writes.

Each entry is one row with a JSON body. Two unique indexes repeat in the file what the code promises: one end per
signal, and one booking per execution. Beside the entries lies what is derived from them, in the same file so that it
can be of no other journal: the newest snapshots, and where to find the entries of an order or a request again.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from common.checkpoints import BackgroundCheckpoints
from common.crash_points import crash_point
from common.errors import FatalError
from common.sqlite_files import Kind, open_database, statements
from executor.entries import AnyEntry, Entry
from executor.snapshot import Snapshot

SCHEMA_VERSION = 2
# "TPJ1": tells our journals from any other SQLite file.
APPLICATION_ID = 0x54504A31

# An index of `entries` by order would make each write half as long again, on the order's way. So `lookups` is filled
# later, whenever a snapshot is kept; its rows without a name tell up to which entry.
DERIVED = """
CREATE TABLE lookups (
  name TEXT NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (name, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE snapshots (
  seq INTEGER PRIMARY KEY,
  body BLOB NOT NULL,
  checksum TEXT NOT NULL
) STRICT;
"""
SCHEMA = f"""
CREATE TABLE entries (
  seq INTEGER PRIMARY KEY,
  timestamp_ns INTEGER NOT NULL,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  body TEXT NOT NULL,
  order_id TEXT,
  instruction_id TEXT
) STRICT;
CREATE UNIQUE INDEX one_verdict_per_signal ON entries (subject) WHERE kind IN ('intent', 'denied');
CREATE UNIQUE INDEX one_booking_per_execution ON entries (subject) WHERE kind = 'execution';
{DERIVED}
"""
# From version 1: what the new columns hold has always been in the bodies.
MIGRATION = """
ALTER TABLE entries ADD COLUMN order_id TEXT;
ALTER TABLE entries ADD COLUMN instruction_id TEXT;
UPDATE entries SET
  order_id = coalesce(json_extract(body, '$.client_order_id'), json_extract(body, '$.report.client_order_id')),
  instruction_id = CASE
    WHEN kind IN ('intent', 'denied') THEN subject
    WHEN kind IN ('cancel', 'amend') THEN json_extract(body, '$.request.request_id')
    WHEN kind = 'adopted' THEN json_extract(body, '$.signal.signal_id')
  END;
"""
SNAPSHOTS_KEPT = 3  # the newest may be unusable, and the one before it

_encode = msgspec.json.Encoder(decimal_format="string").encode
_decode = msgspec.json.Decoder(AnyEntry).decode
_INSERT = "INSERT INTO entries (timestamp_ns, kind, subject, body, order_id, instruction_id) VALUES (?, ?, ?, ?, ?, ?)"
_LOOKED_UP_SEQ = "SELECT coalesce(max(seq), 0) FROM lookups WHERE name = ''"
_LOOK_UP = """
INSERT OR IGNORE INTO lookups (name, seq)
SELECT order_id, seq FROM entries WHERE seq > :after AND seq <= :last AND order_id IS NOT NULL
UNION ALL
SELECT instruction_id, seq FROM entries
WHERE seq > :after AND seq <= :last AND kind IN ('cancel', 'amend', 'adopted') AND instruction_id IS NOT NULL
UNION ALL
SELECT '', :last
"""
_LOOK_UP_ALL = _LOOK_UP.replace(":after", "0").replace(":last", "(SELECT coalesce(max(seq), 0) FROM entries)")
JOURNAL = Kind(
    "journal",
    APPLICATION_ID,
    SCHEMA_VERSION,
    statements(SCHEMA),
    {1: statements(f"{MIGRATION} {DERIVED} {_LOOK_UP_ALL}")},
)
# What is not looked up yet is read through: at most what comes between two snapshots.
_OF_ORDER = """
SELECT seq, body FROM entries
WHERE order_id = :name AND seq <= :last
  AND seq IN (SELECT seq FROM lookups WHERE name = :name UNION ALL SELECT seq FROM entries WHERE seq > (:after))
ORDER BY seq
""".replace(":after", _LOOKED_UP_SEQ)
_OF_SIGNAL = """
SELECT seq, body, order_id FROM entries WHERE subject = :name AND kind IN ('intent', 'denied') AND seq <= :last
"""
_OF_REQUEST = """
SELECT seq, body, order_id FROM entries
WHERE instruction_id = :name AND seq <= :last
  AND seq IN (SELECT seq FROM lookups WHERE name = :name UNION ALL SELECT seq FROM entries WHERE seq > (:after))
ORDER BY seq
""".replace(":after", _LOOKED_UP_SEQ)


class JournalReader:
    """A journal, by whoever writes or reads it."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Take over a connection."""
        self._path = path
        self._connection = connection

    def replay(self, after_seq: int = 0) -> Iterator[Entry]:
        """Every entry behind that number, in order.

        Raises:
            FatalError: An entry cannot be read, or is missing; the message names its number.
        """
        return (entry for _, entry in read_entries(self._connection, after_seq))

    def last_seq(self) -> int:
        """The number of the newest entry; 0 before the first.

        Raises:
            FatalError: The file cannot be read.
        """
        [(seq,)] = self._select("SELECT coalesce(max(seq), 0) FROM entries", {})
        return int(seq)

    def history_of_order(self, client_order_id: str, last_seq: int) -> list[Entry]:
        """Every entry about an order, in order.

        Raises:
            FatalError: One cannot be read.
        """
        key = {"name": client_order_id, "last": last_seq}
        return [_read(seq, body) for seq, body in self._select(_OF_ORDER, key)]

    def history_of_instruction(self, instruction_id: str, last_seq: int) -> list[Entry]:
        """The denial of an instruction, or every entry about its order.

        Raises:
            FatalError: One cannot be read.
        """
        key = {"name": instruction_id, "last": last_seq}
        for seq, body, order_id in self._select(_OF_SIGNAL, key) or self._select(_OF_REQUEST, key):
            return [_read(seq, body)] if order_id is None else self.history_of_order(order_id, last_seq)
        return []

    def can_look_up(self) -> bool:
        """Tell whether it has what its derived tables need: one of version 1 has not, until the executor starts."""
        try:
            self._connection.execute(_LOOKED_UP_SEQ)
        except sqlite3.Error:
            return False
        return True

    def snapshots(self) -> Iterator[Snapshot]:
        """What was kept, newest first. What cannot be read has no body, and so fails its checksum."""
        try:
            seqs = [seq for (seq,) in self._connection.execute("SELECT seq FROM snapshots ORDER BY seq DESC")]
        except sqlite3.Error:
            seqs = [0]
        for seq in seqs:
            try:
                row = self._connection.execute("SELECT body, checksum FROM snapshots WHERE seq = ?", (seq,)).fetchone()
            except sqlite3.Error:
                row = None
            yield Snapshot(seq, *(row or (b"", "")))

    def _select(self, query: str, arguments: Mapping[str, object]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, arguments).fetchall()
        except sqlite3.Error as error:
            raise FatalError(f"journal {self._path}: expected a readable file, {error}; restore it") from error


class SqliteJournal(JournalReader):
    """The executor's journal on disk, as the executor has it."""

    def __init__(self, path: Path, synchronous: str) -> None:
        """Open or create the file.

        Args:
            path: Where it is.
            synchronous: `normal`: an entry survives the death of the process. `full`: it survives power loss.

        Raises:
            ConfigError: The file is not a journal, or of a newer version.
            FatalError: It is damaged.
        """
        super().__init__(path, open_database(path, JOURNAL, synchronous=synchronous))
        [(self._looked_up_seq,)] = self._select(_LOOKED_UP_SEQ, {})
        self._checkpoints = BackgroundCheckpoints(self._connection, path)

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries in one transaction.

        Raises:
            FatalError: They were not written.
        """
        crash_point("executor.journal.writing")
        rows = [
            (
                entry.timestamp_ns,
                entry.__struct_config__.tag,
                entry.subject,
                _encode(entry).decode(),
                entry.order_id,
                entry.instruction_id,
            )
            for entry in entries
        ]
        try:
            if self._checkpoints.error is not None:
                raise self._checkpoints.error
            if len(rows) == 1:
                self._connection.execute(_INSERT, rows[0])  # without BEGIN a statement is a transaction of its own
            else:
                with self._connection:  # commits, or takes back what came before a failure
                    self._connection.execute("BEGIN")
                    self._connection.executemany(_INSERT, rows)
        except sqlite3.Error as error:
            raise FatalError(f"journal {self._path}: {len(rows)} entries could not be written, {error}") from error
        crash_point("executor.journal.written")

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, and the newest few of the older ones; from now on entries up to it are looked up fast.

        Raises:
            FatalError: It was not written.
        """
        try:
            with self._connection:
                self._connection.execute("BEGIN")
                self._connection.execute(
                    "INSERT OR REPLACE INTO snapshots (seq, body, checksum) VALUES (?, ?, ?)",
                    (snapshot.seq, snapshot.body, snapshot.checksum),
                )
                self._connection.execute(
                    "DELETE FROM snapshots WHERE seq NOT IN (SELECT seq FROM snapshots ORDER BY seq DESC LIMIT ?)",
                    (SNAPSHOTS_KEPT,),
                )
                self._connection.execute(_LOOK_UP, {"after": self._looked_up_seq, "last": snapshot.seq})
        except sqlite3.Error as error:
            raise FatalError(f"journal {self._path}: snapshot {snapshot.seq} could not be written, {error}") from error
        self._looked_up_seq = max(self._looked_up_seq, snapshot.seq)

    def close(self) -> None:
        """Close the file. Safe to repeat."""
        self._checkpoints.close()
        self._connection.close()


def open_readonly(path: Path) -> sqlite3.Connection:
    """A connection that can only read, while the executor may be writing.

    Raises:
        FatalError: The file cannot be opened.
    """
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
        try:
            connection.execute("SELECT 1 FROM entries LIMIT 1")
        except sqlite3.Error:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise FatalError(f"journal {path}: expected a tickpulse journal, {error}") from error
    return connection


def read_entries(connection: sqlite3.Connection, after_seq: int = 0) -> Iterator[tuple[int, Entry]]:
    """Number and entry of every row behind that number, in order.

    Raises:
        FatalError: An entry cannot be read, or is missing; the message names its number.
    """
    last_seq = after_seq
    try:
        for seq, body in connection.execute("SELECT seq, body FROM entries WHERE seq > ? ORDER BY seq", (after_seq,)):
            if seq != last_seq + 1:
                raise FatalError(f"journal entry {last_seq + 1}: expected it before {seq}, was none; restore the file")
            last_seq = seq
            yield seq, _read(seq, body)
    except sqlite3.Error as error:
        raise FatalError(f"journal after entry {last_seq}: expected a readable file, {error}; restore it") from error


def _read(seq: int, body: str) -> Entry:
    try:
        entry: Entry = _decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise FatalError(f"journal entry {seq}: expected a known entry, {error}") from error
    return entry
