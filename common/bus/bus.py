"""The bus: takes events in, hands them to whoever asked for them, and keeps its promises while handlers fail.

    async with open_bus("memory://") as bus:
        bus.subscribe(Tick, on_tick, filter=symbol_filter("BTC/USDT"))
        await bus.publish(tick)

It belongs to one event loop; other threads use `publish_threadsafe`.
"""

import asyncio
import concurrent.futures
import os
import random
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Protocol, Self

from msgspec.structs import force_setattr

from common.bus.config import BusConfig
from common.bus.dead_letters import DeadLetter
from common.bus.delivery import Delivery, Waiting
from common.bus.failures import BusClosedError, PublishRefusedError
from common.bus.filters import Predicate, as_filter
from common.bus.lanes import Carried
from common.bus.letters import LetterBox, MemoryLetterBox
from common.bus.redelivery import Redelivery
from common.bus.runner import HANDLING, LETTER_RETRY_S, Runner
from common.bus.selection import Selection, selector_for
from common.bus.snapshot import BusSnapshot
from common.bus.subscription import Environment, Handler, Subscription
from common.bus.surveyor import Surveyor
from common.bus.watch import Watch
from common.clock import NS_PER_MS, Clock, SystemClock
from common.errors import InvalidValueError
from common.events.base import Event, Priority
from common.log import Log, SteadyLog, get_log

# Published without a pause in between, events would fill the queues before a handler has had a turn.
EVENTS_PER_YIELD = 64


class Link(Protocol):
    """What connects a bus to those of other processes."""

    def open(self, receive: Callable[[Event], Awaitable[None] | None]) -> None:
        """Begin; hand over what comes, one after the other, and wait where there is something to wait for."""
        ...

    def listen(self, patterns: Iterable[str]) -> None:
        """Somebody here asks for these topics."""
        ...

    def send(self, event: Event, topic: str) -> None:
        """Tell the others of an event."""
        ...

    async def stop(self) -> None:
        """Listen no more, and hand over what has come."""
        ...

    async def close(self) -> None:
        """Send what is on its way, and end."""
        ...

    def gaps(self) -> dict[str, int]:
        """Events lost on the way to us, by topic."""
        ...

    def counters(self) -> dict[str, int]:
        """Everything counted so far, by name."""
        ...


class Bus:
    """A bus of one process; with a link, of several."""

    def __init__(
        self,
        config: BusConfig | None = None,
        *,
        link: Link | None = None,
        source: str = "bus",
        epoch: int | None = None,
        letters: LetterBox | None = None,
        clock: Clock | None = None,
        log: Log | None = None,
        seed: int | None = None,
    ) -> None:
        """Prepare a bus; it takes events inside `async with`.

        Args:
            config: Limits and patience.
            link: To other processes; none by default.
            source: Who publishes here, in the identity of drafts.
            epoch: The life of that source; the time in ms by default.
            letters: Where dead letters are kept; the newest 10,000 in memory by default.
            clock: Where the time comes from.
            log: Where failures are told.
            seed: Of the jitter, for tests.
        """
        self.config = config or BusConfig()
        self.source = source
        self._link = link
        self.letters: LetterBox = letters if letters is not None else MemoryLetterBox()
        self._clock: Clock = clock or SystemClock()
        self.epoch = epoch if epoch is not None else self._clock.now_ns() // NS_PER_MS
        self._log = SteadyLog(log or get_log(bus=f"{source}-{os.getpid()}"))
        self._delivery = Delivery(self.config, self._clock, self._log)
        self._subscriptions = self._delivery.subscriptions
        self._routes = self._delivery.routes
        self._environment = Environment(
            self._clock, self._log, self.letters, random.Random(seed)  # noqa: S311  # jitter
        )  # fmt: skip
        self._watch = Watch(
            self._subscriptions, blocked_ms_max=self.config.loop_blocked_ms_max, clock=self._clock, log=self._log
        )
        self._surveyor = Surveyor(self._clock)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_open = False
        self._is_closing = False
        self._closed = asyncio.Event()
        self._since_yield = 0
        self._names = 0

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Begin; what was subscribed before begins to get events now.

        Raises:
            BusClosedError: It was opened before.
        """
        if self._loop is not None:
            raise BusClosedError("bus: expected a new bus to open, was one that was opened before")
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        for subscription in self._subscriptions.values():
            subscription.start()
        if self._link is not None:
            self._link.open(self._take_in)
        self._watch.start()

    # Subscribing

    def subscribe(
        self,
        what: Selection,
        handler: Handler,
        *,
        filter: Predicate | None = None,  # noqa: A002  # the word that everybody uses for it
        name: str | None = None,
        group: str | None = None,
        in_thread: bool = False,
        config: BusConfig | None = None,
    ) -> Subscription:
        """Have a handler called with each event that is asked for, one at a time, in order.

        Args:
            what: An event class (with those below it), a topic pattern such as `order_*.binance.*`, or several of them.
            handler: Takes one event. A coroutine function, or a plain one that does not block.
            filter: Which of these events it gets.
            name: In metrics, logs and dead letters; must be its own. Made from the handler's name by default.
            group: Those of one group share the events: each goes to exactly one, all of one symbol to the same one.
            in_thread: Call a plain handler that blocks on a thread.
            config: Other limits than the bus has.

        Raises:
            InvalidValueError: The pattern is none, or the name is taken.
            BusClosedError: The bus is closed.
        """
        if self._is_closing:
            raise BusClosedError("bus: expected an open bus to subscribe to, was a closed one")
        selector = selector_for(what)
        subscription = Subscription(
            self._name_for(handler, name),
            handler,
            selects=selector.selects,
            test=None if filter is None else as_filter(filter),
            group=group,
            in_thread=in_thread,
            config=config or self.config,
            environment=self._environment,
        )
        subscription.unsubscribe = lambda: self.unsubscribe(subscription)
        others = self._delivery.add(subscription)
        if self._link is not None:
            self._link.listen(selector.patterns)
        if self._is_open:
            subscription.start(after=others)
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription after the event in hand. What waited goes to the others of its group, if it has one."""
        if self._subscriptions.get(subscription.name) is not subscription or subscription.is_closing.is_set():
            return
        await subscription.stop()
        self._delivery.drop(subscription)

    # Publishing

    async def publish(self, event: Event) -> None:
        """Hand an event to whoever asked for it; waits only while a critical or high queue is full.

        A draft gets its identity here. An event whose id was published before is delivered to nobody.

        Raises:
            InvalidValueError: It is no event.
            BusClosedError: The bus is closed.
            PublishRefusedError: A critical queue is full and the dead letters cannot be written.
        """
        if not self._is_open or self._is_closing:
            self._check_open()
        waiting = self._place(event, HANDLING.get())
        if waiting:
            await self._delivery.settle(waiting)
        self._since_yield += 1
        if self._since_yield >= EVENTS_PER_YIELD:
            self._since_yield = 0
            await asyncio.sleep(0)

    async def publish_batch(self, events: Iterable[Event]) -> None:
        """Publish several events in their order; raises as `publish`, at the first that does."""
        place, handling = self._place, HANDLING.get()
        left = EVENTS_PER_YIELD
        for event in events:
            if not self._is_open or self._is_closing:
                self._check_open()
            waiting = place(event, handling)
            if waiting:
                await self._delivery.settle(waiting)
            left -= 1
            if not left:
                left = EVENTS_PER_YIELD
                await asyncio.sleep(0)

    def publish_threadsafe(self, event: Event) -> "concurrent.futures.Future[None]":
        """Publish from another thread; the future tells when it was taken, or why not.

        In the loop's own thread use `publish`: there, waiting for the future would wait for ever. The events of one
        thread keep their order.

        Raises:
            BusClosedError: The bus is closed.
        """
        if self._loop is None or not self._is_open:
            raise self._not_open()
        return asyncio.run_coroutine_threadsafe(self.publish(event), self._loop)

    # The end

    async def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until every handler has nothing left to do; tell whether it came to that.

        A handler that calls this does not wait for itself.
        """
        handling = HANDLING.get()
        own = None if handling is None else handling.subscription
        others = [subscription for subscription in self._subscriptions.values() if subscription is not own]
        try:
            async with asyncio.timeout(timeout_s):
                while busy := [subscription for subscription in others if not subscription.is_idle]:
                    await busy[0].settled()
        except TimeoutError:
            return False
        return True

    async def close(self, drain_s: float = 5.0) -> None:
        """Take no more events but those of handlers, let these finish what waits, and end them.

        What is left after `drain_s` goes to the dead letters where it is critical or high, and is counted as dropped
        otherwise.
        """
        if self._is_closing:
            if HANDLING.get() is None:
                await self._closed.wait()
            return
        self._is_closing = True
        if self._loop is not None:
            if self._link is not None:
                await self._link.stop()
            await self.drain(drain_s)
            self._is_open = False
            subscriptions = list(self._subscriptions.values())
            await asyncio.gather(*(subscription.stop() for subscription in subscriptions))
            await self._watch.close()
            for subscription in subscriptions:
                for item in subscription.empty():
                    subscription.leave(item)
        if self._link is not None:
            await self._link.close()
        self._closed.set()

    # What it is like

    def snapshot(self) -> BusSnapshot:
        """Counts, rates, queues, latencies and breakers, as of now."""
        gaps, counters = ({}, {}) if self._link is None else (self._link.gaps(), self._link.counters())
        return self._surveyor.survey(self._routes, self._subscriptions, gaps, counters)

    async def redeliver(self, event: Event, handler: str) -> DeadLetter | None:
        """Have one handler try an event again, before what is less urgent than high.

        Returns:
            None when it was handled, otherwise the letter of its new failure.

        Raises:
            InvalidValueError: There is no such handler.
            BusClosedError: The bus closed before its turn.
        """
        subscription = self._subscriptions.get(handler)
        if subscription is None:
            raise InvalidValueError(f"handler {handler!r}: expected one that is subscribed")
        redelivery = Redelivery()
        # Never in a queue that drops or conflates.
        priority = Priority(min(event.priority, Priority.HIGH))
        subscription.take_over(Carried(event, redelivery=redelivery), priority)
        await asyncio.wait([redelivery.outcome])
        if redelivery.outcome.cancelled():
            raise BusClosedError(f"handler {handler!r}: expected time for the event, the subscription ended before")
        return redelivery.outcome.result()

    async def receive(self, event: Event) -> None:
        """Take in an event that was published elsewhere, as a link does: once, and not sent on."""
        taking = self._take_in(event)
        if taking is not None:
            await taking

    # Inside

    def _place(self, event: Event, handling: Runner | None) -> list[Waiting] | None:
        """Put an event into the queues of its handlers; gives back where it waits at the door."""
        try:
            route = self._routes[type(event), event.exchange, event.symbol]  # type: ignore[attr-defined]
        except (KeyError, AttributeError):
            if not getattr(event, "seq", 1):
                force_setattr(event, "source", self.source)  # a topic may be named after its source
            route = self._delivery.route_of(event)
        numbers = route.numbers
        seq, seen = event.seq, numbers.seen
        if seq == seen.last + 1 and event.epoch == numbers.epoch and event.source == numbers.source:
            seen.last = seq  # what `is_new` does nearly always, without its call
        elif not seq:
            numbers.number(event, self.source, self.epoch)
        elif not numbers.is_new(event):
            return self._delivery.deliver_rest(event)
        if self._link is not None:
            self._link.send(event, route.topic)
        return self._delivery.deliver(event, route, handling)

    def _take_in(self, event: Event) -> Awaitable[None] | None:
        """Take in what another process has published; gives back what to wait for."""
        route = self._delivery.route_of(event)
        if not route.numbers.is_new(event):
            return None
        waiting = self._delivery.deliver(event, route, None)
        return self._take_in_waiting(event, waiting) if waiting else None

    async def _take_in_waiting(self, event: Event, waiting: list[Waiting] | None) -> None:
        """Nobody would publish it again: hold the link until it is taken."""
        while waiting:
            try:
                await self._delivery.settle(waiting)
            except PublishRefusedError as error:
                self._log.exception("event_refused", event_id=event.event_id(), reason=str(error))
                await asyncio.sleep(LETTER_RETRY_S)
                waiting = self._delivery.deliver_rest(event)
            else:
                return

    def _check_open(self) -> None:
        """While the bus closes, handlers may still tell what they have done."""
        if not self._is_open or HANDLING.get() is None:
            raise self._not_open()

    def _name_for(self, handler: Handler, name: str | None) -> str:
        if name is None:
            self._names += 1
            name = f"{getattr(handler, '__qualname__', type(handler).__name__).rpartition('.')[2]}-{self._names}"
        if name in self._subscriptions:
            raise InvalidValueError(f"bus: expected a name of its own for this handler, {name!r} is taken")
        return name

    def _not_open(self) -> BusClosedError:
        state = "a closed one" if self._is_closing else "not open yet: use it inside `async with`"
        return BusClosedError(f"bus: expected an open bus, was {state}")
