"""The pipeline's broadcast: the real gateway to `on_tick` or `on_ticks` of a real strategy, as fast as they go.

Only these two processes run while it is measured, as in the floor: executor and exchange are there until the strategy
knows where it stands, and are then stopped in order.
"""

from typing import Literal

import msgspec

from benchmarks.pipeline import PROBE, Pipeline
from benchmarks.probe import Arrivals
from benchmarks.results import BroadcastRun, Check
from benchmarks.schedule import BroadcastPlan
from benchmarks.stage import Stage

TIMEOUT_S = 120.0
# How ticks travel and arrive: the gateway's batching, and the callback of the strategy.
Variant = Literal["single", "unpacked", "batched"]
VARIANTS: dict[Variant, tuple[bool, str]] = {
    "single": (False, "CountTicks"),  # one message and one call for each tick
    "unpacked": (True, "CountTicks"),  # batches, taken apart into one call for each tick
    "batched": (True, "CountBatches"),  # batches, one call for each
}


def measure(plan: BroadcastPlan, variant: Variant) -> BroadcastRun:
    """Run the pipeline once."""
    with Stage() as stage:
        pipeline = Pipeline(stage)
        _configure(pipeline, plan, variant)
        pipeline.start()
        pipeline.stop("executor", "exchange")
        pipeline.broadcast(TIMEOUT_S)
        pipeline.stop("gateway", "strategy")
        arrivals = msgspec.json.decode(pipeline.result_path.read_bytes(), type=Arrivals)
        return BroadcastRun.timed(arrivals.timed_count, arrivals.elapsed_ns, _check(pipeline, plan, arrivals))


def _configure(pipeline: Pipeline, plan: BroadcastPlan, variant: Variant) -> None:
    is_batching, probe = VARIANTS[variant]
    parameters = {
        "tick_count": plan.tick_count,
        "warm_up_ticks": plan.warm_up_ticks,
        "result_path": str(pipeline.result_path),
    }
    synthetic = {"rate": 0.0, "trade_share": 0.0, "tick_count_max": plan.tick_count}
    gateway = {"batching": is_batching, "synthetic": synthetic}
    # The faster end would overrun any queue: without a limit, as in the floor, nothing is dropped.
    pipeline.configure(probe, parameters, gateway, sockets={"queue_messages_max": 0})


def _check(pipeline: Pipeline, plan: BroadcastPlan, arrivals: Arrivals) -> list[Check]:
    gateway, strategy = pipeline.counters("gateway"), pipeline.counters(PROBE)
    return [
        Check("ticks published", plan.tick_count, gateway["ticks_published"]),
        Check("ticks received", gateway["ticks_published"], strategy["ticks_received"]),
        Check("ticks dropped", 0, strategy["ticks_dropped"]),
        Check("ticks seen by the strategy", gateway["ticks_published"], arrivals.count),
    ]
