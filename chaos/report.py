"""What many histories came to, as a table for people."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from chaos.histories import HistoryResult
from chaos.plans import ACTIONS
from exchange.simulated.faults import FaultName

INJECTED = (
    "kills",
    "kills inside",
    "power losses",
    "transactions cut",
    "disk refusals",
    "frames lost",
    "frames cut",
    "frames delayed",
    "frames repeated",
    "frames reordered",
    "frames forged",
    "venues uncertain",
    "pauses",
    "take-overs",
    "lives fenced",
    *(f"{action}s of people" for action in ACTIONS),
    *(name.value for name in FaultName),
)
HEADINGS = ("histories", "orders", "violations", "lost", "duplicated", "unresolved", "stopped", "p50 ms", "p99 ms")
NAME_WIDTH = 22
FAILURES_SHOWN_MAX = 10


class ScenarioReport(msgspec.Struct, frozen=True, kw_only=True):
    """One row: the histories of one scenario. Recovery: virtual time from healing until nothing was open any more.

    `stopped` are histories that never came to rest: with files that were not synced, that is an executor which refuses
    to go on until a person has looked.
    """

    scenario: str
    histories: int
    orders: int
    injected: dict[str, int]
    violations: int
    lost: int
    duplicated: int
    unresolved: int
    stopped: int
    recovery_ms_p50: float | None
    recovery_ms_p99: float | None


class ChaosReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was found."""

    scenarios: list[ScenarioReport]
    failures: list[HistoryResult]

    @property
    def is_sound(self) -> bool:
        """Every promise held in every history."""
        return not self.failures


def make_report(results: Iterable[HistoryResult]) -> ChaosReport:
    """Sum histories up by scenario."""
    ordered = sorted(results, key=lambda result: (result.scenario, result.seed))
    by_scenario: dict[str, list[HistoryResult]] = {}
    for result in ordered:
        by_scenario.setdefault(result.scenario, []).append(result)
    return ChaosReport(
        scenarios=[_sum_up(name, rows) for name, rows in by_scenario.items()],
        failures=[result for result in ordered if result.violations],
    )


def format_report(report: ChaosReport) -> str:
    """The table, what was injected, and the command that repeats each failure."""
    lines = [_row("scenario", HEADINGS), *(_scenario_row(row) for row in report.scenarios), "", "injected"]
    lines += [f"  {row.scenario:<{NAME_WIDTH - 2}}{_injected(row)}" for row in report.scenarios]
    for failure in report.failures[:FAILURES_SHOWN_MAX]:
        first = failure.violations[0]
        lines += ["", f"{first.invariant}: {first.message}", f"  {failure.command}"]
    if len(report.failures) > FAILURES_SHOWN_MAX:
        lines += ["", f"and {len(report.failures) - FAILURES_SHOWN_MAX} more histories"]
    return "\n".join(lines)


def format_history(result: HistoryResult) -> str:
    """One history in full."""
    counts = ", ".join(f"{name} {count}" for name, count in sorted(result.counts.items()))
    rested = "never came to rest" if result.rested_ms is None else f"at rest after {result.rested_ms:.0f} ms"
    messages = [f"  {violation.invariant}: {violation.message}" for violation in result.violations]
    return "\n".join([f"{result.scenario} {result.seed}: {rested}; {counts}", *messages])


def _sum_up(name: str, rows: Sequence[HistoryResult]) -> ScenarioReport:
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(row.counts)
    rested = sorted(row.rested_ms for row in rows if row.rested_ms is not None)
    return ScenarioReport(
        scenario=name,
        histories=len(rows),
        orders=counts["orders"],
        injected={kind: counts[kind] for kind in INJECTED if counts[kind]},
        violations=sum(len(row.violations) for row in rows),
        lost=sum(row.count_of("no loss") for row in rows),
        duplicated=sum(row.count_of("no duplicate") for row in rows),
        unresolved=sum(row.unresolved_count for row in rows),
        stopped=len(rows) - len(rested),
        recovery_ms_p50=_percentile(rested, 50),
        recovery_ms_p99=_percentile(rested, 99),
    )


def _percentile(ordered: Sequence[float], percent: int) -> float | None:
    """The smallest value that so many percent do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None


def _scenario_row(row: ScenarioReport) -> str:
    counts = (row.histories, row.orders, row.violations, row.lost, row.duplicated, row.unresolved, row.stopped)
    times = (row.recovery_ms_p50, row.recovery_ms_p99)
    return _row(
        row.scenario,
        [*(f"{count:,}" for count in counts), *("-" if time is None else f"{time:,.0f}" for time in times)],
    )


def _row(name: str, cells: Iterable[str]) -> str:
    return f"{name:<{NAME_WIDTH}}" + "".join(f"{cell:>11}" for cell in cells)


def _injected(row: ScenarioReport) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in row.injected.items()) or "nothing"
