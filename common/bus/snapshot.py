"""How a bus is: plain numbers, for whoever exports or shows them."""

import msgspec

from common.events.risk import CircuitState


class TypeSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What was published of one event type."""

    published: int
    rate_per_s: float  # since the snapshot before, or since the start
    repeats: int  # known by their event id; delivered once. Of all types on the same topics
    topics: int


class LaneSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for one handler in one priority."""

    depth: int
    waiting: int  # whose publishers wait at the door
    capacity: int
    oldest_age_ms: float  # of what waits, to within 250 ms; 0 while nothing waits
    dropped: int
    conflated: int


class HandlerCounts(msgspec.Struct, kw_only=True):
    """What became of the events for one handler. Each of them ends in exactly one of the first eight."""

    handled: int = 0
    filtered: int = 0  # not wanted, said the filter
    dead_letters: int = 0
    spilled: int = 0  # to the dead letters, because its queue was full, its circuit open or the bus closed
    dropped: int = 0  # by the policy of a queue, or when the bus closed
    conflated: int = 0  # replaced by a newer value
    moved: int = 0  # to another member of its group, or gone with its subscription
    lost: int = 0  # neither handled nor kept, because the dead letters could not be written either
    failed: int = 0  # attempts
    timeouts: int = 0
    blocked: int = 0  # calls that held the whole loop
    retries: int = 0
    poison: int = 0
    abandoned: int = 0  # calls that did not even end when they were cancelled


class HandlerSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What one handler did. `received` is the sum of the first eight counts, `in_hand` and what waits."""

    received: int
    in_hand: int
    counts: HandlerCounts
    rate_per_s: float
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
