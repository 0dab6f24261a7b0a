"""A record as a line of JSON and back. Pure.

`{"id":..,"recorded_ns":..,"type":..,<the message's own fields>,"digest":".."}`: what its digest is made from is the
line up to the comma before `"digest"`. A group of ticks has them one by one in plain fields, `"ticks":[{..},..]`.
"""

import struct
from binascii import Error as HexError
from binascii import hexlify, unhexlify
from collections.abc import Sequence
from typing import Any, NamedTuple, Union

import msgspec
import numpy as np

from common.events.base import Message
from common.events.market import TICK_DTYPE, Ticks
from common.events.registry import MESSAGE_TYPES, RETIRED_TYPES_BY_NAME, type_name
from common.events.upcasting import RETIRED_TYPES, upcast

FORMAT = 1
_NAN = float("nan")
_NAN_BITS = np.float64(_NAN).view(np.int64)
_TICK = struct.Struct("<3q6d")
_AMOUNT_COLUMNS = 6
_DIGEST_KEY = b',"digest":"'
SUFFIX_BYTES = len(_DIGEST_KEY) + 32 + len(b'"}')


class Header(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="Store.Segment.Opened.v1"):
    """The first line of a segment; `digest` is where the chain stood before its first record."""

    format: int
    store_id: str
    segment: int
    digest: str


class Head(msgspec.Struct, gc=False):
    """What an index needs of a line."""

    id: int
    recorded_ns: int
    type: str
    timestamp_ns: int
    exchange: str | None = None
    symbol: str | None = None


class _Place(msgspec.Struct, gc=False):
    id: int
    recorded_ns: int


class _TickFields(msgspec.Struct, gc=False, omit_defaults=True):
    timestamp_ns: int
    local_timestamp_ns: int
    exchange_timestamp_ns: int = 0
    bid: float | None = None
    ask: float | None = None
    bid_size: float | None = None
    ask_size: float | None = None
    last: float | None = None
    volume: float | None = None


class _TicksLine(msgspec.Struct, gc=False, omit_defaults=True, tag_field="type", tag=type_name(Ticks)):
    """A group of ticks with each in plain fields, or `data` where those could not say it to the last bit."""

    source: str
    epoch: int
    seq: int
    timestamp_ns: int
    exchange: str
    symbol: str
    raw_symbol: str
    count: int
    ticks: list[_TickFields] = []
    data: bytes = b""


class Parts(NamedTuple):
    """A line taken apart: `content` is what the digest was made from."""

    id: int
    content: bytes
    digest: bytes


_Stored = Union[(*(kind for kind in MESSAGE_TYPES if kind is not Ticks), _TicksLine, *RETIRED_TYPES)]  # type: ignore[valid-type]
_message_decoder = msgspec.json.Decoder(_Stored)
_place_decoder = msgspec.json.Decoder(_Place)
_head_decoder = msgspec.json.Decoder(Head)
_encoder = msgspec.json.Encoder()
RETIRED_NAMES = frozenset(RETIRED_TYPES_BY_NAME)


def encode_messages(messages: Sequence[Message]) -> list[bytes]:
    """Each message as a JSON object, `type` first."""
    plain = [_plain(message) if type(message) is Ticks else message for message in messages]
    return _encoder.encode_lines(plain).split(b"\n")[:-1]


def decode_messages(lines: bytes) -> list[Message]:
    """The messages of whole lines; retired versions as the newest of their type.

    Raises:
        msgspec.DecodeError: One of them is no message that this version knows.
    """
    found: list[Any] = _message_decoder.decode_lines(lines)
    if not _FINISHED.isdisjoint(set(map(type, found))):
        return [_finish(message) if type(message) in _FINISHED else message for message in found]
    return found


def decode_places(lines: bytes) -> list[_Place]:
    """Id and time of recording of whole lines.

    Raises:
        msgspec.DecodeError: One of them is no record.
    """
    return _place_decoder.decode_lines(lines)


def decode_head(line: bytes) -> Head:
    """What an index needs of a line.

    Raises:
        msgspec.DecodeError: It is no record.
    """
    return _head_decoder.decode(line)


def decode_heads(lines: bytes) -> list[Head]:
    """The same of whole lines.

    Raises:
        msgspec.DecodeError: One of them is no record.
    """
    return _head_decoder.decode_lines(lines)


def split_line(line: bytes) -> Parts | None:
    """Take a line apart, given without its end; None where it is no record."""
    try:
        digits = line[-34:-2]
        digest = unhexlify(digits)
        record_id = int(line[6 : line.index(b",", 6, 40)])
    except (HexError, ValueError):
        return None
    if (
        not line.startswith(b'{"id":')
        or line[-SUFFIX_BYTES:-34] != _DIGEST_KEY
        or not line.endswith(b'"}')
        or hexlify(digest) != digits  # capitals: read the same, and yet not what was written
    ):
        return None
    return Parts(record_id, line[:-SUFFIX_BYTES], digest)


def recorded_ns_of(content: bytes) -> int:
    """The time of recording, from the content of a line that was taken apart."""
    start = content.index(b":", 6) + 1
    return int(content[start : content.index(b",", start)])


def encode_header(header: Header) -> bytes:
    """The first line of a segment, with its end."""
    return _encoder.encode(header) + b"\n"


def _plain(batch: Ticks) -> _TicksLine:
    fields = (batch.source, batch.epoch, batch.seq, batch.timestamp_ns)
    instrument = (batch.exchange, batch.symbol, batch.raw_symbol)
    if not _is_plain(batch):
        return _TicksLine(*fields, *instrument, batch.count, data=batch.data)
    ticks = [
        _TickFields(*row[:3], *[None if amount != amount else amount for amount in row[3:]])  # noqa: PLR0124  # NaN
        for row in _TICK.iter_unpack(batch.data)
    ]
    return _TicksLine(*fields, *instrument, batch.count, ticks)


def _is_plain(batch: Ticks) -> bool:
    """Tell whether every amount is a number that JSON has, or the one NaN that stands for absent."""
    if len(batch.data) != batch.count * TICK_DTYPE.itemsize:
        return False
    amounts = np.frombuffer(batch.data, "<f8").reshape(batch.count, -1)[:, -_AMOUNT_COLUMNS:]
    return bool((np.isfinite(amounts) | (amounts.view(np.int64) == _NAN_BITS)).all())


def _finish(message: Any) -> Message:
    if not isinstance(message, _TicksLine):
        return upcast(message)
    data = message.data or b"".join(
        [
            _TICK.pack(
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
            for tick in message.ticks
        ]
    )
    return Ticks(
        message.source,
        message.epoch,
        message.seq,
        message.timestamp_ns,
        message.exchange,
        message.symbol,
        message.raw_symbol,
        message.count,
        data,
    )


_FINISHED = frozenset({_TicksLine, *RETIRED_TYPES})
