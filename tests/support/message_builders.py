"""Numbered messages as a publisher sends them; defaults do not matter."""

from typing import Any

import msgspec
import numpy as np

from common.events.market import TICK_DTYPE, Tick, Ticks
from common.events.system import ChannelHeartbeat
from common.instruments import Instrument
from common.wire import codec

NOW_NS = 1_700_000_000_000_000_000
EPOCH = 1_700_000_000_000
TOPIC = "tick.simulated.BTC/USDT"


def make_tick(seq: int = 1, **changes: Any) -> Tick:
    """The tick with this number."""
    fields: dict[str, Any] = {
        "source": "gateway",
        "epoch": EPOCH,
        "timestamp_ns": NOW_NS + seq,
        "exchange": "simulated",
        "symbol": "BTC/USDT",
        "raw_symbol": "BTCUSDT",
        "local_timestamp_ns": NOW_NS,
        "bid": 99.5,
        "ask": 100.5,
    }
    return Tick(seq=seq, **{**fields, **changes})


def make_ticks(seq: int = 3, count: int = 3, **changes: Any) -> Ticks:
    """A batch whose last tick has this number; `records` are its ticks, all bids 99.5 unless given."""
    records = changes.pop("records", None)
    if records is None:
        records = np.zeros(count, TICK_DTYPE)
        records["bid"] = 99.5
    fields: dict[str, Any] = {
        "source": "gateway",
        "epoch": EPOCH,
        "timestamp_ns": NOW_NS + seq,
        "exchange": "simulated",
        "symbol": "BTC/USDT",
        "raw_symbol": "BTCUSDT",
        "count": count,
        "data": records.tobytes(),
    }
    return Ticks(seq=seq, **{**fields, **changes})


def make_heartbeat(sequences: dict[str, int] | None = None, **changes: Any) -> ChannelHeartbeat:
    """The gateway's heartbeat on the market channel."""
    fields: dict[str, Any] = {
        "source": "gateway",
        "epoch": EPOCH,
        "seq": 1,
        "timestamp_ns": NOW_NS,
        "role": "gateway",
        "channel": "market",
        "sequences": {} if sequences is None else sequences,
    }
    return ChannelHeartbeat(**{**fields, **changes})


def make_instrument(symbol: str = "BTC/USDT", **changes: Any) -> Instrument:
    """An entry of the instrument table; amounts may be given as text."""
    fields: dict[str, Any] = {
        "exchange": "simulated",
        "symbol": symbol,
        "raw_symbol": symbol.replace("/", ""),
        "tick_size": "0.01",
        "lot_size": "0.001",
    }
    return msgspec.convert({**fields, **changes}, Instrument)


def tick_frame(seq: int = 1, **changes: Any) -> bytes:
    """The frame of a tick."""
    return codec.encode(make_tick(seq, **changes))


def heartbeat_frame(sequences: dict[str, int] | None = None, **changes: Any) -> bytes:
    """The frame of a heartbeat."""
    return codec.encode(make_heartbeat(sequences, **changes))
