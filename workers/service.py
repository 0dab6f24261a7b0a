"""The host's loop: one asyncio loop inside the turns that every process of ours has."""

import asyncio
import contextlib
from collections.abc import Mapping
from importlib.metadata import entry_points

from common.bus import Bus
from common.bus.dead_letters import FOLDER, DeadLetters
from common.bus.redelivery import Redriver
from common.bus.worker import Projector, Worker, WorkerContext
from common.bus.zeromq import ZeroMQLink
from common.errors import ConfigError, NotReadyError
from common.events.risk import ControlAction
from common.metrics import Latency
from common.process import Process
from common.sockets.control import ask, make_request
from common.sockets.factory import Sockets
from workers.config import WorkersConfig
from workers.options import missing_library
from workers.registry import WorkerRegistry

ENTRY_POINT = "tickpulse.workers"
DRAIN_S = 1.5  # each of the three steps of a stop: less than run.stop_ms_max together


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
        self._sockets = Sockets(process.settings.sockets)  # the link closes them, before the last report of the process
        link = ZeroMQLink(
            self._sockets,
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
        """Let the loop run.

        Raises:
            ConfigError: A worker cannot begin with its config.
        """
        self._run(asyncio.sleep(timeout_ms / 1_000))
        failure = self._registry.failure()
        if failure is not None:
            raise ConfigError(f"worker {failure}")

    def readiness(self) -> str | None:
        """Ready when every worker runs."""
        return self._registry.unready()

    def counters(self) -> dict[str, int]:
        """What the bus and the workers did."""
        snapshot = self._bus.snapshot()
        handlers = snapshot.handlers
        counts = {"events": sum(kind.published for kind in snapshot.types.values())}
        counts["dead_letters"] = sum(
            handler.counts.dead_letters + handler.counts.spilled for handler in handlers.values()
        )
        counts |= {f"handled_{name}": handler.counts.handled for name, handler in handlers.items()}
        counts |= {f"bus_{name}": count for name, count in snapshot.link.items()}
        workers = self._registry.snapshot()
        counts |= {f"behind_{name}": worker.behind for name, worker in workers.items() if worker.behind is not None}
        counts["behind"] = max((worker.behind or 0 for worker in workers.values()), default=0)
        counts["worker_restarts"] = sum(worker.restarts for worker in workers.values())
        return counts

    def latencies(self) -> Mapping[str, Latency]:
        """Nothing is measured across processes here."""
        return {}

    def begin_stop(self) -> None:
        """Finish what waits, then end the workers."""
        self._stopping = self._loop.create_task(self._stop())

    def is_settled(self) -> bool:
        """Tell whether all have ended; raises what kept them from it."""
        if self._stopping is None or not self._stopping.done():
            return self._stopping is None
        self._stopping.result()
        return True

    def close(self) -> None:
        """Give the files back. What was not settled by now is what a crash would leave: the start is the recovery."""
        pending = asyncio.all_tasks(self._loop)
        for task in pending:
            task.cancel()
        if pending:
            self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self._loop.close()
        if hasattr(self, "_letters"):
            self._sockets.close()
            self._letters.close()

    async def _start(self) -> None:
        await self._bus.open()
        for name in self._rebuild:
            self._registry.rebuild(name)
        self._registry.start()
        self._redriving = self._loop.create_task(Redriver(self._bus, self._letters, self._process.log).run())

    async def _stop(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._registry.catch_up()
        self._redriving.cancel()
        await self._bus.drain(DRAIN_S)
        await self._registry.stop()
        await self._bus.close(DRAIN_S)

    def _run(self, work: "asyncio.Future[None] | object") -> None:
        self._loop.run_until_complete(work)  # type: ignore[arg-type]

    def _context_for(self, name: str) -> WorkerContext:
        process = self._process
        return WorkerContext(
            worker_name=name,
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
        try:
            answer = await asyncio.to_thread(ask, self._process.config, request)
        except NotReadyError as error:
            return str(error)
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
    try:
        loaded = found[name].load()
    except ModuleNotFoundError as error:
        raise ConfigError(missing_library(error, f"worker {name!r}")) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Worker)):
        raise ConfigError(f"worker {name!r}: expected a class below common.bus.worker.Worker, was {loaded!r}")
    return loaded
