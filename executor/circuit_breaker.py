"""Whether the exchange gateway may be asked at all. Pure.

Closed until so many requests in a row had no answer; then open for a pause, which doubles; then half open, with exactly
one request as a probe: its answer closes the circuit, its silence opens it again.
"""

from collections.abc import Callable

from common.clock import NS_PER_MS
from common.events.base import DRAFT, Message
from common.events.risk import AlarmRaised, CircuitState, Severity
from common.events.system import BreakerClosed, BreakerOpened
from executor.config import CircuitConfig

# The reason of a signal that is denied, or of an order that waits, while the circuit is not closed.
CIRCUIT_OPEN = "CIRCUIT_OPEN"
CIRCUIT_HALF_OPEN = "CIRCUIT_HALF_OPEN"
CIRCUIT_CLOSED = "CIRCUIT_CLOSED"
OWNER = "executor"
PEER = "exchange"


class CircuitBreaker:
    """Counts silences, and says an alarm on each change."""

    def __init__(self, config: CircuitConfig, publish: Callable[[Message], object]) -> None:
        """Begin closed: a new life has no reason yet to distrust the exchange gateway."""
        self._config = config
        self._publish = publish
        self._state = CircuitState.CLOSED
        self._unanswered_count = 0
        self._pause_ns = config.pause_ms * NS_PER_MS
        self._opens_ns = 0
        self._is_probe_out = False

    @property
    def state(self) -> CircuitState:
        """Closed, open or half open."""
        return self._state

    def may_send(self, now_ns: int) -> bool:
        """Tell whether a request may leave now. While half open the first one that asks is the probe, and no other."""
        if self._state is CircuitState.OPEN and now_ns >= self._opens_ns:
            self._move(CircuitState.HALF_OPEN, now_ns, "the pause is over: one request is a probe")
        if self._state is not CircuitState.HALF_OPEN:
            return self._state is CircuitState.CLOSED
        is_probe, self._is_probe_out = not self._is_probe_out, True
        return is_probe

    def on_unsent(self) -> None:
        """The request that was let through did not leave after all, as when its signal has expired."""
        self._is_probe_out = False

    def on_answer(self, now_ns: int) -> None:
        """The exchange gateway has answered. A late answer while open is no probe's, so it closes nothing."""
        if self._state is CircuitState.OPEN:
            return
        self._unanswered_count = 0
        if self._state is CircuitState.HALF_OPEN:
            self._is_probe_out = False
            self._pause_ns = self._config.pause_ms * NS_PER_MS
            self._move(CircuitState.CLOSED, now_ns, "the probe was answered")
            self._publish(BreakerClosed(**DRAFT, timestamp_ns=now_ns, owner=OWNER, peer=PEER))

    def on_unanswered(self, now_ns: int) -> None:
        """A request had no answer in time."""
        if self._state is CircuitState.OPEN:
            return
        self._unanswered_count += 1
        if self._state is CircuitState.HALF_OPEN:
            self._is_probe_out = False
            self._pause_ns = min(2 * self._pause_ns, self._config.pause_ms_max * NS_PER_MS)
            self._open(now_ns)
        elif self._unanswered_count >= self._config.failures_max:
            self._open(now_ns)

    def next_change_ns(self) -> int | None:
        """When the pause is over; None while nothing changes by itself."""
        return self._opens_ns if self._state is CircuitState.OPEN else None

    def _open(self, now_ns: int) -> None:
        self._opens_ns = now_ns + self._pause_ns
        pause_ms = self._pause_ns // NS_PER_MS
        detail = f"{self._unanswered_count} requests in a row had no answer; next try in {pause_ms} ms"
        self._move(CircuitState.OPEN, now_ns, detail)
        self._publish(
            BreakerOpened(
                **DRAFT,
                timestamp_ns=now_ns,
                owner=OWNER,
                peer=PEER,
                failures=self._unanswered_count,
                pause_ns=self._pause_ns,
            )
        )

    def _move(self, state: CircuitState, now_ns: int, detail: str) -> None:
        self._state = state
        code, severity = ALARMS[state]
        self._publish(
            AlarmRaised(**DRAFT, timestamp_ns=now_ns, code=code, severity=severity, subject=PEER, detail=detail)
        )


ALARMS = {
    CircuitState.OPEN: (CIRCUIT_OPEN, Severity.CRITICAL),
    CircuitState.HALF_OPEN: (CIRCUIT_HALF_OPEN, Severity.INFO),
    CircuitState.CLOSED: (CIRCUIT_CLOSED, Severity.INFO),
}
