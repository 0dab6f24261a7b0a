"""Where a backtest gets its market from: slices of time, as messages in the order of a store, or as arrays of ticks."""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from backtest.agenda import NEVER_NS
from common.events.market import Tick, Ticks, Trade
from common.instruments import Instrument, InstrumentTable
from common.store.contract import Store
from common.store.selection import Selection
from common.wire.topics import TopicPattern

MESSAGES_PER_SLICE = 8_192
RECORDS_PER_ARRAY = 65_536
MarketMessage = Tick | Ticks | Trade
Records = npt.NDArray[np.void]


class TickArray(NamedTuple):
    """Ticks of one instrument, oldest first: shape (count,), dtype `TICK_DTYPE`."""

    instrument: Instrument
    records: Records


class Slice(NamedTuple):
    """A part of the market. Everything stamped before `until_ns` has been given with it and the slices before.

    `messages` are in the order of their times; `arrays` of several instruments overlap.
    """

    until_ns: int
    messages: Sequence[MarketMessage] = ()
    arrays: Sequence[TickArray] = ()


class Source(Protocol):
    """Gives a range of time, once for each call."""

    def slices(self) -> Iterator[Slice]:
        """The market in parts, in order; the last one ends at `NEVER_NS`."""
        ...


@runtime_checkable
class ArrayStore(Protocol):
    """A store whose format has columns: it gives ticks as arrays, without making a message of each."""

    def read_tick_arrays(self, selection: Selection, count_max: int) -> Iterator[Any]:
        """Arrays of ticks in the order of time, each with its `records`."""
        ...


class StoreSource:
    """The ticks and trades of a store, as they were recorded."""

    def __init__(
        self, store: Store, selection: Selection, instruments: InstrumentTable, patterns: Iterable[str]
    ) -> None:
        """Take what lies in the selection's range, of the instruments that a pattern of exchange.symbol names."""
        self._store = store
        self._selection = Selection(
            from_ns=selection.from_ns,
            to_ns=selection.to_ns,
            types=frozenset({Tick, Ticks, Trade}),
            exchange=selection.exchange,
            symbol=selection.symbol,
        )
        self.instruments = select_instruments(instruments, patterns)
        self._keys = {(entry.exchange, entry.symbol) for entry in self.instruments}

    def slices(self) -> Iterator[Slice]:
        """As of `Source`."""
        messages: list[MarketMessage] = []
        for record in self._store.read(self._selection):
            message: Any = record.message
            if (message.exchange, message.symbol) not in self._keys:
                continue
            messages.append(message)
            if len(messages) >= MESSAGES_PER_SLICE:
                yield Slice(message.timestamp_ns, messages)
                messages = []
        yield Slice(NEVER_NS, messages)


class ArraySource:
    """Arrays of ticks, each instrument's in order; memory holds the ones in hand."""

    def __init__(self, lanes: Mapping[str, tuple[Instrument, Iterable[Records]]], trades: Iterable[Trade] = ()) -> None:
        """Take the ticks of each instrument, as one or as many arrays, and the trades of all, in order."""
        self._lanes = lanes
        self._trades = trades

    @classmethod
    def of(cls, arrays: Iterable[TickArray], records_max: int = RECORDS_PER_ARRAY) -> "ArraySource":
        """The source of arrays that are in memory already."""
        lanes = {
            each.instrument.name: (
                each.instrument,
                [each.records[start : start + records_max] for start in range(0, len(each.records), records_max)],
            )
            for each in arrays
        }
        return cls(lanes)

    def slices(self) -> Iterator[Slice]:
        """As of `Source`."""
        lanes = [_Lane(instrument, iter(arrays)) for instrument, arrays in self._lanes.values()]
        trades = _Ahead(iter(self._trades))
        while any(not lane.is_ended for lane in lanes):
            until_ns = min(lane.known_ns for lane in lanes)
            arrays = [TickArray(lane.instrument, taken) for lane in lanes if len(taken := lane.take(until_ns))]
            yield Slice(until_ns, trades.take(until_ns), arrays)
            for lane in lanes:
                # The one that holds the others up; ticks of one nanosecond may fill more than an array.
                if lane.known_ns == until_ns:
                    lane.pull()
        rest = [TickArray(lane.instrument, taken) for lane in lanes if len(taken := lane.take(NEVER_NS))]
        yield Slice(NEVER_NS, trades.take(NEVER_NS), rest)


class _Ahead:
    """Trades, looked at one ahead."""

    def __init__(self, trades: Iterator[Trade]) -> None:
        self._trades = trades
        self._next = next(trades, None)

    def take(self, until_ns: int) -> list[Trade]:
        """What is stamped before a time."""
        taken = []
        while self._next is not None and self._next.timestamp_ns < until_ns:
            taken.append(self._next)
            self._next = next(self._trades, None)
        return taken


class _Lane:
    """One instrument's arrays as far as they were pulled."""

    def __init__(self, instrument: Instrument, arrays: Iterator[Records]) -> None:
        self.instrument = instrument
        self.is_ended = False
        self.known_ns = 0  # what is stamped before it is held
        self._arrays = arrays
        self._held: list[Records] = []
        self.pull()

    def pull(self) -> None:
        """Hold one more array."""
        records = next(self._arrays, None)
        if records is None:
            self.is_ended = True
            self.known_ns = NEVER_NS
        elif len(records):
            self._held.append(records)
            self.known_ns = int(records["timestamp_ns"][-1])

    def take(self, until_ns: int) -> Records:
        """What is stamped before a time."""
        if not self._held:
            return np.empty(0, dtype=np.void)
        held = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
        cut = len(held) if until_ns >= NEVER_NS else int(np.searchsorted(held["timestamp_ns"], until_ns))
        self._held = [held[cut:]] if cut < len(held) else []
        return held[:cut]


def open_source(
    store: Store, selection: Selection, instruments: InstrumentTable, patterns: Iterable[str], *, keeps_groups: bool
) -> Source:
    """The quickest source of what a store has; `keeps_groups` where recorded groups must stay together."""
    source = StoreSource(store, selection, instruments, patterns)
    if keeps_groups or not isinstance(store, ArrayStore):
        return source

    def of(entry: Instrument, *types: type[MarketMessage]) -> Selection:
        from_ns, to_ns = selection.from_ns, selection.to_ns
        kinds = frozenset(types)
        return Selection(from_ns=from_ns, to_ns=to_ns, types=kinds, exchange=entry.exchange, symbol=entry.symbol)

    def arrays_of(entry: Instrument) -> Iterator[Records]:
        for array in store.read_tick_arrays(of(entry, Tick, Ticks), RECORDS_PER_ARRAY):
            yield array.records

    def trades_of(entry: Instrument) -> Iterator[Trade]:
        for record in store.read(of(entry, Trade)):
            if isinstance(record.message, Trade):
                yield record.message

    trades = heapq.merge(*map(trades_of, source.instruments), key=lambda trade: trade.timestamp_ns)
    return ArraySource({entry.name: (entry, arrays_of(entry)) for entry in source.instruments}, trades)


def select_instruments(instruments: InstrumentTable, patterns: Iterable[str]) -> list[Instrument]:
    """The entries of the table that patterns of exchange.symbol name."""
    wanted = [TopicPattern(f"tick.{pattern}") for pattern in patterns]
    return [entry for entry in instruments if any(pattern.matches(f"tick.{entry.name}".encode()) for pattern in wanted)]
