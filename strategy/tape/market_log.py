"""Finds the market messages that a tape names in an event log, in one pass over each; memory stays flat.

Only what lies between the first and the last number that the tape has of a stream is looked at, so what waits here is
the difference in order between the log and the tape.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from common.clock import NS_PER_S
from common.errors import ExitCode, TickpulseError
from common.events.base import Message
from common.events.market import Quote, Tick, Ticks, Trade
from common.store.contract import Store
from common.store.record import Record
from common.store.selection import TIME_NS_MIN, Selection
from strategy.tape.notes import AnyNote, Emitted, MarketCall, Reference

WAITING_MAX = 200_000  # messages, some 100 MB; a queue of the market channel holds half as many
MARKET_TYPES: frozenset[type[Message]] = frozenset({Tick, Ticks, Trade, Quote})
# A message is this much older than the call that took it, or less: it waited in a socket while the strategy began.
# One that is not found from there on is looked for in all of the log.
AGE_NS_MAX = 60 * NS_PER_S
_FIRST_RECORDS = 1_000  # clocks of several gateways differ: the first by time need not be the first by id

Stream = tuple[str, str, int]


class CannotCompareError(TickpulseError):
    """Whether the decisions are the same cannot be told. The message says what is missing."""

    exit_code = ExitCode.USAGE


class Contents(NamedTuple):
    """What is on a tape, counted. `spans` are the first and the last number of each stream of the market."""

    spans: dict[Stream, tuple[int, int]]
    calls: int
    decisions: int
    first_ns: int | None
    last_ns: int | None


def survey(notes: Iterable[AnyNote | MarketCall]) -> Contents:
    """Read through a tape."""
    spans: dict[Stream, tuple[int, int]] = {}
    calls = decisions = 0
    first_ns = last_ns = None
    for note in notes:
        decisions += isinstance(note, Emitted)
        now_ns = getattr(note, "now_ns", None)
        if now_ns is not None:
            calls += 1
            first_ns, last_ns = now_ns if first_ns is None else first_ns, now_ns
        if isinstance(note, MarketCall):
            topic, source, epoch, seq = note.reference
            first, last = spans.get((topic, source, epoch), (seq, seq))
            spans[topic, source, epoch] = (min(first, seq), max(last, seq))
    return Contents(spans, calls, decisions, first_ns, last_ns)


class MarketLog:
    """Market messages of a log, asked for in about the order in which they were recorded."""

    def __init__(self, store: Store, contents: Contents, waiting_max: int = WAITING_MAX) -> None:
        """Look for the first of them; the store is read, never written."""
        self._spans = dict(contents.spans)
        self._store = store
        self._records = self._read(store, contents.first_ns)
        self._is_from_beginning = False
        self._waiting: dict[Stream, dict[int, Message]] = {stream: {} for stream in contents.spans}
        self._count = 0
        self._count_max = waiting_max

    def find(self, reference: Reference) -> Message:
        """The message of this place.

        Raises:
            CannotCompareError: The log does not have it.
        """
        stream, seq = reference[:3], reference.seq
        while seq not in self._waiting[stream]:
            record = next(self._records, None) if self._count <= self._count_max else None
            if record is not None:
                self._keep(record.message)
            elif self._is_from_beginning:
                place = f"among {self._count} near it" if self._count > self._count_max else "there"
                raise CannotCompareError(
                    f"event log: expected {reference}, was not {place}; nothing behind it can be told"
                )
            else:
                self._begin_anew()
        waiting = self._waiting[stream]
        message = waiting.pop(seq)
        self._count -= 1
        self._forget_before(waiting, seq)
        self._spans[stream] = (seq + 1, self._spans[stream][1])
        return message

    def _begin_anew(self) -> None:
        self._is_from_beginning = True
        self._records = self._store.get_events(1)
        self._waiting = {stream: {} for stream in self._spans}
        self._count = 0

    def _keep(self, message: Message) -> None:
        if type(message) not in MARKET_TYPES:
            return
        stream = (message.topic(), message.source, message.epoch)
        span = self._spans.get(stream)
        if span is not None and span[0] <= message.seq <= span[1]:
            waiting = self._waiting[stream]
            self._count += message.seq not in waiting
            waiting[message.seq] = message

    def _forget_before(self, waiting: dict[int, Message], seq: int) -> None:
        """Let go of what the strategy has never seen: numbers rise, on the tape as in the log."""
        while waiting and (first := next(iter(waiting))) < seq:
            del waiting[first]
            self._count -= 1

    @staticmethod
    def _read(store: Store, first_ns: int | None) -> Iterator[Record]:
        from_ns = TIME_NS_MIN if first_ns is None else first_ns - AGE_NS_MAX
        selected = store.read(Selection(from_ns=from_ns, types=MARKET_TYPES))
        first_id = min((record.id for record in islice(selected, _FIRST_RECORDS)), default=None)
        return iter(()) if first_id is None else store.get_events(first_id)
