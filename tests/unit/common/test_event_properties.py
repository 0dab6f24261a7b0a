"""Whatever a type allows survives the wire, for every type."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.message_strategies import messages

from common.events.base import Message
from common.events.registry import MESSAGE_TYPES, type_name
from common.wire.codec import decode_body, encode_body


@pytest.mark.parametrize("message_type", MESSAGE_TYPES, ids=type_name)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_message_survives_the_wire_and_json(message_type: type[Message], data: st.DataObject) -> None:
    """To the last digit: what is read is what was written, by MessagePack and in files for people."""
    message = data.draw(messages(message_type))

    assert decode_body(encode_body(message)) == message
    assert msgspec.json.decode(msgspec.json.encode(message), type=message_type) == message
