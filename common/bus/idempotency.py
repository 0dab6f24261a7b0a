"""Tells a repeat from what is new, by the numbers that every event carries. Pure.

`event_id` is source, epoch, topic and number. For one topic the last two of them decide, and numbers rise by one, so a
whole window of ids is one integer and the few numbers that are missing.
"""

from collections import deque

from msgspec.structs import force_setattr

from common.events.base import Event
from common.events.market import Ticks

LIVES_MAX = 16  # of publishers, per topic; restarts of a publisher, mostly


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


class TopicNumbers:
    """The numbers of one topic, of all who publish on it. `seen` are those of whoever published last."""

    __slots__ = ("_lives", "_own", "_window", "epoch", "repeats", "seen", "source")

    def __init__(self, window: int) -> None:
        self.source = ""
        self.epoch = -1
        self.seen = SeenNumbers(1, window)
        self.repeats = 0
        self._window = window
        self._lives: dict[tuple[str, int], SeenNumbers] = {}
        self._own = SeenNumbers(1, window)

    def is_new(self, event: Event) -> bool:
        """Tell whether an event comes for the first time, and remember that it came."""
        count = _count_of(event)
        if event.epoch != self.epoch or event.source != self.source:
            self._change_life(event.source, event.epoch, event.seq - count + 1)
        is_new = self.seen.is_new(event.seq, count)
        self.repeats += not is_new
        return is_new

    def number(self, draft: Event, source: str, epoch: int) -> None:
        """Give a draft its identity, with the next number of this topic."""
        if epoch != self.epoch or source != self.source:
            self._lives.setdefault((source, epoch), self._own)  # never forgotten: a number used twice is a lost event
            self._change_life(source, epoch, 1)
        self._own = self.seen
        # A draft belongs to its maker until it is published; from here on it is immutable.
        force_setattr(draft, "source", source)
        force_setattr(draft, "epoch", epoch)
        self.seen.last += _count_of(draft)
        force_setattr(draft, "seq", self.seen.last)

    def _change_life(self, source: str, epoch: int, first: int) -> None:
        seen = self._lives.pop((source, epoch), None) or SeenNumbers(first, self._window)
        self._lives[source, epoch] = seen  # at the end: the life that was not heard of for longest is forgotten first
        if len(self._lives) > LIVES_MAX:
            self._lives.pop(next(iter(self._lives)))
        self.source, self.epoch, self.seen = source, epoch, seen


def _count_of(event: Event) -> int:
    """How many numbers an event takes up: a batch has one for each that it holds."""
    return event.count if isinstance(event, Ticks) else 1
