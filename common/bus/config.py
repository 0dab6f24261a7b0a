"""What a bus promises, in numbers. Each default carries its reason."""

from typing import Annotated

import msgspec

Positive = Annotated[int, msgspec.Meta(gt=0)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class RetryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often and when a handler that failed for a passing reason is asked again."""

    retries_max: NotNegative = 3  # an outage longer than that is the breaker's matter
    pause_ms: Positive = 50  # before the first retry; doubles up to
    pause_ms_max: Positive = 5_000
    jitter: Share = 0.2  # of the pause, so that many that failed together do not come back together


class BreakerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a handler that keeps failing is left alone, and for how long."""

    failures_max: Positive = 5  # events in a row that ended in failure; one bad event is no reason
    pause_ms: Positive = 1_000
    pause_ms_max: Positive = 60_000


class QueueConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many events wait for one handler, by priority."""

    critical_events_max: Positive = 10_000  # minutes of fills; then the publisher waits
    high_events_max: Positive = 10_000
    normal_events_max: Positive = 65_536  # a second of 50 k ticks/s; then market data is conflated or dropped
    low_events_max: Positive = 10_000


class BusConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a bus treats its handlers and its publishers."""

    queue: QueueConfig = QueueConfig()
    retry: RetryConfig = RetryConfig()
    breaker: BreakerConfig = BreakerConfig()
    handler_timeout_ms: Positive = 5_000  # longer than any call to a machine nearby should take
    publish_wait_ms_max: NotNegative = 1_000  # a full critical queue holds its publisher no longer; then dead letters
    loop_blocked_ms_max: Positive = 1_000  # a handler that holds the loop so long is named in the log
    hops_max: Positive = 16  # events that cause events that cause events ...: further is a circle
    repeat_window_events: Positive = 65_536  # numbers of one topic within which a late one is told from a repeat
