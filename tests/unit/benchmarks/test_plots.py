"""Pictures are drawn, or refused before anything is measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.benchmark_builders import make_latency_report, make_throughput_report

from benchmarks import plot
from benchmarks.plot_latency import draw_latency, position_of
from benchmarks.plot_throughput import draw_throughput
from common.errors import ConfigError, NotReadyError

MAGIC = {".png": b"\x89PNG", ".svg": b"<?xml"}


@pytest.mark.parametrize("suffix", MAGIC)
@pytest.mark.parametrize(
    ("make_report", "draw"), [(make_latency_report, draw_latency), (make_throughput_report, draw_throughput)]
)
def test_picture_is_of_the_kind_that_its_name_says(
    make_report: Callable[[], Any], draw: Callable[[Any, Path], None], suffix: str, tmp_path: Path
) -> None:
    """Both reports, both kinds."""
    pytest.importorskip("matplotlib", reason="the extra `bench` is not installed")
    path = tmp_path / f"plot{suffix}"

    plot.require(path)
    draw(make_report(), path)

    assert path.read_bytes().startswith(MAGIC[suffix])


def test_latencies_without_a_single_order_are_refused_with_a_reason(tmp_path: Path) -> None:
    """Instead of a traceback out of matplotlib."""
    with pytest.raises(NotReadyError, match="at least two measured orders"):
        draw_latency(make_latency_report(factors=[]), tmp_path / "plot.png")


def test_name_that_says_no_kind_is_refused() -> None:
    """Before minutes of measuring."""
    with pytest.raises(ConfigError, match=r"ends in \.png or \.svg"):
        plot.require(Path("plot.gif"))


def test_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to type next."""
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)

    with pytest.raises(ConfigError, match=r"pip install 'tickpulse\[bench\]'"):
        plot.require(Path("plot.png"))


@pytest.mark.parametrize(("percentile", "position"), [(90.0, 1), (99.0, 2), (99.9, 3)])
def test_axis_counts_nines(percentile: float, position: float) -> None:
    """So that the tail has room."""
    assert position_of(percentile) == pytest.approx(position)
