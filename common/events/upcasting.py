"""Versions that were released and are sent no more, and how each is read as the one that came after it. Pure.

A released version stays readable for ever: on the wire, where a peer is older, and in files. A changed meaning or shape
gets a new version; the old type moves here with one function to its successor, and readers apply as many as it takes. A
new optional field needs none of this: it keeps the version.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from common.events.base import Event, Message, Name, Priority, Text
from common.events.system import ConnectionChanged, ConnectionState

Upcaster = Callable[[Any], Message]


class ConnectionChangedV1(Event, frozen=True, kw_only=True, tag="System.Connection.Changed.v1"):
    """Could not tell a connection that was lost, which is a fault, from one that had ended, which is none."""

    kind: ClassVar[str] = "connection"
    priority = Priority.HIGH

    exchange: Name
    peer: Name
    is_connected: bool
    detail: Text

    def topic(self) -> str:
        return f"{self.kind}.{self.exchange}.{self.peer}"


def _with_connection_state(old: ConnectionChangedV1) -> ConnectionChanged:
    state = ConnectionState.CONNECTED
    if not old.is_connected:
        # The text was the only trace of it.
        state = ConnectionState.ENDED if old.detail.endswith("ended") else ConnectionState.LOST
    return ConnectionChanged(
        source=old.source,
        epoch=old.epoch,
        seq=old.seq,
        timestamp_ns=old.timestamp_ns,
        exchange=old.exchange,
        peer=old.peer,
        state=state,
        detail=old.detail,
    )


UPCASTERS: Mapping[type[Message], Upcaster] = {ConnectionChangedV1: _with_connection_state}
RETIRED_TYPES: tuple[type[Message], ...] = tuple(UPCASTERS)


def upcast(message: Message, upcasters: Mapping[type[Message], Upcaster] = UPCASTERS) -> Message:
    """The message as the newest version of its type has it; itself where it is that already.

    Its place in the stream, and so its `event_id`, stays what it was.
    """
    while (upcaster := upcasters.get(type(message))) is not None:
        message = upcaster(message)
    return message
