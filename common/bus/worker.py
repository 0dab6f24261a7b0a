"""What reacts to events off the hot path: the classes that a worker is made from.

    class Greeter(EventWorker):
        worker_name = "greeter"
        interests = OrderFilled

        async def process_event(self, event, context):
            context.log.info("filled", order=event.client_order_id)

Named under the entry point `tickpulse.workers`, it runs in `tickpulse workers`.

| kind | is called with | use it for |
|---|---|---|
| `EventWorker` | each event, at once | reacting |
| `BatchWorker` | up to so many events, at latest after so long | reports, uploads |
| `ScheduledWorker` | the time, by a crontab line | daily work |
| `Projector` | each fact of a history, once, in order, through any crash | read models: what must be complete |
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.bus.selection import Selection
from common.clock import Clock
from common.events.base import Event
from common.history import Position, Recorded
from common.log import Log


class WorkerContext(NamedTuple):
    """What a worker has from its host."""

    worker_name: str
    publish: Callable[[Event], Awaitable[None]]
    clock: Clock
    log: Log
    options: Mapping[str, Any]  # its table in the config, `[workers.NAME]`
    state_directory: Path  # for files of its own, which outlive it
    halt: Callable[[str, str, str], Awaitable[str | None]]  # scope, who, why; gives back why it was refused


class Worker(ABC):
    """What all kinds have: a name, a beginning, an end, and a way to say how it is."""

    worker_name: str

    async def start(self, context: WorkerContext) -> None:  # noqa: B027  # most have nothing to prepare
        """Prepare; called before the first work, and again after each restart.

        What it raises is retried, with growing pauses; but a `ConfigError` needs a person and ends the worker.
        """

    async def stop(self) -> None:  # noqa: B027  # most have nothing to give back
        """Give back what `start` took; called after a start that failed, too."""

    def health(self) -> str | None:
        """None while all is well; otherwise what is wrong, and the worker is restarted."""
        return None


class EventWorker(Worker):
    """Reacts to each event; several instances share them."""

    interests: Selection = Event  # event classes or topic patterns
    max_retries = 3  # of an event that failed for a passing reason
    retry_delay_s = 1.0  # before the first retry; doubles
    timeout_s = 5.0
    instances = 1
    in_thread = False  # True for a plain, blocking `process_event`

    @property
    def consumer_group(self) -> str:
        """Whoever has the same group shares its events, one symbol always with the same member."""
        return f"{self.worker_name}_group"

    def can_handle(self, event: Event) -> bool:
        """Tell whether this event, of those it is interested in, is for it."""
        return True

    @abstractmethod
    async def process_event(self, event: Event, context: WorkerContext) -> None:
        """React. It may be called again with the same event after a failure, so it must bear that."""


class BatchWorker(EventWorker):
    """Reacts to several events at once."""

    batch_events_max = 500
    batch_s_max = 1.0

    @abstractmethod
    async def process_batch(self, events: Sequence[Event], context: WorkerContext) -> None:
        """React to events in their order. Where it fails, they come again one by one, to find the culprit."""

    async def process_event(self, event: Event, context: WorkerContext) -> None:
        await self.process_batch([event], context)


class ScheduledWorker(Worker):
    """Works by the calendar; UTC."""

    schedule: str  # a crontab line: minute hour day-of-month month day-of-week

    @abstractmethod
    async def run(self, due_ns: int, context: WorkerContext) -> None:
        """Work. `due_ns` is when it was due; several missed while nobody ran are one, the first of them."""


class Projector(Worker):
    """Keeps a read model: applies each fact once, in order, and writes its position with the model."""

    history: str = "executor"  # whose facts, by the entry point `tickpulse.histories`
    batch_facts_max = 100  # some 5 ms of the loop that all workers share

    @abstractmethod
    def position(self) -> Position:
        """Number and time of the last fact that the model contains."""

    @abstractmethod
    async def apply(self, facts: Sequence[Recorded], context: WorkerContext) -> None:
        """Bring the model up to the last of these facts, in one transaction."""

    @abstractmethod
    async def reset(self) -> None:
        """Forget everything, to be built again from the first fact."""
