"""What a strategy wants to remember: when it is saved, what it belongs to, and how the next life goes on from it."""

from typing import Any

import msgspec
import pytest
from support.engine_builders import BatchDiary, Diary, Stage, make_batch
from support.message_builders import make_tick
from support.strategy_builders import BTC

from chaos.memory_outbox_store import MemoryOutboxStore
from common.events.market import Tick
from strategy.checkpoint import STATE_BYTES_MAX


class Counting(Diary):
    """Counts ticks over all its lives, and buys with each tenth."""

    def __init__(self, host: Any, parameters: Any) -> None:
        super().__init__(host, parameters)
        self.count = 0

    def on_tick(self, tick: Tick) -> None:
        self.count += 1
        if self.count % 10 == 0:
            self.buy(tick, 1)

    def save_state(self) -> dict[str, Any]:
        self.note("save_state")
        return {"count": self.count}

    def load_state(self, state: dict[str, Any]) -> None:
        self.note("load_state", state)
        self.count = state["count"]


def start_counting(store: MemoryOutboxStore, epoch: int = 7, **config: Any) -> Stage:
    """A life of the counting strategy."""
    return Stage(Counting, store=store, epoch=epoch, **config)


def saved_state(store: MemoryOutboxStore) -> Any:
    """What the newest checkpoint holds."""
    assert store.checkpoint is not None
    return None if store.checkpoint.state is None else msgspec.msgpack.decode(store.checkpoint.state)


def test_state_is_saved_with_each_emission_as_it_is_after_it() -> None:
    """In the same transaction: a life that goes on from it has decided already."""
    store = MemoryOutboxStore()
    stage = start_counting(store)

    stage.market(make_batch(*(make_tick(seq) for seq in range(1, 13))))
    stage.take()

    assert (list(store.bodies), store.transactions) == (["mine-7-1"], 1)
    assert saved_state(store) == {"count": 12}
    assert store.checkpoint is not None
    assert store.checkpoint.market == {"tick.simulated.BTC/USDT": ("gateway", make_tick(1).epoch, 12)}


def test_state_is_saved_at_its_interval_between_start_and_stop() -> None:
    """A crash costs no more than that; a strategy that has not begun has nothing to save."""
    store = MemoryOutboxStore()
    stage = Stage(Counting, store=store, is_started=False, checkpoint_ms=100)

    stage.advance(ms=1_000)
    before = store.transactions
    stage.start()
    for _ in range(25):
        stage.advance(ms=10)
    stage.market(make_tick(timestamp_ns=stage.now_ns))
    while_it_runs = store.transactions
    stage.engine.stop(stage.now_ns)

    assert (before, while_it_runs, store.transactions) == (0, 2, 3)
    assert saved_state(store) == {"count": 1}


def test_emission_between_two_checkpoints_is_written_with_the_next_of_them() -> None:
    """A timer has emitted, and the checkpoint is due in the same moment: they must not part."""
    store = MemoryOutboxStore()
    stage = start_counting(store, timer_ms=1_000, checkpoint_ms=1_000)
    stage.act("on_timer", lambda _: stage.strategy.buy(BTC, 1))

    stage.advance(ms=1_000)

    assert (list(store.bodies), store.transactions) == (["mine-7-1"], 1)
    assert [signal.signal_id for signal in stage.take_signals()] == ["mine-7-1"]


def test_next_life_loads_the_state_before_it_starts() -> None:
    """Positions are known by then, and no tick has come."""
    store = MemoryOutboxStore()
    first = start_counting(store)
    first.market(*(make_tick(seq) for seq in range(1, 8)))
    first.engine.stop(first.now_ns)

    second = start_counting(store, epoch=8)
    second.snapshot(make_tick(8))

    assert second.strategy.notes[:2] == [("load_state", {"count": 7}), ("on_start",)]
    assert second.strategy.count == 8


def test_first_life_is_not_told_of_a_state() -> None:
    """There is none."""
    stage = start_counting(MemoryOutboxStore())

    assert stage.strategy.names() == ["on_start"]


@pytest.mark.parametrize("crash_after", range(1, 31))
def test_crash_at_any_tick_neither_loses_nor_repeats_a_decision(crash_after: int) -> None:
    """The gateway sends the last tick again: every tenth is decided on once, under one id."""
    store = MemoryOutboxStore()
    sent: dict[str, str | None] = {}
    stage = start_counting(store, checkpoint_ms=1)

    for seq in range(1, 31):
        stage.market(make_tick(seq))
        stage.advance(ms=1)
        if seq == crash_after:
            stage = start_counting(store, epoch=8, checkpoint_ms=1)
            stage.snapshot(make_tick(seq))
        sent |= {signal.signal_id: signal.cause_id for signal in stage.take_signals()}

    causes = [str(cause).rsplit(":", 1)[1] for cause in sent.values()]
    assert causes == ["10", "20", "30"]


@pytest.mark.parametrize("strategy_type", [Diary, BatchDiary])
def test_batch_that_the_state_contains_does_not_come_again(strategy_type: type[Diary]) -> None:
    """As a single tick does not; one of another gateway life is news, whatever its number."""
    store = MemoryOutboxStore()
    first = Stage(strategy_type, store=store)
    first.market(make_batch(make_tick(4), make_tick(5)))
    first.engine.stop(first.now_ns)

    second = Stage(strategy_type, store=store, epoch=8)
    second.market(make_batch(make_tick(4), make_tick(5)))
    names_before = second.strategy.names()
    second.market(make_batch(make_tick(1, epoch=8), make_tick(2, epoch=8)))

    assert names_before == ["on_start"]
    assert second.count("ticks_taken_before") == 2
    assert len(second.strategy.names()) > 1


def test_market_position_is_compared_only_until_such_ticks_would_be_stale() -> None:
    """After that no tick pays for the comparison."""
    store = MemoryOutboxStore()
    first = Stage(store=store)
    first.market(make_tick(5))
    first.engine.stop(first.now_ns)
    second = Stage(store=store, epoch=8, tick_age_ms_max=1_000)

    second.advance(ms=1_000)
    compared = bool(second.engine._taken)
    second.advance(ms=1)

    assert (compared, second.engine._taken) == (True, {})


def test_strategy_that_keeps_nothing_still_keeps_the_market_position() -> None:
    """Otherwise the tick that it decided on would come again."""
    store = MemoryOutboxStore()
    stage = Stage(store=store)
    stage.market(make_tick(5))

    stage.engine.stop(stage.now_ns)

    assert saved_state(store) is None
    assert store.checkpoint is not None
    assert store.checkpoint.market["tick.simulated.BTC/USDT"][2] == 5


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"window": b"x" * STATE_BYTES_MAX}, f"save_state: expected up to {STATE_BYTES_MAX} bytes, was 1048"),
        ([1, 2], "save_state: expected a dict or None, was list"),
        ({"what": object()}, "object"),
    ],
    ids=["too large", "no dict", "no plain data"],
)
def test_state_that_cannot_be_saved_is_a_failed_callback_and_the_signal_is_sent(state: Any, text: str) -> None:
    """The decision was made. The state stays as it was last saved."""
    store = MemoryOutboxStore()
    stage = start_counting(store)
    stage.market(*(make_tick(seq) for seq in range(1, 11)))
    stage.take()
    stage.strategy.save_state = lambda: state

    stage.market(*(make_tick(seq) for seq in range(11, 21)))

    assert len(stage.take_signals()) == 1
    ((name, error),) = stage.failures
    assert name == "save_state"
    assert text in str(error)
    assert stage.count("callbacks_failed") == 1
    assert saved_state(store) == {"count": 10}


def test_state_that_cannot_be_loaded_is_a_failed_callback_and_the_strategy_starts() -> None:
    """Another version of it may have saved it; it begins like a new one."""
    store = MemoryOutboxStore()
    first = start_counting(store)
    first.strategy.save_state = lambda: {"other": 1}
    first.engine.stop(first.now_ns)

    second = start_counting(store, epoch=8)

    assert [(name, type(error)) for name, error in second.failures] == [("load_state", KeyError)]
    assert (second.strategy.names(), second.strategy.count) == (["load_state", "on_start"], 0)


def test_halted_strategy_is_not_asked_for_its_state() -> None:
    """Its last good one is kept."""
    store = MemoryOutboxStore()
    stage = start_counting(store, failures_max=1, checkpoint_ms=100)
    stage.market(make_tick())
    stage.advance(ms=100)
    stage.act("on_timer", lambda _: 1 // 0)
    stage.advance(ms=1_000)
    assert stage.engine.halt_reason is not None
    stage.strategy.count = 99

    stage.engine.stop(stage.now_ns)

    assert saved_state(store) == {"count": 1}
