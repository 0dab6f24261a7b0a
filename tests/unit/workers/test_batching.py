"""Batches: by count, by time, and what becomes of one that fails."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.bus_builders import make_trade
from support.worker_builders import Desk, until

from common.bus import TransientError
from common.bus.worker import BatchWorker, WorkerContext
from common.events.base import Event
from workers.batching import Batcher


class Collector(BatchWorker):
    """Remembers its batches; fails with what `failures` says, as long as that lasts or for what is named `bad`."""

    worker_name = "collector"
    batch_events_max = 3
    batch_s_max = 3_600.0
    retry_delay_s = 0.001
    max_retries = 2

    def __init__(self, *failures: Exception, bad: int = 0) -> None:
        self.failures = list(failures)
        self.bad = bad
        self.batches: list[list[int]] = []

    async def process_batch(self, events: Sequence[Event], context: WorkerContext) -> None:
        self.batches.append([event.seq for event in events])
        if self.failures:
            raise self.failures.pop(0)
        if any(event.seq == self.bad for event in events):
            raise ValueError("a bad one")


class Case:
    """A worker, its batcher, and what was kept as a dead letter."""

    def __init__(self, worker: Collector, directory: Path) -> None:
        self.worker = worker
        self.kept: list[tuple[int, str]] = []
        keep = lambda event, failure: self.kept.append((event.seq, type(failure).__name__))  # noqa: E731
        self.batcher = Batcher(worker, Desk(directory).context, keep)

    async def take(self, *numbers: int) -> None:
        """Have these events arrive."""
        for seq in numbers:
            await self.batcher.take(make_trade(seq))


def test_full_batch_is_handled_at_once(tmp_path: Path) -> None:
    """Nobody waits an hour for it."""

    async def story() -> None:
        case = Case(Collector(), tmp_path)
        task = asyncio.create_task(case.batcher.run())
        await case.take(1, 2, 3)
        await until(lambda: case.worker.batches == [[1, 2, 3]])
        task.cancel()

    asyncio.run(story())


def test_event_waits_for_room_while_a_batch_waits(tmp_path: Path) -> None:
    """What waits here is bounded."""

    async def story() -> None:
        case = Case(Collector(), tmp_path)
        await case.take(1, 2, 3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await case.take(4)

        await case.batcher.flush()
        await case.take(4)
        await case.batcher.flush()

        assert case.worker.batches == [[1, 2, 3], [4]]

    asyncio.run(story())


def test_batch_that_is_not_full_is_handled_in_time(tmp_path: Path) -> None:
    """After `batch_s_max`, at latest."""

    async def story() -> None:
        case = Case(Collector(), tmp_path)
        case.worker.batch_s_max = 0.01
        task = asyncio.create_task(case.batcher.run())
        await case.take(1)
        await until(lambda: case.worker.batches == [[1]])
        await case.take(2)
        await until(lambda: case.worker.batches == [[1], [2]])
        task.cancel()

    asyncio.run(story())


def test_batch_that_fails_is_tried_event_by_event(tmp_path: Path) -> None:
    """The culprit is found; the others are handled."""

    async def story() -> None:
        case = Case(Collector(bad=2), tmp_path)
        await case.take(1, 2, 3)
        await case.batcher.flush()

        assert case.worker.batches == [[1, 2, 3], [1], [2], [3]]
        assert case.kept == [(2, "ValueError")]

    asyncio.run(story())


def test_passing_failure_is_tried_again_as_a_whole(tmp_path: Path) -> None:
    """Nothing is wrong with its events."""

    async def story() -> None:
        case = Case(Collector(TransientError("busy"), TransientError("busy")), tmp_path)
        await case.take(1, 2)
        await case.batcher.flush()

        assert case.worker.batches == [[1, 2]] * 3
        assert case.kept == []

    asyncio.run(story())


def test_failure_that_does_not_pass_keeps_every_event(tmp_path: Path) -> None:
    """As dead letters, to be redriven when it has passed."""

    async def story() -> None:
        case = Case(Collector(*[TransientError("down")] * 5), tmp_path)
        await case.take(1, 2)
        await case.batcher.flush()

        assert case.kept == [(1, "TransientError"), (2, "TransientError")]
        assert case.worker.batches == [[1, 2]] * 3 + [[1], [2]]

    asyncio.run(story())


def test_batch_that_hangs_has_its_time(tmp_path: Path) -> None:
    """A timeout is a passing failure."""

    class Hanging(Collector):
        timeout_s = 0.01

        async def process_batch(self, events: Sequence[Event], context: WorkerContext) -> None:
            await super().process_batch(events, context)
            if len(self.batches) == 1:
                await asyncio.Event().wait()

    async def story() -> None:
        case = Case(Hanging(), tmp_path)
        await case.take(1)
        await case.batcher.flush()
        assert (case.worker.batches, case.kept) == ([[1], [1]], [])

    asyncio.run(story())


def test_flush_that_is_cancelled_keeps_what_it_had_in_hand(tmp_path: Path) -> None:
    """The next one handles it, with what has come since."""

    class Waiting(Collector):
        async def process_batch(self, events: Sequence[Event], context: WorkerContext) -> None:
            await super().process_batch(events, context)
            if len(self.batches) == 1:
                await asyncio.Event().wait()

    async def story() -> None:
        case = Case(Waiting(), tmp_path)
        await case.take(1, 2)
        task = asyncio.create_task(case.batcher.flush())
        await until(lambda: bool(case.worker.batches))
        task.cancel()
        await asyncio.wait([task])
        await case.take(3)
        await case.batcher.flush()

        assert case.worker.batches == [[1, 2], [1, 2, 3]]

    asyncio.run(story())
