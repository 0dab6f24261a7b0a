"""Event logs for tests: every format behind one function, opened for writing in a folder of the test."""

from collections.abc import Callable, Mapping
from pathlib import Path

from common.store.address import open_store
from common.store.config import StoreConfig
from common.store.contract import Store
from common.store.keyring import add_key
from common.store.memory import MemoryStore


def make_key_ring(folder: Path) -> Path:
    """A key ring with one key; the one that is there already, if one is."""
    path = folder / "keys.toml"
    if not path.exists():
        add_key(path)
    return path


OPENERS: Mapping[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "jsonl": lambda folder: open_store(f"jsonl:{folder / 'log'}", is_writer=True),
    "jsonl-sealed": lambda folder: open_store(
        f"jsonl:{folder / 'log'}", StoreConfig(key_ring=str(make_key_ring(folder))), is_writer=True
    ),
    "parquet": lambda folder: open_store(f"parquet:{folder / 'log'}", is_writer=True),
    "parquet-sealed": lambda folder: open_store(
        f"parquet:{folder / 'log'}", StoreConfig(key_ring=str(make_key_ring(folder))), is_writer=True
    ),
    "sqlite": lambda folder: open_store(f"sqlite:{folder / 'log'}", is_writer=True),
    "sqlite-sealed": lambda folder: open_store(
        f"sqlite:{folder / 'log'}", StoreConfig(key_ring=str(make_key_ring(folder))), is_writer=True
    ),
}
