from dataclasses import replace

from support.benchmark_builders import MACHINE, make_order_path_run, make_plan

from benchmarks.processor_time import ProcessorTime
from benchmarks.recorder import RecorderReport, make_report
from benchmarks.results import Check
from benchmarks.tables_recorder import format_recorder


def make_recorder_report(log_check: Check) -> RecorderReport:
    """Two rounds, with a tape that costs nothing and a recorder that doubles all latencies."""
    recorded = [
        replace(make_order_path_run(2, log_check), processors={"recorder": ProcessorTime(0.25, cores)})
        for cores in (0.4, 0.6)
    ]
    runs = {"bare": [make_order_path_run()] * 2, "tape": [make_order_path_run()] * 2, "recorder": recorded}
    return make_report(MACHINE, make_plan(), runs, is_batching=True)  # type: ignore[arg-type]  # the sides are its keys


def test_each_side_stands_beside_the_bare_pipeline() -> None:
    """With what its target is, and how much of a core the recorder took."""
    report = make_recorder_report(Check("ticks in the log", 5, 5))

    judged = {verdict.name: (verdict.value, verdict.judgement) for verdict in report.verdicts}
    assert judged["tape p50"] == (1.0, "aim met")
    assert judged["recorder p99"][1] == "must missed"
    assert (report.ratios["recorder"]["p50"] or 0) > 1.9
    assert report.recorder_cores == 0.5
    assert report.is_sound
    text = format_recorder(report)
    assert "the recorder used 0.50 cores" in text
    assert "must 1.05" in text


def test_tick_that_is_not_in_the_log_spoils_the_figure() -> None:
    """However fast it was."""
    report = make_recorder_report(Check("ticks in the log", 5, 4))

    assert not report.is_sound
    assert "MISMATCH" in format_recorder(report)
