"""What is sent when: an open-loop schedule, which waits for nobody, and the counts that follow from it.

A benchmark that sends the next tick only when the last one was taken leaves out just the moments in which a user
would have waited ("coordinated omission"). Here tick number n is due at `start + n / rate`, whoever is late, and
every latency counts from that time.
"""

import msgspec
import numpy as np

from common.clock import NS_PER_S


class OrderPathPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A run of ticks, each n-th of which causes an order."""

    rate: float  # ticks/s
    duration_s: float
    warm_up_s: float  # before it, also with orders, but without measuring them
    signal_every: int  # ticks

    @property
    def tick_count(self) -> int:
        """Ticks of warm-up and measurement."""
        return round(self.rate * (self.warm_up_s + self.duration_s))

    @property
    def warm_up_ticks(self) -> int:
        """The first ticks, whose orders are not measured."""
        return round(self.rate * self.warm_up_s)

    @property
    def signal_count(self) -> int:
        """Orders in all."""
        return self.tick_count // self.signal_every

    @property
    def warm_up_signals(self) -> int:
        """Orders that are not measured."""
        return self.warm_up_ticks // self.signal_every

    @property
    def measured_count(self) -> int:
        """Orders whose latency is measured."""
        return self.signal_count - self.warm_up_signals


class BroadcastPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A run of ticks as fast as they go."""

    tick_count: int
    warm_up_ticks: int  # the first of them: the clock starts when they have arrived


def due_times(start_ns: int, rate: float, count: int) -> list[int]:
    """When each tick is due, ns: the very schedule of the gateway's synthetic feed, to the nanosecond."""
    interval_ns = NS_PER_S / rate
    times: list[int] = (start_ns + (np.arange(count) * interval_ns).astype(np.int64)).tolist()
    return times
