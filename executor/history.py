"""The executor's past as others read it: its journal, entry by entry, with the events that each one told of."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from common.errors import FatalError
from common.history import Recorded
from executor.book import Book
from executor.entries import Entry
from executor.journal import open_readonly, read_entries

JOURNAL_NAME = "journal.sqlite"


class JournalHistory:
    """Folds the journal of a run directory in the order in which it is read.

    Events depend on what was known before them, so reading back means folding anew from the first entry; reading on is
    cheap.
    """

    def __init__(self, state_directory: Path) -> None:
        self._path = state_directory / JOURNAL_NAME
        self._connection: sqlite3.Connection | None = None
        self._book = Book()
        self._folded_seq = 0

    def last_seq(self) -> int:
        """Number of the newest entry; 0 where there is no journal yet."""
        connection = self._connect()
        if connection is None:
            return 0
        return int(self._query(connection, "SELECT coalesce(max(seq), 0) FROM entries").fetchone()[0])

    def read(self, after_seq: int, count_max: int) -> list[Recorded]:
        """Entries behind a number, oldest first.

        Raises:
            FatalError: The journal is damaged, or ends before that number: it was replaced by an older copy.
        """
        connection = self._connect()
        if connection is None:
            return []
        if after_seq < self._folded_seq:
            self._book, self._folded_seq = Book(), 0
        facts: list[Recorded] = []
        for seq, entry in self._entries(connection):
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
            if len(facts) >= count_max:
                break
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
        if self._connection is None and self._path.is_file():
            self._connection = open_readonly(self._path)
        return self._connection

    def _entries(self, connection: sqlite3.Connection) -> Iterator[tuple[int, Entry]]:
        return read_entries(connection, self._folded_seq)

    def _query(self, connection: sqlite3.Connection, statement: str) -> sqlite3.Cursor:
        try:
            return connection.execute(statement)
        except sqlite3.Error as error:
            raise FatalError(f"journal {self._path}: expected a readable file, {error}; restore it") from error


def _plain(entry: Entry) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(entry)
    return body
