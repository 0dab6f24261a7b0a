"""Instructions that came before the one that they follow. They wait for its verdict, within bounds."""

from collections import deque

from common.clock import NS_PER_MS
from common.events.trading import AmendRequested, CancelRequested, Signal

Instruction = Signal | CancelRequested | AmendRequested


class HeldInstructions:
    """At most one successor of each instruction that has no verdict yet, oldest first."""

    def __init__(self, *, held_ms_max: int, held_max: int) -> None:
        """Set how long an instruction waits for the one before it, and how many may wait."""
        self._held_ns_max = held_ms_max * NS_PER_MS
        self._held_max = held_max
        self._by_predecessor: dict[tuple[str, str], Instruction] = {}
        self._deadlines: deque[tuple[int, tuple[str, str]]] = deque()

    def __len__(self) -> int:
        return len(self._by_predecessor)

    def hold(self, instruction: Instruction, follows: str, now_ns: int) -> bool:
        """Let one wait; False when there is no room: it is sent again, and finds some later."""
        key = (instruction.strategy, follows)
        if key in self._by_predecessor:
            return True
        if len(self._by_predecessor) >= self._held_max:
            return False
        self._by_predecessor[key] = instruction
        self._deadlines.append((now_ns + self._held_ns_max, key))
        return True

    def take_successor(self, strategy: str, instruction_id: str) -> Instruction | None:
        """The one that waited for this verdict."""
        return self._by_predecessor.pop((strategy, instruction_id), None)

    def take_overdue(self, now_ns: int) -> Instruction | None:
        """The oldest that has waited too long: what it follows is lost, or its strategy's memory is."""
        while self._deadlines and self._deadlines[0][0] <= now_ns:
            _, key = self._deadlines.popleft()
            instruction = self._by_predecessor.pop(key, None)
            if instruction is not None:
                return instruction
        return None
