"""Orders as fast as a schedule says: the real processes, with journal, ledger, outbox and every risk limit on.

Each tick of the feed is a signal and each signal an order: of another quantity, limit IOC at the price shown, so that
the venue fills it and executions and positions are part of the load.
"""

from dataclasses import dataclass
from typing import Any

from benchmarks.order_records import JournalRecords, LedgerRecords, read_journal_records, read_ledger_records
from benchmarks.order_times import Pace, Window, find_latencies, find_pace
from benchmarks.pipeline import PROBE, Pipeline
from benchmarks.processor_time import ProcessorTime, find_shares
from benchmarks.results import Check
from benchmarks.schedule import OrderPathPlan
from benchmarks.stage import Stage
from common.clock import NS_PER_S, SystemClock
from common.metrics import Latency

TIMEOUT_S = 60.0
_PLENTY = "1000000000000"
_SCOPE_LIMITS: dict[str, Any] = {
    "order_notional_max": _PLENTY,
    "gross_notional_max": _PLENTY,
    "net_notional_max": _PLENTY,
    "open_orders_max": 1_000_000,
    "orders_per_second_max": 1_000_000,
    "daily_loss_max": _PLENTY,
    "drawdown_max": _PLENTY,
    "loss_streak_max": 1_000_000_000,
}
# On, but never reached: a refusal would be less work than an order.
EVERY_LIMIT: dict[str, Any] = {
    **_SCOPE_LIMITS,
    "position_notional_max": _PLENTY,
    "price_collar": "0.05",
    "duplicate_window_ms": 500,
    "prevents_self_trade": True,
    "requires_balance": True,
    "margin_rate": "0.1",
    "each_strategy": _SCOPE_LIMITS,
    "symbols": {"simulated.BTC/USDT": {"order_quantity_max": "1000000", "position_quantity_max": "1000000"}},
}
BALANCES = {"USDT": "1000000000", "BTC": "1000000"}


@dataclass(frozen=True)
class OrdersRun:
    """One run at one rate."""

    pace: Pace
    from_due: Latency
    from_emitted: Latency
    shares: dict[str, ProcessorTime]  # of a core, in the window and the warm-up
    accepted_count: int
    refused_count: int  # by the executor or the exchange
    unsent_count: int  # signals that the strategy could not emit, because too many waited for their end
    elapsed_s: float
    checks: list[Check]


def measure(plan: OrderPathPlan) -> OrdersRun:
    """Run the pipeline once."""
    with Stage() as stage:
        pipeline = Pipeline(stage)
        configure(pipeline, plan.rate, tick_count_max=plan.tick_count)
        pipeline.start()
        before, started_ns = stage.processor_times(), SystemClock.monotonic_ns()
        pipeline.broadcast(plan.warm_up_s + plan.duration_s + TIMEOUT_S)
        elapsed_s = (SystemClock.monotonic_ns() - started_ns) / NS_PER_S
        shares = find_shares(before, stage.processor_times(), elapsed_s)
        pipeline.wait_for_acknowledgements(TIMEOUT_S)
        pipeline.stop("gateway", "strategy", "executor", "exchange")
        return _evaluate(pipeline, plan, shares, elapsed_s)


def configure(pipeline: Pipeline, rate: float, *, tick_count_max: int, resting_count: int = 0) -> None:
    """Every limit on, and room for what a pipeline that is too slow leaves waiting."""
    pipeline.configure(
        "OrderFlow",
        {"resting_count": resting_count},
        {"synthetic": {"rate": rate, "trade_share": 0.0, "tick_count_max": tick_count_max}},
        executor={"risk": EVERY_LIMIT},
        exchange={"simulated": {"order_entry_latency_us": 0, "response_latency_us": 0, "balances": BALANCES}},
    )


def check_ends(pipeline: Pipeline, journal: JournalRecords, ledger: LedgerRecords) -> list[Check]:
    """What holds for every signal, however fast it was: one end, and one order at most."""
    strategy, accepted_count = pipeline.counters(PROBE), journal.accepted_count
    emitted = strategy["signals_emitted"]
    return [
        Check("signals acknowledged", emitted, strategy.get("signals_acknowledged", 0)),
        Check("signals lost", 0, strategy.get("signals_pending", 0)),
        Check("signals with one end, journal", emitted, accepted_count + journal.refused_count),
        Check("signals accepted, strategy", accepted_count, strategy.get("signals_accepted", 0)),
        Check("orders accepted, ledger", accepted_count, ledger.summary["accepted"]),
        Check("duplicate orders", 0, ledger.summary["duplicate_orders"]),
    ]


def _evaluate(pipeline: Pipeline, plan: OrderPathPlan, shares: dict[str, ProcessorTime], elapsed_s: float) -> OrdersRun:
    journal, ledger = read_journal_records(pipeline.run_directory), read_ledger_records(pipeline.run_directory)
    strategy = pipeline.counters(PROBE)
    unsent_count = strategy.get("signals_refused_full", 0)
    first_ns = min((signal.due_ns for signal in journal.signals), default=0)
    start_ns = first_ns + round(plan.warm_up_s * NS_PER_S)
    window = Window(start_ns=start_ns, end_ns=start_ns + round(plan.duration_s * NS_PER_S))
    from_due, from_emitted = find_latencies(journal.signals, window)
    return OrdersRun(
        pace=find_pace(journal.signals, window),
        from_due=from_due,
        from_emitted=from_emitted,
        shares=shares,
        accepted_count=journal.accepted_count,
        refused_count=journal.refused_count,
        unsent_count=unsent_count,
        elapsed_s=round(elapsed_s, 3),
        checks=[
            Check("signals emitted or held back", plan.tick_count, strategy["signals_emitted"] + unsent_count),
            *check_ends(pipeline, journal, ledger),
        ],
    )
