"""Signals whose end is not known yet: each is sent again, after growing pauses, until it is acknowledged or expires."""

from common.clock import NS_PER_MS
from common.errors import TickpulseError
from common.events.trading import Signal


class OutboxFullError(TickpulseError):
    """Too many signals wait for an acknowledgement: the executor is down or too slow. The decision was not emitted."""


class _Pending:
    __slots__ = ("next_send_ns", "pause_ns", "signal")

    def __init__(self, signal: Signal, now_ns: int) -> None:
        self.signal = signal
        self.next_send_ns = now_ns
        self.pause_ns = 0  # until it is sent for the first time


class Outbox:
    """Remembers what was emitted, in the order in which it was."""

    def __init__(self, *, resend_ms: int, resend_ms_max: int, signals_max: int) -> None:
        """Set the pauses between sends and the bound."""
        self._pause_ns = resend_ms * NS_PER_MS
        self._pause_ns_max = resend_ms_max * NS_PER_MS
        self._signals_max = signals_max
        self._pending: dict[str, _Pending] = {}
        self.resent = 0

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, signal: Signal, now_ns: int) -> None:
        """Take a new signal, due at once.

        Raises:
            OutboxFullError: The bound is reached.
        """
        if len(self._pending) >= self._signals_max:
            raise OutboxFullError(
                f"outbox: expected fewer than {self._signals_max} unacknowledged signals; is the executor running?"
            )
        self._pending[signal.signal_id] = _Pending(signal, now_ns)

    def due(self, now_ns: int) -> list[Signal]:
        """Signals to send now, oldest first; each will be due again after its pause."""
        due = [pending for pending in self._pending.values() if pending.next_send_ns <= now_ns]
        for pending in due:
            self.resent += pending.pause_ns > 0
            pending.pause_ns = min(2 * pending.pause_ns or self._pause_ns, self._pause_ns_max)
            pending.next_send_ns = now_ns + pending.pause_ns
        return [pending.signal for pending in due]

    def acknowledge(self, signal_id: str) -> Signal | None:
        """The end of a signal is known; None when it is not waited for (any more)."""
        pending = self._pending.pop(signal_id, None)
        return None if pending is None else pending.signal

    def take_expired(self, now_ns: int, grace_ns: int) -> list[Signal]:
        """Give up signals that expired more than a grace ago without a word from the executor."""
        expired = [
            pending.signal for pending in self._pending.values() if pending.signal.expires_ns + grace_ns < now_ns
        ]
        for signal in expired:
            del self._pending[signal.signal_id]
        return expired
