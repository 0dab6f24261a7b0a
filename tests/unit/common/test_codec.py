import contextlib
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.message_builders import TOPIC, make_tick, tick_frame
from support.message_samples import sample_message

from common.errors import WireError, WireFault
from common.events.base import Message
from common.events.market import Tick
from common.events.registry import MESSAGE_TYPES
from common.events.trading import Signal
from common.wire import codec
from common.wire.topics import is_topic

TICK_BODY = msgpack.unpackb(tick_frame().partition(b"\0")[2])
FRAMES = [codec.encode(sample_message(message_type)) for message_type in MESSAGE_TYPES]


def make_frame(topic: str = TOPIC, **changes: Any) -> bytes:
    """A tick as another program would write it, with changed fields; None leaves one out."""
    body = {name: value for name, value in {**TICK_BODY, **changes}.items() if value is not None}
    return topic.encode() + b"\0" + msgpack.packb(body)


def fault_of(frame: bytes) -> WireFault:
    """What is wrong with a frame."""
    with pytest.raises(WireError) as refusal:
        codec.decode(frame)
    assert len(str(refusal.value)) < 500
    return refusal.value.fault


@pytest.mark.parametrize("message_type", MESSAGE_TYPES, ids=lambda message_type: message_type.__name__)
def test_message_of_any_type_comes_back_as_it_was(message_type: type[Message]) -> None:
    """What is written is read, on its own topic."""
    message = sample_message(message_type)

    frame = codec.encode(message)

    assert codec.decode(frame) == message
    assert is_topic(frame.partition(b"\0")[0])


def test_frame_over_a_mebibyte_is_oversized() -> None:
    """It is refused before anything in it is looked at."""
    frame = tick_frame()

    assert fault_of(frame.ljust(codec.FRAME_BYTES_MAX + 1, b"x")) is WireFault.OVERSIZED
    assert fault_of(frame.ljust(codec.FRAME_BYTES_MAX, b"x")) is WireFault.GARBAGE


@pytest.mark.parametrize("frame", [b"", b"tick.a.b", b"x" * 1000])
def test_frame_without_a_nul_has_no_topic(frame: bytes) -> None:
    """One frame is topic, NUL, body."""
    assert fault_of(frame) is WireFault.NO_TOPIC


@pytest.mark.parametrize("topic", ["", "tick", "tick.binance", "Tick.binance.B", "tick.bi nance.B", "tick.b.\u20bf"])
def test_frame_on_something_that_is_no_topic_is_refused(topic: str) -> None:
    """Before its body is read."""
    assert fault_of(make_frame(topic)) is WireFault.BAD_TOPIC


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        tick_frame().partition(b"\0")[2][:-1],
        tick_frame().partition(b"\0")[2] + b"\0",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa1x\xdd\xff\xff\xff\xff",
        b"\x81\xa1x" * 200_000,
        b"\x81\xa1x" + b"\x91" * 200_000,
    ],
    ids=["empty", "unused byte", "cut off", "trailing", "4G map", "4G list", "deep map", "deep list"],
)
def test_body_that_is_no_messagepack_map_is_garbage(body: bytes) -> None:
    """Also one that announces four thousand million entries, or nests without end: no memory is taken for it."""
    assert fault_of(b"a.b.c\0" + body) is WireFault.GARBAGE


@pytest.mark.parametrize("name", ["Market.Tick.Received.v2", "Market.Tick.Received", "", "x" * 100_000])
def test_type_of_a_future_version_is_unknown_and_not_mistyped(name: str) -> None:
    """A counter must tell a newer peer from a broken one."""
    assert fault_of(make_frame(type=name)) is WireFault.UNKNOWN_TYPE


def test_unknown_type_may_have_any_other_fields() -> None:
    """A future version may carry what we have never seen."""
    body = msgpack.packb({"type": "Market.Tick.Received.v2", "legs": [{"a": [1.5, None, b"x"]}]})

    assert fault_of(TOPIC.encode() + b"\0" + body) is WireFault.UNKNOWN_TYPE


@pytest.mark.parametrize(
    "changes",
    [
        {"bid": float("nan")},
        {"bid": float("inf")},
        {"ask": float("-inf")},
        {"ask": -0.5},
        {"last": 1e16},
        {"volume": float("nan")},
        {"bid_size": -1},
        {"bid": "99.5"},
        {"bid": True},
        {"seq": -1},
        {"seq": 1.5},
        {"epoch": "1"},
        {"timestamp_ns": b"1"},
        {"symbol": ""},
        {"symbol": "x" * 49},
        {"source": "x" * 65},
        {"exchange": 7},
        {"local_timestamp_ns": None},
        {"type": None},
        {"type": 7},
    ],
    ids=str,
)
def test_field_of_a_wrong_type_or_out_of_range_is_mistyped(changes: dict[str, Any]) -> None:
    """NaN passes every check that rejects what is outside; ours accept what is inside."""
    assert fault_of(make_frame(**changes)) is WireFault.MISTYPED


@pytest.mark.parametrize("body", [[], [1, 2], None, 7, "text", b"bytes"], ids=repr)
def test_body_of_another_kind_than_a_map_is_mistyped(body: object) -> None:
    """Whatever else MessagePack can say."""
    assert fault_of(TOPIC.encode() + b"\0" + msgpack.packb(body)) is WireFault.MISTYPED


def test_plain_text_as_body_is_refused() -> None:
    """Its first letter is a number to MessagePack."""
    assert fault_of(TOPIC.encode() + b"\0" + b"not msgpack") is WireFault.MISTYPED


@pytest.mark.parametrize("confidence", [float("nan"), -0.1, 1.1])
def test_confidence_outside_its_range_is_mistyped(confidence: float) -> None:
    """0 to 1, ends included."""
    topic, body = codec.split(codec.encode(sample_message(Signal)))

    frame = topic + b"\0" + msgpack.packb({**msgpack.unpackb(body), "confidence": confidence})

    assert fault_of(frame) is WireFault.MISTYPED


@pytest.mark.parametrize("signal_id", ["", "x" * 65, "a b", "a/b", "a\n", "../../etc", "\u00e9"])
def test_id_outside_its_alphabet_is_mistyped(signal_id: str) -> None:
    """Before it can become a key or a file name."""
    topic, body = codec.split(codec.encode(sample_message(Signal)))

    frame = topic + b"\0" + msgpack.packb({**msgpack.unpackb(body), "signal_id": signal_id})

    assert fault_of(frame) is WireFault.MISTYPED


def test_body_on_the_topic_of_another_instrument_is_off_topic() -> None:
    """Whoever subscribed to ETH must not be handed a price of BTC."""
    assert fault_of(make_frame("tick.simulated.ETH/USDT")) is WireFault.OFF_TOPIC


def test_field_that_this_version_does_not_know_is_passed_over() -> None:
    """A new optional field keeps the version."""
    message = codec.decode(make_frame(liquidity_score=0.5))

    assert message == make_tick()


def test_optional_field_may_be_absent_or_nil() -> None:
    """Some libraries write nil for what is not there."""
    body = {**TICK_BODY, "bid": None}

    message = codec.decode(TOPIC.encode() + b"\0" + msgpack.packb(body))

    assert isinstance(message, Tick)
    assert message.bid is None


@given(st.binary(max_size=200))
@example(b"\0")
@example(b"a.b.c\0\x80")
def test_any_bytes_are_a_message_or_a_wire_error(frame: bytes) -> None:
    """Nothing that a peer can send ends a process."""
    assert_answered(frame)


@given(st.binary(max_size=200))
def test_any_body_is_a_message_or_a_wire_error(body: bytes) -> None:
    """The same behind a good topic."""
    assert_answered(TOPIC.encode() + b"\0" + body)


@settings(max_examples=250)
@given(st.sampled_from(FRAMES), st.data())
def test_damaged_frame_of_any_type_is_a_message_or_a_wire_error(frame: bytes, data: st.DataObject) -> None:
    """Bytes changed, cut out, repeated or put in, anywhere in a real frame."""
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(frame)))
        end = data.draw(st.integers(start, min(len(frame), start + 8)))
        frame = frame[:start] + data.draw(st.binary(max_size=8)) + frame[end:]

    assert_answered(frame)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8) | st.binary(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=5,
)


@settings(max_examples=250)
@given(st.sampled_from(FRAMES), st.data())
def test_real_message_with_any_value_in_any_field_is_a_message_or_a_wire_error(
    frame: bytes, data: st.DataObject
) -> None:
    """Well-formed MessagePack reaches further into the checks than damaged bytes do."""
    topic, body = codec.split(frame)
    fields = msgpack.unpackb(body)
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(json_like)

    assert_answered(topic + b"\0" + msgpack.packb(fields))


def assert_answered(frame: bytes) -> None:
    """Decode; anything but a message or a WireError is a failure."""
    with contextlib.suppress(WireError):
        assert isinstance(codec.decode(frame), Message)
