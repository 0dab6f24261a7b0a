"""What becomes of an event that a handler could not take: a letter, and where it is kept."""

from collections import deque
from typing import Protocol

import msgspec

from common.bus.dead_letters import FRAME_BYTES_KEPT, DeadLetter
from common.bus.failures import Category
from common.errors import WireError
from common.events.base import Event, Priority
from common.events.registry import type_name
from common.wire import codec

DETAIL_CHARACTERS = 500
LETTERS_IN_MEMORY_MAX = 10_000


class LetterBox(Protocol):
    """Where letters are kept. Raises `sqlite3.Error` or `OSError` when it cannot."""

    def keep(self, letter: DeadLetter) -> int:
        """Keep a letter and give back its number."""
        ...


class MemoryLetterBox:
    """Keeps the newest letters as long as the process lives: for tests and for buses that nobody depends on."""

    def __init__(self, letters_max: int = LETTERS_IN_MEMORY_MAX) -> None:
        self.letters: deque[DeadLetter] = deque(maxlen=letters_max)
        self._count = 0

    @property
    def forgotten(self) -> int:
        """Letters that newer ones have pushed out."""
        return self._count - len(self.letters)

    def keep(self, letter: DeadLetter) -> int:
        self._count += 1
        self.letters.append(msgspec.structs.replace(letter, id=self._count))
        return self._count


def letter_for(
    event: Event, owner: str, *, category: Category, reason: str, detail: str, attempts: int, times_ns: tuple[int, int]
) -> DeadLetter:
    """The letter of an event for one handler; `times_ns` are of the first and the last attempt."""
    return DeadLetter(
        owner=owner,
        category=category.value,
        reason=reason,
        detail=detail[:DETAIL_CHARACTERS],
        type=type_name(type(event)),
        event_id=event.event_id(),
        priority=int(event.priority),
        attempts=attempts,
        first_ns=times_ns[0],
        last_ns=times_ns[1],
        frame=codec.encode(event),
    )


def letter_for_frame(error: WireError, owner: str, now_ns: int) -> DeadLetter:
    """The letter of a frame that is no event, or none that this version knows."""
    topic = error.frame.partition(b"\0")[0][:160].decode(errors="replace")
    return DeadLetter(
        owner=owner,
        category=Category.POISON.value,
        reason=error.fault.name,
        detail=str(error)[:DETAIL_CHARACTERS],
        type=topic,
        event_id="",
        priority=int(Priority.NORMAL),
        attempts=0,
        first_ns=now_ns,
        last_ns=now_ns,
        frame=error.frame[:FRAME_BYTES_KEPT],
    )
