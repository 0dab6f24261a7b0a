"""Where events wait for one handler: one queue a priority, each bounded, each with its policy. Pure.

Higher priorities go first, and within one events leave as they came, so those of one type are in order. So that a flood
above starves nobody below for ever, every 64th event is taken from below when something waits there.

| priority | full queue |
|---|---|
| critical, high | takes no more: its publisher waits |
| normal | market data that a newer value replaces is conflated, then the oldest is dropped; both counted |
| low | takes no more: what comes is dropped and counted |
"""

from collections import deque
from typing import Any

from common.bus.config import QueueConfig
from common.events.base import Event, Priority
from common.events.market import Quote, Tick

# Each of these tells all there is to know about its topic, so the newest one replaces those before it.
CONFLATED_TYPES: frozenset[type[Event]] = frozenset({Tick, Quote})
LOWER_TURN_EVERY = 64
MARK_EVERY = 64  # events; each mark costs two readings of the clock and one entry in a histogram


class Lane:
    """The queue of one priority. Its counts tell where an event in it is: the n-th in is the n-th out."""

    __slots__ = ("capacity", "conflate_at", "conflated", "dropped", "entered", "left", "marks", "queue")

    def __init__(self, capacity: int) -> None:
        self.queue: deque[Any] = deque()
        self.capacity = capacity
        self.entered = 0
        self.left = 0
        self.dropped = 0
        self.conflated = 0
        self.conflate_at = 0  # the number of an entry before which looking for stale values is not worth it
        self.marks: deque[tuple[int, int]] = deque()  # number of an entry, and when it came

    @property
    def room(self) -> int:
        """How many more it takes."""
        return self.capacity - len(self.queue)

    def mark(self, now_ns: int) -> None:
        """Remember when the next event enters."""
        self.marks.append((self.entered, now_ns))

    def came_ns(self) -> int | None:
        """When the last marked event that has left came; it and the marks before it are forgotten."""
        came_ns = None
        while self.marks and self.marks[0][0] < self.left:
            came_ns = self.marks.popleft()[1]
        return came_ns

    def oldest_ns(self) -> int | None:
        """About when the oldest that waits has come; None while nothing waits."""
        return self.marks[0][1] if self.queue and self.marks else None


class Lanes:
    """All that waits for one handler."""

    __slots__ = ("_since_lower", "lanes")

    def __init__(self, config: QueueConfig) -> None:
        self.lanes = (
            Lane(config.critical_events_max),
            Lane(config.high_events_max),
            Lane(config.normal_events_max),
            Lane(config.low_events_max),
        )
        self._since_lower = 0

    def __len__(self) -> int:
        return sum(len(lane.queue) for lane in self.lanes)

    def offer(self, event: Any, priority: Priority) -> bool:
        """Take an event in, or tell that its publisher has to wait. What is dropped counts as taken."""
        lane = self.lanes[priority]
        if len(lane.queue) >= lane.capacity and not self._make_room(lane, priority):
            if priority <= Priority.HIGH:
                return False
            lane.dropped += 1
            return True
        lane.queue.append(event)
        lane.entered += 1
        return True

    def next_lane(self) -> Lane | None:
        """The queue to take from now; None while nothing waits."""
        waiting = [lane for lane in self.lanes if lane.queue]
        if not waiting:
            return None
        if len(waiting) == 1:
            self._since_lower = 0
            return waiting[0]
        self._since_lower += 1
        if self._since_lower < LOWER_TURN_EVERY:
            return waiting[0]
        self._since_lower = 0
        # The lowest but one turn in two, so that neither of two lower ones is forgotten.
        return waiting[1 + (waiting[0].left // LOWER_TURN_EVERY) % (len(waiting) - 1)]

    def take(self) -> Any:
        """Take the next event out; None while nothing waits."""
        lane = self.next_lane()
        if lane is None:
            return None
        lane.left += 1
        return lane.queue.popleft()

    def clear(self) -> list[Any]:
        """Take everything out, highest priority first."""
        events = [event for lane in self.lanes for event in lane.queue]
        for lane in self.lanes:
            lane.left += len(lane.queue)
            lane.queue.clear()
            lane.marks.clear()
        return events

    def _make_room(self, lane: Lane, priority: Priority) -> bool:
        if priority is not Priority.NORMAL:
            return False
        queue = lane.queue
        if lane.entered >= lane.conflate_at:
            kept = _newest_of(queue)
            lane.conflated += len(queue) - len(kept)
            lane.left += len(queue) - len(kept)
            if len(kept) < len(queue):
                lane.marks.clear()  # the numbers of what is left have moved
                queue.clear()  # in place: who takes from it holds on to it
                queue.extend(kept)
            # The search costs 0.1 µs for each that waits. Spread over an eighth of them it costs 1 µs an event.
            lane.conflate_at = lane.entered + lane.capacity // 8
        if len(queue) >= lane.capacity:
            queue.popleft()
            lane.dropped += 1
            lane.left += 1
        return True


def _newest_of(queue: deque[Any]) -> deque[Any]:
    """What is left when of each topic of state only the newest value stays, in the order of those."""
    seen: set[tuple[type, str, str]] = set()
    kept: deque[Any] = deque()
    for event in reversed(queue):
        if type(event) in CONFLATED_TYPES:
            key = (type(event), event.exchange, event.symbol)
            if key in seen:
                continue
            seen.add(key)
        kept.appendleft(event)
    return kept
