from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.feed_builders import FOREVER_NS, START_NS, drain, make_store_feed
from support.gateway_builders import (
    NOW_NS,
    Broadcast,
    make_depth_snapshot,
    make_depth_update,
    make_quote,
    make_trade,
    ticks_of,
)
from support.message_builders import make_ticks
from support.replay_builders import damage_record, write_log

from common.clock import NS_PER_MS
from common.errors import ConfigError
from common.events.base import DRAFT, Message
from common.events.market import BookDelta, BookSnapshot, Tick, Trade
from common.events.system import ReplayAction, ReplayControlRequested
from common.store.replay.control import obey
from gateway.feeds.base import TickUpdate, TradeUpdate, Update
from gateway.feeds.store import StoreFeed

# Few values, so that prices, sizes and times often are the same.
few = st.integers(1, 3)
updates: st.SearchStrategy[Update] = st.one_of(
    st.builds(
        lambda bid, raw, ns: make_quote(float(bid), raw_symbol=raw, local_timestamp_ns=ns),
        few,
        st.sampled_from(["BTCUSDT", "ETHUSDT"]),
        few,
    ),
    st.builds(
        lambda price, raw, ns: make_trade(float(price), raw_symbol=raw, local_timestamp_ns=ns),
        few,
        st.sampled_from(["BTCUSDT", "ETHUSDT"]),
        few,
    ),
)
groups = st.lists(st.lists(updates, min_size=1, max_size=6), min_size=1, max_size=8)


def broadcast(live: list[list[Update]], *, batch_ticks_max: int = 512) -> list[Message]:
    """What a gateway publishes of groups of updates, a ms apart."""
    gateway = Broadcast(batch_ticks_max=batch_ticks_max)
    for number, group in enumerate(live):
        gateway.publish(*group, now_ns=NOW_NS + number * NS_PER_MS)
    return gateway.take()


def play(path: Path, messages: list[Message], read_max: int = 1_000, **config: Any) -> list[Message]:
    """What a gateway publishes that feeds from a log of these messages."""
    feed = make_store_feed(write_log(path, messages), speed=0.0, **config)
    feed.start(START_NS)
    gateway = Broadcast()
    while group := feed.read(START_NS, read_max):
        gateway.publish(*group, now_ns=START_NS)
    feed.close()
    return gateway.take()


def prices_of(messages: list[Message], symbol: str) -> list[tuple[Any, ...]]:
    """Everything of the ticks of an instrument but their number and the time at which they were made."""
    ticks = [tick for tick in ticks_of(messages) if tick.symbol == symbol]
    return [(*msgspec.structs.astuple(tick)[7:],) for tick in ticks]


def trades_of(messages: list[Message], symbol: str) -> list[tuple[Any, ...]]:
    """The same of its trades."""
    trades = [message for message in messages if isinstance(message, Trade) and message.symbol == symbol]
    return [(*msgspec.structs.astuple(trade)[7:],) for trade in trades]


def books_of(messages: list[Message]) -> list[tuple[Any, ...]]:
    """Everything of the books but their number and the time at which they were made."""
    books = [message for message in messages if isinstance(message, BookSnapshot | BookDelta)]
    return [(type(book), *msgspec.structs.astuple(book)[4:]) for book in books]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    live=groups,
    batch_ticks_max=st.sampled_from([1, 2, 512]),
    read_max=st.sampled_from([1, 3, 1_000]),
    cut=st.integers(0, 3),
)
def test_what_is_played_has_the_prices_of_what_was_recorded(
    tmp_path: Path, live: list[list[Update]], batch_ticks_max: int, read_max: int, cut: int
) -> None:
    """Every tick and trade once, in order, with the same prices, sizes and venue times, wherever the range begins."""
    recorded = broadcast(live, batch_ticks_max=batch_ticks_max)
    stamps = sorted({message.timestamp_ns for message in recorded})
    kept = [message for message in recorded if message.timestamp_ns >= stamps[min(cut, len(stamps) - 1)]]

    played = play(tmp_path / "log", kept, read_max)

    for symbol in ("BTC/USDT", "ETH/USDT"):
        assert prices_of(played, symbol) == prices_of(kept, symbol)
        assert sorted(map(repr, trades_of(played, symbol))) == sorted(map(repr, trades_of(kept, symbol)))


def test_replayed_tick_is_as_new_as_a_live_one(tmp_path: Path) -> None:
    """It is made here and now: its age counts from that, and no strategy finds it stale."""
    recorded = broadcast([[make_quote()]])

    (tick,) = ticks_of(play(tmp_path / "log", recorded))

    assert tick.timestamp_ns == START_NS
    assert tick.local_timestamp_ns == make_quote().local_timestamp_ns


def test_trade_without_a_tick_makes_one(tmp_path: Path) -> None:
    """As in an import of trades alone."""
    trades = [
        message
        for message in broadcast([[make_trade(100.0), make_trade(101.0)], [make_trade(102.0)]])
        if isinstance(message, Trade)
    ]

    played = play(tmp_path / "log", list(trades))

    assert [tick.last for tick in ticks_of(played)] == [100.0, 101.0, 102.0]
    assert len(trades_of(played, "BTC/USDT")) == 3


def test_only_the_exchange_and_the_range_that_are_asked_for_are_played(tmp_path: Path) -> None:
    """Heartbeats, sampled quotes and other exchanges are not."""
    path = tmp_path / "log"
    recorded = broadcast([[make_quote(float(number))] for number in range(1, 6)])
    foreign = [
        msgspec.structs.replace(message, exchange="binance") for message in recorded if isinstance(message, Tick)
    ]

    played = play(path, [*recorded, *foreign], from_time="2023-11-14T22:13:20.001Z", to_time="2023-11-14T22:13:20.003Z")

    assert [tick.bid for tick in ticks_of(played)] == [2.0, 3.0]


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"address": ""}, "set gateway.store.address"),
        ({"address": "jsonl:/nowhere/log:x", "from_time": "soon"}, "ISO 8601"),
        ({"from_time": "2024-01-02", "to_time": "2024-01-01"}, "expected from <= to"),
        ({"exchange": "kraken"}, "expected market data of exchange 'kraken'"),
        ({"from_time": "2031-01-01"}, "in the range, was none; it has"),
        ({"speed": 1e-12}, "expected 0 for as fast as possible"),
    ],
)
def test_feed_that_cannot_play_says_why(tmp_path: Path, config: dict[str, Any], what: str) -> None:
    """With what to change, before anything is broadcast."""
    path = write_log(tmp_path / "log", broadcast([[make_quote()]]))

    with pytest.raises(ConfigError, match=what):
        make_store_feed(path, **config).start(START_NS)


def test_damage_ends_the_feed_after_what_came_before(tmp_path: Path) -> None:
    """Counted, and told when it ends."""
    path = write_log(tmp_path / "log", broadcast([[make_quote(float(bid))] for bid in (1, 2, 3)]))
    damage_record(path, 3)
    feed = make_store_feed(path)
    feed.start(START_NS)

    played = drain(feed)

    assert len(played) == 2
    assert feed.next_due_ns() is None
    assert feed.counters()["feed_truncated"] == 1
    assert "record 3" in str(feed.damage)


books: st.SearchStrategy[Update] = st.one_of(
    st.builds(lambda number: make_depth_update(first_update_id=number, last_update_id=number), st.integers(1, 99)),
    st.builds(lambda number: make_depth_snapshot(update_id=number), st.integers(1, 99)),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(live=st.lists(st.lists(st.one_of(updates, books), min_size=1, max_size=6), min_size=1, max_size=6))
def test_order_books_are_played_whole_and_in_order(tmp_path: Path, live: list[list[Update]]) -> None:
    """Each snapshot and delta once, among the trades where it was; nothing else changes by it."""
    recorded = broadcast(live)

    played = play(tmp_path / "log", recorded)

    assert books_of(played) == books_of(recorded)
    assert prices_of(played, "BTC/USDT") == prices_of(recorded, "BTC/USDT")
    assert len(trades_of(played, "BTC/USDT")) == len(trades_of(recorded, "BTC/USDT"))


def test_book_stays_behind_the_trade_in_front_of_it(tmp_path: Path) -> None:
    """Also where the trade waits for its tick."""
    recorded = broadcast([[make_depth_snapshot(), make_trade(), make_depth_update(), make_quote()]])

    played = play(tmp_path / "log", recorded)

    kinds = [message.kind for message in recorded if message.kind != "quote"]
    assert [message.kind for message in played if message.kind != "quote"] == kinds
    assert kinds[:3] == ["book_snapshot", "trade", "book_delta"]


def test_group_of_ticks_that_is_no_group_is_a_damage(tmp_path: Path) -> None:
    """Its record is named."""
    path = write_log(
        tmp_path / "log", [*broadcast([[make_quote()]]), make_ticks(5, 3, timestamp_ns=NOW_NS + 9, data=b"1")]
    )
    feed = make_store_feed(path)
    feed.start(START_NS)

    assert len(drain(feed)) == 1
    assert "record 2: ticks of BTC/USDT: expected 3 records" in str(feed.damage)


def tell(feed: StoreFeed, now_ns: int, action: ReplayAction, **values: Any) -> None:
    """As the control channel does."""
    request = ReplayControlRequested(**DRAFT, timestamp_ns=0, request_id="r", action=action, **values)
    obey(feed.player, request, now_ns)


def test_feed_is_paused_stepped_moved_and_sped_up_while_it_runs(tmp_path: Path) -> None:
    """A paused feed has not ended: its next update is due in a far future."""
    recorded = broadcast([[make_quote(float(number))] for number in range(1, 6)])
    feed = make_store_feed(write_log(tmp_path / "log", recorded))
    feed.start(START_NS)
    feed.read(START_NS, 10)

    tell(feed, START_NS, ReplayAction.PAUSE)
    paused_due_ns, held = feed.next_due_ns(), feed.read(FOREVER_NS, 10)
    tell(feed, START_NS, ReplayAction.STEP)
    (stepped,) = feed.read(START_NS, 10)
    tell(feed, START_NS, ReplayAction.SEEK, seek_ns=NOW_NS + 3 * NS_PER_MS)
    tell(feed, START_NS, ReplayAction.SPEED, speed=0.5)
    tell(feed, START_NS + 100, ReplayAction.RESUME)
    (sought,) = feed.read(START_NS + 100, 10)

    assert paused_due_ns is not None
    assert paused_due_ns > START_NS + 10**17
    assert list(held) == []
    assert isinstance(stepped, TickUpdate)
    assert isinstance(sought, TickUpdate)
    assert (stepped.bid, sought.bid) == (2.0, 4.0)
    assert feed.next_due_ns() == START_NS + 100 + 2 * NS_PER_MS


def test_lonely_trade_is_an_update_of_its_own(tmp_path: Path) -> None:
    """And is counted, because a gateway's log has none."""
    (trade, *_) = broadcast([[make_trade()]])
    feed = make_store_feed(write_log(tmp_path / "log", [trade]))
    feed.start(START_NS)

    (update,) = feed.read(START_NS, 10)

    assert isinstance(update, TradeUpdate)
    assert feed.counters()["trades_without_tick"] == 1
