"""A backtest as a whole: run it, measure it, and what `--json` writes of it."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import msgspec

from backtest.performance import Curve, Statistics, measure
from backtest.pipeline import Pipeline, Progress
from backtest.plan import Outcome, Plan
from backtest.recording import Recording
from backtest.source import Source
from common.clock import NS_PER_S, Clock
from common.store.times import format_time_ns


class Assumptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the result depends on besides the market: latencies as text, fees as shares of the notional."""

    latencies: dict[str, str]
    order_entry_latency_us: int
    response_latency_us: int
    maker_fee_rate: Decimal
    taker_fee_rate: Decimal
    group_ms: int
    seed: int
    is_flattened: bool


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One backtest; what `--json` writes. `elapsed_s` and `ticks_per_s` are of this machine, the rest is repeatable."""

    strategy: str
    parameters: dict[str, Any]
    instruments: list[str]
    data: str
    first: str | None
    last: str | None
    statistics: Statistics
    outcome: Outcome
    assumptions: Assumptions
    elapsed_s: float
    ticks_per_s: float

    @property
    def is_sound(self) -> bool:
        """Tell whether the strategy ran through: none of its callbacks raised and nothing stopped its trading."""
        return not (self.outcome.failures or self.outcome.halts)


class Finished(msgspec.Struct, frozen=True):
    """A result with what its report is drawn from."""

    result: Result
    recording: Recording
    curve: Curve


def run_backtest(
    plan: Plan, source: Source, clock: Clock, *, data: str, on_progress: Progress | None = None
) -> Finished:
    """Run and measure; `data` says where the market came from."""
    begun_ns = clock.monotonic_ns()
    pipeline = Pipeline(plan, source, on_progress)
    with few_collections():
        outcome = pipeline.run()
    elapsed_s = (clock.monotonic_ns() - begun_ns) / NS_PER_S
    statistics, curve = measure(pipeline.recording, plan.backtest.starting_equity)
    [(name, strategy)] = list(plan.strategies.items())[:1]
    result = Result(
        strategy=name,
        parameters=msgspec.to_builtins(strategy.parameters),
        instruments=[entry.name for entry in plan.instruments if pipeline.recording.has_market(entry.name)],
        data=data,
        first=format_time_ns(int(curve.times[0])) if len(curve.times) else None,
        last=format_time_ns(int(curve.times[-1])) if len(curve.times) else None,
        statistics=statistics,
        outcome=outcome,
        assumptions=_assumptions(plan),
        elapsed_s=elapsed_s,
        ticks_per_s=outcome.ticks / elapsed_s if elapsed_s else 0.0,
    )
    return Finished(result, pipeline.recording, curve)


def _assumptions(plan: Plan) -> Assumptions:
    return Assumptions(
        latencies={name: str(span) for name, span in plan.backtest.latency_us.spans().items()},
        order_entry_latency_us=plan.venue.order_entry_latency_us,
        response_latency_us=plan.venue.response_latency_us,
        maker_fee_rate=plan.venue.maker_fee_rate,
        taker_fee_rate=plan.venue.taker_fee_rate,
        group_ms=plan.backtest.group_ms,
        seed=plan.backtest.seed,
        is_flattened=plan.is_flattened,
    )


@contextmanager
def few_collections() -> Iterator[None]:
    """Ticks by the million refer to nothing, and looking at them for cycles takes a third of the time."""
    thresholds = gc.get_threshold()
    gc.set_threshold(1_000_000, 50, 1_000)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
