"""Where each stream stands, and which of its numbers the log does not have. Pure.

A stream is one topic of one life of one publisher; its numbers begin with 1. Each of them is either recorded or in a
gap, never both. `common.wire.subscriber` asks for less: to it what came before it joined is past, and not lost.
"""

import enum
from collections.abc import Callable, Iterable

import msgspec

from common.events.base import DRAFT, Message
from common.events.market import Ticks
from common.events.system import TOPICS_PER_HEARTBEAT_MAX, ChannelHeartbeat, GapFound
from recorder.buffer import Dropped

STREAMS_MAX = 100_000  # beyond it, messages are recorded and their numbers are not looked after, which is counted


class GapReason(enum.StrEnum):
    """Why the log does not have some numbers."""

    LOST_ON_CHANNEL = "LOST_ON_CHANNEL"
    RECORDER_DOWN = "RECORDER_DOWN"  # it did not run, or did not listen to this publisher yet
    BUFFER_FULL = "BUFFER_FULL"  # the disk did not follow
    DISK_FULL = "DISK_FULL"
    LATE = "LATE"  # it was back-filled before it came


class Position(msgspec.Struct, frozen=True, array_like=True):
    """How far the log has one stream; `channel` is empty where only the log tells of it."""

    channel: str
    topic: str
    source: str
    epoch: int
    last_seq: int


class Stream:
    """One topic of one life of one publisher."""

    __slots__ = (
        "channel",
        "epoch",
        "exchange",
        "is_closed",
        "is_heard",
        "kind",
        "last_seq",
        "source",
        "symbol",
        "topic",
    )

    def __init__(self, channel: str, topic: bytes, source: str, epoch: int, last_seq: int) -> None:
        self.channel = channel
        self.topic = topic
        self.kind, self.exchange, self.symbol = topic.decode().split(".", 2)
        self.source = source
        self.epoch = epoch
        self.last_seq = last_seq
        self.is_heard = False  # by this life of the recorder
        self.is_closed = False  # the publisher lives again: nothing more will come


Key = tuple[bytes, str, int]  # topic, source, epoch
Life = tuple[str, str, int]  # channel, source, epoch


def count_of(message: Message) -> int:
    """How many numbers a message takes up."""
    return message.count if isinstance(message, Ticks) else 1


class Numbers:
    """All streams. Gaps go to `on_gap`, in the order in which they have to stand in the log."""

    def __init__(self, positions: Iterable[Position], on_gap: Callable[[GapFound], object]) -> None:
        self.newest: dict[bytes, Stream] = {}  # by topic, the stream that was heard last
        self.duplicates = 0
        self.untracked = 0
        self._streams: dict[Key, Stream] = {}
        self._by_topic: dict[bytes, list[Stream]] = {}
        self._lives: dict[tuple[str, str], int] = {}  # by channel and source, the newest life heard of
        self._joined: set[Life] = set()  # all topics of it are known, so a new one begins with 1
        self._on_gap = on_gap
        self._now_ns = 0
        for channel, topic, source, epoch, last_seq in map(msgspec.structs.astuple, positions):
            self._open(channel, (topic.encode(), source, epoch)).last_seq = last_seq

    def positions(self) -> list[Position]:
        """Where every stream stands that may go on."""
        return [
            Position(stream.channel, stream.topic.decode(), stream.source, stream.epoch, stream.last_seq)
            for stream in self._streams.values()
            if not stream.is_closed
        ]

    def fold(self, message: Message) -> None:
        """Learn from the log itself where a stream stood, or what it lacks."""
        if isinstance(message, GapFound):
            if not message.is_recovered:
                key = (message.stream.encode(), message.publisher, message.publisher_epoch)
                stream = self._streams.get(key) or self._open(message.channel, key)
                if message.last_seq is None:
                    stream.is_closed = True
                else:
                    stream.last_seq = max(stream.last_seq, message.last_seq)
            return
        topic = message.topic().encode()
        key = (topic, message.source, message.epoch)
        known = self._streams.get(key)
        if known is None:
            for other in self._by_topic.get(topic, ()):
                if other.source == message.source and other.epoch < message.epoch:
                    other.is_closed = True  # the recorder that wrote this said what there was to say
            known = self._open("", key)
        known.last_seq = max(known.last_seq, message.seq)

    def place(self, channel: str, topic: bytes, message: Message, now_ns: int) -> bool:
        """Take a message's numbers; False for one that was there before."""
        self._now_ns = now_ns
        key = (topic, message.source, message.epoch)
        stream = self._enter(channel, key)
        return stream is None or self._advance(stream, message.seq - count_of(message) + 1, message.seq)

    def skip(self, dropped: Dropped) -> None:
        """Take numbers that came and had to be dropped."""
        self._now_ns = dropped.recorded_ns
        for (channel, topic, source, epoch), (first_seq, last_seq, reason) in dropped.places.items():
            stream = self._enter(channel, (topic, source, epoch))
            if stream is not None and self._advance(stream, first_seq, last_seq):
                self._tell(stream, first_seq, last_seq, GapReason(reason))

    def compare(self, channel: str, heartbeat: ChannelHeartbeat, now_ns: int) -> None:
        """Find what was sent and has not come, behind the last of each topic."""
        self._now_ns = now_ns
        source, epoch = heartbeat.source, heartbeat.epoch
        for topic_text, last_seq in heartbeat.sequences.items():
            stream = self._enter(channel, (topic_text.encode(), source, epoch))
            if stream is None:
                continue
            if last_seq > stream.last_seq:
                self._tell(stream, stream.last_seq + 1, last_seq, self._reason(stream))
                stream.last_seq = last_seq
            stream.is_heard = True
        if self._lives.get((channel, source), 0) < epoch:
            self._begin_life(channel, source, epoch)  # it has said nothing yet
        if len(heartbeat.sequences) < TOPICS_PER_HEARTBEAT_MAX:
            self._joined.add((channel, source, epoch))

    def _advance(self, stream: Stream, first_seq: int, last_seq: int) -> bool:
        if last_seq <= stream.last_seq:
            self.duplicates += 1
            return False
        if first_seq > stream.last_seq + 1:
            self._tell(stream, stream.last_seq + 1, first_seq - 1, self._reason(stream))
        stream.last_seq = last_seq
        stream.is_heard = True
        return True

    def _enter(self, channel: str, key: Key) -> Stream | None:
        """The stream, opened where it is new; None where there are too many."""
        topic, source, epoch = key
        stream = self._streams.get(key)
        if stream is None:
            if len(self._streams) >= STREAMS_MAX:
                self.untracked += 1
                return None
            stream = self._open(channel, key)
        stream.channel = stream.channel or channel
        if self._lives.get((channel, source), 0) < epoch:
            self._begin_life(channel, source, epoch)
        if self.newest.get(topic) is not stream:
            self.newest[topic] = stream
            # Those that only the log tells of have no channel: they end when their topic goes on, which tells it.
            before = [old for old in self._by_topic[topic] if old.source == source and old.epoch < epoch]
            for old in before:
                old.channel = old.channel or channel
            self._close(before)
        return stream

    def _open(self, channel: str, key: Key) -> Stream:
        stream = self._streams[key] = Stream(channel, *key, 0)
        self._by_topic.setdefault(key[0], []).append(stream)
        return stream

    def _begin_life(self, channel: str, source: str, epoch: int) -> None:
        """A publisher that lives again has ended all its streams of before."""
        before = self._lives.get((channel, source), 0)
        self._lives[channel, source] = epoch
        streams = [old for old in self._streams.values() if old.channel == channel and old.source == source]
        self._close(old for old in streams if old.epoch < epoch)
        # Of the life that has just ended something may still be on its way; of those before it nothing.
        for old in streams:
            if old.is_closed and old.epoch < before:
                del self._streams[old.topic, old.source, old.epoch]
                self._by_topic[old.topic].remove(old)
        self._joined = {life for life in self._joined if life[:2] != (channel, source) or life[2] >= before}

    def _close(self, streams: Iterable[Stream]) -> None:
        for stream in streams:
            if not stream.is_closed:
                stream.is_closed = True
                if not stream.is_heard:
                    # It went on while nobody recorded: only its own last heartbeat could tell how far.
                    self._tell(stream, stream.last_seq + 1, None, GapReason.RECORDER_DOWN)

    def _reason(self, stream: Stream) -> GapReason:
        is_listening = stream.is_heard or (stream.channel, stream.source, stream.epoch) in self._joined
        return GapReason.LOST_ON_CHANNEL if is_listening else GapReason.RECORDER_DOWN

    def _tell(self, stream: Stream, first_seq: int, last_seq: int | None, reason: GapReason) -> None:
        gap = GapFound(
            **DRAFT,
            timestamp_ns=self._now_ns,
            channel=stream.channel,
            stream=stream.topic.decode(),
            publisher=stream.source,
            publisher_epoch=stream.epoch,
            first_seq=first_seq,
            last_seq=last_seq,
            reason=reason.value,
        )
        self._on_gap(gap)
