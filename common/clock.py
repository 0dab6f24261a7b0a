"""The only module that reads time. Everything else is handed a clock or a `now_ns`.

Wall time is integer nanoseconds UTC since the epoch and may jump; monotonic time is for durations only.
"""

import time
from typing import Protocol

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_S


class Clock(Protocol):
    """Where a service gets its time from."""

    def now_ns(self) -> int:
        """Wall time, ns UTC since 1970."""
        ...

    def monotonic_ns(self) -> int:
        """Time that never goes back, ns from an arbitrary start."""
        ...


class SystemClock:
    """The machine's clocks."""

    # Bound directly: a wrapping method would double the 60 ns that a reading costs on the hot path.
    now_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)

    @staticmethod
    def sleep_ns(duration_ns: int) -> None:
        """Let other processes run for about this long; below 50 µs the kernel rounds up."""
        if duration_ns > 0:
            time.sleep(duration_ns / NS_PER_S)


class VirtualClock:
    """A clock that stands still until it is told to move: for simulation and tests."""

    def __init__(self, now_ns: int = 1_700_000_000 * NS_PER_S) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """The virtual wall time."""
        return self._now_ns

    def monotonic_ns(self) -> int:
        """The same axis: a virtual clock never jumps."""
        return self._now_ns

    def advance_to(self, now_ns: int) -> None:
        """Move forward.

        Raises:
            ValueError: The time lies in the past: the caller's schedule is wrong.
        """
        if now_ns < self._now_ns:
            raise ValueError(f"virtual clock: expected a time from {self._now_ns}, was {now_ns}")
        self._now_ns = now_ns
