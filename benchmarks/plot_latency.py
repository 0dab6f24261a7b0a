"""Both latency distributions over nines: the tail, which is what hurts, gets as much room as the middle."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.latency import LatencyReport
from benchmarks.plot import FLOOR_COLOUR, PIPELINE_COLOUR, QUIET_COLOUR, make_figure, save
from benchmarks.results import Distribution
from common.errors import NotReadyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9}
TICKED_PERCENTILES = (*PERCENTILES.values(), 99.99)
TICKED_US = [factor * 10**power for power in range(7) for factor in (1, 2, 5)]
MARGIN = 2.5  # of the axis above the curves, where the legend is, as a factor
MARGIN_BELOW = 2.5  # the same below, where the first label is
LABEL_ROOM = 0.3  # of the axis of nines, right of the curves


def draw_latency(report: LatencyReport, path: Path) -> None:
    """Draw floor and pipeline, all rounds and each round, with their ratio where it is promised.

    Raises:
        NotReadyError: There are not even two orders to draw a line through.
    """
    if not (report.floor.curve and report.pipeline.curve):
        raise NotReadyError("--plot: expected at least two measured orders, were fewer; choose a longer --duration")
    plan = report.plan
    figure = make_figure(
        f"Tick to exchange acknowledgement at {plan.rate:,.0f} ticks/s",
        f"four processes over ipc, open loop, an order every {plan.signal_every:,} ticks, {_batching(report)}; "
        "thin lines: single rounds",
        report.machine,
        height=5.8,
    )
    axes = figure.add_subplot()
    axes.plot(*_columns(report.floor), color=FLOOR_COLOUR, linewidth=2.4, label=_label("bare pyzmq", report.floor))
    axes.plot(
        *_columns(report.pipeline), color=PIPELINE_COLOUR, linewidth=2.4, label=_label("tickpulse", report.pipeline)
    )
    _draw_rounds(axes, report)
    _shade(axes, report)
    _scale(axes, report)
    # Latency only grows along a curve, so the corner above its beginning is always free.
    axes.legend(loc="upper left", frameon=False, labelcolor="linecolor", prop={"weight": "bold"}, reverse=True)
    _label_ratios(axes, report)
    save(figure, path)


def position_of(percentile: float) -> float:
    """Where a percentile stands on the axis of nines: 90 at 1, 99 at 2, 99.9 at 3."""
    return -math.log10(1 - percentile / 100)


def _batching(report: LatencyReport) -> str:
    return "batching on" if report.is_batching else "one message per tick"


def _columns(distribution: Distribution) -> tuple[list[float], list[float]]:
    return [position_of(percentile) for percentile, _ in distribution.curve], [us for _, us in distribution.curve]


def _label(name: str, side: Distribution) -> str:
    return f"{name}, {side.count:,} orders, longest {side.us['max'] or 0:,.0f} µs"


def _draw_rounds(axes: "Axes", report: LatencyReport) -> None:
    for each in report.rounds:
        for side, colour in ((each.floor, FLOOR_COLOUR), (each.pipeline, PIPELINE_COLOUR)):
            axes.plot(*_columns(side), color=colour, linewidth=0.8, alpha=0.45)


def _shade(axes: "Axes", report: LatencyReport) -> None:
    # Only as far as both have values; the two grids are the same when the counts are.
    if report.floor.count == report.pipeline.count:
        positions, floor_us = _columns(report.floor)
        axes.fill_between(positions, floor_us, _columns(report.pipeline)[1], color=PIPELINE_COLOUR, alpha=0.1)


def _scale(axes: "Axes", report: LatencyReport) -> None:
    sides = [report.floor, report.pipeline, *(side for each in report.rounds for side in (each.floor, each.pipeline))]
    all_us = [us for side in sides for _, us in side.curve]
    low, high = min(all_us) / MARGIN_BELOW, max(all_us) * MARGIN
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.set_yticks([us for us in TICKED_US if low <= us <= high])
    axes.yaxis.set_major_formatter(lambda us, _: f"{us:,.0f}")
    axes.minorticks_off()
    last = position_of(report.pipeline.curve[-1][0])
    axes.set_xlim(position_of(50), last + LABEL_ROOM)
    axes.set_xticks([position_of(each) for each in TICKED_PERCENTILES if position_of(each) <= last])
    axes.xaxis.set_major_formatter(lambda position, _: f"{100 * (1 - 10**-position):.6g}")
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel("percentile of orders")
    axes.set_ylabel("latency, µs (log scale)")


def _label_ratios(axes: "Axes", report: LatencyReport) -> None:
    """A connector at each percentile that has a name, with both values and how many times the one is the other."""
    last = axes.get_xlim()[1] - LABEL_ROOM
    for name, percentile in PERCENTILES.items():
        floor_us, pipeline_us, ratio = report.floor.us[name], report.pipeline.us[name], report.ratios[name]
        position = position_of(percentile)
        if floor_us is None or pipeline_us is None or position > last:
            continue
        axes.plot([position, position], [floor_us, pipeline_us], color=PIPELINE_COLOUR, linewidth=1, linestyle=":")
        axes.plot([position], [floor_us], "o", color=FLOOR_COLOUR, markersize=5, clip_on=False)
        axes.plot([position], [pipeline_us], "o", color=PIPELINE_COLOUR, markersize=5, clip_on=False)
        axes.annotate(
            f"{ratio:.2f}x\n{floor_us:,.0f} → {pipeline_us:,.0f}",
            (position, min(floor_us, pipeline_us)),
            # Below and right of a point on a growing curve nothing else is drawn.
            xytext=(5, -7),
            textcoords="offset points",
            va="top",
            fontsize=8.5,
            color=QUIET_COLOUR,
        )
