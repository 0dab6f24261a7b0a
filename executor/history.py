"""The executor's past as others read it: its journal, entry by entry, with the events that each one told of."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from common.errors import FatalError
from common.history import Position, Recorded
from executor.book import Book
from executor.entries import Entry
from executor.journal import JournalReader, open_readonly, read_entries
from executor.orders import IllegalMoveError
from executor.snapshot import SnapshotError, restore_book

JOURNAL_NAME = "journal.sqlite"
ENDED_MAX = 1_000  # instructions that have ended and are held; any other is looked up
ENTRIES_PER_READ_MAX = 1_000  # 60 ms, 200 ms on a machine that is far too busy: whoever reads has a loop to turn


class JournalHistory:
    """Folds the journal of a run directory in the order in which it is read.

    Events depend on what was known before them, so a reader that begins behind some entries, or goes back, needs the
    book as it was there: from the newest of the executor's snapshots that lies before, or folded from the first entry.
    """

    def __init__(self, state_directory: Path) -> None:
        self._path = state_directory / JOURNAL_NAME
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)  # device and inode of what is open
        self._archive: JournalReader | None = None
        self._book = Book()
        self._folded_seq = 0
        self._restored_seq = 0  # of the snapshot that the book began with
        self._has_bad_snapshot = False

    def last_seq(self) -> int:
        """Number of the newest entry; 0 where there is no journal yet.

        Raises:
            FatalError: The journal cannot be read, or is another file than before.
        """
        row = self._query_one("SELECT coalesce(max(seq), 0) FROM entries")
        return 0 if row is None else int(row[0])

    def has(self, position: Position) -> bool:
        """Tell whether the entry of this number is the one of this time; a restored backup has another, or none.

        Raises:
            FatalError: As `last_seq`.
        """
        if not position.seq:
            return True
        connection = self._connect()
        if connection is None:
            return False
        seq, entry = next(read_entries(connection, position.seq - 1), (0, None))
        return seq == position.seq and entry is not None and entry.timestamp_ns == position.timestamp_ns

    def read(self, after_seq: int, count_max: int) -> list[Recorded]:
        """Entries behind a number, oldest first; none while the way there takes longer than one call may.

        Raises:
            FatalError: The journal is damaged, or ends before that number: it was replaced by an older copy.
        """
        connection = self._connect()
        if connection is None:
            return []
        self._jump(after_seq)
        facts: list[Recorded] = []
        for count, (seq, entry) in enumerate(read_entries(connection, self._folded_seq), start=1):
            try:
                events = self._book.apply(entry)
            except (IllegalMoveError, LookupError):
                if not self._restored_seq:
                    raise
                self._has_bad_snapshot = True  # it shows as soon as an entry tells of what it does not know
                self._begin(0, Book())
                return facts
            if self._restored_seq:
                self._book.memory.forget(ENDED_MAX)
            self._folded_seq = seq
            if seq > after_seq:
                facts.append(
                    Recorded(
                        seq=seq,
                        timestamp_ns=entry.timestamp_ns,
                        kind=str(type(entry).__struct_config__.tag),
                        body=_plain(entry),
                        events=events,
                    )
                )
            if len(facts) >= count_max or count >= ENTRIES_PER_READ_MAX:
                return facts
        if self._folded_seq < after_seq:
            raise FatalError(
                f"journal {self._path}: expected entries up to {after_seq}, ends at {self._folded_seq}; "
                "it was replaced by an older copy, so build what was made from it anew"
            )
        return facts

    def close(self) -> None:
        """Give the file back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _jump(self, after_seq: int) -> None:
        """Go to the newest snapshot up to an entry, unless the book is nearer."""
        is_back = after_seq < self._folded_seq
        if not is_back and after_seq - self._folded_seq < ENTRIES_PER_READ_MAX:
            return
        archive = self._archive
        snapshots = () if archive is None or self._has_bad_snapshot else archive.snapshots()
        for snapshot in snapshots:
            if (0 if is_back else self._folded_seq) < snapshot.seq <= after_seq:
                with contextlib.suppress(SnapshotError):
                    self._begin(snapshot.seq, restore_book(snapshot, archive))
                    return
        if is_back:
            self._begin(0, Book())

    def _begin(self, seq: int, book: Book) -> None:
        self._book, self._folded_seq, self._restored_seq = book, seq, seq

    def _connect(self) -> sqlite3.Connection | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            status = None
        file = (0, 0) if status is None else (status.st_dev, status.st_ino)
        if self._connection is not None and file != self._file:
            raise FatalError(f"journal {self._path}: expected the file of before, it was replaced; open it anew")
        if self._connection is None and status is not None:
            self._connection = open_readonly(self._path)
            self._file = file
            journal = JournalReader(self._path, self._connection)
            self._archive = journal if journal.can_look_up() else None
            self._begin(0, Book())  # as fast as it goes: looking up would double the time from the first entry on
        return self._connection

    def _query_one(self, statement: str) -> tuple[Any, ...] | None:
        connection = self._connect()
        try:
            row: tuple[Any, ...] | None = None if connection is None else connection.execute(statement).fetchone()
        except sqlite3.Error as error:
            raise FatalError(f"journal {self._path}: expected a readable file, {error}; restore it") from error
        return row


def _plain(entry: Entry) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(entry)
    return body
