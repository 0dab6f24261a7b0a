"""`tickpulse record`: captures what a gateway broadcasts, in the raw form."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

import click
import msgspec

from common.clock import NS_PER_S, SystemClock
from common.command import Command, load_config, run_options
from common.config import Config
from common.errors import ExitCode, NotReadyError
from common.sockets.factory import Sockets
from gateway.recording.session import RecordingReport, RecordingSession

JOIN_NS_MAX = 15 * NS_PER_S
PROGRESS_NS = NS_PER_S // 2

EPILOG = """\b
Examples:
  tickpulse record capture.gz                     until Ctrl-C, or until the feed ends
  tickpulse record day.gz --rotate-mb 100         day.gz, day-2.gz, day-3.gz ...
  tickpulse gateway --feed recorded --path capture.gz --set gateway.recorded.exchange=simulated

\b
Exit codes: 0 recorded, 1 the disk refused, 3 no gateway answered or messages were lost, 78 the file is there already.
"""


@click.command(cls=Command, epilog=EPILOG)
@click.argument("path", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Stop after this long.")
@click.option("--symbol", default="*", metavar="SYMBOL", help="Only this one, such as BTC/USDT.")
@click.option("--rotate-mb", type=click.IntRange(min=1), metavar="N", help="Begin another file after N MB on disk.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@run_options
def record(
    path: Path,
    seconds: float | None,
    symbol: str,
    rotate_mb: int | None,
    as_json: bool,
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
) -> None:
    """Record a running gateway to FILE, one raw message a line, as the recorded feed and `tickpulse import` read it.

    Quotes, trades and the order book; compressed where FILE ends in .gz. Ctrl-C ends it well. After kill -9 all but the
    last two seconds is readable.
    """
    config = load_config(config_path, run_dir, assignments)
    report = _record(config, path, symbol, seconds, (rotate_mb or 0) * 1_000_000)
    click.echo(msgspec.json.encode(report) if as_json else _describe(report))
    if report.lost:
        raise NotReadyError(f"record: {report.lost:,} messages were lost on the way here; record on a calmer machine")


def _record(config: Config, path: Path, symbol: str, seconds: float | None, bytes_max: int) -> RecordingReport:
    stop = _StopSignal()
    clock = SystemClock()
    with Sockets(config.settings().sockets) as sockets:
        session = RecordingSession(config, sockets, f"record-{os.getpid()}", path, bytes_max, symbol)
        start_ns = joined_ns = clock.monotonic_ns()
        next_progress_ns = 0
        try:
            while not (stop.is_set or session.has_feed_ended):
                session.turn()
                now_ns = clock.monotonic_ns()
                if not session.is_joined:
                    joined_ns = now_ns
                    if now_ns - start_ns > JOIN_NS_MAX:
                        raise NotReadyError(
                            f"record: expected a gateway at {config.endpoint('market')}, none answered; start one first"
                        )
                if seconds is not None and now_ns - joined_ns >= seconds * NS_PER_S:
                    break
                if sys.stderr.isatty() and now_ns >= next_progress_ns:
                    next_progress_ns = now_ns + PROGRESS_NS
                    click.echo(f"\r{_describe(session.report())}", err=True, nl=False)
        finally:
            session.close()
            stop.restore()
    if sys.stderr.isatty():
        click.echo("", err=True)
    return session.report()


def _describe(report: RecordingReport) -> str:
    return (
        f"{report.lines:,} lines ({report.quotes:,} quotes, {report.trades:,} trades, {report.books:,} of the book), "
        f"{report.size_bytes / 1e6:.1f} MB in {report.files[-1]}"
    )


class _StopSignal:
    """Ctrl-C and SIGTERM ask for an orderly end; a second one ends at once."""

    def __init__(self) -> None:
        self.is_set = False
        self._before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_set:
            sys.exit(ExitCode.INTERRUPTED)
        self.is_set = True
