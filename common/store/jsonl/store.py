"""The contract over a folder of JSON Lines."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from common.events.base import Message
from common.store.config import StoreConfig
from common.store.contract import Stats, Store, StoreConfigError, Verification
from common.store.jsonl.checking import repair, verify
from common.store.jsonl.pruning import prune
from common.store.jsonl.reading import Reader
from common.store.jsonl.writer import Writer
from common.store.record import Record
from common.store.retention import Policy, Pruning
from common.store.sealing import open_key_ring
from common.store.selection import EVERYTHING, Selection


def open_store(path: Path, config: StoreConfig, is_writer: bool) -> "JsonlStore":  # as of every format
    """Open a folder of segments; a writer makes it where there is none.

    Raises:
        StoreConfigError: There is none, it is of another kind or a newer version, or another process writes it.
    """
    ring = open_key_ring(config)
    writer = Writer(path, config, ring) if is_writer else None
    try:
        return JsonlStore(Reader(path, ring), config, writer)
    except BaseException:
        if writer is not None:
            writer.close()
        raise


class JsonlStore(Store):
    """Append-only segments of lines that `jq` reads."""

    format = "jsonl"

    def __init__(self, reader: Reader, config: StoreConfig, writer: Writer | None) -> None:
        self._config = config
        self._writer = writer
        self._reader = reader

    @property
    def last_id(self) -> int:
        if self._writer is not None:
            return self._writer.last_id
        return max((segment.summary.last_id for segment in self._reader.segments()), default=0)

    def _write(self, first_id: int, recorded_ns: int, messages: Sequence[Message]) -> None:
        self._own_writer().write_batch(first_id, recorded_ns, messages)

    def _write_records(self, records: Sequence[Record]) -> None:
        self._own_writer().write_records(records)

    def read(self, selection: Selection = EVERYTHING) -> Iterator[Record]:
        return self._reader.read(selection)

    def get_events(self, from_id: int = 1) -> Iterator[Record]:
        return self._reader.get_events(from_id)

    def tail(self, count: int) -> list[Record]:
        return self._reader.tail(count)

    def flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def verify(self) -> Verification:
        return verify(self._reader, self._config)

    def stats(self) -> Stats:
        return self._reader.stats()

    def repair(self, now_ns: int) -> list[str]:
        return repair(self._reader, self._own_writer(), self._config, now_ns)

    def prune(self, policy: Policy, now_ns: int, *, is_dry_run: bool = False) -> Pruning:
        return prune(self._reader, None if is_dry_run else self._own_writer(), policy, now_ns)

    def close(self) -> None:
        self._reader.close()
        if self._writer is not None:
            self._writer.close()

    def _own_writer(self) -> Writer:
        if self._writer is None:
            raise StoreConfigError(f"store {self._reader.folder}: expected one opened for writing, was for reading")
        return self._writer
