"""Tells a repeat from what is new, by the numbers that every event carries. Pure.

`event_id` is source, epoch, topic and number. For one topic the last two of them decide, and numbers rise by one, so a
whole window of ids is one integer and the few numbers that are missing.
"""

from collections import deque


class SeenNumbers:
    """The numbers of one topic of one publisher's life that have come."""

    __slots__ = ("_early", "_missing", "_missing_order", "_window", "first", "last")

    def __init__(self, first: int, window: int) -> None:
        """Begin before any has come.

        Args:
            first: The first number that is about to come.
            window: How many older numbers are told apart.
        """
        self.first = first
        self.last = first - 1
        self._window = window
        self._missing: set[int] = set()
        self._missing_order: deque[int] = deque()
        self._early: set[int] = set()  # came late, from before the first that we saw

    def is_new(self, number: int, count: int = 1) -> bool:
        """Tell whether a number comes for the first time, and remember that it came.

        One that is older than the window counts as a repeat: an event twice does more harm than one whose loss was
        counted when it was overtaken.

        Args:
            number: Of the event; of a batch its last one.
            count: How many numbers it takes up.
        """
        start = number - count + 1
        if start == self.last + 1:  # as nearly always
            self.last = number
            return True
        if start > self.last:
            self._miss(self.last + 1, start)
            self.last = number
            return True
        if start >= self.first:
            if start not in self._missing:
                return False
            self._missing.difference_update(range(start, number + 1))
            return True
        return self._is_new_early(number)

    def _miss(self, start: int, stop: int) -> None:
        numbers = range(max(start, stop - self._window), stop)
        self._missing.update(numbers)
        self._missing_order.extend(numbers)
        while len(self._missing_order) > self._window:
            self._missing.discard(self._missing_order.popleft())

    def _is_new_early(self, number: int) -> bool:
        if number in self._early or len(self._early) >= self._window or number <= self.first - self._window:
            return False
        self._early.add(number)
        return True
