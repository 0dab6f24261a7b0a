"""`tickpulse dead-letters`: the events and frames that nobody could use, for a person to look at and decide."""

import base64
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from common.bus.dead_letters import FRAMES_OWNER, DeadLetter, DeadLetters, LetterState, files_of
from common.clock import NS_PER_S
from common.command import Command, F, load_config, run_options
from common.errors import ExitCode, FatalError, NotReadyError, WireError
from common.wire import codec

ROWS_DEFAULT = 20
ROW = "{:<24} {:<19} {:<8} {:<10} {:>3}  {:<24} {:<24} {}"

EPILOG = """\b
Examples:
  tickpulse dead-letters list --owner pricer          those of one handler, newest last
  tickpulse dead-letters show executor/17             one of them, whole
  tickpulse dead-letters redrive executor/17          have it tried again
  tickpulse dead-letters redrive --owner pricer       have all of them tried again
  tickpulse dead-letters discard --reason KEY_ERROR   forget them

\b
Exit codes: 0 ok, 2 usage, 3 there is no such letter or it cannot be redriven, 78 a file is no file of dead letters.
"""


def choice_options(function: F) -> F:
    """Add --process, --owner and --reason."""
    for option in (
        click.option("--reason", metavar="CODE", help="Only this reason, such as QUEUE_FULL."),
        click.option("--owner", metavar="NAME", help="Only those of this handler or channel."),
        click.option("--process", metavar="NAME", help="Only those of this process."),
    ):
        function = option(function)
    return function


class _Box:
    """The files of one run."""

    def __init__(self, config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...]) -> None:
        directory = load_config(config_path, run_dir, assignments).run_directory()
        self._paths = {path.stem: path for path in files_of(directory.path / "state")}

    def find(
        self, process: str | None = None, owner: str | None = None, reason: str | None = None
    ) -> list[tuple[str, DeadLetter]]:
        """Letters with the process that has them, oldest first."""
        found = []
        for name in self._paths if process is None else {process} & self._paths.keys():
            with self.open(name) as letters:
                found += [(name, letter) for letter in letters.read()]
        chosen = [
            (name, letter)
            for name, letter in found
            if owner in {None, letter.owner} and reason in {None, letter.reason}
        ]
        return sorted(chosen, key=lambda pair: (pair[1].last_ns, pair[0], pair[1].id))

    def get(self, name: str) -> tuple[str, DeadLetter]:
        """One letter by its name, as `executor/17`.

        Raises:
            click.UsageError: It is no such name.
            NotReadyError: There is none of that name.
        """
        process, separator, number = name.partition("/")
        if not separator or not number.isascii() or not number.isdigit():
            raise click.UsageError(
                f"letter {name!r}: expected PROCESS/NUMBER, as `tickpulse dead-letters list` shows it"
            )
        letter = None
        if process in self._paths:
            with self.open(process) as letters:
                letter = letters.get(int(number))
        if letter is None:
            raise NotReadyError(f"letter {name}: expected one that is kept, was none; it was redriven or discarded")
        return process, letter

    @contextmanager
    def open(self, process: str) -> Iterator[DeadLetters]:
        """The file of one process.

        Raises:
            FatalError: It is busy or broken.
        """
        path = self._paths[process]
        letters = DeadLetters(path)
        try:
            yield letters
        except sqlite3.Error as error:
            raise FatalError(f"dead letters {path}: expected to read and write it, {error}; try again") from error
        finally:
            letters.close()

    def choose(self, names: tuple[str, ...], **choice: str | None) -> list[tuple[str, DeadLetter]]:
        """Letters by their names, or all that match.

        Raises:
            NotReadyError: There is none.
        """
        if names and any(choice.values()):
            raise click.UsageError("expected letters or --process, --owner, --reason, were both")
        if not names and not any(choice.values()):
            raise click.UsageError("expected a letter such as executor/17, or --process, --owner or --reason")
        chosen = [self.get(name) for name in names] if names else self.find(**choice)
        if not chosen:
            raise NotReadyError("dead letters: expected at least one that matches, was none")
        return chosen


@click.group("dead-letters", epilog=EPILOG)
def dead_letters() -> None:
    """Events and frames that nobody could use: look at them, have them tried again, or forget them.

    A letter names the handler or channel that could not use it, and why. It is kept until a person decides.
    """


@dead_letters.command("list", cls=Command)
@choice_options
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help=f"Only the newest N.  [default: {ROWS_DEFAULT}]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array; without --limit of all.")
@run_options
def list_letters(*, limit: int | None, as_json: bool, **options: Any) -> None:
    """List them, newest last."""
    found = _box(options).find(**_choice(options))
    if as_json:
        _print_json([_view(name, letter) for name, letter in (found[-limit:] if limit else found)])
        return
    rows = found[-(limit or ROWS_DEFAULT) :]
    if rows:
        click.echo(ROW.format("LETTER", "LAST (UTC)", "STATE", "CATEGORY", "TRY", "OWNER", "REASON", "TYPE").rstrip())
    for name, letter in rows:
        cells = (_name(name, letter), _time(letter.last_ns), letter.state.value, letter.category, letter.attempts)
        click.echo(ROW.format(*cells, letter.owner, letter.reason, letter.type))
    click.echo(f"{len(rows)} of {len(found)} letters")


@dead_letters.command(cls=Command)
@click.argument("letter", metavar="LETTER")
@run_options
def show(*, letter: str, **options: Any) -> None:
    """Show one letter with its event, as JSON.

    What cannot be read is shown as bytes: `frame_text` for the eye, `frame_base64` for a program.
    """
    name, found = _box(options).get(letter)
    view = _view(name, found)
    try:
        view["event"] = msgspec.json.decode(msgspec.json.encode(codec.decode(found.frame)))
    except WireError as error:
        view["unreadable"] = str(error)
        view["frame_text"] = repr(found.frame[:500])[2:-1]
        view["frame_base64"] = base64.b64encode(found.frame).decode()
    click.echo(msgspec.json.format(msgspec.json.encode(view), indent=2).decode())


@dead_letters.command(cls=Command)
@click.argument("letters", metavar="[LETTER]...", nargs=-1)
@choice_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: asked, refused.")
@run_options
def redrive(*, letters: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Have letters tried again by the process that has them.

    A running process takes them within a second, one that is down at its next start. What is handled then is gone
    from here; what fails again is kept, with its attempts added. A handler may see an event twice: it knows it by its
    event id.
    """
    box = _box(options)
    chosen = box.choose(letters, **_choice(options))
    refused = {_name(name, letter): why for name, letter in chosen if (why := _why_not(letter)) is not None}
    asked = _change(box, [pair for pair in chosen if _name(*pair) not in refused], DeadLetters.ask_redrive)
    if as_json:
        _print_json({"asked": asked, "refused": refused})
    else:
        for name, why in refused.items():
            click.echo(f"{name} cannot be redriven: {why}", err=True)
        processes = ", ".join(sorted({name.partition("/")[0] for name in asked}))
        if asked:
            click.echo(f"{len(asked)} letters: {processes} takes them within a second, or at its next start")
    if refused:
        sys.exit(ExitCode.CHECKS_FAILED)


@dead_letters.command(cls=Command)
@click.argument("letters", metavar="[LETTER]...", nargs=-1)
@choice_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: discarded. Needs --yes.")
@run_options
def discard(*, letters: tuple[str, ...], yes: bool, as_json: bool, **options: Any) -> None:
    """Forget letters for ever."""
    if as_json and not yes:
        raise click.UsageError("--json asks no questions: expected --yes, too")
    box = _box(options)
    chosen = box.choose(letters, **_choice(options))
    if not yes:
        click.confirm(f"Forget {len(chosen)} letters for ever?", abort=True)
    gone = _change(box, chosen, DeadLetters.remove)
    if as_json:
        _print_json({"discarded": gone})
    else:
        click.echo(f"{len(gone)} letters discarded")


def _change(box: _Box, chosen: list[tuple[str, DeadLetter]], change: Callable[[DeadLetters, int], bool]) -> list[str]:
    """Do the same to many letters; gives back the names of those that were still there."""
    changed = []
    for process in dict.fromkeys(name for name, _ in chosen):
        with box.open(process) as file:
            changed += [_name(name, letter) for name, letter in chosen if name == process and change(file, letter.id)]
    return changed


def _why_not(letter: DeadLetter) -> str | None:
    if letter.owner.startswith(FRAMES_OWNER):
        channel = letter.owner.removeprefix(FRAMES_OWNER)
        return f"it is a frame of the channel {channel}, whose sender sends again what must not be lost"
    try:
        codec.decode(letter.frame)
    except WireError as error:
        return f"this version cannot read it: {error}"
    return None


def _box(options: dict[str, Any]) -> _Box:
    return _Box(options["config_path"], options["run_dir"], options["assignments"])


def _choice(options: dict[str, Any]) -> dict[str, str | None]:
    return {name: options[name] for name in ("process", "owner", "reason")}


def _view(process: str, letter: DeadLetter) -> dict[str, Any]:
    """Everything but the frame."""
    fields = {name: value for name, value in msgspec.structs.asdict(letter).items() if name not in {"id", "frame"}}
    return {"letter": _name(process, letter), **fields, "state": LetterState(letter.state).value}


def _name(process: str, letter: DeadLetter) -> str:
    return f"{process}/{letter.id}"


def _print_json(value: object) -> None:
    click.echo(msgspec.json.encode(value).decode())


def _time(timestamp_ns: int) -> str:
    return datetime.fromtimestamp(timestamp_ns // NS_PER_S, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")
