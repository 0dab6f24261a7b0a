"""Which store an address means: `jsonl:PATH`, `sqlite:PATH` or `parquet:PATH`; a bare path means what lies there.

Formats are imported when they are opened, because one of them needs a library that the core install does not have.
"""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from common.store.config import StoreConfig
from common.store.contract import Store, StoreConfigError

# The module that opens each format, with a function `open_store(path, config, is_writer)`; and the extra it needs.
FORMATS: Mapping[str, tuple[str, str | None]] = {
    "jsonl": ("common.store.jsonl.store", None),
    "sqlite": ("common.store.sqlite.store", None),
    "parquet": ("common.store.parquet.store", "store"),
}


class Address(NamedTuple):
    """A format and where its files are."""

    format: str
    path: Path

    def __str__(self) -> str:
        return f"{self.format}:{self.path}"


def parse_address(text: str) -> Address:
    """Read an address.

    Raises:
        StoreConfigError: It names no format that we know, or nothing is there to tell the format by.
    """
    scheme, colon, rest = text.partition(":")
    if colon and scheme in FORMATS:
        path = Path(rest.removeprefix("//"))
        if not rest:
            raise StoreConfigError(f"store {text!r}: expected FORMAT:PATH, the path is missing")
        return Address(scheme, path)
    found = _format_of(Path(text))
    if found is None:
        raise StoreConfigError(
            f"store {text!r}: expected one of {', '.join(f'{name}:PATH' for name in FORMATS)}, "
            "or the path of a store that is there"
        )
    return Address(found, Path(text))


def open_store(text: str, config: StoreConfig | None = None, *, is_writer: bool = False) -> Store:
    """Open the store of an address; a writer makes it where there is none.

    Raises:
        StoreConfigError: There is no such store, it is of another kind or a newer version, another process writes it,
            or its format needs a library that is not installed.
    """
    address = parse_address(text)
    module_name, extra = FORMATS[address.format]
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise StoreConfigError(
            f"store {text}: {address.format} needs {error.name}; install it with `pip install tickpulse[{extra}]`"
        ) from error
    opener: Callable[[Path, StoreConfig, bool], Store] = module.open_store
    return opener(address.path, config or StoreConfig(), is_writer)


def _format_of(path: Path) -> str | None:
    """Tell a format by what lies at a path."""
    if path.is_file():
        return "sqlite"
    if path.is_dir():
        if any(path.glob("*.jsonl")):
            return "jsonl"
        if any(path.glob("*.parquet")) or any(path.glob("date=*")) or any(path.glob("manifest*")):
            return "parquet"
    return None
