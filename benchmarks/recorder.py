"""What recording costs whoever trades: the pipeline's order path bare, with a strategy's tape, and beside a recorder.

By turns, so that all meet the same machine. Every tick that was published has to be in the log.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Literal

import msgspec

from benchmarks import pipeline_order_path
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

Side = Literal["bare", "tape", "recorder"]
SIDES: tuple[Side, ...] = ("bare", "tape", "recorder")
COMPARED: tuple[Side, ...] = ("tape", "recorder")  # with the first
TARGET = Target(must=1.05, aim=1.02)
JUDGED = ("p50", "p99")


class RecorderReport(msgspec.Struct, frozen=True, kw_only=True):
    """A whole benchmark; what `--json` writes."""

    benchmark: str = "recorder"
    machine: Machine
    foreign_cores: float | None  # that others kept busy meanwhile
    plan: OrderPathPlan
    is_batching: bool
    sides: dict[Side, Distribution]  # over all rounds
    ratios: dict[Side, dict[str, float | None]]  # to the bare pipeline
    recorder_cores: float | None  # that the recorder used, on average
    verdicts: list[Verdict]
    checks: list[list[Check]]  # of each round

    @property
    def is_sound(self) -> bool:
        """Tell whether all counts add up."""
        return all(check.is_met for checks in self.checks for check in checks)


def run(plan: OrderPathPlan, rounds: int, tell: Callable[[str], object], *, is_batching: bool) -> RecorderReport:
    """Measure all sides by turns; `tell` hears what is going on."""
    machine = describe_machine()
    runs: dict[Side, list[OrderPathRun]] = {side: [] for side in SIDES}
    with Bystanders() as bystanders:
        for number in range(1, rounds + 1):
            for side in SIDES:
                tell(f"round {number} of {rounds}: {side}")
                runs[side].append(
                    pipeline_order_path.measure(
                        plan, is_batching=is_batching, is_recorded=side == "recorder", is_taped=side == "tape"
                    )
                )
    report = make_report(machine, plan, runs, is_batching=is_batching)
    return msgspec.structs.replace(report, foreign_cores=bystanders.cores)


def make_report(
    machine: Machine, plan: OrderPathPlan, runs: Mapping[Side, Sequence[OrderPathRun]], *, is_batching: bool
) -> RecorderReport:
    """Put all rounds together."""
    sides = {side: describe(merge(run.latency for run in runs[side])) for side in SIDES}
    by_round = {side: [describe(run.latency) for run in runs[side]] for side in SIDES}
    ratios = {side: find_ratios(sides["bare"], sides[side]) for side in COMPARED}
    cores = [run.processors["recorder"].threads for run in runs["recorder"] if "recorder" in run.processors]
    return RecorderReport(
        machine=machine,
        foreign_cores=None,
        plan=plan,
        is_batching=is_batching,
        sides=sides,
        ratios=ratios,
        recorder_cores=round(fmean(cores), 3) if cores else None,
        verdicts=[
            give_verdict(
                f"{side} {name}",
                ratios[side][name],
                TARGET,
                [find_ratios(*pair)[name] for pair in zip(by_round["bare"], by_round[side], strict=True)],
            )
            for side in COMPARED
            for name in JUDGED
        ],
        checks=[
            [check for side in SIDES for check in named(side, runs[side][number].checks)]
            for number in range(len(runs["bare"]))
        ],
    )
