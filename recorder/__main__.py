"""`tickpulse recorder`, also `python -m recorder`."""

import sys
from pathlib import Path

import click

from common.command import Command, load_config, run_options
from common.process import run_process
from common.store.config import StoreConfig
from recorder.config import RecorderConfig
from recorder.service import RecorderService


@click.command(cls=Command)
@run_options
def recorder(config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...]) -> None:
    """Run the recorder: every message on every channel goes into the event log.

    Nobody waits for it. What it misses stands in the log as a gap with exact bounds; what the executor's journal has
    and the log lacks is filled in. Where the log is and how patient it is: table [recorder]; how it is kept: [store].
    Check it with `tickpulse store verify`.
    """
    config = load_config(config_path, run_dir, assignments)
    section = config.section("recorder", RecorderConfig)
    store = config.section("store", StoreConfig)
    sys.exit(run_process("recorder", "recorder", config, lambda process: RecorderService(process, section, store)))


if __name__ == "__main__":
    recorder()
