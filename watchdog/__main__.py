"""`tickpulse watchdog`, also `python -m watchdog`."""

import os
import sys
from pathlib import Path

import click

from common.command import Command, load_config, run_options
from common.process import run_process
from watchdog.config import WatchdogConfig
from watchdog.service import WatchdogService
from watchdog.supervisor import Supervisor


@click.command(cls=Command)
@click.option("--no-kill", "is_lenient", is_flag=True, help="Only raise the alarm: a debugger stops a process too.")
@run_options
def watchdog(config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...], *, is_lenient: bool) -> None:
    """Find processes that hang or crash again and again. Run by supervisord as an event listener.

    A process whose main loop has not turned for 1.5 s is killed, and so started anew; one that crashes again and again
    is stopped for a while. Each time there is an alarm in the log and on telemetry. Limits: table [watchdog].
    """
    config = load_config(config_path, run_dir, assignments)
    section = config.section("watchdog", WatchdogConfig)
    supervisor = Supervisor(os.environ)
    sys.exit(
        run_process(
            "watchdog",
            "watchdog",
            config,
            lambda process: WatchdogService(process, section, supervisor, may_kill=not is_lenient),
        )
    )


if __name__ == "__main__":
    watchdog()
