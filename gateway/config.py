"""How the gateway is told what to broadcast and how."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec

from common.bars import parse_interval

Positive = Annotated[int, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class SyntheticConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A seeded market of its own: the same seed gives the same prices."""

    exchange: str = "simulated"
    rate: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 2_000.0  # ticks/s in all; 0 = as fast as possible
    seed: int = 1
    trade_share: Share = 0.15  # of the updates are public trades; in the Binance capture it is 0.18
    tick_count_max: Annotated[int, msgspec.Meta(ge=0)] = 0  # ends after this many; 0 = never


class RecordedConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A capture file of raw Binance combined-stream JSON, plain or gzip."""

    exchange: str = "binance"
    path: str = ""
    speed: Annotated[float, msgspec.Meta(ge=0)] = 1.0  # 1 = original timing, 10 = ten times as fast, 0 = no waiting
    depth: bool = True  # publish the order book, too, where the capture has it


class StoreFeedConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ticks and trades of one exchange in an event log, between two times (ISO 8601, UTC; empty: all there is)."""

    address: str = ""  # such as jsonl:PATH
    exchange: str = "simulated"
    from_time: str = ""
    to_time: str = ""
    speed: Annotated[float, msgspec.Meta(ge=0)] = 1.0  # as of recorded


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where ticks come from and how they are sent."""

    feed: Literal["synthetic", "recorded", "store"] = "synthetic"
    synthetic: SyntheticConfig = msgspec.field(default_factory=SyntheticConfig)
    recorded: RecordedConfig = msgspec.field(default_factory=RecordedConfig)
    store: StoreFeedConfig = msgspec.field(default_factory=StoreFeedConfig)
    batching: bool = True  # pack what already waits; single messages cost several times as much
    batch_ticks_max: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 512
    # drop: a subscriber that cannot follow loses ticks, which it counts, and nobody waits for it: right for a live
    # feed. wait: the feed is held back, up to 1 s a message: right for a file that should arrive whole.
    on_slow_subscriber: Literal["drop", "wait"] = "drop"
    wait_for_subscribers: Annotated[int, msgspec.Meta(ge=0)] = 0  # hold the feed back until so many took a snapshot
    wait_ms_max: Positive = 15_000  # then start anyway
    heartbeat_interval_ms: Positive = 50
    quote_interval_ms: Positive = 50  # newest prices for who does not read every tick, such as the executor
    bars: list[str] = []  # bars of trades, such as "1m", "100t", "2.5v"; each costs 0.6 µs a trade
    bar_interval_ms: Positive = 1_000  # how often a bar that forms is told

    def __post_init__(self) -> None:
        if len(set(self.bars)) < len(self.bars):
            raise ValueError(f"bars: expected each interval once, was {self.bars}")
        for text in self.bars:
            parse_interval(text)


# The keys of [gateway] that an option of the command sets.
OPTION_KEYS: Mapping[str, Sequence[str]] = {
    "feed": ["feed"],
    "path": ["recorded.path"],
    "speed": ["recorded.speed", "store.speed"],
    "store": ["store.address"],
    "from_time": ["store.from_time"],
    "to_time": ["store.to_time"],
    "rate": ["synthetic.rate"],
}
