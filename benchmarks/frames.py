"""What the floors send: frames of the size of a real tick, made by the pipeline's own codec."""

import struct

from common.events.market import Tick
from common.wire import codec

TOPIC = b"tick.simulated.BTC/USDT\0"
# Sent until a subscriber hears it, and once more as the sign that everything after it counts.
SYNC = b"sync"
START = b"start"
_DUE = struct.Struct("<q")


def tick_frame() -> bytes:
    """A quote of the synthetic feed as it travels: topic, NUL, body."""
    tick = Tick(
        source="gateway",
        epoch=1_760_000_000_000,
        seq=1_000_000,
        timestamp_ns=1_760_000_000_000_000_000,
        exchange="simulated",
        symbol="BTC/USDT",
        raw_symbol="BTCUSDT",
        local_timestamp_ns=1_760_000_000_000_000_000,
        bid=60_000.01,
        ask=60_000.02,
        bid_size=0.16667,
        ask_size=0.16667,
        exchange_timestamp_ns=1_759_999_999_999_800_000,
    )
    return codec.encode(tick)


def frame_parts() -> tuple[bytes, bytes]:
    """What stands before and after the due time in a frame that is as long as a tick's."""
    return TOPIC, bytes(len(tick_frame()) - len(TOPIC) - _DUE.size)


# The floor's whole codec: when the tick was due, 8 bytes behind the topic.
pack_due = _DUE.pack


def read_due(frame: bytes) -> int:
    """When the tick of a frame was due, ns."""
    due_ns: int = _DUE.unpack_from(frame, len(TOPIC))[0]
    return due_ns
