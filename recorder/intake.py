"""Frames in, what is to be recorded out: messages as they came, and the gaps before them. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable

from common.errors import WireError, WireFault
from common.events.base import DRAFT, ListedMessage, Message
from common.events.market import Ticks
from common.events.system import ChannelHeartbeat, GapFound
from common.wire.codec import FRAME_BYTES_MAX, decode, decode_unexplained
from common.wire.topics import SEPARATOR
from recorder.backfill import ORDER_CRITICAL, Backfill
from recorder.buffer import Batch, Dropped, Place
from recorder.streams import GapReason, Numbers, Position, count_of

OnFault = Callable[[str, WireError], object]


class Intake:
    """Reads batches in the order of their arrival. Heartbeats are compared, not kept: they tell what the gaps tell."""

    def __init__(self, positions: Iterable[Position], backfill: Backfill, on_fault: OnFault) -> None:
        """Go on where streams stood; `on_fault` is told of each frame that cannot be used, with its channel."""
        self.numbers = Numbers(positions, self._on_gap)
        self.counts: Counter[str] = Counter()
        self.gaps: list[GapFound] = []  # of the newest `read`, drafts: who records them gives them their place
        # The newest life of each channel's owner that has given a heartbeat.
        self.heard: dict[str, tuple[str, int]] = {}
        self._backfill = backfill
        self._on_fault = on_fault
        self._found: list[Message] = []

    def _on_gap(self, gap: GapFound) -> None:
        """Put a gap before the message that showed it."""
        self._found.append(gap)
        self.gaps.append(gap)
        self._backfill.note_gap(gap)

    def read(self, item: Batch | Dropped) -> list[Message]:
        """What one item of the buffer brings."""
        found: list[Message] = []
        self._found, self.gaps = found, []
        if isinstance(item, Dropped):
            self.numbers.skip(item)
            return found
        streams = self.numbers.newest
        for channel, frames in item.groups:
            is_market = channel == "market"  # where speed counts, and no frame has a seal
            for frame in frames:
                topic, _, body = frame.partition(SEPARATOR)
                stream = streams.get(topic) if is_market else None
                if stream is not None and len(frame) <= FRAME_BYTES_MAX:
                    try:
                        message: Message = decode_unexplained(body)
                    except Exception:  # noqa: BLE001  # decoding again reads it, or says what is wrong
                        self._read_with_care(channel, frame, item.recorded_ns)
                        continue
                    count = message.count if type(message) is Ticks else 1
                    if (
                        message.seq == stream.last_seq + count
                        and message.epoch == stream.epoch
                        and message.source == stream.source
                        and isinstance(message, ListedMessage)
                        and message.symbol == stream.symbol
                        and message.exchange == stream.exchange
                        and message.kind == stream.kind
                        and stream.is_heard
                    ):
                        stream.last_seq += count
                        found.append(message)
                        continue
                self._read_with_care(channel, frame, item.recorded_ns)
        return found

    def locate(self, channel: str, frame: bytes) -> Place | None:
        """The numbers of a frame that has to be dropped; None where it has none of worth."""
        try:
            message = decode(frame)
        except WireError:
            self.counts["unusable"] += 1
            return None
        count = count_of(message)
        if isinstance(message, ChannelHeartbeat) or message.seq < count:
            return None
        topic = message.topic().encode()
        return Place(channel, topic, message.source, message.epoch, message.seq - count + 1, message.seq)

    def _read_with_care(self, channel: str, frame: bytes, recorded_ns: int) -> None:
        try:
            message = decode(frame)
            if isinstance(message, GapFound):
                raise WireError(WireFault.UNEXPECTED, "gap: expected from nobody but the recorder, came on a channel")
            if message.seq < count_of(message) or message.epoch < 1:
                place = f"seq {message.seq} of epoch {message.epoch}"
                raise WireError(WireFault.MISTYPED, f"{message.topic()}: expected numbers from 1, was {place}")
        except WireError as error:
            error.frame = frame
            self.counts["unusable"] += 1
            self._on_fault(channel, error)
            return
        if isinstance(message, ChannelHeartbeat):
            self.heard[channel] = (message.source, message.epoch)
            self.numbers.compare(channel, message, recorded_ns)
            return
        topic = message.topic()
        if not self.numbers.place(channel, topic.encode(), message, recorded_ns):
            return
        if type(message) in ORDER_CRITICAL and not self._backfill.note(message, recorded_ns):
            self._on_gap(_gap_of_late(channel, topic, message, recorded_ns))
            return
        self._found.append(message)


def _gap_of_late(channel: str, topic: str, message: Message, now_ns: int) -> GapFound:
    return GapFound(
        **DRAFT,
        timestamp_ns=now_ns,
        channel=channel,
        stream=topic,
        publisher=message.source,
        publisher_epoch=message.epoch,
        first_seq=message.seq,
        last_seq=message.seq,
        reason=GapReason.LATE.value,
    )
