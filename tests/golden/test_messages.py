"""The bytes of every message type, as they were when it was released, are readable for ever and written the same.

A new type or version gets its bytes with `PYTHONPATH=tests python tests/golden/write_missing.py`, which never touches
an entry that is there: bytes that were once on a wire or in a file stay readable.
"""

import base64
import json
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest

from common.events.base import Message
from common.events.market import TICK_DTYPE, Ticks
from common.events.registry import RETIRED_TYPES_BY_NAME, TYPES_BY_NAME
from common.events.upcasting import upcast
from common.wire import codec

ENTRIES: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("messages.json").read_text())
VARIANTS = [(name, variant) for name, entry in ENTRIES.items() for variant in entry]
each_variant = pytest.mark.parametrize(("name", "variant"), VARIANTS)
each_variant_that_is_sent = pytest.mark.parametrize(
    ("name", "variant"), [(name, variant) for name, variant in VARIANTS if name in TYPES_BY_NAME]
)


def frame_of(entry: dict[str, Any]) -> bytes:
    """The whole frame that an entry was made from."""
    return f"{entry['topic']}\0".encode() + bytes.fromhex(entry["body"])


def expected_message(name: str, entry: dict[str, Any]) -> Message:
    """The message that an entry describes, built without MessagePack."""
    message: Message = msgspec.convert(entry["json"], {**TYPES_BY_NAME, **RETIRED_TYPES_BY_NAME}[name])
    return message


def test_every_registered_type_has_golden_bytes() -> None:
    """A type without committed bytes could change on the wire unseen."""
    variants_of = {name: set(ENTRIES.get(name, {})) for name in TYPES_BY_NAME}

    assert all({"full", "least"} <= variants for variants in variants_of.values()), variants_of


def test_every_golden_type_is_still_readable() -> None:
    """A version that was ever released is sent, or retired with a way to the newest one; never dropped."""
    assert set(ENTRIES) == set(TYPES_BY_NAME) | set(RETIRED_TYPES_BY_NAME)


@each_variant
def test_golden_bytes_are_read_as_the_message_they_were(name: str, variant: str) -> None:
    """What an older version sent or stored means the same today, in the words of the newest version."""
    entry = ENTRIES[name][variant]

    message = codec.decode(frame_of(entry))

    assert message == upcast(expected_message(name, entry))


@each_variant_that_is_sent
def test_message_is_written_as_its_golden_bytes(name: str, variant: str) -> None:
    """A peer of an older version receives exactly what it always received."""
    entry = ENTRIES[name][variant]

    frame = codec.encode(expected_message(name, entry))

    assert frame == frame_of(entry)


@each_variant
def test_other_library_reads_golden_bytes_as_a_map_with_its_type_first(name: str, variant: str) -> None:
    """Any MessagePack library in any language can be a client: no extension types, no arrays for structs."""
    entry = ENTRIES[name][variant]

    body = msgpack.unpackb(bytes.fromhex(entry["body"]))

    assert next(iter(body)) == "type"
    assert as_json(body) == entry["json"]


def test_packed_ticks_have_the_documented_layout() -> None:
    """72 bytes a tick, little-endian: three times, then six float64."""
    message = codec.decode(frame_of(ENTRIES["Market.Ticks.Received.v1"]["full"]))

    assert isinstance(message, Ticks)
    first, second = message.records()

    assert (TICK_DTYPE.itemsize, TICK_DTYPE.names) == (
        72,
        (
            "timestamp_ns",
            "local_timestamp_ns",
            "exchange_timestamp_ns",
            "bid",
            "ask",
            "bid_size",
            "ask_size",
            "last",
            "volume",
        ),
    )
    assert first.tolist()[:7] == (1_700_000_000_000_000_000, 1_699_999_999_999_500_000, 0, 99.5, 100.5, 1.5, 0.25)
    assert np.isnan(first["last"])
    assert np.isnan(first["volume"])
    assert second.tolist()[2:] == (1_699_999_999_999_000_000, 99.5, 100.5, 1.0, 2.0, 99.5, 3.0)


def as_json(value: Any) -> Any:
    """Bytes as JSON has them."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return value
