"""`tickpulse gateway`, also `python -m gateway`."""

import sys
from pathlib import Path

import click

from common.command import Command, load_config, run_options
from common.process import run_process
from gateway.config import OPTION_KEYS, GatewayConfig
from gateway.service import GatewayService


@click.command(cls=Command)
@click.option("--feed", type=click.Choice(["synthetic", "recorded", "store"]), help="Where ticks come from.")
@click.option("--path", metavar="FILE", help="Capture file of the recorded feed, plain or gzip.")
@click.option(
    "--speed", type=float, metavar="X", help="Of a recorded or store feed: 1 original timing, 10 faster, 0 no waiting."
)
@click.option("--store", metavar="ADDRESS", help="Event log of the store feed, such as jsonl:PATH.")
@click.option("--from", "from_time", metavar="TIME", help="Of the store feed: only from this time on; ISO 8601.")
@click.option("--to", "to_time", metavar="TIME", help="Of the store feed: only before this time.")
@click.option("--rate", type=float, metavar="N", help="Of the synthetic feed: ticks/s; 0 as fast as possible.")
@run_options
def gateway(
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
    **feed_options: str | float | None,
) -> None:
    """Broadcast ticks from a synthetic market, a recorded file or an event log.

    Binds the market and snapshots channels. The options override the table [gateway] of the config.
    """
    config = load_config(config_path, run_dir, assignments)
    for name, value in feed_options.items():
        for key in OPTION_KEYS[name] if value is not None else ():
            config.assign(("gateway", *key.split(".")), value, f"--{name.partition('_')[0]}")
    section = config.section("gateway", GatewayConfig)
    sys.exit(run_process("gateway", "gateway", config, lambda process: GatewayService(process, section)))


if __name__ == "__main__":
    gateway()
