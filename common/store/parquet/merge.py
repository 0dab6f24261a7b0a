"""Many sorted files as one sequence, block by block: memory holds one row group of each file that overlaps in time."""

from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from itertools import chain, pairwise, repeat
from operator import attrgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.events.base import Message
from common.events.market import Tick, Ticks
from common.events.registry import type_name
from common.store.contract import StoreDamagedError
from common.store.parquet.files import OpenFile, place_of, sub_table
from common.store.parquet.manifest import FileEntry
from common.store.parquet.snapshot import Snapshot, open_in
from common.store.parquet.tables import TICK_NAME, Ints, Part, Place, Tables, messages_of, times_of
from common.store.parquet.ticks import numbers_of, starts_of
from common.store.record import Record
from common.store.selection import Selection, names_of

IDS_PER_STEP = 65_536
ROWS_PER_PIECE = 16_384  # made into messages at a time: in the order of places, so they should fit the cache
_new_record = tuple.__new__  # 0.1 µs, a third of what the class takes
_BATCHES_PER_STEP = 16


class Rows:
    """Some rows of one place."""

    def __init__(self, place: Place, table: pa.Table) -> None:
        self.place = place
        self.table = table

    @cached_property
    def times(self) -> Ints:
        """The time of each row's record."""
        return times_of(self.place.type, self.table)

    @cached_property
    def ids(self) -> Ints:
        """Each row's record."""
        return numbers_of(self.table["id"])

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def cut(self, end: int) -> tuple["Rows", "Rows"]:
        """The rows before one, and the others."""
        return self.between(0, end), self.between(end, len(self))

    def between(self, start: int, end: int) -> "Rows":
        """Some of the rows; what is known of them stays known."""
        some = Rows(self.place, self.table.slice(start, end - start))
        some.__dict__.update(
            {name: self.__dict__[name][start:end] for name in ("times", "ids") if name in self.__dict__}
        )
        return some


class Source:
    """Rows of one place in the order of time."""

    def __init__(self, place: Place, selection: Selection) -> None:
        """Prepare; nothing is read yet."""
        self.place = place
        self.first_ns = 0
        self._selection = selection

    def blocks(self) -> Iterator[Rows]:
        """Sorted rows; records of one time are in one block."""
        raise NotImplementedError

    def chosen(self, table: pa.Table) -> Rows:
        """The rows that are asked for."""
        table = sub_table(table, self.place.type, self._selection.from_ns, self._selection.to_ns)
        types = self._selection.types
        if self.place.type == TICK_NAME and types and len(types & {Tick, Ticks}) == 1:
            is_single = table["group_count"].is_null()
            table = table.filter(is_single if Tick in types else pc.invert(is_single))
        return Rows(self.place, table)


class FileSource(Source):
    """A file of the manifest; opened when its time has come."""

    def __init__(
        self, snapshot: Snapshot, entry: FileEntry, selection: Selection, columns: list[str] | None = None
    ) -> None:
        """Prepare; nothing is read yet. Only the named columns are read, or all."""
        super().__init__(place_of(entry), selection)
        self.first_ns = max(entry.first_ns, selection.from_ns)
        self._snapshot = snapshot
        self._entry = entry
        self._columns = columns

    def blocks(self) -> Iterator[Rows]:
        file = open_in(self._snapshot, self._entry)
        groups, last_ns = file.footer.groups, None
        tables: list[pa.Table] = []
        for index, group in enumerate(groups):
            if group.last_ns < self._selection.from_ns or group.first_ns >= self._selection.to_ns:
                continue
            if tables and group.first_ns != last_ns:
                yield self.chosen(pa.concat_tables(tables))
                tables = []
            tables.append(file.read(index, self._columns))
            last_ns = group.last_ns
        if tables:
            yield self.chosen(pa.concat_tables(tables))


class PartSource(Source):
    """Rows in memory: batches that are no file yet."""

    def __init__(self, part: Part, selection: Selection) -> None:
        """Take over a part."""
        super().__init__(part.place, selection)
        self._rows = self.chosen(part.table)
        self.first_ns = int(self._rows.times[0]) if len(self._rows) else selection.from_ns

    def blocks(self) -> Iterator[Rows]:
        yield self._rows


class _Cursor:
    """Where the merge stands in a source."""

    def __init__(self, source: Source) -> None:
        self._blocks = source.blocks()
        self.rows: Rows | None = None
        self.advance()

    def advance(self) -> None:
        """Go to the next block that has rows."""
        self.rows = next((rows for rows in self._blocks if len(rows)), None)

    def take(self, until_ns: int) -> Rows | None:
        """Rows up to a time and with it."""
        rows = self.rows
        if rows is None:
            return None
        end = int(np.searchsorted(rows.times, until_ns, "right"))
        if end == len(rows):
            self.advance()
            return rows
        taken, self.rows = rows.cut(end)
        return taken if end else None


def sources(snapshot: Snapshot, selection: Selection, columns: list[str] | None = None) -> list[Source]:
    """What may have selected rows, by the time where each begins.

    Raises:
        StoreDamagedError: A batch was changed.
    """
    names = _place_names(selection)

    def is_asked(place: Place) -> bool:
        return (
            (not names or place.type in names)
            and selection.exchange in {None, place.exchange}
            and selection.symbol in {None, place.symbol}
        )

    found: list[Source] = [
        FileSource(snapshot, entry, selection, columns)
        for entry in snapshot.files
        if entry.first_ns < selection.to_ns and entry.last_ns >= selection.from_ns and is_asked(place_of(entry))
    ]
    tables, step = Tables(), []
    for batch in snapshot.batches():
        step.append(batch)
        if len(step) == _BATCHES_PER_STEP:
            tables.add(step)
            step = []
    tables.add(step)
    found += [PartSource(part, selection) for part in tables.parts() if is_asked(part.place)]
    return sorted(found, key=attrgetter("first_ns"))


def merge(waiting: list[Source]) -> Iterator[list[Rows]]:
    """Rows of all sources in steps: no row of a step is earlier than one of the step before it.

    Within a step each source's rows are sorted; the steps are as large as what the smallest block allows.
    """
    firsts = [source.first_ns for source in waiting]
    active: list[_Cursor] = []
    at = 0
    while at < len(waiting) or active:
        if not active:
            active.append(_Cursor(waiting[at]))
            at += 1
        while True:
            # Each of them has rows, or has come to its end.
            active = [cursor for cursor in active if cursor.rows is not None]
            ends = [int(cursor.rows.times[-1]) for cursor in active if cursor.rows is not None]
            until_ns = min(ends, default=None)
            if until_ns is None or at == len(waiting) or firsts[at] > until_ns:
                break
            stop = max(bisect_left(firsts, until_ns, at), at + 1)
            active += [_Cursor(source) for source in waiting[at:stop]]
            at = stop
        if until_ns is not None:
            yield [rows for cursor in active if (rows := cursor.take(until_ns)) is not None]


def records_by_time(steps: Iterator[list[Rows]]) -> Iterator[Record]:
    """The records of merged rows, by time and then id."""
    return chain.from_iterable(run for step in steps for run in _records(step, is_by_time=True))


def records_by_id(snapshot: Snapshot, from_id: int) -> Iterator[Record]:
    """Records from an id on, in the order of ids.

    Raises:
        StoreDamagedError: A file or a batch is damaged.
    """
    waiting = sorted(snapshot.files, key=attrgetter("first_id"))
    open_files: list[_IdCursor] = []
    at = from_id
    while waiting or open_files:
        if not open_files:
            at = max(at, waiting[0].first_id)
        until_id = at + IDS_PER_STEP
        while waiting and waiting[0].first_id < until_id:
            entry = waiting.pop(0)
            if entry.last_id >= at:
                open_files.append(_IdCursor(open_in(snapshot, entry)))
        step = [rows for file in open_files for rows in file.take(at, until_id)]
        yield from chain.from_iterable(_records(step, is_by_time=False))
        open_files = [file for file in open_files if file.last_id >= until_id]
        at = until_id
    yield from batch_records(snapshot, from_id)


def batch_records(snapshot: Snapshot, from_id: int) -> Iterator[Record]:
    """Records that are in no file yet, from an id on."""
    for batch in snapshot.batches():
        if batch.last_id >= from_id:
            yield from (record for record in batch.records() if record.id >= from_id)


class _IdCursor:
    """Row groups of one file that have ids of the current step."""

    def __init__(self, file: OpenFile) -> None:
        self.last_id = file.entry.last_id
        self._file = file
        self._tables: dict[int, pa.Table] = {}

    def take(self, from_id: int, until_id: int) -> Iterator[Rows]:
        """Rows whose ids are in a range."""
        for index, group in enumerate(self._file.footer.groups):
            if group.last_id < from_id or group.first_id >= until_id:
                self._tables.pop(index, None)
                continue
            if index not in self._tables:
                self._tables[index] = self._file.read(index)
            table = self._tables[index]
            if group.first_id < from_id or group.last_id >= until_id:
                ids = numbers_of(table["id"])
                table = table.filter(pa.array((ids >= from_id) & (ids < until_id)))
            if table.num_rows:
                yield Rows(place_of(self._file.entry), table)


def _place_names(selection: Selection) -> frozenset[str]:
    names = names_of(selection)
    return names | {TICK_NAME} if type_name(Ticks) in names else names


def _records(step: list[Rows], *, is_by_time: bool) -> Iterator[Iterator[Record]]:
    """The records of rows, in runs; those of one place are sorted already where the order is by time."""
    for piece in _pieces(step, is_by_time=is_by_time):
        starts = [starts_of(rows.ids) for rows in piece]
        ids, times, recorded = (
            np.concatenate([values[begins] for values, begins in zip(columns, starts, strict=True)])
            for columns in (
                [rows.ids for rows in piece],
                [rows.times for rows in piece],
                [numbers_of(rows.table["recorded_ns"]) for rows in piece],
            )
        )
        messages = [*chain.from_iterable(map(_messages, piece))]
        if len(messages) != len(ids):
            raise StoreDamagedError(f"{piece[0].place}: expected {len(ids)} messages, was {len(messages)}")
        if len(piece) > 1 or not is_by_time:
            order = np.lexsort((ids, times)) if is_by_time else np.argsort(ids, kind="stable")
            ids, recorded = ids[order], recorded[order]
            messages = [messages[place] for place in order.tolist()]
        yield map(_new_record, repeat(Record), zip(ids.tolist(), recorded.tolist(), messages, strict=True))


def _pieces(step: list[Rows], *, is_by_time: bool) -> Iterator[list[Rows]]:
    """Cut a step where a time, or an id, ends; whole where its rows are in another order."""
    keys = [rows.times if is_by_time else rows.ids for rows in step]
    if sum(map(len, keys)) <= ROWS_PER_PIECE or any((key[1:] < key[:-1]).any() for key in keys):
        if step:
            yield step
        return
    marks = np.sort(np.concatenate(keys))[ROWS_PER_PIECE::ROWS_PER_PIECE]
    cuts = [[0, *np.searchsorted(key, marks, "right").tolist(), len(key)] for key in keys]
    for ends in zip(*map(pairwise, cuts), strict=True):
        if piece := [rows.between(*pair) for rows, pair in zip(step, ends, strict=True) if pair[0] < pair[1]]:
            yield piece


def _messages(rows: Rows) -> list[Message]:
    try:
        return [*messages_of(rows.place, rows.table)]
    except (ArithmeticError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise StoreDamagedError(f"{rows.place}: rows that give no messages, {error}") from error
