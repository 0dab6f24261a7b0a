"""A strategy's state and the market position that it belongs to: what the next life goes on from."""

import msgspec

from common.errors import InvalidValueError
from common.events.market import Tick, Ticks

STATE_BYTES_MAX = 1 << 20  # written with each emission: 24 kB cost 20 µs
# Publisher, life and last number of a topic.
Mark = tuple[str, int, int]


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is what `save_state` returned, as MessagePack; `market` has a mark for each topic."""

    timestamp_ns: int
    market: dict[str, Mark]
    state: bytes | None = None


def encode_state(state: object) -> bytes | None:
    """Write down what `save_state` returned.

    Raises:
        TypeError: It is neither None nor a dict of plain data.
        InvalidValueError: It is too large.
    """
    if state is None:
        return None
    if not isinstance(state, dict):
        raise TypeError(f"save_state: expected a dict or None, was {type(state).__name__}")
    encoded = msgspec.msgpack.encode(state)
    if len(encoded) > STATE_BYTES_MAX:
        raise InvalidValueError(f"save_state: expected up to {STATE_BYTES_MAX} bytes, was {len(encoded)}; keep less")
    return encoded


def is_taken(message: Tick | Ticks, market: dict[str, Mark]) -> bool:
    """Tell whether a tick, or the last of a batch, lies at or before a market position."""
    source, epoch, last_seq = market.get(message.topic(), ("", 0, 0))
    return message.source == source and message.epoch == epoch and message.seq <= last_seq
