"""Finds a strategy's class by entry point or `module:Class`, and its parameters, typed."""

import difflib
import importlib
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

import msgspec

from common.errors import ConfigError
from strategy.base import Strategy

GROUP = "tickpulse.strategies"


def load_strategy(reference: str) -> type[Strategy]:
    """Import a strategy's class.

    Args:
        reference: Name of an entry point of the group `tickpulse.strategies`, or `module:Class`, with modules found in
            the working directory too.

    Raises:
        ConfigError: There is no such strategy; the message lists or names what there is.
    """
    module_name, class_name = _locate_own(reference) if ":" in reference else _locate_installed(reference)
    found = _import(reference, module_name, class_name)
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise ConfigError(f"strategy {reference!r}: expected a subclass of strategy.base.Strategy, was {found!r}")
    return found


def load_parameters(strategy_type: type[Strategy], given: Mapping[str, object]) -> msgspec.Struct:
    """Build a strategy's parameters, every one checked.

    Raises:
        ConfigError: A parameter is unknown, missing, of the wrong type or out of range.
    """
    try:
        return msgspec.convert(dict(given), strategy_type.Parameters)
    except msgspec.ValidationError as error:
        names = [field.name for field in msgspec.structs.fields(strategy_type.Parameters)]
        unknown = next((name for name in given if name not in names), "")
        near = difflib.get_close_matches(unknown, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        text = str(error).replace("`", "").replace(" - at $.", ": ")
        known = ", ".join(names) or "none"
        raise ConfigError(f"parameters of {strategy_type.__name__}: {text}{hint}; it takes: {known}") from error


def _locate_own(reference: str) -> tuple[str, str]:
    # A quant's own file lies where the command is run, which `python -m` searches and an installed script does not.
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    module_name, _, class_name = reference.partition(":")
    return module_name, class_name


def _locate_installed(reference: str) -> tuple[str, str]:
    entries = {entry.name: entry for entry in entry_points(group=GROUP)}
    if reference not in entries:
        near = difflib.get_close_matches(reference, entries, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(
            f"strategy {reference!r}: unknown; {hint}installed: {', '.join(sorted(entries))}; "
            "or name your own as module:Class"
        )
    return entries[reference].module, entries[reference].attr


def _import(reference: str, module_name: str, class_name: str) -> object:
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"strategy {reference!r}: module {module_name} cannot be imported: {error}") from error
    except Exception as error:
        raise ConfigError(
            f"strategy {reference!r}: importing {module_name} raised {type(error).__name__}: {error}"
        ) from error
    if not hasattr(module, class_name):
        raise ConfigError(f"strategy {reference!r}: module {module_name} has no class {class_name!r}")
    found: object = getattr(module, class_name)
    return found
