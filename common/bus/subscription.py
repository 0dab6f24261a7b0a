"""What waits for one handler, and what became of it. The runner beside it calls the handler.

Nothing that happens to one handler touches another: each has queues, a task and a circuit breaker of its own.
"""

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

from common.bus.config import BusConfig
from common.bus.failures import Category
from common.bus.filters import Filter
from common.bus.lanes import Carried, Lanes, event_of
from common.bus.letters import LetterBox, letter_for
from common.bus.runner import HANDLING, Runner
from common.bus.snapshot import HandlerCounts
from common.bus.threads import HandlerThread
from common.circuit_breaker import CircuitBreaker
from common.clock import Clock
from common.events.base import Event, Priority
from common.events.risk import CircuitState
from common.log import SteadyLog
from common.metrics import Latency

Handler = Callable[[Any], Awaitable[object] | object]

CANCEL_S_MAX = 1.0  # to end after a cancellation, when the bus closes


class Environment(NamedTuple):
    """What a subscription has from its bus."""

    clock: Clock
    log: SteadyLog
    letters: LetterBox
    random: random.Random


class Subscription:
    """A handler and all that waits for it. `await subscription.unsubscribe()` ends it."""

    def __init__(
        self,
        name: str,
        handler: Handler,
        *,
        selects: Callable[[Event], bool],
        test: Filter | None,
        group: str | None,
        in_thread: bool,
        config: BusConfig,
        environment: Environment,
    ) -> None:
        self.name = name
        self.group = group
        self.config = config
        self.environment = environment
        self.handler: Handler = HandlerThread(handler, name=f"bus:{name}") if in_thread else handler
        self.lanes = Lanes(config.queue)
        self.latency = Latency()
        self.counts = HandlerCounts()
        self.breaker = CircuitBreaker(config.breaker, self._on_breaker)
        self.is_asleep = False
        self.is_overrun = False  # its publishers waited in vain: until it has caught up they wait no more
        self.is_closing = asyncio.Event()
        self.next_letter_told_ns = 0
        self.unsubscribe: Callable[[], Awaitable[None]]
        self.runner: Runner | None = None
        # A filter that depends on the topic alone is asked once a topic; any other one for each event.
        self.test = None if test is None or test.is_topical else test
        self._topical_test = test if test is not None and test.is_topical else None
        self._selects = selects
        self._wake: asyncio.Future[None] | None = None
        self._settled: list[asyncio.Future[None]] = []
        self._given_up: set[asyncio.Task[None]] = set()

    # The publishers' side

    def asks_for(self, sample: Event) -> bool:
        """Tell whether events of this class and topic are wanted."""
        if not self._selects(sample):
            return False
        if self._topical_test is None:
            return True
        try:
            return bool(self._topical_test(sample))
        except Exception as error:  # a guest's code may raise anything
            # Asked for each event from now on, where its failure is this handler's and not the publisher's.
            self.environment.log.exception("filter_failed", handler=self.name, reason=repr(error))
            self.test, self._topical_test = self._topical_test, None
            return True

    def start(self, after: "list[Subscription] | None" = None) -> None:
        """Begin to handle what comes, once these others are done with the events that they have in hand."""
        runners = [other.runner for other in after or [] if other.runner is not None]
        self.runner = Runner(self, [runner for runner in runners if runner.event is not None])

    def offer(self, item: Event | Carried, priority: Priority) -> bool:
        """Take an event in, or tell that its publisher has to wait."""
        if self.lanes.offer(item, priority):
            self.wake()
            return True
        return False

    def take_over(self, item: Event | Carried, priority: Priority) -> None:
        """Take in an event that was accepted before, whether there is room or not."""
        self.lanes.lanes[priority].take_over(item)
        self.wake()

    def wake(self) -> None:
        """Something waits, or the end has come."""
        if self.is_asleep and self._wake is not None and not self._wake.done():
            self.is_asleep = False
            self._wake.set_result(None)

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing waits and nothing is being handled."""
        return not len(self.lanes) and (self.runner is None or self.runner.event is None)

    async def settled(self) -> None:
        """Wait until nothing waits and nothing is being handled."""
        while not self.is_idle:
            future = asyncio.get_running_loop().create_future()
            self._settled.append(future)
            await future

    def spill(self, item: Event | Carried, reason: str, detail: str) -> None:
        """Put an event that does not fit in the queue among the dead letters.

        Raises:
            sqlite3.Error, OSError: They cannot be written; the event is nowhere.
        """
        if type(item) is Carried and item.redelivery is not None:
            item.redelivery.cancel()  # is a dead letter still
        else:
            now_ns = self.environment.clock.now_ns()
            letter = letter_for(
                event_of(item), self.name, category=Category.TRANSIENT, reason=reason, detail=detail, attempts=0,
                times_ns=(now_ns, now_ns),
            )  # fmt: skip
            self.environment.letters.keep(letter)
        self.counts.spilled += 1

    # The end

    async def stop(self) -> None:
        """End after the event in hand, and end that one if it takes longer than it may. What waits stays."""
        self.is_closing.set()
        self.wake()
        runner = self.runner
        if runner is None:
            return
        runner.end_turn()
        if HANDLING.get() is runner:
            return  # it would wait for itself
        await asyncio.wait([runner.task], timeout=self.config.handler_timeout_ms / 1_000)
        if not runner.task.done():
            runner.cancel()
            await asyncio.wait([runner.task], timeout=CANCEL_S_MAX)
        if self.runner is not None and self.runner is not runner:
            await asyncio.wait([self.runner.task])  # the watch was quicker
        elif not runner.task.done() and runner.event is not None:
            self.counts.abandoned += 1
            self._given_up.add(runner.task)
            runner.is_given_up = True
            await runner.write_off()
        for task in self._given_up:
            task.cancel()
        if isinstance(self.handler, HandlerThread):
            self.handler.close()

    def empty(self) -> list[Event | Carried]:
        """Take out what waits, highest priority first."""
        items = self.lanes.remove(lambda _: True)
        self.release_settled()
        return items

    def leave(self, item: Event | Carried) -> None:
        """The bus closes before an event's turn: to the dead letters what is critical or high, counted the rest."""
        event = event_of(item)
        is_letter = type(item) is Carried and item.redelivery is not None
        if event.priority > Priority.HIGH and not is_letter:
            self.counts.dropped += 1
            return
        try:
            self.spill(item, "BUS_CLOSED", "the bus closed before its turn")
        except (sqlite3.Error, OSError) as error:
            self.counts.lost += 1
            self.environment.log.exception(
                "event_lost",
                handler=self.name,
                event_id=event.event_id(),
                content=repr(event)[:2_000],
                reason=str(error),
            )

    # The watch's side

    def give_up(self) -> None:
        """The call goes on although it was cancelled: leave it alone, and go on with another task."""
        runner = self.runner
        if runner is None or runner.event is None:
            return
        self.counts.abandoned += 1
        self.environment.log.error("handler_abandoned", handler=self.name, type=type(runner.event).__name__)
        self._given_up.add(runner.task)
        runner.task.add_done_callback(self._given_up.discard)
        self.runner = Runner(self, [], heir_of=runner)

    # The runner's side

    async def sleep(self) -> None:
        """Wait until something waits."""
        self.release_settled()
        self._wake = asyncio.get_running_loop().create_future()
        self.is_asleep = True
        try:
            await self._wake
        finally:
            self.is_asleep = False

    async def pause(self, duration_s: float) -> None:
        """Let time pass, but not into the end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.is_closing.wait(), duration_s)

    def release_settled(self) -> None:
        """Tell those who wait for everything to be handled to look."""
        waiting, self._settled = self._settled, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _on_breaker(self, state: CircuitState, now_ns: int, detail: str) -> None:
        self.environment.log.warning("breaker_changed", handler=self.name, state=state.value, detail=detail)
