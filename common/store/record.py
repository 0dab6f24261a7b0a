"""What a store keeps: a message and its place in the log. Pure."""

from typing import NamedTuple

from common.events.base import Message
from common.store.selection import TIME_NS_MAX, TIME_NS_MIN


class Record(NamedTuple):
    """One message as it was recorded.

    `id` counts from 1 in the order of arrival; ids that retention has removed are missing. `recorded_ns` is when the
    recorder took it from the socket, ns UTC; of an imported message it is the message's own `timestamp_ns`.
    """

    id: int
    recorded_ns: int
    message: Message


def why_refused(message: Message) -> str | None:
    """Why no store takes this message; None where each does. Who must not lose a batch asks before it appends one."""
    if TIME_NS_MIN <= message.timestamp_ns <= TIME_NS_MAX:
        return None
    return f"timestamp_ns: expected 64 bits with a sign (ns UTC), was {message.timestamp_ns}"
