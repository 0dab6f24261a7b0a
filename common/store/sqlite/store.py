"""The event log in one SQLite file: one writer, any number of readers beside it."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from common.checkpoints import BackgroundCheckpoints
from common.clock import SystemClock
from common.errors import ConfigError, FatalError
from common.events.base import Message
from common.events.system import LogHole
from common.sqlite_files import check, open_database
from common.store.anchors import open_anchors
from common.store.chain import first_link
from common.store.config import StoreConfig
from common.store.contract import (
    CannotVerifyError,
    Stats,
    Store,
    StoreConfigError,
    StoreDamagedError,
    StoreFullError,
    Verification,
)
from common.store.json_messages import encode_messages
from common.store.quarantine import Note, keep
from common.store.record import Record
from common.store.retention import Policy, Pruning, describe, markers_of
from common.store.sealing import UNSEALED_TYPES, clear_part, open_key_ring, subject_of
from common.store.selection import EVERYTHING, Selection
from common.store.sqlite import pruning
from common.store.sqlite.checking import Check, copy_good, quarantine_of
from common.store.sqlite.reading import Reader
from common.store.sqlite.schema import COLUMNS, EVENT_LOG, NOUN, adopt, digest_of, next_digest, read_store_id
from common.store.writing import require_room, take_lock

if TYPE_CHECKING:
    from common.store.keyring import KeyRing

CACHE_KIB = 32_768  # the inner pages of the indexes of 10 M events
LOG_BYTES_MAX = 256 << 20  # to begin it anew costs one write 50 ms: once in 400,000 events
ROWS_PER_STATEMENT = 50  # one statement for each row costs 2 µs a row more

_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def open_store(path: Path, config: StoreConfig, is_writer: bool) -> Store:
    """Open a log; a writer makes it where there is none, and brings an older version up to date.

    Raises:
        StoreConfigError: As of `common.store.address.open_store`.
        StoreDamagedError: The file is so damaged that nothing of it can be read.
    """
    ring = open_key_ring(config)
    try:
        return SqliteWriter(path, config, ring) if is_writer else SqliteStore(path, config, ring)
    except StoreConfigError:
        raise
    except (ConfigError, CannotVerifyError) as error:
        raise StoreConfigError(str(error)) from error
    except (FatalError, sqlite3.Error) as error:
        raise _cannot_open(path, error) from error
    except OSError as error:
        raise StoreConfigError(f"{NOUN} {path}: expected a place that this user can use, {error.strerror}") from error


class SqliteStore(Store):
    """A log that is only read."""

    format = "sqlite"

    def __init__(self, path: Path, config: StoreConfig, ring: "KeyRing | None") -> None:
        if not path.is_file():
            raise StoreConfigError(f"{NOUN} {path}: expected a file, was none")
        self._connection = _connect_readonly(path)
        try:
            check(self._connection, path, EVENT_LOG)
            self._prepare(path, config, ring)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, path: Path, config: StoreConfig, ring: "KeyRing | None") -> None:
        self._path = path
        self._config = config
        self._ring = ring
        self._store_id = read_store_id(self._connection)
        self._connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._reader = Reader(self._connection, path, self._store_id, ring)

    @property
    def last_id(self) -> int:
        return self._reader.last_id()

    def _write(self, first_id: int, recorded_ns: int, messages: Sequence[Message]) -> None:
        raise StoreConfigError(f"{NOUN} {self._path}: opened for reading; a record was to be written")

    def read(self, selection: Selection = EVERYTHING) -> Iterator[Record]:
        return self._reader.by_time(selection)

    def get_events(self, from_id: int = 1) -> Iterator[Record]:
        return self._reader.by_id(from_id)

    def tail(self, count: int) -> list[Record]:
        if count <= 0:
            return []
        query = "SELECT min(id) FROM (SELECT id FROM events ORDER BY id DESC LIMIT ?)"
        [(first_id,)] = self._select(query, (count,))
        return [] if first_id is None else [*self.get_events(first_id)]

    def flush(self) -> None:
        pass

    def verify(self) -> Verification:
        return Check(self._connection, self._path, self._store_id, self._config).run()

    def prune(self, policy: Policy, now_ns: int, *, is_dry_run: bool = False) -> Pruning:
        if not is_dry_run:
            raise StoreConfigError(f"{NOUN} {self._path}: opened for reading; rows were to be removed")
        return self._find_prunable(policy, now_ns).pruning

    def stats(self) -> Stats:
        [(first_id, last_id)] = self._select("SELECT min(id), max(id) FROM events")
        [(first_ns,)] = self._select("SELECT min(timestamp) FROM events INDEXED BY events_time")
        [(last_ns,)] = self._select("SELECT max(timestamp) FROM events INDEXED BY events_time")
        types = dict(self._select("SELECT type, count(*) FROM events INDEXED BY events_type GROUP BY type"))
        files = (self._path, _log_of(self._path))
        return Stats(
            format=self.format,
            records=sum(types.values()),
            first_id=first_id or 0,
            last_id=last_id or 0,
            first_ns=first_ns,
            last_ns=last_ns,
            size_bytes=sum(file.stat().st_size for file in files if file.exists()),
            types=types,
        )

    def close(self) -> None:
        self._connection.close()

    def _find_prunable(self, policy: Policy, now_ns: int) -> pruning.Plan:
        try:
            return pruning.find(self._connection, self._store_id, policy, now_ns, self._config.segment_bytes_max)
        except sqlite3.Error as error:
            raise StoreDamagedError(
                f"{NOUN} {self._path}: expected a readable file, {error}; `tickpulse store repair` first"
            ) from error

    def _select(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StoreDamagedError(f"{NOUN} {self._path}: expected a readable file, {error}") from error


class SqliteWriter(SqliteStore):
    """The one process that writes. What a batch has committed is in the log of SQLite; `flush` syncs that."""

    _checkpoints: BackgroundCheckpoints

    def __init__(self, path: Path, config: StoreConfig, ring: "KeyRing | None") -> None:
        self._is_open = False
        self._now_ns = SystemClock().now_ns
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = take_lock(path.with_name(f"{path.name}-lock"), path, self._now_ns())
        with contextlib.ExitStack() as undo:
            undo.callback(self._lock.release)
            self._connection = open_database(path, EVENT_LOG, check_same_thread=False)
            undo.callback(self._connection.close)
            self._prepare(path, config, ring)
            self._anchors = open_anchors(path, config, self._store_id)
            undo.callback(self._anchors.close)
            self._begin()
            undo.pop_all()
        self._is_open = True

    @property
    def last_id(self) -> int:
        return self._last_id

    def _write(self, first_id: int, recorded_ns: int, messages: Sequence[Message]) -> None:
        self._write_records([Record(row_id, recorded_ns, message) for row_id, message in enumerate(messages, first_id)])

    def _write_records(self, records: Sequence[Record]) -> None:
        if self._damage is not None:
            raise StoreDamagedError(f"{self._damage}; `tickpulse store repair` takes it out") from self._damage
        require_room(self._path, self._path.parent, self._config.clear_of_disk_bytes)
        rows, digest = self._rows(records)
        try:
            if self._checkpoints.error is not None:
                raise self._checkpoints.error
            self._connection.execute("BEGIN IMMEDIATE")
            values_per_statement = ROWS_PER_STATEMENT * _ROW.count("?")
            for start in range(0, len(rows), values_per_statement):
                values = rows[start : start + values_per_statement]
                self._connection.execute(_insert(len(values) // _ROW.count("?")), values)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise self._cannot_write(error, f"{len(records)} records were not written") from error
        self._last_id, self._digest = records[-1].id, digest
        self._anchors.set(self._last_id, digest, self._now_ns())
        self._checkpoints.catch_up()

    def flush(self) -> None:
        # The file of the log only: SQLite's locks on the database would be gone if we closed that.
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(_log_of(self._path), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        self._anchors.sync()

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._checkpoints.close()
        self.flush()
        self._anchors.close()
        super().close()
        self._lock.release()

    def prune(self, policy: Policy, now_ns: int, *, is_dry_run: bool = False) -> Pruning:
        found = self._find_prunable(policy, now_ns)
        if is_dry_run or not found.pruning.records:
            return found.pruning
        # The log says first what goes, then it goes. What a crash leaves undone, the next pruning takes.
        self._tell(found.holes, found.pruning.records_of_type, "retention", describe(policy), now_ns)
        self.flush()
        try:
            for part in found.taken:
                pruning.delete(self._connection, part)
            pruning.give_room_back(self._connection)
        except sqlite3.Error as error:
            self._roll_back()
            raise self._cannot_write(error, "not all records that were to go are gone; prune again") from error
        return found.pruning

    def repair(self, now_ns: int) -> list[str]:
        check = Check(self._connection, self._path, self._store_id, self._config)
        with contextlib.suppress(CannotVerifyError):
            check.run()
        done: list[str] = []
        if check.is_to_be_copied:
            done = self._repair_file(check, now_ns)
        elif check.holes:
            self._tell(check.holes, {}, "loss", "records that an anchor knew of", now_ns)
            self.flush()
        if check.holes:
            done.append(f"recorded {len(check.holes)} ranges of missing records")
        return done

    def _repair_file(self, check: Check, now_ns: int) -> list[str]:
        """Put a file of what is good in the place of this one, which is kept."""
        path, damaged = self._path, self._connection
        draft = path.with_name(f".{path.name}.repaired")
        draft.unlink(missing_ok=True)
        why = check.first_damage
        note = Note(file=f"{path.name}.{now_ns}", why=why, moved_ns=now_ns, bytes=path.stat().st_size)
        self._checkpoints.close()
        try:
            if damaged.execute("PRAGMA journal_mode = DELETE").fetchone() != ("delete",):
                raise StoreConfigError(f"{NOUN} {path}: expected nobody else to read it while it is repaired")
            self._connection = copy_good(damaged, draft, self._store_id, check.walk.bad_ids)
            self._begin(draft)
            self._last_id = max(self._last_id, check.walk.last_id)
            if check.holes:
                self._tell(check.holes, check.bad_types, "quarantine", why, now_ns)
            self._checkpoints.close()
        finally:
            for connection in {damaged, self._connection}:
                connection.close()
        keep(quarantine_of(path), path, note)
        draft.replace(path)
        self._connection = open_database(path, EVENT_LOG, check_same_thread=False)
        self._begin()
        return [f"kept the damaged file as {note.file} in {quarantine_of(path).name}: {why}"]

    def _tell(
        self, holes: list[LogHole], records_of_type: Mapping[str, int], cause: str, detail: str, now_ns: int
    ) -> None:
        """Record in the log what was taken out of it."""
        self.append_batch(
            list(
                markers_of(holes, records_of_type, store_id=self._store_id, cause=cause, detail=detail, now_ns=now_ns)
            ),
            now_ns,
        )

    def _begin(self, path: Path | None = None) -> None:
        """Go on behind the newest row of the file that is open."""
        self._reader = Reader(self._connection, self._path, self._store_id, self._ring)
        self._damage: StoreDamagedError | None = None
        self._anchors.keep_head()
        try:
            self._last_id, self._digest = self._find_end()
        except StoreDamagedError as error:
            self._last_id, self._digest, self._damage = 0, b"", error
        else:
            self._anchors.set(self._last_id, self._digest, self._now_ns())
        # Where the loss of power took records that an anchor has seen, their ids are not given again.
        self._last_id = max((self._last_id, *(anchor.last_id for anchor in self._anchors.read())))
        self._checkpoints = BackgroundCheckpoints(self._connection, path or self._path, LOG_BYTES_MAX)

    def _rows(self, records: Sequence[Record]) -> tuple[list[Any], bytes]:
        """The values of all columns of all rows, one behind the other, and the digest of the last row."""
        sealer = None if self._ring is None else self._ring.sealer()
        digest = self._digest
        values: list[Any] = []
        texts = encode_messages([record.message for record in records])
        for (row_id, recorded_ns, message), text in zip(records, texts, strict=True):
            timestamp_ns = message.timestamp_ns
            name, exchange, symbol = subject_of(message)
            data_json: str | None = None
            key = sealed = None
            if sealer is None or type(message) in UNSEALED_TYPES:
                data_json = text.decode()
            else:
                clear = clear_part(self._store_id, row_id, recorded_ns, name, timestamp_ns, exchange, symbol)
                key, sealed = sealer.key_id, sealer.seal(text, clear)
            row = (row_id, timestamp_ns, name, data_json, recorded_ns, exchange, symbol, key, sealed)
            digest = next_digest(digest, row)
            values += row
            values.append(digest)
        return values, digest

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _cannot_write(self, error: sqlite3.Error, what: str) -> StoreFullError | StoreDamagedError:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return StoreFullError(f"{NOUN} {self._path}: the disk is full, {what}")
        return StoreDamagedError(f"{NOUN} {self._path}: cannot be written, {error}; {what}")

    def _find_end(self) -> tuple[int, bytes]:
        rows = self._select("SELECT id, digest FROM events ORDER BY id DESC LIMIT 1")
        last_id, digest = rows[0] if rows else (0, first_link(self._store_id))
        return last_id, digest_of(digest)


def migrate(path: Path, *, is_adopting: bool) -> None:
    """Bring a log up to date; with `is_adopting` also a table events(id, timestamp, type, data_json) made by hand.

    Raises:
        StoreConfigError: It is another kind of file, its version is newer, or a process writes it.
    """
    if not path.is_file():
        raise StoreConfigError(f"{NOUN} {path}: expected a file, was none")
    if is_adopting:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            if connection.execute("PRAGMA application_id").fetchone() == (0,):
                adopt(connection, path)
        except sqlite3.Error as error:
            raise _cannot_open(path, error) from error
        finally:
            connection.close()
    open_store(path, StoreConfig(), is_writer=True).close()


@cache
def _insert(row_count: int) -> str:
    return f"INSERT INTO events ({COLUMNS}, digest) VALUES {', '.join([_ROW] * row_count)}"  # noqa: S608  # ours


def _connect_readonly(path: Path) -> sqlite3.Connection:
    # On a medium that cannot be written SQLite cannot share the file with a writer, and there is none.
    is_fixed = not os.access(path.parent, os.W_OK) and not _log_of(path).exists()
    options = "mode=ro&immutable=1" if is_fixed else "mode=ro"
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{options}", uri=True, isolation_level=None, check_same_thread=False
    )
    # Nothing can be written here; what this changes is that SQLite reads what is there of a file that was cut.
    connection.execute("PRAGMA writable_schema = ON")
    return connection


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _cannot_open(path: Path, error: Exception) -> StoreConfigError | StoreDamagedError:
    cause = error.__cause__ if isinstance(error.__cause__, sqlite3.Error) else error
    if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
        return StoreConfigError(f"{NOUN} {path}: expected an SQLite file of tickpulse, was something else")
    if isinstance(cause, sqlite3.OperationalError):
        return StoreConfigError(f"{NOUN} {path}: expected a file that can be opened, {cause}")
    return StoreDamagedError(f"{NOUN} {path}: expected a readable file, {cause}")
