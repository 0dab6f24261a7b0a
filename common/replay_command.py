"""`tickpulse replay` and `tickpulse replay-control`: play a part of the event log again, and steer that."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import click
import msgspec
from click.core import ParameterSource

from common.clock import NS_PER_MS, NS_PER_S, SystemClock
from common.command import Command, load_config, run_options
from common.config import Config
from common.errors import ExitCode, InvalidValueError, NotReadyError, WireError
from common.events.base import DRAFT, Event, Message
from common.events.system import ReplayAction, ReplayControlAnswered, ReplayControlRequested, ReplayState
from common.replay_delivery import Handler, Outcome
from common.replay_diff import NAMES, DiffOptions, diff_options, run_diff
from common.replay_session import Session, Watcher
from common.sockets.control import ANSWER_MS_MAX, ask_once
from common.sockets.factory import Sockets
from common.store.address import open_store
from common.store.config import StoreConfig
from common.store.contract import Stats
from common.store.of_run import address_of_run
from common.store.replay.control import state_of
from common.store.replay.functions import load_function
from common.store.replay.keys import Keys, Terminal
from common.store.replay.pacer import Pacer
from common.store.replay.player import Player, play_messages
from common.store.replay.server import ControlServer
from common.store.selection import TIME_NS_MAX, TIME_NS_MIN, Selection, types_named
from common.store.times import format_time_ns, parse_time_ns
from common.tables import format_time
from common.wire import codec

EPILOG = """\b
--diff takes the tapes that the run's strategies kept: what each was given, in which order and when, and what it
decided. They go through the same code and parameters, with the market of the event log, decision by decision; all
lives of a strategy in order. Nothing is sent.

\b
Keys on a terminal: space pause and resume, n next event, + and - twice and half the speed, left and right 10 s,
up and down 60 s, g TIME Enter go to a time, q end. Programs use `tickpulse replay-control`.

\b
Exit codes:
  0    played to the end, or ended with q or SIGTERM
  1    a part of the store is damaged or a transform failed: what came before it was played
  2    an option is wrong; with --diff: it cannot be told, there is no tape, or the log misses a message
  3    there is nothing in this range, or a handler raised; with --diff: different
  78   there is no such store or strategy, or another replay runs in this run directory
  130  interrupted
"""
COLLECT_EVERY = 100_000  # new objects; the default is 700
PROGRESS_NS = 200 * NS_PER_MS


class _Value(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A text that a function of ours reads."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it, or say what is wrong with it."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except InvalidValueError as error:
            self.fail(str(error), param, ctx)


TIME = _Value("time", parse_time_ns)
SPEED = _Value("number", lambda text: Pacer(_number(text)).speed)
FUNCTION = _Value("module:function", load_function)


class _ReplayCommand(Command):
    """Shows the options of --diff apart."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write both groups."""
        rows: dict[bool, list[tuple[str, str]]] = {False: [], True: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                rows[parameter.name in NAMES].append(record)
        for title, group in (("Options", rows[False]), ("Compare decisions", rows[True])):
            with formatter.section(title):
                formatter.write_dl(group)


@click.command(cls=_ReplayCommand, epilog=EPILOG)
@click.argument("address", metavar="[ADDRESS]", required=False)
@click.option("--from", "from_ns", type=TIME, help="Only from this time on; ISO 8601, UTC unless it says otherwise.")
@click.option("--to", "to_ns", type=TIME, help="Only before this time.")
@click.option(
    "--speed", type=SPEED, default=1.0, show_default=True, help="10 ten times as fast, 0.1 slower, 0 without waiting."
)
@click.option("--type", "types", metavar="TYPE", multiple=True, help="Only this type or kind; may be repeated.")
@click.option("--exchange", metavar="NAME", help="Only of this exchange.")
@click.option("--symbol", metavar="SYMBOL", help="Only of this symbol, such as BTC/USDT.")
@click.option("--transform", "transforms", type=FUNCTION, multiple=True, help="Changes each message; may be repeated.")
@click.option("--handler", "handlers", type=FUNCTION, multiple=True, help="Called with each event; may be repeated.")
@click.option(
    "--bus", "uses_bus", is_flag=True, help="Over the event bus: each event id once, with its limits of time."
)
@click.option("--stop-on-error", is_flag=True, help="End at the first event that a handler raises at.")
@click.option("--paused", is_flag=True, help="Begin paused.")
@click.option("--print", "prints", is_flag=True, help="Print each event as a line of JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@diff_options
@run_options
def replay(
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
    *,
    address: str | None,
    **options: Any,
) -> None:
    """Play a time range of an event log again, to handlers in this process.

    Nothing leaves it: no order, no tick; the only socket takes the commands of `tickpulse replay-control`. ADDRESS is
    FORMAT:PATH or the path alone; without one it is the log of the run's recorder.

    \b
    tickpulse replay --speed 10
    tickpulse replay parquet:log --from 2024-08-09T14:30 --type trade --symbol BTC/USDT --speed 0 --print
    tickpulse replay sqlite:log.db --handler my_study:on_event --transform my_study:without_quotes
    tickpulse replay --diff                                    would each strategy decide as it did?
    tickpulse replay --diff --strategy momentum --param rising_ticks=4
    """
    config = load_config(config_path, run_dir, assignments)
    address = address or address_of_run(config)
    if address is None:
        raise click.UsageError("expected an ADDRESS such as jsonl:PATH; this config names no store of a recorder")
    _check_diff(click.get_current_context(), is_diff=options["is_diff"])
    if options["is_diff"]:
        names = DiffOptions.__struct_fields__
        sys.exit(run_diff(config, address, DiffOptions(**{name: options[name] for name in names})))
    selection = _selection(options)
    directory = config.run_directory().create()
    with open_store(address, config.section("store", StoreConfig)) as store, Terminal() as terminal:
        lock = directory.lock("replay", SystemClock.now_ns())
        try:
            stats = store.stats()
            pacer = Pacer(options["speed"])
            player = play_messages(store, selection, pacer, options["transforms"])
            if options["paused"]:
                pacer.pause(0)
            with Sockets(config.settings().sockets) as sockets:
                server = ControlServer(
                    sockets.bind_router(config.endpoint("replay")), player, SystemClock(), lambda _: None
                )
                outcome = _play(player, stats, terminal, server, options)
        finally:
            lock.release()
    _conclude(player, outcome, stats, address, as_json=options["as_json"])


@click.command("replay-control", cls=Command)
@click.argument("action", type=click.Choice([action.value for action in ReplayAction]))
@click.argument("value", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as one JSON object.")
@run_options
def replay_control(
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
    *,
    action: str,
    value: str | None,
    as_json: bool,
) -> None:
    """Steer a running replay, or a gateway that feeds from a store: pause, resume, step, seek, speed, status.

    \b
    tickpulse replay-control pause
    tickpulse replay-control seek 2024-08-09T14:30:00
    tickpulse replay-control speed 10

    Exit 0 when it was done, 2 for a wrong value, 3 when it was refused or nobody answered.
    """
    config = load_config(config_path, run_dir, assignments)
    answer = _ask(config, _request(ReplayAction(action), value))
    if as_json:
        click.echo(msgspec.json.encode(answer).decode())
    elif answer.is_done:
        click.echo(
            f"{answer.state} at {format_time_ns(answer.position_ns)}, speed {answer.speed:g}, {answer.events} events"
        )
    if not answer.is_done:
        raise NotReadyError(f"{action} was refused, {answer.reason}: {answer.detail}")


class Progress:
    """One line on a terminal that says where the replay is."""

    def __init__(self, player: Player[Message], stats: Stats, keys: Keys | None, stream: TextIO) -> None:
        selection = player.selection
        self._from_ns = max(selection.from_ns, stats.first_ns or 0)
        self._to_ns = min(selection.to_ns, stats.last_ns or 0)
        self._player = player
        self._keys = keys
        self._stream = stream
        self._is_shown = stream.isatty()
        self._next_ns = 0
        self._count, self._count_ns = 0, 0

    def look(self, clock_ns: int) -> None:
        """Write the line anew, five times a second."""
        if self._is_shown and clock_ns >= self._next_ns:
            self._next_ns = clock_ns + PROGRESS_NS
            self._stream.write(f"\r\x1b[K{self._line(clock_ns)[: self._columns() - 1]}")
            self._stream.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._is_shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _line(self, clock_ns: int) -> str:
        player, keys = self._player, self._keys
        if keys is not None and keys.typed is not None:
            return f"go to: {keys.typed}"
        if keys is not None and keys.complaint:
            return keys.complaint
        place_ns = player.pacer.position_ns(clock_ns)
        share = (place_ns - self._from_ns) / max(self._to_ns - self._from_ns, 1)
        rate = (player.count - self._count) * NS_PER_S / max(clock_ns - (self._count_ns or clock_ns), 1)
        self._count, self._count_ns = player.count, clock_ns
        state = "  paused" if state_of(player) is ReplayState.PAUSED else ""
        return (
            f"{format_time(place_ns)[:-3]}  {min(max(share, 0), 1):4.0%}  {player.count:,} events  {rate:,.0f}/s"
            f"  speed {player.pacer.speed:g}{state}"
        )

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:
            return 80


class _Ears:
    """Keys and programs."""

    def __init__(self, terminal: Terminal, keys: Keys, server: ControlServer, stop: Callable[[], None]) -> None:
        self._terminal = terminal
        self._keys = keys
        self._server = server
        self._stop = stop

    def look(self, clock_ns: int) -> None:
        """Take what waits."""
        self._server.serve(clock_ns)
        typed = self._terminal.read()
        if typed:
            self._keys.press(typed, clock_ns)
        if self._keys.is_quit:
            self._stop()


def _play(
    player: Player[Message], stats: Stats, terminal: Terminal, server: ControlServer, options: dict[str, Any]
) -> Outcome:
    handlers: dict[str, Handler] = {_name(handler): handler for handler in options["handlers"]}
    if options["prints"]:
        handlers["--print"] = _print_event
    keys = Keys(player)
    watchers: list[Watcher] = []
    session = Session(
        player, handlers, watchers=watchers, stops_on_error=options["stop_on_error"], uses_bus=options["uses_bus"]
    )
    progress = Progress(player, stats, keys if terminal.is_used else None, sys.stderr)
    watchers += [_Ears(terminal, keys, server, session.stop), progress]

    # A record is a tuple, and a million of them in a second would have the collector look at all there is for nothing.
    gc.set_threshold(COLLECT_EVERY)

    async def run() -> Outcome:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, session.stop)
        loop.add_signal_handler(signal.SIGCONT, terminal.take_again)
        return await session.run()

    try:
        return asyncio.run(run())
    finally:
        progress.clear()


def _conclude(player: Player[Message], outcome: Outcome, stats: Stats, address: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(outcome).decode())
    if player.error is not None:
        raise player.error
    if not player.count and not outcome.is_stopped:
        raise NotReadyError(f"{address}: nothing was selected; {_describe(stats)}")
    if not as_json:
        _print_summary(outcome)
    if outcome.failed:
        sys.exit(ExitCode.CHECKS_FAILED)


def _describe(stats: Stats) -> str:
    if stats.first_ns is None or stats.last_ns is None:
        return "the store is empty"
    types = ", ".join(f"{count} {name}" for name, count in sorted(stats.types.items()))
    return (
        f"the store has {stats.records} records from {format_time_ns(stats.first_ns)} to "
        f"{format_time_ns(stats.last_ns)}: {types}"
    )


def _print_summary(outcome: Outcome) -> None:
    rate = outcome.played / outcome.elapsed_s if outcome.elapsed_s else 0
    lines = [f"{outcome.played:,} events in {outcome.elapsed_s:,.3f} s, {rate:,.0f}/s"]
    late = outcome.late_us
    if late["max"] is not None:
        lines.append(f"later than due: median {late['p50']:,.0f} µs, p99 {late['p99']:,.0f}, max {late['max']:,.0f}")
    lines += [f"  {count:>12,}  {name}" for name, count in outcome.events.items()]
    for count, what in (
        (outcome.not_events, "commands, queries and replies, which handlers do not get"),
        (outcome.repeats, "repeats, delivered once"),
        (outcome.clock_went_back, "events older than one before them, played at once"),
        (outcome.failed, "calls of handlers that raised"),
    ):
        lines += [f"  {count:>12,}  {what}"] if count else []
    # On stderr, because stdout may be the events.
    click.echo("\n".join([*lines, *outcome.failures]), err=True)


def _check_diff(context: click.Context, *, is_diff: bool) -> None:
    """Let nobody believe that an option counted which did not."""
    for parameter in context.command.get_params(context):
        name = parameter.name or ""
        if (
            name not in {"address", "as_json", "config_path", "run_dir", "assignments"}
            and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
            and (name in NAMES) is not is_diff
        ):
            raise click.UsageError(f"{parameter.opts[0]} {'does not go' if is_diff else 'goes only'} with --diff")


def _selection(options: dict[str, Any]) -> Selection:
    from_ns = TIME_NS_MIN if options["from_ns"] is None else options["from_ns"]
    to_ns = TIME_NS_MAX if options["to_ns"] is None else options["to_ns"]
    if from_ns > to_ns:
        raise click.UsageError(f"--from {format_time_ns(from_ns)}: expected a time before --to {format_time_ns(to_ns)}")
    try:
        types = types_named(options["types"])
    except InvalidValueError as error:
        raise click.UsageError(str(error)) from error
    return Selection(from_ns=from_ns, to_ns=to_ns, types=types, exchange=options["exchange"], symbol=options["symbol"])


def _request(action: ReplayAction, value: str | None) -> ReplayControlRequested:
    now_ns = SystemClock.now_ns()
    values: dict[str, Any] = {}
    try:
        if action is ReplayAction.SEEK:
            values["seek_ns"] = parse_time_ns(value or "")
        elif action is ReplayAction.SPEED:
            values["speed"] = Pacer(_number(value or "")).speed
        elif value is not None:
            raise InvalidValueError(f"{action}: expected no value, was {value!r}")
    except InvalidValueError as error:
        raise click.UsageError(str(error)) from error
    request_id = f"replay-{os.getpid()}-{now_ns}"
    return ReplayControlRequested(**DRAFT, timestamp_ns=now_ns, request_id=request_id, action=action, **values)


def _ask(config: Config, request: ReplayControlRequested) -> ReplayControlAnswered:
    endpoint = config.endpoint("replay")
    frame = ask_once(config, endpoint, codec.encode(request), ANSWER_MS_MAX)
    if frame is None:
        raise NotReadyError(f"{request.action}: no answer at {endpoint}; does a replay run there? Name its --run-dir")
    try:
        answer = codec.decode(frame)
    except WireError as error:
        raise NotReadyError(f"{request.action}: expected an answer that this version can read; {error}") from error
    if not isinstance(answer, ReplayControlAnswered) or answer.request_id != request.request_id:
        raise NotReadyError(f"{request.action}: expected an answer to {request.request_id}, was {answer}")
    return answer


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InvalidValueError(f"{text!r}: expected a number") from error


def _print_event(event: Event) -> None:
    sys.stdout.write(msgspec.json.encode(event).decode() + "\n")


def _name(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', type(function).__name__)}"
