"""The pipeline's order path: the real processes, journals, ledger and checks on, from a tick to its order's answer.

A gateway with a synthetic feed, a strategy that orders on each n-th tick, the executor, the simulated venue with no
latency of its own. The executor measures: from when the tick was due to when the exchange's answer was read.
"""

from benchmarks.pipeline import PROBE, Pipeline
from benchmarks.processor_time import ProcessorTime, find_shares
from benchmarks.results import Check, OrderPathRun
from benchmarks.schedule import OrderPathPlan
from benchmarks.stage import Stage
from common.clock import NS_PER_S, SystemClock
from common.events.market import Tick, Ticks
from common.metrics import Latency
from common.store.address import open_store
from exchange.ledger_reading import read_ledger
from exchange.ledger_schema import LEDGER_NAME

TIMEOUT_S = 60.0
HOPS = ("tick_to_signal", "signal_to_executor", "executor_to_ack")


def measure(
    plan: OrderPathPlan, *, is_batching: bool, is_recorded: bool = False, is_taped: bool = True
) -> OrderPathRun:
    """Run the pipeline once; with a recorder, every tick has to be in its log."""
    with Stage() as stage:
        pipeline = Pipeline(stage)
        _configure(pipeline, plan, is_batching=is_batching, is_recorded=is_recorded, is_taped=is_taped)
        pipeline.start()
        shares = _broadcast(stage, pipeline, plan)
        # The gateway first and the exchange last, so that every order finds its end.
        pipeline.stop("gateway", "strategy", "executor", "exchange")
        latencies = _read_latencies(pipeline)
        latency = latencies.get("tick_to_ack", Latency())
        hops = {name: latencies[name] for name in HOPS if name in latencies}
        checks = _check(pipeline, plan, latency)
        if is_recorded:
            pipeline.stop("recorder")
            checks.append(Check("ticks in the log", plan.tick_count, _ticks_in_log(pipeline)))
        return OrderPathRun(latency, hops, checks, shares)


def _broadcast(stage: Stage, pipeline: Pipeline, plan: OrderPathPlan) -> dict[str, ProcessorTime]:
    """Let the feed run, and tell how busy each process was meanwhile."""
    before, began_ns = stage.processor_times(), SystemClock.monotonic_ns()
    pipeline.broadcast(plan.warm_up_s + plan.duration_s + TIMEOUT_S)
    return find_shares(before, stage.processor_times(), (SystemClock.monotonic_ns() - began_ns) / NS_PER_S)


def _ticks_in_log(pipeline: Pipeline) -> int:
    with open_store(f"jsonl:{pipeline.run_directory.path / 'store'}") as store:
        messages = (record.message for record in store.get_events())
        return sum(each.count if isinstance(each, Ticks) else isinstance(each, Tick) for each in messages)


def _configure(
    pipeline: Pipeline, plan: OrderPathPlan, *, is_batching: bool, is_recorded: bool, is_taped: bool
) -> None:
    synthetic = {"rate": plan.rate, "trade_share": 0.0, "tick_count_max": plan.tick_count}
    pipeline.configure(
        "OrderEvery",
        {"signal_every": plan.signal_every, "warm_up_ticks": plan.warm_up_ticks},
        {"batching": is_batching, "synthetic": synthetic},
        is_recorded=is_recorded,
        is_taped=is_taped,
        exchange={"simulated": {"order_entry_latency_us": 0, "response_latency_us": 0}},
    )


def _read_latencies(pipeline: Pipeline) -> dict[str, Latency]:
    report = pipeline.report("executor")
    latencies = {}
    for name, encoded in ({} if report is None else report.latencies).items():
        latencies[name] = Latency()
        latencies[name].merge(encoded)
    return latencies


def _check(pipeline: Pipeline, plan: OrderPathPlan, latency: Latency) -> list[Check]:
    gateway, strategy, executor = (pipeline.counters(name) for name in ("gateway", PROBE, "executor"))
    ledger = read_ledger(pipeline.run_directory.file("state", LEDGER_NAME))["summary"]
    published, emitted = gateway["ticks_published"], strategy["signals_emitted"]
    return [
        Check("ticks published", plan.tick_count, published),
        Check("ticks received", published, strategy["ticks_received"]),
        Check("ticks dropped", 0, strategy["ticks_dropped"]),
        Check("signals emitted", plan.signal_count, emitted),
        Check("signals acknowledged", emitted, strategy.get("signals_acknowledged", 0)),
        Check("orders accepted, executor", emitted, executor.get("orders_accepted", 0)),
        Check("orders accepted, ledger", emitted, ledger["accepted"]),
        Check("orders in the ledger", emitted, ledger["orders"]),
        Check("duplicate orders", 0, ledger["duplicate_orders"]),
        Check("latencies measured", plan.measured_count, latency.count),
    ]
