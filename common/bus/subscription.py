"""One handler on the bus: its queue, its task, and what follows when it fails, hangs or is too slow.

Nothing that happens here touches another handler: each has a queue, a task and a circuit breaker of its own.
"""

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from types import CoroutineType
from typing import Any, NamedTuple

from common.bus.config import BusConfig
from common.bus.failures import Category, HandlerTimeoutError, category_of
from common.bus.filters import Filter
from common.bus.lanes import Lane, Lanes
from common.bus.letters import LetterBox, letter_for
from common.circuit_breaker import CircuitBreaker
from common.clock import NS_PER_MS, NS_PER_S, Clock
from common.events.base import Event, Priority
from common.events.risk import CircuitState
from common.log import Log
from common.metrics import Latency

Handler = Callable[[Any], Awaitable[object] | object]

# Events that one handler may take before the next one has its turn: the longest that a critical event waits for each
# busy handler, and few enough switches to cost nothing.
EVENTS_PER_TURN = 128
LETTER_RETRY_S = 1.0


class Nested(NamedTuple):
    """An event that was published by a handler, and how many handlers lie between it and the first of its chain."""

    event: Event
    hops: int


# The subscription whose handler is at work in this task, or in one that it made.
HANDLING: ContextVar["Subscription | None"] = ContextVar("tickpulse_handling", default=None)


class Environment(NamedTuple):
    """What a subscription has from its bus."""

    clock: Clock
    log: Log
    letters: LetterBox
    random: random.Random
    on_breaker: Callable[["Subscription", CircuitState, int, str], object]


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
        self.selects = selects
        self.test = test
        self.lanes = Lanes(config.queue)
        self.latency = Latency()
        self.handled = self.failed = self.timeouts = self.retries = self.poison = 0
        self.dead_letters = self.spilled = self.lost = self.abandoned = 0
        self.started = 0  # calls; one that stays the same while busy is one that hangs
        self.is_waiting = True  # for an event, a pause or the dead letters: for anything but its handler
        self.is_asleep = False
        self.is_overrun = False  # its publishers waited in vain: until it has caught up they wait no more
        self.hops = 0
        self.config = config
        self.current: Event | None = None
        self.breaker = CircuitBreaker(config.breaker, self._on_breaker)
        self.unsubscribe: Callable[[], Awaitable[None]]
        self._environment = environment
        self._handler = _threaded(handler) if in_thread else handler
        self._has_failed = False
        self._is_timed_out = False
        self._closing = asyncio.Event()
        self._wake: asyncio.Future[None] | None = None
        self._settled: list[asyncio.Future[None]] = []
        self._room: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None
        self._abandoned_tasks: list[asyncio.Task[None]] = []

    # The publishers' side

    def start(self) -> None:
        """Begin to handle what comes."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"bus:{self.name}")

    def offer(self, item: Event | Nested, priority: Priority) -> bool:
        """Take an event in, or tell that its publisher has to wait."""
        if self.lanes.offer(item, priority):
            self.wake()
            return True
        return False

    def wake(self) -> None:
        """Something waits."""
        if self.is_asleep and self._wake is not None and not self._wake.done():
            self.is_asleep = False
            self._wake.set_result(None)

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing waits and nothing is being handled."""
        return self.current is None and not len(self.lanes)

    async def settled(self) -> None:
        """Wait until nothing waits and nothing is being handled."""
        while not self.is_idle:
            future = asyncio.get_running_loop().create_future()
            self._settled.append(future)
            await future

    async def room(self, priority: Priority, timeout_s: float) -> bool:
        """Wait until a queue takes more; tell whether it does."""
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while self.lanes.lanes[priority].room <= 0:
            left_s = deadline_s - asyncio.get_running_loop().time()
            if left_s <= 0 or self._closing.is_set():
                return False
            future = asyncio.get_running_loop().create_future()
            self._room.append(future)
            await asyncio.wait([future], timeout=left_s)
        return True

    def spill(self, event: Event, reason: str, detail: str) -> None:
        """Put an event that does not fit in the queue among the dead letters.

        Raises:
            sqlite3.Error, OSError: They cannot be written; the event is nowhere.
        """
        now_ns = self._environment.clock.now_ns()
        self._environment.letters.keep(
            letter_for(
                event,
                self.name,
                category=Category.TRANSIENT,
                reason=reason,
                detail=detail,
                attempts=0,
                times_ns=(now_ns, now_ns),
            )
        )
        self.spilled += 1

    async def close(self) -> list[Event]:
        """End: let the event in hand come to its end, within its time; give back what waited."""
        self._closing.set()
        self.wake()
        task = self._task
        if task is not None and task is not asyncio.current_task():
            await asyncio.wait([task], timeout=self.config.handler_timeout_ms / 1_000)
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=1.0)
        for abandoned in self._abandoned_tasks:
            abandoned.cancel()
        self._release(self._room)
        waiting = [item.event if isinstance(item, Nested) else item for item in self.lanes.clear()]
        self._release(self._settled)
        return waiting

    # The watch's side

    def on_timeout(self) -> None:
        """The call that is under way has taken too long: end it."""
        if self._is_timed_out or self._task is None:
            return
        self._is_timed_out = True
        self.timeouts += 1
        self._task.cancel()

    def on_blocked(self) -> None:
        """The last call held the whole loop for too long: as bad as a timeout, whatever it gave back."""
        self.timeouts += 1
        self._count_failure(Category.TRANSIENT)

    def abandon(self) -> None:
        """The call goes on although it was cancelled: leave it alone, and go on with another task."""
        if self._task is None or self.current is None:
            return
        self.abandoned += 1
        self._abandoned_tasks.append(self._task)
        event, self._is_timed_out, self.is_waiting = self.current, False, True
        self._environment.log.error("handler_abandoned", handler=self.name, type=type(event).__name__)
        self._task = asyncio.get_running_loop().create_task(self._run(orphan=event), name=f"bus:{self.name}")

    # The handler's side

    async def _run(self, orphan: Event | None = None) -> None:
        HANDLING.set(self)
        me = asyncio.current_task()
        if orphan is not None:
            await self._fail(orphan, HandlerTimeoutError(f"{self.name}: went on after it was cancelled"), retries=0)
        while self._task is me and not self._closing.is_set():
            try:
                await self._turn()
            except asyncio.CancelledError:
                # A timeout that came too late to matter: its call has ended, and is counted.
                if not self._is_timed_out or me is not self._task:
                    raise
                self._is_timed_out = False
                me.uncancel()

    async def _turn(self) -> None:
        """Wait for an event, or handle some of one priority."""
        self.is_waiting = True
        if not await self._may_handle():
            return
        lane = self.lanes.next_lane()
        if lane is None:
            await self._wait_for_event()
            return
        self.is_waiting = False
        await self._handle_some(lane)
        self._note_latency(lane)
        if self._room:
            self._release(self._room)
        if self.is_overrun and 2 * lane.room > lane.capacity:
            self.is_overrun = False
        await asyncio.sleep(0)

    async def _handle_some(self, lane: Lane) -> None:
        """Handle events of one priority in their order; stop early where something more urgent has come."""
        queue, handler, test = lane.queue, self._handler, self.test
        critical, high = self.lanes.lanes[0].queue, self.lanes.lanes[1].queue
        is_urgent = queue is critical or queue is high
        abandoned = self.abandoned
        for _ in range(min(len(queue), EVENTS_PER_TURN)):
            event = queue.popleft()
            lane.left += 1
            if type(event) is Nested:
                event, self.hops = event  # noqa: PLW2901  # the loop's variable is a count
            self.current = event
            self.started += 1
            try:
                if test is None or test(event):
                    result = handler(event)
                    if type(result) is CoroutineType or isinstance(result, Awaitable):
                        await result
                        if self.abandoned != abandoned:
                            return  # another task has taken over, and has written this event off
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # a guest's code may raise anything
                if self.abandoned != abandoned:
                    return
                await self._fail(event, self._failure(error))
            else:
                self.handled += 1
                if self._has_failed:
                    self._recover()
            self.current = None
            self.hops = 0
            if self._has_failed or (not is_urgent and (critical or high)):
                return

    async def _may_handle(self) -> bool:
        """Wait while the circuit is open; what comes in the meantime waits in the queue, by its policy."""
        breaker = self.breaker
        if breaker.state is CircuitState.CLOSED:
            return True
        if not len(self.lanes):
            await self._wait_for_event()
            return False
        now_ns = self._environment.clock.monotonic_ns()
        if breaker.may_pass(now_ns):
            return True
        opens_ns = breaker.next_change_ns() or now_ns
        await self._pause(max(opens_ns - now_ns, NS_PER_MS) / NS_PER_S)
        return False

    async def _wait_for_event(self) -> None:
        self._release(self._settled)
        self._wake = asyncio.get_running_loop().create_future()
        self.is_asleep = True
        await self._wake

    async def _fail(self, event: Event, error: BaseException, retries: int | None = None) -> None:
        """Do what the category of a failure asks for: try again, or write a letter."""
        retries_max = self.config.retry.retries_max if retries is None else retries
        first_ns = self._environment.clock.now_ns()
        attempts, failure = 1, error
        while True:
            category = category_of(failure)
            self._count_failure(category)
            is_open = self.breaker.state is CircuitState.OPEN
            if category is not Category.TRANSIENT or attempts > retries_max or is_open or self._closing.is_set():
                break
            self.is_waiting = True
            await self._pause(self._pause_s(attempts))
            self.is_waiting = False
            self.retries += 1
            attempts += 1
            again = await self._try(event)
            if again is None:
                self.handled += 1
                self._recover()
                return
            failure = again
        await self._bury(event, failure, category, attempts, first_ns)

    async def _try(self, event: Event) -> BaseException | None:
        """Call the handler once more; gives back what it raised."""
        self.started += 1
        try:
            result = self._handler(event)
            if isinstance(result, Awaitable):
                await result
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # a guest's code may raise anything
            return self._failure(error)
        return None

    async def _bury(
        self, event: Event, failure: BaseException, category: Category, attempts: int, first_ns: int
    ) -> None:
        """Write a letter. While that fails a critical event holds its handler up, and any other one is lost, counted."""
        self.is_waiting = True
        reason = type(failure).__name__
        letter = letter_for(
            event,
            self.name,
            category=category,
            reason=_code(reason),
            detail=f"{reason}: {failure}",
            attempts=attempts,
            times_ns=(first_ns, self._environment.clock.now_ns()),
        )
        log = self._environment.log
        while True:
            try:
                number = self._environment.letters.keep(letter)
            except (sqlite3.Error, OSError) as error:
                log.exception("dead_letter_refused", handler=self.name, event_id=letter.event_id, reason=str(error))
                if event.priority > Priority.HIGH or self._closing.is_set():
                    self.lost += 1
                    return
                await self._pause(LETTER_RETRY_S)
                continue
            self.dead_letters += 1
            log.warning(
                "dead_letter", handler=self.name, letter=number, event_id=letter.event_id, category=category.value,
                attempts=attempts, reason=letter.detail,
            )  # fmt: skip
            return

    async def _pause(self, duration_s: float) -> None:
        """Let time pass, but not into the end."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), duration_s)

    def _count_failure(self, category: Category) -> None:
        if category is Category.POISON:
            self.poison += 1
            return
        self.failed += 1
        self._has_failed = True
        self.breaker.on_failure(self._environment.clock.monotonic_ns())

    def _recover(self) -> None:
        self._has_failed = False
        self.breaker.on_success(self._environment.clock.monotonic_ns())

    def _failure(self, error: BaseException) -> BaseException:
        """What an exception stands for: the cancellation that ends a call in time is a timeout.

        Raises:
            asyncio.CancelledError: It was somebody else who cancelled.
        """
        if not isinstance(error, asyncio.CancelledError):
            return error
        if not self._is_timed_out:
            raise error
        self._is_timed_out = False
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        return HandlerTimeoutError(f"{self.name}: expected an end within {self.config.handler_timeout_ms} ms")

    def _pause_s(self, attempts: int) -> float:
        retry = self.config.retry
        pause_ms = min(retry.pause_ms * 2 ** (attempts - 1), retry.pause_ms_max)
        return pause_ms * (1 + retry.jitter * self._environment.random.uniform(-1, 1)) / 1_000

    def _note_latency(self, lane: Lane) -> None:
        came_ns = lane.came_ns()
        if came_ns is not None:
            self.latency.record(self._environment.clock.monotonic_ns() - came_ns)

    def _on_breaker(self, state: CircuitState, now_ns: int, detail: str) -> None:
        self._environment.on_breaker(self, state, now_ns, detail)

    @staticmethod
    def _release(futures: list[asyncio.Future[None]]) -> None:
        for future in futures:
            if not future.done():
                future.set_result(None)
        futures.clear()


def _threaded(handler: Handler) -> Handler:
    """The same handler on a thread, so that one that blocks does not hold the loop."""

    async def call(event: Event) -> None:
        await asyncio.to_thread(handler, event)

    return call


def _code(name: str) -> str:
    """An exception's name as a reason code: `HandlerTimeoutError` is HANDLER_TIMEOUT_ERROR."""
    return "".join(f"_{char}" if char.isupper() and index else char for index, char in enumerate(name)).upper()
