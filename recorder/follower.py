"""Reads on in the executor's history, and finds what the log lacks of it."""

import contextlib
from collections import deque
from collections.abc import Callable

from common.clock import NS_PER_MS, NS_PER_S
from common.errors import FatalError, TickpulseError
from common.events.base import Message
from common.history import History, Position, Recorded
from common.log import Log
from recorder.backfill import Backfill

FACTS_PER_READ_MAX = 200
LOOK_INTERVAL_NS = 100 * NS_PER_MS
PAUSE_NS = 10 * NS_PER_S  # after a fault: a person has to look at it


class HistoryReplacedError(TickpulseError):
    """The executor's journal is another one than before: it has to be compared with the log from its first fact on."""


class Follower:
    """Goes along the history behind the channels, so that what is still on its way is not taken for lost."""

    def __init__(
        self,
        open_history: Callable[[], History],
        position: Position,
        backfill: Backfill,
        log: Log,
        *,
        grace_ns: int,
        floor_ns: int,
    ) -> None:
        """Prepare to go on behind a fact.

        Args:
            open_history: Opens it, again and again where it could not be read.
            position: The last fact that was compared.
            backfill: Compares.
            log: Where trouble is told.
            grace_ns: How long the events of a fact may be on their way.
            floor_ns: What is older was removed from the log on purpose, and is not filled in, ns UTC.
        """
        self.seq, self.timestamp_ns = position
        self.faults = 0
        self._open_history = open_history
        self._history: History | None = None
        self._backfill = backfill
        self._log = log
        self._grace_ns = grace_ns
        self._floor_ns = floor_ns
        self._facts: deque[Recorded] = deque()
        self._last_seq = 0
        self._next_look_ns = 0

    @property
    def behind(self) -> int:
        """How many facts are still to be compared, as of the last look."""
        return max(self._last_seq - self.seq, 0)

    def look(self, read_until_ns: int, now_ns: int) -> list[Message]:
        """What the log lacks of the facts that are old enough.

        Args:
            read_until_ns: Everything that the channels brought up to this time was compared already, ns UTC.
            now_ns: The time, ns UTC.

        Raises:
            HistoryReplacedError: The history has another past than the one that was read.
        """
        if not self._facts and now_ns >= self._next_look_ns:
            self._read(now_ns)
        missing: list[Message] = []
        while self._facts and self._facts[0].timestamp_ns + self._grace_ns <= read_until_ns:
            fact = self._facts.popleft()
            if fact.timestamp_ns >= self._floor_ns:
                missing += self._backfill.judge(fact, now_ns)
            self.seq, self.timestamp_ns = fact.seq, fact.timestamp_ns
        self._backfill.forget(self.timestamp_ns if self.behind else read_until_ns - self._grace_ns)
        return missing

    def last_seq(self) -> int:
        """Number of the newest fact there is now; as of the last look where that cannot be read."""
        with contextlib.suppress(FatalError):
            self._last_seq = self._connect().last_seq()
        return self._last_seq

    def close(self) -> None:
        """Give the history's files back."""
        if self._history is not None:
            self._history.close()
            self._history = None

    def _read(self, now_ns: int) -> None:
        self._next_look_ns = now_ns + LOOK_INTERVAL_NS
        try:
            history = self._connect()
            self._last_seq = history.last_seq()
            if self._last_seq > self.seq:
                self._facts.extend(history.read(self.seq, FACTS_PER_READ_MAX))
                if len(self._facts) in (0, FACTS_PER_READ_MAX):
                    self._next_look_ns = now_ns  # it is on its way to them, or there are more
        except FatalError as error:
            # Trading is not ours to stop, and what the channels bring is recorded all the same.
            self.faults += 1
            self._log.warning("history_unreadable", reason=str(error))
            self.close()
            self._next_look_ns = now_ns + PAUSE_NS

    def _connect(self) -> History:
        if self._history is None:
            history = self._open_history()
            if not history.has(Position(self.seq, self.timestamp_ns)):
                history.close()
                raise HistoryReplacedError(f"history: expected fact {self.seq} as it was, the journal has another past")
            self._history = history
        return self._history
