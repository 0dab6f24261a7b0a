"""Retired versions are read as the newest one; a version that nobody knows is refused by name."""

from typing import ClassVar

import pytest
from msgspec.structs import replace
from support.message_samples import sample_message

from common.errors import WireError, WireFault
from common.events.base import Event, Message
from common.events.registry import MESSAGE_TYPES, TYPES_BY_NAME, type_name
from common.events.system import ConnectionChanged, ConnectionState
from common.events.upcasting import RETIRED_TYPES, UPCASTERS, ConnectionChangedV1, upcast
from common.wire import codec
from common.wire.subscriber import Subscriber

TOPIC = b"connection.simulated.feed"


def make_old_connection(*, is_connected: bool = False, detail: str = "", seq: int = 1) -> ConnectionChangedV1:
    """As a gateway of an older version tells of its feed."""
    return ConnectionChangedV1(
        source="gateway",
        epoch=5,
        seq=seq,
        timestamp_ns=1,
        exchange="simulated",
        peer="feed",
        is_connected=is_connected,
        detail=detail,
    )


@pytest.mark.parametrize(
    ("is_connected", "detail", "state"),
    [
        (True, "recorded feed started", ConnectionState.CONNECTED),
        (False, "recorded feed ended", ConnectionState.ENDED),
        (False, "reset by peer", ConnectionState.LOST),
        (False, "", ConnectionState.LOST),
    ],
)
def test_old_connection_is_read_with_its_state(is_connected: bool, detail: str, state: ConnectionState) -> None:
    """What could only be read from the text is a value now; what says nothing is taken for the fault."""
    frame = codec.encode(make_old_connection(is_connected=is_connected, detail=detail))

    message = codec.decode(frame)

    assert isinstance(message, ConnectionChanged)
    assert (message.state, message.detail) == (state, detail)


def test_subscriber_takes_old_and_new_versions_of_one_topic() -> None:
    """Publishers are updated one by one: the numbers go on, and nothing counts as broken."""
    subscriber = Subscriber(["connection.*.*"])
    new = codec.decode(codec.encode(make_old_connection(seq=3)))
    frames = [*(codec.encode(make_old_connection(seq=seq)) for seq in (1, 2)), codec.encode(new)]

    messages = [subscriber.accept(frame) for frame in frames]

    assert [type(message) for message in messages] == [ConnectionChanged] * 3
    assert subscriber.counters() == {"received": 3, "lost": 0}


def test_old_version_with_a_wrong_field_is_refused_by_its_own_name() -> None:
    """An upcaster sees only what the old version allowed."""
    body = codec.encode_body(make_old_connection()).replace(b"\xacis_connected\xc2", b"\xacis_connected\x07")

    with pytest.raises(WireError, match=r"System\.Connection\.Changed\.v1: Expected `bool`") as caught:
        codec.decode(TOPIC + b"\0" + body)
    assert caught.value.fault is WireFault.MISTYPED


@pytest.mark.parametrize("version", [b"v3", b"v9", b"v0", b"vv"])
def test_version_that_nobody_knows_is_refused(version: bytes) -> None:
    """A newer peer's meaning is never guessed."""
    frame = codec.encode(make_old_connection()).replace(b"Changed.v1", b"Changed." + version)

    with pytest.raises(WireError, match=f"expected one that this version knows, was .*{version.decode()}") as caught:
        codec.decode(frame)
    assert caught.value.fault is WireFault.UNKNOWN_TYPE


@pytest.mark.parametrize("retired", RETIRED_TYPES, ids=type_name)
def test_upcast_message_keeps_its_place(retired: type[Message]) -> None:
    """Its event id is what others have named as their cause."""
    old = sample_message(retired)

    new = upcast(old)

    assert type(new) in MESSAGE_TYPES
    assert (new.event_id(), new.timestamp_ns) == (old.event_id(), old.timestamp_ns)


@pytest.mark.parametrize("retired", RETIRED_TYPES, ids=type_name)
def test_retired_type_has_a_higher_version_that_is_sent(retired: type[Message]) -> None:
    """And is not sent any more itself."""
    name, _, version = type_name(retired).rpartition(".v")

    newer = [sent for sent in TYPES_BY_NAME if sent.startswith(f"{name}.v")]

    assert [int(sent.rpartition(".v")[2]) > int(version) for sent in newer] == [True]


def test_versions_are_passed_one_after_the_other() -> None:
    """Each upcaster knows its successor only."""

    class Third(Event, frozen=True):
        kind: ClassVar[str] = "third"

    old = make_old_connection(detail="feed ended")
    steps = {**UPCASTERS, ConnectionChanged: lambda second: Third(second.source, second.epoch, 9, 1)}

    assert upcast(old, steps) == Third("gateway", 5, 9, 1)


def test_newest_version_is_left_alone() -> None:
    """Nothing is copied."""
    message = sample_message(ConnectionChanged)

    assert upcast(message) is message
    assert upcast(replace(message, seq=8)).seq == 8
