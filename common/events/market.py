"""Market domain: what the gateway broadcasts. Prices in quote units, sizes in base units, float64, all >= 0."""

from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from common.events.base import Id, ListedMessage, Message, Name, Price, Size, Symbol

TICKS_PER_BATCH_MAX = 4096

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


class Tick(ListedMessage, frozen=True, gc=False, omit_defaults=True, tag="Market.Tick.Received.v1"):
    """The newest best bid and ask, last price and its size, of one instrument; emitted once per venue message.

    `volume` is the size of the trade that set `last`. Positional on purpose: the gateway builds 50 k of them a second.
    """

    kind: ClassVar[str] = "tick"

    raw_symbol: Symbol
    local_timestamp_ns: int
    bid: Price | None = None
    ask: Price | None = None
    bid_size: Size | None = None
    ask_size: Size | None = None
    last: Price | None = None
    volume: Size | None = None
    exchange_timestamp_ns: int | None = None


class Ticks(ListedMessage, frozen=True, gc=False, omit_defaults=True, tag="Market.Ticks.Received.v1"):
    """Several ticks of one instrument that were waiting together, oldest first, on the topic of single ticks.

    Each tick has a number of its own: `seq` is that of the last one, the first has `seq - count + 1`.
    `timestamp_ns` is that of the last one.
    """

    kind: ClassVar[str] = "tick"

    raw_symbol: Symbol
    count: Annotated[int, msgspec.Meta(ge=1, le=TICKS_PER_BATCH_MAX)]
    data: Annotated[bytes, msgspec.Meta(max_length=TICKS_PER_BATCH_MAX * TICK_DTYPE.itemsize)]

    def records(self) -> npt.NDArray[np.void]:
        """The ticks as a read-only record array: shape (count,), dtype `TICK_DTYPE`.

        Raises:
            ValueError: `data` is not `count` records long, or a price or size is negative or infinite.
        """
        records = np.frombuffer(self.data, dtype=TICK_DTYPE)
        if len(records) != self.count:
            raise ValueError(f"ticks of {self.symbol}: expected {self.count} records, was {len(self.data)} bytes")
        amounts = records.view("<f8").reshape(self.count, -1)[:, 3:]
        # Accepts 0 <= x <= 1e15, and NaN, which stands for absent here.
        if not bool(np.all(((amounts >= 0) & (amounts <= 1e15)) | np.isnan(amounts))):
            raise ValueError(f"ticks of {self.symbol}: expected prices and sizes from 0 to 1e15 or NaN for absent")
        return records


class Trade(ListedMessage, frozen=True, gc=False, omit_defaults=True, tag="Market.Trade.Received.v1"):
    """A public trade at the venue. Emitted by the gateway just before the tick that it changes."""

    kind: ClassVar[str] = "trade"

    raw_symbol: Symbol
    local_timestamp_ns: int
    price: Price
    quantity: Size
    aggressor_side: Literal["buy", "sell"] | None = None
    trade_id: Name | None = None
    exchange_timestamp_ns: int | None = None


class SnapshotRequested(
    Message, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Market.Snapshot.Requested.v1"
):
    """A late or gapped subscriber asks the gateway for the last value of each topic."""

    kind: ClassVar[str] = "snapshot_request"

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
    Message, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Market.Snapshot.Reported.v1"
):
    """The gateway's answer: what every topic holds now."""

    kind: ClassVar[str] = "snapshot"

    subscriber: Id
    request_id: Id
    values: list[LastValue]

    def topic(self) -> str:
        return f"{self.kind}.gateway.{self.subscriber}"
