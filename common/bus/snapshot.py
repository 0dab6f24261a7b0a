"""How a bus is: plain numbers, for whoever exports or shows them."""

import msgspec

from common.events.risk import CircuitState


class TypeSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What was published of one event type."""

    published: int
    rate_per_s: float  # since the snapshot before, or since the start
    repeats: int  # known by their event id; delivered once
    topics: int


class LaneSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for one handler in one priority."""

    depth: int
    capacity: int
    oldest_age_ms: float  # of what waits, to within 64 events; 0 while nothing waits
    dropped: int
    conflated: int


class HandlerSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What one handler did."""

    handled: int
    rate_per_s: float
    failed: int  # attempts
    timeouts: int
    retries: int
    poison: int
    dead_letters: int
    spilled: int  # to the dead letters, because its queue was full
    lost: int  # neither handled nor kept, because the dead letters could not be written either
    abandoned: int  # calls that did not even end when they were cancelled
    breaker: CircuitState
    latency_us: dict[str, float | None]  # publish to end of handling: p50, p90, p99, p99_9, max; one event in 64
    lanes: dict[str, LaneSnapshot]


class BusSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A whole bus."""

    timestamp_ns: int
    types: dict[str, TypeSnapshot]
    handlers: dict[str, HandlerSnapshot]
    gaps: dict[str, int]  # events lost on the way to us, by topic
    link: dict[str, int]  # counters of what connects us to other processes
