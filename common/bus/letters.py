"""What becomes of an event that a handler could not take: a letter, and where it is kept."""

from collections import deque
from typing import Protocol

import msgspec

from common.bus.dead_letters import DeadLetter
from common.bus.failures import Category
from common.events.base import Event
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
