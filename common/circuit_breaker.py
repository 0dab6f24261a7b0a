"""Whether somebody who fails may be asked at all. Pure.

Closed until so many failures in a row; then open for a pause, which doubles; then half open, with exactly one probe:
its success closes the circuit, its failure opens it again.
"""

from collections.abc import Callable
from typing import Protocol

from common.clock import NS_PER_MS
from common.events.risk import CircuitState

OnChange = Callable[[CircuitState, int, str], object]


class BreakerLimits(Protocol):
    """What a circuit breaker is set to."""

    @property
    def failures_max(self) -> int:
        """Failures in a row that open it."""
        ...

    @property
    def pause_ms(self) -> int:
        """How long it stays open the first time."""
        ...

    @property
    def pause_ms_max(self) -> int:
        """The longest pause, after failed probes."""
        ...


class CircuitBreaker:
    """Counts failures in a row, and tells of each change."""

    def __init__(self, limits: BreakerLimits, on_change: OnChange, failure: str = "failures") -> None:
        """Begin closed: a new life has no reason yet for distrust.

        Args:
            limits: When to open and for how long.
            on_change: Told the new state, the time and what led to it.
            failure: What is counted, for people: "requests had no answer".
        """
        self._limits = limits
        self._on_change = on_change
        self._failure = failure
        self._state = CircuitState.CLOSED
        self._failure_count = 0
        self._pause_ns = limits.pause_ms * NS_PER_MS
        self._opens_ns = 0
        self._is_probe_out = False

    @property
    def state(self) -> CircuitState:
        """Closed, open or half open."""
        return self._state

    def may_pass(self, now_ns: int) -> bool:
        """Tell whether one more may be tried now. While half open the first that asks is the probe, no other."""
        if self._state is CircuitState.OPEN and now_ns >= self._opens_ns:
            self._move(CircuitState.HALF_OPEN, now_ns, "the pause is over: one is a probe")
        if self._state is not CircuitState.HALF_OPEN:
            return self._state is CircuitState.CLOSED
        is_probe, self._is_probe_out = not self._is_probe_out, True
        return is_probe

    def on_untried(self) -> None:
        """What was let through was not tried after all."""
        self._is_probe_out = False

    def on_success(self, now_ns: int) -> None:
        """It went well. A late success while open is no probe's, so it closes nothing."""
        if self._state is CircuitState.OPEN:
            return
        self._failure_count = 0
        if self._state is CircuitState.HALF_OPEN:
            self._is_probe_out = False
            self._pause_ns = self._limits.pause_ms * NS_PER_MS
            self._move(CircuitState.CLOSED, now_ns, "the probe succeeded")

    def on_failure(self, now_ns: int) -> None:
        """It failed."""
        if self._state is CircuitState.OPEN:
            return
        self._failure_count += 1
        if self._state is CircuitState.HALF_OPEN:
            self._is_probe_out = False
            self._pause_ns = min(2 * self._pause_ns, self._limits.pause_ms_max * NS_PER_MS)
            self._open(now_ns)
        elif self._failure_count >= self._limits.failures_max:
            self._open(now_ns)

    def next_change_ns(self) -> int | None:
        """When the pause is over; None while nothing changes by itself."""
        return self._opens_ns if self._state is CircuitState.OPEN else None

    def _open(self, now_ns: int) -> None:
        self._opens_ns = now_ns + self._pause_ns
        pause_ms = self._pause_ns // NS_PER_MS
        self._move(
            CircuitState.OPEN, now_ns, f"{self._failure_count} {self._failure} in a row; next try in {pause_ms} ms"
        )

    def _move(self, state: CircuitState, now_ns: int, detail: str) -> None:
        self._state = state
        self._on_change(state, now_ns, detail)
