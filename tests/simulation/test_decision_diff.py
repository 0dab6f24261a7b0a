"""Sessions full of faults, taped: every life of every strategy decides again as it did, byte for byte."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.backtest_builders import MessageSource
from support.strategy_builders import BTC, ETH
from support.synthetic_markets import make_synthetic_market

from backtest import pipeline
from backtest.plan import Plan, StrategyPlan
from chaos.faults import SCENARIOS
from chaos.histories import run_history
from chaos.processes import strategy as strategy_node
from chaos.processes.strategy import CONFIG, StrategyNode
from common.clock import NS_PER_S
from common.events.base import Message
from common.instruments import InstrumentTable
from common.log import get_log
from common.store.memory import MemoryStore
from strategy.config import StrategyConfig
from strategy.strategies.momentum import Momentum
from strategy.strategies.support_resistance import SupportResistance
from strategy.tape.diff import Diff, compare_tape
from strategy.tape.file import Tape, TapeFile, make_head, tape_path
from strategy.tape.notes import Reference, reference_of
from strategy.tape.taped_engine import TapedEngine

pytestmark = pytest.mark.unmeasured
SEEDS = range(2 * len(SCENARIOS))


class Session:
    """Every engine that is built while it lasts is taped, and every market message is in its log."""

    def __init__(self, folder: Path, config: StrategyConfig | None, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log = MemoryStore()
        self.tapes: list[TapeFile] = []
        self._recorded: set[Reference] = set()
        session = self

        class Taped(TapedEngine):
            """Begins its tape itself, because a world builds many."""

            def __init__(self, **arguments: Any) -> None:
                super().__init__(**arguments)
                head = make_head(self, config or arguments["config"], arguments["parameters"], 0)
                path = tape_path(folder, f"{self.name}_{len(session.tapes)}", self.epoch)
                self.tape = TapeFile(path, self, head, 1 << 30, get_log())
                session.tapes.append(self.tape)

            def on_market(self, message: Message, now_ns: int) -> None:
                session.record(message, now_ns)
                super().on_market(message, now_ns)

            def on_time(self, now_ns: int) -> None:
                super().on_time(now_ns)
                self.tape.write()

        class Untouched(StrategyNode):
            """The tape ends where a world reaches into the strategy from outside, to bring it to rest."""

            def rest(self) -> None:
                assert isinstance(self.engine, Taped)
                self.engine.tape.close()
                super().rest()

        monkeypatch.setattr(strategy_node, "Engine", Taped)
        monkeypatch.setattr("chaos.world.StrategyNode", Untouched)
        monkeypatch.setattr(pipeline, "Engine", Taped)

    def record(self, message: Message, now_ns: int) -> None:
        """Keep a message once, whoever takes it first."""
        reference = reference_of(message)
        if reference not in self._recorded:
            self._recorded.add(reference)
            self.log.append(message, now_ns)

    def diff(self, **given: object) -> list[Diff]:
        """Each tape through the code of its strategy."""
        diffs = []
        for file in self.tapes:
            file.close()
            tape = Tape(file._path)
            strategy_type = type(file._engine.strategy)
            diffs.append(compare_tape(tape, self.log, strategy_type, given))
        return diffs


def first_differences(diffs: list[Diff]) -> list[object]:
    """What a failure shows."""
    return [msgspec.to_builtins(found) for diff in diffs if (found := diff.comparison.difference) is not None]


@pytest.mark.parametrize("seed", SEEDS)
def test_strategies_decide_again_as_they_did_among_faults(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills, restarts with checkpoints, lost and repeated frames, amendments, cancels, outboxes that are full."""
    session = Session(tmp_path, CONFIG, monkeypatch)
    name = list(SCENARIOS)[seed % len(SCENARIOS)]

    result = run_history(name, seed)

    diffs = session.diff()
    assert first_differences(diffs) == [], result.command
    assert sum(diff.comparison.decisions for diff in diffs) > 20
    assert all(diff.comparison.decisions == diff.decisions_live for diff in diffs)


def test_changed_parameter_shows_among_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: no life that decided anything is still the same."""
    session = Session(tmp_path, CONFIG, monkeypatch)
    run_history("calm", 3)

    diffs = [diff for diff in session.diff(tick_count=13) if diff.decisions_live]

    assert diffs
    assert {diff.result for diff in diffs} == {"different"}


def test_strategies_that_come_with_tickpulse_decide_again_as_they_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules, indicators and their own memory included, over the whole simulated pipeline."""
    session = Session(tmp_path, None, monkeypatch)
    plan = Plan(
        instruments=InstrumentTable([BTC, ETH]),
        strategies={
            "momentum": StrategyPlan(strategy_type=Momentum, parameters=Momentum.Parameters()),
            "levels": StrategyPlan(strategy_type=SupportResistance, parameters=SupportResistance.Parameters()),
        },
    )
    market = make_synthetic_market([BTC, ETH], seed=7, duration_ns=3 * NS_PER_S)

    pipeline.Pipeline(plan, MessageSource(market)).run()

    diffs = session.diff()
    assert first_differences(diffs) == []
    assert all(diff.comparison.decisions == diff.decisions_live > 3 for diff in diffs)
