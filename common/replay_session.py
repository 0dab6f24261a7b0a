"""One replay into the in-process bus: takes what is due, publishes it, and listens to keys and programs meanwhile.

It opens no socket. A handler that raises is counted and named, and its event is not tried again.
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from common.bus.bus import Bus
from common.bus.config import BreakerConfig, BusConfig, RetryConfig
from common.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from common.events.base import Event, Message
from common.events.registry import type_name
from common.store.replay.player import Player
from common.store.times import format_time_ns

BATCH_EVENTS = 1_000  # far fewer than a queue of the bus holds: none is conflated or dropped
LISTEN_NS = NS_PER_MS
NAP_NS_MAX = 20 * NS_PER_MS
# asyncio sleeps in whole ms; what is left is slept by the clock, which is late by some 60 µs.
FINE_NS = 2 * NS_PER_MS
FAILURES_NAMED = 10
BUS = BusConfig(retry=RetryConfig(retries_max=0), breaker=BreakerConfig(failures_max=2**62))
Handler = Callable[[Event], Any]


class Watcher(Protocol):
    """What looks at a replay while it runs: keys, a control channel, progress."""

    def look(self, clock_ns: int) -> None:
        """Called about once a ms."""
        ...


class Outcome(msgspec.Struct, kw_only=True):
    """What a replay did. `events` are by type name; `failures` are the first of the `failed` calls of handlers."""

    events: dict[str, int] = msgspec.field(default_factory=dict)
    played: int = 0
    not_events: int = 0  # commands, queries and replies: a bus carries events only
    repeats: int = 0  # known to the bus by their event id, so delivered once
    clock_went_back: int = 0
    failed: int = 0
    failures: list[str] = msgspec.field(default_factory=list)
    is_stopped: bool = False
    elapsed_s: float = 0.0


async def nap(duration_ns: int) -> None:
    """Sleep at most so long, and to within 0.1 ms where less than 2 ms are left."""
    if duration_ns > FINE_NS:
        await asyncio.sleep((duration_ns - FINE_NS) / NS_PER_S)
    else:
        SystemClock.sleep_ns(duration_ns)


class Session:
    """Plays a range to handlers that are subscribed to a bus in memory."""

    def __init__(
        self,
        player: Player[Message],
        handlers: Mapping[str, Handler],
        *,
        watchers: Sequence[Watcher] = (),
        stops_on_error: bool = False,
        clock: Clock | None = None,
        sleep: Callable[[int], Awaitable[None]] = nap,
    ) -> None:
        """Prepare.

        Args:
            player: What is played; it is started here.
            handlers: Called with each event, by the name under which their failures are told; plain or coroutine
                functions.
            watchers: Called about once a ms.
            stops_on_error: End after the first event that a handler failed at.
            clock: Paces.
            sleep: Waits at most so many ns.
        """
        self.outcome = Outcome()
        self._player = player
        self._handlers = dict(handlers)
        self._watchers = watchers
        self._stops_on_error = stops_on_error
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._counts: Counter[type[Message]] = Counter()
        self._next_look_ns = 0

    def stop(self) -> None:
        """End after the event in hand."""
        self.outcome.is_stopped = True

    async def run(self) -> Outcome:
        """Play to the end, or until stopped. What ended it early is in the player's `error`."""
        player, outcome = self._player, self.outcome
        started_ns = self._clock.monotonic_ns()
        player.start(started_ns)
        bus, seeks = await self._open_bus(), player.seeks
        try:
            while True:
                now_ns = self._clock.monotonic_ns()
                self._look(now_ns)
                if outcome.is_stopped:
                    break
                if player.seeks != seeks:
                    # A bus delivers an event id once; what is played again is new to another bus.
                    await bus.close()
                    bus, seeks = await self._open_bus(), player.seeks
                messages = player.take(now_ns, BATCH_EVENTS)
                if messages:
                    await self._publish(bus, messages)
                elif player.is_ended:
                    break
                else:
                    await self._wait(now_ns)
        finally:
            await bus.close()
            player.close()
        outcome.events = dict(sorted((type_name(kind), count) for kind, count in self._counts.items()))
        outcome.clock_went_back = player.clock_went_back
        outcome.elapsed_s = (self._clock.monotonic_ns() - started_ns) / NS_PER_S
        return outcome

    async def _publish(self, bus: Bus, messages: Sequence[Message]) -> None:
        outcome, played = self.outcome, self.outcome.played
        events = [message for message in messages if isinstance(message, Event)]
        outcome.not_events += len(messages) - len(events)
        await bus.publish_batch(events)
        await bus.drain()
        if not outcome.is_stopped:
            outcome.repeats += len(events) - (outcome.played - played)

    async def _wait(self, now_ns: int) -> None:
        due_ns = self._player.pacer.due_ns()
        left_ns = NAP_NS_MAX if due_ns is None else min(due_ns - now_ns, NAP_NS_MAX)
        if left_ns > 0:
            await self._sleep(left_ns)

    def _look(self, now_ns: int) -> None:
        if now_ns >= self._next_look_ns:
            self._next_look_ns = now_ns + LISTEN_NS
            for watcher in self._watchers:
                watcher.look(now_ns)

    async def _open_bus(self) -> Bus:
        bus = Bus(BUS, source="replay", clock=self._clock)
        is_async = any(map(inspect.iscoroutinefunction, self._handlers.values()))
        # One subscription for all: each sees an event before any sees the next, so the same range runs the same way.
        bus.subscribe(Event, self._handle_awaiting if is_async else self._handle, name="replay")
        await bus.open()
        return bus

    def _handle(self, event: Event) -> None:
        outcome = self.outcome
        if outcome.is_stopped:
            return
        outcome.played += 1
        self._counts[type(event)] += 1
        for name, handler in self._handlers.items():
            try:
                handler(event)
            except Exception as error:  # noqa: BLE001  # somebody else's code: told, and the replay goes on
                self._fail(name, event, error)

    async def _handle_awaiting(self, event: Event) -> None:
        outcome = self.outcome
        if outcome.is_stopped:
            return
        outcome.played += 1
        self._counts[type(event)] += 1
        for name, handler in self._handlers.items():
            try:
                answer = handler(event)
                if inspect.isawaitable(answer):
                    await answer
            except asyncio.CancelledError as error:  # by the bus, which waits no longer
                self._fail(name, event, error)
                raise
            except Exception as error:  # noqa: BLE001  # as above
                self._fail(name, event, error)

    def _fail(self, name: str, event: Event, error: BaseException) -> None:
        outcome = self.outcome
        outcome.failed += 1
        if len(outcome.failures) < FAILURES_NAMED:
            what = "no end in time" if isinstance(error, asyncio.CancelledError) else f"{type(error).__name__}: {error}"
            outcome.failures.append(f"{name} at {event.event_id()}, {format_time_ns(event.timestamp_ns)}: {what}")
        outcome.is_stopped |= self._stops_on_error
