"""`tickpulse workers`, also `python -m workers`."""

import sys
from pathlib import Path

import click

from common.command import Command, load_config, run_options
from common.errors import ConfigError
from common.process import run_process
from workers.config import WorkersConfig
from workers.options import missing_library


@click.command(cls=Command)
@click.option(
    "--rebuild",
    "rebuild",
    multiple=True,
    metavar="NAME",
    help="Build a read model anew, from the first fact; repeat it.",
)
@run_options
def workers(
    config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...], *, rebuild: tuple[str, ...]
) -> None:
    """Run the workers: read models, risk monitor, audit, challenge and notifications, off the hot path.

    They hear every event, and nobody waits for them. What they know is kept in DIR/state, and shown by `tickpulse
    positions`, `pnl`, `trades`, `trace` and `challenge`. Which of them run: `enabled` in table [workers].
    """
    try:
        from workers.service import WorkersService  # noqa: PLC0415  # its libraries are those of an extra
    except ModuleNotFoundError as error:
        raise ConfigError(missing_library(error, "tickpulse workers")) from error
    config = load_config(config_path, run_dir, assignments)
    section = config.section("workers", WorkersConfig)
    sys.exit(run_process("workers", "workers", config, lambda process: WorkersService(process, section, rebuild)))


if __name__ == "__main__":
    workers()
