"""What strategies push, read with suspicion: an answer for whoever has a name, a counted drop for the rest."""

import string
from contextlib import suppress
from decimal import Decimal
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.executor_builders import NOW_NS, ExecutorHarness

from common.errors import WireError, WireFault
from common.events.base import DRAFT
from common.events.system import ChannelHeartbeat
from common.events.trading import CancelRequested, Signal, SignalAcknowledged, StateRequested
from common.wire import codec
from executor.intake import UnreadableSignal, read_pushed

# Written with another library than ours, as any client would.
SIGNAL: dict[str, Any] = {
    "type": "Trading.Signal.Generated.v1",
    "source": "client",
    "epoch": 1,
    "seq": 1,
    "timestamp_ns": NOW_NS,
    "exchange": "simulated",
    "symbol": "BTC/USDT",
    "signal_id": "client-1-1",
    "strategy": "client",
    "action": "buy",
    "order_type": "limit",
    "quantity": "0.50",
    "limit_price": "100.1",
    "time_in_force": "gtc",
    "expires_ns": NOW_NS + 1,
}
TOPIC = b"signal.simulated.BTC/USDT"
ABSENT = msgspec.UNSET


def make_frame(topic: bytes = TOPIC, **changes: Any) -> bytes:
    """A signal as one frame; `ABSENT` takes a field away."""
    body = {name: value for name, value in {**SIGNAL, **changes}.items() if value is not ABSENT}
    return topic + b"\0" + msgpack.packb(body)


def read_fault(frame: bytes) -> WireFault:
    """Why a frame cannot be answered."""
    with pytest.raises(WireError) as caught:
        read_pushed(frame)
    return caught.value.fault


def test_signal_of_any_client_is_read() -> None:
    """Amounts are exact, absent fields have their defaults."""
    signal = read_pushed(make_frame())

    assert isinstance(signal, Signal)
    assert (signal.signal_id, signal.quantity, signal.limit_price) == ("client-1-1", Decimal("0.50"), Decimal("100.1"))
    assert (signal.reduce_only, signal.confidence) == (False, None)


def test_field_of_a_later_version_is_passed_over() -> None:
    """A new optional field keeps the version."""
    assert isinstance(read_pushed(make_frame(urgency="high")), Signal)


def test_cancel_and_state_request_are_read() -> None:
    """The other two kinds that strategies push."""
    cancel = CancelRequested(
        **DRAFT, timestamp_ns=NOW_NS, exchange="simulated", symbol="BTC/USDT", signal_id="s-1", strategy="client"
    )
    state = StateRequested(**DRAFT, timestamp_ns=NOW_NS, strategy="client", request_id="r-1")

    assert read_pushed(codec.encode(cancel)) == cancel
    assert read_pushed(codec.encode(state)) == state


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": 0.5},
        {"quantity": 1},
        {"quantity": float("nan")},
        {"quantity": None},
        {"quantity": True},
        {"quantity": "half"},
        {"quantity": ""},
        {"quantity": "1E+99999999999999999999"},
        {"quantity": "9" * 5_000},
        {"quantity": ABSENT},
        {"limit_price": 100.1},
        {"limit_price": "1" * 5_000},
        {"action": "hold"},
        {"action": 1},
        {"action": ABSENT},
        {"order_type": "stop"},
        {"time_in_force": "day"},
        {"time_in_force": ABSENT},
        {"expires_ns": 1.5},
        {"expires_ns": "soon"},
        {"expires_ns": ABSENT},
        {"timestamp_ns": ABSENT},
        {"seq": -1},
        {"source": ABSENT},
        {"confidence": 1.01},
        {"confidence": float("nan")},
        {"reduce_only": "yes"},
        {"cause_id": "c" * 201},
        {"trigger_price": "100"},
    ],
    ids=lambda changes: "-".join(f"{name}={str(value)[:24]}" for name, value in changes.items()),
)
def test_signal_with_a_wrong_field_is_unreadable_but_has_a_name(changes: dict[str, Any]) -> None:
    """Its strategy can be told, and will not send it for ever."""
    unreadable = read_pushed(make_frame(**changes))

    assert isinstance(unreadable, UnreadableSignal)
    assert (unreadable.signal_id, unreadable.strategy) == ("client-1-1", "client")
    assert (unreadable.exchange, unreadable.symbol) == ("simulated", "BTC/USDT")


def test_unreadable_signal_says_which_field_is_wrong() -> None:
    """The detail reaches whoever wrote the client."""
    unreadable = read_pushed(make_frame(action="hold"))

    assert isinstance(unreadable, UnreadableSignal)
    assert "Trading.Signal.Generated.v1" in unreadable.detail
    assert "$.action" in unreadable.detail


def test_same_unreadable_body_has_the_same_digest_and_another_has_another() -> None:
    """A repeat gets the recorded answer, something else under its id is a conflict."""
    first, again, other = (read_pushed(make_frame(action=action)) for action in ("hold", "hold", "wait"))

    assert isinstance(first, UnreadableSignal)
    assert isinstance(again, UnreadableSignal)
    assert isinstance(other, UnreadableSignal)
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize(
    "changes",
    [
        {"signal_id": "two words"},
        {"signal_id": "s" * 65},
        {"signal_id": ""},
        {"signal_id": "s-1\n"},
        {"signal_id": 7},
        {"signal_id": ABSENT},
        {"strategy": "../../etc"},
        {"strategy": ABSENT},
        {"exchange": ABSENT},
        {"symbol": ABSENT},
    ],
)
def test_signal_without_a_name_to_answer_to_is_dropped(changes: dict[str, Any]) -> None:
    """An id that may not be a key, a file name or part of a log line is not used as one, not even in a refusal."""
    assert read_fault(make_frame(**changes)) is WireFault.MISTYPED


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (b"", WireFault.NO_TOPIC),
        (b"no separator", WireFault.NO_TOPIC),
        (b"\0" + msgpack.packb(SIGNAL), WireFault.BAD_TOPIC),
        (b"Signal.simulated.BTC/USDT\0" + msgpack.packb(SIGNAL), WireFault.BAD_TOPIC),
        (TOPIC + b"\0", WireFault.GARBAGE),
        (TOPIC + b"\0" + b"\xc1" * 10, WireFault.GARBAGE),
        (TOPIC + b"\0" + msgpack.packb(SIGNAL)[:-1], WireFault.GARBAGE),
        (TOPIC + b"\0\x81\xa1x" + b"\x91" * 100_000, WireFault.GARBAGE),
        (TOPIC + b"\0" + msgpack.packb([1, 2]), WireFault.MISTYPED),
        (TOPIC + b"\0" + msgpack.packb({**SIGNAL, "type": "Trading.Signal.Generated.v2"}), WireFault.UNKNOWN_TYPE),
        (TOPIC + b"\0" + bytes(1 << 20), WireFault.OVERSIZED),
        (b"signal.simulated.ETH/USDT\0" + msgpack.packb(SIGNAL), WireFault.OFF_TOPIC),
    ],
    ids=lambda value: value.value if isinstance(value, WireFault) else "",
)
def test_frame_that_is_no_signal_is_dropped_by_its_fault(frame: bytes, fault: WireFault) -> None:
    """Each kind of nonsense has a counter of its own."""
    assert read_fault(frame) is fault


def test_unreadable_signal_on_the_topic_of_another_instrument_is_dropped() -> None:
    """Whom would the answer reach?"""
    assert read_fault(make_frame(b"signal.simulated.ETH/USDT", action="hold")) is WireFault.MISTYPED


def test_other_message_with_a_wrong_field_is_dropped_even_if_it_names_a_signal() -> None:
    """Only a signal has an end that must be recorded."""
    frame = make_frame(b"cancel.simulated.BTC/USDT", type="Trading.Cancel.Requested.v1", seq=-1)

    assert read_fault(frame) is WireFault.MISTYPED


def test_name_that_is_no_text_is_dropped() -> None:
    """Bytes that are no UTF-8 behind a field that is wrong already: still a counted drop, not a crash."""
    wrong_first = {"type": SIGNAL["type"], "action": 1}
    body = msgpack.packb(wrong_first | SIGNAL | wrong_first | {"strategy": "??"})

    assert read_fault(TOPIC + b"\0" + body.replace(b"??", b"\xff\xfe")) is WireFault.MISTYPED


def test_message_of_another_channel_is_dropped() -> None:
    """Well formed, and nothing that a strategy may ask for."""
    heartbeat = ChannelHeartbeat(**DRAFT, timestamp_ns=NOW_NS, role="strategy", channel="signals", sequences={})

    assert read_fault(codec.encode(heartbeat)) is WireFault.UNEXPECTED


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
numbers_as_text = st.decimals().map(str) | st.text(string.digits + "eE+-.", max_size=400)


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda body: TOPIC + b"\0" + body))
@example(TOPIC + b"\0\x81\xa4type\xa2\xff\xfe")
def test_any_bytes_are_read_or_dropped(frame: bytes) -> None:
    """Nothing but a WireError ever comes out: one client's garbage ends no process."""
    with suppress(WireError):
        read_pushed(frame)


@given(st.dictionaries(st.sampled_from(sorted(SIGNAL)), anything, max_size=4))
@settings(max_examples=200)
def test_any_field_of_a_signal_may_hold_anything(changes: dict[str, Any]) -> None:
    """A signal, a refusal by name or a drop."""
    with suppress(WireError):
        read_pushed(make_frame(**changes))


@given(st.binary(min_size=1, max_size=8), st.integers(0, 400))
def test_any_bytes_may_change_inside_a_signal(noise: bytes, place: int) -> None:
    """A bit that flips, a length that lies."""
    frame = make_frame()
    place %= len(frame)
    with suppress(WireError):
        read_pushed(frame[:place] + noise + frame[place + len(noise) :])


@example(quantity="1" * 600, limit_price=None, action="buy")
@given(quantity=numbers_as_text, limit_price=st.none() | numbers_as_text, action=st.sampled_from(["buy", "hold"]))
def test_every_refusal_can_be_read_by_its_strategy(quantity: str, limit_price: str | None, action: str) -> None:
    """However long or strange the amounts were, the acknowledgement is a message within the wire's limits."""
    harness = ExecutorHarness()
    message = read_pushed(make_frame(quantity=quantity, limit_price=limit_price, action=action))

    if isinstance(message, UnreadableSignal):
        harness.executor.on_unreadable_signal(message, NOW_NS)
    else:
        assert isinstance(message, Signal)
        harness.executor.on_signal(message, NOW_NS)

    for event in harness.events:
        assert isinstance(codec.decode(codec.encode(event)), type(event))
    refusals = harness.events_of(SignalAcknowledged)
    assert [refusal.signal_id for refusal in refusals] == ["client-1-1"] * (not harness.sent)
