"""Reads the counts of a bus into a snapshot, with rates since the snapshot before."""

from collections.abc import Mapping

import msgspec

from common.bus.lanes import Lane
from common.bus.routes import Route
from common.bus.snapshot import BusSnapshot, HandlerSnapshot, LaneSnapshot, TypeSnapshot
from common.bus.subscription import Subscription
from common.clock import NS_PER_MS, NS_PER_S, Clock
from common.events.base import Event, Priority
from common.events.registry import type_name


class Surveyor:
    """Remembers the counts of the last snapshot."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_ns = clock.monotonic_ns()
        self._counts: dict[str, int] = {}

    def survey(
        self,
        routes: Mapping[tuple[type[Event], str, str], Route[Subscription]],
        subscriptions: Mapping[str, Subscription],
        gaps: Mapping[str, int],
        link: Mapping[str, int],
    ) -> BusSnapshot:
        """Take a snapshot."""
        now_ns = self._clock.monotonic_ns()
        elapsed_s = max(now_ns - self._since_ns, NS_PER_MS) / NS_PER_S
        by_type: dict[str, list[Route[Subscription]]] = {}
        for (event_class, _, _), route in routes.items():
            by_type.setdefault(type_name(event_class), []).append(route)
        counts = {f"type {name}": sum(route.count for route in group) for name, group in by_type.items()}
        counts |= {f"handler {name}": subscription.counts.handled for name, subscription in subscriptions.items()}
        rates = {name: round((count - self._counts.get(name, 0)) / elapsed_s, 1) for name, count in counts.items()}
        self._since_ns, self._counts = now_ns, counts
        return BusSnapshot(
            timestamp_ns=self._clock.now_ns(),
            types={
                name: TypeSnapshot(
                    published=counts[f"type {name}"],
                    rate_per_s=rates[f"type {name}"],
                    repeats=sum(numbers.repeats for numbers in {route.numbers for route in group}),
                    topics=len(group),
                )
                for name, group in sorted(by_type.items())
            },
            handlers={
                name: _handler(subscription, rates[f"handler {name}"], now_ns)
                for name, subscription in sorted(subscriptions.items())
            },
            gaps=dict(gaps),
            link=dict(link),
        )


def _handler(subscription: Subscription, rate_per_s: float, now_ns: int) -> HandlerSnapshot:
    lanes = subscription.lanes.lanes
    counts = msgspec.structs.replace(
        subscription.counts,
        dropped=subscription.counts.dropped + sum(lane.dropped for lane in lanes),
        conflated=sum(lane.conflated for lane in lanes),
    )
    return HandlerSnapshot(
        received=sum(lane.entered + lane.turned_away + len(lane.door) for lane in lanes),
        in_hand=int(subscription.runner is not None and subscription.runner.event is not None),
        counts=counts,
        rate_per_s=rate_per_s,
        breaker=subscription.breaker.state,
        latency_us=subscription.latency.summary_us(),
        lanes={
            priority.name.lower(): _lane(lanes[priority], now_ns)
            for priority in Priority
            if lanes[priority].entered or lanes[priority].turned_away or lanes[priority].door
        },
    )


def _lane(lane: Lane, now_ns: int) -> LaneSnapshot:
    oldest_ns = lane.oldest_ns()
    return LaneSnapshot(
        depth=len(lane.queue),
        waiting=len(lane.door),
        capacity=lane.capacity,
        oldest_age_ms=0.0 if oldest_ns is None else round((now_ns - oldest_ns) / NS_PER_MS, 3),
        dropped=lane.dropped,
        conflated=lane.conflated,
    )
