"""How long a halt takes: from a person's command to a quiet exchange."""

from collections.abc import Callable, Iterable

import msgspec

from benchmarks import pipeline_halt
from benchmarks.bystanders import Bystanders
from benchmarks.machine import Machine, describe_machine
from benchmarks.order_times import HaltOutcome
from benchmarks.pipeline_halt import HaltPlan, HaltRun
from benchmarks.results import Check, Distribution, Target, Verdict, describe, give_verdict
from common.clock import NS_PER_MS, NS_PER_US
from common.metrics import Latency

QUIET_TARGET = Target(must=50.0, aim=25.0)  # ms
HOPS: dict[str, Callable[[HaltOutcome], int]] = {
    "to_executor": lambda outcome: outcome.to_executor_ns,
    "to_last_order": lambda outcome: outcome.to_last_order_ns,
    "to_last_cancel": lambda outcome: outcome.to_last_cancel_ns,
    "to_answer": lambda outcome: outcome.to_answer_ns,
    "to_quiet": lambda outcome: outcome.to_quiet_ns,
}


class HaltReport(msgspec.Struct, frozen=True, kw_only=True):
    """A whole benchmark; what `--json` writes."""

    benchmark: str = "halt"
    machine: Machine
    foreign_cores: float | None  # that others kept busy meanwhile
    plan: HaltPlan
    hops: dict[str, Distribution]  # each from the command; `to_quiet` is the later of the last order and last cancel
    working_count: int  # orders that worked at the halts
    verdicts: list[Verdict]
    checks: list[Check]

    @property
    def is_sound(self) -> bool:
        """Tell whether all counts add up."""
        return all(check.is_met for check in self.checks)


def run(plan: HaltPlan, tell: Callable[[str], object]) -> HaltReport:
    """Measure all rounds; `tell` hears what is going on."""
    machine = describe_machine()
    with Bystanders() as bystanders:
        tell(f"{plan.rounds} halts under {plan.rate:,.0f} signals/s")
        measured = pipeline_halt.measure(plan)
    return make_report(machine, plan, measured, bystanders.cores)


def make_report(machine: Machine, plan: HaltPlan, measured: HaltRun, foreign_cores: float | None) -> HaltReport:
    """Put all rounds together."""
    latencies = {name: _latency(map(find, measured.outcomes)) for name, find in HOPS.items()}
    hops = {name: describe(latency) for name, latency in latencies.items()}
    quiet_us = hops["to_quiet"].us["p99"]
    quiet_ms = None if quiet_us is None else round(quiet_us * NS_PER_US / NS_PER_MS, 2)
    return HaltReport(
        machine=machine,
        foreign_cores=foreign_cores,
        plan=plan,
        hops=hops,
        working_count=sum(outcome.working_count for outcome in measured.outcomes),
        verdicts=[give_verdict("halt to quiet, p99, ms", quiet_ms, QUIET_TARGET, [])],
        checks=measured.checks,
    )


def _latency(durations_ns: Iterable[int]) -> Latency:
    latency = Latency()
    for duration_ns in durations_ns:
        latency.record(duration_ns)
    return latency
