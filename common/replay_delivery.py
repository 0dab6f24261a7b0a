"""How a replay hands events to handlers: it calls them, or goes over a bus in memory.

Calling costs a fraction. A bus delivers each event id once, cancels a coroutine that does not end, and names what
blocks. Either way each event is finished by all handlers before the next one begins, so a range runs alike each time.
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from common.bus.bus import Bus
from common.bus.config import BreakerConfig, BusConfig, RetryConfig
from common.clock import Clock
from common.events.base import Event, Message
from common.store.times import format_time_ns

FAILURES_NAMED = 10
BUS = BusConfig(retry=RetryConfig(retries_max=0), breaker=BreakerConfig(failures_max=2**62))
Handler = Callable[[Event], Any]


class Outcome(msgspec.Struct, kw_only=True):
    """What a replay did. `events` are by type name; `failures` are the first of the `failed` calls of handlers.

    `late_us`: how much later than due events were handed out, percentiles and maximum; None where nothing was due by a
    clock.
    """

    events: dict[str, int] = msgspec.field(default_factory=dict)
    played: int = 0
    not_events: int = 0  # commands, queries and replies: handlers get events only
    repeats: int = 0  # known to a bus by their event id, so delivered once
    clock_went_back: int = 0
    failed: int = 0
    failures: list[str] = msgspec.field(default_factory=list)
    is_stopped: bool = False
    elapsed_s: float = 0.0
    late_us: dict[str, float | None] = msgspec.field(default_factory=dict)


class Calls:
    """Calls each handler with each event."""

    def __init__(self, handlers: Mapping[str, Handler], outcome: Outcome, *, stops_on_error: bool) -> None:
        self.counts: Counter[type[Message]] = Counter()
        self.is_async = any(map(inspect.iscoroutinefunction, handlers.values()))
        self._handlers = list(handlers.items())
        self._outcome = outcome
        self._stops_on_error = stops_on_error

    async def begin(self) -> None:
        """Get ready, also for a part that was played before."""

    async def hand_out(self, events: Sequence[Event]) -> None:
        """Give these to all handlers, up to the one at which the replay is stopped."""
        if self.is_async:
            await self.call_awaiting(events)
        else:
            self.call(events)

    async def end(self) -> None:
        """Give back what `begin` took."""

    def call(self, events: Sequence[Event]) -> None:
        """The same where all are plain functions."""
        outcome, done = self._outcome, 0
        for done, event in enumerate(events, start=1):  # noqa: B007  # where it was stopped
            for name, handler in self._handlers:
                try:
                    handler(event)
                except Exception as error:  # noqa: BLE001  # somebody else's code: told, and the replay goes on
                    self._fail(name, event, error)
            if outcome.is_stopped:
                break
        self._count(events, done)

    async def call_awaiting(self, events: Sequence[Event]) -> None:
        """The same where some give back what must be awaited."""
        outcome, done = self._outcome, 0
        for done, event in enumerate(events, start=1):
            for name, handler in self._handlers:
                try:
                    answer = handler(event)
                    if inspect.isawaitable(answer):
                        await answer
                except asyncio.CancelledError as error:  # by the bus, which waits no longer
                    self._fail(name, event, error)
                    self._count(events, done)
                    raise
                except Exception as error:  # noqa: BLE001  # as above
                    self._fail(name, event, error)
            if outcome.is_stopped:
                break
        self._count(events, done)

    def _count(self, events: Sequence[Event], done: int) -> None:
        self._outcome.played += done
        self.counts.update(map(type, events[:done]))

    def _fail(self, name: str, event: Event, error: BaseException) -> None:
        outcome = self._outcome
        outcome.failed += 1
        if len(outcome.failures) < FAILURES_NAMED:
            what = "no end in time" if isinstance(error, asyncio.CancelledError) else f"{type(error).__name__}: {error}"
            outcome.failures.append(f"{name} at {event.event_id()}, {format_time_ns(event.timestamp_ns)}: {what}")
        outcome.is_stopped |= self._stops_on_error


class OverBus:
    """Publishes each event into a bus, whose one subscriber makes the calls."""

    def __init__(self, calls: Calls, outcome: Outcome, clock: Clock) -> None:
        self._calls = calls
        self._outcome = outcome
        self._clock = clock
        self._bus: Bus | None = None

    async def begin(self) -> None:
        """Open a bus: what is played again is new to another one."""
        await self.end()
        self._bus = Bus(BUS, source="replay", clock=self._clock)
        self._bus.subscribe(Event, self._handle_awaiting if self._calls.is_async else self._handle, name="replay")
        await self._bus.open()

    async def hand_out(self, events: Sequence[Event]) -> None:
        """Publish, and wait until all of it is done."""
        outcome, played = self._outcome, self._outcome.played
        if self._bus is not None:
            await self._bus.publish_batch(events)
            await self._bus.drain()
        if not outcome.is_stopped:
            outcome.repeats += len(events) - (outcome.played - played)

    async def end(self) -> None:
        """Close the bus. Safe to repeat."""
        if self._bus is not None:
            await self._bus.close()
            self._bus = None

    def _handle(self, event: Event) -> None:
        if not self._outcome.is_stopped:
            self._calls.call((event,))

    async def _handle_awaiting(self, event: Event) -> None:
        if not self._outcome.is_stopped:
            await self._calls.call_awaiting((event,))
