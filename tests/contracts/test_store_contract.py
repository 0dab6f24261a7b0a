"""What every format of the event log promises, the one in memory too."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from support.message_builders import NOW_NS, make_tick, make_ticks
from support.message_samples import sample_message
from support.store_builders import OPENERS

from common.clock import NS_PER_DAY
from common.errors import InvalidValueError
from common.events.base import Message
from common.events.market import Tick, Ticks
from common.events.registry import MESSAGE_TYPES, type_name
from common.store.asynchronous import AsyncStore
from common.store.contract import Store
from common.store.record import Record, why_refused
from common.store.selection import Selection, types_named

OpenStore = Callable[[], Store]


@pytest.fixture(params=OPENERS)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens the same log for writing, again and again; each is closed at the end."""
    opened: list[Store] = []

    def open_again() -> Store:
        for store in opened:
            store.close()
        opened.append(OPENERS[request.param](tmp_path))
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    """An empty log."""
    return open_store()


def messages_of(records: Iterator[Record] | list[Record]) -> list[Message]:
    """What was recorded, without its places."""
    return [record.message for record in records]


def ids_of(records: Iterator[Record] | list[Record]) -> list[int]:
    """The places, in the order in which they are given."""
    return [record.id for record in records]


class TestAppending:
    """Ids, batches, and what comes back."""

    def test_empty_store_has_nothing(self, store: Store) -> None:
        """No record, no time, and no error."""
        assert store.last_id == 0
        assert [*store.read()] == [*store.get_events()] == store.tail(5) == []
        assert store.stats().records == 0
        assert store.stats().first_ns is None

    def test_ids_count_from_one_in_the_order_of_arrival(self, store: Store) -> None:
        """An id is the place in the log; an empty batch takes none."""
        assert store.append(make_tick(1), NOW_NS) == 1
        assert store.append_batch([make_tick(2), make_tick(3)], NOW_NS) == 3
        assert store.append_batch([], NOW_NS) == 3
        assert ids_of(store.get_events()) == [1, 2, 3]

    @pytest.mark.parametrize("message_type", MESSAGE_TYPES, ids=type_name)
    def test_message_of_every_type_comes_back_as_it_was(
        self, store: Store, open_store: OpenStore, message_type: type[Message]
    ) -> None:
        """With all fields and with only those that it must have; to the last byte of the wire."""
        message = sample_message(message_type)
        bare = message_type(
            **{
                field.name: getattr(message, field.name)
                for field in msgspec.structs.fields(message_type)
                if field.required
            }
        )

        store.append_batch([message, bare], NOW_NS)

        expected = [Record(1, NOW_NS, message), Record(2, NOW_NS, bare)]
        assert [*store.get_events()] == expected
        again = store if store.format == "memory" else open_store()
        assert [*again.get_events()] == expected
        # Equality of decimals does not see the zeros behind the point; the wire does.
        encode = msgspec.msgpack.Encoder(decimal_format="string").encode
        assert [encode(found) for found in messages_of(again.get_events())] == [encode(message), encode(bare)]

    def test_groups_of_ticks_stay_groups(self, store: Store) -> None:
        """A strategy that takes groups must replay the same groups."""
        batch = make_ticks(seq=10, count=4)

        store.append_batch([make_tick(6), batch, make_tick(11)], NOW_NS)

        assert messages_of(store.get_events()) == [make_tick(6), batch, make_tick(11)]
        assert store.stats().types == {type_name(Tick): 2, type_name(Ticks): 1}

    def test_log_goes_on_where_it_was_left(self, store: Store, open_store: OpenStore) -> None:
        """The next life numbers on, and the chain goes on."""
        if store.format == "memory":
            pytest.skip("a store in memory ends with its process")
        store.append_batch([make_tick(1), make_tick(2)], NOW_NS)

        again = open_store()
        again.append(make_tick(3), NOW_NS + 1)

        assert ids_of(again.get_events()) == [1, 2, 3]
        assert again.verify().is_whole

    def test_imported_messages_carry_their_own_times(self, store: Store) -> None:
        """Nobody received them: the time of recording is their own."""
        store.append_batch([make_tick(1), make_tick(2)])

        assert [record.recorded_ns for record in store.get_events()] == [NOW_NS + 1, NOW_NS + 2]

    def test_records_of_another_store_keep_their_ids_and_times(self, store: Store) -> None:
        """What retention has removed leaves holes."""
        records = [Record(3, 10, make_tick(1)), Record(4, 10, make_tick(2)), Record(9, 11, make_tick(3))]

        assert store.append_records(records) == 9

        assert [*store.get_events()] == records
        assert store.append(make_tick(4), 12) == 10

    def test_records_of_many_times_come_back_with_each(self, store: Store, open_store: OpenStore) -> None:
        """An import brings a time with every message; days and holes lie between some."""
        days = [(0, 1), (1, 1), (1, 2), (3, 9)]
        records = [
            Record(number * 2_000 + place, NOW_NS + day * NS_PER_DAY + place * step, make_tick(place))
            for number, (day, step) in enumerate(days)
            for place in range(1, 1_201)
        ]

        assert store.append_records(records) == records[-1].id

        assert [*store.get_events()] == records
        again = store if store.format == "memory" else open_store()
        assert [*again.get_events()] == records
        assert again.verify().is_whole

    @pytest.mark.parametrize("timestamp_ns", [2**63, -(2**63) - 1])
    def test_time_of_more_than_63_bits_is_refused(self, store: Store, timestamp_ns: int) -> None:
        """No file has such a number; nothing of the batch is recorded, and one can ask which it is."""
        odd = make_tick(2, timestamp_ns=timestamp_ns)

        for append in (
            lambda: store.append_batch([make_tick(1), odd], NOW_NS),
            lambda: store.append_batch([make_tick(1), odd]),
            lambda: store.append_records([Record(7, NOW_NS, odd)]),
        ):
            with pytest.raises(InvalidValueError, match="expected 64 bits with a sign"):
                append()

        assert store.append(make_tick(1), NOW_NS) == 1
        assert why_refused(make_tick(1)) is None
        assert "expected 64 bits" in (why_refused(odd) or "")

    def test_ids_that_do_not_rise_are_refused(self, store: Store) -> None:
        """A record cannot be written into the past."""
        store.append(make_tick(1), NOW_NS)

        with pytest.raises(ValueError, match="expected an id above 1, was 1"):
            store.append_records([Record(1, NOW_NS, make_tick(2))])


class TestReading:
    """Ranges, filters and orders."""

    def test_range_contains_its_begin_and_not_its_end(self, store: Store) -> None:
        """So that ranges side by side meet each record once."""
        store.append_batch([make_tick(seq) for seq in range(1, 11)], NOW_NS)

        found = store.read(Selection(from_ns=NOW_NS + 3, to_ns=NOW_NS + 6))

        assert ids_of(found) == [3, 4, 5]

    def test_range_with_nothing_in_it_is_empty(self, store: Store) -> None:
        """An empty range is an answer, not an error."""
        store.append(make_tick(1), NOW_NS)

        assert [*store.read(Selection(from_ns=NOW_NS + 2))] == []
        assert [*store.read(Selection(from_ns=NOW_NS, to_ns=NOW_NS))] == []

    def test_from_after_to_is_refused(self) -> None:
        """The mistake is told, instead of an empty answer."""
        with pytest.raises(ValueError, match="expected from <= to"):
            Selection(from_ns=2, to_ns=1)

    def test_filters_by_type_exchange_and_symbol(self, store: Store) -> None:
        """Each alone, and together."""
        store.append_batch(
            [
                make_tick(1),
                make_ticks(4),
                make_tick(1, symbol="ETH/USDT"),
                make_tick(1, exchange="binance"),
                sample_message(next(kind for kind in MESSAGE_TYPES if "exchange" not in kind.__struct_fields__)),
            ],
            NOW_NS,
        )

        assert sorted(ids_of(store.read(Selection(types=types_named(["tick"]))))) == [1, 2, 3, 4]
        assert ids_of(store.read(Selection(types=frozenset({Ticks})))) == [2]
        assert ids_of(store.read(Selection(symbol="ETH/USDT"))) == [3]
        assert ids_of(store.read(Selection(exchange="binance", symbol="BTC/USDT"))) == [4]

    def test_reads_in_the_order_of_time_where_a_clock_went_back(self, store: Store) -> None:
        """By time and then id; the order of arrival stays readable by id."""
        times = [5, 6, 7, 2, 3, 8, 6]
        store.append_batch([make_tick(seq, timestamp_ns=NOW_NS + at) for seq, at in enumerate(times, 1)], NOW_NS)

        assert ids_of(store.read()) == [4, 5, 1, 2, 7, 3, 6]
        assert ids_of(store.get_events()) == [1, 2, 3, 4, 5, 6, 7]

    def test_goes_on_from_an_id(self, store: Store) -> None:
        """Who follows a log asks for what comes next."""
        store.append_batch([make_tick(seq) for seq in range(1, 11)], NOW_NS)

        assert ids_of(store.get_events(8)) == [8, 9, 10]
        assert ids_of(store.get_events(11)) == []

    def test_tail_is_the_newest_oldest_first(self, store: Store) -> None:
        """As `tail -n`."""
        store.append_batch([make_tick(seq) for seq in range(1, 11)], NOW_NS)

        assert ids_of(store.tail(3)) == [8, 9, 10]
        assert ids_of(store.tail(100)) == [*range(1, 11)]
        assert store.tail(0) == []

    def test_stats_tell_what_is_there(self, store: Store) -> None:
        """Counts, ids and times."""
        store.append_batch([make_tick(1), make_ticks(4)], NOW_NS)

        stats = store.stats()

        assert (stats.records, stats.first_id, stats.last_id) == (2, 1, 2)
        assert (stats.first_ns, stats.last_ns) == (NOW_NS + 1, NOW_NS + 4)

    def test_what_was_written_is_whole(self, store: Store) -> None:
        """Verification passes over what nobody touched."""
        store.append_batch([make_tick(seq) for seq in range(1, 101)], NOW_NS)
        store.flush()

        verification = store.verify()

        assert verification.is_whole
        assert (verification.records, verification.last_id) == (100, 100)


def test_types_are_named_by_type_by_kind_and_by_pattern() -> None:
    """What names nothing is an error: a typing mistake must not give an empty answer."""
    assert types_named(["Market.Tick.Received.v1"]) == {Tick}
    assert types_named(["tick"]) == {Tick, Ticks}
    assert {Tick, Ticks} < types_named(["Market.*"])
    with pytest.raises(InvalidValueError, match="type 'tock'"):
        types_named(["tock"])


def test_async_store_keeps_the_contract(open_store: OpenStore) -> None:
    """Each call has the outcome of the plain one, in the order of the calls."""

    async def use() -> None:
        async with AsyncStore(open_store()) as store:
            await store.append_batch([make_tick(seq) for seq in range(1, 2_501)], NOW_NS)
            assert await store.append(make_tick(2_501), NOW_NS) == store.last_id == 2_501
            assert [record.id async for record in store.get_events(2_400)] == [*range(2_400, 2_502)]
            assert [record.id async for record in store.read()] == [*range(1, 2_502)]
            assert ids_of(await store.tail(1)) == [2_501]
            await store.append_records([Record(3_000, NOW_NS, make_tick(2_502))])
            await store.flush()
            assert (await store.verify()).is_whole
            assert (await store.stats()).records == 2_502

    asyncio.run(use())
