"""What a handler asks for: event classes, topic patterns, or both. Pure."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from common.errors import InvalidValueError
from common.events.base import Event
from common.events.registry import MESSAGE_TYPES
from common.wire.topics import TopicPattern

Selection = type[Event] | str | Iterable[type[Event] | str]


class Selector(NamedTuple):
    """A test that depends on class and topic alone, and the patterns that cover it, for whoever filters far away."""

    selects: Callable[[Event], bool]
    patterns: tuple[str, ...]


def selector_for(what: Selection) -> Selector:
    """Read what a handler asks for.

    Raises:
        InvalidValueError: It names nothing that can be published.
    """
    if isinstance(what, str):
        return _by_pattern(what)
    if isinstance(what, type):
        return _by_class(what)
    parts = [selector_for(part) for part in what]
    if not parts:
        raise InvalidValueError("subscription: expected at least one event class or topic pattern")
    return Selector(
        lambda event: any(part.selects(event) for part in parts),
        tuple(dict.fromkeys(pattern for part in parts for pattern in part.patterns)),
    )


def _by_pattern(text: str) -> Selector:
    pattern = TopicPattern(text)
    return Selector(lambda event: pattern.matches(event.topic().encode()), (text,))


def _by_class(event_class: type) -> Selector:
    if not issubclass(event_class, Event):
        raise InvalidValueError(f"subscription: expected an event class, was {event_class.__name__}")
    kinds = {kind.kind for kind in MESSAGE_TYPES if issubclass(kind, event_class)}
    kinds |= {event_class.kind} if hasattr(event_class, "kind") else set()
    patterns = ("*",) if event_class is Event else tuple(f"{kind}.*.*" for kind in sorted(kinds))
    return Selector(lambda event: isinstance(event, event_class), patterns)
