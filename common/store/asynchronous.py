"""The store for code that runs on asyncio: the same contract, each call in one thread of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

from common.events.base import Message
from common.store.contract import Stats, Store, Verification
from common.store.record import Record
from common.store.selection import EVERYTHING, Selection

T = TypeVar("T")
RECORDS_PER_CALL = 1_000  # handing over to the thread and back costs 50 µs


class AsyncStore:
    """Never blocks the loop. Calls run one after the other, in the order in which they were made."""

    def __init__(self, store: Store) -> None:
        """Take over a store; it is closed with this one."""
        self._store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    @property
    def last_id(self) -> int:
        """Id of the newest record; 0 while there is none."""
        return self._store.last_id

    async def append(self, message: Message, recorded_ns: int | None = None) -> int:
        """As of `Store`."""
        return await self._call(self._store.append, message, recorded_ns)

    async def append_batch(self, messages: Sequence[Message], recorded_ns: int | None = None) -> int:
        """As of `Store`."""
        return await self._call(self._store.append_batch, messages, recorded_ns)

    async def append_records(self, records: Sequence[Record]) -> int:
        """As of `Store`."""
        return await self._call(self._store.append_records, records)

    async def read(self, selection: Selection = EVERYTHING) -> AsyncIterator[Record]:
        """As of `Store`; what is not read to the end should be closed with `aclose`."""
        async for record in self._iterate(self._store.read(selection)):
            yield record

    async def get_events(self, from_id: int = 1) -> AsyncIterator[Record]:
        """As of `Store`."""
        async for record in self._iterate(self._store.get_events(from_id)):
            yield record

    async def tail(self, count: int) -> list[Record]:
        """As of `Store`."""
        return await self._call(self._store.tail, count)

    async def flush(self) -> None:
        """As of `Store`."""
        await self._call(self._store.flush)

    async def verify(self) -> Verification:
        """As of `Store`."""
        return await self._call(self._store.verify)

    async def stats(self) -> Stats:
        """As of `Store`."""
        return await self._call(self._store.stats)

    async def close(self) -> None:
        """As of `Store`."""
        await self._call(self._store.close)
        self._thread.shutdown()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _iterate(self, records: Iterator[Record]) -> AsyncIterator[Record]:
        while group := await self._call(lambda: list(islice(records, RECORDS_PER_CALL))):
            for record in group:
                yield record

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
