"""What happens when, in virtual time."""

import heapq
from collections.abc import Callable

from common.clock import VirtualClock


class Schedule:
    """Actions in the order of their times, and of their arrival within one time."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0

    def at(self, due_ns: int, action: Callable[[], None]) -> None:
        """Do something at a time."""
        self._number += 1
        heapq.heappush(self._due, (due_ns, self._number, action))

    def after(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Do something in a while."""
        self.at(self.clock.now_ns() + delay_ns, action)

    def step(self) -> None:
        """Let time pass to the next action, and do it."""
        due_ns, _, action = heapq.heappop(self._due)
        self.clock.advance_to(due_ns)
        action()
