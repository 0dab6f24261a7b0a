"""Gives dead letters another try when a person asks for it: each one passes the same checks as a new event.

At least once and never lost: a letter leaves the file after its event was handled, and stays where that fails.
"""

import asyncio
import sqlite3
from typing import Protocol

from common.bus.dead_letters import CHANNEL_OWNER, DeadLetter, DeadLetters, LetterState
from common.bus.failures import BusClosedError
from common.errors import InvalidValueError, TickpulseError
from common.events.base import Event
from common.log import Log, SteadyLog
from common.wire import codec

POLL_S = 1.0
LETTERS_PER_POLL_MAX = 100


class Redelivering(Protocol):
    """What takes letters: the bus."""

    async def redeliver(self, event: Event, handler: str) -> DeadLetter | None:
        """Have one handler try an event again; gives back the letter of its failure, or None."""
        ...

    async def receive(self, event: Event) -> None:
        """Take in an event from elsewhere."""
        ...


class Redriver:
    """Looks for letters that are to be tried again. One a bus with a file of dead letters."""

    def __init__(self, bus: Redelivering, letters: DeadLetters, log: Log, *, poll_s: float = POLL_S) -> None:
        self._bus = bus
        self._letters = letters
        self._log = SteadyLog(log)
        self._poll_s = poll_s

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                await self.redrive_all()
            except (sqlite3.Error, OSError) as error:
                self._log.exception("redrive_failed", reason=str(error))
            await asyncio.sleep(self._poll_s)

    async def redrive_all(self) -> int:
        """Try every letter that a person has asked for; tells how many went well.

        Raises:
            sqlite3.Error: The file refuses. What was handled meanwhile may be tried once more.
        """
        letters = self._letters.read(LetterState.REDRIVE, limit=LETTERS_PER_POLL_MAX)
        return sum([await self._redrive(letter) for letter in letters])

    async def _redrive(self, letter: DeadLetter) -> bool:
        try:
            failure = await self._deliver(letter)
        except BusClosedError:
            return False  # at the next start, then
        except TickpulseError as error:
            self._letters.keep_again(letter.id, attempts=0, reason=letter.reason, detail=f"cannot be redriven: {error}")
            self._log.warning("redrive_refused", letter=letter.id, owner=letter.owner, reason=str(error))
            return False
        if failure is not None:
            self._letters.keep_again(
                letter.id, attempts=failure.attempts, reason=failure.reason, detail=failure.detail,
                last_ns=failure.last_ns,
            )  # fmt: skip
            return False
        self._letters.remove(letter.id)
        self._log.info("redriven", letter=letter.id, owner=letter.owner, event_id=letter.event_id)
        return True

    async def _deliver(self, letter: DeadLetter) -> DeadLetter | None:
        event = codec.decode(letter.frame)
        if not isinstance(event, Event):
            raise InvalidValueError(f"expected an event, was {type(event).__name__}")
        if letter.owner.startswith(CHANNEL_OWNER):
            await self._bus.receive(event)
            return None
        return await self._bus.redeliver(event, letter.owner)


class Redelivery:
    """One letter on its way through a handler."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[DeadLetter | None] = asyncio.get_running_loop().create_future()

    def succeed(self) -> None:
        """It was handled."""
        self._settle(None)

    def fail(self, letter: DeadLetter) -> None:
        """It failed again."""
        self._settle(letter)

    def cancel(self) -> None:
        """It was not tried; it stays a dead letter that is to be tried."""
        self.outcome.cancel()

    def _settle(self, letter: DeadLetter | None) -> None:
        if not self.outcome.done():
            self.outcome.set_result(letter)
