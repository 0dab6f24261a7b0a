"""Ticks/s from one gateway to one strategy: the floor and three ways through the pipeline, by turns."""

from collections.abc import Callable, Sequence
from statistics import median

import msgspec

from benchmarks import floor_broadcast, pipeline_broadcast
from benchmarks.bystanders import Bystanders
from benchmarks.machine import Machine, describe_machine
from benchmarks.pipeline_broadcast import VARIANTS
from benchmarks.results import BroadcastRun, Check, Target, Verdict, find_ratio, give_verdict, named
from benchmarks.schedule import BroadcastPlan

FLOOR = "floor"
RATIO_TARGET = Target(must=0.35, aim=0.50)  # of one message per tick to the floor
BATCHED_TARGET = Target(must=3e6, aim=5e6)  # ticks/s
# Batches are so fast that a million ticks would be over in the time of a few reports.
BATCHED_FACTOR = 4
WARM_UP_SHARE = 10  # the first tenth

Runs = dict[str, BroadcastRun]


class ThroughputReport(msgspec.Struct, frozen=True, kw_only=True):
    """A whole benchmark; what `--json` writes. Rates in ticks/s: the median of the rounds, and each round's."""

    benchmark: str = "throughput"
    machine: Machine
    foreign_cores: float | None  # that others kept busy meanwhile
    tick_count: int
    batched_tick_count: int
    rates: dict[str, float]
    rates_by_round: dict[str, list[float]]
    ratio: float | None  # of one message per tick to the floor
    verdicts: list[Verdict]
    checks: list[list[Check]]  # of each round

    @property
    def is_sound(self) -> bool:
        """Tell whether all counts add up."""
        return all(check.is_met for checks in self.checks for check in checks)


def make_plan(tick_count: int) -> BroadcastPlan:
    """A run of so many ticks, with a warm-up among them."""
    return BroadcastPlan(tick_count=tick_count, warm_up_ticks=max(1, tick_count // WARM_UP_SHARE))


def run(tick_count: int, rounds: int, tell: Callable[[str], object]) -> ThroughputReport:
    """Measure the floor and each variant by turns; `tell` hears what is going on."""
    machine = describe_machine()
    plan, batched_plan = make_plan(tick_count), make_plan(tick_count * BATCHED_FACTOR)
    by_round: list[Runs] = []
    with Bystanders() as bystanders:
        for number in range(1, rounds + 1):
            tell(f"round {number} of {rounds}")
            by_round.append(_run_round(plan, batched_plan, tell))
    report = make_report(machine, plan, batched_plan, by_round)
    return msgspec.structs.replace(report, foreign_cores=bystanders.cores)


def make_report(
    machine: Machine, plan: BroadcastPlan, batched_plan: BroadcastPlan, by_round: Sequence[Runs]
) -> ThroughputReport:
    """Put all rounds together."""
    rates_by_round = {side: [runs[side].rate for runs in by_round] for side in by_round[0]}
    rates = {side: median(side_rates) for side, side_rates in rates_by_round.items()}
    ratio = find_ratio(rates["single"], rates[FLOOR])
    ratios_by_round = [find_ratio(runs["single"].rate, runs[FLOOR].rate) for runs in by_round]
    return ThroughputReport(
        machine=machine,
        foreign_cores=None,
        tick_count=plan.tick_count,
        batched_tick_count=batched_plan.tick_count,
        rates=rates,
        rates_by_round=rates_by_round,
        ratio=ratio,
        verdicts=[
            give_verdict("one message per tick, of the floor", ratio, RATIO_TARGET, ratios_by_round),
            give_verdict("batches, ticks/s", rates["batched"], BATCHED_TARGET, rates_by_round["batched"]),
        ],
        checks=[[check for side, run in runs.items() for check in named(side, run.checks)] for runs in by_round],
    )


def _run_round(plan: BroadcastPlan, batched_plan: BroadcastPlan, tell: Callable[[str], object]) -> Runs:
    tell("  floor")
    runs: Runs = {FLOOR: floor_broadcast.measure(plan)}
    for variant in VARIANTS:
        tell(f"  pipeline, {variant}")
        runs[variant] = pipeline_broadcast.measure(batched_plan if variant == "batched" else plan, variant)
    return runs
