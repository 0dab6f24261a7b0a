"""What is to be run, and what came of it."""

from typing import Any

import msgspec

from backtest.config import BacktestConfig
from common.clock import NS_PER_S
from common.instruments import InstrumentTable
from exchange.simulated.config import SimulatedVenueConfig
from executor.config import ExecutorConfig
from strategy.base import Strategy
from strategy.config import StrategyConfig


class StrategyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy: its code, its config, its parameters, typed."""

    strategy_type: type[Strategy]
    parameters: Any
    config: StrategyConfig = StrategyConfig()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides a result, but the market."""

    instruments: InstrumentTable
    strategies: dict[str, StrategyPlan]
    executor: ExecutorConfig = ExecutorConfig()
    venue: SimulatedVenueConfig = msgspec.field(default_factory=SimulatedVenueConfig)
    backtest: BacktestConfig = msgspec.field(default_factory=BacktestConfig)
    sample_ns: int = NS_PER_S  # between two samples of prices, from which equity is drawn
    is_flattened: bool = False  # close what is held at the end, by market orders
    is_exhaustive: bool = False  # show the venue every tick: slow, and the same result

    @property
    def takes_groups(self) -> bool:
        """Tell whether a strategy takes ticks in groups."""
        return any(each.strategy_type.on_ticks is not Strategy.on_ticks for each in self.strategies.values())


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted. Fills and samples are in the recording."""

    result_hash: str
    ticks: int
    counters: dict[str, dict[str, int]]
    failures: list[str]
    halts: dict[str, str]
    alarms: list[str]
