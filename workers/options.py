"""A worker's own table of the config, `[workers.options.NAME]`, as its type."""

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
        raise ConfigError(f"[workers.options] {kind.__name__}: {error}") from error
