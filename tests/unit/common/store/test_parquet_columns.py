"""Every message comes back from columns to the byte, also those that columns cannot hold."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.message_builders import NOW_NS, make_tick, make_ticks
from support.message_samples import sample_message
from support.parquet_builders import make_quote, reader, writer

from common.events.base import Message
from common.events.market import TICK_DTYPE, Tick, Ticks, Trade
from common.events.portfolio import BalanceUpdated
from common.events.trading import Signal
from common.store.parquet.columns import columns_of, place_of
from common.store.parquet.shapes import PADDING, find_messages, shaped
from common.store.parquet.tables import Tables, messages_of
from common.store.parquet.ticks import numbers_of, starts_of
from common.store.parquet.wal import encode_batch, read_batches
from common.store.record import Record
from common.wire.codec import encode_body


def through_tables(messages: list[Message]) -> list[bytes]:
    """Messages as the wire has them, after a way through batches and tables."""
    pieces, _ = encode_batch(b"", 1, NOW_NS, messages)
    content = b"".join(pieces)
    tables = Tables()
    tables.add(list(read_batches(Path("wal"), b"TPWAL 1 store\n" + content, "store")))
    found: dict[int, bytes] = {}
    for part in tables.parts():
        ids = numbers_of(part.table["id"])
        ids = ids[starts_of(ids)]
        found |= zip(ids.tolist(), map(encode_body, messages_of(part.place, part.table)), strict=True)
    return [found[number] for number in sorted(found)]


@pytest.mark.parametrize("text", ["0.50", "1E+3", "-0.00", "123456789012345678901234.5", "0E-8", "1e-20", "7"])
def test_decimal_comes_back_as_it_was_written(text: str) -> None:
    """With its zeros; one that no column holds, as bytes."""
    message = sample_message(Signal)
    assert isinstance(message, Signal)
    changed = type(message)(
        **{name: getattr(message, name) for name in message.__struct_fields__ if name != "quantity"},
        quantity=Decimal(text),
    )

    assert through_tables([changed, message]) == [encode_body(changed), encode_body(message)]


def test_whole_number_of_64_bits_comes_back() -> None:
    """No column of this type holds it, so the row has the wire's bytes."""
    messages: list[Message] = [
        make_tick(2**63 + 5, timestamp_ns=NOW_NS),
        *(make_tick(number) for number in range(200, 300)),
    ]

    assert through_tables(messages) == [encode_body(message) for message in messages]


def test_only_odd_rows_are_bytes() -> None:
    """One odd message makes no others opaque."""
    messages = [sample_message(BalanceUpdated)] * 3
    odd = make_quote(2**63, timestamp_ns=0)

    table = columns_of(type(odd)).table([1, 2], [0, 0], [make_quote(5), odd])

    assert table["frame"].null_count == 1
    assert columns_of(BalanceUpdated).table([1, 2, 3], [0] * 3, messages)["frame"].null_count == 3
    assert [*columns_of(type(odd)).messages(table, *place_of(odd))] == [make_quote(5), odd]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.one_of(
            st.builds(
                make_tick,
                st.integers(0, 2**64 - 1),
                timestamp_ns=st.integers(-(2**63), 2**63 - 1),
                symbol=st.sampled_from(["BTC/USDT", "ä\u00e4type", "ETH/USDT"]),
                bid=st.one_of(st.none(), st.floats(0, 1e15)),
                ask=st.one_of(st.none(), st.just(0.0), st.just(-0.0)),
                exchange_timestamp_ns=st.one_of(st.none(), st.integers(-(2**62), 2**62)),
            ),
            st.builds(make_ticks, st.integers(5, 2**40), st.integers(1, 5)),
            st.builds(make_quote, st.integers(0, 2**33), last=st.one_of(st.none(), st.floats(0, 1e15))),
        ),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 30),
)
def test_hot_messages_come_back_whatever_their_shapes(messages: list[Message], times: int) -> None:
    """Read as arrays where many are alike, one by one where not: always to the byte."""
    repeated = messages * times

    assert through_tables(repeated) == [encode_body(message) for message in repeated]


def test_alike_messages_are_read_as_arrays() -> None:
    """The quick way is really taken: none of these is left to be read one by one."""
    messages = [
        Trade("g", 1, 1000 + n, NOW_NS + n, "x", "y", "z", n + 300, 1.5, n / 2, "buy", f"t{n:03}") for n in range(500)
    ]
    body = encode_body(messages)  # type: ignore[arg-type]
    starts = find_messages(body)

    found = list(shaped(body + PADDING, starts, np.append(starts[1:], len(body))))

    assert sum(len(shape.rows) for shape in found) == 500
    assert all(shape.message_type is Trade for shape in found)


def test_shapes_of_one_length_are_told_apart() -> None:
    """Ticks with a bid only and with an ask only are as long as each other."""
    messages: list[Message] = [
        make_tick(1000 + number, bid=None) if number % 2 else make_tick(1000 + number, ask=None)
        for number in range(200)
    ]
    body = encode_body(messages)  # type: ignore[arg-type]
    starts = find_messages(body)

    found = list(shaped(body + PADDING, starts, np.append(starts[1:], len(body))))

    assert sorted(len(shape.rows) for shape in found) == [100, 100]
    assert through_tables(messages) == [encode_body(message) for message in messages]


def test_group_keeps_every_bit_of_its_data() -> None:
    """Unusual NaN, negative zero, absent times; and a group whose data is not what it says."""
    records = np.zeros(3, TICK_DTYPE)
    records["bid"] = [np.nan, -0.0, 5]
    records["ask"] = np.array([0x7FF8000000000001, 0xFFF8000000000000, 1], "<u8").view("<f8")
    malformed = make_ticks(9, count=2)
    wrong = Ticks(*(getattr(malformed, name) for name in malformed.__struct_fields__[:-1]), malformed.data[:-5])

    messages: list[Message] = [make_ticks(8, count=3, records=records), wrong, make_ticks(2, count=3), malformed]

    assert through_tables(messages) == [encode_body(message) for message in messages]


def test_places_with_unusual_names_are_kept_apart(tmp_path: Path) -> None:
    """A symbol is anything of 48 characters: slashes, dots, percent signs, none at all; folders hold no more."""
    symbols = ["..", "a%2Fb", "a/b", "\U0001f600" * 48, "\U0001f600" * 47 + "x", "__EMPTY__", " "]
    messages = [make_tick(number, symbol=symbol) for number, symbol in enumerate(symbols, 1)]
    messages.append(make_tick(99, exchange=""))
    with writer(tmp_path) as store:
        store.append_batch(messages, NOW_NS)

    found = [*reader(tmp_path).get_events()]

    assert found == [Record(number, NOW_NS, message) for number, message in enumerate(messages, 1)]
    assert type(found[0].message) is Tick
