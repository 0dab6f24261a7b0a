"""What is due next: messages under way and timers, in the order of their times, and of their making."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import numpy as np

from backtest.config import Span

NEVER_NS = 1 << 63
_DRAWN_AT_ONCE = 1_000
_LINES_SEED = 1 << 32  # apart from the seeds of market latencies

Action = Callable[[Any], None]


class Agenda:
    """A heap of things to do. Equal times go in the order in which they were entered."""

    __slots__ = ("_count", "heap")

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, Action, Any]] = []
        self._count = 0

    def enter(self, due_ns: int, action: Action, argument: Any) -> None:
        """Have something done at a time."""
        self._count += 1
        heappush(self.heap, (due_ns, self._count, action, argument))

    def next_ns(self) -> int:
        """When the next thing is due."""
        return self.heap[0][0] if self.heap else NEVER_NS

    def take(self) -> tuple[int, Action, Any]:
        """The next thing, with its time."""
        due_ns, _, action, argument = heappop(self.heap)
        return due_ns, action, argument


class Draws:
    """Latencies of one hop, one by one or many at once, from its own seed."""

    def __init__(self, span: Span, seed: int, hop_number: int) -> None:
        self.span = span
        self.is_fixed = span.min_ns == span.max_ns
        self._generator = np.random.default_rng([seed, hop_number, _LINES_SEED])
        self._drawn: list[int] = []

    def one(self) -> int:
        """The next latency, ns."""
        if self.is_fixed:
            return self.span.min_ns
        if not self._drawn:
            self._drawn = self.many(_DRAWN_AT_ONCE).tolist()
        return self._drawn.pop()

    def many(self, count: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
        """So many latencies, ns: shape (count,), int64."""
        if self.is_fixed:
            return np.full(count, self.span.min_ns, dtype=np.int64)
        return self._generator.integers(self.span.min_ns, self.span.max_ns, size=count, endpoint=True)


class Line:
    """One direction between two processes: a message takes its latency, and overtakes none before it."""

    __slots__ = ("_agenda", "_draws", "_last_due_ns", "_receive", "count")

    def __init__(self, agenda: Agenda, draws: Draws, receive: Action) -> None:
        self._agenda = agenda
        self._draws = draws
        self._receive = receive
        self._last_due_ns = 0
        self.count = 0

    def send(self, message: object, now_ns: int) -> None:
        """Let a message begin its way."""
        self.count += 1
        self._last_due_ns = max(now_ns + self._draws.one(), self._last_due_ns)
        self._agenda.enter(self._last_due_ns, self._receive, message)
