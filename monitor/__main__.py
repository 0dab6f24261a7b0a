"""`tickpulse monitor`, also `python -m monitor`."""

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from common.clock import SystemClock
from common.command import Command, load_config, run_options
from common.errors import ConfigError, ExitCode
from common.sockets.factory import Sockets
from monitor.config import MonitorConfig
from monitor.panel import LivePanel
from monitor.watch import Watch


@click.command(cls=Command)
@run_options
def monitor(config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...]) -> None:
    """Show a running pipeline live: processes, ticks, orders, latency, positions, kill switch, alarms.

    Ctrl-C leaves the pipeline running.

    One monitor at a time: it binds the telemetry channel. For a single look use `tickpulse status`.
    """
    config = load_config(config_path, run_dir, assignments)
    if not sys.stdout.isatty():
        raise ConfigError("monitor: expected a terminal; for scripts there is `tickpulse status --json`")
    directory = config.run_directory().create()
    clock = SystemClock()
    lock = directory.lock("monitor", clock.now_ns())
    panel = LivePanel(f"tickpulse: {directory.path}")
    refresh_ms = config.section("monitor", MonitorConfig).refresh_ms
    try:
        with Sockets(config.settings().sockets) as sockets, Live(console=Console(), auto_refresh=False) as live:
            watch = Watch(sockets, config, panel.on_event)
            watch.read_files()
            while True:
                watch.look(refresh_ms)
                live.update(panel.draw(watch.tally, clock.monotonic_ns(), "Ctrl-C leaves it running"), refresh=True)
    except KeyboardInterrupt:
        sys.exit(ExitCode.OK)
    finally:
        lock.release()


if __name__ == "__main__":
    monitor()
