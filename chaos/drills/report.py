"""What the drills came to, as a table for people."""

from collections.abc import Sequence

import msgspec

from chaos.drills.run import RECOVERY_S_MAX, Round

HEADINGS = ("injected", "recovered", "p50 ms", "p99 ms", "max ms")
NAME_WIDTH = 18
SHOWN_MAX = 10
MS_PER_S = 1_000


class DrillRow(msgspec.Struct, frozen=True, kw_only=True):
    """The faults of one kind."""

    scenario: str
    injected: int
    recovered: int  # within the limit
    recovery_ms_p50: float | None
    recovery_ms_p99: float | None
    recovery_ms_max: float | None


class DrillReport(msgspec.Struct, frozen=True, kw_only=True):
    """All rounds. The books are those of whole rounds: a fault's trace may show only in what comes after it."""

    scenarios: list[DrillRow]
    signals: int
    orders: int
    fills: int
    lost: list[str]
    duplicated: list[str]
    unresolved: list[str]
    differing: list[str]
    failures: list[str]
    skipped: list[str]  # what cannot be done here, and why

    @property
    def is_sound(self) -> bool:
        """Every book agreed, and everything recovered in time."""
        has_recovered = all(row.injected == row.recovered for row in self.scenarios)
        return has_recovered and not (
            self.lost or self.duplicated or self.unresolved or self.differing or self.failures
        )


def make_drill_report(rounds: Sequence[Round]) -> DrillReport:
    """Sum rounds up."""
    books = [each.books for each in rounds if each.books is not None]
    faults = [fault for each in rounds for fault in each.faults]
    times: dict[str, list[float | None]] = {}
    for fault in faults:
        times.setdefault(fault.scenario, []).append(fault.recovery_ms)
    return DrillReport(
        scenarios=[_row_of(name, recoveries) for name, recoveries in sorted(times.items())],
        signals=sum(book.signals for book in books),
        orders=sum(book.orders for book in books),
        fills=sum(book.fills for book in books),
        lost=[text for book in books for text in book.lost],
        duplicated=[text for book in books for text in book.duplicated],
        unresolved=[text for book in books for text in book.unresolved],
        differing=[text for book in books for text in book.differing],
        failures=[each.failure for each in rounds if each.failure is not None],
        skipped=[each.skipped for each in rounds if each.skipped is not None],
    )


def format_drill_report(report: DrillReport) -> str:
    """The table, the verdict on the books, and what was wrong with them."""
    lines = [_line("scenario", HEADINGS)]
    for row in report.scenarios:
        milliseconds = (row.recovery_ms_p50, row.recovery_ms_p99, row.recovery_ms_max)
        cells = [str(row.injected), str(row.recovered), *("-" if ms is None else f"{ms:,.0f}" for ms in milliseconds)]
        lines.append(_line(row.scenario, cells))
    wrong = {"lost": report.lost, "duplicated": report.duplicated, "unresolved": report.unresolved}
    counts = ", ".join(f"{name} {len(texts)}" for name, texts in {**wrong, "differing": report.differing}.items())
    lines += ["", f"{report.signals:,} signals, {report.orders:,} orders, {report.fills:,} executions: {counts}"]
    more = {"differing": report.differing, "failed": report.failures, "skipped": report.skipped}
    for name, texts in {**wrong, **more}.items():
        lines += [f"{name}: {text}" for text in texts[:SHOWN_MAX]]
        if len(texts) > SHOWN_MAX:
            lines.append(f"{name}: and {len(texts) - SHOWN_MAX} more")
    return "\n".join(lines)


def _row_of(name: str, recoveries: Sequence[float | None]) -> DrillRow:
    done = sorted(ms for ms in recoveries if ms is not None)
    return DrillRow(
        scenario=name,
        injected=len(recoveries),
        recovered=sum(ms <= RECOVERY_S_MAX * MS_PER_S for ms in done),
        recovery_ms_p50=_percentile(done, 50),
        recovery_ms_p99=_percentile(done, 99),
        recovery_ms_max=done[-1] if done else None,
    )


def _percentile(ordered: Sequence[float], percent: int) -> float | None:
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None


def _line(name: str, cells: Sequence[str]) -> str:
    return f"{name:<{NAME_WIDTH}}" + "".join(f"{cell:>11}" for cell in cells)
