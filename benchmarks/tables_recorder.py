"""The result of the recorder's benchmark as text for people."""

from benchmarks.recorder import COMPARED, RecorderReport
from benchmarks.tables import bystanders_line, check_lines, latency_header, latency_row, row, shown, verdict_line
from common.metrics import PERCENTILES

SIDE_NAMES = {
    "bare": "bare: neither of them",
    "tape": "with the strategy's tape",
    "recorder": "beside a recorder",
}


def format_recorder(report: RecorderReport) -> str:
    """The sides, their ratios, the counts, the verdict."""
    plan = report.plan
    batching = "what waits together is packed" if report.is_batching else "one message per tick"
    return "\n".join(
        [
            (
                f"recorder: {plan.rate:,.0f} ticks/s, an order every {plan.signal_every:,} ticks, "
                f"{len(report.checks)} x {plan.duration_s:g} s after {plan.warm_up_s:g} s of warm-up; {batching}"
            ),
            *report.machine.lines(),
            bystanders_line(report.foreign_cores),
            "",
            latency_header("tick due to exchange's answer, µs"),
            *(latency_row(SIDE_NAMES[side], distribution) for side, distribution in report.sides.items()),
            *(
                row(
                    f"ratio: {side}",
                    ["", *(shown(report.ratios[side][name], "x", 2) for name in [*PERCENTILES, "max"])],
                )
                for side in COMPARED
            ),
            "",
            f"the recorder used {shown(report.recorder_cores, '', 2)} cores",
            "",
            *check_lines(report.checks),
            "",
            *map(verdict_line, report.verdicts),
        ]
    )
