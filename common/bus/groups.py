"""Which member of a group gets an event: exactly one, and the same one for all events of a key. Pure.

A key is hashed with each member's name and the highest hash wins, so that when a member joins or leaves only the keys
that it gets or had change hands.

Source:
    Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998 (rendezvous hashing).
"""

import zlib
from collections.abc import Iterable

from common.events.base import Event


def key_of(event: Event) -> str:
    """What must stay in order: an instrument for events that have one, otherwise the topic."""
    symbol = getattr(event, "symbol", None)
    return event.topic() if symbol is None else f"{getattr(event, 'exchange', '')}.{symbol}"


def member_for(key: str, members: Iterable[str]) -> str:
    """The member that this key belongs to."""
    return max(members, key=lambda member: (zlib.crc32(f"{member}/{key}".encode()), member))


def part_for(key: str, count: int) -> int:
    """The part, from 0, of `count` that this key belongs to."""
    return zlib.crc32(key.encode()) % count
