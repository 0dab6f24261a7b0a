"""The JSON of messages loses nothing and is readable."""

import json
import struct
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect
from support.message_builders import NOW_NS, make_tick, make_ticks
from support.message_samples import sample_message

from common.errors import InvalidValueError
from common.events.base import Message
from common.events.market import TICK_DTYPE, Ticks
from common.events.registry import MESSAGE_TYPES, type_name
from common.events.system import ConnectionChanged
from common.store.json_messages import decode_json, decode_messages, encode_json, encode_messages
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


@given(st.lists(st.tuples(*[st.integers(-(2**63), 2**63 - 1)] * 3, *[st.floats(width=64)] * 6), min_size=1, max_size=5))
def test_group_of_ticks_comes_back_to_the_last_bit(rows: list[tuple[float, ...]]) -> None:
    """Whatever its amounts are: also what no venue sends."""
    data = b"".join(struct.pack("<3q6d", *row) for row in rows)
    batch = make_ticks(count=len(rows), data=data)

    assert decode_json(encode_json(batch)) == batch


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
        (b"\xff\x00", "expected a JSON object"),
        (b'{"type":"Market.Tick', "expected a JSON object"),
        (b'{"type":"Market.Tick.Received.v99"}', "Market.Tick.Received.v99"),
        (b'{"no":"type"}', "expected one that this version knows"),
        (encode_json(make_tick(1)).replace(b"99.5", b'"99.5"'), "bid"),
        (
            encode_json(make_ticks(1)).replace(b'stamp_ns":0', b'stamp_ns":9223372036854775808'),
            "expected a JSON object",
        ),
        (encode_json(make_tick(1)) * 2, "expected one JSON object, were 2"),
        (b"", "expected one JSON object, were 0"),
        (b"[" * 10_000, "message"),
    ],
)
def test_text_that_is_no_message_is_refused(text: bytes, expected: str) -> None:
    """Whatever is in a file, the error is ours and names what is wrong."""
    with pytest.raises(InvalidValueError, match=expected):
        decode_json(text)


def test_messages_of_a_batch_keep_their_order() -> None:
    """One line each."""
    messages = [make_tick(1), make_ticks(4), make_tick(5, timestamp_ns=NOW_NS)]

    assert decode_messages(b"\n".join(encode_messages(messages))) == messages


@pytest.mark.parametrize("message_type", MESSAGE_TYPES, ids=type_name)
def test_no_field_takes_a_number_that_json_has_not(message_type: type[Message]) -> None:
    """NaN and infinity would come back as nothing, so no number is without bounds, which neither is within."""
    unbounded: list[str] = []

    def look(kind: Any, place: str) -> None:
        if isinstance(kind, inspect.FloatType) and (kind.ge is None or kind.le is None):
            unbounded.append(place)
        for field in getattr(kind, "fields", ()):
            look(field.type, f"{place}.{field.name}")
        inner = [getattr(kind, name, None) for name in ("item_type", "key_type", "value_type")]
        items = getattr(kind, "item_types", ()) or getattr(kind, "types", ())
        for part in (*items, *(part for part in inner if part is not None)):
            look(part, place)

    look(inspect.type_info(message_type), type_name(message_type))

    assert unbounded == []
