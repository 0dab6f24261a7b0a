from collections.abc import Iterator

import numpy as np
from support.backtest_builders import (
    BTC,
    ETH,
    START_NS,
    Maker,
    hash_of,
    make_instrument,
    make_plan,
    make_records,
    make_tick,
    make_trade,
    run,
)

from backtest.agenda import NEVER_NS
from backtest.source import ArraySource, ArrayStore, StoreSource, TickArray, open_source, select_instruments
from backtest.tape import pack_records
from common.events.market import Tick, Trade
from common.events.packing import pack_tick, unpack_ticks
from common.instruments import InstrumentTable
from common.store.memory import MemoryStore
from common.store.selection import EVERYTHING, Selection

TABLE = InstrumentTable([BTC, ETH])


class ColumnStore(MemoryStore):
    """A store in memory that gives its ticks as arrays too."""

    def read_tick_arrays(self, selection: Selection, count_max: int) -> Iterator[TickArray]:
        """Arrays of a few ticks, whatever may be at most."""
        ticks = [record.message for record in self.read(selection) if isinstance(record.message, Tick)]
        for start in range(0, len(ticks), 7):
            yield TickArray(
                TABLE.named(f"simulated.{ticks[0].symbol}"),
                np.concatenate([pack_tick(tick) for tick in ticks[start : start + 7]]),
            )


def fill(store: MemoryStore) -> MemoryStore:
    """Single ticks of two instruments that overlap in time, and trades among them."""
    others = make_records(300, seed=2, step_ms=1.7, start=5_000)
    others["timestamp_ns"] += 1  # of two at one time the store knows the order, arrays of each do not
    ticks = [
        *unpack_ticks(pack_records(BTC, make_records(600), 600)),
        *unpack_ticks(pack_records(ETH, others, 300)),
    ]
    trades = [make_trade(after + 0.5, 99.0 + after / 100, 1, "sell") for after in range(0, 500, 40)]
    store.append_batch(sorted([*ticks, *trades], key=lambda message: message.timestamp_ns))
    return store


def test_store_with_columns_gives_the_same_backtest_as_one_without() -> None:
    """The quick way through arrays loses no tick and no trade, and keeps their order."""
    plain, columns = fill(MemoryStore()), fill(ColumnStore())
    plan = make_plan(Maker)

    sources = [open_source(store, EVERYTHING, TABLE, ["*.*"], keeps_groups=False) for store in (plain, columns)]

    assert isinstance(sources[0], StoreSource)
    assert isinstance(columns, ArrayStore)
    assert isinstance(sources[1], ArraySource)
    assert hash_of(plan, sources[0]) == hash_of(plan, sources[1])


def test_groups_that_must_stay_together_are_read_as_messages() -> None:
    """Arrays do not tell which ticks were sent together."""
    source = open_source(fill(ColumnStore()), EVERYTHING, TABLE, ["*.*"], keeps_groups=True)

    assert isinstance(source, StoreSource)


def test_slices_of_arrays_hold_every_tick_once_before_their_end() -> None:
    """Whatever the cuts of each instrument, also where many ticks have one time."""
    same = make_records(20)
    same["timestamp_ns"] = START_NS
    source = ArraySource.of([TickArray(BTC, same), TickArray(ETH, make_records(50, step_ms=0.3))], 6)
    seen, last_ns = 0, 0
    for part in source.slices():
        for array in part.arrays:
            times = array.records["timestamp_ns"]
            assert last_ns <= times[0]
            assert times[-1] < part.until_ns
            seen += len(times)
        last_ns = part.until_ns

    assert (seen, last_ns) == (70, NEVER_NS)


def test_only_the_range_and_the_instruments_asked_for_are_read() -> None:
    """Patterns name instruments, the selection the time; trades come along."""
    selection = Selection(from_ns=START_NS + 100_000_000, to_ns=START_NS + 200_000_000)
    source = StoreSource(fill(MemoryStore()), selection, TABLE, ["simulated.BTC/USDT"])

    messages = [message for part in source.slices() for message in part.messages]

    assert {message.symbol for message in messages} == {"BTC/USDT"}
    assert sum(isinstance(message, Tick) for message in messages) == 100
    assert any(isinstance(message, Trade) for message in messages)


def test_patterns_select_instruments_of_the_table() -> None:
    """As the config of a strategy has them."""
    table = InstrumentTable([BTC, ETH, make_instrument(exchange="other")])

    assert select_instruments(table, ["simulated.*"]) == [BTC, ETH]
    assert select_instruments(table, ["*.BTC/USDT"]) == [BTC, table.named("other.BTC/USDT")]


def test_instrument_that_is_not_in_hand_has_no_reference() -> None:
    """An order in what never ticked is denied, as live."""
    pipeline = run(make_plan(), ArraySource.of([TickArray(BTC, make_records(100))]))

    assert pipeline.tape.newest((ETH.exchange, ETH.symbol), NEVER_NS) is None
    assert pipeline.tape.newest((BTC.exchange, BTC.symbol), START_NS - 1) is None
    newest = pipeline.tape.newest((BTC.exchange, BTC.symbol), NEVER_NS - 1)
    assert newest is not None
    assert newest.timestamp_ns == make_tick(99, 1, 2).timestamp_ns
