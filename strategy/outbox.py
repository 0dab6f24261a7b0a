"""Instructions whose end is not known yet: each is sent again, after growing pauses, until it is acknowledged.

Also after it has expired: only the executor can say that it was never placed. So each has exactly one end on record.
"""

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Protocol

import msgspec

from common.clock import NS_PER_MS
from common.errors import InvalidValueError, TickpulseError
from common.events.trading import AmendRequested, CancelRequested, Signal
from strategy.checkpoint import Checkpoint

Instruction = Signal | CancelRequested | AmendRequested


class OutboxFullError(TickpulseError):
    """Too many instructions wait for an acknowledgement: the executor is down or too slow. Nothing was emitted."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier life has left: instructions without an end, oldest first, and the newest id it emitted."""

    instructions: list[Instruction] = []
    last_id: str | None = None
    checkpoint: Checkpoint | None = None


class OutboxStore(Protocol):
    """Where instructions and checkpoints survive the process. Each call is durable when it returns."""

    def load(self) -> Kept:
        """What an earlier life has left."""
        ...

    def add(self, instructions: Sequence[Instruction], checkpoint: Checkpoint) -> None:
        """Keep new instructions, maybe none, and the checkpoint after them: all or nothing."""
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Forget instructions whose end is known."""
        ...


def id_of(instruction: Instruction) -> str:
    """What an instruction is acknowledged under.

    Raises:
        InvalidValueError: A cancel without a request id, which nobody acknowledges.
    """
    instruction_id = instruction.signal_id if isinstance(instruction, Signal) else instruction.request_id
    if instruction_id is None:
        raise InvalidValueError(f"cancel of {instruction.signal_id}: expected a request id")
    return instruction_id


class _Pending:
    __slots__ = ("instruction", "is_ended", "number", "pause_ns")

    def __init__(self, instruction: Instruction, number: int) -> None:
        self.instruction = instruction
        self.number = number  # its place in the order of emission
        self.pause_ns = 0  # until it is sent for the first time
        self.is_ended = False


class Outbox:
    """Remembers what was emitted, in the order in which it was."""

    def __init__(self, *, resend_ms: int, resend_ms_max: int, signals_max: int) -> None:
        """Set the pauses between sends and the bound."""
        self._pause_ns = resend_ms * NS_PER_MS
        self._pause_ns_max = resend_ms_max * NS_PER_MS
        self._signals_max = signals_max
        self._pending: dict[str, _Pending] = {}
        # A heap of when each is due. With a look at every one for each emission, 1,000 that wait would cost 50 µs.
        self._due: list[tuple[int, int, _Pending]] = []
        self._number = 0
        self.resent = 0

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def is_relieved(self) -> bool:
        """Tell whether half of the room is free, so that being full again is news."""
        return len(self._pending) <= self._signals_max // 2

    def __iter__(self) -> Iterator[Instruction]:
        """What waits for its end, oldest first."""
        return (pending.instruction for pending in self._pending.values())

    def restore(self, instructions: Sequence[Instruction]) -> None:
        """Take what an earlier life has left, however much it is; it was counted then."""
        for instruction in instructions:
            self._take(instruction, 0)

    def add(self, instruction: Instruction, now_ns: int) -> None:
        """Take a new instruction, due at once.

        Raises:
            OutboxFullError: The bound is reached.
        """
        if len(self._pending) >= self._signals_max:
            raise OutboxFullError(
                f"outbox: expected fewer than {self._signals_max} unacknowledged instructions; is the executor running?"
            )
        self._take(instruction, now_ns)

    def due(self, now_ns: int) -> list[Instruction]:
        """Instructions to send now, oldest first; each will be due again after its pause."""
        due: list[_Pending] = []
        while self._due and self._due[0][0] <= now_ns:
            pending = heappop(self._due)[2]
            if not pending.is_ended:
                due.append(pending)
        due.sort(key=_number_of)
        for pending in due:
            self.resent += pending.pause_ns > 0
            pending.pause_ns = min(2 * pending.pause_ns or self._pause_ns, self._pause_ns_max)
            heappush(self._due, (now_ns + pending.pause_ns, pending.number, pending))
        return [pending.instruction for pending in due]

    def hasten(self) -> None:
        """Make everything due now: the executor lives, and what was sent to the one before it is gone."""
        self._due = [(0, pending.number, pending) for pending in self._pending.values()]

    def acknowledge(self, instruction_id: str) -> Instruction | None:
        """The end of an instruction is known; None when it is not waited for (any more)."""
        pending = self._pending.pop(instruction_id, None)
        if pending is None:
            return None
        pending.is_ended = True
        return pending.instruction

    def find_signal(self, signal_id: str) -> Signal | None:
        """A signal that waits for its end."""
        pending = self._pending.get(signal_id)
        return pending.instruction if pending is not None and isinstance(pending.instruction, Signal) else None

    def is_cancelling(self, signal_id: str) -> bool:
        """Tell whether a cancel of this signal waits for its end."""
        return any(type(waiting) is CancelRequested and waiting.signal_id == signal_id for waiting in self)

    def _take(self, instruction: Instruction, due_ns: int) -> None:
        self._number += 1
        pending = self._pending[id_of(instruction)] = _Pending(instruction, self._number)
        heappush(self._due, (due_ns, pending.number, pending))


def _number_of(pending: _Pending) -> int:
    return pending.number
