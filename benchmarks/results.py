"""What was measured, what it is compared with, and whether it adds up. Pure: numbers in, numbers out."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

import msgspec

from benchmarks.processor_time import ProcessorTime
from common.clock import NS_PER_S, NS_PER_US
from common.metrics import PERCENTILES, Latency

CURVE_POINTS = 120


class Check(msgspec.Struct, frozen=True):
    """A count that must be what it is expected to be, or the numbers beside it mean nothing."""

    name: str
    expected: int
    actual: int

    @property
    def is_met(self) -> bool:
        """Tell whether it adds up."""
        return self.expected == self.actual


@dataclass(frozen=True)
class OrderPathRun:
    """One run from tick to acknowledgement: the whole way, its parts where they are known, and the counts."""

    latency: Latency
    hops: dict[str, Latency]
    checks: list[Check]
    processors: dict[str, ProcessorTime] = field(default_factory=dict)  # the share of a core of each process


@dataclass(frozen=True)
class BroadcastRun:
    """One run of ticks as fast as they go."""

    rate: float  # ticks/s after the warm-up
    checks: list[Check]

    @classmethod
    def timed(cls, count: int, elapsed_ns: int, checks: list[Check]) -> Self:
        """A run of so many ticks in this time; rate 0 when the last one never came."""
        return cls(count * NS_PER_S / elapsed_ns if elapsed_ns else 0.0, checks)


class Distribution(msgspec.Struct, frozen=True):
    """A latency in µs: its usual percentiles and maximum, and the curve through all of them.

    `curve`: (percentile, µs), from the median on, evenly spaced in nines.
    """

    count: int
    us: dict[str, float | None]
    curve: list[tuple[float, float]]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What a number must reach, and what we aim at."""

    must: float
    aim: float

    def judge(self, value: float | None) -> str:
        """Say in words how a number stands. Where the aim is above the must, more is better."""
        if value is None:
            return "not measured"
        sign = 1 if self.aim >= self.must else -1
        if sign * value >= sign * self.aim:
            return "aim met"
        return "must met, aim missed" if sign * value >= sign * self.must else "must missed"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A number beside its target."""

    name: str
    value: float | None
    target: Target
    judgement: str
    by_round: list[float] = []  # how much of it is noise


def give_verdict(name: str, value: float | None, target: Target, by_round: Sequence[float | None]) -> Verdict:
    """Judge a number."""
    return Verdict(
        name=name,
        value=value,
        target=target,
        judgement=target.judge(value),
        by_round=[each for each in by_round if each is not None],
    )


def merge(latencies: Iterable[Latency]) -> Latency:
    """All durations of several distributions in one."""
    merged = Latency()
    for latency in latencies:
        if latency.count:
            merged.merge(latency.encode())
    return merged


def describe(latency: Latency) -> Distribution:
    """A distribution as it is shown and kept."""
    points = curve_percentiles(latency.count)
    curve = [(round(point, 5), round(latency.value_ns_at(point) / NS_PER_US, 1)) for point in points]
    return Distribution(latency.count, latency.summary_us(), curve)


def curve_percentiles(count: int) -> list[float]:
    """Percentiles from 50 up to the last that so many values can tell apart, evenly spaced in nines."""
    if count < 2:
        return []
    first, last = math.log10(2), math.log10(count)
    step = (last - first) / (CURVE_POINTS - 1)
    return [100 * (1 - 10 ** -(first + index * step)) for index in range(CURVE_POINTS)]


def find_ratios(floor: Distribution, pipeline: Distribution) -> dict[str, float | None]:
    """How many times the floor's latency the pipeline's is, per percentile and for the maximum."""
    return {name: find_ratio(pipeline.us[name], floor.us[name]) for name in [*PERCENTILES, "max"]}


def find_ratio(value: float | None, base: float | None) -> float | None:
    """One number over another; None where there is nothing to divide."""
    return round(value / base, 3) if value is not None and base else None


def named(side: str, checks: Iterable[Check]) -> list[Check]:
    """Checks with the side that they belong to in their name."""
    return [Check(f"{side}: {check.name}", check.expected, check.actual) for check in checks]


def sum_up(rounds: Iterable[Iterable[Check]]) -> list[tuple[Check, bool]]:
    """The checks of all rounds by name, summed, each with whether it was met in every single round."""
    sums: dict[str, Check] = {}
    is_met: defaultdict[str, bool] = defaultdict(lambda: True)
    for check in (check for checks in rounds for check in checks):
        sum_before = sums.get(check.name, Check(check.name, 0, 0))
        sums[check.name] = Check(check.name, sum_before.expected + check.expected, sum_before.actual + check.actual)
        is_met[check.name] &= check.is_met
    return [(check, is_met[name]) for name, check in sums.items()]
