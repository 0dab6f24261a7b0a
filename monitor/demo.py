"""`tickpulse demo`: the whole pipeline under supervisord, shown at work, stopped in order, and summed up."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from common.clock import NS_PER_S, SystemClock
from common.command import Command, load_config, run_options
from common.config import Config
from common.errors import ConfigError, ExitCode, FatalError, NotReadyError
from common.sockets.factory import Sockets
from common.store.address import parse_address
from monitor.config import MonitorConfig, strategy_names
from monitor.options import Finite
from monitor.panel import LivePanel
from monitor.report import print_summary
from monitor.summary import find_faults, summarise
from monitor.supervisor import STOP_S_MAX, SupervisedPipeline, programs_in
from monitor.watch import Watch

READY_S_MAX = 60.0
# After the last tick of a file: time for the last signals to become fills.
FEED_END_PAUSE_NS = 2 * NS_PER_S


@click.command(cls=Command)
@click.option(
    "--feed",
    type=click.Choice(["synthetic", "recorded", "store"]),
    default="synthetic",
    show_default=True,
    help="Where ticks come from.",
)
@click.option("--path", metavar="FILE", type=click.Path(path_type=Path), help="Capture file of the recorded feed.")
@click.option("--store", metavar="ADDRESS", help="Event log of the store feed, such as jsonl:PATH.")
@click.option(
    "--speed",
    type=Finite(min=0),
    default=1.0,
    show_default=True,
    help="Of a recorded or store feed: 1 original timing, 10 faster, 0 no waiting.",
)
@click.option("--rate", type=Finite(min=0), help="Of the synthetic feed, in ticks/s.  [default: of the config]")
@click.option(
    "--duration",
    type=Finite(min=0.1),
    default=20.0,
    show_default=True,
    help="Seconds of trading; a recorded feed that ends sooner ends the demo.",
)
@click.option(
    "--supervisor-conf",
    type=click.Path(path_type=Path),
    default=Path("supervisord.conf"),
    show_default=True,
    help="What to run.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object on stdout.")
@run_options
def demo(
    config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...], *, as_json: bool, **options: Any
) -> None:
    """Run the whole pipeline for a while, watch it trade, and sum up what it did.

    Starts gateway, exchange, executor and two strategies under supervisord in a fresh run directory, shows a live
    panel on a terminal, stops everything in order and prints a summary. The counts come from the processes themselves,
    the executor's journal and the exchange's ledger. All of it is recorded in the event log.

    \b
    tickpulse demo
    tickpulse demo --rate 20000 --duration 60
    tickpulse demo --feed recorded --path capture.gz --speed 10 --duration 40 --json

    Exit 0 when every signal was acknowledged, no order was lost or made twice and all was recorded, 3 when not, 130
    after Ctrl-C.
    """
    config = load_config(config_path, run_dir or _fresh_directory(), assignments)
    _apply(config, options)
    run = _Demo(config, options)
    summary = run.run()
    click.echo(json.dumps(summary, indent=2)) if as_json else print_summary(summary, config.run_directory().path)
    if run.is_interrupted:
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(ExitCode.CHECKS_FAILED if find_faults(summary) else ExitCode.OK)


def _fresh_directory() -> str:
    return f"run/demo-{datetime.now(tz=UTC):%Y%m%d-%H%M%S}"


def _recorders(options: dict[str, Any]) -> set[str]:
    """The recorder, where the supervisord config has one."""
    return programs_in(options["supervisor_conf"]) & {"recorder"}


def _apply(config: Config, options: dict[str, Any]) -> None:
    """Put the demo's options where the gateway will look."""
    config.assign(("gateway", "feed"), options["feed"], "--feed")
    # Nothing is published before all can hear it, so that every tick of a file can be accounted for.
    listeners = ["exchange", *_recorders(options), *strategy_names(config)]
    config.assign(("gateway", "wait_for_subscribers"), len(listeners), "demo")
    if options["rate"] is not None:
        config.assign(("gateway", "synthetic", "rate"), options["rate"], "--rate")
    if options["feed"] == "recorded":
        path = options["path"]
        if path is None:
            raise ConfigError("--feed recorded: expected a capture file, name it with --path FILE")
        if not path.is_file():
            raise ConfigError(f"--path {path}: expected a capture file, there is none; check the name")
        config.assign(("gateway", "recorded", "path"), str(path.absolute()), "--path")
    if options["feed"] == "store":
        if options["store"] is None:
            raise ConfigError("--feed store: expected an event log, name it with --store ADDRESS")
        address = parse_address(options["store"])
        config.assign(("gateway", "store", "address"), f"{address.format}:{address.path.absolute()}", "--store")
    if options["feed"] != "synthetic":
        config.assign(("gateway", options["feed"], "speed"), options["speed"], "--speed")
        if options["speed"] == 0:
            config.assign(("gateway", "on_slow_subscriber"), "wait", "--speed 0")


class _Demo:
    """One run of the pipeline."""

    def __init__(self, config: Config, options: dict[str, Any]) -> None:
        self._config = config
        self._options = options
        self._clock = SystemClock()
        self._directory = config.run_directory().create()
        self._refresh_ms = config.section("monitor", MonitorConfig).refresh_ms
        self._panel = LivePanel(f"tickpulse demo: {options['feed']} feed")
        self._started_ns = 0
        self._feed_ended_ns = 0
        self._console = Console(stderr=True)
        self.is_interrupted = False

    def run(self) -> dict[str, Any]:
        """Start, watch, stop, sum up."""
        lock = self._directory.lock("pipeline", self._clock.now_ns())
        pipeline = SupervisedPipeline(self._options["supervisor_conf"], self._directory, self._environment())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGHUP: the terminal was closed
            signal.signal(number, self._on_signal)
        try:
            with Sockets(self._config.settings().sockets) as sockets:
                watch = Watch(sockets, self._config, self._panel.on_event)
                elapsed_ns = self._trade(pipeline, watch)
                watch.read_files()
                return self._sum_up(watch, elapsed_ns)
        finally:
            pipeline.kill()
            lock.release()

    def _environment(self) -> dict[str, str]:
        """The config as it was merged, in a file that all processes of this run read."""
        path = self._directory.file("state", "config.json")
        path.write_text(json.dumps(self._config.tree, default=str))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TICKPULSE_")}
        return environment | {"TICKPULSE_RUN_DIR": str(self._directory.path), "TICKPULSE_CONFIG": str(path)}

    def _trade(self, pipeline: SupervisedPipeline, watch: Watch) -> int:
        """Let it run for its time, and tell how long it traded."""
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            pipeline.start()
            try:
                self._wait_ready(pipeline, watch, live)
                self._started_ns = self._clock.monotonic_ns()
                while not self._is_over(watch):
                    self._look(watch, live, self._remaining())
                    pipeline.check()
                elapsed_ns = self._clock.monotonic_ns() - self._started_ns
            finally:
                self._stop(pipeline, watch, live)
        return elapsed_ns

    def _wait_ready(self, pipeline: SupervisedPipeline, watch: Watch, live: Live) -> None:
        expected = ["exchange", "executor", "gateway", *_recorders(self._options), *strategy_names(self._config)]
        deadline_ns = self._clock.monotonic_ns() + int(READY_S_MAX * NS_PER_S)
        while missing := watch.tally.unready(expected):
            if self.is_interrupted:
                return
            if self._clock.monotonic_ns() > deadline_ns:
                reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
                raise NotReadyError(f"not ready after {READY_S_MAX:g} s: {reasons}; logs: {self._directory.path}/logs")
            self._fail_on_bad_config(pipeline, watch)
            self._look(watch, live, "starting")
            pipeline.check()

    def _fail_on_bad_config(self, pipeline: SupervisedPipeline, watch: Watch) -> None:
        for report in watch.tally.newest():
            if report.state.value == "failed":
                raise ConfigError(f"{report.source}: {report.detail}\n{pipeline.log_tail(f'{report.source}.log')}")

    def _look(self, watch: Watch, live: Live, subtitle: str) -> None:
        watch.look(self._refresh_ms)
        if self._console.is_terminal:
            live.update(self._panel.draw(watch.tally, self._clock.monotonic_ns(), subtitle), refresh=True)

    def _is_over(self, watch: Watch) -> bool:
        now_ns = self._clock.monotonic_ns()
        if not self._feed_ended_ns and watch.tally.counters("gateway").get("feed_ended"):
            self._feed_ended_ns = now_ns
        is_feed_over = bool(self._feed_ended_ns) and now_ns - self._feed_ended_ns >= FEED_END_PAUSE_NS
        is_time_over = now_ns - self._started_ns >= int(self._options["duration"] * NS_PER_S)
        return self.is_interrupted or is_feed_over or is_time_over

    def _remaining(self) -> str:
        elapsed_s = (self._clock.monotonic_ns() - self._started_ns) / NS_PER_S
        return f"{elapsed_s:.0f} of {self._options['duration']:g} s, Ctrl-C ends it in order"

    def _stop(self, pipeline: SupervisedPipeline, watch: Watch, live: Live) -> None:
        pipeline.request_stop()
        deadline_ns = self._clock.monotonic_ns() + int(STOP_S_MAX * NS_PER_S)
        while not pipeline.is_stopped():
            if self._clock.monotonic_ns() > deadline_ns:
                raise FatalError(
                    f"the pipeline did not stop within {STOP_S_MAX:g} s; logs: {self._directory.path}/logs"
                )
            self._look(watch, live, "stopping: gateway first, exchange last")

    def _sum_up(self, watch: Watch, elapsed_ns: int) -> dict[str, Any]:
        journal, ledger = self._read("orders"), self._read("ledger")
        report = next(iter(watch.tally.lives("recorder")), None)
        return {
            **summarise(watch.tally, journal, ledger, elapsed_ns),
            "event_log": None if report is None else report.endpoints.get("store"),
            "run_directory": str(self._directory.path),
        }

    def _read(self, command: str) -> dict[str, Any]:
        """The view of a process that is asked by its own command: processes never import each other."""
        done = subprocess.run(
            [sys.executable, "-m", "common", command, "--json", "--run-dir", str(self._directory.path)],
            capture_output=True,
            check=False,
        )
        if done.returncode != ExitCode.OK:
            raise FatalError(f"tickpulse {command}: {done.stderr.decode(errors='replace').strip()}")
        view: dict[str, Any] = json.loads(done.stdout)
        return view

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.is_interrupted = True
