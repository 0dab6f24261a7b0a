"""Callbacks that raise: each is counted and told, and too many of them halt the strategy, never its host."""

import functools
from collections.abc import Callable

import pytest
from support.engine_builders import (
    BatchDiary,
    Diary,
    Stage,
    make_acknowledgement,
    make_batch,
    make_order_event,
    make_position_event,
    make_trade,
)
from support.message_builders import make_tick

from common.clock import NS_PER_S


class Failing(Diary):
    """Fails in each callback, after it has noted it."""

    def note(self, name: str, *arguments: object) -> None:
        super().note(name, *arguments)
        raise ZeroDivisionError(f"in {name}")


class FailingBatches(Failing, BatchDiary):
    """The same, with `on_ticks`."""


HAPPENINGS: dict[str, Callable[[Stage], None]] = {
    "on_start": lambda stage: stage.start(),
    "on_tick": lambda stage: stage.market(make_tick()),
    "on_trade": lambda stage: stage.market(make_trade()),
    "on_order": lambda stage: stage.event(make_order_event()),
    "on_position": lambda stage: stage.event(make_position_event()),
    "on_timer": lambda stage: stage.advance(ms=1_000),
    "on_stop": lambda stage: stage.engine.stop(stage.now_ns),
}


@pytest.mark.parametrize("callback", HAPPENINGS)
def test_failing_callback_is_counted_and_told_and_ends_nothing(callback: str) -> None:
    """Whatever a strategy raises, its process goes on."""
    stage = Stage(Failing)

    HAPPENINGS[callback](stage)

    name, error = stage.failures[-1]
    assert (name, str(error)) == (callback, f"in {callback}")
    assert stage.count("callbacks_failed") == len(stage.failures)
    assert stage.engine.halt_reason is None


def test_failing_on_ticks_is_counted_and_told() -> None:
    """As each other callback, and the group is not in hand any more."""
    stage = Stage(FailingBatches)

    stage.market(make_tick())

    name, _ = stage.failures[-1]
    assert name == "on_ticks"
    with pytest.raises(RuntimeError):
        list(stage.engine.unpack())


def test_callback_without_a_name_may_fail_too() -> None:
    """A strategy may put any callable in the place of its method."""
    stage = Stage()
    stage.strategy.on_tick = functools.partial(int, "no number")

    stage.market(make_tick())

    ((name, error),) = stage.failures
    assert "partial" in name
    assert isinstance(error, TypeError)


def test_ticks_behind_the_one_that_failed_are_handed_over() -> None:
    """One bad tick of a batch costs one tick."""
    stage = Stage()
    stage.act("on_tick", lambda tick: 1 // (tick.seq - 5))

    stage.market(make_batch(*(make_tick(seq) for seq in (4, 5, 6))))

    assert [tick.seq for tick in stage.strategy.arguments("on_tick")] == [4, 5, 6]
    assert stage.count("callbacks_failed") == 1


def test_signal_that_was_emitted_before_the_failure_stands() -> None:
    """The decision was made; the executor may have it already."""
    stage = Stage()

    def buy_and_fail() -> None:
        stage.strategy.buy(make_tick(), 1)
        raise ValueError

    stage.act_once(buy_and_fail)

    assert [signal.signal_id for signal in stage.take_signals()] == ["mine-7-1"]


def test_too_many_failures_within_the_window_halt_the_strategy() -> None:
    """The third of three allowed; the reason names the last of them."""
    stage = Stage(Failing, is_started=False, failures_max=3, failure_window_s=10)

    halted = []
    for _ in range(3):
        stage.market(make_tick(timestamp_ns=stage.now_ns))
        halted.append(stage.engine.halt_reason)
        stage.now_ns += 5 * NS_PER_S

    assert halted[:2] == [None, None]
    assert halted[2] == ("halted: 3 callbacks failed within 10 s; the last: on_tick: ZeroDivisionError: in on_tick")


def test_failures_that_are_spread_over_longer_than_the_window_do_not_halt() -> None:
    """A strategy with a rare fault is worth more running than halted."""
    stage = Stage(Failing, is_started=False, failures_max=3, failure_window_s=10)

    for _ in range(20):
        stage.market(make_tick(timestamp_ns=stage.now_ns))
        stage.now_ns += 5 * NS_PER_S + 1

    assert stage.engine.halt_reason is None
    assert stage.count("callbacks_failed") == 20


def test_first_failure_halts_where_one_is_too_many() -> None:
    """For who wants no second chance."""
    stage = Stage(Failing, is_started=False, failures_max=1)

    stage.market(make_tick())

    assert stage.engine.halt_reason is not None


@pytest.mark.parametrize("callback", [name for name in HAPPENINGS if name != "on_start"])
def test_callbacks_of_a_halted_strategy_are_skipped_and_counted(callback: str) -> None:
    """It is not asked again, whatever happens."""
    stage = Stage(Failing, failures_max=1)
    noted_before = stage.strategy.names()

    HAPPENINGS[callback](stage)

    assert stage.strategy.names() == noted_before == ["on_start"]
    assert (stage.count("callbacks_skipped"), stage.count("callbacks_failed")) == (1, 1)


def test_halted_strategy_still_brings_its_signals_to_their_end() -> None:
    """What it emitted is sent again until it is acknowledged, and its orders and positions stay known."""
    stage = Stage(failures_max=1)
    signal_id = stage.emit()
    stage.take()
    stage.act_once(lambda: 1 // 0)

    stage.advance(ms=250)
    repeated = stage.take_signals()
    stage.event(make_acknowledgement(signal_id), make_position_event("1"))

    assert stage.engine.halt_reason is not None
    assert [signal.signal_id for signal in repeated] == [signal_id]
    assert (stage.strategy.pending_signals(), stage.strategy.position(make_tick()).quantity) == (0, 1)


def test_engine_without_a_listener_counts_failures_all_the_same() -> None:
    """A backtest may not care to be told."""
    stage = Stage(Failing)
    stage.engine._on_failure = None

    stage.market(make_tick())

    assert stage.count("callbacks_failed") == 2
