"""`tickpulse replay --diff`: would these strategies decide now as they did then?"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from common.config import Config
from common.errors import ConfigError, ExitCode
from common.replay_diff import DiffOptions
from common.store.address import open_store
from common.store.config import StoreConfig
from common.store.contract import Store
from strategy.loader import load_strategy
from strategy.options import check_option, read_param
from strategy.tape.diff import Diff, SessionDiff, Unknown, compare_tape
from strategy.tape.file import Tape, TapeUnreadableError, find_all_tapes, find_tapes
from strategy.tape.market_log import CannotCompareError
from strategy.tape.report import format_session


def diff(config: Config, address: str, options: DiffOptions) -> ExitCode:
    """Compare the tapes that are asked for with the market of the log at an address, and print what was found."""
    given = dict(map(read_param, options.params))
    paths = _find(config, options)
    with open_store(address, config.section("store", StoreConfig)) as store:
        found = SessionDiff(lives=[_compare(path, store, options.reference, given) for path in paths])
    click.echo(msgspec.json.format(msgspec.json.encode(found)) if options.as_json else format_session(found))
    return {"identical": ExitCode.OK, "different": ExitCode.CHECKS_FAILED, "unknown": ExitCode.USAGE}[found.result]


def _compare(path: Path, store: Store, reference: str | None, given: dict[str, object]) -> Diff | Unknown:
    try:
        tape = Tape(path)
        strategy_type = load_strategy(reference or tape.head.reference)
        with _progress(path.stem) as begin_progress:
            return compare_tape(tape, store, strategy_type, given, begin_progress)
    except (CannotCompareError, TapeUnreadableError) as error:
        return Unknown(tape=str(path), why=str(error))


def _find(config: Config, options: DiffOptions) -> list[Path]:
    name, epoch = options.strategy, options.epoch
    if options.tape is not None:
        if name is not None or epoch is not None:
            raise click.UsageError("--tape names one tape: expected neither --strategy nor --epoch with it")
        return [options.tape]
    if name is not None:
        check_option(name)
    state_directory = config.run_directory().path / "state"
    tapes = find_all_tapes(state_directory) if name is None else find_tapes(state_directory, name)
    wanted = [path for path in tapes if epoch is None or path.stem.endswith(f"-{epoch}")]
    if not wanted:
        there = ", ".join(path.name for path in tapes) or "none"
        what = "one" if epoch is None else f"epoch {epoch}"
        raise TapeUnreadableError(
            f"tapes{'' if name is None else f' of {name}'}: expected {what} in {state_directory}, was {there}; "
            f"did the strategy run there, with strategy.{name or 'NAME'}.tape = true?"
        )
    names = {path.stem.rpartition("-")[0] for path in wanted}
    if len(names) > 1 and (options.params or options.reference):
        raise ConfigError(f"--param, --as: expected --strategy with it, one of {', '.join(sorted(names))}")
    return wanted


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int], Callable[[int], object]]]:
    """A bar on stderr where that is a terminal."""
    with click.progressbar(length=1, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def begin(calls: int) -> Callable[[int], object]:
            bar.length = calls
            return lambda done: bar.update(done - bar.pos)

        yield begin
