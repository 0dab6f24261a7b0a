"""Results of benchmarks that nobody ran."""

from collections.abc import Iterable

from benchmarks import halt, latency, orders, throughput
from benchmarks.halt import HaltReport
from benchmarks.latency import LatencyReport
from benchmarks.machine import Machine
from benchmarks.order_times import Halt, HaltOutcome, Pace
from benchmarks.orders import OrdersReport
from benchmarks.pipeline_halt import HaltPlan, HaltRun
from benchmarks.pipeline_orders import OrdersRun
from benchmarks.processor_time import ProcessorTime
from benchmarks.results import BroadcastRun, Check, OrderPathRun
from benchmarks.schedule import OrderPathPlan
from benchmarks.throughput import ThroughputReport
from common.clock import NS_PER_MS, NS_PER_US
from common.metrics import Latency

MACHINE = Machine(
    time="2026-01-01T00:00:00+00:00",
    cpu="Test CPU",
    cores=2,
    load_average=0.01,
    system="Linux 6",
    python="3.11",
    pyzmq="27",
    libzmq="4.3",
    commit="0123456789ab",
)


def make_latency(values_us: Iterable[int]) -> Latency:
    """A distribution of these values."""
    made = Latency()
    for value_us in values_us:
        made.record(value_us * NS_PER_US)
    return made


def make_plan(
    *, rate: float = 1_000, duration_s: float = 10, warm_up_s: float = 2, signal_every: int = 100
) -> OrderPathPlan:
    """A small plan."""
    return OrderPathPlan(rate=rate, duration_s=duration_s, warm_up_s=warm_up_s, signal_every=signal_every)


def make_order_path_run(factor: int = 1, check: Check | None = None) -> OrderPathRun:
    """A run with latencies of 100 to 199 µs times a factor."""
    values = make_latency(factor * each for each in range(100, 200))
    return OrderPathRun(values, {"tick_to_signal": values}, [check or Check("ticks published", 100, 100)])


def make_latency_report(
    *, factors: Iterable[int] = (2, 3), floor_check: Check | None = None, is_batching: bool = True
) -> LatencyReport:
    """A report with one round for each factor between floor and pipeline."""
    factors = list(factors)
    return latency.make_report(
        MACHINE,
        make_plan(),
        [make_order_path_run(check=floor_check) for _ in factors],
        [make_order_path_run(factor) for factor in factors],
        is_batching=is_batching,
    )


def make_throughput_report(
    *, floor_rates: Iterable[float] = (1.0e6, 1.2e6, 1.1e6), single_rate: float = 0.5e6
) -> ThroughputReport:
    """A report with one round for each rate of the floor."""
    checks = [Check("ticks received", 10, 10)]
    rates = {"single": single_rate, "unpacked": 1.5e6, "batched": 6.0e6}
    by_round = [
        {side: BroadcastRun(rate, checks) for side, rate in {"floor": floor_rate, **rates}.items()}
        for floor_rate in floor_rates
    ]
    return throughput.make_report(MACHINE, throughput.make_plan(1_000_000), throughput.make_plan(4_000_000), by_round)


def make_orders_report(
    *, accepted_per_s: float = 1_000, share: float = 0.25, check: Check | None = None
) -> OrdersReport:
    """A report of 10 s of 1,000 signals/s, 10,000 of which became orders in all."""
    values = make_latency(range(100, 200))
    run = OrdersRun(
        pace=Pace(per_s=accepted_per_s, per_s_min=900, backlog=1),
        from_due=values,
        from_emitted=values,
        shares={"executor": ProcessorTime(share, 2 * share)},
        accepted_count=10_000,
        refused_count=0,
        unsent_count=0,
        elapsed_s=10,
        checks=[check or Check("signals lost", 0, 0)],
    )
    return orders.make_report(MACHINE, [(orders.make_plan(1_000, 10, 2), run)], 0.1)


def make_halt(start_ns: int, *, sent_ms: int, halted_ms: int, answered_ms: int, resumed_ms: int) -> Halt:
    """A halt, in ms after the start."""
    sent_ns, halted_ns, answered_ns, resumed_ns = (
        start_ns + each * NS_PER_MS for each in (sent_ms, halted_ms, answered_ms, resumed_ms)
    )
    return Halt(sent_ns=sent_ns, halted_ns=halted_ns, answered_ns=answered_ns, resumed_ns=resumed_ns)


def make_halt_report(*, quiet_ms: Iterable[int]) -> HaltReport:
    """A report of halts of ten orders, each with its last cancel so many ms after the command."""
    outcomes = [
        HaltOutcome(
            to_executor_ns=NS_PER_MS,
            to_last_order_ns=0,
            to_last_cancel_ns=each * NS_PER_MS,
            to_answer_ns=2 * NS_PER_MS,
            working_count=10,
            left_count=0,
            late_count=0,
        )
        for each in quiet_ms
    ]
    plan = HaltPlan(rate=500, rounds=len(outcomes), resting_count=10)
    return halt.make_report(MACHINE, plan, HaltRun(outcomes, [Check("orders left", 0, 0)]), 0.1)
