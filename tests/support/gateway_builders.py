"""Raw updates for the normaliser, and an ear on what it publishes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from support.feed_builders import make_instrument

from common.bars import parse_interval
from common.events.base import Message
from common.events.market import TICK_DTYPE, Tick, Ticks
from common.wire.publisher import Publisher
from common.wire.subscriber import Subscriber
from gateway.feeds.base import DepthSnapshot, DepthUpdate, QuoteBatch, QuoteUpdate, TradeUpdate, Update
from gateway.normaliser import Normaliser

NOW_NS = 1_700_000_000_000_000_000
LOCAL_NS = NOW_NS - 1_000
EPOCH = 5
BTC = make_instrument("BTC/USDT")
ETH = make_instrument("ETH/USDT")


class Broadcast:
    """A normaliser, and all messages that a subscriber made of its frames."""

    def __init__(self, *, batch_ticks_max: int = 512, bars: Sequence[str] = ()) -> None:
        self.messages: list[Message] = []
        self.publisher = Publisher(role="gateway", source="gateway", epoch=EPOCH, channel="market", send=self._receive)
        self._subscriber = Subscriber(["*"])
        self.normaliser = Normaliser(
            "simulated",
            [BTC, ETH],
            self.publisher,
            batch_ticks_max=batch_ticks_max,
            bars=[parse_interval(text) for text in bars],
        )

    def publish(self, *updates: Update, now_ns: int = NOW_NS) -> None:
        """Updates that were read together."""
        self.normaliser.publish(updates, now_ns)

    def take(self) -> list[Message]:
        """What was published since the last time."""
        messages, self.messages = self.messages, []
        return messages

    def count(self, name: str) -> int:
        """One of the counters."""
        return self.normaliser.counts[name]

    def _receive(self, frame: bytes) -> None:
        message = self._subscriber.accept(frame)
        assert message is not None, f"a subscriber dropped a frame: {self._subscriber.counters()}"
        self.messages.append(message)


def make_quote(bid: float = 99.5, ask: float = 100.5, **changes: Any) -> QuoteUpdate:
    """A new best bid and ask of BTC."""
    fields: dict[str, Any] = {
        "raw_symbol": "BTCUSDT",
        "bid": bid,
        "ask": ask,
        "bid_size": 1.5,
        "ask_size": 2.5,
        "local_timestamp_ns": LOCAL_NS,
    }
    return QuoteUpdate(**{**fields, **changes})


def make_trade(price: float = 100.25, **changes: Any) -> TradeUpdate:
    """A public trade of BTC."""
    fields: dict[str, Any] = {
        "raw_symbol": "BTCUSDT",
        "price": price,
        "quantity": 0.25,
        "local_timestamp_ns": LOCAL_NS,
    }
    return TradeUpdate(**{**fields, **changes})


def make_depth_update(**changes: Any) -> DepthUpdate:
    """Changed levels of BTC's book, after `make_depth_snapshot`."""
    fields: dict[str, Any] = {
        "raw_symbol": "BTCUSDT",
        "first_update_id": 11,
        "last_update_id": 12,
        "bids": [(99.5, 0.0), (99.0, 4.0)],
        "asks": [],
        "local_timestamp_ns": LOCAL_NS,
    }
    return DepthUpdate(**{**fields, **changes})


def make_depth_snapshot(**changes: Any) -> DepthSnapshot:
    """BTC's book, one level a side."""
    fields: dict[str, Any] = {
        "raw_symbol": "BTCUSDT",
        "update_id": 10,
        "bids": [(99.5, 1.0)],
        "asks": [(100.5, 2.0)],
        "local_timestamp_ns": LOCAL_NS,
    }
    return DepthSnapshot(**{**fields, **changes})


def make_quote_batch(quotes: Sequence[QuoteUpdate], raw_symbol: str = "BTCUSDT") -> QuoteBatch:
    """The same quotes as an array."""
    records = np.zeros(len(quotes), TICK_DTYPE)
    for record, quote in zip(records, quotes, strict=True):
        for name in ("bid", "ask", "bid_size", "ask_size", "local_timestamp_ns"):
            record[name] = getattr(quote, name)
        record["exchange_timestamp_ns"] = quote.exchange_timestamp_ns or 0
    return QuoteBatch(raw_symbol, records)


def ticks_of(messages: Sequence[Message]) -> list[Tick]:
    """All ticks, alone or packed, each with the number that it has in its stream."""
    ticks: list[Tick] = []
    for message in messages:
        if isinstance(message, Tick):
            ticks.append(message)
        elif isinstance(message, Ticks):
            first_seq = message.seq - message.count + 1
            ticks += [_unpack(message, first_seq + row, record) for row, record in enumerate(message.records())]
    return ticks


def _unpack(batch: Ticks, seq: int, record: npt.NDArray[np.void]) -> Tick:
    names = ("bid", "ask", "bid_size", "ask_size", "last", "volume")
    amounts = {name: None if math.isnan(record[name]) else float(record[name]) for name in names}
    return Tick(
        source=batch.source,
        epoch=batch.epoch,
        seq=seq,
        timestamp_ns=int(record["timestamp_ns"]),
        exchange=batch.exchange,
        symbol=batch.symbol,
        raw_symbol=batch.raw_symbol,
        local_timestamp_ns=int(record["local_timestamp_ns"]),
        exchange_timestamp_ns=int(record["exchange_timestamp_ns"]) or None,
        **amounts,
    )
