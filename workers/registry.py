"""Who works here: starts, feeds, watches and restarts workers, each apart from all others."""

import asyncio
import contextlib
import enum
import functools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Self

import msgspec

from common.bus import Bus, BusConfig, Subscription
from common.bus.failures import category_of
from common.bus.letters import letter_for
from common.bus.worker import BatchWorker, EventWorker, Projector, ScheduledWorker, Worker, WorkerContext
from common.clock import NS_PER_MS
from common.errors import ConfigError, InvalidValueError
from common.events.base import Event
from common.events.risk import CircuitState
from common.log import Log
from workers.batching import Batcher
from workers.config import WorkersConfig
from workers.following import follow
from workers.scheduling import keep_schedule

ContextFor = Callable[[str], WorkerContext]


class WorkerState(enum.StrEnum):
    """The life of a worker, as its registry sees it."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"  # it failed, and pauses before its next start
    FAILED = "failed"  # its config is wrong: a person must change it, so it is not started again
    STOPPED = "stopped"


class WorkerSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker is."""

    kind: str
    state: WorkerState
    detail: str
    restarts: int
    group: str | None = None
    position: int | None = None  # of a projector: the last fact applied
    behind: int | None = None  # of a projector: facts that it has yet to apply


class _Life:
    """One worker and the task that keeps it going."""

    def __init__(self, name: str, worker: Worker) -> None:
        self.name = name
        self.worker = worker
        self.state = WorkerState.STARTING
        self.detail = ""
        self.restarts = 0
        self.behind: int | None = None
        self.looks = 0  # at its history
        self.is_rebuilt = False
        self.subscription: Subscription | None = None
        self.batcher: Batcher | None = None
        self.task: asyncio.Task[None] | None = None


class WorkerRegistry:
    """The workers of one bus. Register by object, at any time; a started registry starts them at once."""

    def __init__(self, bus: Bus, context_for: ContextFor, config: WorkersConfig, log: Log) -> None:
        self._bus = bus
        self._context_for = context_for
        self._config = config
        self._log = log
        self._lives: dict[str, _Life] = {}
        self._is_started = False

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def register(self, make: Callable[[], Worker]) -> list[str]:
        """Take a worker, as many instances as it wants to have; gives back their names.

        Raises:
            InvalidValueError: It is of no kind that we know, or its name is taken.
        """
        first = make()
        if not isinstance(first, EventWorker | ScheduledWorker | Projector):
            raise InvalidValueError(
                f"worker {first!r}: expected an EventWorker, BatchWorker, ScheduledWorker or Projector"
            )
        count = first.instances if isinstance(first, EventWorker) else 1
        names = [first.worker_name] if count == 1 else [f"{first.worker_name}-{number}" for number in range(count)]
        for name in names:
            if name in self._lives:
                raise InvalidValueError(f"worker {name!r}: expected a name of its own, it is registered already")
        for number, name in enumerate(names):
            life = self._lives[name] = _Life(name, first if number == 0 else make())
            if self._is_started:
                self._begin(life)
        return names

    async def unregister(self, name: str) -> None:
        """End a worker and forget it; what waited for it goes to the others of its group.

        Raises:
            InvalidValueError: There is none of this name.
        """
        life = self._lives.pop(name, None)
        if life is None:
            raise InvalidValueError(
                f"worker {name!r}: expected one that is registered: {', '.join(self._lives) or 'none'}"
            )
        await self._end(life)

    def rebuild(self, name: str) -> None:
        """Have a projector forget everything at its start, to be built again from the first fact."""
        self._lives[name].is_rebuilt = True

    def start(self) -> None:
        """Start all that are registered, and each that will be."""
        self._is_started = True
        for life in self._lives.values():
            self._begin(life)

    async def stop(self) -> None:
        """End all of them, at the same time."""
        self._is_started = False
        await asyncio.gather(*(self._end(life) for life in self._lives.values()))

    async def catch_up(self) -> None:
        """Wait until every projector has read its history to the end, as that is now."""
        waiting = [(life, life.looks) for life in self._lives.values() if isinstance(life.worker, Projector)]
        # The look in hand may have begun before now; the one behind it has not.
        while any(life.looks < looks + 2 or life.behind for life, looks in waiting):  # noqa: ASYNC110  # 20 looks a second
            await asyncio.sleep(self._config.history_interval_ms / 1_000)

    def snapshot(self) -> dict[str, WorkerSnapshot]:
        """How all of them are."""
        return {name: _snapshot(life) for name, life in self._lives.items()}

    def failure(self) -> str | None:
        """What a person must change before a worker can run; None while there is nothing."""
        failed = [f"{life.name}: {life.detail}" for life in self._lives.values() if life.state is WorkerState.FAILED]
        return "; ".join(failed) or None

    def unready(self) -> str | None:
        """None when all run; otherwise who does not, and why."""
        waiting = [f"{life.name} ({life.detail or life.state})" for life in self._lives.values()
                   if life.state is not WorkerState.RUNNING]  # fmt: skip
        return f"workers: {', '.join(waiting)}" if waiting else None

    def _begin(self, life: _Life) -> None:
        life.task = asyncio.get_running_loop().create_task(self._keep_going(life), name=f"worker:{life.name}")

    async def _keep_going(self, life: _Life) -> None:
        """Start a worker, and again whenever it fails, with growing pauses."""
        pause_ms = self._config.restart_pause_ms
        while True:
            context = self._context_for(life.worker.worker_name)
            started_ns = context.clock.monotonic_ns()
            cause = await self._live(life, context)
            await self._rest(life)
            if isinstance(cause, ConfigError):
                life.state, life.detail = WorkerState.FAILED, str(cause)
                context.log.error("worker_config_wrong", worker=life.name, reason=life.detail)
                return
            if context.clock.monotonic_ns() - started_ns > 10 * pause_ms * NS_PER_MS:
                pause_ms = self._config.restart_pause_ms
            life.state, life.detail = WorkerState.RESTARTING, f"{type(cause).__name__}: {cause}"[:300]
            context.log.warning("worker_failed", worker=life.name, reason=life.detail, pause_ms=pause_ms)
            await asyncio.sleep(pause_ms / 1_000)
            life.restarts += 1
            pause_ms = min(2 * pause_ms, self._config.restart_pause_ms_max)

    async def _live(self, life: _Life, context: WorkerContext) -> BaseException:
        """One life of a worker; gives back what ended it."""
        try:
            await life.worker.start(context)
            life.state, life.detail = WorkerState.RUNNING, ""
            await self._work(life, context)  # ends by an exception only
        except Exception as error:  # noqa: BLE001  # a guest's code: whatever it raises ends this life, no other
            return _first(error)
        return UnhealthyError("its work ended")

    async def _work(self, life: _Life, context: WorkerContext) -> None:
        worker = life.worker
        if isinstance(worker, EventWorker):
            await self._subscribe(life, worker, context)
        elif isinstance(worker, ScheduledWorker):
            await self._beside_health(life, keep_schedule(worker, context))
        elif isinstance(worker, Projector):

            def tell(behind: int) -> None:
                life.behind = behind
                life.looks += 1

            if life.is_rebuilt:
                await worker.reset()
                life.is_rebuilt = False
            interval_s = self._config.history_interval_ms / 1_000
            await self._beside_health(life, follow(worker, context, interval_s, tell))

    async def _subscribe(self, life: _Life, worker: EventWorker, context: WorkerContext) -> None:
        handler: Callable[[Event], Awaitable[object] | object]
        if isinstance(worker, BatchWorker):
            life.batcher = Batcher(worker, context, functools.partial(self._keep, life, context))
            handler = life.batcher.take
        else:
            handler = functools.partial(_process, worker, context)
        retry = msgspec.structs.replace(
            self._config.bus.retry, retries_max=worker.max_retries, pause_ms=max(int(worker.retry_delay_s * 1_000), 1)
        )
        config: BusConfig = msgspec.structs.replace(
            self._config.bus, retry=retry, handler_timeout_ms=max(int(worker.timeout_s * 1_000), 1)
        )
        life.subscription = self._bus.subscribe(
            worker.interests,
            handler,
            filter=worker.can_handle,
            name=life.name,
            group=worker.consumer_group,
            in_thread=worker.in_thread and life.batcher is None,
            config=config,
        )
        await self._beside_health(life, None if life.batcher is None else life.batcher.run())

    def _keep(self, life: _Life, context: WorkerContext, event: Event, failure: Exception) -> None:
        """Put an event that a batch worker could not handle among the dead letters."""
        now_ns = context.clock.now_ns()
        letter = letter_for(
            event, life.name, category=category_of(failure), reason="BATCH_FAILED",
            detail=f"{type(failure).__name__}: {failure}", attempts=1, times_ns=(now_ns, now_ns),
        )  # fmt: skip
        self._bus.letters.keep(letter)

    async def _beside_health(self, life: _Life, work: Coroutine[Any, Any, None] | None) -> None:
        """Work until it ends or fails, and look at the worker's health meanwhile."""
        async with asyncio.TaskGroup() as tasks:
            if work is not None:
                tasks.create_task(work)
            tasks.create_task(self._look_after(life))

    async def _look_after(self, life: _Life) -> None:
        while True:
            await asyncio.sleep(self._config.health_interval_ms / 1_000)
            complaint = life.worker.health()
            if complaint is not None:
                raise UnhealthyError(complaint)
            breaker = None if life.subscription is None else life.subscription.breaker.state
            life.detail = "" if breaker in {None, CircuitState.CLOSED} else f"circuit breaker {breaker}"

    async def _rest(self, life: _Life) -> None:
        """Give back what a life took; a batch that waits is handled before."""
        subscription, life.subscription = life.subscription, None
        batcher, life.batcher = life.batcher, None
        try:
            if subscription is not None:
                await subscription.unsubscribe()
            if batcher is not None:
                await batcher.flush()
            await life.worker.stop()
        except Exception as error:  # noqa: BLE001  # a guest's code
            self._log.warning("worker_stop_failed", worker=life.name, reason=f"{type(error).__name__}: {error}"[:300])

    async def _end(self, life: _Life) -> None:
        if life.task is not None:
            life.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await life.task
        await self._rest(life)
        life.state = WorkerState.STOPPED


class UnhealthyError(Exception):
    """A worker says that it is not well."""


def _process(worker: EventWorker, context: WorkerContext, event: Event) -> Awaitable[None]:
    """Plain, so that it can be called on a thread, where the worker's method is plain, too."""
    return worker.process_event(event, context)


def _first(error: BaseException) -> BaseException:
    """Of several failures at once the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _snapshot(life: _Life) -> WorkerSnapshot:
    worker = life.worker
    is_running = life.state is WorkerState.RUNNING
    kinds: Sequence[type[Worker]] = (BatchWorker, EventWorker, ScheduledWorker, Projector)
    return WorkerSnapshot(
        kind=next(kind.__name__ for kind in kinds if isinstance(worker, kind)),
        state=life.state,
        detail=life.detail,
        restarts=life.restarts,
        group=worker.consumer_group if isinstance(worker, EventWorker) else None,
        position=worker.position().seq if isinstance(worker, Projector) and is_running else None,
        behind=life.behind,
    )
