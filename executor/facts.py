"""Learning a fact: it is applied, made durable and then told. The order of these steps is the promise."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from common.events.base import DRAFT, Message
from common.events.risk import AlarmRaised, Severity
from common.events.trading import SignalAcknowledged
from executor.archive import Archive
from executor.book import Book
from executor.config import ExecutorConfig
from executor.entries import Entry
from executor.orders import IllegalMoveError
from executor.snapshot import Snapshot, SnapshotError, restore_book, take_snapshot


class Journal(Archive, Protocol):
    """What makes facts durable."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries; when this returns they survive the death of the process.

        Raises:
            FatalError: They could not be written: nothing may be sent any more.
        """
        ...

    def replay(self, after_seq: int = 0) -> Iterable[Entry]:
        """Every entry behind that number, in order; they are numbered from 1 without a hole."""
        ...

    def last_seq(self) -> int:
        """The number of the newest entry; 0 before the first."""
        ...

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot beside the entries, and of the older ones the newest few."""
        ...

    def snapshots(self) -> Iterable[Snapshot]:
        """What was kept, newest first; one that cannot be read fails its checksum."""
        ...


class Facts:
    """What the executor knows, and the only way to learn more."""

    def __init__(self, journal: Journal, publish: Callable[[Message], None], config: ExecutorConfig) -> None:
        """Rebuild what is known from the newest usable snapshot and the entries behind it.

        Raises:
            FatalError: The journal cannot be read, or contradicts itself.
        """
        self.counts: Counter[str] = Counter()
        self.unusable_snapshots: list[str] = []  # what was wrong with each that was passed over
        self._journal = journal
        self.publish = publish
        self._ended_max = config.ended_instructions_max
        self._snapshot_interval = config.snapshot_interval_entries
        self._snapshot_seq = 0
        self.book = self._rebuild()
        self.counts["journal_entries_replayed"] = self.book.memory.last_seq - self._snapshot_seq

    def _rebuild(self) -> Book:
        for snapshot in self._journal.snapshots():
            try:
                if snapshot.seq > self._journal.last_seq():
                    raise SnapshotError(f"snapshot {snapshot.seq}: expected an entry of that number, was none")
                book = self._fold_into(restore_book(snapshot, self._journal))
            except (SnapshotError, IllegalMoveError, LookupError) as error:
                # A wrong one shows as soon as an entry tells of what it does not know.
                self.counts["snapshots_unusable"] += 1
                self.unusable_snapshots.append(str(error))
            else:
                self._snapshot_seq = snapshot.seq
                return book
        return self._fold_into(Book(self._journal))

    def _fold_into(self, book: Book) -> Book:
        for entry in self._journal.replay(book.memory.last_seq):
            book.apply(entry)
            book.memory.forget(self._ended_max)
        return book

    def learn(self, entry: Entry) -> None:
        """Make a fact durable, then tell of it."""
        # Known first: what contradicts the book raises here, and does not become a journal that nobody can replay.
        events = self.book.apply(entry)
        self._journal.append([entry])
        self.book.memory.forget(self._ended_max)
        self.tell(events)

    def learn_all(self, entries: Sequence[Entry]) -> None:
        """Make several facts durable in one write, then tell of them."""
        events = [event for entry in entries for event in self.book.apply(entry)]
        self._journal.append(entries)
        self.book.memory.forget(self._ended_max)
        self.tell(events)

    def write_ahead(self, entry: Entry) -> None:
        """Make an intent durable before anything is done; `apply` it when it is under way."""
        self._journal.append([entry])

    def apply(self, entry: Entry) -> None:
        """Apply and tell what was written ahead."""
        self.tell(self.book.apply(entry))

    def rest(self, *, is_idle: bool) -> None:
        """Keep a snapshot when one is due: between two turns, where every entry is applied and durable."""
        self.book.memory.forget(self._ended_max)
        # What is never idle waits for twice as long.
        self.keep_snapshot(entries_min=self._snapshot_interval * (1 if is_idle else 2))

    def keep_snapshot(self, *, entries_min: int) -> None:
        """Keep a snapshot, if so many entries have come since the newest."""
        if self.book.memory.last_seq - self._snapshot_seq < entries_min:
            return
        snapshot = take_snapshot(self.book)
        self._journal.keep_snapshot(snapshot)
        self._snapshot_seq = snapshot.seq
        self.counts["snapshots_kept"] += 1

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
