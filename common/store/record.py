"""What a store keeps: a message and its place in the log. Pure."""

from typing import NamedTuple

from common.events.base import Message


class Record(NamedTuple):
    """One message as it was recorded.

    `id` counts from 1 in the order of arrival; ids that retention has removed are missing. `recorded_ns` is when the
    recorder took it from the socket, ns UTC; of an imported message it is the message's own `timestamp_ns`.
    """

    id: int
    recorded_ns: int
    message: Message
