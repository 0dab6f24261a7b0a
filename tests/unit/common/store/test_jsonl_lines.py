import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.message_builders import NOW_NS, make_tick, make_ticks

from common.events.market import TICK_DTYPE, Ticks
from common.events.registry import MESSAGE_TYPES, type_name
from common.events.system import ConnectionChanged, ConnectionState
from common.events.upcasting import RETIRED_TYPES, ConnectionChangedV1
from common.store.jsonl.lines import decode_messages, encode_messages, recorded_ns_of, split_line

LINE = b'{"id":7,"recorded_ns":12,"type":"X","digest":"000102030405060708090a0b0c0d0e0f"}'


def round_trip(batch: Ticks) -> Ticks:
    """Write a group and read it back."""
    (body,) = encode_messages([batch])
    (found,) = decode_messages(body)
    assert isinstance(found, Ticks)
    return found


@given(st.lists(st.tuples(*[st.integers(-(2**63), 2**63 - 1)] * 3, *[st.floats(width=64)] * 6), min_size=1, max_size=5))
def test_group_of_ticks_comes_back_to_the_last_bit(rows: list[tuple[float, ...]]) -> None:
    """Whatever its amounts are: also what no venue sends."""
    data = b"".join(struct.pack("<3q6d", *row) for row in rows)
    batch = make_ticks(count=len(rows), data=data)

    assert round_trip(batch) == batch


def test_ticks_are_plain_fields_and_absent_ones_are_not_written() -> None:
    """So that `jq` reads a price, and no packed bytes."""
    records = np.zeros(1, TICK_DTYPE)
    records["bid"], records["last"] = 99.5, math.nan

    (body,) = encode_messages([make_ticks(count=1, records=records)])

    written = json.loads(body)
    assert "data" not in written
    assert written["ticks"][0]["bid"] == 99.5
    assert not {"last", "exchange_timestamp_ns"} & set(written["ticks"][0])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        struct.pack("<3q5dQ", 1, 2, 3, 1, 1, 1, 1, 1, 0x7FF8_0000_0000_0001),
        bytes(71) + b"\x7f" + bytes(72),
    ],
)
def test_group_that_plain_fields_cannot_say_is_kept_packed(data: bytes) -> None:
    """Another NaN than the usual, or bytes that are no whole ticks: nothing is lost, and nothing guessed."""
    batch = make_ticks(count=1, data=data)

    assert round_trip(batch) == batch


def test_retired_version_is_read_as_the_newest() -> None:
    """A log outlives the types that it was written with."""
    old = ConnectionChangedV1("gateway", 1, 2, 3, exchange="binance", peer="feed", is_connected=True, detail="")

    (found,) = decode_messages(encode_messages([old])[0])

    assert isinstance(found, ConnectionChanged)
    assert found.state is ConnectionState.CONNECTED


@pytest.mark.parametrize("message_type", [*MESSAGE_TYPES, *RETIRED_TYPES], ids=type_name)
def test_no_field_has_the_name_of_a_place_in_the_log(message_type: type) -> None:
    """They stand in one flat object."""
    assert not {"id", "recorded_ns", "digest", "ticks", "type"} & set(message_type.__struct_fields__)


def test_line_is_taken_apart_without_parsing_it() -> None:
    """Id, what the digest was made from, digest."""
    parts = split_line(LINE)

    assert parts is not None
    assert (parts.id, parts.content, parts.digest) == (7, LINE[:-45], bytes(range(16)))
    assert recorded_ns_of(parts.content) == 12


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        LINE[:-1],
        LINE[1:],
        LINE + b" ",
        LINE.replace(b"0a0b", b"0A0b"),
        LINE.replace(b"0a0b", b"0x0b"),
        LINE.replace(b'"id":7', b'"id":a'),
        LINE.replace(b'"id"', b'"no"'),
        LINE.replace(b'"digest"', b'"digesT"'),
    ],
)
def test_what_is_no_line_of_ours_is_not_taken_apart(line: bytes) -> None:
    """One changed bit is enough."""
    assert split_line(line) is None


def test_messages_of_a_batch_keep_their_order() -> None:
    """One line each."""
    messages = [make_tick(1), make_ticks(4), make_tick(5, timestamp_ns=NOW_NS)]

    assert decode_messages(b"\n".join(encode_messages(messages))) == messages
