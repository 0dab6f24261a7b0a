"""Calls a scheduled worker by the calendar, and once for what was missed while nobody ran."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from apscheduler.triggers.cron import CronTrigger

from common.bus.worker import ScheduledWorker, WorkerContext
from common.clock import NS_PER_S
from common.errors import ConfigError
from common.run_directory import replace_file

LOOK_S_MAX = 1.0  # a wall clock may jump: nobody sleeps through it


async def keep_schedule(worker: ScheduledWorker, context: WorkerContext) -> None:
    """Call `run` whenever it is due; ends only by an exception.

    Raises:
        ConfigError: The schedule is no crontab line.
    """
    trigger = read_schedule(worker.schedule)
    path = context.state_directory / f"{worker.worker_name}.schedule"
    last = _read_last(path)
    if last is None:
        last = _time(context.clock.now_ns())
        replace_file(path, msgspec.json.encode(last))  # so that a run which is missed before the first one is known
    while True:
        due = next_due(trigger, last)
        now = _time(context.clock.now_ns())
        if due > now:
            await asyncio.sleep(min((due - now).total_seconds(), LOOK_S_MAX))
            continue
        await worker.run(int(due.timestamp()) * NS_PER_S, context)
        last = max(due, now)  # several that were missed are one
        replace_file(path, msgspec.json.encode(last))


def read_schedule(line: str) -> CronTrigger:
    """Read a crontab line.

    Raises:
        ConfigError: It is none, or names a day that never comes.
    """
    try:
        trigger = CronTrigger.from_crontab(line, timezone=UTC)
        if trigger.get_next_fire_time(None, _time(0)) is None:
            raise ValueError("such a day never comes")
    except ValueError as error:
        raise ConfigError(
            f"schedule {line!r}: expected minute hour day month weekday, as in crontab; {error}"
        ) from error
    return trigger


def next_due(trigger: CronTrigger, after: datetime) -> datetime:
    """When it is due next, after a time."""
    due: datetime = trigger.get_next_fire_time(after, after)
    return due


def _time(now_ns: int) -> datetime:
    return datetime.fromtimestamp(now_ns / NS_PER_S, tz=UTC)


def _read_last(path: Path) -> datetime | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=datetime)
    except (OSError, msgspec.DecodeError):
        return None
