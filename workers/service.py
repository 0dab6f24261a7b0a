"""The host's loop: one asyncio loop inside the turns that every process of ours has."""

import asyncio
import contextlib
from collections.abc import Mapping
from importlib.metadata import entry_points

from common.bus import Bus
from common.bus.dead_letters import FOLDER, DeadLetters
from common.bus.worker import Projector, Worker, WorkerContext
from common.bus.zeromq import ZeroMQLink
from common.errors import ConfigError
from common.events.risk import ControlAction
from common.metrics import Latency
from common.process import Process
from common.sockets.control import ask, make_request
from workers.config import WorkersConfig
from workers.registry import WorkerRegistry

ENTRY_POINT = "tickpulse.workers"
DRAIN_S = 3.0


class WorkersService:
    """Runs the bus and its workers."""

    def __init__(self, process: Process, config: WorkersConfig, rebuild: tuple[str, ...] = ()) -> None:
        """Find the workers.

        Raises:
            ConfigError: One that is enabled, or to be built anew, is not there.
        """
        self._process = process
        self._config = config
        self._makers = {name: load_worker(name) for name in config.enabled}
        for name in rebuild:
            if not issubclass(self._makers.get(name, Worker), Projector):
                known = [name for name, maker in self._makers.items() if issubclass(maker, Projector)]
                raise ConfigError(f"--rebuild {name!r}: expected a read model that is enabled: {', '.join(known)}")
        self._rebuild = rebuild
        self._loop = asyncio.new_event_loop()
        self._stopping: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Connect, and start all workers."""
        process = self._process
        path = process.run_directory.file("state", FOLDER) / f"{process.source}.sqlite"
        self._letters = DeadLetters(path)
        link = ZeroMQLink(
            process.sockets,
            publish=process.endpoint("workers"),
            subscribe=[process.endpoint(channel) for channel in self._config.channels],
            source=process.source,
            epoch=process.epoch,
            clock=process.clock,
            log=process.log,
            letters=self._letters,
        )
        self._bus = Bus(
            self._config.bus,
            link=link,
            source=process.source,
            epoch=process.epoch,
            letters=self._letters,
            clock=process.clock,
            log=process.log,
        )
        self._registry = WorkerRegistry(self._bus, self._context_for, self._config, process.log)
        for make in self._makers.values():
            self._registry.register(make)
        self._run(self._start())

    def turn(self, timeout_ms: int) -> None:
        """Let the loop run."""
        self._run(asyncio.sleep(timeout_ms / 1_000))

    def readiness(self) -> str | None:
        """Ready when every worker runs."""
        return self._registry.unready()

    def counters(self) -> dict[str, int]:
        """What the bus and the workers did."""
        snapshot = self._bus.snapshot()
        counts = {"events_published": sum(kind.published for kind in snapshot.types.values())}
        counts |= {"dead_letters": sum(handler.dead_letters for handler in snapshot.handlers.values())}
        counts |= {f"handled_{name}": handler.handled for name, handler in snapshot.handlers.items()}
        counts |= {f"bus_{name}": count for name, count in snapshot.link.items()}
        workers = self._registry.snapshot()
        counts |= {f"behind_{name}": worker.behind for name, worker in workers.items() if worker.behind is not None}
        counts["worker_restarts"] = sum(worker.restarts for worker in workers.values())
        return counts

    def latencies(self) -> Mapping[str, Latency]:
        """Nothing is measured across processes here."""
        return {}

    def begin_stop(self) -> None:
        """Finish what waits, then end the workers."""
        self._stopping = self._loop.create_task(self._stop())

    def is_settled(self) -> bool:
        """Tell whether all have ended."""
        return self._stopping is None or self._stopping.done()

    def close(self) -> None:
        """Give the files back."""
        if hasattr(self, "_registry") and not self.is_settled():
            self._run(self._stop())
        pending = asyncio.all_tasks(self._loop)
        for task in pending:
            task.cancel()
        if pending:
            self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self._loop.close()
        if hasattr(self, "_letters"):
            self._letters.close()

    async def _start(self) -> None:
        await self._bus.open()
        for name in self._rebuild:
            self._registry.rebuild(name)
        self._registry.start()

    async def _stop(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._registry.catch_up()
        await self._bus.drain(DRAIN_S)
        await self._registry.stop()
        await self._bus.close(DRAIN_S)

    def _run(self, work: "asyncio.Future[None] | object") -> None:
        self._loop.run_until_complete(work)  # type: ignore[arg-type]

    def _context_for(self, name: str) -> WorkerContext:
        process = self._process
        return WorkerContext(
            publish=self._bus.publish,
            clock=process.clock,
            log=process.log.bind(worker=name),
            options=self._config.options.get(name, {}),
            state_directory=process.run_directory.file("state", ""),
            halt=self._halt,
        )

    async def _halt(self, scope: str, by: str, reason: str) -> str | None:
        """Have the executor stop trading; gives back why it was refused."""
        request = make_request(ControlAction.HALT, scope, by, reason)
        answer = await asyncio.to_thread(ask, self._process.config, request)
        return None if answer.is_done else f"{answer.reason}: {answer.detail}"


def load_worker(name: str) -> type[Worker]:
    """A worker's class by its entry point.

    Raises:
        ConfigError: There is none of this name, or it is no worker.
    """
    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINT)}
    if name not in found:
        raise ConfigError(
            f"worker {name!r}: expected one of {', '.join(sorted(found)) or 'none'}; correct [workers] enabled"
        )
    loaded = found[name].load()
    if not (isinstance(loaded, type) and issubclass(loaded, Worker)):
        raise ConfigError(f"worker {name!r}: expected a class below common.bus.worker.Worker, was {loaded!r}")
    return loaded
