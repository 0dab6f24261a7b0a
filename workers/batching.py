"""Collects events for a batch worker: up to so many, and none waits longer than so long."""

import asyncio
from collections.abc import Awaitable, Callable

from common.bus.worker import BatchWorker, WorkerContext
from common.events.base import Event


class Batcher:
    """The waiting batch of one worker. What waits here is lost with the process; read models are projectors instead."""

    def __init__(
        self, worker: BatchWorker, context: WorkerContext, redeliver: Callable[[Event], Awaitable[object]]
    ) -> None:
        """Prepare; `redeliver` has the bus call `take` with an event again."""
        self._worker = worker
        self._context = context
        self._redeliver = redeliver
        self._waiting: list[Event] = []
        self._alone: set[str] = set()  # ids of events that were in a batch that failed
        self._lock = asyncio.Lock()
        self._has_news = asyncio.Event()

    async def take(self, event: Event) -> None:
        """Add an event; where that makes a full batch, handle it."""
        if self._alone and event.event_id() in self._alone:
            await self._worker.process_event(event, self._context)
            self._alone.discard(event.event_id())
            return
        self._waiting.append(event)
        self._has_news.set()
        if len(self._waiting) >= self._worker.batch_events_max:
            await self.flush()

    async def flush_in_time(self) -> None:
        """Handle what waits, whenever the first of it has waited long enough."""
        while True:
            await self._has_news.wait()
            await asyncio.sleep(self._worker.batch_s_max)
            await self.flush()

    async def flush(self) -> None:
        """Handle what waits now. Where the batch fails its events come again one by one, as the bus does with each."""
        async with self._lock:
            events, self._waiting = self._waiting, []
            self._has_news.clear()
            if not events:
                return
            try:
                async with asyncio.timeout(self._worker.timeout_s):
                    await self._worker.process_batch(events, self._context)
            except Exception as error:  # noqa: BLE001  # a guest's code
                reason = f"{type(error).__name__}: {error}"[:300]
                self._context.log.warning(
                    "batch_failed", worker=self._worker.worker_name, events=len(events), reason=reason
                )
                self._alone.update(event.event_id() for event in events)
                for event in events:
                    await self._redeliver(event)
