"""`tickpulse diff`, also `tickpulse replay --diff`: would this strategy decide now as it did then?"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from common.command import Command, load_config, run_options
from common.config import Config
from common.errors import ExitCode
from common.store.address import open_store
from strategy.loader import load_strategy
from strategy.options import check_option, read_param
from strategy.tape.diff import Diff, compare_tape
from strategy.tape.file import Tape, TapeUnreadableError, find_tapes
from strategy.tape.report import format_diff

EPILOG = """\b
Examples:
  tickpulse diff jsonl:run/store --strategy momentum
  tickpulse diff jsonl:run/store --strategy momentum --param rising_ticks=4
  tickpulse diff parquet:archive --tape momentum-1700000000000.tape --json

Exit codes: 0 identical, 3 different, 2 it cannot be told (there is no tape, or the log misses a message, which is
named), 1 the log is damaged, 78 the config, the strategy or a parameter is wrong.
"""


@click.command(cls=Command, epilog=EPILOG)
@click.argument("address", metavar="ADDRESS")
@click.option(
    "--strategy", "name", metavar="NAME", help="Compare the newest tape of this strategy in the run directory."
)
@click.option("--epoch", type=int, help="Its tape of this life instead of the newest.")
@click.option("--tape", "path", metavar="FILE", type=click.Path(path_type=Path), help="Compare this tape.")
@click.option("--as", "reference", metavar="STRATEGY", help="Run this code.  [default: that of the tape]")
@click.option("--param", "params", metavar="KEY=VALUE", multiple=True, help="Another parameter. May be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@run_options
def diff(
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
    *,
    name: str | None,
    epoch: int | None,
    path: Path | None,
    address: str,
    reference: str | None,
    params: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run a recorded session through a strategy again and compare decision by decision.

    The strategy's process keeps a tape: what it was given, in which order and when, and what it decided. The market's
    messages come from the event log at ADDRESS, FORMAT:PATH. Nothing is sent: there is no socket on this way.
    """
    if (name is None) == (path is None):
        raise click.UsageError("expected either --strategy or --tape")
    given = dict(map(read_param, params))
    tape = Tape(path or _find(load_config(config_path, run_dir, assignments), name or "", epoch))
    strategy_type = load_strategy(reference or tape.head.reference)
    with open_store(address) as store, _progress() as begin_progress:
        found = compare_tape(tape, store, strategy_type, given, begin_progress)
    click.echo(msgspec.json.format(msgspec.json.encode(found)) if as_json else format_diff(found))
    sys.exit(_exit_code(found))


def _find(config: Config, name: str, epoch: int | None) -> Path:
    check_option(name)
    state_directory = config.run_directory().path / "state"
    tapes = find_tapes(state_directory, name)
    wanted = [path for path in tapes if epoch is None or path.stem == f"{name}-{epoch}"]
    if not wanted:
        there = ", ".join(path.name for path in tapes) or "none"
        what = "one" if epoch is None else f"epoch {epoch}"
        raise TapeUnreadableError(
            f"tapes of {name}: expected {what} in {state_directory}, was {there}; "
            f"did the strategy run there, with strategy.{name}.tape = true?"
        )
    return wanted[-1]


@contextmanager
def _progress() -> Iterator[Callable[[int], Callable[[int], object]]]:
    """A bar on stderr where that is a terminal."""
    with click.progressbar(length=1, label="comparing", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def begin(calls: int) -> Callable[[int], object]:
            bar.length = calls
            return lambda done: bar.update(done - bar.pos)

        yield begin


def _exit_code(found: Diff) -> ExitCode:
    return ExitCode.OK if found.result == "identical" else ExitCode.CHECKS_FAILED
