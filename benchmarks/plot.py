"""What both pictures share. matplotlib is optional, so it is imported when a picture is asked for."""

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import Machine
from common.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
FLOOR_COLOUR, PIPELINE_COLOUR, TARGET_COLOUR, QUIET_COLOUR = "#7d828a", "#0b6e99", "#b3541e", "#666666"


def require(path: Path) -> None:
    """Find out whether a picture can be drawn, before there is anything to draw.

    Raises:
        ConfigError: matplotlib is not installed, or the file's name ends neither in .png nor in .svg.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"--plot {path}: expected a name that ends in {' or '.join(SUFFIXES)}")
    try:
        import matplotlib as mpl  # noqa: PLC0415  # optional, and half a second to import
    except ImportError as error:
        raise ConfigError("--plot: expected matplotlib; install the extra: pip install 'tickpulse[bench]'") from error
    mpl.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"})


def make_figure(title: str, subtitle: str, machine: Machine, *, height: float) -> "Figure":
    """An empty figure of 9 inches' width that says what it shows and where it was measured."""
    from matplotlib.figure import Figure  # noqa: PLC0415  # optional

    figure = Figure(figsize=(9, height))
    # In inches from the edges, so that texts keep their place in a figure of any height.
    figure.subplots_adjust(left=0.105, right=0.97, top=1 - 1.1 / height, bottom=0.95 / height)
    figure.text(0.02, 1 - 0.2 / height, title, fontsize=14, fontweight="bold", va="top")
    figure.text(0.02, 1 - 0.5 / height, subtitle, color=QUIET_COLOUR, va="top")
    figure.text(0.02, 0.1 / height, "\n".join(machine.lines()), color=QUIET_COLOUR, fontsize=7.5, va="bottom")
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write the file in the format that its name asks for."""
    figure.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else {})
