"""Latency from tick to exchange acknowledgement: floor and pipeline by turns, so that both meet the same machine."""

from collections.abc import Callable, Sequence

import msgspec

from benchmarks import floor_order_path, pipeline_order_path
from benchmarks.bystanders import Bystanders
from benchmarks.machine import Machine, describe_machine
from benchmarks.results import (
    Check,
    Distribution,
    OrderPathRun,
    Target,
    Verdict,
    describe,
    find_ratios,
    give_verdict,
    merge,
    named,
)
from benchmarks.schedule import OrderPathPlan

TARGETS = {"p50": Target(must=1.5, aim=1.3), "p99": Target(must=2.0, aim=1.5)}


class LatencyRound(msgspec.Struct, frozen=True, kw_only=True):
    """Floor and pipeline, one after the other."""

    floor: Distribution
    pipeline: Distribution
    ratios: dict[str, float | None]
    checks: list[Check]


class LatencyReport(msgspec.Struct, frozen=True, kw_only=True):
    """A whole benchmark; what `--json` writes."""

    benchmark: str = "latency"
    machine: Machine
    foreign_cores: float | None  # that others kept busy meanwhile
    plan: OrderPathPlan
    is_batching: bool
    floor: Distribution  # over all rounds
    pipeline: Distribution
    ratios: dict[str, float | None]
    hops: dict[str, Distribution]  # of the pipeline; the warm-up is in the latter two
    verdicts: list[Verdict]
    rounds: list[LatencyRound]

    @property
    def is_sound(self) -> bool:
        """Tell whether all counts add up."""
        return all(check.is_met for each in self.rounds for check in each.checks)


def run(plan: OrderPathPlan, rounds: int, tell: Callable[[str], object], *, is_batching: bool) -> LatencyReport:
    """Measure floor and pipeline by turns; `tell` hears what is going on."""
    machine = describe_machine()
    floors: list[OrderPathRun] = []
    pipelines: list[OrderPathRun] = []
    with Bystanders() as bystanders:
        for number in range(1, rounds + 1):
            tell(f"round {number} of {rounds}: floor")
            floors.append(floor_order_path.measure(plan))
            tell(f"round {number} of {rounds}: pipeline")
            pipelines.append(pipeline_order_path.measure(plan, is_batching=is_batching))
    report = make_report(machine, plan, floors, pipelines, is_batching=is_batching)
    return msgspec.structs.replace(report, foreign_cores=bystanders.cores)


def make_report(
    machine: Machine,
    plan: OrderPathPlan,
    floors: Sequence[OrderPathRun],
    pipelines: Sequence[OrderPathRun],
    *,
    is_batching: bool,
) -> LatencyReport:
    """Put all rounds together."""
    floor, pipeline = (describe(merge(run.latency for run in runs)) for runs in (floors, pipelines))
    ratios = find_ratios(floor, pipeline)
    rounds = [_make_round(*pair) for pair in zip(floors, pipelines, strict=True)]
    return LatencyReport(
        machine=machine,
        foreign_cores=None,
        plan=plan,
        is_batching=is_batching,
        floor=floor,
        pipeline=pipeline,
        ratios=ratios,
        hops={
            name: describe(merge(run.hops[name] for run in pipelines if name in run.hops))
            for name in pipeline_order_path.HOPS
        },
        verdicts=[
            give_verdict(name, ratios[name], target, [each.ratios[name] for each in rounds])
            for name, target in TARGETS.items()
        ],
        rounds=rounds,
    )


def _make_round(floor_run: OrderPathRun, pipeline_run: OrderPathRun) -> LatencyRound:
    floor, pipeline = describe(floor_run.latency), describe(pipeline_run.latency)
    return LatencyRound(
        floor=floor,
        pipeline=pipeline,
        ratios=find_ratios(floor, pipeline),
        checks=[*named("floor", floor_run.checks), *named("pipeline", pipeline_run.checks)],
    )
