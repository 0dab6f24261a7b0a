"""What the executor's history tells and the log lacks. Pure.

A history tells an event without its place on the channel, so two are the same when all else is. What is filled in has
epoch 0 and the number of its fact as `seq`: no channel ever carries that, so nobody takes one for the other.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from common.clock import NS_PER_S
from common.errors import WireError
from common.events import risk, trading
from common.events.base import Message
from common.events.registry import MESSAGE_TYPES, AnyMessage
from common.events.system import GapFound
from common.events.venue import ExecutionReported
from common.wire.codec import decode_body, encode_body
from recorder.streams import GapReason

INSTRUCTIONS = frozenset({trading.Signal, trading.CancelRequested, trading.AmendRequested})
# Whatever a history may tell, and must not be missing.
ORDER_CRITICAL = frozenset(
    {
        *INSTRUCTIONS,
        *(each for each in MESSAGE_TYPES if issubclass(each, trading.OrderEvent | trading.PositionEvent)),
        trading.SignalAcknowledged,
        trading.TradeExecuted,
        risk.TradingStateChanged,
        risk.TradingHalted,
        risk.TradingResumed,
        risk.LimitBreached,
        ExecutionReported,
    }
)
# By kind of fact, where it holds a message.
HELD = {"intent": "signal", "denied": "signal", "cancel": "request", "amend": "request", "execution": "report"}
FILLABLE = ("events", "executions")  # channels whose messages a history may tell
BACKFILLED_EPOCH = 0
UNMATCHED_NS_MAX = 60 * NS_PER_S  # then no fact will tell of it: an answer that was repeated, for instance
FILLED_MAX = 100_000  # back-filled messages that are known when they come after all
OPEN_GAPS_MAX = 10_000
DIGEST_BYTES = 12


class OpenGap(msgspec.Struct, array_like=True):
    """A gap that a history may fill, and how much of it is still missing."""

    gap: GapFound
    missing: int


class Fact(Protocol):
    """One entry of a history, as `common.history` tells it."""

    @property
    def seq(self) -> int:
        """Its number."""
        ...

    @property
    def kind(self) -> str:
        """What it is."""
        ...

    @property
    def body(self) -> Mapping[str, Any]:
        """Its fields."""
        ...

    @property
    def events(self) -> Sequence[Message]:
        """What tells of it, without places on a channel."""
        ...


def digest_of(message: Message) -> bytes:
    """The same for the same event, wherever it is told."""
    if isinstance(message, ExecutionReported):
        told = f"execution {message.exchange} {message.execution_number}".encode()
    elif type(message) in INSTRUCTIONS:
        told = encode_body(message)
    else:
        told = encode_body(msgspec.structs.replace(message, source="", epoch=0, seq=0))
    return hashlib.blake2b(told, digest_size=DIGEST_BYTES).digest()


def instructions_and_reports(fact: Fact) -> list[Message]:
    """The messages that a fact holds itself: what was asked for, what the exchange reported."""
    name = HELD.get(fact.kind)
    body = None if name is None else fact.body.get(name)
    return [] if body is None else [msgspec.convert(body, AnyMessage)]


def _is_readable(message: Message) -> bool:
    try:
        decode_body(encode_body(message))
    except WireError:
        return False
    return True


class Backfill:
    """Compares what was recorded with what the history tells, each once."""

    def __init__(self) -> None:
        self.backfilled = 0
        self.instructions = 0
        self.late = 0
        self.unreadable = 0
        self.unmatched: dict[bytes, list[int]] = {}  # how often, and when last, ns UTC; oldest first
        self.filled: dict[bytes, None] = {}
        self.open_gaps: list[OpenGap] = []

    def note(self, message: Message, recorded_ns: int) -> bool:
        """Take an order-critical message that a channel brought; False for one that was filled in before it came."""
        digest = digest_of(message)
        if digest in self.filled:
            del self.filled[digest]
            self.late += 1
            return False
        self._remember(digest, recorded_ns)
        return True

    def fold(self, message: Message, recorded_ns: int) -> None:
        """Learn from the log itself what it has."""
        if isinstance(message, GapFound):
            self.note_gap(message)
        elif type(message) in ORDER_CRITICAL:
            self._remember(digest_of(message), recorded_ns)
            if message.epoch == BACKFILLED_EPOCH:
                self._note_filled(message)

    def note_gap(self, gap: GapFound) -> None:
        """Remember a gap that the history may fill."""
        if gap.is_recovered:
            bounds = (gap.stream, gap.publisher_epoch, gap.first_seq)
            self.open_gaps = [
                each
                for each in self.open_gaps
                if (each.gap.stream, each.gap.publisher_epoch, each.gap.first_seq) != bounds
            ]
        elif gap.channel in FILLABLE and gap.last_seq is not None and gap.reason != GapReason.LATE:
            self.open_gaps.append(OpenGap(gap, gap.last_seq - gap.first_seq + 1))
            del self.open_gaps[:-OPEN_GAPS_MAX]

    def judge(self, fact: Fact, now_ns: int) -> list[Message]:
        """What of a fact the log lacks, in the order in which it happened; then the gaps that this fills."""
        missing: list[Message] = []
        for message in (*instructions_and_reports(fact), *fact.events):
            if type(message) not in ORDER_CRITICAL or self._match(digest_of(message)):
                continue
            if not _is_readable(message):
                self.unreadable += 1  # no wire would carry it, and no log could be read with it
            elif type(message) in INSTRUCTIONS:
                self.instructions += 1  # no channel that one could listen to carries them
                missing.append(message)
            else:
                self.backfilled += 1
                source = message.source or "executor"
                filled = msgspec.structs.replace(message, source=source, epoch=BACKFILLED_EPOCH, seq=fact.seq)
                missing += (filled, *self._note_filled(filled, now_ns))
        return missing

    def forget(self, until_ns: int) -> None:
        """Forget what no fact up to this time has told of."""
        limit_ns = until_ns - UNMATCHED_NS_MAX
        while self.unmatched:
            digest, (_, noted_ns) = next(iter(self.unmatched.items()))
            if noted_ns >= limit_ns:
                return
            del self.unmatched[digest]

    def _remember(self, digest: bytes, recorded_ns: int) -> None:
        count = self.unmatched.pop(digest, (0, 0))[0]
        self.unmatched[digest] = [count + 1, recorded_ns]

    def _match(self, digest: bytes) -> bool:
        noted = self.unmatched.get(digest)
        if noted is None:
            return False
        noted[0] -= 1
        if not noted[0]:
            del self.unmatched[digest]
        return True

    def _note_filled(self, message: Message, now_ns: int = 0) -> Iterable[GapFound]:
        """Remember what was filled in; gives back the gap of its topic when nothing of it is missing any more."""
        self.filled[digest_of(message)] = None
        if len(self.filled) > FILLED_MAX:
            del self.filled[next(iter(self.filled))]
        topic = message.topic()
        found = next((each for each in self.open_gaps if each.gap.stream == topic and each.missing), None)
        if found is None:
            return ()
        found.missing -= 1
        if found.missing:
            return ()
        self.open_gaps.remove(found)
        return (msgspec.structs.replace(found.gap, source="", epoch=0, seq=0, timestamp_ns=now_ns, is_recovered=True),)
