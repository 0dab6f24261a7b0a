"""Parquet stores for tests, with records of several types, instruments and days."""

from pathlib import Path

from support.message_builders import NOW_NS, make_heartbeat, make_tick, make_ticks

from common.clock import NS_PER_DAY
from common.events.base import Message
from common.events.market import Quote
from common.store.config import StoreConfig
from common.store.parquet.store import ParquetStore, open_store


def writer(folder: Path, config: StoreConfig | None = None) -> ParquetStore:
    """The store of a test, opened for writing."""
    return open_store(folder / "log", config or StoreConfig(), is_writer=True)


def reader(folder: Path, config: StoreConfig | None = None) -> ParquetStore:
    """The store of a test, opened for reading."""
    return open_store(folder / "log", config or StoreConfig(), is_writer=False)


def make_quote(seq: int, **changes: object) -> Quote:
    """The quote with this number."""
    fields: dict[str, object] = {
        "source": "gateway",
        "epoch": 1,
        "timestamp_ns": NOW_NS + seq,
        "exchange": "simulated",
        "symbol": "BTC/USDT",
        "bid": 99.5,
    }
    return Quote(seq=seq, **{**fields, **changes})  # type: ignore[arg-type]


def mixed_messages(seq: int = 1000, count: int = 100) -> list[Message]:
    """Ticks, groups, quotes and heartbeats of two symbols and two days, in the order of numbers."""
    messages: list[Message] = []
    for number in range(seq, seq + count):
        day_ns = NS_PER_DAY * (number % 50 == 49)
        symbol = "BTC/USDT" if number % 3 else "ETH/USDT"
        match number % 10:
            case 3:
                messages.append(make_ticks(number, symbol=symbol, timestamp_ns=NOW_NS + number + day_ns))
            case 5:
                messages.append(make_quote(number, symbol=symbol))
            case 7:
                messages.append(make_heartbeat({"tick.simulated.BTC/USDT": number}, timestamp_ns=NOW_NS + number))
            case _:
                messages.append(make_tick(number, symbol=symbol, timestamp_ns=NOW_NS + number + day_ns))
    return messages


def fill(folder: Path, *, lives: int = 3) -> list[Message]:
    """Write a store in several lives, so that each place has several files; return what is in it."""
    messages: list[Message] = []
    for life in range(lives):
        with writer(folder) as store:
            part = mixed_messages(1000 + 100 * life)
            store.append_batch(part, NOW_NS)
            messages += part
    return messages


def parquet_files(folder: Path) -> list[Path]:
    """The files of the store of a test."""
    return sorted((folder / "log").rglob("*.parquet"))
