"""Messages as JSON that `jq` and `sqlite3` can read, and back without loss. Pure.

Of one type the JSON differs from the wire: a group of ticks has `"ticks":[{...}]` in plain fields where the wire has
packed bytes. An absent price or size is null there; an absent exchange time is left out.
"""

import struct
from collections.abc import Sequence
from typing import Any, Union

import msgspec
import numpy as np

from common.errors import InvalidValueError
from common.events.base import Count, Message, Name, Symbol
from common.events.market import TICK_DTYPE, Ticks
from common.events.registry import MESSAGE_TYPES, type_name
from common.events.upcasting import RETIRED_TYPES, upcast


class _Tick(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    timestamp_ns: int
    local_timestamp_ns: int
    bid: float | None
    ask: float | None
    bid_size: float | None
    ask_size: float | None
    last: float | None
    volume: float | None
    exchange_timestamp_ns: int = 0


class _Ticks(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", tag=type_name(Ticks)):
    """`Ticks`, readable. `data` takes the place of `ticks` where those would not give back each bit."""

    source: Name
    epoch: Count
    seq: Count
    timestamp_ns: int
    exchange: Name
    symbol: Symbol
    raw_symbol: Symbol
    count: Count
    ticks: list[_Tick] | None = None
    data: bytes | None = None


_NAN = float("nan")
_NAN_BITS = int(np.array(_NAN, "<f8").view("<i8"))
_RECORD = struct.Struct("<3q6d")  # the fields of TICK_DTYPE, in its order
_READABLE = (*(_Ticks if message_type is Ticks else message_type for message_type in MESSAGE_TYPES), *RETIRED_TYPES)

_encode_lines = msgspec.json.Encoder(decimal_format="string").encode_lines
_decode_lines = msgspec.json.Decoder(Union[_READABLE]).decode_lines  # noqa: UP007  # built, as AnyMessage is
_FINISHED = frozenset({_Ticks, *RETIRED_TYPES})


def encode_messages(messages: Sequence[Message]) -> list[bytes]:
    """Each message as one line of JSON, `type` first; amounts are text, as on the wire."""
    return _encode_lines([_readable(message) if type(message) is Ticks else message for message in messages]).split(
        b"\n"
    )[:-1]


def encode_json(message: Message) -> bytes:
    """One message as `encode_messages` writes it."""
    return encode_messages((message,))[0]


def decode_messages(lines: bytes | str) -> list[Message]:
    """The messages of lines; retired versions as the newest of their type.

    Raises:
        InvalidValueError: One of them is no JSON, of an unknown or newer type, or a field has another type or range.
    """
    try:
        found = _decode_lines(lines)
        if _FINISHED.isdisjoint(map(type, found)):
            return found
        return [_finish(message) if type(message) in _FINISHED else message for message in found]
    except msgspec.ValidationError as error:
        raise InvalidValueError(f"message: expected one that this version knows, {error}") from error
    except (msgspec.DecodeError, RecursionError, ValueError, struct.error) as error:
        raise InvalidValueError(f"message: expected a JSON object, {error}") from error


def decode_json(text: bytes | str) -> Message:
    """Read one message.

    Raises:
        InvalidValueError: It is not one; as of `decode_messages`.
    """
    found = decode_messages(text)
    if len(found) != 1:
        raise InvalidValueError(f"message: expected one JSON object, were {len(found)}")
    return found[0]


def _finish(message: Any) -> Message:
    return _packed(message) if isinstance(message, _Ticks) else upcast(message)


def _readable(group: Ticks) -> _Ticks:
    ticks = data = None
    if _is_exact(group):
        ticks = [
            _Tick(now_ns, local_ns, bid, ask, bid_size, ask_size, last, volume, exchange_ns)
            for now_ns, local_ns, exchange_ns, bid, ask, bid_size, ask_size, last, volume in _RECORD.iter_unpack(
                group.data
            )
        ]
    else:
        data = group.data
    return _Ticks(
        group.source,
        group.epoch,
        group.seq,
        group.timestamp_ns,
        group.exchange,
        group.symbol,
        group.raw_symbol,
        group.count,
        ticks,
        data,
    )


def _is_exact(group: Ticks) -> bool:
    """Tell whether JSON can hold it: whole ticks, and nothing infinite or an unusual NaN."""
    if len(group.data) != group.count * TICK_DTYPE.itemsize:
        return False
    amounts = np.frombuffer(group.data, "<f8").reshape(-1, 9)[:, 3:]
    is_finite = np.isfinite(amounts)
    return bool(is_finite.all() or (amounts[~is_finite].view("<i8") == _NAN_BITS).all())


def _packed(group: _Ticks) -> Ticks:
    if (data := group.data) is None:
        data = b"".join(
            [
                _RECORD.pack(
                    tick.timestamp_ns,
                    tick.local_timestamp_ns,
                    tick.exchange_timestamp_ns,
                    _NAN if tick.bid is None else tick.bid,
                    _NAN if tick.ask is None else tick.ask,
                    _NAN if tick.bid_size is None else tick.bid_size,
                    _NAN if tick.ask_size is None else tick.ask_size,
                    _NAN if tick.last is None else tick.last,
                    _NAN if tick.volume is None else tick.volume,
                )
                for tick in group.ticks or []
            ]
        )
    return Ticks(
        group.source,
        group.epoch,
        group.seq,
        group.timestamp_ns,
        group.exchange,
        group.symbol,
        group.raw_symbol,
        group.count,
        data,
    )
