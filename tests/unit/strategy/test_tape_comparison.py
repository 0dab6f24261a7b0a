"""A session run through the strategy again: identical, or the first decision that is not."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.engine_builders import (
    Stage,
    make_acknowledgement,
    make_batch,
    make_order_event,
    make_position_event,
    make_state,
    make_trade,
)
from support.message_builders import make_tick
from support.strategy_builders import BTC, ETH
from support.tape_builders import Busy, BusyInBatches, TapedStage, trade_a_while

from chaos.memory_outbox_store import MemoryOutboxStore
from common.errors import ConfigError, FatalError
from common.events.base import DRAFT, Message
from common.events.market import Tick
from common.events.trading import OrderStatus
from common.store.memory import MemoryStore
from common.wire.codec import decode_body
from common.wire.publisher import Publisher
from strategy.base import Strategy
from strategy.outbox import Instruction, id_of
from strategy.tape.diff import compare_tape
from strategy.tape.market_log import CannotCompareError
from strategy.tape.notes import BROKEN

STEPS = (
    "tick",
    "tick",
    "tick",
    "batch",
    "trade",
    "snapshot",
    "order",
    "position",
    "acknowledge",
    "time",
    "take",
    "ask",
)


class Session:
    """One or more lives of a strategy; the market goes on over them. Every step is drawn from a seed."""

    def __init__(self, folder: Path, strategy_type: type[Strategy], seed: int) -> None:
        self.random = Random(seed)
        self.store = MemoryOutboxStore()
        self.log = MemoryStore()
        self.seqs = {BTC.symbol: 0, ETH.symbol: 0}
        self.trade_seq = 0
        self.stages: list[TapedStage] = []
        self._folder, self._strategy_type = folder, strategy_type

    def live(self, steps: int) -> TapedStage:
        """Begin a life, let so many things happen, and leave it as a crash would."""
        stage = TapedStage(
            self._folder,
            self._strategy_type,
            log=self.log,
            store=self.store,
            epoch=7 + len(self.stages),
            is_started=False,
            checkpoint_ms=50,
            timer_ms=40,
            outbox_signals_max=25,
            on_stop_orders="cancel",
        )
        stage.now_ns += len(self.stages) * 10_000_000_000
        self.stages.append(stage)
        if self.random.random() < 0.5:
            stage.snapshot(self.tick(stage))
        stage.start()
        for _ in range(steps):
            self.step(stage)
            if self.random.random() < 0.2:
                stage.file.write()  # blocks end anywhere between two calls
        return stage

    def step(self, stage: TapedStage) -> None:
        """Something happens."""
        step = self.random.choice(STEPS)
        if step == "tick":
            stage.market(self.tick(stage))
        elif step == "batch":
            symbol = self.random.choice(list(self.seqs))
            stage.market(make_batch(*(self.tick(stage, symbol) for _ in range(self.random.randint(1, 5)))))
        elif step == "trade":
            self.trade_seq += 1
            stage.market(make_trade(100 + self.random.random(), self.trade_seq, timestamp_ns=stage.now_ns))
        elif step == "snapshot":
            stage.snapshot(self.tick(stage))
        elif step == "time":
            stage.advance(ms=self.random.choice([1, 5, 30, 1_500]))
        elif step == "take":
            stage.take()
        elif step == "ask":
            request = stage.engine.request_state(stage.now_ns)
            if self.random.random() < 0.7:
                stage.event(make_state(request.request_id))
        else:
            stage.event(self.event(stage, step))

    def tick(self, stage: Stage, symbol: str | None = None) -> Tick:
        """The next tick of an instrument, sometimes too old."""
        instrument = BTC if (symbol or self.random.choice(list(self.seqs))) == BTC.symbol else ETH
        self.seqs[instrument.symbol] += 1
        bid = round(100 + self.random.uniform(-5, 5), 2)
        return make_tick(
            self.seqs[instrument.symbol],
            timestamp_ns=stage.now_ns - self.random.choice([0, 0, 0, 2_000_000_000]),
            symbol=instrument.symbol,
            raw_symbol=instrument.raw_symbol,
            bid=bid,
            ask=bid + 0.5,
        )

    def event(self, stage: Stage, step: str) -> Message:
        """What the executor may tell of one of the instructions, or of somebody else's."""
        ids = [id_of(instruction) for instruction in stage.engine.outbox] or ["mine-7-1"]
        signal_id = self.random.choice(ids)
        changes: dict[str, Any] = {"strategy": "another"} if self.random.random() < 0.2 else {}
        if step == "acknowledge":
            return make_acknowledgement(signal_id, **changes)
        if step == "position":
            return make_position_event(str(self.random.randint(-3, 3)), **changes)
        status = self.random.choice([OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED])
        return make_order_event(signal_id, status, **changes)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), strategy_type=st.sampled_from([Busy, BusyInBatches]))
def test_unchanged_strategy_decides_as_it_did_in_every_life(
    tmp_path_factory: pytest.TempPathFactory, seed: int, strategy_type: type[Strategy]
) -> None:
    """Byte for byte: over ticks, groups, trades, snapshots, events, timers, checkpoints, restarts and a stop."""
    session = Session(tmp_path_factory.mktemp("tapes"), strategy_type, seed)
    for _ in range(3):
        session.live(steps=60)
    last = session.stages[-1]
    last.engine.stop(last.now_ns)
    last.take()
    last.advance(ms=1)

    diffs = [stage.diff() for stage in session.stages]

    assert [diff.comparison.difference for diff in diffs] == [None] * 3
    counts = [stage.engine.counts for stage in session.stages]
    emitted = [sum(count[f"{kind}s_emitted"] for kind in ("signal", "cancel", "amend")) for count in counts]
    assert [diff.comparison.decisions for diff in diffs] == emitted
    assert sum(emitted) > 10


def test_decisions_are_those_that_the_outbox_has(tmp_path: Path) -> None:
    """Not only as many: the very bytes that were made durable before they were sent."""
    stage = TapedStage(tmp_path, store=(store := MemoryOutboxStore()))
    trade_a_while(stage)

    bodies = [note.body for note in stage.tape().notes() if hasattr(note, "body") and is_instruction(note.body)]

    assert len(bodies) > 5
    assert bodies == list(store.bodies.values())


def is_instruction(body: bytes) -> bool:
    """Tell instructions from snapshots and events."""
    return isinstance(decode_body(body), Instruction)


def test_changed_parameter_is_named_with_the_first_decision_that_it_changes(tmp_path: Path) -> None:
    """The fields of both, the tick, what came just before, and where the strategy stood."""
    stage = TapedStage(tmp_path)
    stage.event(make_position_event("2"))
    trade_a_while(stage)

    diff = stage.diff(quantity=1.25)

    difference = diff.comparison.difference
    assert difference is not None
    assert (diff.result, diff.parameters_changed) == ("different", {"quantity": (1.0, 1.25)})
    assert difference.number == 1
    assert {field.name: (field.live, field.replayed) for field in difference.fields if field.is_different} == {
        "quantity": ("1.0", "1.25")
    }
    assert difference.position is not None
    assert difference.position["quantity"] == "2"
    *before, last = difference.inputs
    assert (last.call, last.message and last.message["type"]) == ("on_market", "Market.Tick.Received.v1")
    assert last.message is not None
    assert f":{last.message['seq']}" in str(difference.live and difference.live["cause_id"])
    assert [call.call for call in before] == ["on_market"] * 3
    assert [call.message and call.message["type"] for call in difference.events] == [
        "Trading.State.Reported.v1",
        "Trading.Position.Opened.v1",
    ]


@pytest.mark.parametrize(("ticks", "is_live_missing"), [(1, True), (100, False)])
def test_more_or_fewer_decisions_are_a_difference(tmp_path: Path, ticks: int, *, is_live_missing: bool) -> None:
    """One side has an instruction where the other has none."""
    stage = TapedStage(tmp_path, parameters={"ticks": 5})
    trade_a_while(stage)

    difference = stage.diff(ticks=ticks).comparison.difference

    assert difference is not None
    assert (difference.live is None, difference.replayed is None) == (is_live_missing, not is_live_missing)


def test_last_decision_of_the_replay_is_not_overlooked(tmp_path: Path) -> None:
    """Nothing on the tape comes after the call in which only the replay decides."""
    stage = TapedStage(tmp_path, parameters={"ticks": 4})
    stage.market(*(make_tick(seq, timestamp_ns=stage.now_ns) for seq in range(1, 4)))

    diff = stage.diff(ticks=3)

    assert diff.comparison.difference is not None
    assert diff.decisions_live == 0


def test_strategy_that_raises_in_the_replay_is_told(tmp_path: Path) -> None:
    """It decides nothing in that callback; the rest of the tape is good until a decision differs."""
    stage = TapedStage(tmp_path)
    trade_a_while(stage)

    diff = stage.diff(raises_at=6)

    found = diff.comparison
    assert (found.failures_live, found.failures_replayed) == (0, 1)
    assert found.first_failure == "on_tick: ZeroDivisionError: tick 6"
    assert found.difference is not None
    assert found.difference.replayed is None


def test_strategy_that_raised_as_it_does_now_is_identical(tmp_path: Path) -> None:
    """A failure is part of the session."""
    stage = TapedStage(tmp_path, parameters={"raises_at": 6})
    trade_a_while(stage)

    found = stage.diff().comparison

    assert (found.difference, found.failures_live, found.failures_replayed) == (None, 1, 1)
    assert found.decisions > 5


def test_another_class_is_compared_like_another_parameter(tmp_path: Path) -> None:
    """Code that has changed since: the tape does not mind."""

    class Idle(Busy):
        def see(self, tick: Any, price: float) -> None:
            pass

    stage = TapedStage(tmp_path)
    trade_a_while(stage)

    diff = stage.diff(Idle)

    assert diff.result == "different"
    assert diff.is_code_changed


def test_tick_that_the_log_changed_changes_the_decision(tmp_path: Path) -> None:
    """The replay decides on the log's own content, not on what the tape remembers of it."""
    stage = TapedStage(tmp_path)
    trade_a_while(stage)
    changed = MemoryStore()
    changed.append_batch(
        [
            replace(record.message, bid=90.0) if is_tick(record.message, 9) else record.message
            for record in events(stage)
        ]
    )

    diff = compare_tape(stage.tape(), changed, Busy, {})

    difference = diff.comparison.difference
    assert difference is not None
    assert {field.name for field in difference.fields if field.is_different} <= {"limit_price", "trigger_price"}


def is_tick(message: Message, seq: int) -> bool:
    """Tell whether it is the tick of this number."""
    return isinstance(message, Tick) and message.seq == seq


def events(stage: TapedStage) -> list[Any]:
    """The log of a stage."""
    return list(stage.log.get_events())


def test_message_that_the_log_misses_is_named(tmp_path: Path) -> None:
    """Nothing behind it can be told; exit code 2, not a difference."""
    stage = TapedStage(tmp_path)
    trade_a_while(stage)
    holed = MemoryStore()
    holed.append_batch([record.message for record in events(stage) if not is_tick(record.message, 17)])

    with pytest.raises(
        CannotCompareError, match=r"tick\.simulated\.BTC/USDT of gateway, epoch \d+, number 17"
    ) as error:
        compare_tape(stage.tape(), holed, Busy, {})

    assert error.value.exit_code == 2


def test_instructions_of_an_earlier_life_are_where_the_replay_begins(tmp_path: Path) -> None:
    """What was pending then counts: the outbox is full sooner, and signals are on their way."""
    store = MemoryOutboxStore()
    first = TapedStage(tmp_path, store=store, outbox_signals_max=8)
    trade_a_while(first, 15)
    first.file.close()
    second = TapedStage(tmp_path, store=store, log=first.log, epoch=8, outbox_signals_max=8)
    trade_a_while(second, 30, first_seq=16)

    diff = second.diff()

    assert diff.comparison.difference is None
    assert 0 < diff.comparison.decisions < 8
    assert second.count("callbacks_failed") > 0


@pytest.mark.parametrize(("loss", "signals_max"), [({"kept": []}, 8), ({"checkpoint": None}, 1_000)])
def test_head_without_what_was_kept_shows(tmp_path: Path, loss: dict[str, Any], signals_max: int) -> None:
    """The comparison would be worth nothing if it did not depend on it."""
    store = MemoryOutboxStore()
    first = TapedStage(tmp_path, store=store)
    trade_a_while(first, 13)
    first.file.close()
    second = TapedStage(
        tmp_path,
        store=store,
        log=first.log,
        epoch=8,
        outbox_signals_max=signals_max,
        change_head=lambda head: replace(head, **loss),
    )
    trade_a_while(second, 30, first_seq=14)

    assert second.diff().result == "different"


def test_state_that_was_lost_goes_on_behind_what_the_executor_knows(tmp_path: Path) -> None:
    """Ids of the replay follow the executor's report as those of the session did."""
    stage = TapedStage(tmp_path, is_started=False)
    stage.start(last_id="mine-7-12")
    trade_a_while(stage)

    diff = stage.diff()

    assert diff.comparison.difference is None
    assert diff.comparison.decisions > 5


def test_instruction_is_noted_as_it_was_before_it_was_sent(tmp_path: Path) -> None:
    """A sender gives an instruction its number later; the tape has it as it was decided."""
    stage = TapedStage(tmp_path)
    trade_a_while(stage)
    sent, *_ = stage.engine.outbox
    Publisher(role="strategy", source="mine", epoch=7, channel="signals", send=lambda _: None).publish(sent)

    body, *_ = (note.body for note in stage.tape().notes() if hasattr(note, "body") and is_instruction(note.body))

    instruction: Any = decode_body(body)
    assert (sent.source, sent.seq) == ("mine", 1)
    assert instruction == replace(sent, **DRAFT)


def test_call_that_the_store_cut_short_is_no_difference(tmp_path: Path) -> None:
    """The outbox could not be written: the process ended before its timer, in which the replay decides."""
    store = MemoryOutboxStore()
    stage = TapedStage(tmp_path, store=store)
    trade_a_while(stage)
    stage.event(*(make_acknowledgement(signal_id) for signal_id in store.bodies))
    store.is_failing = True

    with pytest.raises(FatalError):
        stage.advance(ms=1_001)

    diff = stage.diff()
    assert (diff.result, diff.comparison.ended) == ("identical", BROKEN)
    assert diff.comparison.decisions == len(store.bodies)


def test_strategy_that_cannot_be_built_is_a_matter_of_its_code(tmp_path: Path) -> None:
    """What it raised is told, with exit code 78."""

    class Broken(Busy):
        def __init__(self, host: Any, parameters: Any) -> None:
            raise ZeroDivisionError("no")

    stage = TapedStage(tmp_path)

    with pytest.raises(ConfigError, match="strategy Broken: building it raised ZeroDivisionError: no"):
        stage.diff(Broken)
