"""The receiving end of a channel: frames in, messages out; counts what is missing, repeated, foreign or broken."""

from collections import Counter
from collections.abc import Callable, Iterable

from common.errors import WireError, WireFault
from common.events.base import ListedMessage, Message
from common.events.market import LastValue, Quote, Tick, Ticks, Trade
from common.events.system import TOPICS_PER_HEARTBEAT_MAX, ChannelHeartbeat
from common.wire.codec import FRAME_BYTES_MAX, check_topic, decode_body, decode_unexplained, encode_body, split
from common.wire.seal import check_seal
from common.wire.sequence import Arrival, Gap, Stream
from common.wire.topics import SEPARATOR, TopicPattern, is_topic

OnGap = Callable[[str, Gap], None]
OnFault = Callable[[WireError], None]

STREAMS_MAX = 100_000  # topics that one subscriber follows; what lies beyond is dropped and counted
_HEARTBEAT_PREFIX = f"{ChannelHeartbeat.kind}.".encode()


MARKET_KINDS = frozenset({Tick.kind, Trade.kind, Quote.kind})


class _TopicStream(Stream):
    __slots__ = ("baseline_seq", "exchange", "is_late", "is_market", "symbol", "topic")

    def __init__(self, topic: str, *, is_late: bool) -> None:
        super().__init__()
        kind, self.exchange, self.symbol = topic.split(".", 2)
        self.is_market = kind in MARKET_KINDS  # has no seal
        self.topic = topic
        self.is_late = is_late  # asked for after we had joined: what came before is past, not lost
        self.baseline_seq = 0


class Subscriber:
    """Turns the frames of one channel into messages, each at most once.

    Counts are in numbers of the stream: a lost batch of 50 ticks counts 50.
    """

    def __init__(
        self, patterns: Iterable[str], *, on_gap: OnGap | None = None, on_fault: OnFault | None = None
    ) -> None:
        """Prepare to listen.

        Args:
            patterns: Topic patterns; heartbeats of the channel are always listened to.
            on_gap: Told of each hole, once, with the topic.
            on_fault: Told of each frame that was dropped as unusable.
        """
        self.patterns = [TopicPattern(pattern) for pattern in patterns]
        self._first_patterns = len(self.patterns)
        self.received = 0
        self.lost = 0
        self.counts: Counter[str] = Counter()
        self.heartbeats = 0
        self._streams: dict[bytes, _TopicStream] = {}
        self._epochs: dict[str, int] = {}  # the newest life of each publisher
        # The life of each publisher from which on we know all topics: since then a new one begins with number 1.
        self._joined_epochs: dict[str, int] = {}
        # The first topic of the first full heartbeat of each life: when it is named again, all topics were named.
        self._round_starts: dict[tuple[str, int], str] = {}
        self._lost_tails: set[bytes] = set()
        self._on_gap = on_gap
        self._on_fault = on_fault

    def listen(self, pattern: str) -> bytes:
        """Accept more topics; gives back what to subscribe the socket to.

        Raises:
            InvalidValueError: It is no pattern.
        """
        self.patterns.append(TopicPattern(pattern))
        return self.patterns[-1].prefix

    def prefixes(self) -> list[bytes]:
        """What to subscribe a socket to: the patterns first, then the heartbeats that prove them active."""
        return [*(pattern.prefix for pattern in self.patterns), _HEARTBEAT_PREFIX]

    def accept(self, frame: bytes) -> Message | None:
        """Read one frame; None when it was a heartbeat, a repeat, not asked for, or unusable."""
        topic, _, body = frame.partition(SEPARATOR)
        stream = self._streams.get(topic)
        if stream is None or len(frame) > FRAME_BYTES_MAX:
            return self._accept_unknown(frame)
        try:
            if not stream.is_market:
                check_seal(frame)
            message: Message = decode_unexplained(body)
        except Exception:  # noqa: BLE001  # whatever it is, decoding again reads it, or names it as a WireError
            return self._accept_again(stream, topic, frame)
        # One comparison chain for the usual case: 60 ns instead of the 400 ns of placing it in general.
        count = message.count if type(message) is Ticks else 1
        if (
            message.seq == stream.last_seq + count
            and message.epoch == stream.epoch
            and message.source == stream.source
            and isinstance(message, ListedMessage)
            and message.symbol == stream.symbol
            and message.exchange == stream.exchange
        ):
            stream.last_seq += count
            self.received += count
            return message
        return self._place(stream, topic, message)

    @property
    def has_lost_tail(self) -> bool:
        """Tell whether the last messages of a topic were lost: nothing newer will correct them, ask for a snapshot."""
        return bool(self._lost_tails)

    def forget_lost_tails(self) -> None:
        """What was lost is being asked for."""
        self._lost_tails.clear()

    def take_snapshot(self, source: str, epoch: int, values: Iterable[LastValue], *, is_join: bool) -> list[LastValue]:
        """Start from, or catch up with, what the publisher says is its newest state.

        Args:
            source: The publisher.
            epoch: Its life.
            values: The newest state of each of its topics.
            is_join: Nothing was used before this snapshot, so all of it is news.

        Returns:
            The values that are news; what is older and still on its way will be dropped.
        """
        news = []
        lost_later = set()
        self._joined_epochs.setdefault(source, epoch)
        for value in values:
            topic = value.topic.encode()
            stream = self._streams.get(topic) or self._open(topic)
            if stream is None:
                continue
            if (value.epoch, value.seq) < (stream.epoch, stream.last_seq):
                lost_later.add(topic)
            elif is_join or topic in self._lost_tails:
                stream.source, stream.epoch = source, value.epoch
                stream.last_seq = stream.baseline_seq = value.seq
                news.append(value)
        self._lost_tails &= lost_later
        return news

    def positions(self) -> dict[str, tuple[str, int, int]]:
        """How far each topic was taken: publisher, life and last number. Not where the last messages were lost."""
        return {
            stream.topic: (stream.source, stream.epoch, stream.last_seq)
            for topic, stream in self._streams.items()
            if stream.epoch and topic not in self._lost_tails
        }

    def counters(self) -> dict[str, int]:
        """Everything counted so far, by name."""
        return {"received": self.received, "lost": self.lost, **self.counts}

    def _accept_unknown(self, frame: bytes) -> Message | None:
        """The first frame of a topic, or a frame that may not be used."""
        try:
            topic, body = split(frame)
            check_topic(topic)
            stream = self._streams.get(topic) or self._open(topic)
            message = decode_body(body)
        except WireError as error:
            self._drop(error, frame)
            return None
        if isinstance(message, ChannelHeartbeat):
            self._compare(message)
            return None
        if stream is None:
            self.counts["not_subscribed"] += 1
            return None
        return self._place(stream, topic, message)

    def _accept_again(self, stream: _TopicStream, topic: bytes, frame: bytes) -> Message | None:
        """A frame of a known topic in a retired version, or one that cannot be used."""
        try:
            message = decode_body(split(frame)[1])
        except WireError as error:
            self._drop(error, frame)
            return None
        return self._place(stream, topic, message)

    def _open(self, topic: bytes) -> _TopicStream | None:
        is_stream = is_topic(topic) and not topic.startswith(_HEARTBEAT_PREFIX)
        if not is_stream or not any(pattern.matches(topic) for pattern in self.patterns):
            return None
        if len(self._streams) >= STREAMS_MAX:
            return None
        is_late = not any(pattern.matches(topic) for pattern in self.patterns[: self._first_patterns])
        stream = self._streams[topic] = _TopicStream(topic.decode(), is_late=is_late)
        return stream

    def _place(self, stream: _TopicStream, topic: bytes, message: Message) -> Message | None:
        count = message.count if isinstance(message, Ticks) else 1
        first_seq = message.seq - count + 1
        try:
            _check_place(topic, message, first_seq)
        except WireError as error:
            self._drop(error, topic + SEPARATOR + encode_body(message))
            return None
        is_new = not stream.source
        if message.source != stream.source:
            if not is_new:
                # Two publishers share a topic: each has its own numbers, so start over rather than see false gaps.
                self.counts["source_changes"] += 1
            stream.source, stream.epoch, stream.last_seq, stream.baseline_seq = message.source, 0, 0, 0
        arrival, gap = stream.place(message.epoch, first_seq, message.seq)
        if arrival is Arrival.DUPLICATE:
            self.counts["older_than_snapshot" if message.seq <= stream.baseline_seq else "duplicates"] += count
            return None
        if arrival is Arrival.OLD_EPOCH:
            self.counts["old_epoch"] += count
            return None
        if arrival is Arrival.FIRST and is_new and first_seq > 1 and self._has_joined(message) and not stream.is_late:
            gap = Gap(1, first_seq - 1)
        if arrival is Arrival.NEW_EPOCH:
            stream.baseline_seq = 0
        self._is_alive(message)
        if gap is not None:
            self._report(stream, gap)
        self.received += count
        return message

    def _compare(self, heartbeat: ChannelHeartbeat) -> None:
        """Look for messages that were sent but never arrived, behind the last one of each topic."""
        self.heartbeats += 1
        if not self._is_alive(heartbeat):
            return
        is_joined = self._has_joined(heartbeat)
        for topic, last_seq in heartbeat.sequences.items():
            stream = self._streams.get(topic.encode()) or self._open(topic.encode())
            if stream is None:
                continue
            if stream.epoch == 0:
                # Before we joined, what was sent is past and not lost.
                stream.source, stream.epoch = heartbeat.source, heartbeat.epoch
                stream.last_seq = 0 if is_joined and not stream.is_late else last_seq
            if stream.source == heartbeat.source and stream.epoch < heartbeat.epoch:
                # The publisher was restarted, and nothing of what it has sent since on this topic has arrived.
                stream.epoch, stream.last_seq, stream.baseline_seq = heartbeat.epoch, 0, 0
            is_same_life = stream.source == heartbeat.source and stream.epoch == heartbeat.epoch
            if is_same_life and last_seq > stream.last_seq:
                gap = Gap(stream.last_seq + 1, last_seq)
                stream.last_seq = last_seq
                self._lost_tails.add(topic.encode())
                self._report(stream, gap)
        if self._has_named_all(heartbeat):
            self._joined_epochs.setdefault(heartbeat.source, heartbeat.epoch)

    def _is_alive(self, message: Message) -> bool:
        """Tell whether a publisher's life still lasts, and count when a new one has begun."""
        newest = self._epochs.get(message.source, 0)
        if message.epoch > newest and (newest or len(self._epochs) < STREAMS_MAX):
            self._epochs[message.source] = message.epoch
            if newest:
                self.counts["epoch_changes"] += 1
        return message.epoch >= newest

    def _has_joined(self, message: Message) -> bool:
        joined_epoch = self._joined_epochs.get(message.source)
        return joined_epoch is not None and joined_epoch <= message.epoch

    def _has_named_all(self, heartbeat: ChannelHeartbeat) -> bool:
        """Tell whether we know all topics of a publisher: one with more than a heartbeat holds names them in turns."""
        if len(heartbeat.sequences) < TOPICS_PER_HEARTBEAT_MAX:
            return True
        life = (heartbeat.source, heartbeat.epoch)
        if life not in self._round_starts:
            self._round_starts[life] = next(iter(heartbeat.sequences))
            return False
        return self._round_starts[life] in heartbeat.sequences

    def _report(self, stream: _TopicStream, gap: Gap) -> None:
        self.counts["gaps"] += 1
        self.lost += gap.missing_count
        if self._on_gap is not None:
            self._on_gap(stream.topic, gap)

    def _drop(self, error: WireError, frame: bytes) -> None:
        error.frame = frame
        self.counts[error.fault.value] += 1
        if self._on_fault is not None:
            self._on_fault(error)


def _check_place(topic: bytes, message: Message, first_seq: int) -> None:
    """Refuse a message that is on a foreign topic or that has no number.

    Raises:
        WireError: It is.
    """
    expected = message.topic()
    if expected.encode() != topic:
        raise WireError(WireFault.OFF_TOPIC, f"topic: expected {expected} for this body, was {topic.decode()}")
    if first_seq < 1:
        raise WireError(WireFault.MISTYPED, f"{expected}: expected numbers from 1, was {first_seq} to {message.seq}")
