"""`tickpulse gateway`, also `python -m gateway`."""

import sys
from pathlib import Path

import click

from common.command import Command, load_config, run_options
from common.process import run_process
from gateway.config import GatewayConfig
from gateway.service import GatewayService


@click.command(cls=Command)
@click.option("--feed", type=click.Choice(["synthetic", "recorded"]), help="Where ticks come from.")
@click.option("--path", metavar="FILE", help="Capture file of the recorded feed, plain or gzip.")
@click.option(
    "--speed", type=float, metavar="X", help="Of the recorded feed: 1 original timing, 10 faster, 0 no waiting."
)
@click.option("--rate", type=float, metavar="N", help="Of the synthetic feed: ticks/s; 0 as fast as possible.")
@run_options
def gateway(
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
    **feed_options: str | float | None,
) -> None:
    """Broadcast ticks from a synthetic market or a recorded file.

    Binds the market and snapshots channels. The options override the table [gateway] of the config.
    """
    config = load_config(config_path, run_dir, assignments)
    places = {
        "feed": ("feed",),
        "path": ("recorded", "path"),
        "speed": ("recorded", "speed"),
        "rate": ("synthetic", "rate"),
    }
    for name, value in feed_options.items():
        if value is not None:
            config.assign(("gateway", *places[name]), value, f"--{name}")
    section = config.section("gateway", GatewayConfig)
    sys.exit(run_process("gateway", "gateway", config, lambda process: GatewayService(process, section)))


if __name__ == "__main__":
    gateway()
