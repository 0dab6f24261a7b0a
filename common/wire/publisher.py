"""The sending end of a channel: numbers every message per topic, and says its last numbers while idle."""

from collections.abc import Callable

from msgspec.structs import force_setattr

from common.events.base import DRAFT, Message
from common.events.system import TOPICS_PER_HEARTBEAT_MAX, ChannelHeartbeat
from common.wire.codec import encode_body
from common.wire.topics import SEPARATOR

Send = Callable[[bytes], object]


class TopicWriter:
    """One topic of a publisher: its frame prefix and its last number."""

    __slots__ = ("prefix", "send", "seq", "topic")

    def __init__(self, topic: str, send: Send) -> None:
        self.topic = topic
        self.prefix = topic.encode() + SEPARATOR
        self.seq = 0
        self.send = send

    def write(self, message: Message, count: int = 1) -> None:
        """Send a message that already carries its identity; `count` is how many numbers it takes up."""
        self.seq += count
        self.send(self.prefix + encode_body(message))


class Publisher:
    """Numbers and sends the messages of one process on one channel."""

    def __init__(self, *, role: str, source: str, epoch: int, channel: str, send: Send) -> None:
        """Prepare a channel.

        Args:
            role: Kind of process, such as `strategy`.
            source: Name of the process, in every message.
            epoch: Its life; rises with each start.
            channel: Name of the channel, in its heartbeats.
            send: Takes one frame.
        """
        self.source = source
        self.epoch = epoch
        self._role = role
        self._channel = channel
        self._send = send
        self._writers: dict[str, TopicWriter] = {}
        self._heartbeat_writer = TopicWriter(f"{ChannelHeartbeat.kind}.{role}.{channel}", send)
        self._heartbeat_index = 0

    def writer(self, topic: str) -> TopicWriter:
        """The topic's writer; the same object for the same topic."""
        writer = self._writers.get(topic)
        if writer is None:
            writer = self._writers[topic] = TopicWriter(topic, self._send)
        return writer

    def publish(self, message: Message) -> None:
        """Give a draft its source, epoch and number, and send it."""
        force_setattr(message, "source", self.source)  # a topic may be named after its source
        self._send_numbered(self.writer(message.topic()), message)

    def relay(self, topic: str, message: Message) -> None:
        """Send what another publisher has numbered."""
        self._send(topic.encode() + SEPARATOR + encode_body(message))

    def last_sequences(self) -> dict[str, int]:
        """The last number of every topic that was written to."""
        return {writer.topic: writer.seq for writer in self._writers.values() if writer.seq}

    def heartbeat(self, now_ns: int) -> None:
        """Send the last numbers of up to 256 topics, and of the next ones at the next call.

        With more topics every heartbeat is full, so one that is not full names all there are.
        """
        sequences = list(self.last_sequences().items())
        if len(sequences) > TOPICS_PER_HEARTBEAT_MAX:
            start = self._heartbeat_index
            self._heartbeat_index = (start + TOPICS_PER_HEARTBEAT_MAX) % len(sequences)
            sequences = [*sequences[start:], *sequences[:start]][:TOPICS_PER_HEARTBEAT_MAX]
        message = ChannelHeartbeat(
            **DRAFT,
            timestamp_ns=now_ns,
            role=self._role,
            channel=self._channel,
            sequences=dict(sequences),
        )
        self._send_numbered(self._heartbeat_writer, message)

    def _send_numbered(self, writer: TopicWriter, message: Message) -> None:
        # A draft belongs to its maker until it is sent; from here on it is immutable.
        force_setattr(message, "source", self.source)
        force_setattr(message, "epoch", self.epoch)
        force_setattr(message, "seq", writer.seq + 1)
        writer.write(message)
