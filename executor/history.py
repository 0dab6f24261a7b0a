"""The executor's past as others read it: its journal, entry by entry, with the events that each one told of."""

import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from common.errors import FatalError
from common.history import Position, Recorded
from executor.book import Book
from executor.entries import Entry
from executor.journal import open_readonly, read_entries

JOURNAL_NAME = "journal.sqlite"
ENTRIES_PER_READ_MAX = 1_000  # 60 ms, 200 ms on a machine that is far too busy: whoever reads has a loop to turn


class JournalHistory:
    """Folds the journal of a run directory in the order in which it is read.

    Events depend on what was known before them, so reading back means folding anew from the first entry; reading on is
    cheap.
    """

    def __init__(self, state_directory: Path) -> None:
        self._path = state_directory / JOURNAL_NAME
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)  # device and inode of what is open
        self._book = Book()
        self._folded_seq = 0

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
        if after_seq < self._folded_seq:
            self._book, self._folded_seq = Book(), 0
        facts: list[Recorded] = []
        for count, (seq, entry) in enumerate(read_entries(connection, self._folded_seq), start=1):
            events = self._book.apply(entry)
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
