"""Which records are asked for: a range of time, types, an exchange, a symbol. Pure."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

import msgspec

from common.errors import InvalidValueError
from common.events.base import Message
from common.events.registry import TYPES_BY_NAME, type_name

TIME_NS_MIN, TIME_NS_MAX = -(2**63), 2**63 - 1


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Records from `from_ns` on, up to but without `to_ns` (ns UTC, by the message's own `timestamp_ns`).

    An empty set of types, and None for exchange and symbol, select all. A message without an exchange or a symbol is
    not selected where one is asked for.
    """

    from_ns: int = TIME_NS_MIN
    to_ns: int = TIME_NS_MAX
    types: frozenset[type[Message]] = frozenset()
    exchange: str | None = None
    symbol: str | None = None

    def __post_init__(self) -> None:
        if self.from_ns > self.to_ns:
            raise ValueError(f"time range: expected from <= to, was from {self.from_ns} to {self.to_ns}")

    def matches(self, message: Message) -> bool:
        """Tell whether a message is asked for."""
        if not self.from_ns <= message.timestamp_ns < self.to_ns:
            return False
        if self.types and type(message) not in self.types:
            return False
        if self.exchange is not None and getattr(message, "exchange", None) != self.exchange:
            return False
        return self.symbol is None or getattr(message, "symbol", None) == self.symbol


EVERYTHING = Selection()


def types_named(patterns: Iterable[str]) -> frozenset[type[Message]]:
    """The message types that people name: a type, such as `Market.Tick.Received.v1`, or a kind, such as `tick`.

    `*` stands for any characters: `Market.*`, `order_*`. A kind of several types means all of them: `tick` is single
    ticks and groups of them.

    Raises:
        InvalidValueError: A pattern names nothing.
    """
    found: set[type[Message]] = set()
    for pattern in patterns:
        named = {
            message_type
            for name, message_type in TYPES_BY_NAME.items()
            if fnmatchcase(name, pattern) or fnmatchcase(message_type.kind, pattern)
        }
        if not named:
            raise InvalidValueError(
                f"type {pattern!r}: expected a message type or kind, * for any characters; see `tickpulse events list`"
            )
        found |= named
    return frozenset(found)


def names_of(selection: Selection) -> frozenset[str]:
    """The names of the selected types as a file has them; empty for all."""
    return frozenset(type_name(message_type) for message_type in selection.types)
