"""The way of an event into the queues of its handlers, and what follows where one is full."""

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from common.bus.config import BusConfig
from common.bus.failures import PublishRefusedError
from common.bus.idempotency import TopicNumbers
from common.bus.lanes import Carried, Lane, Ticket, event_of
from common.bus.routes import Route, receivers_of
from common.bus.runner import HANDLING, Runner
from common.bus.subscription import Subscription
from common.clock import Clock
from common.errors import InvalidValueError
from common.events.base import Event, ListedMessage
from common.events.risk import CircuitState
from common.log import SteadyLog

TOPICS_MAX = 100_000
MARK_EVERY = 64  # events; each mark costs two readings of the clock and one entry in a histogram
REFUSED_MAX = 10_000


class Waiting(NamedTuple):
    """An event at the door of one handler."""

    subscription: Subscription
    lane: Lane
    ticket: Ticket
    entered: asyncio.Future[None]


class Delivery:
    """Routes, and whoever subscribed."""

    def __init__(self, config: BusConfig, clock: Clock, log: SteadyLog) -> None:
        self.subscriptions: dict[str, Subscription] = {}
        self.routes: dict[tuple[type[Event], str, str], Route[Subscription]] = {}
        self._numbers: dict[str, TopicNumbers] = {}
        self._config = config
        self._clock = clock
        self._log = log
        # Events that some handler should have got and did not: published again, they are for those alone.
        self._refused: OrderedDict[str, list[Subscription]] = OrderedDict()

    def route_of(self, event: Event) -> Route[Subscription]:
        """The way of events like this one.

        Raises:
            InvalidValueError: It is no event, or there are too many topics.
        """
        if not isinstance(event, Event):
            raise InvalidValueError(
                f"bus: expected an event, was {type(event).__name__}; commands, queries and replies have their channels"
            )
        topic = event.topic()
        parts = (event.exchange, event.symbol) if isinstance(event, ListedMessage) else ("", topic)
        key = (type(event), *parts)
        route = self.routes.get(key)
        if route is None:
            if len(self.routes) >= TOPICS_MAX:
                raise InvalidValueError(f"bus: expected up to {TOPICS_MAX} topics, {topic} is one more")
            numbers = self._numbers.setdefault(topic, TopicNumbers(self._config.repeat_window_events))
            route = self.routes[key] = Route(event, topic, numbers)
            route.aim(self.subscriptions.values())
        return route

    def deliver(self, event: Event, route: Route[Subscription], handling: Runner | None) -> list[Waiting] | None:
        """Put an event into the queues of its handlers; gives back where it waits at the door."""
        item: Event | Carried = event
        if handling is not None:
            if handling.hops >= self._config.hops_max:
                self._break_circle(handling, event, route)
                return None
            item = Carried(event, handling.hops + 1)
        if not route.count % MARK_EVERY:
            now_ns = self._clock.monotonic_ns()
            for lane, _ in route.targets:
                lane.mark(now_ns)
        route.count += 1
        waiting: list[Waiting] | None = None
        for lane, subscription in route.targets:
            queue = lane.queue
            if len(queue) < lane.limit:
                queue.append(item)
                lane.entered += 1
                if subscription.is_asleep:
                    subscription.wake()
            elif not subscription.offer(item, route.priority):
                waiting = [*(waiting or []), _wait_at(subscription, lane, item)]
        return waiting

    def deliver_rest(self, event: Event) -> list[Waiting] | None:
        """What was refused to some handlers, and is published again."""
        subscriptions = self._refused.pop(event.event_id(), ()) if self._refused else ()
        priority = self.route_of(event).priority
        return [
            _wait_at(subscription, subscription.lanes.lanes[priority], event)
            for subscription in subscriptions
            if subscription.name in self.subscriptions and not subscription.offer(event, priority)
        ]

    async def settle(self, waiting: Sequence[Waiting]) -> None:
        """Wait for room, up to a limit; then the event goes to the dead letters of those who had none.

        Raises:
            PublishRefusedError: The dead letters cannot be written either.
        """
        patient = [place.entered for place in waiting if self._is_worth_waiting(place.subscription)]
        try:
            if patient:
                await asyncio.wait(patient, timeout=self._config.publish_wait_ms_max / 1_000)
        finally:
            self._spill_all([place for place in waiting if place.lane.withdraw(place.ticket)])

    def retarget(self) -> None:
        """Somebody came or went."""
        for route in self.routes.values():
            route.aim(self.subscriptions.values())

    def add(self, subscription: Subscription) -> list[Subscription]:
        """A new subscription; gives back those of its group, which have handed over what is its share now."""
        others = [other for other in self.subscriptions.values() if other.group == subscription.group is not None]
        self.subscriptions[subscription.name] = subscription
        self.retarget()
        receivers = [*others, subscription]
        for other in others:
            moved = other.lanes.remove(lambda event: subscription in receivers_of(event, receivers))
            other.counts.moved += len(moved)
            for item in moved:
                subscription.take_over(item, self.route_of(event_of(item)).priority)
        return others

    def drop(self, subscription: Subscription) -> None:
        """One less. What waited for it goes to the others of its group, if it has one."""
        del self.subscriptions[subscription.name]
        self.retarget()
        heirs = [heir for heir in self.subscriptions.values() if heir.group == subscription.group is not None]
        for item in subscription.empty():
            subscription.counts.moved += 1
            for heir in receivers_of(event_of(item), heirs):
                heir.take_over(item, self.route_of(event_of(item)).priority)
            if not heirs and type(item) is Carried and item.redelivery is not None:
                item.redelivery.cancel()

    def _is_worth_waiting(self, subscription: Subscription) -> bool:
        """Not for oneself, and not for one that stands still or was waited for in vain."""
        is_standing = subscription.breaker.state is CircuitState.OPEN or subscription.is_closing.is_set()
        return not (_is_own(subscription) or is_standing or subscription.is_overrun)

    def _spill_all(self, places: Sequence[Waiting]) -> None:
        refused, failure = [], None
        for subscription, lane, ticket, _ in places:
            subscription.is_overrun = True
            reason = "CIRCUIT_OPEN" if subscription.breaker.state is CircuitState.OPEN else "QUEUE_FULL"
            reason = "PUBLISHED_TO_ITSELF" if _is_own(subscription) else reason
            try:
                subscription.spill(ticket.item, reason, f"queue of {lane.capacity} is full")
            except (sqlite3.Error, OSError) as error:
                lane.turned_away -= 1  # it is not this handler's yet: whoever publishes it knows
                refused.append(subscription)
                failure = error
        if failure is not None:
            raise self._refusal(event_of(places[0].ticket.item), refused, failure) from failure

    def _refusal(self, event: Event, refused: list[Subscription], error: Exception) -> PublishRefusedError:
        self._refused[event.event_id()] = refused
        if len(self._refused) > REFUSED_MAX:
            self._refused.popitem(last=False)
        names = ", ".join(subscription.name for subscription in refused)
        return PublishRefusedError(
            f"{event.event_id()} for {names}: expected room in the queue or in the dead letters, {error}; "
            "publish it again when the disk takes it"
        )

    def _break_circle(self, handling: Runner, event: Event, route: Route[Subscription]) -> None:
        name, hops = handling.subscription.name, handling.hops
        self._log.error("publish_circle", handler=name, type=type(event).__name__, hops=hops)
        for lane, subscription in route.targets:
            try:
                subscription.spill(event, "PUBLISH_CIRCLE", f"published by {name}, {hops} events in a chain before it")
            except (sqlite3.Error, OSError) as error:
                subscription.counts.lost += 1
                self._log.exception(
                    "event_lost", handler=subscription.name, content=repr(event)[:2_000], reason=str(error)
                )
            lane.turned_away += 1


def _is_own(subscription: Subscription) -> bool:
    handling = HANDLING.get()
    return handling is not None and handling.subscription is subscription


def _wait_at(subscription: Subscription, lane: Lane, item: Event | Carried) -> Waiting:
    entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    ticket = lane.wait(item, lambda: None if entered.done() else entered.set_result(None))
    return Waiting(subscription, lane, ticket, entered)
