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
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Protocol, Self

from common.bus.config import BusConfig
from common.bus.failures import BusClosedError, PublishRefusedError
from common.bus.filters import Predicate, as_filter
from common.bus.groups import key_of, member_for
from common.bus.lanes import MARK_EVERY
from common.bus.letters import LetterBox, MemoryLetterBox
from common.bus.routes import Route
from common.bus.selection import Selection, selector_for
from common.bus.snapshot import BusSnapshot
from common.bus.subscription import HANDLING, Environment, Handler, Nested, Subscription
from common.bus.surveyor import Surveyor
from common.bus.watch import Watch
from common.clock import NS_PER_MS, Clock, SystemClock
from common.errors import InvalidValueError
from common.events.base import Event, ListedMessage, Priority
from common.events.risk import CircuitState
from common.log import Log, get_log

# Published without a pause in between, events would fill the queues before a handler has had a turn.
EVENTS_PER_YIELD = 64
TOPICS_MAX = 100_000


class Link(Protocol):
    """What connects a bus to those of other processes."""

    def open(self, receive: Callable[[Event], Awaitable[None]]) -> None:
        """Begin; hand over what comes, one after the other."""
        ...

    def listen(self, patterns: Iterable[str]) -> None:
        """Somebody here asks for these topics."""
        ...

    def send(self, event: Event, topic: str) -> None:
        """Tell the others of an event."""
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
        self._log = log or get_log(bus=f"{source}-{os.getpid()}")
        self._subscriptions: dict[str, Subscription] = {}
        self._routes: dict[tuple[type[Event], str, str], Route] = {}
        self._environment = Environment(
            self._clock, self._log, self.letters, random.Random(seed), self._on_breaker  # noqa: S311  # jitter
        )  # fmt: skip
        self._watch = Watch(
            self._subscriptions.values, blocked_ms_max=self.config.loop_blocked_ms_max, clock=self._clock, log=self._log
        )
        self._surveyor = Surveyor(self._clock)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
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
        """Begin; what was subscribed before begins to get events now."""
        self._loop = asyncio.get_running_loop()
        for subscription in self._subscriptions.values():
            subscription.start()
        if self._link is not None:
            self._link.open(self._receive)
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
        if self._is_closed:
            raise BusClosedError("bus: expected an open bus to subscribe to, was a closed one")
        selector = selector_for(what)
        test = None if filter is None else as_filter(filter)
        subscription = Subscription(
            self._name_for(handler, name),
            handler,
            selects=selector.selects if test is None or not test.is_topical else selector.narrowed(test),
            test=test if test is not None and not test.is_topical else None,
            group=group,
            in_thread=in_thread,
            config=config or self.config,
            environment=self._environment,
        )
        subscription.unsubscribe = lambda: self.unsubscribe(subscription)
        self._subscriptions[subscription.name] = subscription
        if self._link is not None:
            self._link.listen(selector.patterns)
        self._retarget()
        if self._loop is not None:
            subscription.start()
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription after the event in hand. What waited goes to the others of its group, if it has one."""
        if self._subscriptions.pop(subscription.name, None) is None:
            return
        self._retarget()
        waiting = await subscription.close()
        if subscription.group is None:
            return
        for event in waiting:
            route = self._route_of(event)
            heirs = [target for _, target in route.targets if target.group == subscription.group]
            await self._offer_waiting([heir for heir in heirs if not heir.offer(event, route.priority)], event, route)

    # Publishing

    async def publish(self, event: Event) -> None:
        """Hand an event to whoever asked for it; waits only while a critical or high queue is full.

        A draft gets its identity here. An event whose id was published before is delivered to nobody.

        Raises:
            InvalidValueError: It is no event.
            BusClosedError: The bus is closed.
            PublishRefusedError: A critical queue is full and the dead letters cannot be written.
        """
        if self._is_closed or self._loop is None:
            raise self._closed()
        full = self._place(event, HANDLING.get())
        if full:
            await self._offer_waiting(full, event, self._route_of(event))
        self._since_yield += 1
        if self._since_yield >= EVENTS_PER_YIELD:
            self._since_yield = 0
            await asyncio.sleep(0)

    async def publish_batch(self, events: Iterable[Event]) -> None:
        """Publish several events in their order; raises as `publish`, at the first that does."""
        if self._is_closed or self._loop is None:
            raise self._closed()
        place, handling = self._place, HANDLING.get()
        left = EVENTS_PER_YIELD
        for event in events:
            full = place(event, handling)
            if full:
                await self._offer_waiting(full, event, self._route_of(event))
            left -= 1
            if not left:
                left = EVENTS_PER_YIELD
                await asyncio.sleep(0)

    def publish_threadsafe(self, event: Event) -> "concurrent.futures.Future[None]":
        """Publish from another thread; the future tells when it was taken, or why not.

        Raises:
            BusClosedError: The bus is closed.
        """
        if self._loop is None or self._is_closed:
            raise self._closed()
        return asyncio.run_coroutine_threadsafe(self.publish(event), self._loop)

    # The end

    async def drain(self, timeout_s: float | None = None) -> bool:
        """Wait until every handler has nothing left to do; tell whether it came to that."""
        try:
            async with asyncio.timeout(timeout_s):
                while busy := [
                    subscription for subscription in self._subscriptions.values() if not subscription.is_idle
                ]:
                    await busy[0].settled()
        except TimeoutError:
            return False
        return True

    async def close(self, drain_s: float = 5.0) -> None:
        """Take no more events, let the handlers finish what waits, and end them.

        What is left after `drain_s` goes to the dead letters where it is critical or high, and is counted as dropped
        otherwise.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if self._loop is not None:
            await self.drain(drain_s)
            await self._watch.close()
        for subscription in list(self._subscriptions.values()):
            for event in await subscription.close():
                self._leave(subscription, event)
        if self._link is not None:
            await self._link.close()

    # What it is like

    def snapshot(self) -> BusSnapshot:
        """Counts, rates, queues, latencies and breakers, as of now."""
        gaps, counters = ({}, {}) if self._link is None else (self._link.gaps(), self._link.counters())
        return self._surveyor.survey(self._routes, self._subscriptions, gaps, counters)

    async def redeliver(self, event: Event, handler: str) -> bool:
        """Give an event to one handler again, as the dead letters ask; False when there is no such handler."""
        subscription = self._subscriptions.get(handler)
        if subscription is None:
            return False
        if not subscription.offer(event, Priority(event.priority)):
            await self._offer_waiting([subscription], event, self._route_of(event))
        return True

    # Inside

    def _place(self, event: Event, handling: Subscription | None) -> list[Subscription] | None:
        """Put an event into the queues of its handlers; gives back those that are full."""
        try:
            route = self._routes[type(event), event.exchange, event.symbol]  # type: ignore[attr-defined]
        except (KeyError, AttributeError):
            route = self._route_of(event)
        seq, seen = event.seq, route.seen
        if seq == seen.last + 1 and event.epoch == route.epoch and event.source == route.source:
            seen.last = seq  # what `is_new` does nearly always, without its call
        elif not seq:
            route.number(event, self.source, self.epoch)
        elif not route.is_new(event):
            return None
        if self._link is not None:
            self._link.send(event, route.topic)
        return self._deliver(event, route, handling)

    def _deliver(self, event: Event, route: Route, handling: Subscription | None) -> list[Subscription] | None:
        item: Event | Nested = event
        if handling is not None:
            if handling.hops >= self.config.hops_max:
                self._break_circle(handling, event)
                return None
            item = Nested(event, handling.hops + 1)
        if not route.count % MARK_EVERY:
            self._mark(route)
        route.count += 1
        full: list[Subscription] | None = None
        for lane, subscription in route.targets:
            queue = lane.queue
            if len(queue) < lane.capacity:
                queue.append(item)
                lane.entered += 1
                if subscription.is_asleep:
                    subscription.wake()
            elif not subscription.offer(item, route.priority):
                full = [*(full or []), subscription]
        return full

    async def _receive(self, event: Event) -> None:
        """Take in what another process has published."""
        route = self._route_of(event)
        if route.is_new(event) and (full := self._deliver(event, route, None)):
            await self._offer_waiting(full, event, route)

    async def _offer_waiting(self, full: list[Subscription], event: Event, route: Route) -> None:
        """Wait for room in full queues, up to a limit; then the event goes to the dead letters of those handlers."""
        for subscription in full:
            is_own = HANDLING.get() is subscription  # it would wait for itself
            is_open = subscription.breaker.state is CircuitState.OPEN
            wait_s = 0.0 if is_own or is_open or subscription.is_overrun else self.config.publish_wait_ms_max / 1_000
            if await subscription.room(route.priority, wait_s) and subscription.offer(event, route.priority):
                continue
            subscription.is_overrun = True
            reason = "CIRCUIT_OPEN" if is_open else "PUBLISHED_TO_ITSELF" if is_own else "QUEUE_FULL"
            self._spill(
                subscription, event, reason, f"queue of {subscription.lanes.lanes[route.priority].capacity} is full"
            )

    def _spill(self, subscription: Subscription, event: Event, reason: str, detail: str) -> None:
        try:
            subscription.spill(event, reason, detail)
        except (sqlite3.Error, OSError) as error:
            raise PublishRefusedError(
                f"{event.event_id()} for {subscription.name}: expected room in its queue or in the dead letters, {error}; "
                "publish it again when the disk takes it"
            ) from error

    def _break_circle(self, handling: Subscription, event: Event) -> None:
        self._log.error("publish_circle", handler=handling.name, type=type(event).__name__, hops=handling.hops)
        self._spill(
            handling, event, "PUBLISH_CIRCLE", f"{handling.hops} events in a chain, each caused by the one before"
        )

    def _leave(self, subscription: Subscription, event: Event) -> None:
        priority = Priority(event.priority)
        if priority <= Priority.HIGH:
            self._spill(subscription, event, "BUS_CLOSED", "the bus closed before its turn")
        else:
            subscription.lanes.lanes[priority].dropped += 1

    def _mark(self, route: Route) -> None:
        now_ns = self._clock.monotonic_ns()
        for lane, _ in route.targets:
            lane.mark(now_ns)

    def _route_of(self, event: Event) -> Route:
        if not isinstance(event, Event):
            raise InvalidValueError(
                f"bus: expected an event, was {type(event).__name__}; commands, queries and replies have their channels"
            )
        is_listed = isinstance(event, ListedMessage)
        key = (type(event), *((event.exchange, event.symbol) if is_listed else ("", event.topic())))
        route = self._routes.get(key)
        if route is None:
            if len(self._routes) >= TOPICS_MAX:
                raise InvalidValueError(f"bus: expected up to {TOPICS_MAX} topics, {event.topic()} is one more")
            route = self._routes[key] = Route(event, self.config.repeat_window_events)
            self._target(route)
        return route

    def _retarget(self) -> None:
        for route in self._routes.values():
            self._target(route)

    def _target(self, route: Route) -> None:
        """Work out who gets the events of a topic: all who ask for them, but one member of each group."""
        asking = [subscription for subscription in self._subscriptions.values() if subscription.selects(route.sample)]
        groups: dict[str, list[str]] = {}
        for subscription in asking:
            if subscription.group is not None:
                groups.setdefault(subscription.group, []).append(subscription.name)
        chosen = {group: member_for(key_of(route.sample), names) for group, names in groups.items()}
        route.targets = [
            (subscription.lanes.lanes[route.priority], subscription)
            for subscription in asking
            if subscription.group is None or chosen[subscription.group] == subscription.name
        ]

    def _name_for(self, handler: Handler, name: str | None) -> str:
        if name is None:
            self._names += 1
            name = f"{getattr(handler, '__qualname__', type(handler).__name__).rpartition('.')[2]}-{self._names}"
        if name in self._subscriptions:
            raise InvalidValueError(f"bus: expected a name of its own for this handler, {name!r} is taken")
        return name

    def _on_breaker(self, subscription: Subscription, state: CircuitState, now_ns: int, detail: str) -> None:
        self._log.warning("breaker_changed", handler=subscription.name, state=state.value, detail=detail)

    def _closed(self) -> BusClosedError:
        state = "closed" if self._is_closed else "not open yet: use it inside `async with`"
        return BusClosedError(f"bus: expected an open bus, was {state}")
