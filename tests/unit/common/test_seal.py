"""The checksum of frames that move money."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.message_samples import sample_message

from common.errors import WireError, WireFault
from common.events.base import Message
from common.events.registry import MESSAGE_TYPES
from common.events.trading import CancelRequested
from common.events.venue import OrderAnswered, SubmitOrder
from common.wire import codec
from common.wire.seal import check_seal, seal

SUBMISSION = sample_message(SubmitOrder)


@pytest.mark.parametrize("message_type", MESSAGE_TYPES, ids=lambda message_type: message_type.__name__)
@pytest.mark.parametrize("is_full", [True, False])
def test_sealed_frame_is_read_as_what_was_sealed(message_type: type[Message], *, is_full: bool) -> None:
    """By us, and by any MessagePack library: one more entry, the last one."""
    message = sample_message(message_type, is_full=is_full)

    frame = codec.encode_sealed(message)

    assert codec.decode(frame) == message
    body = msgpack.unpackb(frame.partition(b"\0")[2])
    assert list(body)[-1] == "check"
    assert isinstance(body["check"], int)


@given(st.data())
def test_bit_that_flips_is_seen_or_changes_nothing(data: st.DataObject) -> None:
    """A flip in the seal's own key leaves an unsealed frame with the old content; everything else is refused."""
    frame = bytearray(codec.encode_sealed(SUBMISSION))
    place = data.draw(st.integers(0, len(frame) * 8 - 1))
    frame[place // 8] ^= 1 << place % 8

    try:
        read = codec.decode(bytes(frame))
    except WireError:
        return
    assert read == SUBMISSION


def test_changed_frame_is_named_as_that() -> None:
    """Apart from garbage: somebody should look at the line."""
    frame = codec.encode_sealed(SUBMISSION).replace(b"0.010", b"0.110").replace(b"limit", b"lamit")

    with pytest.raises(WireError, match="expected checksum") as caught:
        check_seal(frame)
    assert caught.value.fault is WireFault.CORRUPT


def test_frame_without_a_seal_is_taken_as_it_is() -> None:
    """Plain clients have none."""
    frame = codec.encode(SUBMISSION)

    check_seal(frame)

    assert codec.decode(frame) == SUBMISSION


@pytest.mark.parametrize("message_type", [CancelRequested, OrderAnswered, SubmitOrder])
def test_maps_of_every_size_can_be_sealed(message_type: type[Message]) -> None:
    """Small, of 15 entries, and larger: MessagePack writes their heads in three ways."""
    for is_full in (True, False):
        frame = codec.encode(sample_message(message_type, is_full=is_full))

        count = len(msgpack.unpackb(frame.partition(b"\0")[2]))
        assert len(msgpack.unpackb(seal(frame).partition(b"\0")[2])) == count + 1


def test_only_a_map_can_be_sealed() -> None:
    """Anything else is a mistake of ours."""
    with pytest.raises(ValueError, match="whose body is a map"):
        seal(b"signal.simulated.BTC/USDT\0\x93\x01\x02\x03")
