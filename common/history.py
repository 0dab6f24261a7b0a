"""A complete, numbered past: what a process knows it by, told as events to whoever builds a read model of it.

A channel may lose a message and a reader may sleep; a history has all of it. Who owns one names it under the entry
point `tickpulse.histories`; so a worker reads the executor's without importing the executor.
"""

from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from common.errors import ConfigError
from common.events.base import Message

ENTRY_POINT = "tickpulse.histories"


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """One fact: its number, when its owner learned it (ns UTC), what it is, and the events that tell of it."""

    seq: int
    timestamp_ns: int
    kind: str
    body: dict[str, Any]
    events: list[Message]


class Position(NamedTuple):
    """How far a reader is: number and time of the last fact it has taken in; 0 for none."""

    seq: int = 0
    timestamp_ns: int = 0


class History(Protocol):
    """Reads the facts of one run directory, also while their owner is writing them or is down."""

    def last_seq(self) -> int:
        """Number of the newest fact; 0 while there is none.

        Raises:
            FatalError: The history was replaced by another one since it was opened; open it anew.
        """
        ...

    def has(self, position: Position) -> bool:
        """Tell whether a reader that is there can read on. Otherwise it has read another history than this one."""
        ...

    def read(self, after_seq: int, count_max: int) -> Sequence[Recorded]:
        """Facts behind a number, oldest first, at most so many.

        None yet, although there are some, while it still works its way to them: a call takes some ms, not longer.

        Raises:
            FatalError: It is damaged, or ends before that number.
        """
        ...

    def close(self) -> None:
        """Give the files back."""
        ...


def open_history(name: str, state_directory: Path) -> History:
    """The history of this name, which is there as soon as its owner has begun it.

    Raises:
        ConfigError: Nobody offers one of this name.
    """
    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINT)}
    if name not in found:
        raise ConfigError(f"history {name!r}: expected one of {', '.join(sorted(found)) or 'none'}")
    history: History = found[name].load()(state_directory)
    return history
