"""What the commands around a strategy take as options."""

from common.config import parse_value
from common.errors import ConfigError
from common.ids import check_name


def check_option(name: str) -> None:
    """Refuse a name that cannot be part of ids and file names.

    Raises:
        ConfigError: The name is not a lower-case word.
    """
    try:
        check_name(name, "strategy name")
    except ValueError as error:
        raise ConfigError(str(error)) from error


def read_param(text: str) -> tuple[str, object]:
    """Split KEY=VALUE.

    Raises:
        ConfigError: There is no `=`.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--param: expected KEY=VALUE, was {text!r}")
    return key, parse_value(value)
