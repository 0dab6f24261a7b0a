"""The journal: an append-only SQLite file of everything the executor learned. Anyone may read it, one process writes.

Each entry is one row with a JSON body. Two unique indexes repeat in the file what the code promises: one end per
signal, and one booking per execution.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import msgspec

from common.checkpoints import BackgroundCheckpoints
from common.crash_points import crash_point
from common.errors import ConfigError, FatalError
from executor.entries import AnyEntry, Entry

SCHEMA_VERSION = 1
# "TPJ1": tells our journals from any other SQLite file.
APPLICATION_ID = 0x54504A31

SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
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

_encode = msgspec.json.Encoder(decimal_format="string").encode
_decode = msgspec.json.Decoder(AnyEntry).decode
_INSERT = "INSERT INTO entries (timestamp_ns, kind, subject, body) VALUES (?, ?, ?, ?)"


class SqliteJournal:
    """The executor's journal on disk."""

    def __init__(self, path: Path, synchronous: str) -> None:
        """Open or create the file.

        Args:
            path: Where it is.
            synchronous: `normal`: an entry survives the death of the process. `full`: it survives power loss.

        Raises:
            ConfigError: The file is not a journal, or of a newer version.
            FatalError: It is damaged.
        """
        self._path = path
        self._connection = _open(path, synchronous)
        self._checkpoints = BackgroundCheckpoints(self._connection, path)

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries in one transaction.

        Raises:
            FatalError: They were not written.
        """
        crash_point("executor.journal.writing")
        rows = [
            (entry.timestamp_ns, entry.__struct_config__.tag, entry.subject, _encode(entry).decode())
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

    def replay(self) -> Iterator[Entry]:
        """Every entry since the beginning, in order.

        Raises:
            FatalError: An entry cannot be read; the message names its number.
        """
        return (entry for _, entry in read_entries(self._connection))

    def close(self) -> None:
        """Close the file. Safe to repeat."""
        self._checkpoints.close()
        self._connection.close()


def _open(path: Path, synchronous: str) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            # First of all: setting the journal mode would already change a file that is not ours.
            _check_or_create(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous.upper()}")
        except (sqlite3.Error, ConfigError):
            connection.close()
            raise
    except sqlite3.Error as error:
        raise FatalError(f"journal {path}: expected a readable SQLite file, {error}; restore or remove it") from error
    return connection


def _check_or_create(connection: sqlite3.Connection, path: Path) -> None:
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application_id == 0 and tables == 0:
        connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
        return
    if application_id != APPLICATION_ID:
        raise ConfigError(f"journal {path}: expected a tickpulse journal, was another SQLite file; move it away")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise ConfigError(
            f"journal {path}: expected schema version {SCHEMA_VERSION}, was {version}; use the tickpulse that wrote it"
        )


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
    """Number and entry of every row behind a number, in order.

    Raises:
        FatalError: An entry cannot be read; the message names its number.
    """
    seq = after_seq
    try:
        for seq, body in connection.execute("SELECT seq, body FROM entries WHERE seq > ? ORDER BY seq", [after_seq]):
            yield seq, _decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise FatalError(f"journal entry {seq}: expected a known entry, {error}") from error
    except sqlite3.Error as error:
        raise FatalError(f"journal after entry {seq}: expected a readable file, {error}; restore it") from error
