"""Event logs for tests: every format behind one function, opened for writing in a folder of the test."""

from collections.abc import Callable, Mapping
from pathlib import Path

from common.store.address import open_store
from common.store.contract import Store
from common.store.memory import MemoryStore

OPENERS: Mapping[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "jsonl": lambda folder: open_store(f"jsonl:{folder / 'log'}", is_writer=True),
    "parquet": lambda folder: open_store(f"parquet:{folder / 'log'}", is_writer=True),
}
