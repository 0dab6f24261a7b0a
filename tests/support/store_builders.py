"""Event logs for tests: every format behind one function, opened for writing in a folder of the test."""

from collections.abc import Callable, Mapping
from pathlib import Path

from common.store.config import StoreConfig
from common.store.contract import Store
from common.store.memory import MemoryStore
from common.store.parquet.store import open_store as open_parquet

OPENERS: Mapping[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "parquet": lambda folder: open_parquet(folder / "parquet", StoreConfig(), True),  # noqa: FBT003  # as `address` calls
}
