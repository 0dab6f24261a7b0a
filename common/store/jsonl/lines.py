"""A record as a line of JSON and back. Pure.

`{"id":..,"recorded_ns":..,"type":..,<the message's own fields>,"digest":".."}`: what its digest is made from is the
line up to the comma before `"digest"`. Of a sealed message only what an index needs stays readable, before
`"key":"..","sealed":"<base64>"`: see `sealing`.
"""

from binascii import Error as HexError
from binascii import hexlify, unhexlify
from typing import NamedTuple

import msgspec

FORMAT = 1
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


class Parts(NamedTuple):
    """A line taken apart: `content` is what the digest was made from."""

    id: int
    content: bytes
    digest: bytes


_place_decoder = msgspec.json.Decoder(_Place)
_head_decoder = msgspec.json.Decoder(Head)
_encoder = msgspec.json.Encoder()


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
