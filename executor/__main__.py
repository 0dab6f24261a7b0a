"""`tickpulse executor`, also `python -m executor`."""

import sys
from pathlib import Path

import click

from common.command import Command, load_config, run_options
from common.process import run_process
from executor.config import ExecutorConfig
from executor.service import ExecutorService


@click.command(cls=Command)
@run_options
def executor(config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...]) -> None:
    """Turn signals into orders, each at most once.

    Binds the signals and events channels, keeps its journal in DIR/state/journal.sqlite, and takes signals once it has
    settled with the exchange what was open before. SIGTERM ends it when the request in flight has its answer.
    """
    config = load_config(config_path, run_dir, assignments)
    section = config.section("executor", ExecutorConfig)

    def reload() -> ExecutorConfig:
        return load_config(config_path, run_dir, assignments).section("executor", ExecutorConfig)

    sys.exit(run_process("executor", "executor", config, lambda process: ExecutorService(process, section, reload)))


if __name__ == "__main__":
    executor()
