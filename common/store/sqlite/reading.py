"""Rows to records, page by page, so that no reader holds back the write-ahead log and memory stays flat."""

import heapq
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import InvalidValueError
from common.events.registry import RETIRED_TYPES_BY_NAME
from common.store.contract import StoreDamagedError
from common.store.json_messages import decode_json, decode_messages
from common.store.record import Record
from common.store.sealing import clear_part, unseal
from common.store.selection import TIME_NS_MAX, TIME_NS_MIN, Selection, names_of

if TYPE_CHECKING:
    from common.store.keyring import KeyRing

ROWS_PER_PAGE = 500

Keys = dict[str, int | str]
Row = tuple[int, int, int, str | None]  # id, timestamp, recorded_ns, data_json
_ROW = "id, timestamp, recorded_ns, data_json"
_BY_ID = f"SELECT {_ROW} FROM events WHERE id > :after AND id <= :last ORDER BY id LIMIT :rows"  # noqa: S608  # ours
# Sorting ids alone is cheaper than sorting rows; the join keeps their order.
_BY_TIME = """
SELECT e.id, e.timestamp, e.recorded_ns, e.data_json
FROM (
  SELECT id FROM events INDEXED BY {index}
  WHERE timestamp >= :from AND (timestamp > :from OR id > :after) AND timestamp < :to AND id <= :last {filters}
  ORDER BY timestamp, id LIMIT :rows
) AS page CROSS JOIN events AS e ON e.id = page.id
"""
_SEALED = """
SELECT id, type, exchange, symbol, key, sealed FROM events WHERE id IN (SELECT value FROM json_each(?))
"""


class Reader:
    """Reads through one connection; each page is a statement of its own."""

    def __init__(self, connection: sqlite3.Connection, path: Path, store_id: str, ring: "KeyRing | None") -> None:
        self._connection = connection
        self._path = path
        self._store_id = store_id
        self._ring = ring

    def last_id(self) -> int:
        """Id of the newest row; 0 while there is none.

        Raises:
            StoreDamagedError: The end of the file cannot be read.
        """
        try:
            [(last_id,)] = self._connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchall()
        except sqlite3.Error as error:
            raise StoreDamagedError(f"event log {self._path}: expected a last row, {error}") from error
        return int(last_id)

    def by_time(self, selection: Selection) -> Iterator[Record]:
        """As `Store.read`."""
        names = sorted(names_of(selection))
        if names:
            names += RETIRED_TYPES_BY_NAME  # an old row may be of a selected type by now
        keys: Keys = {"to": selection.to_ns, "last": self._last_id_or_all()}
        begin = (selection.from_ns, TIME_NS_MIN)
        filters = ""
        for column, value in (("exchange", selection.exchange), ("symbol", selection.symbol)):
            if value is not None:
                filters += f" AND {column} = :{column}"
                keys[column] = value
        if names and not filters:
            # Each type is in order by itself, and a rare one is found without a look at the others.
            query = _BY_TIME.format(index="events_type", filters="AND type = :type")
            queues = [chain.from_iterable(self._pages(query, {**keys, "type": name}, begin)) for name in names]
            pages = _paged(heapq.merge(*queues, key=itemgetter(1, 0)))
        else:
            if names:
                keys |= {f"type{number}": name for number, name in enumerate(names)}
                filters += f" AND type IN ({', '.join(f':type{number}' for number in range(len(names)))})"
            pages = self._pages(_BY_TIME.format(index="events_time", filters=filters), keys, begin)
        records = self._records(pages)
        return (record for record in records if type(record.message) in selection.types) if names else records

    def by_id(self, from_id: int) -> Iterator[Record]:
        """As `Store.get_events`."""
        return self._records(self._pages(_BY_ID, {"last": self._last_id_or_all()}, (TIME_NS_MIN, from_id - 1)))

    def _last_id_or_all(self) -> int:
        try:
            return self.last_id()
        except StoreDamagedError:
            return TIME_NS_MAX

    def _pages(
        self, query: str, keys: Keys, begin: tuple[int, int] = (TIME_NS_MIN, TIME_NS_MIN)
    ) -> Iterator[list[Row]]:
        """The rows of a query behind a time and an id, each `begin`; what comes before a damage too."""
        (from_ns, after), size = begin, ROWS_PER_PAGE
        while True:
            try:
                values = {**keys, "from": from_ns, "after": after, "rows": size}
                rows: list[Row] = self._connection.execute(query, values).fetchall()
                if rows and not _is_behind(rows[-1], from_ns, after, is_by_id=query == _BY_ID):
                    # SQLite reads zeros where a page is missing; and we must not read in circles.
                    raise sqlite3.DatabaseError("rows that are out of order")
            except sqlite3.Error as error:
                if size == 1:
                    raise StoreDamagedError(
                        f"event log {self._path}: expected a readable row behind id {after}, {error}; "
                        "`tickpulse store verify` names what is damaged"
                    ) from error
                size = 1
                continue
            if rows:
                yield rows
            if len(rows) < size:
                return
            after, from_ns = rows[-1][:2]

    def _records(self, pages: Iterator[list[Row]]) -> Iterator[Record]:
        for page in pages:
            yield from self._decode(page)

    def _decode(self, page: list[Row]) -> Iterable[Record]:
        try:
            messages = decode_messages("\n".join(self._texts(page)))
        except (InvalidValueError, StoreDamagedError, TypeError):
            return self._decode_each(page)
        if len(messages) != len(page):  # a row may hold several
            return self._decode_each(page)
        # A quarter less than to call `Record` for each.
        make = tuple.__new__
        return [make(Record, (row[0], row[2], message)) for row, message in zip(page, messages, strict=True)]

    def _decode_each(self, page: list[Row]) -> Iterator[Record]:
        for row in page:
            try:
                [text] = self._texts([row])
                message = decode_json(text)
            except (InvalidValueError, StoreDamagedError, TypeError, sqlite3.Error) as error:
                raise StoreDamagedError(f"event log {self._path}: row {row[0]}: {error}") from error
            yield Record(row[0], row[2], message)

    def _texts(self, page: list[Row]) -> list[str]:
        """The messages of rows as JSON, unsealed where they are sealed."""
        texts = [row[3] for row in page]
        if None not in texts:
            return texts  # type: ignore[return-value]  # none of them is None
        ids = f"[{','.join(str(row[0]) for row in page if row[3] is None)}]"
        sealed = {row[0]: row[1:] for row in self._connection.execute(_SEALED, (ids,)).fetchall()}
        if len(sealed) < texts.count(None):
            raise StoreDamagedError("expected a row that is found by its id")
        return [
            self._unseal(row_id, timestamp, recorded_ns, *sealed[row_id]) if text is None else text
            for row_id, timestamp, recorded_ns, text in page
        ]

    def _unseal(
        self,
        row_id: int,
        timestamp: int,
        recorded_ns: int,
        name: str,
        exchange: str | None,
        symbol: str | None,
        key: str | None,
        sealed: bytes | None,
    ) -> str:
        if key is None or sealed is None:
            raise StoreDamagedError("expected data_json or a sealed part with its key, was neither")
        clear = clear_part(self._store_id, row_id, recorded_ns, name, timestamp, exchange, symbol)
        return unseal(self._ring, key, sealed, clear).decode()


def _paged(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """The same rows in pages; those before an error too."""
    fault: StoreDamagedError | None = None
    while fault is None:
        page: list[Row] = []
        try:
            page.extend(islice(rows, ROWS_PER_PAGE))  # keeps what came before an error
        except StoreDamagedError as error:
            fault = error
        if page:
            yield page
        elif fault is None:
            return
    raise fault


def _is_behind(row: Row, from_ns: int, after: int, *, is_by_id: bool) -> bool:
    return row[0] > after if is_by_id else (row[1], row[0]) > (from_ns, after)
