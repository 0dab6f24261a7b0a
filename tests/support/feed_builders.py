"""Feeds, instruments and capture lines for tests, with defaults that do not matter."""

import gzip
import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from common.instruments import Instrument
from gateway.config import RecordedConfig, StoreFeedConfig, SyntheticConfig
from gateway.feeds.base import Feed, Update
from gateway.feeds.recorded import RecordedFeed
from gateway.feeds.store import StoreFeed
from gateway.feeds.synthetic import SyntheticFeed

START_NS = 1_800_000_000_000_000_000
FOREVER_NS = 1 << 62
# Receive time of a capture's first line: the past, seen from START_NS.
CAPTURED_NS = 1_723_161_600_000_000_000


def make_instrument(
    symbol: str = "BTC/USDT", *, exchange: str = "simulated", tick_size: str = "0.01", lot_size: str = "0.00001"
) -> Instrument:
    """Describe a spot pair."""
    return Instrument(
        exchange=exchange,
        symbol=symbol,
        raw_symbol=symbol.replace("/", ""),
        tick_size=Decimal(tick_size),
        lot_size=Decimal(lot_size),
    )


def make_synthetic_feed(
    *instruments: Instrument,
    rate: float = 1_000.0,
    seed: int = 1,
    trade_share: float = 0.15,
    tick_count_max: int = 0,
) -> SyntheticFeed:
    """Make a feed that is not started; of one instrument unless told."""
    config = SyntheticConfig(rate=rate, seed=seed, trade_share=trade_share, tick_count_max=tick_count_max)
    return SyntheticFeed(config, instruments or [make_instrument()])


def make_recorded_feed(path: Path, *, speed: float = 1.0) -> RecordedFeed:
    """Make a feed that is not started."""
    return RecordedFeed(RecordedConfig(path=str(path), speed=speed))


def make_store_feed(path: Path, **changes: Any) -> StoreFeed:
    """Make a feed of a log that is not started."""
    return StoreFeed(StoreFeedConfig(**{"address": f"jsonl:{path}", **changes}))


def make_line(stream: str, payload: object, local_ns: int = CAPTURED_NS) -> bytes:
    """Write any capture line, without its line feed."""
    return b"%d %s" % (local_ns, json.dumps({"stream": stream, "data": payload}).encode())


def make_quote_line(local_ns: int = CAPTURED_NS, *, bid: str = "99.5", ask: str = "100.5") -> bytes:
    """Write a bookTicker message as Binance writes it."""
    payload = {"u": 1, "s": "BTCUSDT", "b": bid, "B": "2.00000000", "a": ask, "A": "3.00000000"}
    return make_line("btcusdt@bookTicker", payload, local_ns)


def make_trade_line(local_ns: int = CAPTURED_NS, **changes: object) -> bytes:
    """Write a trade message as Binance writes it; `changes` by Binance's letters."""
    payload = {
        "e": "trade",
        "E": 1723161601438,
        "s": "BTCUSDT",
        "t": 3735693016,
        "p": "61685.99000000",
        "q": "0.00017000",
        "T": 1723161601437,
        "m": True,
        "M": True,
    }
    return make_line("btcusdt@trade", payload | changes, local_ns)


def make_unused_line(local_ns: int = CAPTURED_NS) -> bytes:
    """Write a message of a stream that the gateway does not use."""
    return make_line("btcusdt@kline_1m", {"e": "kline", "s": "BTCUSDT", "k": {}}, local_ns)


def make_depth_line(local_ns: int = CAPTURED_NS, **changes: object) -> bytes:
    """Write a depth update as Binance writes it; `changes` by Binance's letters."""
    payload = {
        "e": "depthUpdate",
        "E": 1723161601273,
        "s": "BTCUSDT",
        "U": 11,
        "u": 13,
        "b": [["99.50000000", "2.00000000"], ["98.00000000", "0.00000000"]],
        "a": [["100.50000000", "3.00000000"]],
    }
    return make_line("btcusdt@depth@100ms", payload | changes, local_ns)


def write_capture(path: Path, lines: Iterable[bytes], *, is_gzip: bool = False) -> Path:
    """Write lines to a file, each with a line feed."""
    content = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content) if is_gzip else content)
    return path


def drain(feed: Feed, now_ns: int = FOREVER_NS, count_max: int = 1_000) -> list[Update]:
    """Read everything that is due by a time, in reads of at most `count_max`."""
    updates: list[Update] = []
    while part := feed.read(now_ns, count_max):
        updates += part
    return updates
