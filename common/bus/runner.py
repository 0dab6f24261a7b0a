"""The task that calls one handler: event by event in order, again after a passing failure, and never for too long."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Sequence
from contextvars import ContextVar
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from common.bus.dead_letters import DeadLetter
from common.bus.failures import Category, HandlerTimeoutError, category_of
from common.bus.lanes import Carried, Lane
from common.bus.letters import letter_for
from common.clock import NS_PER_MS, NS_PER_S
from common.events.base import Event, Priority
from common.events.risk import CircuitState

if TYPE_CHECKING:
    from common.bus.subscription import Subscription

# Events that one handler may take before the next one has its turn: the longest that a critical event waits for each
# busy handler, and few enough switches to cost nothing.
EVENTS_PER_TURN = 128
LETTER_RETRY_S = 1.0
BLOCKED_PAUSE_S = 0.001

# The runner whose handler is at work in this task, or in one that it made.
HANDLING: ContextVar["Runner | None"] = ContextVar("tickpulse_handling", default=None)


class Runner:
    """One task of a subscription: the only one, but for those whose call was given up."""

    def __init__(
        self, subscription: "Subscription", after: "Sequence[Runner]", *, heir_of: "Runner | None" = None
    ) -> None:
        """Begin.

        Args:
            subscription: Whose handler is called.
            after: Runners whose event in hand ends first.
            heir_of: The runner whose call was given up; its event is written off here.
        """
        self.subscription = subscription
        self.event: Event | None = None
        self.carried: Carried | None = None
        self.calls = 0  # of the handler with an event in hand; a retry is one more
        self.is_calling = False  # the handler is at work
        self.is_given_up = False
        self.is_blocking = False  # set by a thread: this call holds the whole loop
        self._is_timed_out = False
        self._is_wary = False  # one event a turn, and the breaker is told when one goes well
        self._is_ending = False
        self._between_turns: list[asyncio.Future[None]] = []
        if heir_of is not None:
            heir_of.is_given_up = True
            self.event, self.carried = heir_of.event, heir_of.carried
        loop = asyncio.get_running_loop()
        self.task = loop.create_task(self._run(list(after)), name=f"bus:{subscription.name}")

    @property
    def hops(self) -> int:
        """How many handlers lie between the first event of a chain and the one in hand."""
        return 0 if self.carried is None else self.carried.hops

    def cancel(self) -> None:
        """End the call under way."""
        if not self._is_timed_out:
            self._is_timed_out = True
            self.subscription.counts.timeouts += 1
            self.task.cancel()

    def end_turn(self) -> None:
        """Take no further event in this turn."""
        self._is_wary = self._is_ending = True

    async def write_off(self) -> None:
        """Do without the event of a call that goes on although it was cancelled."""
        subscription, event = self.subscription, self.event
        if event is None:
            return
        clock = subscription.environment.clock
        failure = HandlerTimeoutError(f"{subscription.name}: went on after it was cancelled")
        self._is_wary = True
        subscription.breaker.on_failure(clock.monotonic_ns())
        await self._bury(event, failure, self._count(failure), 1, clock.now_ns())
        self.event = self.carried = None

    async def turn_ended(self) -> None:
        """Wait until the event in hand has been handled."""
        if self.event is not None and not self.task.done():
            self.end_turn()
            future = asyncio.get_running_loop().create_future()
            self._between_turns.append(future)
            await asyncio.wait([future, self.task], return_when=asyncio.FIRST_COMPLETED)

    async def _run(self, after: "list[Runner]") -> None:
        subscription = self.subscription
        HANDLING.set(self)
        for other in after:
            await other.turn_ended()
        if self.event is not None:
            await self.write_off()
        while not self.is_given_up and not subscription.is_closing.is_set():
            await self._turn()

    async def _turn(self) -> None:
        """Wait for an event, or handle some of one priority."""
        subscription = self.subscription
        lanes = subscription.lanes
        lane = lanes.next_lane()
        if lane is None:
            await subscription.sleep()
            return
        if subscription.breaker.state is not CircuitState.CLOSED and not await self._may_probe():
            return
        self.is_calling, self._is_ending = True, False
        blocked = subscription.counts.blocked
        await self._handle_some(lane)
        if self.is_given_up:
            return
        self.is_calling = False
        for waiting in self._between_turns:
            if not waiting.done():
                waiting.set_result(None)
        self._between_turns.clear()
        came_ns = lane.came_ns()
        if came_ns is not None:
            subscription.latency.record(subscription.environment.clock.monotonic_ns() - came_ns)
        if subscription.is_overrun and 2 * len(lane.queue) < lane.capacity:
            subscription.is_overrun = False
        # The watch first: it has to see that the loop turns before it can see that it is blocked again.
        await asyncio.sleep(0 if subscription.counts.blocked == blocked else BLOCKED_PAUSE_S)

    # One loop and no calls: an event costs 0.4 µs here, and each call would add a quarter.
    async def _handle_some(self, lane: Lane) -> None:  # noqa: C901, PLR0912
        """Handle events of one priority in their order; stop early where something more urgent has come."""
        subscription = self.subscription
        queue, handler, test, counts = lane.queue, subscription.handler, subscription.test, subscription.counts
        critical, high = subscription.lanes.lanes[0].queue, subscription.lanes.lanes[1].queue
        is_urgent = queue is critical or queue is high
        for _ in range(EVENTS_PER_TURN):
            if not queue:
                return
            item: Any = queue.popleft()
            if lane.door:
                lane.admit()
            if type(item) is Carried:
                self.carried, item = item, item.event
            self.event = item
            try:
                if test is None or test(item):
                    result = handler(item)
                    if type(result) is CoroutineType or (result is not None and isinstance(result, Awaitable)):
                        await result
                        if self.is_given_up:
                            return  # another task has taken over, and has written this event off
                    if self.is_blocking or self._is_wary or self._is_timed_out or self.carried is not None:
                        self._succeed()
                    counts.handled += 1
                else:
                    self._pass_over()
            except (KeyboardInterrupt, SystemExit, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001  # a guest's code may raise anything
                if self.is_given_up:
                    return
                await self._fail(item, self._own(error))
                if self.is_given_up:
                    return
            self.event = None
            self.carried = None
            if self._is_wary or (not is_urgent and (critical or high)):
                return

    async def _may_probe(self) -> bool:
        """Wait while the circuit is open; what comes in the meantime waits in the queue, by its policy."""
        subscription = self.subscription
        now_ns = subscription.environment.clock.monotonic_ns()
        if subscription.breaker.may_pass(now_ns):
            self._is_wary = True  # so that one event is the probe, and its end is told to the breaker
            return True
        opens_ns = subscription.breaker.next_change_ns() or now_ns
        await subscription.pause(max(opens_ns - now_ns, NS_PER_MS) / NS_PER_S)
        return False

    def _succeed(self) -> None:
        """The rarer things to do after a call that went well."""
        subscription = self.subscription
        now_ns = subscription.environment.clock.monotonic_ns()
        if self._is_timed_out:
            self._forgive()
        if self.is_blocking:
            # As bad as a timeout, whatever it gave back.
            self.is_blocking = False
            self._is_wary = True
            subscription.counts.blocked += 1
            subscription.breaker.on_failure(now_ns)
        elif self._is_wary:
            self._is_wary = self._is_ending
            subscription.breaker.on_success(now_ns)
        if self.carried is not None and self.carried.redelivery is not None:
            self.carried.redelivery.succeed()

    def _pass_over(self) -> None:
        """The filter says no."""
        subscription = self.subscription
        subscription.counts.filtered += 1
        subscription.breaker.on_untried()
        if self.carried is not None and self.carried.redelivery is not None:
            self.carried.redelivery.succeed()

    async def _fail(self, event: Event, failure: BaseException) -> None:
        """Do what the category of a failure asks for: try again, or write a letter."""
        subscription = self.subscription
        retry, breaker, clock = subscription.config.retry, subscription.breaker, subscription.environment.clock
        first_ns, attempts = clock.now_ns(), 1
        retries_max = 0 if breaker.state is CircuitState.HALF_OPEN else retry.retries_max
        self._is_wary = True
        if self.is_blocking:
            self.is_blocking = False
            subscription.counts.blocked += 1
        while (category := self._count(failure)) is Category.TRANSIENT:
            if attempts > retries_max or subscription.is_closing.is_set():
                break
            self.is_calling = False
            await subscription.pause(self._pause_s(attempts))
            subscription.counts.retries += 1
            attempts += 1
            again = await self._try(event)
            if self.is_given_up:
                return
            if again is None:
                self._succeed()
                subscription.counts.handled += 1
                return
            failure = again
        self.is_calling = False
        if category is Category.POISON:
            breaker.on_untried()
        else:
            breaker.on_failure(clock.monotonic_ns())
        await self._bury(event, failure, category, attempts, first_ns)

    async def _try(self, event: Event) -> BaseException | None:
        """Call the handler once more; gives back what it raised."""
        self.calls += 1
        self.is_calling = True
        try:
            result = self.subscription.handler(event)
            if isinstance(result, Awaitable):
                await result
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001  # a guest's code may raise anything
            return error if self.is_given_up else self._own(error)
        return None

    def _count(self, failure: BaseException) -> Category:
        counts, category = self.subscription.counts, category_of(failure)
        if category is Category.POISON:
            counts.poison += 1
        else:
            counts.failed += 1
        return category

    def _own(self, error: BaseException) -> BaseException:
        """What an exception stands for: whatever ends a call that was cancelled in time is a timeout.

        Raises:
            asyncio.CancelledError: It was somebody else who cancelled.
        """
        if self._is_timed_out:
            self._forgive()
            name, timeout_ms = self.subscription.name, self.subscription.config.handler_timeout_ms
            return HandlerTimeoutError(f"{name}: expected an end within {timeout_ms} ms")
        if isinstance(error, asyncio.CancelledError) and self.task.cancelling():
            raise error
        return error

    def _forgive(self) -> None:
        """The cancellation was ours, and its call has ended."""
        self._is_timed_out = False
        self.task.uncancel()

    def _pause_s(self, attempts: int) -> float:
        retry = self.subscription.config.retry
        pause_ms = min(retry.pause_ms * 2 ** min(attempts - 1, 32), retry.pause_ms_max)
        jitter = retry.jitter * self.subscription.environment.random.uniform(-1, 1)
        return float(pause_ms * (1 + jitter) / 1_000)

    async def _bury(
        self, event: Event, failure: BaseException, category: Category, attempts: int, first_ns: int
    ) -> None:
        """Write a letter. While that fails a critical event holds its handler up, any other one is lost, counted."""
        subscription = self.subscription
        reason = type(failure).__name__
        letter = letter_for(
            event, subscription.name, category=category, reason=_code(reason), detail=f"{reason}: {failure}",
            attempts=attempts, times_ns=(first_ns, subscription.environment.clock.now_ns()),
        )  # fmt: skip
        if self.carried is not None and self.carried.redelivery is not None:
            self.carried.redelivery.fail(letter)
            subscription.counts.dead_letters += 1
            return
        while not self._keep(letter):
            if event.priority > Priority.HIGH or subscription.is_closing.is_set():
                subscription.counts.lost += 1
                subscription.environment.log.error("event_lost", handler=subscription.name, content=repr(event)[:2_000])
                return
            await subscription.pause(LETTER_RETRY_S)

    def _keep(self, letter: DeadLetter) -> bool:
        subscription, log = self.subscription, self.subscription.environment.log
        try:
            number = subscription.environment.letters.keep(letter)
        except (sqlite3.Error, OSError) as error:
            log.exception("dead_letter_refused", handler=subscription.name, event_id=letter.event_id, reason=str(error))
            return False
        subscription.counts.dead_letters += 1
        # A handler that fails each time must not fill the log: the letters themselves are in their box.
        now_ns = subscription.environment.clock.monotonic_ns()
        if now_ns < subscription.next_letter_told_ns:
            return True
        subscription.next_letter_told_ns = now_ns + NS_PER_S
        log.warning(
            "dead_letter", handler=subscription.name, letter=number, event_id=letter.event_id,
            category=letter.category, attempts=letter.attempts, reason=letter.detail,
        )  # fmt: skip
        return True


def _code(name: str) -> str:
    """An exception's name as a reason code: `HandlerTimeoutError` is HANDLER_TIMEOUT_ERROR."""
    return "".join(f"_{char}" if char.isupper() and index else char for index, char in enumerate(name)).upper()
