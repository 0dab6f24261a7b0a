"""One replay to handlers in this process: takes what is due, hands it out, and listens to keys and programs meanwhile.

It opens no socket. A handler that raises is counted and named, and its event is not tried again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from common.clock import NS_PER_MS, NS_PER_S, NS_PER_US, Clock, SystemClock
from common.events.base import Event, Message
from common.events.registry import type_name
from common.metrics import Latency
from common.replay_delivery import Calls, Handler, Outcome, OverBus
from common.store.replay.player import Player

BATCH_EVENTS = 1_000  # far fewer than a queue of the bus holds: none is conflated or dropped
LISTEN_NS = NS_PER_MS
NAP_NS_MAX = 20 * NS_PER_MS
# asyncio sleeps in whole ms. What is left is slept by the clock, which is late by some 60 µs; so the end is waited out.
FINE_NS = 2 * NS_PER_MS
AWAKE_NS = 200 * NS_PER_US
# To read a block of the log takes some 2 ms: best where nothing is due for longer.
READ_NS = 4 * NS_PER_MS


class Watcher(Protocol):
    """What looks at a replay while it runs: keys, a control channel, progress."""

    def look(self, clock_ns: int) -> None:
        """Called about once a ms."""
        ...


async def nap(duration_ns: int) -> None:
    """Wait at most so long; to the µs where less than 2 ms are left."""
    if duration_ns > FINE_NS:
        await asyncio.sleep((duration_ns - FINE_NS) / NS_PER_S)
        return
    end_ns = SystemClock.monotonic_ns() + duration_ns
    if duration_ns > AWAKE_NS:
        SystemClock.sleep_ns(duration_ns - AWAKE_NS)
    while SystemClock.monotonic_ns() < end_ns:
        pass


class Session:
    """Plays a range to handlers."""

    def __init__(
        self,
        player: Player[Message],
        handlers: Mapping[str, Handler],
        *,
        watchers: Sequence[Watcher] = (),
        stops_on_error: bool = False,
        uses_bus: bool = False,
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
            uses_bus: Call them over a bus in memory.
            clock: Paces.
            sleep: Waits at most so many ns.
        """
        self.outcome = Outcome()
        self._player = player
        self._watchers = watchers
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._calls = Calls(handlers, self.outcome, stops_on_error=stops_on_error)
        self._delivery = OverBus(self._calls, self.outcome, self._clock) if uses_bus else self._calls
        self._late = Latency()
        self._next_look_ns = 0

    def stop(self) -> None:
        """End after the event in hand."""
        self.outcome.is_stopped = True

    async def run(self) -> Outcome:
        """Play to the end, or until stopped. What ended it early is in the player's `error`."""
        player, outcome = self._player, self.outcome
        started_ns = self._clock.monotonic_ns()
        player.start(started_ns)
        seeks = -1
        try:
            while not outcome.is_stopped:
                if player.seeks != seeks:
                    seeks = player.seeks
                    await self._delivery.begin()
                    # To open the log took a while, and what comes first is due now.
                    player.pacer.begin_at(self._clock.monotonic_ns())
                due_ns = player.pacer.due_ns()
                messages = player.take(self._clock.monotonic_ns(), BATCH_EVENTS)
                if messages:
                    self._note_lateness(due_ns, len(messages))
                    await self._hand_out(messages)
                elif player.is_ended:
                    break
                # Between a sleep and what is due after it there is nothing else to do.
                await self._look()
                if not messages and player.seeks == seeks:
                    await self._wait()
        finally:
            await self._delivery.end()
            player.close()
        counts = self._calls.counts.items()
        outcome.events = dict(sorted((type_name(kind), count) for kind, count in counts))
        outcome.clock_went_back = player.clock_went_back
        outcome.elapsed_s = (self._clock.monotonic_ns() - started_ns) / NS_PER_S
        outcome.late_us = self._late.summary_us()
        return outcome

    def _note_lateness(self, due_ns: int | None, count: int) -> None:
        """The first of what is handed out together stands for all of it: none is later."""
        pacer = self._player.pacer
        if due_ns is not None and pacer.speed and not pacer.is_paused:
            self._late.record(max(self._clock.monotonic_ns() - due_ns, 0), count)

    async def _hand_out(self, messages: Sequence[Message]) -> None:
        events: Sequence[Any] = messages
        if not all(issubclass(kind, Event) for kind in set(map(type, messages))):
            events = [message for message in messages if isinstance(message, Event)]
            self.outcome.not_events += len(messages) - len(events)
        await self._delivery.hand_out(events)

    async def _wait(self) -> None:
        if self._left_ns() > READ_NS:
            self._player.read_on()
        left_ns = self._left_ns()
        if left_ns > 0:
            await self._sleep(left_ns)

    def _left_ns(self) -> int:
        due_ns = self._player.pacer.due_ns()
        return NAP_NS_MAX if due_ns is None else min(due_ns - self._clock.monotonic_ns(), NAP_NS_MAX)

    async def _look(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._next_look_ns:
            return
        self._next_look_ns = now_ns + LISTEN_NS
        for watcher in self._watchers:
            watcher.look(now_ns)
        await asyncio.sleep(0)  # signals are told by the loop
