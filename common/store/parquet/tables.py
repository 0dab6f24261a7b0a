"""Batches of the write-ahead part as tables, one for each day, type, exchange and symbol, sorted by time. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.clock import NS_PER_DAY
from common.events.base import Message
from common.events.market import Tick, Ticks
from common.events.registry import TYPES_BY_NAME, type_name
from common.store.parquet import ticks
from common.store.parquet.columns import columns_of, place_of
from common.store.parquet.shapes import PADDING, find_messages, shaped
from common.store.parquet.ticks import numbers_of, starts_of
from common.store.parquet.wal import Batch, decode_list

TICK_NAME = type_name(Tick)
Ints = npt.NDArray[np.int64]


class Place(NamedTuple):
    """What a file holds: messages of one type name, exchange and symbol."""

    type: str
    exchange: str | None
    symbol: str | None


class Part(NamedTuple):
    """Rows of one place, sorted by the time of their record and then by id."""

    place: Place
    day: int  # days since 1970, UTC
    table: pa.Table

    def times(self) -> Ints:
        """The time of each row's record, int64 ns."""
        return times_of(self.place.type, self.table)


def times_of(name: str, table: pa.Table) -> Ints:
    """The time of each row's record, int64 ns."""
    return ticks.record_times(table) if name == TICK_NAME else numbers_of(table["timestamp_ns"])


def type_counts(name: str, table: pa.Table) -> dict[str, int]:
    """Records by type: the rows of ticks are single ones and groups."""
    if name != TICK_NAME:
        return {name: table.num_rows}
    counts = numbers_of(table["group_count"])
    singles = int((counts == 0).sum())
    groups = len(starts_of(numbers_of(table["id"])[counts > 0])) if (counts > 0).any() else 0
    return {kind: count for kind, count in ((TICK_NAME, singles), (type_name(Ticks), groups)) if count}


def messages_of(place: Place, table: pa.Table) -> Iterator[Message]:
    """The messages of rows."""
    if place.type == TICK_NAME:
        return ticks.messages(table, place.exchange or "", place.symbol or "")
    return columns_of(TYPES_BY_NAME[place.type]).messages(table, place.exchange, place.symbol)


def place_name(message: Message) -> str:
    """The type name under which a message is filed: groups with the single ticks."""
    if type(message) is Ticks and ticks.fits(message):
        return TICK_NAME
    return type_name(type(message))


class Tables:
    """Gathers batches, and gives them as sorted parts."""

    def __init__(self) -> None:
        self._tables: dict[Place, list[pa.Table]] = defaultdict(list)
        self._others: dict[Place, list[tuple[int, int, Message]]] = defaultdict(list)

    def add(self, batches: Sequence[Batch]) -> None:
        """Take batches in; some MB at a time are quick and keep memory small."""
        self._add_flat([batch for batch in batches if batch.flat])
        for batch in batches:
            messages = batch.other_messages()
            for place, message in zip(batch.places.tolist(), messages, strict=True):
                self._add_other(batch.first_id + place, batch.recorded_ns, message)
        self._settle()

    def parts(self) -> Iterator[Part]:
        """Everything that was taken in; it is forgotten part by part."""
        while self._tables:
            place, tables = self._tables.popitem()
            yield from split_by_day(place, sorted_by_time(place.type, pa.concat_tables(tables)))

    def _add_flat(self, batches: Sequence[Batch]) -> None:
        if not batches:
            return
        body = b"".join([*(batch.flat for batch in batches), PADDING])
        starts, ends, ids, recorded = [], [], [], []
        at = 0
        for batch in batches:
            found = find_messages(batch.flat) + at
            at += len(batch.flat)
            starts.append(found)
            ends.append(np.append(found[1:], at))
            ids.append(batch.first_id + batch.flat_places())
            recorded.append(np.full(len(found), batch.recorded_ns))
        all_starts, all_ends = np.concatenate(starts), np.concatenate(ends)
        all_ids, all_recorded = np.concatenate(ids), np.concatenate(recorded)
        is_read = np.zeros(len(all_ids), np.bool_)
        for shape in shaped(body, all_starts, all_ends):
            is_read[shape.rows] = True
            place = Place(type_name(shape.message_type), str(shape.fixed["exchange"]), str(shape.fixed["symbol"]))
            table = ticks.table_of_shaped if shape.message_type is Tick else None
            rows = (all_ids[shape.rows], all_recorded[shape.rows])
            self._tables[place].append(
                table(shape, *rows)
                if table
                else ticks.shaped_table(columns_of(shape.message_type).schema, shape, *rows)
            )
        for row in np.flatnonzero(~is_read).tolist():
            (message,) = decode_list(b"\x91" + body[all_starts[row] : all_ends[row]])
            self._add_other(int(all_ids[row]), int(all_recorded[row]), message)

    def _add_other(self, record_id: int, recorded_ns: int, message: Message) -> None:
        place = Place(place_name(message), *place_of(message))
        self._others[place].append((record_id, recorded_ns, message))

    def _settle(self) -> None:
        """Make tables of what came as messages."""
        for place, rows in self._others.items():
            groups = [row for row in rows if type(row[2]) is Ticks and place.type == TICK_NAME]
            if groups:
                ids, recorded, messages = zip(*groups, strict=True)
                self._tables[place].append(ticks.table_of_groups(np.array(ids), np.array(recorded), messages))
            singles = [row for row in rows if type(row[2]) is not Ticks or place.type != TICK_NAME]
            if singles:
                ids, recorded, messages = zip(*singles, strict=True)
                table = columns_of(TYPES_BY_NAME[place.type]).table(ids, recorded, messages)
                self._tables[place].append(ticks.with_groups(table) if place.type == TICK_NAME else table)
        self._others.clear()


def sorted_by_time(name: str, table: pa.Table) -> pa.Table:
    """Rows by the time of their record, then by id; rows of a group stay in their order."""
    times, ids = times_of(name, table), numbers_of(table["id"])
    if len(times) > 1 and not _is_sorted(times, ids):
        table = table.take(pa.array(np.lexsort((ids, times))))
    return table


def split_by_day(place: Place, table: pa.Table) -> Iterator[Part]:
    """Sorted rows of one place, a part for each UTC day."""
    days = times_of(place.type, table) // NS_PER_DAY
    cuts = [0, *(np.flatnonzero(days[1:] != days[:-1]) + 1).tolist(), len(days)]
    for start, end in pairwise(cuts):
        yield Part(place, int(days[start]), table.slice(start, end - start))


def count_types(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Sums of records by type."""
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return dict(total)


def _is_sorted(times: Ints, ids: Ints) -> bool:
    later, same = times[1:] > times[:-1], times[1:] == times[:-1]
    return bool((later | (same & (ids[1:] >= ids[:-1]))).all())
