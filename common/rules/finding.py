"""What a rule says: a finding, or a message to be published. Whoever feeds the rules decides what becomes of it."""

from collections.abc import Iterable
from typing import Any

import msgspec

from common.events.base import EventId, Message, Name, Text
from common.events.risk import Severity


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A rule's pattern was there. `timestamp_ns` is event time; `values` are numbers that a reader will ask for."""

    rule: Name
    severity: Severity
    exchange: Name
    symbol: Name
    timestamp_ns: int
    detail: Text
    values: dict[str, float] = msgspec.field(default_factory=dict)
    cause_id: EventId | None = None


Output = Finding | Message
# What a rule may return.
Answer = Output | Iterable[Output] | None


def found(
    event: Message,
    detail: str,
    *,
    severity: Severity = Severity.WARNING,
    timestamp_ns: int | None = None,
    **values: float,
) -> Finding:
    """A finding about an event; the engine writes the rule's name into it.

    Args:
        event: Its cause.
        detail: One line for a person, up to 500 characters.
        severity: How soon somebody should look.
        timestamp_ns: Event time, where it is not that of the event.
        **values: Numbers by name; the unit belongs in the name.
    """
    about: Any = event
    return Finding(
        rule="",
        severity=severity,
        exchange=getattr(about, "exchange", ""),
        symbol=getattr(about, "symbol", ""),
        timestamp_ns=event.timestamp_ns if timestamp_ns is None else timestamp_ns,
        detail=detail[:500],
        values={name: float(value) for name, value in values.items()},
        cause_id=event.event_id(),
    )


def listed(answer: Any) -> list[Output]:
    """Outputs of an answer, checked.

    Raises:
        TypeError: A rule has returned something else.
    """
    if answer is None:
        return []
    if isinstance(answer, Finding | Message):
        return [answer]
    if isinstance(answer, str) or not isinstance(answer, Iterable):  # such as the id that `buy` returns
        raise TypeError(f"expected None, findings or messages from a rule, was {type(answer).__name__}")
    outputs = [*answer]
    for output in outputs:
        if not isinstance(output, Finding | Message):
            raise TypeError(f"expected None, findings or messages from a rule, was {type(output).__name__}")
    return outputs
