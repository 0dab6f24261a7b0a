"""Learning a fact: it is applied, made durable and then told. The order of these steps is the promise."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from common.events.base import DRAFT, Message
from common.events.risk import AlarmRaised, Severity
from common.events.trading import SignalAcknowledged
from executor.book import Book
from executor.entries import Entry


class Journal(Protocol):
    """What makes facts durable."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries; when this returns they survive the death of the process.

        Raises:
            FatalError: They could not be written: nothing may be sent any more.
        """
        ...

    def replay(self) -> Iterable[Entry]:
        """Every entry since the beginning, in order."""
        ...


class Facts:
    """What the executor knows, and the only way to learn more."""

    def __init__(self, journal: Journal, publish: Callable[[Message], None]) -> None:
        """Rebuild what is known from the journal."""
        self.book = Book()
        self.counts: Counter[str] = Counter()
        self._journal = journal
        self.publish = publish
        for entry in journal.replay():
            self.book.apply(entry)
            self.counts["journal_entries_replayed"] += 1

    def learn(self, entry: Entry) -> None:
        """Make a fact durable, then tell of it."""
        # Known first: what contradicts the book raises here, and does not become a journal that nobody can replay.
        events = self.book.apply(entry)
        self._journal.append([entry])
        self.tell(events)

    def learn_all(self, entries: Sequence[Entry]) -> None:
        """Make several facts durable in one write, then tell of them."""
        events = [event for entry in entries for event in self.book.apply(entry)]
        self._journal.append(entries)
        self.tell(events)

    def write_ahead(self, entry: Entry) -> None:
        """Make an intent durable before anything is done; `apply` it when it is under way."""
        self._journal.append([entry])

    def apply(self, entry: Entry) -> None:
        """Apply and tell what was written ahead."""
        self.tell(self.book.apply(entry))

    def tell(self, events: Iterable[Message]) -> None:
        """Publish events."""
        for event in events:
            if isinstance(event, SignalAcknowledged):
                self.counts["signals_acknowledged"] += 1
            self.publish(event)

    def alarm(self, code: str, severity: Severity, subject: str, detail: str, now_ns: int) -> None:
        """Tell the people on call."""
        self.counts["alarms"] += 1
        self.counts[f"alarms_{code.lower()}"] += 1
        self.publish(
            AlarmRaised(
                **DRAFT, timestamp_ns=now_ns, code=code, severity=severity, subject=subject[:500], detail=detail[:500]
            )
        )
