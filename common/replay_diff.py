"""`tickpulse replay --diff`: its options, and who does it; what a strategy's tape is, this package does not know."""

from importlib.metadata import entry_points
from pathlib import Path

import click
import msgspec

from common.command import F
from common.config import Config
from common.errors import ConfigError, ExitCode

ENTRY_POINT = "tickpulse.replays"
NAMES = ("is_diff", "strategy", "epoch", "tape", "reference", "params")


class DiffOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which tapes to compare, and what to change: another code as `reference`, parameters as KEY=VALUE."""

    strategy: str | None
    epoch: int | None
    tape: Path | None
    reference: str | None
    params: tuple[str, ...]
    as_json: bool


def diff_options(function: F) -> F:
    """Add --diff and what belongs to it."""
    for option in (
        click.option("--param", "params", metavar="KEY=VALUE", multiple=True, help="Another parameter; repeatable."),
        click.option("--as", "reference", metavar="STRATEGY", help="Run this code.  [default: that of the tape]"),
        click.option("--tape", metavar="FILE", type=click.Path(path_type=Path), help="Only this tape, wherever it is."),
        click.option("--epoch", type=int, metavar="N", help="Only this life.  [default: all lives of the run]"),
        click.option("--strategy", metavar="NAME", help="Only this strategy.  [default: all of the run]"),
        click.option("--diff", "is_diff", is_flag=True, help="Run the strategies of the run again and compare."),
    ):
        function = option(function)
    return function


def run_diff(config: Config, address: str, options: DiffOptions) -> ExitCode:
    """Compare, print the result, and say how to end.

    Raises:
        ConfigError: Nothing that is installed can.
        TickpulseError: As who compares does.
    """
    for entry in entry_points(group=ENTRY_POINT, name="diff"):
        code: ExitCode = entry.load()(config, address, options)
        return code
    raise ConfigError(f"--diff: expected an entry point 'diff' of {ENTRY_POINT}, there is none; install tickpulse anew")
