"""`@rule` in a strategy: run by the engine that hosts strategies live, and over its restart."""

import runpy
from pathlib import Path

import pytest
from support.engine_builders import EPOCH, Stage, make_batch, make_position_event
from support.rule_builders import tick

from chaos.memory_outbox_store import MemoryOutboxStore
from common.events.market import Tick
from common.rules import Window, last, rule
from common.rules.measures import mid_price
from examples.rules import Ruled
from strategy.base import Strategy


def ticks(*mids: float, seq: int = 1, spread: float = 0.02) -> list[Tick]:
    """One tick after another, a hundredth of a second apart."""
    return [tick(mid, (seq + n) / 100, spread=spread, seq=seq + n, epoch=EPOCH) for n, mid in enumerate(mids)]


RISE = (100, 101, 102, 103, 104)


def test_example_buys_a_run_and_sells_on_a_run_down() -> None:
    """A shipped rule tells, a method that is a rule acts; both see the ticks of batches too."""
    stage = Stage(Ruled)

    stage.market(*ticks(*RISE))
    (bought,) = stage.take_signals()
    stage.event(make_position_event("0.9"))
    stage.engine.outbox.acknowledge(bought.signal_id)
    stage.engine.portfolio.on_signal_end(bought.signal_id)
    stage.market(make_batch(*ticks(103, 102, 101, 100, seq=6)))
    (sold,) = [signal for signal in stage.take_signals() if signal.signal_id != bought.signal_id]

    assert (bought.action, float(bought.quantity), bought.reduce_only) == (
        "buy",
        pytest.approx(100 / 104, abs=1e-5),
        False,
    )
    assert (sold.action, str(sold.quantity), sold.reduce_only) == ("sell", "0.9", True)
    assert stage.failures == []


def test_example_does_not_buy_while_the_spread_is_wide() -> None:
    """Two rules, one decision."""
    stage = Stage(Ruled)

    stage.market(*ticks(*RISE[:-1]), *ticks(RISE[-1], seq=5, spread=1.0))

    assert stage.take_signals() == []


def test_run_that_a_restart_interrupts_goes_on() -> None:
    """Its first half is in the checkpoint, its second half comes to the next life."""
    store = MemoryOutboxStore()
    first = Stage(Ruled, store=store)
    first.market(*ticks(*RISE[:3]))
    first.engine.stop(first.now_ns)

    second = Stage(Ruled, store=store, epoch=EPOCH + 1)
    second.market(*ticks(*RISE[3:], seq=4))

    assert [signal.action for signal in second.take_signals()] == ["buy"]


class Failing(Strategy):
    """One of its rules fails, the other one buys."""

    def on_tick(self, tick: Tick) -> None:
        self.rules.feed(tick)

    @rule(on=Tick)
    def broken(self, tick: Tick) -> None:
        raise RuntimeError("no luck")

    @rule(on=Tick, mid=last(1, of=mid_price))
    def buying(self, tick: Tick, mid: Window) -> None:
        self.buy(tick, mid.last / 1_000)


def test_rule_that_fails_is_told_like_a_callback_and_disabled_alone() -> None:
    """Before its failures would halt the strategy."""
    stage = Stage(Failing)

    stage.market(*ticks(*range(100, 108)))

    assert [name for name, _ in stage.failures] == ["broken"] * 5
    assert stage.count("callbacks_failed") == 5
    assert stage.engine.halt_reason is None
    assert len(stage.take_signals()) == 8
    assert "no luck" in stage.strategy.rules.disabled["broken"]


def test_rules_of_two_strategies_of_one_class_are_apart() -> None:
    """They are bound to their strategy, not to its class."""
    one, other = Stage(Failing), Stage(Failing)

    one.market(*ticks(100))

    assert (len(one.take_signals()), len(other.take_signals())) == (1, 0)


def test_rule_of_a_base_class_may_be_overridden() -> None:
    """As any method may."""

    class Mended(Failing):
        @rule(on=Tick)
        def broken(self, tick: Tick) -> None:
            """Works now."""

    stage = Stage(Mended)

    stage.market(*ticks(100))

    assert stage.failures == []
    assert len(stage.take_signals()) == 1


def test_example_shows_its_rules_in_a_plain_loop(capsys: pytest.CaptureFixture[str]) -> None:
    """As a worker feeds them: no process, no socket, no loop of an event library."""
    runpy.run_path(str(Path(__file__).parents[3] / "examples" / "rules.py"), run_name="__main__")

    shown = capsys.readouterr().out
    assert shown.count("rule='momentum_rising'") == 5
    assert shown.count("rule='wide'") == 1
    assert shown.count("rule='silent'") == 1
