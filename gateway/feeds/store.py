"""The feed that plays the event log again: ticks, trades and books that a gateway broadcast, or that were imported.

A stored tick is played whole, with the trade that made it, so what is broadcast has the same prices and sizes in the
same order, wherever in the log it begins.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from common.errors import ConfigError
from common.events.base import Message
from common.events.market import BookDelta, BookSnapshot, Tick, Ticks, Trade
from common.events.packing import unpack_ticks
from common.store.address import open_store
from common.store.config import StoreConfig
from common.store.contract import Store, StoreDamagedError
from common.store.record import Record
from common.store.replay.pacer import Pacer
from common.store.replay.player import Player
from common.store.selection import TIME_NS_MAX, TIME_NS_MIN, Selection
from common.store.times import parse_time_ns
from gateway.config import StoreFeedConfig
from gateway.feeds.base import DepthSnapshot, DepthUpdate, TickUpdate, TradeUpdate, Update

FOREVER_NS = 2**62  # in 2116
PLAYED: frozenset[type[Message]] = frozenset({Tick, Ticks, Trade, BookSnapshot, BookDelta})
Book = BookSnapshot | BookDelta


class Timed(NamedTuple):
    """An update, and when it was broadcast, ns UTC."""

    timestamp_ns: int
    update: Update


class StoreFeed:
    """Updates of one exchange, as far apart as they were broadcast. Paused, stepped and moved through its `player`."""

    def __init__(self, config: StoreFeedConfig, store_config: StoreConfig | None = None) -> None:
        """Take the store's address; nothing is opened yet.

        Raises:
            ConfigError: A time or the speed is none.
        """
        self.exchange = config.exchange
        self._config = config
        self._store_config = store_config
        self._store: Store | None = None
        self._counts: Counter[str] = Counter()
        try:
            selection = Selection(
                from_ns=parse_time_ns(config.from_time) if config.from_time else TIME_NS_MIN,
                to_ns=parse_time_ns(config.to_time) if config.to_time else TIME_NS_MAX,
                types=PLAYED,
                exchange=config.exchange,
            )
            pacer = Pacer(config.speed)
        except ValueError as error:
            raise ConfigError(f"gateway.store: {error}") from error
        self.player: Player[Timed] = Player(self._read, lambda timed: timed.timestamp_ns, selection, pacer)

    @property
    def damage(self) -> str | None:
        """Why the log could not be read to the end of the range; None while nothing is wrong."""
        return str(self.player.error) if self.player.error else None

    def start(self, now_ns: int) -> None:
        """Open the store and find its first update, which is due now.

        Raises:
            ConfigError: There is no such store, or nothing of the market of this exchange in this range.
        """
        self.close()
        self._counts.clear()
        if not self._config.address:
            raise ConfigError("store feed: expected the address of a store, was empty; set gateway.store.address")
        self._store = open_store(self._config.address, self._store_config)
        self.player.start(now_ns)
        if self.player.is_ended:
            described = self._describe_useless()
            self.close()
            raise ConfigError(described)

    def read(self, now_ns: int, count_max: int) -> Sequence[Update]:
        """Hand out the updates that are due by now, oldest first, at most `count_max`."""
        return [timed.update for timed in self.player.take(now_ns, count_max)]

    def next_due_ns(self) -> int | None:
        """When the next update is due, while paused in a far future; None after the last one."""
        if self.player.is_ended:
            return None
        due_ns = self.player.pacer.due_ns()
        return FOREVER_NS if due_ns is None else due_ns

    def counters(self) -> dict[str, int]:
        """What was read and handed out; what was not as a gateway writes it; 1 for a log that could not be read."""
        return {
            "records_read": self._counts["records_read"],
            "updates_played": self.player.count,
            "books_played": self._counts["books_played"],
            "trades_without_tick": self._counts["trades_without_tick"],
            "clock_went_back": self.player.clock_went_back,
            "feed_truncated": int(self.player.error is not None),
            "is_replay": 1,
        }

    def close(self) -> None:
        """Give the store back; updates that were not read are gone."""
        self.player.close()
        if self._store is not None:
            self._store.close()
            self._store = None

    def _read(self, selection: Selection) -> Iterator[Timed]:
        if self._store is None:
            return iter(())  # closed
        return updates_of(self._store.read(selection), self._counts)

    def _describe_useless(self) -> str:
        if self.damage:
            return f"store {self._config.address}: {self.damage}"
        stats = self._store.stats() if self._store else None
        return (
            f"store {self._config.address}: expected market data of exchange {self.exchange!r} in the range, was "
            f"none; it has {stats.types if stats else {}}; change gateway.store.exchange, from_time or to_time"
        )


def updates_of(records: Iterator[Record], counts: Counter[str]) -> Iterator[Timed]:
    """Turn stored ticks, groups of them, trades and books into updates.

    A gateway broadcasts a trade just before the tick that it makes, both under one time. So a trade waits for its tick
    until that time is over; one that has none, as in a log of trades alone, is played by itself and makes a tick. A
    book waits for the trades in front of it, and for nothing else.
    """
    waiting: deque[Trade | Book] = deque()
    for record in records:
        counts["records_read"] += 1
        message = record.message
        ticks = _ticks_of(record)
        begin_ns = ticks[0].timestamp_ns if ticks else message.timestamp_ns
        while waiting and (waiting[0].timestamp_ns < begin_ns or not isinstance(waiting[0], Trade)):
            yield _play_alone(waiting.popleft(), counts)
        if isinstance(message, Book) and not waiting:
            yield _play_alone(message, counts)
        elif isinstance(message, Trade | Book):
            waiting.append(message)
        for tick in ticks:
            made_by = next((each for each in waiting if _has_made(each, tick)), None) if waiting else None
            if made_by is not None:
                waiting.remove(made_by)
            yield Timed(tick.timestamp_ns, _tick_update(tick, made_by if isinstance(made_by, Trade) else None))
    for each in waiting:
        yield _play_alone(each, counts)


def _ticks_of(record: Record) -> list[Tick]:
    message = record.message
    if isinstance(message, Tick):
        return [message]
    if not isinstance(message, Ticks):
        return []
    try:
        return unpack_ticks(message)
    except ValueError as error:
        raise StoreDamagedError(f"record {record.id}: {error}") from error


def _has_made(trade: Trade | Book, tick: Tick) -> bool:
    return (
        isinstance(trade, Trade)
        and trade.symbol == tick.symbol
        and trade.price == tick.last
        and trade.quantity == tick.volume
        and trade.local_timestamp_ns == tick.local_timestamp_ns
        and trade.exchange_timestamp_ns == tick.exchange_timestamp_ns
    )


def _play_alone(message: Trade | Book, counts: Counter[str]) -> Timed:
    if isinstance(message, Trade):
        counts["trades_without_tick"] += 1
        return Timed(message.timestamp_ns, _trade_update(message))
    counts["books_played"] += 1
    return Timed(message.timestamp_ns, _book_update(message))


def _book_update(book: Book) -> DepthSnapshot | DepthUpdate:
    rest = (book.bids, book.asks, book.local_timestamp_ns, book.exchange_timestamp_ns)
    if isinstance(book, BookSnapshot):
        return DepthSnapshot(book.raw_symbol, book.update_id, *rest)
    return DepthUpdate(book.raw_symbol, book.first_update_id, book.last_update_id, *rest)


def _trade_update(trade: Trade) -> TradeUpdate:
    return TradeUpdate(
        trade.raw_symbol,
        trade.price,
        trade.quantity,
        trade.local_timestamp_ns,
        trade.exchange_timestamp_ns,
        trade.aggressor_side,
        trade.trade_id,
    )


def _tick_update(tick: Tick, made_by: Trade | None) -> TickUpdate:
    return TickUpdate(
        tick.raw_symbol,
        tick.bid,
        tick.ask,
        tick.bid_size,
        tick.ask_size,
        tick.last,
        tick.volume,
        tick.local_timestamp_ns,
        tick.exchange_timestamp_ns,
        None if made_by is None else _trade_update(made_by),
    )
