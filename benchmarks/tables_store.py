"""The event log's results as text for people."""

from statistics import median

from benchmarks.store import (
    BATCH_EVENTS,
    BATCH_MS_TARGET,
    QUERY_MS_TARGET,
    READ_TARGET,
    TARGETS,
    StoreReport,
    StoreRun,
)
from benchmarks.tables import check_lines, latency_header, latency_row, row


def format_store(report: StoreReport) -> str:
    """Rates beside their targets, the time of a batch, the queries, the counts."""
    return "\n".join(
        [
            f"event log: {report.runs[0].event_count:,} ticks of ten symbols, in batches of {BATCH_EVENTS:,}",
            *report.machine.lines(),
            "",
            row("events/s", ["append", "must", "read", "by id", "replay", "must", "bytes each", "peak MiB"]),
            *map(_rates_row, report.runs),
            "",
            row("processor time, µs each", ["append", "beside it", "read", "by id", "", "", "peak grew"]),
            *map(_processor_row, report.runs),
            "",
            latency_header(f"write of a batch, µs (must: p99 below {BATCH_MS_TARGET * 1_000:,.0f})"),
            *(latency_row(run.format, run.batch_write) for run in report.runs),
            "",
            row(f"10 s of one symbol, ms (must {QUERY_MS_TARGET:g})", ["median", "highest", "records"]),
            *(
                row(run.format, [f"{median(run.query_ms):.1f}", f"{run.query_ms[-1]:.1f}", f"{run.query_records:,.0f}"])
                for run in report.runs
            ),
            "",
            *check_lines(run.checks for run in report.runs),
        ]
    )


def _rates_row(run: StoreRun) -> str:
    cells = [
        f"{run.append_rate:,.0f}",
        f"{TARGETS[run.format]:,}",
        f"{run.read_rate:,.0f}",
        f"{run.get_rate:,.0f}",
        f"{run.replay_rate:,.0f}",
        f"{READ_TARGET:,}",
        f"{run.size_bytes / run.event_count:.0f}",
        f"{run.memory_mib:,}",
    ]
    return row(run.format, cells)


def _processor_row(run: StoreRun) -> str:
    used = run.processor_us
    times = [f"{us:.2f}" for us in (used.append, used.beside, used.read, used.get)]
    return row(run.format, [*times, "", "", f"{run.grown_mib:,} MiB"])
