"""Collects events for a batch worker: up to so many, and none waits longer than so long."""

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import Awaitable, Callable

from common.bus.failures import Category, category_of
from common.bus.worker import BatchWorker, WorkerContext
from common.events.base import Event

Keep = Callable[[Event, Exception], object]


class Batcher:
    """The waiting batch of one worker.

    What waits here ends with a process that is killed; what must be complete is a projector's work instead.
    """

    def __init__(self, worker: BatchWorker, context: WorkerContext, keep: Keep) -> None:
        """Prepare; `keep` puts an event that failed alone, too, among the dead letters."""
        self._worker = worker
        self._context = context
        self._keep = keep
        self._waiting: deque[Event] = deque()
        self._in_hand: deque[Event] = deque()
        self._has_news = asyncio.Event()
        self._is_full = asyncio.Event()
        self._has_room = asyncio.Event()

    async def take(self, event: Event) -> None:
        """Add an event; waits while a whole batch is waiting already."""
        while len(self._waiting) >= self._worker.batch_events_max:
            self._has_room.clear()
            await self._has_room.wait()
        self._waiting.append(event)
        self._has_news.set()
        if len(self._waiting) >= self._worker.batch_events_max:
            self._is_full.set()

    async def run(self) -> None:
        """Handle what waits, whenever that is a batch, or its first event has waited long enough."""
        while True:
            await self._has_news.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._worker.batch_s_max):
                    await self._is_full.wait()
            await self.flush()

    async def flush(self) -> None:
        """Handle what waits now, and what a flush that was cancelled had in hand."""
        self._in_hand += self._waiting
        self._waiting.clear()
        self._has_news.clear()
        self._is_full.clear()
        self._has_room.set()
        if not self._in_hand:
            return
        worker, context, events = self._worker, self._context, list(self._in_hand)
        failure = await self._try(functools.partial(worker.process_batch, events, context), worker.max_retries)
        if failure is None:
            self._in_hand.clear()
            return
        reason = f"{type(failure).__name__}: {failure}"[:300]
        context.log.warning("batch_failed", worker=worker.worker_name, events=len(events), reason=reason)
        # Where the batch was tried again in vain its events have waited long enough.
        retries = 0 if category_of(failure) is Category.TRANSIENT else worker.max_retries
        while self._in_hand:
            event = self._in_hand[0]
            alone = await self._try(functools.partial(worker.process_event, event, context), retries)
            if alone is not None:
                self._keep(event, alone)
            self._in_hand.popleft()

    async def _try(self, work: Callable[[], Awaitable[None]], retries_max: int) -> Exception | None:
        """Work, and again while it fails for a passing reason; gives back the last failure."""
        pause_s = self._worker.retry_delay_s
        for left in range(retries_max, -1, -1):
            try:
                async with asyncio.timeout(self._worker.timeout_s):
                    await work()
            except Exception as error:  # noqa: BLE001  # a guest's code
                failure = error
            else:
                return None
            if category_of(failure) is not Category.TRANSIENT:
                break
            if left:
                await asyncio.sleep(pause_s)
                pause_s *= 2
        return failure
