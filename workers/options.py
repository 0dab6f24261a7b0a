"""What a worker needs from its user: its own table of the config, `[workers.options.NAME]`, and its libraries."""

from typing import TypeVar

import msgspec

from common.bus.worker import WorkerContext
from common.errors import ConfigError

Options = TypeVar("Options")


def read_options(context: WorkerContext, kind: type[Options]) -> Options:
    """Read the table.

    Raises:
        ConfigError: A key is unknown or a value has another type.
    """
    try:
        return msgspec.convert(dict(context.options), kind, strict=False)
    except msgspec.ValidationError as error:
        name = context.worker_name
        raise ConfigError(f"[workers.options.{name}]: {error}; correct it there") from error


def missing_library(error: ModuleNotFoundError, who: str) -> str:
    """What to do about a library that is not installed."""
    return f"{who}: expected the library {error.name}, it is not installed; pip install 'tickpulse[workers]'"
