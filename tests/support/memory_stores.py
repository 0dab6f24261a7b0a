"""Stores in memory that a command finds by address: `memory:NAME`, where a test has put one under NAME."""

from pathlib import Path

from common.store.config import StoreConfig
from common.store.contract import Store, StoreConfigError
from common.store.memory import MemoryStore

STORES: dict[str, MemoryStore] = {}


def open_store(path: Path, _config: StoreConfig, _is_writer: bool) -> Store:
    """The store of this name."""
    if path.name not in STORES:
        raise StoreConfigError(f"memory store {path.name}: expected one of {', '.join(STORES) or 'none'}")
    return STORES[path.name]
