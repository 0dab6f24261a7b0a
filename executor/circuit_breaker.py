"""Whether the exchange gateway may be asked at all: the circuit breaker whose failures are requests without an answer.

Each change is an alarm; opening and closing are events too. Pure.
"""

from collections.abc import Callable

from common.circuit_breaker import CircuitBreaker
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

ALARMS = {
    CircuitState.OPEN: (CIRCUIT_OPEN, Severity.CRITICAL),
    CircuitState.HALF_OPEN: (CIRCUIT_HALF_OPEN, Severity.INFO),
    CircuitState.CLOSED: (CIRCUIT_CLOSED, Severity.INFO),
}


class ExchangeCircuit(CircuitBreaker):
    """The circuit between executor and exchange gateway."""

    def __init__(self, config: CircuitConfig, publish: Callable[[Message], object]) -> None:
        """Begin closed: a new life has no reason yet to distrust the exchange gateway."""
        super().__init__(config, self._tell, "requests without an answer")
        self._publish = publish

    def _tell(self, state: CircuitState, now_ns: int, detail: str) -> None:
        code, severity = ALARMS[state]
        self._publish(
            AlarmRaised(**DRAFT, timestamp_ns=now_ns, code=code, severity=severity, subject=PEER, detail=detail)
        )
        if state is CircuitState.OPEN:
            self._publish(
                BreakerOpened(
                    **DRAFT,
                    timestamp_ns=now_ns,
                    owner=OWNER,
                    peer=PEER,
                    failures=self.failure_count,
                    pause_ns=self.pause_ns,
                )
            )
        elif state is CircuitState.CLOSED:
            self._publish(BreakerClosed(**DRAFT, timestamp_ns=now_ns, owner=OWNER, peer=PEER))
