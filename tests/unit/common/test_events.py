"""Typed events: the batch of ticks, derived names, and the registry."""

import re
from typing import Any

import msgpack
import numpy as np
import pytest
from msgspec.structs import replace
from support.message_builders import EPOCH, make_tick, make_ticks
from support.message_samples import sample_message

from common.events.base import Message
from common.events.market import TICK_DTYPE, TICKS_PER_BATCH_MAX
from common.events.registry import MESSAGE_TYPES, TYPES_BY_NAME, type_name
from common.events.trading import FINAL_STATUSES, OrderStatus
from common.events.upcasting import RETIRED_TYPES
from common.events.venue import SubmitOrder, terms_of
from common.wire.codec import FRAME_BYTES_MAX, encode

each_type = pytest.mark.parametrize("message_type", MESSAGE_TYPES, ids=type_name)


def make_records(**columns: Any) -> np.ndarray[Any, Any]:
    """Three ticks of 99.5 with these columns."""
    records = np.zeros(3, TICK_DTYPE)
    records["bid"] = 99.5
    for name, values in columns.items():
        records[name] = values
    return records


def test_records_of_a_batch_are_read_as_they_were_packed() -> None:
    """No copy, and read-only: a strategy cannot change what the next one sees."""
    packed = make_records(timestamp_ns=[1, 2, 3], ask=[100.0, np.nan, 1e15], bid_size=[0.0, 1.5, np.nan])

    records = make_ticks(records=packed).records()

    assert records.tobytes() == packed.tobytes()
    assert records.shape == (3,)
    assert records.flags.writeable is False


@pytest.mark.parametrize("count", [1, 2, 4, TICKS_PER_BATCH_MAX])
def test_batch_of_another_length_than_its_count_is_refused(count: int) -> None:
    """The count decides about sequence numbers; the bytes must agree with it."""
    ticks = make_ticks(count=count, records=make_records())

    with pytest.raises(ValueError, match=rf"ticks of BTC/USDT: expected {count} records, was 216 bytes"):
        ticks.records()


@pytest.mark.parametrize("length", [1, 71, 73, 215])
def test_batch_that_ends_inside_a_record_is_refused(length: int) -> None:
    """As a ValueError, which every receiver counts."""
    with pytest.raises(ValueError, match=f"expected 3 records, was {length} bytes"):
        make_ticks(data=b"\0" * length).records()


@pytest.mark.parametrize("column", ["bid", "ask", "bid_size", "ask_size", "last", "volume"])
@pytest.mark.parametrize("amount", [-0.01, np.inf, -np.inf, 1.1e15])
def test_batch_with_an_amount_out_of_range_is_refused(column: str, amount: float) -> None:
    """In any column and any record; NaN stands for absent and passes."""
    ticks = make_ticks(records=make_records(**{column: [1.0, 1.0, amount]}))

    with pytest.raises(ValueError, match="expected prices and sizes from 0 to 1e15 or NaN"):
        ticks.records()


def test_newest_tick_of_a_batch_is_the_last_one() -> None:
    """Bid, ask, bid size, ask size, last and volume, without reading the others."""
    ticks = make_ticks(records=make_records(bid=[1.0, 2.0, 3.0], ask=[4.0, 5.0, 6.0], volume=[7.0, 8.0, 9.0]))

    assert ticks.newest() == (3.0, 6.0, 0.0, 0.0, 0.0, 9.0)


@pytest.mark.parametrize("amount", [-0.01, np.inf, -np.inf, 1.1e15])
def test_newest_tick_with_an_amount_out_of_range_is_refused(amount: float) -> None:
    """Only the last tick is looked at; NaN stands for absent and passes."""
    refused = make_ticks(records=make_records(ask=[1.0, 1.0, amount]))
    passed = make_ticks(records=make_records(ask=[amount, 1.0, np.nan]))

    with pytest.raises(ValueError, match="expected prices and sizes from 0 to 1e15 or NaN"):
        refused.newest()
    assert np.isnan(passed.newest()[1])


@pytest.mark.parametrize("length", [0, 1, 47, 215, 217])
def test_newest_tick_of_a_batch_of_another_length_is_refused(length: int) -> None:
    """Also of one that is too short for a single tick."""
    with pytest.raises(ValueError, match=f"expected 3 records, was {length} bytes"):
        make_ticks(data=b"\0" * length).newest()


def test_batch_of_absent_amounts_is_a_batch() -> None:
    """Strange but not wrong, and no warning of numpy's."""
    nothing = dict.fromkeys(TICK_DTYPE.names[3:], np.nan)

    assert len(make_ticks(records=make_records(**nothing)).records()) == 3


def test_largest_batch_fits_into_a_frame() -> None:
    """With room to spare for names of any length."""
    ticks = make_ticks(seq=TICKS_PER_BATCH_MAX, count=TICKS_PER_BATCH_MAX)

    assert 3 * len(encode(ticks)) < FRAME_BYTES_MAX * 3 // 2


def test_event_id_is_derived_from_where_the_message_stands() -> None:
    """Unique for ever, and needs no memory."""
    assert make_tick(seq=4).event_id() == f"gateway:{EPOCH}:tick.simulated.BTC/USDT:4"


def test_repeat_of_a_submission_has_equal_terms() -> None:
    """Whatever its request id and number; another quantity is another order."""
    first = sample_message(SubmitOrder)
    assert isinstance(first, SubmitOrder)

    repeat = replace(first, request_id="other", seq=99, timestamp_ns=1, expires_ns=2)
    other = replace(first, quantity=first.quantity + 1)

    assert terms_of(repeat) == terms_of(first)
    assert terms_of(other) != terms_of(first)


def test_final_statuses_are_those_that_nothing_follows() -> None:
    """UNKNOWN is not among them: the exchange is still being asked."""
    working = {
        OrderStatus.PENDING_NEW,
        OrderStatus.ACCEPTED,
        OrderStatus.PARTIALLY_FILLED,
        OrderStatus.PENDING_CANCEL,
        OrderStatus.PENDING_REPLACE,
        OrderStatus.UNKNOWN,
    }

    assert set(OrderStatus) - FINAL_STATUSES == working


@each_type
def test_type_name_is_domain_entity_action_and_version(message_type: type[Message]) -> None:
    """`Market.Tick.Received.v1`, and so for all."""
    assert re.fullmatch(r"([A-Z][A-Za-z]+\.){3}v[1-9][0-9]*", type_name(message_type))


@each_type
def test_kind_is_a_word_that_a_topic_may_begin_with(message_type: type[Message]) -> None:
    """The topic of a message begins with the kind of its type."""
    message = sample_message(message_type)

    assert re.fullmatch(r"[a-z][a-z0-9_]*", message_type.kind)
    assert message.topic().startswith(f"{message_type.kind}.")


@each_type
def test_type_comes_first_in_the_body(message_type: type[Message]) -> None:
    """A reader of another language may decide by the first key."""
    body = msgpack.unpackb(encode(sample_message(message_type)).partition(b"\0")[2])

    assert next(iter(body.items())) == ("type", type_name(message_type))


@each_type
def test_identity_and_time_are_in_every_message(message_type: type[Message]) -> None:
    """A gap is visible in the message itself."""
    assert message_type.__struct_fields__[:4] == ("source", "epoch", "seq", "timestamp_ns")


def test_type_names_are_unique() -> None:
    """Two types of one name would make the later one unreadable."""
    assert len(TYPES_BY_NAME) == len(MESSAGE_TYPES)


def test_every_tagged_message_is_registered() -> None:
    """A type that is not listed is dropped by every receiver; a retired one is only read."""
    # A private one mirrors a type for a file, and is never sent.
    tagged = {each for each in subclasses(Message) if "." in type_name(each) and not each.__name__.startswith("_")}

    assert tagged == {*MESSAGE_TYPES, *RETIRED_TYPES}


def subclasses(parent: type[Message]) -> set[type[Message]]:
    """All classes below a class."""
    below = set(parent.__subclasses__())
    return below | {deeper for child in below for deeper in subclasses(child)}
