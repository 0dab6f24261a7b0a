"""Numbers what is imported as a gateway would, and hands it to the store in batches; counts what was refused."""

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from common.errors import NotReadyError
from common.events.base import Message
from common.events.market import Tick
from common.events.registry import type_name
from common.instruments import InstrumentTable
from common.store.contract import Store
from common.wire import codec
from common.wire.publisher import Publisher
from gateway.feeds.base import Update
from gateway.importing.book_check import BookComparison
from gateway.normaliser import Normaliser

SOURCE = "import"
BATCH_EVENTS = 10_000
PLACES_KEPT = 20
PROGRESS_LINES = 10_000
OnProgress = Callable[["Importer"], object]


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file. `refused` and `went_back` have the first places, `events` the types that were stored."""

    source: str
    format: str
    lines_read: int
    lines_refused: int
    lines_ignored: int
    refusals: dict[str, int]
    refused: list[str]
    time_went_back: int
    went_back: list[str]
    damage: str | None
    events: dict[str, int]
    first_id: int
    last_id: int
    books: list[BookComparison]

    @property
    def is_whole(self) -> bool:
        """Tell whether everything in the file was taken, and the books agree."""
        return not self.lines_refused and self.damage is None and all(book.is_equal for book in self.books)


class Importer:
    """Writes to one store. The `epoch` of its events is the id of the first: no two imports share an event's name."""

    def __init__(
        self,
        store: Store,
        instruments: InstrumentTable,
        source: str,
        *,
        is_strict: bool = False,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Prepare; nothing is stored yet.

        Args:
            store: Open for writing.
            instruments: What may be imported.
            source: Name of the file, for messages.
            is_strict: End at the first line that is refused, or whose time goes back.
            on_progress: Called after every 10,000 lines.
        """
        self.instruments = instruments
        self.lines_read = 0
        self.lines_ignored = 0
        self.events: Counter[str] = Counter()
        self._store = store
        self._source = source
        self._is_strict = is_strict
        self._on_progress = on_progress
        self._first_id = store.last_id + 1
        self._publisher = Publisher(
            role="gateway", source=SOURCE, epoch=self._first_id, channel="market", send=self._take
        )
        self._normalisers: dict[str, Normaliser] = {}
        self._batch: list[Message] = []
        self._refusals: Counter[str] = Counter()
        self._refused: list[str] = []
        self._went_back: list[str] = []
        self._time_went_back = 0
        self._newest_ns = 0

    def publish(self, exchange: str, update: Update) -> str | None:
        """Take an update through the gateway's own normaliser; why it was refused, or None."""
        normaliser = self._normalisers.get(exchange)
        if normaliser is None:
            instruments = self.instruments.of_exchange(exchange)
            normaliser = self._normalisers[exchange] = Normaliser(
                exchange, instruments, self._publisher, batch_ticks_max=1
            )
        refused = normaliser.counts["updates_refused"]
        normaliser.publish((update,), update.local_timestamp_ns)
        is_refused = normaliser.counts["updates_refused"] != refused
        return "a price or size is negative, NaN or too large" if is_refused else None

    def publish_tick(self, tick: Tick) -> None:
        """Take a tick as it is."""
        self._publisher.publish(tick)

    def count_line(self) -> None:
        """One more line was read."""
        self.lines_read += 1
        if self._on_progress is not None and not self.lines_read % PROGRESS_LINES:
            self._on_progress(self)

    def refuse(self, place: str, reason: str, was: object = None) -> None:
        """Count a line that is not taken.

        Raises:
            NotReadyError: The import is strict.
        """
        text = f"{self._source}, {place}: {reason}" + ("" if was is None else f", was {str(was)[:80]!r}")
        self._refusals[reason] += 1
        if len(self._refused) < PLACES_KEPT:
            self._refused.append(text)
        self._end_strict(text)

    def check_time(self, place: str, timestamp_ns: int) -> None:
        """Notice a time before that of a line above: it is taken, and counted.

        Raises:
            NotReadyError: The import is strict.
        """
        if timestamp_ns >= self._newest_ns:
            self._newest_ns = timestamp_ns
            return
        self._time_went_back += 1
        text = f"{self._source}, {place}: time goes back by {(self._newest_ns - timestamp_ns) / 1e6:,.3f} ms"
        if len(self._went_back) < PLACES_KEPT:
            self._went_back.append(text)
        self._end_strict(text)

    def flush(self) -> None:
        """Store what is in hand, safe against the loss of power.

        Raises:
            StoreFullError: The disk is full.
        """
        self._append()
        self._store.flush()

    def report(self, format_name: str, damage: str | None, books: Sequence[BookComparison] = ()) -> ImportReport:
        """What became of the file."""
        return ImportReport(
            source=self._source,
            format=format_name,
            lines_read=self.lines_read,
            lines_refused=self._refusals.total(),
            lines_ignored=self.lines_ignored,
            refusals=dict(self._refusals),
            refused=self._refused,
            time_went_back=self._time_went_back,
            went_back=self._went_back,
            damage=damage,
            events=dict(self.events),
            first_id=self._first_id if self.events else 0,
            last_id=self._store.last_id,
            books=list(books),
        )

    def _end_strict(self, text: str) -> None:
        if self._is_strict:
            raise NotReadyError(f"{text}; --strict ends here, what stands above it was imported")

    def _take(self, frame: bytes) -> None:
        # Through the wire's own bytes: what is stored has passed every check that a subscriber's decoder makes.
        self._batch.append(codec.decode(frame))
        if len(self._batch) >= BATCH_EVENTS:
            self._append()

    def _append(self) -> None:
        self._store.append_batch(self._batch)
        self.events.update(type_name(type(message)) for message in self._batch)
        self._batch.clear()
