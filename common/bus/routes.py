"""Where the events of one topic go: worked out once a topic, then looked up. Pure."""

from typing import TYPE_CHECKING

from msgspec.structs import force_setattr

from common.bus.idempotency import SeenNumbers
from common.errors import InvalidValueError
from common.events.base import Event, Priority
from common.events.market import Ticks

if TYPE_CHECKING:
    from common.bus.lanes import Lane
    from common.bus.subscription import Subscription

LIVES_MAX = 16  # of publishers, per topic; restarts of a publisher, mostly


class Route:
    """The events of one class on one topic: who gets them, and which numbers have come."""

    __slots__ = ("_lives", "_window", "count", "epoch", "is_packed", "priority", "repeats", "sample", "seen", "source", "targets",
                 "topic")  # fmt: skip

    def __init__(self, sample: Event, window: int) -> None:
        """Prepare a topic.

        Raises:
            InvalidValueError: The message is no event.
        """
        if not isinstance(sample, Event):
            raise InvalidValueError(
                f"bus: expected an event, was {type(sample).__name__}; commands, queries and replies have their channels"
            )
        self.topic = sample.topic()
        self.priority = Priority(sample.priority)
        self.sample = sample
        self.targets: list[tuple[Lane, Subscription]] = []
        self.is_packed = isinstance(sample, Ticks)
        self.count = 0
        self.repeats = 0
        self._window = window
        self._lives: dict[tuple[str, int], SeenNumbers] = {}
        self.source = ""
        self.epoch = -1
        self.seen = SeenNumbers(1, window)

    def is_new(self, event: Event) -> bool:
        """Tell whether an event comes for the first time, and remember that it came."""
        if event.epoch != self.epoch or event.source != self.source:
            self._change_life(event.source, event.epoch, event.seq)
        is_new = self.seen.is_new(event.seq, event.count) if self.is_packed else self.seen.is_new(event.seq)  # type: ignore[attr-defined]
        if not is_new:
            self.repeats += 1
        return is_new

    def number(self, draft: Event, source: str, epoch: int) -> None:
        """Give a draft its identity, with the next number of this topic."""
        if epoch != self.epoch or source != self.source:
            self._change_life(source, epoch, 1)
        seen = self.seen
        # A draft belongs to its maker until it is published; from here on it is immutable.
        force_setattr(draft, "source", source)
        force_setattr(draft, "epoch", epoch)
        seen.last += draft.count if self.is_packed else 1  # type: ignore[attr-defined]
        force_setattr(draft, "seq", seen.last)

    def _change_life(self, source: str, epoch: int, seq: int) -> None:
        life = (source, epoch)
        seen = self._lives.get(life)
        if seen is None:
            if len(self._lives) >= LIVES_MAX:
                self._lives.pop(next(iter(self._lives)))
            seen = self._lives[life] = SeenNumbers(seq, self._window)
        self.source, self.epoch, self.seen = source, epoch, seen
