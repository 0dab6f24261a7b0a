"""The JSON of messages loses nothing and is readable."""

import json
import struct

import msgspec
import numpy as np
import pytest
from support.message_builders import make_tick, make_ticks
from support.message_samples import sample_message

from common.errors import InvalidValueError
from common.events.base import Message
from common.events.market import TICK_DTYPE, Ticks
from common.events.registry import MESSAGE_TYPES, type_name
from common.events.system import ConnectionChanged
from common.store.json_messages import decode_json, encode_json
from common.wire.codec import encode_body


@pytest.mark.parametrize("message_type", MESSAGE_TYPES, ids=type_name)
def test_message_of_every_type_comes_back_to_the_last_byte(message_type: type[Message]) -> None:
    """Through JSON and back, the wire's bytes are the same."""
    message = sample_message(message_type)

    assert encode_body(decode_json(encode_json(message))) == encode_body(message)


def test_group_of_ticks_is_readable() -> None:
    """Each tick has its fields by name; what is absent is null or left out."""
    records = np.zeros(2, TICK_DTYPE)
    records["bid"], records["last"], records["timestamp_ns"] = [1.5, 2.5], np.nan, [7, 8]

    text = encode_json(make_ticks(records=records, count=2))

    ticks = json.loads(text)["ticks"]
    assert [(tick["timestamp_ns"], tick["bid"], tick["last"]) for tick in ticks] == [(7, 1.5, None), (8, 2.5, None)]
    assert "exchange_timestamp_ns" not in ticks[0]
    assert decode_json(text) == make_ticks(records=records, count=2)


@pytest.mark.parametrize("odd", [b"\x01\x00\x00\x00\x00\x00\xf8\xff", struct.pack("<d", float("inf"))])
def test_group_that_plain_fields_cannot_hold_comes_back_too(odd: bytes) -> None:
    """An unusual NaN and what is infinite have no JSON; the packed bytes stand in."""
    group = make_ticks(count=1)
    group = msgspec.structs.replace(group, data=group.data[:-8] + odd)

    assert decode_json(encode_json(group)) == group


def test_group_of_another_length_comes_back_as_it_was() -> None:
    """What a peer packed wrong is evidence too."""
    group = msgspec.structs.replace(make_ticks(count=2), count=3)

    assert decode_json(encode_json(group)) == group
    assert isinstance(group, Ticks)


def test_retired_version_is_read_as_the_newest() -> None:
    """A released version stays readable for ever."""
    old = {
        "type": "System.Connection.Changed.v1",
        "source": "gateway",
        "epoch": 1,
        "seq": 2,
        "timestamp_ns": 3,
        "exchange": "simulated",
        "peer": "p",
        "is_connected": True,
        "detail": "",
    }

    assert isinstance(decode_json(json.dumps(old)), ConnectionChanged)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"\xff\x00", "expected one JSON object"),
        (b'{"type":"Market.Tick', "expected one JSON object"),
        (b'{"type":"Market.Tick.Received.v99"}', "Market.Tick.Received.v99"),
        (b'{"no":"type"}', "expected one that this version knows"),
        (encode_json(make_tick(1)).replace(b"99.5", b'"99.5"'), "Market.Tick.Received.v1"),
        (
            encode_json(make_ticks(1)).replace(b'stamp_ns":0', b'stamp_ns":9223372036854775808'),
            "expected one JSON object",
        ),
        (b"[" * 10_000, "message"),
    ],
)
def test_text_that_is_no_message_is_refused(text: bytes, expected: str) -> None:
    """Whatever is in a file, the error is ours and names what is wrong."""
    with pytest.raises(InvalidValueError, match=expected):
        decode_json(text)
