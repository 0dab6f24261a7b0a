"""A store in memory: the contract in its shortest form, for tests and for what need not last."""

from collections import Counter
from collections.abc import Iterator, Sequence

from common.events.base import Message
from common.events.registry import type_name
from common.store.contract import Stats, Store, Verification
from common.store.record import Record
from common.store.selection import EVERYTHING, Selection


class MemoryStore(Store):
    """Forgets everything when it ends."""

    format = "memory"

    def __init__(self) -> None:
        self._records: list[Record] = []

    @property
    def last_id(self) -> int:
        return self._records[-1].id if self._records else 0

    def _write(self, first_id: int, recorded_ns: int, messages: Sequence[Message]) -> None:
        self._records.extend(
            Record(record_id, recorded_ns, message) for record_id, message in enumerate(messages, start=first_id)
        )

    def read(self, selection: Selection = EVERYTHING) -> Iterator[Record]:
        found = [record for record in self._records if selection.matches(record.message)]
        yield from sorted(found, key=lambda record: (record.message.timestamp_ns, record.id))

    def get_events(self, from_id: int = 1) -> Iterator[Record]:
        yield from [record for record in self._records if record.id >= from_id]

    def tail(self, count: int) -> list[Record]:
        return self._records[-count:] if count > 0 else []

    def flush(self) -> None:
        pass

    def verify(self) -> Verification:
        return Verification(records=len(self._records), last_id=self.last_id)

    def stats(self) -> Stats:
        times = [record.message.timestamp_ns for record in self._records]
        return Stats(
            format=self.format,
            records=len(self._records),
            first_id=self._records[0].id if self._records else 0,
            last_id=self.last_id,
            first_ns=min(times, default=None),
            last_ns=max(times, default=None),
            size_bytes=0,
            types=dict(Counter(type_name(type(record.message)) for record in self._records)),
        )

    def close(self) -> None:
        pass
