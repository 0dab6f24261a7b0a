"""From raw updates to numbered ticks: what is refused, what is merged, what is packed, and what is remembered."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gateway_builders import (
    EPOCH,
    LOCAL_NS,
    NOW_NS,
    Broadcast,
    make_depth_snapshot,
    make_depth_update,
    make_quote,
    make_quote_batch,
    make_trade,
    ticks_of,
)

from common.errors import ConfigError
from common.events.base import DRAFT
from common.events.market import (
    LEVELS_PER_SIDE_MAX,
    TICK_DTYPE,
    Bar,
    BookDelta,
    BookSnapshot,
    Quote,
    Tick,
    Ticks,
    Trade,
)
from common.wire.publisher import Publisher
from gateway.feeds.base import QuoteBatch, QuoteUpdate, TradeUpdate, Update
from gateway.normaliser import Normaliser

ETH = {"raw_symbol": "ETHUSDT"}
UNFIT = [math.nan, math.inf, -math.inf, -0.01, 1.1e15]

# Updates as a venue may send them: mostly good, of two listed symbols and one that is not.
amounts = st.floats(0, 1e15) | st.floats(90, 110) | st.sampled_from(UNFIT)
raw_symbols = st.sampled_from(["BTCUSDT", "BTCUSDT", "ETHUSDT", "XRPUSDT"])
local_times = st.integers(NOW_NS - 10**9, NOW_NS + 10**9)  # also from a venue host whose clock is ahead
exchange_times = st.none() | local_times
quotes = st.builds(
    QuoteUpdate, raw_symbols, amounts, amounts, amounts, amounts, local_times, exchange_timestamp_ns=exchange_times
)
trades = st.builds(TradeUpdate, raw_symbols, amounts, amounts, local_times, exchange_timestamp_ns=exchange_times)
groups_of_updates = st.lists(st.lists(quotes | trades, max_size=12), max_size=4)
btc_quotes = st.lists(
    st.builds(
        QuoteUpdate,
        st.just("BTCUSDT"),
        amounts,
        amounts,
        amounts,
        amounts,
        local_times,
        exchange_timestamp_ns=exchange_times,
    ),
    max_size=12,
)


# One update


def test_quote_becomes_a_tick_with_everything_that_is_known() -> None:
    """Who sent it, when it was read and made, and its place in the stream."""
    broadcast = Broadcast()

    broadcast.publish(make_quote(99.5, 100.5, bid_size=1.5, ask_size=2.5, exchange_timestamp_ns=17))

    assert broadcast.take() == [
        Tick(
            source="gateway",
            epoch=EPOCH,
            seq=1,
            timestamp_ns=NOW_NS,
            exchange="simulated",
            symbol="BTC/USDT",
            raw_symbol="BTCUSDT",
            local_timestamp_ns=LOCAL_NS,
            bid=99.5,
            ask=100.5,
            bid_size=1.5,
            ask_size=2.5,
            exchange_timestamp_ns=17,
        )
    ]
    assert broadcast.normaliser.ticks_published == 1


def test_numbers_rise_by_one_with_each_tick_of_an_instrument() -> None:
    """So a hole in them is a loss; each instrument has its own."""
    broadcast = Broadcast(batch_ticks_max=1)

    for update in (make_quote(), make_quote(), make_quote(**ETH), make_trade(), make_quote(**ETH)):
        broadcast.publish(update)

    seqs = [(tick.symbol, tick.seq) for tick in ticks_of(broadcast.take())]
    assert seqs == [("BTC/USDT", 1), ("BTC/USDT", 2), ("ETH/USDT", 1), ("BTC/USDT", 3), ("ETH/USDT", 2)]


def test_trade_is_published_and_then_the_tick_that_it_changes() -> None:
    """Its price and size become the tick's last and volume; bid and ask stay."""
    broadcast = Broadcast()
    broadcast.publish(make_quote(99.5, 100.5))
    broadcast.take()

    broadcast.publish(make_trade(100.25, quantity=0.25, trade_id="t-1", aggressor_side="buy", exchange_timestamp_ns=17))

    trade, tick = broadcast.take()
    assert trade == Trade(
        source="gateway",
        epoch=EPOCH,
        seq=1,
        timestamp_ns=NOW_NS,
        exchange="simulated",
        symbol="BTC/USDT",
        raw_symbol="BTCUSDT",
        local_timestamp_ns=LOCAL_NS,
        price=100.25,
        quantity=0.25,
        aggressor_side="buy",
        trade_id="t-1",
        exchange_timestamp_ns=17,
    )
    assert isinstance(tick, Tick)
    assert (tick.seq, tick.last, tick.volume, tick.bid, tick.ask) == (2, 100.25, 0.25, 99.5, 100.5)
    assert broadcast.count("trades_published") == 1


def test_last_and_volume_of_a_trade_stay_until_the_next() -> None:
    """A quote says nothing about them."""
    broadcast = Broadcast()

    for update in (make_trade(100.25, quantity=0.25), make_quote(99.0, 101.0)):
        broadcast.publish(update)

    first, second = ticks_of(broadcast.take())
    assert (first.bid, first.last) == (None, 100.25)
    assert (second.bid, second.last, second.volume) == (99.0, 100.25, 0.25)


@pytest.mark.parametrize("skew_ns", [5_000_000, -5_000_000])
def test_latency_is_kept_as_it_is_even_where_it_is_negative(skew_ns: int) -> None:
    """The venue's clock may be ahead of ours: that is reported, never clipped."""
    broadcast = Broadcast()

    broadcast.publish(make_quote(local_timestamp_ns=LOCAL_NS, exchange_timestamp_ns=LOCAL_NS + skew_ns))

    (tick,) = ticks_of(broadcast.take())
    assert tick.exchange_timestamp_ns is not None
    assert tick.local_timestamp_ns - tick.exchange_timestamp_ns == -skew_ns


# Refused


@pytest.mark.parametrize("unfit", UNFIT)
@pytest.mark.parametrize("field", ["bid", "ask", "bid_size", "ask_size"])
def test_quote_with_an_amount_that_is_none_is_refused_and_changes_nothing(field: str, unfit: float) -> None:
    """Not even its good fields are taken; the next good update goes on from the state before."""
    broadcast = Broadcast()
    broadcast.publish(make_quote(99.5, 100.5))

    broadcast.publish(make_quote(**{"bid": 1.0, "ask": 2.0, "local_timestamp_ns": 3, field: unfit}))
    broadcast.publish(make_trade())

    before, after = ticks_of(broadcast.take())
    assert (after.bid, after.ask, after.bid_size, after.ask_size) == (99.5, 100.5, 1.5, 2.5)
    assert (before.seq, after.seq, after.local_timestamp_ns) == (1, 2, LOCAL_NS)
    assert broadcast.count("updates_refused") == 1


@pytest.mark.parametrize("unfit", UNFIT)
@pytest.mark.parametrize("field", ["price", "quantity"])
def test_trade_with_an_amount_that_is_none_is_refused_and_changes_nothing(field: str, unfit: float) -> None:
    """No trade is published, and no tick."""
    broadcast = Broadcast()

    broadcast.publish(make_trade(**{field: unfit}))
    nothing = broadcast.take()
    broadcast.publish(make_quote())

    (tick,) = ticks_of(broadcast.take())
    assert (nothing, tick.seq, tick.last, tick.volume) == ([], 1, None, None)
    assert (broadcast.count("updates_refused"), broadcast.count("trades_published")) == (1, 0)


@pytest.mark.parametrize("amount", [0.0, 1e15])
def test_amounts_at_the_ends_of_the_range_are_taken(amount: float) -> None:
    """Venues send 0 for an empty side."""
    broadcast = Broadcast()

    broadcast.publish(make_quote(amount, amount, bid_size=amount, ask_size=amount))

    assert [tick.bid for tick in ticks_of(broadcast.take())] == [amount]


@pytest.mark.parametrize("update", [make_quote(raw_symbol="XRPUSDT"), make_trade(raw_symbol="XRPUSDT")])
def test_update_of_a_symbol_that_is_not_listed_is_counted(update: Update) -> None:
    """A capture may hold more than is traded."""
    broadcast = Broadcast()

    broadcast.publish(update)

    assert (broadcast.take(), broadcast.count("updates_unlisted")) == ([], 1)


def test_exchange_without_instruments_is_a_mistake_of_the_config() -> None:
    """It would run for ever and publish nothing."""
    publisher = Publisher(role="gateway", source="gateway", epoch=1, channel="market", send=lambda _: None)

    with pytest.raises(ConfigError, match="expected at least one of exchange 'binance'; add it to the table"):
        Normaliser("binance", [], publisher, batch_ticks_max=1)


# Batches


def shapes(messages: Sequence[object]) -> list[tuple[str, str, int, int]]:
    """Type, symbol, number and count of each message."""
    return [
        (type(message).__name__, message.symbol, message.seq, message.count if isinstance(message, Ticks) else 1)
        for message in messages
        if isinstance(message, Tick | Ticks | Trade)
    ]


def test_updates_that_were_read_together_leave_as_one_message_per_instrument() -> None:
    """A batch carries the number of its last tick; an instrument with a single tick sends it as one."""
    broadcast = Broadcast()
    broadcast.publish(make_quote())
    broadcast.take()

    broadcast.publish(make_quote(1.0), make_quote(**ETH), make_quote(2.0), make_quote(3.0))

    messages = broadcast.take()
    assert shapes(messages) == [("Ticks", "BTC/USDT", 4, 3), ("Tick", "ETH/USDT", 1, 1)]
    assert [(tick.seq, tick.bid) for tick in ticks_of(messages)] == [(2, 1.0), (3, 2.0), (4, 3.0), (1, 99.5)]
    assert (broadcast.count("batches_published"), broadcast.normaliser.ticks_published) == (1, 5)


def test_updates_that_come_one_by_one_are_sent_one_by_one() -> None:
    """Nobody waits to fill a batch."""
    broadcast = Broadcast()

    for bid in (1.0, 2.0):
        broadcast.publish(make_quote(bid))

    assert shapes(broadcast.take()) == [("Tick", "BTC/USDT", 1, 1), ("Tick", "BTC/USDT", 2, 1)]


def test_batch_has_at_most_the_ticks_that_the_config_allows() -> None:
    """What is over goes into the next message, and a single one that is left is no batch."""
    broadcast = Broadcast(batch_ticks_max=3)

    broadcast.publish(*(make_quote(float(bid)) for bid in range(7)))

    messages = broadcast.take()
    assert shapes(messages) == [("Ticks", "BTC/USDT", 3, 3), ("Ticks", "BTC/USDT", 6, 3), ("Tick", "BTC/USDT", 7, 1)]
    assert [tick.bid for tick in ticks_of(messages)] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_without_batching_every_tick_is_a_message() -> None:
    """For clients that read single ticks only."""
    broadcast = Broadcast(batch_ticks_max=1)

    broadcast.publish(*(make_quote(float(bid)) for bid in range(3)))

    assert [message.seq for message in broadcast.take() if isinstance(message, Tick)] == [1, 2, 3]
    assert broadcast.count("batches_published") == 0


def test_refused_update_leaves_no_hole_in_a_batch() -> None:
    """Numbers are given to what is sent."""
    broadcast = Broadcast()

    broadcast.publish(make_quote(1.0), make_quote(math.nan), make_quote(raw_symbol="XRPUSDT"), make_quote(2.0))

    messages = broadcast.take()
    assert shapes(messages) == [("Ticks", "BTC/USDT", 2, 2)]
    assert [tick.bid for tick in ticks_of(messages)] == [1.0, 2.0]


def test_ticks_of_a_batch_show_the_trades_between_them() -> None:
    """Each has the last price of its own moment; the trades themselves go ahead of the batch."""
    broadcast = Broadcast()

    broadcast.publish(make_quote(1.0), make_trade(5.0), make_quote(2.0), make_trade(6.0))

    messages = broadcast.take()
    assert [type(message) for message in messages] == [Trade, Trade, Ticks]
    assert [(tick.bid, tick.last) for tick in ticks_of(messages)] == [(1.0, None), (1.0, 5.0), (2.0, 5.0), (2.0, 6.0)]


# Whatever the batching: the same ticks


def stream_of(broadcast: Broadcast) -> dict[str, list[Any]]:
    """All that subscribers of single topics see, in order."""
    messages = broadcast.take()
    found: list[Any] = [*ticks_of(messages), *(message for message in messages if isinstance(message, Trade))]
    return {topic: [message for message in found if message.topic() == topic] for topic in {m.topic() for m in found}}


@given(groups_of_updates)
def test_ticks_are_the_same_however_they_are_batched(groups: list[list[Update]]) -> None:
    """Same numbers, same values, same order on every topic; and the same counts."""
    broadcasts = [Broadcast(batch_ticks_max=size) for size in (1, 2, 512)]

    for broadcast in broadcasts:
        for turn, updates in enumerate(groups):
            broadcast.publish(*updates, now_ns=NOW_NS + turn)

    snapshots = [broadcast.normaliser.snapshot() for broadcast in broadcasts]
    counts = [
        (broadcast.normaliser.ticks_published, *map(broadcast.count, ("updates_refused", "updates_unlisted")))
        for broadcast in broadcasts
    ]
    streams = [stream_of(broadcast) for broadcast in broadcasts]
    assert streams[0] == streams[1] == streams[2]
    assert snapshots[0] == snapshots[1] == snapshots[2]
    assert counts[0] == counts[1] == counts[2]
    assert counts[0][0] + counts[0][1] + counts[0][2] == sum(map(len, groups))


@given(before=groups_of_updates, packed=btc_quotes, size=st.sampled_from([1, 2, 5, 512]), after=btc_quotes)
def test_quotes_that_come_as_an_array_give_the_ticks_that_they_would_give_one_by_one(
    before: list[list[Update]], packed: list[QuoteUpdate], size: int, after: list[QuoteUpdate]
) -> None:
    """Whatever was published before and after; the speed of the array must change nothing."""
    one_by_one, as_array = Broadcast(batch_ticks_max=size), Broadcast(batch_ticks_max=size)

    for broadcast in (one_by_one, as_array):
        for updates in before:
            broadcast.publish(*updates)
    one_by_one.publish(*packed, now_ns=NOW_NS + 1)
    as_array.normaliser.publish_batch(make_quote_batch(packed), NOW_NS + 1)
    for broadcast in (one_by_one, as_array):
        broadcast.publish(*after, now_ns=NOW_NS + 2)

    assert stream_of(one_by_one) == stream_of(as_array)
    assert one_by_one.normaliser.snapshot() == as_array.normaliser.snapshot()
    assert one_by_one.count("updates_refused") == as_array.count("updates_refused")
    assert one_by_one.normaliser.ticks_published == as_array.normaliser.ticks_published


def test_array_of_a_symbol_that_is_not_listed_is_counted_tick_by_tick() -> None:
    """As its updates would be."""
    broadcast = Broadcast()

    broadcast.normaliser.publish_batch(make_quote_batch([make_quote()] * 3, "XRPUSDT"), NOW_NS)

    assert (broadcast.take(), broadcast.count("updates_unlisted")) == ([], 3)


def test_array_without_a_good_quote_publishes_nothing() -> None:
    """An empty one too: a feed may have nothing for an instrument."""
    broadcast = Broadcast()

    broadcast.normaliser.publish_batch(make_quote_batch([make_quote(math.nan), make_quote(-1.0)]), NOW_NS)
    broadcast.normaliser.publish_batch(QuoteBatch("BTCUSDT", np.zeros(0, TICK_DTYPE)), NOW_NS)

    assert (broadcast.take(), broadcast.normaliser.snapshot()) == ([], [])
    assert broadcast.count("updates_refused") == 2


# Snapshots


def test_snapshot_holds_the_newest_tick_of_each_topic_under_its_number() -> None:
    """A late joiner goes on from there; trades have no last value, only a number."""
    broadcast = Broadcast()
    broadcast.publish(make_quote(1.0), make_quote(2.0), make_trade(3.0))
    newest = ticks_of(broadcast.take())[-1]

    values = broadcast.normaliser.snapshot()

    assert [(value.topic, value.epoch, value.seq) for value in values] == [
        ("tick.simulated.BTC/USDT", EPOCH, 3),
        ("trade.simulated.BTC/USDT", EPOCH, 1),
    ]
    assert (values[0].tick, values[1].tick) == (newest, None)


def test_snapshot_of_a_silent_gateway_is_empty() -> None:
    """There is no last value before the first."""
    assert Broadcast().normaliser.snapshot() == []


def test_snapshot_takes_no_numbers() -> None:
    """It is an answer, not a message of the stream."""
    broadcast = Broadcast()
    broadcast.publish(make_quote())

    broadcast.normaliser.snapshot()
    broadcast.publish(make_quote())

    assert [tick.seq for tick in ticks_of(broadcast.take())] == [1, 2]
    assert "trade.simulated.BTC/USDT" not in broadcast.publisher.last_sequences()


# Quotes


def take_quotes(broadcast: Broadcast) -> list[tuple[str, float | None]]:
    """Symbol and bid of the quotes that were published."""
    return [(message.symbol, message.bid) for message in broadcast.take() if isinstance(message, Quote)]


def test_sample_publishes_the_newest_prices_with_the_time_of_their_tick() -> None:
    """Who reads it must see how old they are."""
    broadcast = Broadcast()
    broadcast.publish(make_trade(100.0))
    broadcast.publish(make_quote(99.5, 100.5), now_ns=NOW_NS + 5)
    broadcast.take()

    broadcast.normaliser.sample(is_refresh=False)

    assert broadcast.take() == [
        Quote(
            **{**DRAFT, "source": "gateway", "epoch": EPOCH, "seq": 1},
            timestamp_ns=NOW_NS + 5,
            exchange="simulated",
            symbol="BTC/USDT",
            bid=99.5,
            ask=100.5,
            last=100.0,
        )
    ]


def test_sample_publishes_only_what_has_changed_and_a_refresh_everything() -> None:
    """A quiet instrument is not repeated 20 times a second, but 4 times; a silent one never."""
    broadcast = Broadcast()
    rounds = []

    broadcast.publish(make_quote(1.0))
    for is_refresh in (False, False, True):
        broadcast.normaliser.sample(is_refresh=is_refresh)
        rounds.append(take_quotes(broadcast))
    broadcast.publish(make_quote(2.0, **ETH))
    for is_refresh in (False, False, True):
        broadcast.normaliser.sample(is_refresh=is_refresh)
        rounds.append(take_quotes(broadcast))

    btc, eth = ("BTC/USDT", 1.0), ("ETH/USDT", 2.0)
    assert rounds == [[btc], [], [btc], [eth], [], [btc, eth]]


@pytest.mark.parametrize("is_array", [False, True])
def test_first_tick_of_an_instrument_asks_for_a_sample(is_array: bool) -> None:
    """Who decides by quotes should not wait for the next round; later ticks can."""
    broadcast = Broadcast()
    told = [broadcast.normaliser.has_new_instrument]

    for _ in range(2):
        if is_array:
            broadcast.normaliser.publish_batch(make_quote_batch([make_quote()]), NOW_NS)
        else:
            broadcast.publish(make_quote())
        told.append(broadcast.normaliser.has_new_instrument)
        broadcast.normaliser.sample(is_refresh=False)

    assert told == [False, True, False]


def test_depth_is_published_as_events_of_the_book() -> None:
    """A snapshot and a delta under numbers of their own topics; no tick comes of them."""
    broadcast = Broadcast()

    broadcast.publish(make_depth_snapshot(), make_depth_update(exchange_timestamp_ns=7))
    snapshot, delta = broadcast.take()

    assert isinstance(snapshot, BookSnapshot)
    assert (snapshot.symbol, snapshot.update_id, snapshot.bids, snapshot.asks) == (
        "BTC/USDT", 10, [(99.5, 1.0)], [(100.5, 2.0)]
    )  # fmt: skip
    assert isinstance(delta, BookDelta)
    assert (delta.first_update_id, delta.last_update_id, delta.seq) == (11, 12, 1)
    assert (delta.local_timestamp_ns, delta.exchange_timestamp_ns, delta.timestamp_ns) == (LOCAL_NS, 7, NOW_NS)
    assert broadcast.count("books_published") == 2
    assert broadcast.normaliser.ticks_published == 0


@pytest.mark.parametrize(
    "levels",
    [[(math.nan, 1.0)], [(1.0, -1.0)], [(math.inf, 1.0)], [(1.0, 1.0)] * (LEVELS_PER_SIDE_MAX + 1)],
    ids=["NaN", "negative", "infinite", "too many"],
)
def test_depth_with_an_unfit_level_is_refused_whole(levels: list[tuple[float, float]]) -> None:
    """The book shows the hole by its update ids; a level that was left out would show nowhere."""
    broadcast = Broadcast()

    broadcast.publish(make_depth_update(bids=levels), make_depth_update(asks=levels))

    assert broadcast.take() == []
    assert broadcast.count("updates_refused") == 2


def test_snapshot_for_late_joiners_has_the_numbers_of_the_book() -> None:
    """A late joiner must know from which delta on one would be missing."""
    broadcast = Broadcast()

    broadcast.publish(make_depth_update())

    assert [(value.topic, value.seq) for value in broadcast.normaliser.snapshot()] == [
        ("book_delta.simulated.BTC/USDT", 1)
    ]


def test_bars_are_made_of_trades_where_they_are_asked_for() -> None:
    """A tick bar ends with its trade, a time bar when its time is over; quotes are in none."""
    broadcast = Broadcast(bars=["2t", "1s"])
    second_ns = NOW_NS - NOW_NS % 1_000_000_000

    broadcast.publish(make_trade(10.0), make_quote(), make_trade(11.0), now_ns=second_ns)
    ended = [message for message in broadcast.take() if isinstance(message, Bar)]
    broadcast.normaliser.publish_bars(second_ns + 1, is_refresh=True)
    forming = broadcast.take()
    broadcast.normaliser.publish_bars(second_ns + 1_000_000_000, is_refresh=False)
    closed = broadcast.take()

    assert [(bar.interval, bar.open, bar.close, bar.is_closed) for bar in ended] == [("2t", 10.0, 11.0, True)]
    assert [(bar.interval, bar.is_closed) for bar in forming if isinstance(bar, Bar)] == [("1s", False)]
    assert [(bar.interval, bar.trade_count) for bar in closed if isinstance(bar, Bar)] == [("1s", 2)]
    assert broadcast.count("bars_published") == 3
