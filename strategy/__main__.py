"""`tickpulse strategy NAME`, also `python -m strategy NAME`."""

import sys
from pathlib import Path

import click

from common.command import Command, load_config, run_options
from common.process import run_process
from strategy.config import StrategyConfig, StrategyConfigs
from strategy.loader import load_parameters, load_strategy
from strategy.options import check_option, read_param
from strategy.service import StrategyService


@click.command(cls=Command)
@click.argument("name")
@click.option(
    "--as", "reference", metavar="STRATEGY", help="Entry point or module:Class.  [default: of the config, or NAME]"
)
@click.option("--param", "params", metavar="KEY=VALUE", multiple=True, help="One parameter. May be repeated.")
@run_options
def strategy(
    name: str,
    reference: str | None,
    params: tuple[str, ...],
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
) -> None:
    """Run one strategy under a NAME of yours, with the table [strategy.NAME] of the config if there is one.

    \b
    tickpulse strategy momentum
    tickpulse strategy fast --as momentum --param rising_ticks=3
    tickpulse strategy mine --as my_strategies:FollowTheBid
    """
    config = load_config(config_path, run_dir, assignments)
    section = config.section("strategy", StrategyConfigs).get(name, StrategyConfig())
    check_option(name)
    strategy_type = load_strategy(reference or section.strategy or name)
    parameters = load_parameters(strategy_type, section.parameters | dict(map(read_param, params)))
    sys.exit(
        run_process(
            "strategy",
            name,
            config,
            lambda process: StrategyService(process, section, strategy_type, parameters),
        )
    )


if __name__ == "__main__":
    strategy()
