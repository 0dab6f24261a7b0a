"""What a strategy is called with, and in which order: ticks, batches, snapshots, trades, events, time."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engine_builders import (
    BatchDiary,
    Diary,
    Stage,
    UnpackingDiary,
    make_batch,
    make_order_event,
    make_position_event,
    make_state,
    make_trade,
)
from support.message_builders import NOW_NS, make_tick, make_ticks
from support.strategy_builders import BTC

from common.clock import NS_PER_MS
from common.events.base import Message
from common.events.market import TICK_DTYPE, Tick, Ticks
from common.events.packing import pack_tick, unpack_ticks

AGE_NS_MAX = 1_000 * NS_PER_MS
amounts = st.none() | st.floats(0, 1e15)
times = st.integers(1, 1 << 62)
ticks = st.builds(
    make_tick,
    seq=st.just(1),
    timestamp_ns=times,
    local_timestamp_ns=times,
    exchange_timestamp_ns=st.none() | times,
    **dict.fromkeys(("bid", "ask", "bid_size", "ask_size", "last", "volume"), amounts),
)


def test_callbacks_come_in_the_order_of_what_happens() -> None:
    """The strategy starts first, stops last, and sees everything between as it came."""
    stage = Stage(timer_ms=1_000)
    messages = (make_trade(), make_tick())

    stage.market(*messages)
    stage.event(make_order_event(), make_position_event())
    stage.advance(ms=1_000)
    stage.engine.stop(stage.now_ns)

    assert stage.strategy.names() == [
        "on_start",
        "on_trade",
        "on_tick",
        "on_order",
        "on_position",
        "on_timer",
        "on_stop",
    ]
    assert (stage.strategy.arguments("on_trade"), stage.strategy.arguments("on_tick")) == ([messages[0]], [messages[1]])


def test_time_that_a_strategy_asks_for_is_that_of_what_it_handles() -> None:
    """It reads no clock: so a replay gives the same decisions."""
    stage = Stage()
    seen_ns: list[int] = []
    stage.act("on_tick", lambda _: seen_ns.append(stage.strategy.now_ns))

    stage.market(make_tick(1))
    stage.now_ns += 5
    stage.market(make_tick(2))

    assert seen_ns == [NOW_NS, NOW_NS + 5]


# Stale ticks


def single(timestamp_ns: int) -> Tick:
    """A tick that the gateway made at this time."""
    return make_tick(timestamp_ns=timestamp_ns)


def batched(timestamp_ns: int) -> Ticks:
    """A batch that the gateway made at this time."""
    return make_ticks(timestamp_ns=timestamp_ns)


@pytest.mark.parametrize("strategy_type", [Diary, BatchDiary])
@pytest.mark.parametrize(("make_message", "tick_count"), [(single, 1), (batched, 3)])
def test_ticks_over_the_maximum_age_are_refused_and_counted(
    strategy_type: type[Diary], make_message: Callable[[int], Message], tick_count: int
) -> None:
    """They would trade on a market that is gone; they count as received all the same."""
    stage = Stage(strategy_type)

    stage.market(make_message(NOW_NS - AGE_NS_MAX - 1))

    assert stage.strategy.names() == ["on_start"]
    assert (stage.count("ticks_stale"), stage.count("ticks_received")) == (tick_count, tick_count)


@pytest.mark.parametrize("make_message", [single, batched])
@pytest.mark.parametrize("age_ns", [AGE_NS_MAX, 0, -AGE_NS_MAX], ids=["just in time", "now", "clock skew"])
def test_ticks_within_the_maximum_age_are_handed_over(make_message: Callable[[int], Message], age_ns: int) -> None:
    """A tick from the future is clock skew, not staleness."""
    stage = Stage()

    stage.market(make_message(NOW_NS - age_ns))

    assert "on_tick" in stage.strategy.names()
    assert stage.count("ticks_stale") == 0


# Batches


def test_batch_is_handed_over_tick_by_tick_each_with_its_own_number() -> None:
    """A strategy that never heard of batches sees the stream as it would without them."""
    stage = Stage()
    sent = [make_tick(seq, bid=99.0 + seq) for seq in (5, 6, 7)]

    stage.market(make_batch(*sent))

    assert stage.strategy.arguments("on_tick") == sent
    assert stage.count("ticks_received") == 3


def test_signal_within_a_batch_has_its_own_tick_as_cause() -> None:
    """The second of three ticks decides, and the trace leads to it."""
    stage = Stage()
    sent = [make_tick(seq, bid=99.0 + seq, ask=100.0 + seq) for seq in (5, 6, 7)]
    stage.act("on_tick", lambda tick: stage.strategy.buy(tick, 1) if tick.seq == 6 else None)

    stage.market(make_batch(*sent))

    (signal,) = stage.take_signals()
    assert (signal.cause_id, signal.correlation_id) == (sent[1].event_id(), sent[1].event_id())
    assert (signal.trigger_price, signal.trigger_timestamp_ns) == (105.5, sent[1].timestamp_ns)


@pytest.mark.parametrize("batch_ticks", [1, 3], ids=["a single tick is a group of one", "a batch"])
def test_group_of_ticks_comes_as_an_array_that_nobody_can_change(batch_ticks: int) -> None:
    """NaN and 0 stand for what is absent. Who could write into one kind of group would depend on the batching."""
    stage = Stage(BatchDiary)
    sent = [make_tick(seq, bid_size=1.5, exchange_timestamp_ns=seq) for seq in range(1, batch_ticks)]
    sent += [make_tick(batch_ticks, bid=None, volume=2.5)]

    stage.market(sent[0] if batch_ticks == 1 else make_batch(*sent))

    ((instrument, records),) = stage.strategy.arguments("on_ticks")
    assert instrument is BTC
    assert (records.dtype, records.shape, records.flags.writeable) == (TICK_DTYPE, (batch_ticks,), False)
    assert records["timestamp_ns"].tolist() == [tick.timestamp_ns for tick in sent]
    last = records[-1]
    assert (last["ask"], last["volume"], last["exchange_timestamp_ns"]) == (100.5, 2.5, 0)
    assert math.isnan(last["bid"])
    assert stage.strategy.arguments("on_tick") == []


def test_signal_of_a_whole_group_has_the_batch_as_cause() -> None:
    """Its price is not one tick's, so none is claimed."""
    stage = Stage(BatchDiary)
    batch = make_ticks(seq=9)
    stage.act("on_ticks", lambda instrument, _: stage.strategy.buy(instrument, 1))

    stage.market(batch)

    (signal,) = stage.take_signals()
    assert (signal.cause_id, signal.trigger_timestamp_ns) == (batch.event_id(), batch.timestamp_ns)
    assert signal.trigger_price is None


@pytest.mark.parametrize("numbers", [[5], [5, 6, 7]], ids=["single", "batch"])
def test_super_on_ticks_hands_over_each_tick_as_the_cause_of_its_signals(numbers: list[int]) -> None:
    """A strategy may look at the array first and at the ticks after."""
    stage = Stage(UnpackingDiary)
    sent = [make_tick(seq) for seq in numbers]
    stage.act("on_tick", lambda tick: stage.strategy.buy(tick, 1))

    stage.market(sent[0] if len(sent) == 1 else make_batch(*sent))

    assert stage.strategy.names()[1:] == ["on_ticks", *["on_tick"] * len(sent)]
    assert stage.strategy.arguments("on_tick") == sent
    assert [signal.cause_id for signal in stage.take_signals()] == [tick.event_id() for tick in sent]


def test_unpacking_outside_on_ticks_is_an_error_of_the_strategy() -> None:
    """There is no batch in hand; an empty answer would look like an idle market."""
    stage = Stage(UnpackingDiary)
    stage.market(make_ticks())

    stage.event(make_order_event())
    stage.act("on_order", lambda _: list(stage.engine.unpack()))
    stage.event(make_order_event())

    ((name, error),) = stage.failures
    assert (name, str(error)) == ("on_order", "unpack: expected to be called from on_ticks")


@pytest.mark.parametrize("strategy_type", [Diary, BatchDiary])
@pytest.mark.parametrize(
    "damage",
    [
        lambda batch: {"data": batch.data[:-1]},
        lambda batch: {"count": batch.count - 1, "data": batch.data},
        lambda batch: {"data": batch.data[:0]},
        lambda batch: {"data": with_last_bid(batch, -0.5)},
        lambda batch: {"data": with_last_bid(batch, math.inf)},
        lambda batch: {"data": with_last_bid(batch, 1.1e15)},
    ],
    ids=["cut off", "more than counted", "empty", "negative", "infinite", "too large"],
)
def test_malformed_batch_is_counted_and_nothing_of_it_is_handed_over(
    strategy_type: type[Diary], damage: Callable[[Ticks], dict[str, Any]]
) -> None:
    """Its good ticks too: who packs one tick wrongly cannot be trusted with the rest."""
    stage = Stage(strategy_type)
    good = make_ticks()
    bad = make_ticks(**damage(good))

    stage.market(bad)

    assert stage.strategy.names() == ["on_start"]
    assert stage.count("ticks_malformed") == bad.count
    assert (stage.failures, stage.engine.halt_reason) == ([], None)


def test_tick_whose_times_fit_no_record_is_counted_and_not_handed_over() -> None:
    """The wire allows integers of 64 bits without a sign; an array has a sign."""
    stage = Stage(BatchDiary)

    stage.market(make_tick(local_timestamp_ns=1 << 63), make_tick(exchange_timestamp_ns=1 << 63))

    assert stage.strategy.names() == ["on_start"]
    assert stage.count("ticks_malformed") == 2


def test_group_of_an_instrument_that_is_not_listed_is_counted() -> None:
    """`on_ticks` is handed the instrument, and there is none."""
    stage = Stage(BatchDiary)

    stage.market(make_tick(symbol="XRP/USDT"), make_ticks(symbol="XRP/USDT"))

    assert stage.strategy.arguments("on_ticks") == []
    assert stage.count("ticks_unlisted") == 4


@given(st.lists(ticks, min_size=1, max_size=5))
def test_unpacked_ticks_are_those_that_were_packed(sent: list[Tick]) -> None:
    """To the last bit, whatever is absent."""
    numbered = [make_tick(**{**as_fields(tick), "seq": seq}) for seq, tick in enumerate(sent, 10)]

    unpacked = unpack_ticks(make_batch(*numbered))

    assert unpacked == numbered


@given(ticks)
def test_packed_tick_has_the_layout_of_the_wire(tick: Tick) -> None:
    """One record of the documented dtype, absent amounts as NaN."""
    (record,) = pack_tick(tick)

    for name in ("bid", "ask", "bid_size", "ask_size", "last", "volume"):
        amount = getattr(tick, name)
        assert np.isnan(record[name]) if amount is None else record[name] == amount
    assert record["local_timestamp_ns"] == tick.local_timestamp_ns
    assert record["exchange_timestamp_ns"] == (tick.exchange_timestamp_ns or 0)


def as_fields(tick: Tick) -> dict[str, Any]:
    """A tick's fields by name."""
    return {name: getattr(tick, name) for name in tick.__struct_fields__}


def with_last_bid(batch: Ticks, bid: float) -> bytes:
    """The batch's data with another bid in its last tick."""
    records = batch.records().copy()
    records["bid"][-1] = bid
    return records.tobytes()


# Snapshots


def test_snapshot_is_held_until_the_strategy_has_started() -> None:
    """A strategy first learns where it stands, then sees the market."""
    stage = Stage(is_started=False)
    snapshot = [make_tick(41), make_tick(12, symbol="ETH/USDT")]

    for tick in snapshot:
        stage.engine.on_snapshot(tick, stage.now_ns)
    names_before = stage.strategy.names()
    stage.start()

    assert names_before == []
    assert stage.strategy.names() == ["on_start", "on_tick", "on_tick"]
    assert stage.strategy.arguments("on_tick") == snapshot
    assert stage.count("ticks_from_snapshot") == 2


def test_snapshot_that_grew_stale_while_it_was_held_is_refused() -> None:
    """The executor may take long to answer; the market does not wait."""
    stage = Stage(is_started=False)
    stage.engine.on_snapshot(make_tick(41), stage.now_ns)

    stage.now_ns += 2 * AGE_NS_MAX
    stage.start()

    assert stage.strategy.names() == ["on_start"]
    assert stage.count("ticks_stale") == 1


def test_held_snapshot_is_handed_over_once() -> None:
    """A later report of the executor does not bring it again."""
    stage = Stage(is_started=False)
    stage.engine.on_snapshot(make_tick(41), stage.now_ns)

    stage.start()
    stage.start()

    assert stage.strategy.names() == ["on_start", "on_tick"]


def test_snapshot_after_a_lost_tick_is_handed_over_at_once() -> None:
    """It stands in for the tick that was lost, and counts as no received one."""
    stage = Stage()

    stage.engine.on_snapshot(make_tick(44), stage.now_ns)

    assert [tick.seq for tick in stage.strategy.arguments("on_tick")] == [44]
    assert (stage.count("ticks_from_snapshot"), stage.count("ticks_received")) == (1, 0)


# Time


def test_timer_runs_at_its_interval_and_only_between_start_and_stop() -> None:
    """The first at once, the next when the interval has passed."""
    stage = Stage(is_started=False, timer_ms=100)

    stage.advance(ms=1_000)
    stage.start()
    for _ in range(25):
        stage.advance(ms=10)
    stage.engine.stop(stage.now_ns)
    stage.advance(ms=1_000)

    elapsed_ms = [(now_ns - NOW_NS) // NS_PER_MS for now_ns in stage.strategy.arguments("on_timer")]
    assert elapsed_ms == [1_010, 1_110, 1_210]


# Start and state


def test_strategy_starts_when_the_executor_has_told_where_it_stands() -> None:
    """Not before: it would trade without knowing what it holds."""
    stage = Stage(is_started=False)

    stage.engine.request_state(stage.now_ns)
    is_started_before = stage.engine.is_started
    stage.event(make_state("7-1"))

    assert (is_started_before, stage.engine.is_started) == (False, True)
    assert stage.strategy.names() == ["on_start"]


def test_strategy_starts_once_however_often_its_state_is_reported() -> None:
    """Lost events and a restarted executor bring further reports."""
    stage = Stage()

    stage.start()
    stage.start()

    assert stage.strategy.names() == ["on_start"]


def test_report_that_comes_after_the_stop_starts_nothing() -> None:
    """It was asked for before; `on_start` and `on_stop` come once in a life."""
    stage = Stage()
    request = stage.engine.request_state(stage.now_ns)

    stage.engine.stop(stage.now_ns)
    stage.event(make_state(request.request_id))
    stage.engine.stop(stage.now_ns)

    assert stage.strategy.names() == ["on_start", "on_stop"]
    assert not stage.engine.is_started


def test_strategy_that_never_started_is_not_told_to_stop() -> None:
    """`on_stop` may rely on what `on_start` has set up."""
    stage = Stage(is_started=False)

    stage.engine.stop(stage.now_ns)

    assert stage.strategy.names() == []


def test_state_request_names_the_life_and_its_number() -> None:
    """So that the answer to an earlier question is not taken for that to the newest."""
    stage = Stage(is_started=False)

    requests = [stage.engine.request_state(stage.now_ns) for _ in range(2)]

    assert [request.request_id for request in requests] == ["7-1", "7-2"]
    assert {request.strategy for request in requests} == {"mine"}
