"""The registry: each worker's life, apart from all others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.bus_builders import make_trade
from support.worker_builders import Desk, until

from common.bus import Bus
from common.bus.letters import MemoryLetterBox
from common.bus.worker import BatchWorker, EventWorker, Worker, WorkerContext
from common.errors import ConfigError, InvalidValueError
from common.events.base import Event
from common.events.market import Trade
from workers.config import WorkersConfig
from workers.registry import WorkerRegistry, WorkerState

CONFIG = WorkersConfig(history_interval_ms=1, health_interval_ms=1, restart_pause_ms=1, restart_pause_ms_max=4)


class Recorder(EventWorker):
    """Remembers what it got, for all instances together."""

    worker_name = "recorder"
    interests = Trade
    seen: list[tuple[int, str, int]] = []  # noqa: RUF012  # shared on purpose; a test begins with an empty one

    async def process_event(self, event: Event, context: WorkerContext) -> None:
        if isinstance(event, Trade):
            self.seen.append((id(self), event.symbol, event.seq))


@asynccontextmanager
async def running(directory: Path, *makers: Callable[[], Worker]) -> AsyncIterator[tuple[Bus, WorkerRegistry]]:
    """A bus in memory and a registry that runs these workers."""
    Recorder.seen = []
    desk = Desk(directory)
    async with Bus() as bus:
        registry = WorkerRegistry(bus, lambda _name: desk.context, CONFIG, desk.context.log)
        for make in makers:
            registry.register(make)
        async with registry:
            yield bus, registry


def play(story: Callable[[], Awaitable[Any]]) -> None:
    """Run a story to its end."""
    asyncio.run(story())  # type: ignore[arg-type]


async def publish(bus: Bus, count: int, symbols: tuple[str, ...] = ("BTC/USDT",), first: int = 1) -> None:
    """So many trades of each symbol, numbered."""
    for seq in range(first, first + count):
        for symbol in symbols:
            await bus.publish(make_trade(seq, symbol=symbol))
    await bus.drain(5.0)


def test_worker_gets_what_it_asks_for(tmp_path: Path) -> None:
    """And its snapshot tells its kind, its state and its group."""

    async def story() -> None:
        async with running(tmp_path, Recorder) as (bus, registry):
            await until(lambda: registry.unready() is None)
            await publish(bus, 3)

            found = registry.snapshot()["recorder"]
            assert [seq for _, _, seq in Recorder.seen] == [1, 2, 3]
            assert (found.kind, found.state, found.group) == ("EventWorker", WorkerState.RUNNING, "recorder_group")
        assert registry.snapshot()["recorder"].state is WorkerState.STOPPED

    play(story)


def test_instances_share_the_load_and_keep_each_symbol_in_order(tmp_path: Path) -> None:
    """Each event goes to exactly one of them, all of one symbol to the same one."""

    class Shared(Recorder):
        instances = 3

    symbols = tuple(f"S{number}/USDT" for number in range(20))

    async def story() -> None:
        async with running(tmp_path, Shared) as (bus, registry):
            await until(lambda: registry.unready() is None)
            await publish(bus, 10, symbols)
        for symbol in symbols:
            mine = [(member, seq) for member, name, seq in Recorder.seen if name == symbol]
            assert [seq for _, seq in mine] == list(range(1, 11))
            assert len({member for member, _ in mine}) == 1
        assert len({member for member, _, _ in Recorder.seen}) == 3

    play(story)


def test_instance_that_leaves_hands_its_symbols_over(tmp_path: Path) -> None:
    """The others of the group get all that comes."""

    class Shared(Recorder):
        instances = 2

    async def story() -> None:
        async with running(tmp_path, Shared) as (bus, registry):
            await until(lambda: registry.unready() is None)
            await registry.unregister("recorder-0")
            await publish(bus, 2, ("A/USDT", "B/USDT", "C/USDT", "D/USDT"))

            assert len(Recorder.seen) == 8
            assert len({member for member, _, _ in Recorder.seen}) == 1

    play(story)


def test_worker_registered_at_run_time_starts_at_once(tmp_path: Path) -> None:
    """And one that is unregistered gets nothing more."""

    async def story() -> None:
        async with running(tmp_path) as (bus, registry):
            assert registry.register(Recorder) == ["recorder"]
            await until(lambda: registry.unready() is None)
            await publish(bus, 1)
            await registry.unregister("recorder")
            await publish(bus, 1, first=2)

            assert [seq for _, _, seq in Recorder.seen] == [1]
            assert registry.snapshot() == {}
            with pytest.raises(InvalidValueError, match="expected one that is registered: none"):
                await registry.unregister("recorder")

    play(story)


def test_worker_whose_start_fails_is_started_again(tmp_path: Path) -> None:
    """Again and again; meanwhile the others work, and who asks is told why."""

    class Fragile(Recorder):
        worker_name = "fragile"
        starts = 0

        async def start(self, context: WorkerContext) -> None:
            type(self).starts += 1
            if self.starts < 4:
                raise OSError(f"no disk {self.starts}")

    async def story() -> None:
        reasons: set[str | None] = set()
        async with running(tmp_path, Fragile, Recorder) as (bus, registry):
            await until(lambda: reasons.add(registry.unready()) or registry.unready() is None)  # type: ignore[func-returns-value]
            await publish(bus, 1)
            found = registry.snapshot()["fragile"]
        assert (Fragile.starts, found.restarts, found.detail) == (4, 3, "")
        assert any(reason is not None and "OSError: no disk" in reason for reason in reasons)
        assert len(Recorder.seen) == 2

    play(story)


def test_wrong_config_ends_a_worker_for_good(tmp_path: Path) -> None:
    """A restart cannot help; its host decides what follows."""

    class Misled(Recorder):
        starts = 0

        async def start(self, context: WorkerContext) -> None:
            type(self).starts += 1
            raise ConfigError("limit: expected a number, was blue")

    async def story() -> None:
        async with running(tmp_path, Misled) as (_, registry):
            await until(lambda: registry.failure() is not None)

            assert registry.failure() == "recorder: limit: expected a number, was blue"
            assert registry.snapshot()["recorder"].state is WorkerState.FAILED
            assert Misled.starts == 1

    play(story)


def test_unhealthy_worker_is_restarted(tmp_path: Path) -> None:
    """It says itself that it is not well; its next life gets what comes."""

    class Sick(Recorder):
        lives = 0

        async def start(self, context: WorkerContext) -> None:
            type(self).lives += 1

        def health(self) -> str | None:
            return "lost its connection" if self.lives == 1 else None

    async def story() -> None:
        async with running(tmp_path, Sick) as (bus, registry):
            await until(lambda: Sick.lives == 2 and registry.unready() is None)
            await publish(bus, 1)

            assert registry.snapshot()["recorder"].restarts == 1
            assert len(Recorder.seen) == 1

    play(story)


def test_event_that_fails_is_a_dead_letter_and_no_restart(tmp_path: Path) -> None:
    """Events are the bus's matter: retried, kept, and the worker goes on."""

    class Picky(Recorder):
        async def process_event(self, event: Event, context: WorkerContext) -> None:
            if event.seq == 2:
                raise ValueError("not this one")
            await super().process_event(event, context)

    async def story() -> None:
        async with running(tmp_path, Picky) as (bus, registry):
            await until(lambda: registry.unready() is None)
            await publish(bus, 3)

            assert isinstance(bus.letters, MemoryLetterBox)
            assert [letter.owner for letter in bus.letters.letters] == ["recorder"]
            assert [seq for _, _, seq in Recorder.seen] == [1, 3]
            assert registry.snapshot()["recorder"].restarts == 0

    play(story)


def test_blocking_worker_runs_on_a_thread(tmp_path: Path) -> None:
    """A plain `process_event`, for libraries that wait."""

    class Blocking(EventWorker):
        worker_name = "blocking"
        interests = Trade
        in_thread = True
        count = 0

        def process_event(self, event: Event, context: WorkerContext) -> None:  # type: ignore[override]
            with pytest.raises(RuntimeError, match="no running event loop"):
                asyncio.get_running_loop()
            type(self).count += 1

    async def story() -> None:
        async with running(tmp_path, Blocking) as (bus, registry):
            await until(lambda: registry.unready() is None)
            await publish(bus, 2)
            assert Blocking.count == 2

    play(story)


def test_batch_that_waits_is_handled_at_the_end(tmp_path: Path) -> None:
    """An orderly stop loses nothing."""

    class Slow(BatchWorker):
        worker_name = "slow"
        interests = Trade
        batch_s_max = 3_600.0
        batches: list[list[int]] = []  # noqa: RUF012  # read by the test

        async def process_batch(self, events: Any, context: WorkerContext) -> None:
            self.batches.append([event.seq for event in events])

    async def story() -> None:
        async with running(tmp_path, Slow) as (bus, registry):
            await until(lambda: registry.unready() is None)
            await publish(bus, 3)
            assert Slow.batches == []
        assert Slow.batches == [[1, 2, 3]]

    play(story)


def test_what_is_no_worker_or_has_a_taken_name_is_refused(tmp_path: Path) -> None:
    """At once, by name."""

    class Nothing(Worker):
        worker_name = "nothing"

    async def story() -> None:
        async with running(tmp_path, Recorder) as (_, registry):
            with pytest.raises(InvalidValueError, match="registered already"):
                registry.register(Recorder)
            with pytest.raises(InvalidValueError, match="expected an EventWorker"):
                registry.register(Nothing)

    play(story)
