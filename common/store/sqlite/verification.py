"""The whole file against its chain, its anchors, its own columns and its indexes."""

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from common.store.anchors import Anchors
from common.store.chain import first_link
from common.store.contract import CannotVerifyError, Damage, Verification
from common.store.sqlite.schema import COLUMNS, next_digest

ROWS_PER_PAGE = 1_000
DAMAGES_MAX = 100  # more say nothing new
_QUERY = f"SELECT {COLUMNS}, digest FROM events WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608  # ours
INDEXES = ("events_time", "events_type")
ID_STEP_MAX = 1 << 32  # of the search for the next row behind a damaged place

Row = tuple[Any, ...]


class _Header(msgspec.Struct):
    """What the columns repeat of a message."""

    type: str
    timestamp_ns: int
    exchange: str | None = None
    symbol: str | None = None


_decode_header = msgspec.json.Decoder(_Header).decode


def verify_file(connection: sqlite3.Connection, path: Path, store_id: str, anchors: Anchors) -> Verification:
    """Read all of it.

    Raises:
        CannotVerifyError: The anchors are missing or cannot be read, so that it cannot be told whether the end is.
    """
    check = _Check(connection, path, store_id)
    found, damages = anchors.examine()
    anchored: dict[int, set[str]] = {}
    for anchor in found:
        anchored.setdefault(anchor.last_id, set()).add(anchor.digest)
    check.run(anchored)
    damages = [*check.damages, *damages, *_check_indexes(connection, path)]
    if not found and not damages and check.records:
        raise CannotVerifyError(
            f"anchors {anchors.path}: expected to be there, were not; without them nobody can tell whether the end "
            "of the log is missing"
        )
    return Verification(records=check.records, last_id=check.last_id, damages=damages[:DAMAGES_MAX], notes=check.notes)


class _Check:
    def __init__(self, connection: sqlite3.Connection, path: Path, store_id: str) -> None:
        self.records = 0
        self.last_id = 0
        self.damages: list[Damage] = []
        self.notes: list[str] = []
        self._connection = connection
        self._path = path
        # None behind what cannot be read: the chain begins anew there.
        self._digest: bytes | None = first_link(store_id)

    def run(self, anchored: dict[int, set[str]]) -> None:
        """Walk through all rows; `anchored` says which digests the anchors have seen behind which row."""
        clock_ns, went_back = 0, 0
        for row in self._rows():
            self._check_row(row)
            self._check_anchors(row, anchored.pop(row[0], set()))
            if isinstance(row[4], int):
                went_back += row[4] < clock_ns
                clock_ns = row[4]
            if len(self.damages) >= DAMAGES_MAX:
                self.notes.append(f"stopped behind row {row[0]}: too much is damaged")
                return
        if went_back:
            self.notes.append(f"the clock of the recorder went back {went_back} times")
        anchored.pop(0, None)
        for anchor_id in sorted(anchored):
            if anchor_id > self.last_id:
                what = f"records are missing at the end: the log ends at row {self.last_id}"
                self._report(anchor_id, f"{what}, and this one was anchored", self.last_id + 1)
            else:
                self._report(anchor_id, "it was anchored, and is missing")

    def _check_row(self, row: Row) -> None:
        *content, digest = row
        row_id = content[0]
        if self._digest is not None and next_digest(self._digest, tuple(content)) != digest:
            what = (
                "it was changed"
                if row_id == self.last_id + 1
                else f"it was changed, or rows behind {self.last_id} were"
            )
            self._report(
                row_id, f"{what} removed, swapped or inserted before it: the chain is broken", self.last_id + 1
            )
        elif (lie := _find_lie(content)) is not None:
            self._report(row_id, lie)
        self.records += 1
        self.last_id = row_id
        self._digest = digest if isinstance(digest, bytes) else b""

    def _check_anchors(self, row: Row, digests: set[str]) -> None:
        if digests - {self._digest.hex() if self._digest else ""}:
            self._report(row[0], "another row was anchored here: the log was rewritten, or an older copy restored", 1)

    def _rows(self) -> Iterator[Row]:
        """Every row that can be read; what cannot is a damage."""
        after, size, step = -(2**63), ROWS_PER_PAGE, 1
        while True:
            try:
                rows: list[Row] = self._connection.execute(_QUERY, (after, size)).fetchall()
                ids = [after, *(row[0] for row in rows)]
                if any(follower <= leader for leader, follower in pairwise(ids)):
                    raise sqlite3.DatabaseError("rows of a page that is missing")  # SQLite reads zeros there
            except sqlite3.Error as error:
                if size > 1:
                    size = 1  # what comes before the damaged place is read row by row
                    continue
                if step == 1:
                    self._report(max(after, 0) + 1, f"from here on nothing can be read, {error}", max(after, 0) + 1)
                if step > ID_STEP_MAX:
                    return
                self._digest, after, step = None, max(after, 0) + step, step * 2
                continue
            if not rows:
                return
            yield from rows
            step = 1
            size = ROWS_PER_PAGE if len(rows) == size else size
            after = rows[-1][0]

    def _report(self, row_id: int, what: str, first_id: int | None = None) -> None:
        self.damages.append(
            Damage(
                place=f"{self._path}: row {row_id}",
                what=what,
                first_id=row_id if first_id is None else first_id,
                last_id=row_id,
            )
        )


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
