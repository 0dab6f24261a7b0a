"""Reads a fault file: TOML, checked as a whole before the exchange starts."""

import tomllib
from pathlib import Path
from random import Random

from common.config import Config
from common.errors import ConfigError
from exchange.simulated.faults import FaultPlan, FaultsConfig


def read_faults(path: Path) -> FaultsConfig:
    """Read a fault file.

    Raises:
        ConfigError: It cannot be read, or a key is not as it should be; the message names file and key.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"fault file {path}: expected a readable TOML file, {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"fault file {path}: expected TOML, {error}") from error
    return Config({"faults": tree}, f"fault file {path}").section("faults", FaultsConfig)


def make_plan(config: FaultsConfig, order_count: int) -> FaultPlan:
    """The plan of one life, after so many orders of the lives before.

    Each life draws other numbers, so that a crash is not repeated for ever, but the same ones when a run is repeated.
    """
    return FaultPlan(config, Random(f"{config.seed}-{order_count}").random)  # noqa: S311  # to be repeated, not secret
