"""What the tests of the recorder need: frames of streams, batches, and what the log then accounts for."""

from collections.abc import Iterable, Sequence
from typing import Any

from support.message_builders import EPOCH, NOW_NS, make_heartbeat, make_tick

from common.events.base import Message
from common.events.market import Ticks
from common.events.system import GapFound
from common.wire import codec
from recorder.backfill import Backfill
from recorder.buffer import Batch
from recorder.intake import Intake
from recorder.streams import Position

TOPIC = "tick.simulated.BTC/USDT"


def make_intake(*positions: Position) -> Intake:
    """One that keeps no fault."""
    return Intake(positions, Backfill(), lambda _channel, _error: None)


def ticks(*numbers: int, **changes: Any) -> list[bytes]:
    """Frames of ticks with these numbers."""
    return [codec.encode(make_tick(number, **changes)) for number in numbers]


def heartbeat(last_seq: int, **changes: Any) -> bytes:
    """The gateway's word on where its one topic stands."""
    return codec.encode(make_heartbeat({TOPIC: last_seq} if last_seq else {}, **changes))


def batch(frames: Iterable[bytes], channel: str = "market", recorded_ns: int = NOW_NS) -> Batch:
    """What one turn took from one channel."""
    taken = list(frames)
    return Batch(recorded_ns, [(channel, taken)], sum(map(len, taken)))


def outline(messages: Sequence[Message]) -> list[object]:
    """Numbers of messages; of a gap its bounds and its reason."""
    return [
        (message.first_seq, message.last_seq, message.reason) if isinstance(message, GapFound) else message.seq
        for message in messages
    ]


def accounted(messages: Iterable[Message], epoch: int = EPOCH) -> list[int]:
    """Every number of one life that is recorded or in a gap, as often as it is."""
    numbers: list[int] = []
    for message in messages:
        if isinstance(message, GapFound):
            if message.publisher_epoch == epoch and message.last_seq is not None and not message.is_recovered:
                numbers += range(message.first_seq, message.last_seq + 1)
        elif message.epoch == epoch:
            count = message.count if isinstance(message, Ticks) else 1
            numbers += range(message.seq - count + 1, message.seq + 1)
    return sorted(numbers)
