"""Frames to messages and back. One frame is `topic`, one NUL, `body`; the body is one MessagePack map.

Whatever bytes come in, the answer is a message or a `WireError` that names what is wrong with them.
"""

import msgspec

from common.errors import WireError, WireFault
from common.events.base import Message
from common.events.registry import RETIRED_TYPES_BY_NAME, TYPES_BY_NAME, AnyMessage
from common.events.upcasting import upcast
from common.wire.seal import check_seal, seal
from common.wire.topics import SEPARATOR, is_topic

FRAME_BYTES_MAX = 1 << 20  # 1 MiB: three times the largest batch of ticks

# 0.3 µs for a tick.
encode_body = msgspec.msgpack.Encoder(decimal_format="string").encode
# For the hottest path, which takes what this cannot read to `decode_body`: a retired version, or a fault to explain.
decode_unexplained = msgspec.msgpack.Decoder(AnyMessage).decode
_retired_decoders = {name: msgspec.msgpack.Decoder(retired) for name, retired in RETIRED_TYPES_BY_NAME.items()}


def encode(message: Message) -> bytes:
    """Write a message as one frame on its own topic."""
    return message.topic().encode() + SEPARATOR + encode_body(message)


def encode_sealed(message: Message) -> bytes:
    """Write a message as one frame with a checksum, for what moves money."""
    return seal(encode(message))


def split(frame: bytes) -> tuple[bytes, bytes]:
    """Take a frame apart into topic and body.

    Raises:
        WireError: It is over 1 MiB, has no topic, or is sealed and was changed.
    """
    if len(frame) > FRAME_BYTES_MAX:
        raise WireError(WireFault.OVERSIZED, f"frame: expected up to {FRAME_BYTES_MAX} bytes, was {len(frame)}")
    check_seal(frame)
    topic, separator, body = frame.partition(SEPARATOR)
    if not separator:
        raise WireError(WireFault.NO_TOPIC, f"frame: expected topic, NUL, body; was {frame[:40]!r}")
    return topic, body


def check_topic(topic: bytes) -> None:
    """Refuse what is no topic.

    Raises:
        WireError: The bytes do not follow the topic grammar.
    """
    if not is_topic(topic):
        raise WireError(WireFault.BAD_TOPIC, f"topic: expected kind.exchange.symbol, was {topic[:80]!r}")


def decode_body(body: bytes) -> Message:
    """Read a body as the message type that it names; a retired version as the newest one of its type.

    Raises:
        WireError: It is no MessagePack map, of an unknown or newer type, or a field has another type or range.
    """
    try:
        message: Message = decode_unexplained(body)
    except msgspec.ValidationError as error:
        return _decode_retired(body, error)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        # ValueError: a number too large for a Decimal or an int; RecursionError: nesting without end.
        raise WireError(WireFault.GARBAGE, f"body: expected one MessagePack map, {error}") from error
    return message


def decode(frame: bytes) -> Message:
    """Read a whole frame, with every check, for everything but the hottest path.

    Raises:
        WireError: The frame, its topic or its body is not as it should be, or the body belongs to another topic.
    """
    topic, body = split(frame)
    check_topic(topic)
    message = decode_body(body)
    expected = message.topic()
    if expected.encode() != topic:
        raise WireError(WireFault.OFF_TOPIC, f"topic: expected {expected} for this body, was {topic.decode()}")
    return message


class _TypeOnly(msgspec.Struct):
    type: str


_decode_type = msgspec.msgpack.Decoder(_TypeOnly).decode


def _decode_retired(body: bytes, error: msgspec.ValidationError) -> Message:
    """Read a version that is sent no more, or tell a type that we do not know from a known one with a wrong field."""
    try:
        name = _decode_type(body).type
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise WireError(WireFault.MISTYPED, f"body: {error}") from error
    if name in _retired_decoders:
        try:
            return upcast(_retired_decoders[name].decode(body))
        except msgspec.ValidationError as fault:
            raise WireError(WireFault.MISTYPED, f"{name}: {fault}") from fault
    if name in TYPES_BY_NAME:
        raise WireError(WireFault.MISTYPED, f"{name}: {error}") from error
    raise WireError(WireFault.UNKNOWN_TYPE, f"type: expected one that this version knows, was {name[:80]!r}") from error
