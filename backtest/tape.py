"""A window of the market that moves with the clock: rows for venue and executor, deliveries for strategies.

A row is one tick or trade and the time at which it was there for all to see: its own, or that of the recorded group
that it left the gateway with. A delivery is what strategies are handed, and when: the same, singly or in groups, and
a latency later.
"""

import abc
import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from backtest.agenda import Draws
from backtest.source import MarketMessage, Slice, Source
from common.clock import NS_PER_MS
from common.events.market import TICK_DTYPE, TICKS_PER_BATCH_MAX, Tick, Ticks, Trade
from common.events.packing import pack_tick, unpack_ticks
from common.instruments import Instrument, InstrumentTable

Row = Tick | Trade
Key = tuple[str, str]
Times = npt.NDArray[np.int64]


class Tape(abc.ABC):
    """What is loaded of the market. `load` moves the window: indices shift by what it has dropped."""

    def __init__(self, source: Source, market: Draws) -> None:
        """Prepare; nothing is loaded yet."""
        self._slices: Iterator[Slice] = source.slices()
        self._market = market
        self._last_arrival_ns = 0
        self._before: dict[Key, Tick] = {}  # newest of what was dropped
        self.times: Sequence[int] | Times = []  # of rows: when each was there to see
        self.deliveries: list[MarketMessage] = []
        self.arrivals: list[int] = []  # of deliveries: when strategies have them
        self.stamps: list[int] = []  # of deliveries: when the newest tick in each was there to see
        self.horizon_ns = 0  # all rows before it are loaded
        self.is_finished = False
        self.ticks_loaded = 0

    def load(self, rows_done: int, deliveries_done: int) -> int:
        """Drop what is done, and take the next slice; gives how many rows were dropped."""
        dropped = self._droppable(rows_done)
        for key in self.keys():
            index = self._find(key, dropped)
            if index is not None:
                row = self.row(index)
                assert isinstance(row, Tick)  # noqa: S101  # trades are in no lane
                self._before[key] = row
        del self.deliveries[:deliveries_done], self.arrivals[:deliveries_done], self.stamps[:deliveries_done]
        part = next(self._slices, None)
        if part is None:
            self.is_finished = True
        else:
            self.horizon_ns = part.until_ns
        self._move(dropped, part)
        return dropped

    def newest(self, key: Key, at_ns: int) -> Tick | None:
        """The newest tick of an instrument at a time; None before its first."""
        index = self._find(key, bisect_right(self.times, at_ns))
        if index is None:
            return self._before.get(key)
        row = self.row(index)
        return row if isinstance(row, Tick) else None

    def newest_rows(self, first: int, last: int) -> list[int]:
        """The newest tick of each instrument among these rows, in their order."""
        found = (self._find(key, last) for key in self.keys())
        return sorted(index for index in found if index is not None and index >= first)

    @abc.abstractmethod
    def row(self, index: int) -> Row:
        """A row."""

    @abc.abstractmethod
    def keys(self) -> Sequence[Key]:
        """The instruments that have ticks in the window."""

    @abc.abstractmethod
    def _find(self, key: Key, last: int) -> int | None:
        """The newest tick of an instrument before an index."""

    @abc.abstractmethod
    def _move(self, dropped: int, part: Slice | None) -> None:
        """Drop rows, and take a slice's; None after the last."""

    def _droppable(self, rows_done: int) -> int:
        """How many of the rows that are done may go."""
        return rows_done

    def _deliver(self, messages: Sequence[MarketMessage], stamps: Sequence[int], due: Times) -> None:
        """Give strategies these messages, a latency after they were due."""
        if not messages:
            return
        arrivals = np.maximum.accumulate(due + self._market.many(len(messages)))
        arrivals = np.maximum(arrivals, self._last_arrival_ns)
        self._last_arrival_ns = int(arrivals[-1])
        self.deliveries.extend(messages)
        self.stamps.extend(stamps)
        self.arrivals.extend(arrivals.tolist())


class SingleTape(Tape):
    """Rows are messages. They are delivered one by one, or in the groups in which they were recorded."""

    def __init__(self, source: Source, market: Draws, *, keeps_groups: bool) -> None:
        super().__init__(source, market)
        self._keeps_groups = keeps_groups
        self.times: list[int] = []
        self._rows: list[Row] = []
        self._lanes: dict[Key, Sequence[int]] = {}

    def row(self, index: int) -> Row:
        return self._rows[index]

    def keys(self) -> Sequence[Key]:
        return list(self._lanes)

    def _find(self, key: Key, last: int) -> int | None:
        lane = self._lanes.get(key, ())
        place = bisect_right(lane, last - 1)
        return lane[place - 1] if place else None

    def _move(self, dropped: int, part: Slice | None) -> None:
        del self._rows[:dropped], self.times[:dropped]
        if part is not None:
            rows, times = _rows_of(part, self.ticks_loaded)
            messages = part.messages if self._keeps_groups and not part.arrays else rows
            stamps = times if messages is rows else [message.timestamp_ns for message in messages]
            self._rows += rows
            self.times += times
            self.ticks_loaded += len(rows) - sum(type(message) is Trade for message in part.messages)
            self._deliver(messages, stamps, np.array(stamps, dtype=np.int64))
        self._lanes = self._make_lanes(part)

    def _make_lanes(self, part: Slice | None) -> dict[Key, Sequence[int]]:
        """The places of each instrument's ticks."""
        if part is not None and len(part.arrays) == 1 and not part.messages:
            entry = part.arrays[0].instrument
            key = (entry.exchange, entry.symbol)
            left = len(self._rows) - len(part.arrays[0].records)
            if all(type(row) is Tick and (row.exchange, row.symbol) == key for row in self._rows[:left]):
                return {key: range(len(self._rows))}
        lanes: dict[Key, list[int]] = {}
        for index, row in enumerate(self._rows):
            if type(row) is Tick:
                lane = lanes.get((row.exchange, row.symbol))
                if lane is None:
                    lane = lanes[row.exchange, row.symbol] = []
                lane.append(index)
        return dict(lanes)


class GroupedTape(Tape):
    """Rows are records of arrays. The ticks of one instrument in one interval are delivered together, at its end."""

    def __init__(self, source: Source, market: Draws, instruments: InstrumentTable, *, group_ms: int) -> None:
        super().__init__(source, market)
        self.times: Times = np.empty(0, dtype=np.int64)
        self._entries = list(instruments)
        self._number = {(entry.exchange, entry.symbol): number for number, entry in enumerate(self._entries)}
        self._seqs = [0] * len(self._entries)
        self._group_ns = group_ms * NS_PER_MS
        self._records = np.empty(0, dtype=TICK_DTYPE)
        self._owners = np.empty(0, dtype=np.int64)  # of rows: the instrument's number, or below 0 a trade
        self._trades: dict[int, Trade] = {}
        self._trade_count = 0
        self._grouped = 0  # rows that were delivered
        self._lanes: dict[Key, npt.NDArray[np.intp]] = {}

    def row(self, index: int) -> Row:
        owner = int(self._owners[index])
        if owner < 0:
            return self._trades[owner]
        return unpack_ticks(self._pack(owner, self._records[index : index + 1], 0))[0]

    def keys(self) -> Sequence[Key]:
        return list(self._lanes)

    def _find(self, key: Key, last: int) -> int | None:
        lane = self._lanes.get(key)
        place = 0 if lane is None else int(np.searchsorted(lane, last))
        return int(lane[place - 1]) if lane is not None and place else None

    def _droppable(self, rows_done: int) -> int:
        # What waits for the end of its interval stays, although venue and executor are done with it.
        return min(rows_done, self._grouped)

    def _move(self, dropped: int, part: Slice | None) -> None:
        for owner in self._owners[:dropped][self._owners[:dropped] < 0].tolist():
            del self._trades[owner]
        self._records, self._owners = self._records[dropped:], self._owners[dropped:]
        self.times = self.times[dropped:]
        self._grouped -= dropped
        if part is not None:
            self._append(part)
        self._lanes = {
            (entry.exchange, entry.symbol): lane
            for number, entry in enumerate(self._entries)
            if len(lane := np.flatnonzero(self._owners == number))
        }
        self._group()

    def _append(self, part: Slice) -> None:
        times, owners, records = [self.times], [self._owners], [self._records]
        if part.messages:
            self._append_messages(part.messages, times, owners, records)
        for entry, ticks in part.arrays:
            times.append(ticks["timestamp_ns"].astype(np.int64))
            owners.append(np.full(len(ticks), self._number[entry.exchange, entry.symbol]))
            records.append(ticks)
            self.ticks_loaded += len(ticks)
        self.times, self._owners = np.concatenate(times), np.concatenate(owners)
        self._records = np.concatenate(records)
        if len(part.arrays) + bool(part.messages) > 1:
            order = np.argsort(self.times, kind="stable")
            self.times, self._owners, self._records = self.times[order], self._owners[order], self._records[order]

    def _append_messages(
        self,
        messages: Sequence[MarketMessage],
        times: list[Times],
        owners: list[Times],
        records: list[npt.NDArray[np.void]],
    ) -> None:
        for message in messages:
            if isinstance(message, Trade):
                self._trade_count += 1
                owner, ticks = -self._trade_count, np.zeros(1, dtype=TICK_DTYPE)
                self._trades[owner] = message
            else:
                owner = self._number[message.exchange, message.symbol]
                ticks = message.records() if isinstance(message, Ticks) else pack_tick(message)
                self.ticks_loaded += len(ticks)
            times.append(np.full(len(ticks), message.timestamp_ns, dtype=np.int64))
            owners.append(np.full(len(ticks), owner))
            records.append(ticks)

    def _group(self) -> None:
        """Deliver the intervals that are over."""
        first, last = self._grouped, len(self.times)
        if not self.is_finished:
            last = int(np.searchsorted(self.times, self.horizon_ns // self._group_ns * self._group_ns))
        made: list[tuple[int, int, MarketMessage]] = []
        owners = self._owners[first:last]
        for place in np.flatnonzero(owners < 0).tolist():
            time_ns = int(self.times[first + place])
            made.append((time_ns, time_ns, self._trades[int(owners[place])]))
        for number in range(len(self._entries)):
            places = np.flatnonzero(owners == number) + first
            if len(places):
                made += self._groups_of(number, places)
        made.sort(key=lambda group: group[:2])
        self._grouped = max(first, last)
        self._deliver(
            [message for _, _, message in made],
            [stamp for _, stamp, _ in made],
            np.array([due for due, _, _ in made], dtype=np.int64),
        )

    def _groups_of(self, number: int, places: npt.NDArray[np.intp]) -> Iterator[tuple[int, int, Ticks]]:
        """When each group is due, when its last tick was there to see, and the group."""
        times, records = self.times[places], self._records[places]
        intervals = times // self._group_ns
        cuts = [0, *(np.flatnonzero(np.diff(intervals)) + 1).tolist(), len(places)]
        for begin, end in itertools.pairwise(cuts):
            due_ns = (int(intervals[begin]) + 1) * self._group_ns
            for start in range(begin, end, TICKS_PER_BATCH_MAX):
                stop = min(end, start + TICKS_PER_BATCH_MAX)
                self._seqs[number] += stop - start
                yield due_ns, int(times[stop - 1]), self._pack(number, records[start:stop], self._seqs[number])

    def _pack(self, number: int, records: npt.NDArray[np.void], seq: int) -> Ticks:
        return pack_records(self._entries[number], records, seq)


def pack_records(instrument: Instrument, records: npt.NDArray[np.void], seq: int) -> Ticks:
    """Records as the message that the gateway would have sent; `seq` is the number of the last."""
    return Ticks(
        "gateway",
        1,
        seq,
        int(records["timestamp_ns"][-1]),
        instrument.exchange,
        instrument.symbol,
        instrument.raw_symbol,
        len(records),
        records.tobytes(),
    )


def _rows_of(part: Slice, ticks_before: int) -> tuple[list[Row], list[int]]:
    """Every tick and trade of a slice, and when each was there to see."""
    rows: list[Row] = []
    times: list[int] = []
    for message in part.messages:
        if type(message) is Ticks:
            rows += unpack_ticks(message)
            times += [message.timestamp_ns] * message.count
        elif isinstance(message, Tick | Trade):
            rows.append(message)
            times.append(message.timestamp_ns)
    for instrument, records in part.arrays:
        rows += unpack_ticks(pack_records(instrument, records, ticks_before + len(rows) + len(records)))
        times += records["timestamp_ns"].tolist()
    if len(part.arrays) + bool(part.messages) > 1:
        order = np.argsort(np.array(times, dtype=np.int64), kind="stable").tolist()
        rows, times = [rows[index] for index in order], [times[index] for index in order]
    return rows, times
