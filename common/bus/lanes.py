"""Where events wait for one handler: one queue a priority, each bounded, each with its policy. Pure.

Higher priorities go first, and within one events leave as they came, so those of one type are in order. So that a flood
above starves nobody below, every eighth turn belongs to what waits below, the lower ones by turns.

| priority | full queue |
|---|---|
| critical, high | takes no more: its publisher waits |
| normal | market data that a newer value replaces is conflated, then the oldest is dropped; both counted |
| low | takes no more: what comes is dropped and counted |
"""

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from common.bus.config import QueueConfig
from common.events.base import Event, Priority
from common.events.market import Quote, Tick

LOWER_TURN_EVERY = 8


class Carried(NamedTuple):
    """An event with something to remember: who caused it, or which dead letter it is."""

    event: Event
    hops: int = 0  # handlers between it and the first of its chain
    redelivery: Any = None


class Ticket:
    """An event at the door of a full queue. Those of one queue enter in the order in which they came."""

    __slots__ = ("has_entered", "item", "on_entered")

    def __init__(self, item: Event | Carried, on_entered: Callable[[], object]) -> None:
        self.item = item
        self.has_entered = False
        self.on_entered = on_entered

    def enter(self) -> Event | Carried:
        """Its place is taken; whoever waited is told."""
        self.has_entered = True
        self.on_entered()
        return self.item


class Lane:
    """The queue of one priority. Its counts tell where an event in it is: the n-th in is the n-th out."""

    __slots__ = (
        "capacity", "conflate_at", "conflated", "door", "dropped", "entered", "limit", "marks", "queue", "stood",
        "turned_away",
    )  # fmt: skip

    def __init__(self, capacity: int) -> None:
        self.queue: deque[Event | Carried] = deque()
        self.capacity = capacity
        self.limit = capacity  # 0 while somebody waits at the door: nobody overtakes
        self.door: deque[Ticket] = deque()
        self.entered = 0
        self.turned_away = 0  # never entered
        self.dropped = 0
        self.conflated = 0
        self.conflate_at = 0  # the number of an entry before which looking for stale values is not worth it
        self.marks: deque[tuple[int, int]] = deque()  # number of an entry, and when it came
        self.stood: tuple[int, int] | None = None  # number of the oldest, and since when it was seen to wait

    @property
    def left(self) -> int:
        """How many have left, whichever way; the number of the oldest that waits."""
        return self.entered - len(self.queue)

    def mark(self, now_ns: int) -> None:
        """Remember when the next event enters."""
        if not self.marks or self.marks[-1][0] != self.entered:
            self.marks.append((self.entered, now_ns))

    def came_ns(self) -> int | None:
        """When the last marked event that has left came; it and the marks before it are forgotten."""
        came_ns, left = None, self.left
        while self.marks and self.marks[0][0] < left:
            came_ns = self.marks.popleft()[1]
        return came_ns

    def look(self, now_ns: int) -> None:
        """Remember which event is the oldest now: not every one has a mark."""
        left = self.left
        if not self.queue:
            self.stood = None
        elif self.stood is None or self.stood[0] != left:
            self.stood = (left, now_ns)

    def oldest_ns(self) -> int | None:
        """About when the oldest that waits has come; None while nothing waits."""
        if not self.queue:
            return None
        left = self.left
        times = [came_ns for number, came_ns in self.marks if number >= left][:1]
        if self.stood is not None and self.stood[0] == left:
            times.append(self.stood[1])
        return min(times, default=None)

    def wait(self, item: Event | Carried, on_entered: Callable[[], object]) -> Ticket:
        """Stand at the door."""
        ticket = Ticket(item, on_entered)
        self.door.append(ticket)
        self.limit = 0
        return ticket

    def withdraw(self, ticket: Ticket) -> bool:
        """Leave the door again; False when it has entered."""
        if ticket.has_entered:
            return False
        self.door.remove(ticket)
        self.turned_away += 1
        if not self.door:
            self.limit = self.capacity
        return True

    def admit(self) -> None:
        """Let in from the door what there is room for."""
        while self.door and len(self.queue) < self.capacity:
            self.queue.append(self.door.popleft().enter())
            self.entered += 1
        if not self.door:
            self.limit = self.capacity

    def take_over(self, item: Event | Carried) -> None:
        """Take in what has been accepted already, whether there is room or not."""
        self.queue.append(item)
        self.entered += 1

    def remove(self, is_wanted: Callable[[Event], bool]) -> list[Event | Carried]:
        """Take out what passes a test, from the door too, in order."""
        self.queue.extend(ticket.enter() for ticket in self.door)
        self.entered += len(self.door)
        self.door.clear()
        self.limit = self.capacity
        removed = [item for item in self.queue if is_wanted(event_of(item))]
        if removed:
            kept = [item for item in self.queue if not is_wanted(event_of(item))]
            self._replace(kept)
        return removed

    def conflate(self) -> None:
        """Keep of each topic of state only the newest value."""
        kept = _newest_of(self.queue)
        if len(kept) < len(self.queue):
            self.conflated += len(self.queue) - len(kept)
            self._replace(kept)

    def _replace(self, items: "list[Event | Carried] | deque[Event | Carried]") -> None:
        self.marks.clear()  # the numbers of what stays have moved
        self.queue.clear()  # in place: who takes from it holds on to it
        self.queue.extend(items)


class Lanes:
    """All that waits for one handler."""

    __slots__ = ("_lower_turns", "_since_lower", "lanes")

    def __init__(self, config: QueueConfig) -> None:
        self.lanes = (
            Lane(config.critical_events_max),
            Lane(config.high_events_max),
            Lane(config.normal_events_max),
            Lane(config.low_events_max),
        )
        self._since_lower = 0
        self._lower_turns = 0

    def __len__(self) -> int:
        return sum(len(lane.queue) + len(lane.door) for lane in self.lanes)

    def offer(self, item: Event | Carried, priority: Priority) -> bool:
        """Take an event in, or tell that its publisher has to wait. What is dropped counts as taken."""
        lane = self.lanes[priority]
        if len(lane.queue) >= lane.limit and not self._make_room(lane, priority):
            if priority <= Priority.HIGH:
                return False
            lane.dropped += 1
            lane.turned_away += 1
            return True
        lane.queue.append(item)
        lane.entered += 1
        return True

    def next_lane(self) -> Lane | None:
        """The queue whose turn it is; None while nothing waits."""
        waiting = [lane for lane in self.lanes if lane.queue]
        if len(waiting) <= 1:
            self._since_lower = 0
            return waiting[0] if waiting else None
        self._since_lower += 1
        if self._since_lower < LOWER_TURN_EVERY:
            return waiting[0]
        self._since_lower = 0
        self._lower_turns += 1
        return waiting[1 + self._lower_turns % (len(waiting) - 1)]

    def remove(self, is_wanted: Callable[[Event], bool]) -> list[Event | Carried]:
        """Take out what passes a test, highest priority first."""
        return [item for lane in self.lanes for item in lane.remove(is_wanted)]

    def _make_room(self, lane: Lane, priority: Priority) -> bool:
        if priority is not Priority.NORMAL:
            return False
        if lane.entered >= lane.conflate_at:
            lane.conflate()
            # The search costs 0.1 µs for each that waits. Spread over an eighth of them it costs 1 µs an event.
            lane.conflate_at = lane.entered + lane.capacity // 8
        if len(lane.queue) >= lane.capacity:
            lane.queue.popleft()
            lane.dropped += 1
        return True


def event_of(item: Event | Carried) -> Event:
    """The event itself."""
    return item.event if type(item) is Carried else item  # type: ignore[return-value]


def _newest_of(queue: deque[Event | Carried]) -> deque[Event | Carried]:
    """What is left when of each topic of state only the newest value stays, in the order of those."""
    seen: set[tuple[type, str, str]] = set()
    kept: deque[Event | Carried] = deque()
    for item in reversed(queue):
        event = event_of(item)
        # Each of these tells all there is to know about its topic, so the newest one replaces those before it.
        if isinstance(event, Tick | Quote):
            key = (type(event), event.exchange, event.symbol)
            if key in seen:
                continue
            seen.add(key)
        kept.appendleft(item)
    return kept
