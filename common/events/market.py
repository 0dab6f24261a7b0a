"""Market domain: what the gateway broadcasts. Prices in quote units, sizes in base units, float64, all >= 0."""

import struct
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from common.events.base import Count, Event, Id, ListedMessage, Name, Price, Query, Reply, Size, Symbol

TICKS_PER_BATCH_MAX = 4096
LEVELS_PER_SIDE_MAX = 5_000  # what the deepest snapshot of a large venue holds

# One packed tick, little-endian, 72 bytes. An absent price or size is NaN, an absent exchange time is 0.
TICK_DTYPE = np.dtype(
    [
        ("timestamp_ns", "<i8"),
        ("local_timestamp_ns", "<i8"),
        ("exchange_timestamp_ns", "<i8"),
        ("bid", "<f8"),
        ("ask", "<f8"),
        ("bid_size", "<f8"),
        ("ask_size", "<f8"),
        ("last", "<f8"),
        ("volume", "<f8"),
    ]
)

AMOUNT_MAX = 1e15
_AMOUNTS = struct.Struct("<6d")


class Tick(ListedMessage, Event, frozen=True, gc=False, omit_defaults=True, tag="Market.Tick.Received.v1"):
    """The newest best bid and ask, last price and its size, of one instrument; emitted once per venue message.

    `volume` is the size of the trade that set `last`. Positional on purpose: the gateway builds 50 k of them a second.
    """

    kind: ClassVar[str] = "tick"
    emitters = ("gateway",)

    raw_symbol: Symbol
    local_timestamp_ns: int
    bid: Price | None = None
    ask: Price | None = None
    bid_size: Size | None = None
    ask_size: Size | None = None
    last: Price | None = None
    volume: Size | None = None
    exchange_timestamp_ns: int | None = None


class Ticks(ListedMessage, Event, frozen=True, gc=False, omit_defaults=True, tag="Market.Ticks.Received.v1"):
    """Several ticks of one instrument that were waiting together, oldest first, on the topic of single ticks.

    Each tick has a number of its own: `seq` is that of the last one, the first has `seq - count + 1`.
    `timestamp_ns` is that of the last one.
    """

    kind: ClassVar[str] = "tick"
    emitters = ("gateway",)

    raw_symbol: Symbol
    count: Annotated[int, msgspec.Meta(ge=1, le=TICKS_PER_BATCH_MAX)]
    data: Annotated[bytes, msgspec.Meta(max_length=TICKS_PER_BATCH_MAX * TICK_DTYPE.itemsize)]

    def records(self) -> npt.NDArray[np.void]:
        """The ticks as a read-only record array: shape (count,), dtype `TICK_DTYPE`.

        Raises:
            ValueError: `data` is not `count` records long, or a price or size is negative or infinite.
        """
        self.check_length()
        records = np.frombuffer(self.data, dtype=TICK_DTYPE)
        amounts = np.frombuffer(self.data, dtype="<f8").reshape(self.count, -1)[:, 3:]
        # fmin and fmax pass over NaN, which stands for absent here; where all are absent the result is NaN.
        lowest, highest = np.fmin.reduce(amounts, axis=None), np.fmax.reduce(amounts, axis=None)
        if not (0 <= lowest <= highest <= AMOUNT_MAX or np.isnan(lowest)):
            raise self._out_of_range()
        return records

    def newest(self) -> tuple[float, float, float, float, float, float]:
        """Bid, ask, bid size, ask size, last and volume of the last tick, NaN for absent: 1 µs instead of 6 for all.

        Raises:
            ValueError: As of `records`, for this tick.
        """
        self.check_length()
        amounts = _AMOUNTS.unpack_from(self.data, len(self.data) - _AMOUNTS.size)
        if not all(0 <= amount <= AMOUNT_MAX or amount != amount for amount in amounts):  # noqa: PLR0124  # NaN
            raise self._out_of_range()
        return amounts

    def check_length(self) -> None:
        """Make sure that `data` holds `count` ticks.

        Raises:
            ValueError: It does not.
        """
        if len(self.data) != self.count * TICK_DTYPE.itemsize:
            raise ValueError(f"ticks of {self.symbol}: expected {self.count} records, was {len(self.data)} bytes")

    def _out_of_range(self) -> ValueError:
        return ValueError(f"ticks of {self.symbol}: expected prices and sizes from 0 to 1e15 or NaN for absent")


class Quote(
    ListedMessage, Event, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Market.Quote.Sampled.v1"
):
    """The newest prices of an instrument, 20 times a second while they change and 4 times while not.

    For whoever needs to know the market but not every tick of it. `timestamp_ns` is that of the tick it was taken from.
    """

    kind: ClassVar[str] = "quote"
    emitters = ("gateway",)

    bid: Price | None = None
    ask: Price | None = None
    last: Price | None = None


class Trade(ListedMessage, Event, frozen=True, gc=False, omit_defaults=True, tag="Market.Trade.Received.v1"):
    """A public trade at the venue. Emitted by the gateway just before the tick that it changes."""

    kind: ClassVar[str] = "trade"
    emitters = ("gateway",)

    raw_symbol: Symbol
    local_timestamp_ns: int
    price: Price
    quantity: Size
    aggressor_side: Literal["buy", "sell"] | None = None
    trade_id: Name | None = None
    exchange_timestamp_ns: int | None = None


Levels = Annotated[list[tuple[Price, Size]], msgspec.Meta(max_length=LEVELS_PER_SIDE_MAX)]


class BookSnapshot(ListedMessage, Event, frozen=True, kw_only=True, tag="Market.BookSnapshot.Received.v1"):
    """The order book of an instrument, as deep as the venue gives it: the state that the deltas after it change.

    `bids` and `asks` are pairs of price and size, best first.
    """

    kind: ClassVar[str] = "book_snapshot"
    emitters = ("gateway",)

    raw_symbol: Symbol
    local_timestamp_ns: int
    update_id: Count
    bids: Levels
    asks: Levels
    exchange_timestamp_ns: int | None = None


class BookDelta(ListedMessage, Event, frozen=True, kw_only=True, tag="Market.BookDelta.Received.v1"):
    """Levels of an order book that changed; size 0 takes a level away. It follows a snapshot, or another delta.

    The next delta's `first_update_id` is one above this `last_update_id`; else something was lost, and only a new
    snapshot helps.
    """

    kind: ClassVar[str] = "book_delta"
    emitters = ("gateway",)

    raw_symbol: Symbol
    local_timestamp_ns: int
    first_update_id: Count
    last_update_id: Count
    bids: Levels
    asks: Levels
    exchange_timestamp_ns: int | None = None


class Bar(ListedMessage, Event, frozen=True, kw_only=True, tag="Market.Bar.Updated.v1"):
    """Open, high, low and close of an interval: told while it forms, and once more, with `is_closed`, when it ends.

    The interval of a time bar begins at `open_timestamp_ns` and ends before `close_timestamp_ns`; of a tick or volume
    bar these are the times of the first and the newest trade in it.
    """

    kind: ClassVar[str] = "bar"
    emitters = ("gateway",)

    bar_kind: Literal["time", "tick", "volume"]
    interval: Name
    open_timestamp_ns: int
    close_timestamp_ns: int
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Size
    quote_volume: Size | None = None
    trade_count: Count
    is_closed: bool


class SnapshotRequested(
    Query, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Market.Snapshot.Requested.v1"
):
    """A late or gapped subscriber asks the gateway for the last value of each topic."""

    kind: ClassVar[str] = "snapshot_request"
    emitters = ("strategy", "recorder")
    answer = "snapshot"

    subscriber: Id
    request_id: Id

    def topic(self) -> str:
        return f"{self.kind}.gateway.{self.subscriber}"


class LastValue(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The newest state of one topic: its epoch, its number, and the tick where the topic is one of ticks."""

    topic: Annotated[str, msgspec.Meta(max_length=160)]
    epoch: int
    seq: int
    tick: Tick | None = None


class SnapshotReported(
    Reply, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Market.Snapshot.Reported.v1"
):
    """The gateway's answer: what every topic holds now."""

    kind: ClassVar[str] = "snapshot"
    emitters = ("gateway",)

    subscriber: Id
    request_id: Id
    values: list[LastValue]

    def topic(self) -> str:
        return f"{self.kind}.gateway.{self.subscriber}"
