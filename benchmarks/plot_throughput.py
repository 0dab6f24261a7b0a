"""Ticks/s as bars: single messages and batches apart, because they differ tenfold."""

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.plot import FLOOR_COLOUR, PIPELINE_COLOUR, TARGET_COLOUR, make_figure, save
from benchmarks.throughput import BATCHED_TARGET, FLOOR, RATIO_TARGET, ThroughputReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SINGLE_BARS = {FLOOR: "bare pyzmq", "single": "tickpulse on_tick"}
BATCHED_BARS = {"unpacked": "tickpulse on_tick", "batched": "tickpulse on_ticks"}
BAR_WIDTH = 0.55


def draw_throughput(report: ThroughputReport, path: Path) -> None:
    """Draw every way with its rounds and its target."""
    figure = make_figure(
        "Ticks from the gateway to a strategy, as fast as they go",
        f"two processes over ipc, {report.tick_count:,} ticks, {report.batched_tick_count:,} for on_ticks; "
        "bars: median, dots: single rounds",
        report.machine,
        height=5.4,
    )
    single, batched = figure.subplots(1, 2)
    figure.subplots_adjust(wspace=0.22)
    _draw_bars(single, report, SINGLE_BARS, "one message for each tick")
    _draw_bars(batched, report, BATCHED_BARS, "what waits together in one message")
    floor = report.rates[FLOOR]
    _draw_target(single, RATIO_TARGET.must * floor, f"must {RATIO_TARGET.must:.0%}")
    _draw_target(single, RATIO_TARGET.aim * floor, f"aim {RATIO_TARGET.aim:.0%}")
    _draw_target(batched, BATCHED_TARGET.must, "must")
    _draw_target(batched, BATCHED_TARGET.aim, "aim")
    save(figure, path)


def _draw_bars(axes: "Axes", report: ThroughputReport, bars: dict[str, str], title: str) -> None:
    for position, side in enumerate(bars):
        rate, by_round = report.rates[side], report.rates_by_round[side]
        colour = FLOOR_COLOUR if side == FLOOR else PIPELINE_COLOUR
        axes.bar(position, rate, BAR_WIDTH, color=colour)
        axes.plot([position] * len(by_round), by_round, "o", color="white", markeredgecolor=colour, markersize=5)
    axes.set_title(title, loc="left", fontsize=10, pad=8)
    axes.margins(y=0.15)
    # Numbers stand below: above the bars they would cross the lines of the targets.
    axes.set_xticks(range(len(bars)), [f"{name}\n{_number(report, side)}" for side, name in bars.items()], fontsize=11)
    axes.set_xlim(-0.5, len(bars) - 0.05)
    axes.yaxis.set_major_formatter(lambda rate, _: _short(rate))
    axes.set_ylabel("ticks/s")
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)


def _number(report: ThroughputReport, side: str) -> str:
    share = f" ({report.ratio:.0%})" if side == "single" and report.ratio is not None else ""
    return f"{_short(report.rates[side])}{share}"


def _draw_target(axes: "Axes", rate: float, text: str) -> None:
    axes.plot([0.62, 1.38], [rate, rate], color=TARGET_COLOUR, linewidth=1.2, linestyle="--")
    axes.annotate(
        text, (1.38, rate), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.5, color=TARGET_COLOUR
    )


def _short(rate: float) -> str:
    return f"{rate / 1e6:.3g} M" if rate >= 1e6 else f"{rate / 1e3:.0f} k" if rate else "0"
