"""Where the events of one class on one topic go: worked out once, then looked up. Pure."""

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from common.bus.groups import key_of, member_for
from common.bus.idempotency import TopicNumbers
from common.bus.lanes import Lane, Lanes
from common.events.base import Event, Priority


class Receiver(Protocol):
    """Whoever may get events."""

    @property
    def name(self) -> str:
        """A name of its own."""
        ...

    @property
    def group(self) -> str | None:
        """With whom it shares events."""
        ...

    @property
    def lanes(self) -> Lanes:
        """Where they wait for it."""
        ...

    def asks_for(self, sample: Event) -> bool:
        """Tell whether events of this class and topic are wanted."""
        ...


R = TypeVar("R", bound=Receiver)


class Route(Generic[R]):
    """The events of one class on one topic: who gets them, and which numbers have come."""

    __slots__ = ("count", "numbers", "priority", "sample", "targets", "topic")

    def __init__(self, sample: Event, topic: str, numbers: TopicNumbers) -> None:
        """Prepare; `numbers` are shared by all classes on the topic."""
        self.topic = topic
        self.priority = Priority(sample.priority)
        self.sample = sample
        self.targets: list[tuple[Lane, R]] = []
        self.count = 0
        self.numbers = numbers

    def aim(self, receivers: Iterable[R]) -> None:
        """Work out who gets these events: all who ask for them, but one member of each group."""
        chosen = receivers_of(self.sample, receivers)
        self.targets = [(receiver.lanes.lanes[self.priority], receiver) for receiver in chosen]


def receivers_of(event: Event, receivers: Iterable[R]) -> list[R]:
    """All who ask for an event, but one member of each group."""
    asking = [receiver for receiver in receivers if receiver.asks_for(event)]
    groups: dict[str, list[str]] = {}
    for receiver in asking:
        if receiver.group is not None:
            groups.setdefault(receiver.group, []).append(receiver.name)
    chosen = {group: member_for(key_of(event), names) for group, names in groups.items()}
    return [receiver for receiver in asking if receiver.group is None or chosen[receiver.group] == receiver.name]
