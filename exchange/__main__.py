"""`tickpulse exchange`, also `python -m exchange`."""

import sys
from pathlib import Path

import click

from common.command import Command, load_config, run_options
from common.process import Process, run_process
from exchange.config import ExchangeConfig
from exchange.fault_file import read_faults
from exchange.service import ExchangeService


@click.command(cls=Command)
@click.option("--faults", "faults_path", metavar="FILE", type=click.Path(path_type=Path), help="What shall go wrong.")
@click.option("--clear-halt", "is_halt_cleared", is_flag=True, help="Place orders again after a halt.")
@run_options
def exchange(
    *,
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
    faults_path: Path | None,
    is_halt_cleared: bool,
) -> None:
    """Place orders at the simulated venue, each at most once, and report executions.

    Binds the orders and executions channels and keeps its ledger in DIR/state/ledger.sqlite. The venue fills orders
    against the ticks of the gateway; fees and latencies are in the table [exchange.simulated] of the config.
    """
    config = load_config(config_path, run_dir, assignments)
    section = config.section("exchange", ExchangeConfig)
    faults = None if faults_path is None else read_faults(faults_path)

    def build(process: Process) -> ExchangeService:
        return ExchangeService(process, section, faults=faults, is_halt_cleared=is_halt_cleared)

    sys.exit(run_process("exchange", "exchange", config, build))


if __name__ == "__main__":
    exchange()
