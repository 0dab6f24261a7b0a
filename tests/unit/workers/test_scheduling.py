"""Scheduled work: when it is due, once for all that was missed, and lines that are no schedule."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.worker_builders import Desk, until

import workers.scheduling
from common.bus.worker import ScheduledWorker, WorkerContext
from common.clock import NS_PER_S, VirtualClock
from common.errors import ConfigError
from workers.scheduling import keep_schedule, read_schedule

MIDNIGHT_NS = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * NS_PER_S
HOUR_NS = 3_600 * NS_PER_S


class Daily(ScheduledWorker):
    """Remembers when its work was due; fails as often as told."""

    worker_name = "daily"
    schedule = "30 0 * * *"

    def __init__(self, failures: int = 0) -> None:
        self.due: list[int] = []
        self.failures = failures

    async def run(self, due_ns: int, context: WorkerContext) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("no disk")
        self.due.append(due_ns)


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of these tests is virtual, so that there is no need to wait for it."""
    monkeypatch.setattr(workers.scheduling, "LOOK_S_MAX", 0.001)


class CountingClock(VirtualClock):
    """Tells how often it was looked at."""

    looks = 0

    def now_ns(self) -> int:
        self.looks += 1
        return super().now_ns()


def live(worker: Daily, directory: Path, *times_ns: int) -> None:
    """Run a schedule through these times, and end it."""

    async def run() -> None:
        clock = CountingClock(times_ns[0])
        task = asyncio.create_task(keep_schedule(worker, Desk(directory).context._replace(clock=clock)))
        for time_ns in times_ns:
            clock.advance_to(time_ns)
            looks = clock.looks
            await until(lambda looks=looks: task.done() or clock.looks >= looks + 3)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    asyncio.run(run())


def test_work_is_done_when_it_is_due(tmp_path: Path) -> None:
    """Once a day, however often one looks."""
    worker = Daily()

    live(worker, tmp_path, MIDNIGHT_NS, MIDNIGHT_NS + HOUR_NS, MIDNIGHT_NS + 2 * HOUR_NS, MIDNIGHT_NS + 25 * HOUR_NS)

    assert worker.due == [MIDNIGHT_NS + HOUR_NS // 2, MIDNIGHT_NS + 49 * HOUR_NS // 2]


def test_work_that_was_missed_is_done_once(tmp_path: Path) -> None:
    """Three days without a process are one run; the next is due as ever."""
    live(Daily(), tmp_path, MIDNIGHT_NS)
    worker = Daily()

    live(worker, tmp_path, MIDNIGHT_NS + 72 * HOUR_NS, MIDNIGHT_NS + 73 * HOUR_NS)

    assert worker.due == [MIDNIGHT_NS + HOUR_NS // 2, MIDNIGHT_NS + 72 * HOUR_NS + HOUR_NS // 2]


def test_work_that_was_done_is_not_done_again_by_the_next_life(tmp_path: Path) -> None:
    """The time of the last run outlives the process."""
    live(Daily(), tmp_path, MIDNIGHT_NS, MIDNIGHT_NS + HOUR_NS)
    worker = Daily()

    live(worker, tmp_path, MIDNIGHT_NS + HOUR_NS)

    assert worker.due == []


def test_work_that_fails_is_due_again(tmp_path: Path) -> None:
    """The failure ends the life; the next one tries again."""
    worker = Daily(failures=1)
    with pytest.raises(OSError, match="no disk"):
        live(worker, tmp_path, MIDNIGHT_NS, MIDNIGHT_NS + HOUR_NS)

    live(worker, tmp_path, MIDNIGHT_NS + HOUR_NS)

    assert worker.due == [MIDNIGHT_NS + HOUR_NS // 2]


def test_clock_that_jumps_back_repeats_nothing(tmp_path: Path) -> None:
    """What was done stays done."""
    live(Daily(), tmp_path, MIDNIGHT_NS, MIDNIGHT_NS + HOUR_NS)
    worker = Daily()

    live(worker, tmp_path, MIDNIGHT_NS, MIDNIGHT_NS + HOUR_NS)

    assert worker.due == []


@pytest.mark.parametrize("line", ["", "* * *", "61 * * * *", "a b c d e", "0 0 30 2 *"])
def test_line_that_is_no_schedule_is_refused(line: str) -> None:
    """With the line, and what is wrong with it."""
    with pytest.raises(ConfigError, match="expected minute hour day month weekday"):
        read_schedule(line)
