"""The backtest: ticks a second through a strategy that takes them singly, and through one that takes groups.

One thread, no store: what is measured is the loop with strategy, executor and venue in it. NautilusTrader does the work
of the first side where it is installed.
"""

import resource
from collections.abc import Callable, Iterator
from decimal import Decimal
from statistics import median

import msgspec
import numpy as np
import numpy.typing as npt

from backtest.config import BacktestConfig
from backtest.pipeline import Pipeline
from backtest.plan import Plan, StrategyPlan
from backtest.result import few_collections
from backtest.source import ArraySource
from benchmarks.backtest_peer import PEER, PeerRun, measure_peer
from benchmarks.machine import Machine, describe_machine
from benchmarks.results import Check
from common.clock import NS_PER_MS, NS_PER_S, SystemClock
from common.events.market import TICK_DTYPE, Tick
from common.instruments import Instrument, InstrumentTable, Listed
from strategy.base import Host, Strategy

SINGLY, IN_GROUPS = "on_tick", "on_ticks"
ORDER_EVERY = {SINGLY: 500, IN_GROUPS: 50_000}
TARGETS = {SINGLY: 300_000, IN_GROUPS: 3_000_000}
COUNT_FACTOR = {SINGLY: 1, IN_GROUPS: 5}  # so that both take about as long
GROUP_MS = 200
TICK_NS = NS_PER_MS
CHUNK = 65_536
START_NS = 1_700_000_000 * NS_PER_S
INSTRUMENT = Instrument(
    exchange="simulated",
    symbol="BTC/USDT",
    raw_symbol="BTCUSDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.00001"),
)


class SideReport(msgspec.Struct, frozen=True, kw_only=True):
    """One side: ticks a second of the clock's and of the processor's, which others do not slow; medians of rounds."""

    ticks: int
    order_every: int
    per_s: float
    per_cpu_s: float
    target: int | None


class BacktestReport(msgspec.Struct, frozen=True, kw_only=True):
    """A whole benchmark; what `--json` writes."""

    benchmark: str = "backtest"
    machine: Machine
    sides: dict[str, SideReport]
    skipped: dict[str, str]
    checks: list[list[Check]]

    @property
    def is_sound(self) -> bool:
        """Tell whether all counts add up."""
        return all(check.is_met for checks in self.checks for check in checks)


class _Every(msgspec.Struct, frozen=True):
    every: int


class Singly(Strategy):
    """A market order every so many ticks."""

    Parameters = _Every

    def __init__(self, host: Host, parameters: _Every) -> None:
        super().__init__(host, parameters)
        self._every = parameters.every
        self._seen = 0
        self._emitted = 0

    def on_tick(self, tick: Tick) -> None:
        """Count, and order when it is time."""
        self._seen += 1
        if not self._seen % self._every:
            self.order(tick)

    def order(self, listed: Listed) -> None:
        """Buy and sell by turns, so that the position stays small."""
        self._emitted += 1
        (self.buy if self._emitted % 2 else self.sell)(listed, 0.01)


class InGroups(Singly):
    """The same, by groups."""

    def on_ticks(self, instrument: Instrument, records: npt.NDArray[np.void]) -> None:
        """Count, and order when it is time."""
        self._seen += len(records)
        if self._seen // self._every > self._emitted:
            self.order(instrument)


def run(count: int, rounds: int, tell: Callable[[str], object]) -> BacktestReport:
    """Measure each side by turns; `tell` hears what is going on."""
    machine = describe_machine()
    runs: dict[str, list[PeerRun]] = {}
    skipped: dict[str, str] = {}
    checks: list[list[Check]] = []
    for number in range(1, rounds + 1):
        checks.append([])
        for side in (SINGLY, IN_GROUPS):
            tell(f"round {number} of {rounds}: {side}")
            found = measure(side, count * COUNT_FACTOR[side])
            runs.setdefault(side, []).append(found)
            checks[-1] += check(side, found, count * COUNT_FACTOR[side], ORDER_EVERY[side])
        tell(f"round {number} of {rounds}: {PEER}")
        theirs = measure_peer(make_records(0, count), ORDER_EVERY[SINGLY])
        if isinstance(theirs, str):
            skipped[PEER] = theirs
        else:
            runs.setdefault(PEER, []).append(theirs)
            checks[-1] += check(PEER, theirs, count, ORDER_EVERY[SINGLY])
    return BacktestReport(
        machine=machine,
        sides={side: _sum_up(side, found) for side, found in runs.items()},
        skipped=skipped,
        checks=checks,
    )


def measure(side: str, count: int) -> PeerRun:
    """One backtest of so many ticks."""
    strategy = Singly if side == SINGLY else InGroups
    plan = Plan(
        instruments=InstrumentTable([INSTRUMENT]),
        strategies={
            "bench": StrategyPlan(strategy_type=strategy, parameters=strategy.Parameters(ORDER_EVERY[side])),
        },
        backtest=BacktestConfig(group_ms=0 if side == SINGLY else GROUP_MS),
        sample_ns=60 * NS_PER_S,
    )
    source = ArraySource({INSTRUMENT.name: (INSTRUMENT, make_chunks(count))})
    pipeline = Pipeline(plan, source)
    used_s, begun_ns = processor_s(), SystemClock.monotonic_ns()
    with few_collections():
        counters = pipeline.run().counters
    elapsed_ns = SystemClock.monotonic_ns() - begun_ns
    return PeerRun(
        ticks=counters["strategy.bench"]["ticks_received"],
        orders=counters["executor"]["orders_accepted"],
        fills=counters["executor"]["fills"],
        elapsed_s=elapsed_ns / NS_PER_S,
        processor_s=processor_s() - used_s,
    )


def make_chunks(count: int) -> Iterator[npt.NDArray[np.void]]:
    """A market of any length in the memory of one chunk: the same walk again and again, later each time."""
    chunk = make_records(0, min(count, CHUNK))
    for start in range(0, count, CHUNK):
        part = chunk[: count - start].copy()
        for field in ("timestamp_ns", "local_timestamp_ns", "exchange_timestamp_ns"):
            part[field] += start * TICK_NS
        yield part


def make_records(first: int, count: int) -> npt.NDArray[np.void]:
    """A seeded walk, a tick each ms: shape (count,), dtype `TICK_DTYPE`."""
    generator = np.random.default_rng(7)
    records = np.zeros(count, dtype=TICK_DTYPE)
    times = START_NS + (first + np.arange(count)) * TICK_NS
    for field in ("timestamp_ns", "local_timestamp_ns", "exchange_timestamp_ns"):
        records[field] = times
    mids = 6_000_000 + np.cumsum(generator.integers(-2, 3, count))
    records["bid"], records["ask"], records["last"] = (mids - 1) / 100, (mids + 1) / 100, mids / 100
    records["bid_size"], records["ask_size"] = generator.integers(1, 50, (2, count)) / 10
    return records


def check(side: str, found: PeerRun, count: int, order_every: int) -> list[Check]:
    """Every tick was seen, and every order was placed and filled."""
    return [
        Check(f"{side}: ticks seen", count, found.ticks),
        Check(f"{side}: orders placed", count // order_every, found.orders),
        Check(f"{side}: orders filled", found.orders, found.fills),
    ]


def processor_s() -> float:
    """What this process has used of a processor, s."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _sum_up(side: str, runs: list[PeerRun]) -> SideReport:
    return SideReport(
        ticks=runs[0].ticks,
        order_every=ORDER_EVERY.get(side, ORDER_EVERY[SINGLY]),
        per_s=median(each.ticks / each.elapsed_s for each in runs),
        per_cpu_s=median(each.ticks / each.processor_s for each in runs),
        target=TARGETS.get(side),
    )
