"""The whole file against its chain, its anchors, its own columns and its indexes; and a whole one made of what is good.

A row is good that follows the one before it, or a hole that the log tells of. All good rows are copied into a new file,
and the old one is kept in quarantine as it is: so a page that SQLite cannot read is mended like a row that was changed.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from common.errors import InvalidValueError
from common.events.registry import type_name
from common.events.system import LogHole, LogPruned
from common.sqlite_files import open_database
from common.store.anchors import conclude, examine_anchors
from common.store.chain import first_link
from common.store.config import StoreConfig
from common.store.contract import Damage, Verification
from common.store.json_messages import decode_json
from common.store.quarantine import notes_in
from common.store.sqlite.schema import COLUMNS, EVENT_LOG, digest_of, encode_row
from common.store.walk import Walk, own_markers

ROWS_PER_PAGE = 1_000
INDEXES = ("events_time", "events_type")
ID_STEP_MAX = 1 << 32  # of the search for the next row behind a damaged place
_QUERY = f"SELECT {COLUMNS}, digest FROM events WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608  # ours
_COPY = f"INSERT INTO events ({COLUMNS}, digest) VALUES ({', '.join('?' * 10)})"  # noqa: S608  # ours

Row = tuple[Any, ...]


class Unreadable(NamedTuple):
    """A place where SQLite cannot read: behind the row of this id."""

    after: int
    why: str


class _Header(msgspec.Struct, gc=False):
    """What the columns repeat of a message."""

    type: str
    timestamp_ns: int
    exchange: str | None = None
    symbol: str | None = None


_decode_header = msgspec.json.Decoder(_Header).decode


class Check:
    """One pass over a file; afterwards it also knows what would be missing without the rows that are not good."""

    def __init__(self, connection: sqlite3.Connection, path: Path, store_id: str, config: StoreConfig) -> None:
        self._connection = connection
        self._path = path
        anchors, damages, self._doubt = examine_anchors(path, config, store_id)
        self._anchored_id = max((anchor.last_id for anchor in anchors), default=0)
        self._markers = read_markers(connection, store_id)
        self.walk = Walk(store_id, [(anchor.last_id, anchor.digest) for anchor in anchors], self._markers)
        self._anchor_damages, self._wrong_indexes = damages, _check_indexes(connection, path)
        self._is_unreadable = False
        self.bad_types = Counter[str]()
        self.holes: list[LogHole] = []
        self._kept_id, self._kept_digest = 0, first_link(store_id)
        self._clock_ns, self._went_back = 0, 0

    def run(self) -> Verification:
        """Go over it.

        Raises:
            CannotVerifyError: The anchors are missing or cannot be read, and nothing else is wrong.
        """
        bad: Row | None = None
        for row in rows_of(self._connection):
            if isinstance(row, Unreadable):
                self._is_unreadable = True
                self.walk.unreadable(self._place(max(row.after, 0) + 1), f"from here on nothing can be read, {row.why}")
            elif self._is_good(row):
                if bad is not None:
                    self._add_hole(bad[0], bad[-1])
                    bad = None
                self._kept_id, self._kept_digest = row[0], row[-1]
            else:
                self.bad_types[row[2] if isinstance(row[2], str) else ""] += 1
                bad = row
        notes = self.walk.notes
        if self._went_back:
            notes.append(f"the clock of the recorder went back {self._went_back} times")
        notes += map(str, notes_in(quarantine_of(self._path)))
        found = self.walk.finish(self._place(self.walk.last_id))
        end_id = 0 if bad is None else bad[0]
        if self.walk.digest is None:  # the end cannot be read: it held all that has an anchor
            end_id = max(end_id, self._anchored_id)
        if end_id > self._kept_id:
            self._add_hole(end_id, self._kept_digest)
        self.holes += self.walk.lost
        for marker_id in self.walk.bad_ids & self._markers.keys():
            self.holes += self._markers[marker_id].holes
        damages = [*found.damages, *self._anchor_damages, *self._wrong_indexes]
        return conclude(msgspec.structs.replace(found, damages=damages), self._doubt)

    @property
    def is_to_be_copied(self) -> bool:
        """Tell whether the file itself has something in it, or in the way of reading it, that is not good."""
        return bool(self.bad_types or self._is_unreadable or self._wrong_indexes)

    @property
    def first_damage(self) -> str:
        """In words."""
        first = [*self.walk.damages, *self._wrong_indexes][0]
        return f"{first.place.rpartition(': ')[2]}: {first.what}"[:300]

    def _is_good(self, row: Row) -> bool:
        *content, digest = row
        row_id = content[0]
        is_behind_unreadable = self.walk.digest is None
        encoded = encode_row(content)
        if not self.walk.follow(row_id, encoded, digest):
            self.walk.step(self._place(row_id), row_id, encoded, digest_of(digest))
        if (lie := _find_lie(content)) is not None:
            self.walk.damage(self._place(row_id), lie, row_id, row_id)
            self.walk.bad_ids.add(row_id)
        elif content[4] < self._clock_ns:
            self._went_back += 1
        self._clock_ns = self._clock_ns if lie else content[4]
        if is_behind_unreadable:
            self.walk.bad_ids.add(row_id)  # what it follows nobody knows
        return row_id not in self.walk.bad_ids

    def _add_hole(self, last_id: int, digest: Any) -> None:
        self.holes.append(
            LogHole(
                first_id=self._kept_id + 1,
                last_id=last_id,
                digest_before=self._kept_digest.hex(),
                digest_after=digest_of(digest).hex(),
            )
        )

    def _place(self, row_id: int) -> str:
        return f"{self._path}: row {row_id}"


def rows_of(connection: sqlite3.Connection) -> Iterator[Row | Unreadable]:
    """Every row that can be read, by id, and every place where one cannot."""
    after, size, step = -(2**63), ROWS_PER_PAGE, 1
    while True:
        try:
            rows: list[Row] = connection.execute(_QUERY, (after, size)).fetchall()
            ids = [after, *(row[0] for row in rows)]
            if any(follower <= leader for leader, follower in pairwise(ids)):
                raise sqlite3.DatabaseError("rows of a page that is missing")  # SQLite reads zeros there
        except sqlite3.Error as error:
            if size > 1:
                size = 1  # what comes before the damaged place is read row by row
                continue
            if step == 1:
                yield Unreadable(after, str(error))
            if step > ID_STEP_MAX:
                return
            after, step = max(after, 0) + step, step * 2
            continue
        if not rows:
            return
        yield from rows
        step = 1
        size = ROWS_PER_PAGE if len(rows) == size else size
        after = rows[-1][0]


def read_markers(connection: sqlite3.Connection, store_id: str) -> dict[int, LogPruned]:
    """The log's own word of what was taken out of it, as far as it is readable."""
    found: list[tuple[int, LogPruned]] = []
    query = "SELECT id, data_json FROM events WHERE type = ? ORDER BY id"
    try:
        for row_id, text in connection.execute(query, (type_name(LogPruned),)):
            try:
                message = decode_json(text)
            except (InvalidValueError, TypeError):
                continue
            if isinstance(message, LogPruned):
                found.append((row_id, message))
    except sqlite3.Error:
        pass  # then the walk tells where it cannot read
    return own_markers(found, store_id)


def copy_good(source: sqlite3.Connection, path: Path, store_id: str, bad_ids: set[int]) -> sqlite3.Connection:
    """Make a new file of all rows that can be read and are not bad."""
    connection = open_database(path, EVENT_LOG, check_same_thread=False)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE store SET store_id = ?", (store_id,))
        rows = (row for row in rows_of(source) if not isinstance(row, Unreadable) and row[0] not in bad_ids)
        connection.executemany(_COPY, rows)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def quarantine_of(path: Path) -> Path:
    """Where what is damaged is kept."""
    return path.with_name(f"{path.name}.quarantine")


def _find_lie(content: list[Any]) -> str | None:
    """What a column says otherwise than the message itself; of a sealed row its seal says so to whoever has the key."""
    _, timestamp, name, data_json, recorded_ns, exchange, symbol, key, sealed = content
    if not isinstance(recorded_ns, int):
        return f"expected a time of recording, was {recorded_ns!r}"
    if data_json is None:
        return None if key and sealed else "expected data_json or a sealed part with its key, was neither"
    try:
        header = _decode_header(data_json)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        return f"data_json: expected a message, {error}"
    said = (header.timestamp_ns, header.type, header.exchange, header.symbol)
    if said != (timestamp, name, exchange, symbol):
        return f"expected the columns to repeat {said} of data_json, were {(timestamp, name, exchange, symbol)}"
    return None


def _check_indexes(connection: sqlite3.Connection, path: Path) -> list[Damage]:
    """What a query by an index would not find, or what has taken the place of one of ours."""
    try:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
        lines = [line for (line,) in connection.execute("PRAGMA integrity_check(10)") if line != "ok"]
    except sqlite3.Error as error:
        return [Damage(place=str(path), what=f"expected a readable file, {error}")]
    lines += [f"index {name} is missing" for name in INDEXES if name not in names]
    return [Damage(place=str(path), what=line) for line in lines]
