"""From options and config to a plan and a source; and one backtest from its wish to its end."""

import re
from typing import Any

import msgspec

from backtest.config import BacktestConfig
from backtest.pipeline import Progress
from backtest.plan import Plan, StrategyPlan
from backtest.result import Finished, run_backtest
from backtest.source import open_source, select_instruments
from common.clock import NS_PER_MS, NS_PER_S, SystemClock
from common.config import Config
from common.errors import ConfigError, TickpulseError
from common.events.market import Ticks
from common.events.registry import type_name
from common.ids import check_name
from common.store.address import open_store
from common.store.config import StoreConfig
from common.store.contract import Stats, Store
from common.store.selection import TIME_NS_MAX, TIME_NS_MIN, Selection
from common.store.times import format_time_ns
from exchange.config import ExchangeConfig
from executor.config import ExecutorConfig
from strategy.config import StrategyConfig, StrategyConfigs
from strategy.loader import load_parameters, load_strategy

SAMPLE_STEPS_NS = (
    *(step * NS_PER_MS for step in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(step * NS_PER_S for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 14_400, 86_400)),
)


class EmptyRangeError(TickpulseError):
    """The store has no tick of these instruments in this range."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, in the words of the command; it travels to the worker of a sweep as it is."""

    config: Any  # common.config.Config
    strategy: str
    store: str
    from_ns: int = TIME_NS_MIN
    to_ns: int = TIME_NS_MAX
    parameters: dict[str, Any] = {}
    is_flattened: bool = False


def run_wish(wish: Wish, on_progress: Progress | None = None) -> Finished:
    """Run one backtest of a store.

    Raises:
        ConfigError: Strategy, parameter, config or store are not as they should be.
        EmptyRangeError: There is nothing to run on.
    """
    plan = make_plan(wish)
    [strategy] = plan.strategies.values()
    with open_store(wish.store, wish.config.section("store", StoreConfig)) as store:
        stats = store.stats()
        plan = msgspec.structs.replace(plan, sample_ns=choose_sample_ns(wish, stats, plan.backtest.samples_max))
        return run_on_store(wish, plan, store, stats, strategy, on_progress)


def run_on_store(
    wish: Wish, plan: Plan, store: Store, stats: Stats, strategy: StrategyPlan, on_progress: Progress | None = None
) -> Finished:
    """Run on a store that is open.

    Raises:
        EmptyRangeError: As of `run_wish`.
    """
    selection = Selection(from_ns=wish.from_ns, to_ns=wish.to_ns)
    # Groups stay together for who takes groups as they were recorded; and ticks of groups were there when those were.
    has_groups = type_name(Ticks) in stats.types and not (plan.takes_groups and plan.backtest.group_ms)
    source = open_source(store, selection, plan.instruments, strategy.config.instruments, keeps_groups=has_groups)
    finished = run_backtest(plan, source, SystemClock(), data=wish.store, on_progress=on_progress)
    if not finished.result.outcome.ticks:
        raise EmptyRangeError(describe_emptiness(wish, plan, stats))
    return finished


def make_plan(wish: Wish) -> Plan:
    """The processes as their config says, and one strategy.

    Raises:
        ConfigError: As of `run_wish`.
    """
    config: Config = wish.config
    name = strategy_name(wish.strategy)
    section = config.section("strategy", StrategyConfigs).get(name, StrategyConfig())
    strategy_type = load_strategy(wish.strategy if ":" in wish.strategy else section.strategy or wish.strategy)
    parameters = load_parameters(strategy_type, section.parameters | wish.parameters)
    table = config.instruments()
    if not select_instruments(table, section.instruments):
        known = ", ".join(entry.name for entry in table) or "none"
        patterns = ", ".join(section.instruments)
        raise ConfigError(f"strategy {name}: no instrument of the table matches {patterns}; known: {known}")
    return Plan(
        instruments=table,
        strategies={name: StrategyPlan(strategy_type=strategy_type, parameters=parameters, config=section)},
        executor=config.section("executor", ExecutorConfig),
        venue=config.section("exchange", ExchangeConfig).simulated,
        backtest=config.section("backtest", BacktestConfig),
        is_flattened=wish.is_flattened,
    )


def strategy_name(reference: str) -> str:
    """The name that a strategy's ids begin with: its own, or its class's in lower case.

    Raises:
        ConfigError: It cannot be part of an id.
    """
    _, colon, class_name = reference.partition(":")
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower() if colon else reference
    try:
        return check_name(name, "strategy name")
    except ValueError as error:
        raise ConfigError(str(error)) from error


def choose_sample_ns(wish: Wish, stats: Stats, samples_max: int) -> int:
    """An even step between samples, so that the range has no more than it may."""
    first_ns = max(wish.from_ns, stats.first_ns or 0)
    last_ns = min(wish.to_ns, stats.last_ns or 0)
    least = max(0, last_ns - first_ns) // samples_max
    return next((step for step in SAMPLE_STEPS_NS if step >= least), max(least, SAMPLE_STEPS_NS[-1]))


def describe_emptiness(wish: Wish, plan: Plan, stats: Stats) -> str:
    """Say what was looked for, and what is there."""
    names = ", ".join(entry.name for entry in plan.instruments)
    wanted = [
        *([f"from {format_time_ns(wish.from_ns)}"] if wish.from_ns != TIME_NS_MIN else []),
        *([f"to {format_time_ns(wish.to_ns)}"] if wish.to_ns != TIME_NS_MAX else []),
    ]
    if stats.first_ns is None or stats.last_ns is None:
        there = "it is empty"
    else:
        types = ", ".join(f"{count} {name}" for name, count in sorted(stats.types.items()))
        there = f"it has {types}, from {format_time_ns(stats.first_ns)} to {format_time_ns(stats.last_ns)}"
    return f"store {wish.store}: no tick of {names} {' '.join(wanted)}".rstrip() + f"; {there}"
