"""Which events a handler gets, beyond their topic. Filters compose with `&`, `|` and `~`. Pure.

    bus.subscribe(Tick, handler, filter=symbol_filter("BTC/USDT") & ~exchange_filter("simulated"))

Any function of an event to a bool is a filter too; wrapped in `Filter` it composes.
"""

from collections.abc import Callable

from common.bus.groups import key_of, part_for
from common.errors import InvalidValueError
from common.events.base import Event

Predicate = Callable[[Event], bool]


class Filter:
    """A test of an event.

    One that looks only at what is the same for all events of a topic (`is_topical`) is asked once a topic, not once an
    event.
    """

    def __init__(self, test: Predicate, *, is_topical: bool = False, name: str = "") -> None:
        self.is_topical = is_topical
        self._test = test
        self.name = name or getattr(test, "__name__", repr(test))

    def __call__(self, event: Event) -> bool:
        return self._test(event)

    def __and__(self, other: Predicate) -> "Filter":
        return combined_filter(self, other)

    def __or__(self, other: Predicate) -> "Filter":
        mine, its = self, as_filter(other)
        return Filter(
            lambda event: mine(event) or its(event),
            is_topical=mine.is_topical and its.is_topical,
            name=f"({mine.name} | {its.name})",
        )

    def __invert__(self) -> "Filter":
        return Filter(lambda event: not self(event), is_topical=self.is_topical, name=f"~{self.name}")

    def __repr__(self) -> str:
        return f"Filter({self.name})"


def as_filter(test: Predicate) -> Filter:
    """A filter from any function of an event."""
    return test if isinstance(test, Filter) else Filter(test)


def symbol_filter(*symbols: str) -> Filter:
    """Events of these symbols, in ccxt's form, such as `BTC/USDT`."""
    wanted = _names("symbol_filter", symbols)
    return Filter(
        lambda event: getattr(event, "symbol", None) in wanted, is_topical=True, name=f"symbol in {sorted(wanted)}"
    )


def exchange_filter(*exchanges: str) -> Filter:
    """Events of these exchanges, such as `binance`."""
    wanted = _names("exchange_filter", exchanges)
    return Filter(
        lambda event: getattr(event, "exchange", None) in wanted,
        is_topical=True,
        name=f"exchange in {sorted(wanted)}",
    )


def event_type_filter(*types: type[Event]) -> Filter:
    """Events of these classes and of those below them."""
    if not types:
        raise InvalidValueError("event_type_filter: expected at least one event class")
    return Filter(
        lambda event: isinstance(event, types), is_topical=True, name=" or ".join(kind.__name__ for kind in types)
    )


def time_range_filter(from_ns: int | None = None, to_ns: int | None = None) -> Filter:
    """Events whose `timestamp_ns` is at or after `from_ns` and before `to_ns`; ns UTC.

    Raises:
        InvalidValueError: The range is empty.
    """
    start = from_ns if from_ns is not None else 0
    if to_ns is None:
        return Filter(lambda event: event.timestamp_ns >= start, name=f"from {start}")
    if to_ns <= start:
        raise InvalidValueError(f"time_range_filter: expected an end after {start}, was {to_ns}")
    return Filter(lambda event: start <= event.timestamp_ns < to_ns, name=f"{start} to {to_ns}")


def partition_filter(index: int, count: int) -> Filter:
    """The share of one of `count` processes: each symbol belongs to exactly one `index` from 0.

    Raises:
        InvalidValueError: There is no such part.
    """
    if not 0 <= index < count:
        raise InvalidValueError(f"partition_filter: expected an index from 0 to {count - 1}, was {index}")
    return Filter(
        lambda event: part_for(key_of(event), count) == index, is_topical=True, name=f"part {index} of {count}"
    )


def combined_filter(*filters: Predicate) -> Filter:
    """Events that pass all of them.

    Raises:
        InvalidValueError: There is none.
    """
    if not filters:
        raise InvalidValueError("combined_filter: expected at least one filter")
    parts = [as_filter(part) for part in filters]
    return Filter(
        lambda event: all(part(event) for part in parts),
        is_topical=all(part.is_topical for part in parts),
        name="(" + " & ".join(part.name for part in parts) + ")",
    )


def _names(who: str, names: tuple[str, ...]) -> frozenset[str]:
    if not names or not all(names):
        raise InvalidValueError(f"{who}: expected at least one name, was {names!r}")
    return frozenset(names)
