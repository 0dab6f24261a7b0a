"""Results as text for people."""

from collections.abc import Iterable

from benchmarks.backtest import BacktestReport
from benchmarks.latency import LatencyReport
from benchmarks.results import Check, Distribution, Verdict, sum_up
from benchmarks.rules import RulesReport
from benchmarks.throughput import ThroughputReport
from common.metrics import PERCENTILES

HOP_NAMES = {
    "tick_to_signal": "tick due to signal emitted",
    "signal_to_executor": "signal emitted to executor*",
    "executor_to_ack": "executor to answer, with journal*",
}
SIDE_NAMES = {
    "floor": "bare pyzmq, one frame per tick",
    "single": "one message per tick, on_tick",
    "unpacked": "batches, on_tick",
    "batched": "batches, on_ticks",
}
NAME_WIDTH = 36


def format_latency(report: LatencyReport) -> str:
    """Floor beside pipeline, the hops, the counts, the verdict."""
    plan = report.plan
    batching = "what waits together is packed" if report.is_batching else "one message per tick"
    return "\n".join(
        [
            (
                f"latency: {plan.rate:,.0f} ticks/s, an order every {plan.signal_every:,} ticks, "
                f"{len(report.rounds)} x {plan.duration_s:g} s after {plan.warm_up_s:g} s of warm-up; "
                f"pipeline: {batching}"
            ),
            *report.machine.lines(),
            bystanders_line(report.foreign_cores),
            "",
            latency_header("tick due to exchange's answer, µs"),
            latency_row("floor: bare pyzmq", report.floor),
            latency_row("pipeline: journals, checks on", report.pipeline),
            row("ratio", ["", *(shown(report.ratios[name], "x", 2) for name in [*PERCENTILES, "max"])]),
            "",
            latency_header("hops of the pipeline, µs"),
            *(latency_row(HOP_NAMES[name], hop) for name, hop in report.hops.items()),
            "* with the orders of the warm-up",
            "",
            *check_lines(each.checks for each in report.rounds),
            "",
            *map(verdict_line, report.verdicts),
        ]
    )


def format_throughput(report: ThroughputReport) -> str:
    """Rates, the counts, the verdict."""
    rounds = len(report.checks)
    return "\n".join(
        [
            (
                f"throughput: {rounds} x {report.tick_count:,} ticks ({report.batched_tick_count:,} with on_ticks), "
                "the first tenth not timed; one gateway, one strategy"
            ),
            *report.machine.lines(),
            bystanders_line(report.foreign_cores),
            "",
            row("ticks/s", ["median", "lowest", "highest", "of floor"]),
            *(
                row(SIDE_NAMES[side], _rate_cells(rate, report.rates_by_round[side], report.rates["floor"]))
                for side, rate in report.rates.items()
            ),
            "",
            *check_lines(report.checks),
            "",
            *map(verdict_line, report.verdicts),
        ]
    )


def format_rules(report: RulesReport) -> str:
    """Rates and times for a tick, the counts."""
    return "\n".join(
        [
            (
                f"rules: {len(report.checks)} x {report.tick_count:,} ticks into one rule; a window tells mean, "
                "stddev, min, max and run for each"
            ),
            *report.machine.lines(),
            "",
            row("ticks/s", ["median", "lowest", "highest", "µs a tick"]),
            *(
                row(side, [*(f"{value:,.0f}" for value in (rate, min(rates), max(rates))), f"{1e6 / rate:.2f}"])
                for (side, rate), rates in zip(report.rates.items(), report.rates_by_round.values(), strict=True)
            ),
            "",
            *check_lines(report.checks),
        ]
    )


def format_backtest(report: BacktestReport) -> str:
    """Rates of each side beside their targets, the counts."""
    return "\n".join(
        [
            "backtest: strategy, executor and venue in one thread",
            *report.machine.lines(),
            "",
            row("ticks/s", ["elapsed", "processor", "target", "ticks", "an order of"]),
            *(
                row(
                    side,
                    [
                        *(f"{rate:,.0f}" for rate in (found.per_s, found.per_cpu_s)),
                        shown(found.target, "", 0),
                        f"{found.ticks:,}",
                        f"{found.order_every:,}",
                    ],
                )
                for side, found in report.sides.items()
            ),
            *(f"{side}: {why}" for side, why in report.skipped.items()),
            "",
            *check_lines(report.checks),
        ]
    )


def bystanders_line(cores: float | None) -> str:
    """How busy the machine was with something else."""
    return (
        "others' use of the machine meanwhile is not known"
        if cores is None
        else f"others used {cores:.2f} cores meanwhile"
    )


def _rate_cells(rate: float, by_round: list[float], floor: float) -> list[str]:
    return [*(f"{value:,.0f}" for value in (rate, min(by_round), max(by_round))), f"{rate / floor:.0%}"]


def latency_header(title: str) -> str:
    """The columns of a distribution."""
    return row(title, ["count", *(name.replace("_", ".") for name in PERCENTILES), "max"])


def latency_row(name: str, distribution: Distribution) -> str:
    """One distribution, µs."""
    return row(name, [f"{distribution.count:,}", *(shown(value, "", 0) for value in distribution.us.values())])


def row(name: str, cells: Iterable[str]) -> str:
    """A line of a table."""
    return f"{name:<{NAME_WIDTH}}" + "".join(f" {cell:>11}" for cell in cells)


def shown(value: float | None, unit: str, decimals: int) -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None else f"{value:,.{decimals}f}{unit}"


def check_lines(rounds: Iterable[Iterable[Check]]) -> list[str]:
    """What was expected and what was there."""
    lines = [row("counts, all rounds", ["expected", "was", ""])]
    for check, is_met in sum_up(rounds):
        lines.append(row(check.name, [f"{check.expected:,}", f"{check.actual:,}", "ok" if is_met else "MISMATCH"]))
    return lines


def verdict_line(verdict: Verdict) -> str:
    """A number beside its target."""
    shown = _amount(verdict.value)
    rounds = f", by round {', '.join(map(_amount, verdict.by_round))}" if len(verdict.by_round) > 1 else ""
    target = f"must {_amount(verdict.target.must)}, aim {_amount(verdict.target.aim)}"
    return f"verdict: {verdict.name} {shown} ({target}): {verdict.judgement}{rounds}"


def _amount(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1e6:.2f} M" if value >= 1e5 else f"{value:.2f}"
