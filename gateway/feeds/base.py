"""What a feed is: something that is asked, at a time, for the updates that are due by then."""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec
import numpy as np
import numpy.typing as npt


class QuoteUpdate(msgspec.Struct, frozen=True, gc=False):
    """A new best bid and ask as the venue sent it, unchecked. Prices in quote units, sizes in base units.

    `local_timestamp_ns` is when it was, or was to be, read from the venue's socket.
    """

    raw_symbol: str
    bid: float
    ask: float
    bid_size: float
    ask_size: float
    local_timestamp_ns: int
    exchange_timestamp_ns: int | None = None
    update_id: int | None = None  # of the order book that it was taken from, where the venue says so


class TradeUpdate(msgspec.Struct, frozen=True, gc=False):
    """A public trade as the venue sent it, unchecked."""

    raw_symbol: str
    price: float
    quantity: float
    local_timestamp_ns: int
    exchange_timestamp_ns: int | None = None
    aggressor_side: Literal["buy", "sell"] | None = None
    trade_id: str | None = None


class TickUpdate(msgspec.Struct, frozen=True, gc=False):
    """A whole tick as a gateway once broadcast it, checked then, and the trade that made it, if one did."""

    raw_symbol: str
    bid: float | None
    ask: float | None
    bid_size: float | None
    ask_size: float | None
    last: float | None
    volume: float | None
    local_timestamp_ns: int
    exchange_timestamp_ns: int | None = None
    trade: TradeUpdate | None = None


Levels = list[tuple[float, float]]  # price and size


class DepthUpdate(msgspec.Struct, frozen=True, gc=False):
    """Levels of the order book that changed, as the venue sent them, unchecked; size 0 takes a level away.

    It holds the book's updates from the first to the last id; the next one goes on with the id after it.
    """

    raw_symbol: str
    first_update_id: int
    last_update_id: int
    bids: Levels
    asks: Levels
    local_timestamp_ns: int
    exchange_timestamp_ns: int | None = None


class DepthSnapshot(msgspec.Struct, frozen=True, gc=False):
    """The whole order book, as deep as the venue gives it, unchecked. Best prices first."""

    raw_symbol: str
    update_id: int
    bids: Levels
    asks: Levels
    local_timestamp_ns: int
    exchange_timestamp_ns: int | None = None


Update = QuoteUpdate | TradeUpdate | TickUpdate | DepthUpdate | DepthSnapshot


class QuoteBatch(msgspec.Struct, frozen=True, gc=False):
    """Quotes of one instrument as an array: shape (count,), dtype `TICK_DTYPE`, oldest first, writable.

    The gateway fills in `timestamp_ns`, `last` and `volume`.
    """

    raw_symbol: str
    records: npt.NDArray[np.void]


class Feed(Protocol):
    """A source of raw updates of one exchange. It neither sleeps nor reads a clock: the service does both."""

    exchange: str

    def start(self, now_ns: int) -> None:
        """Open what must be opened; the schedule counts from this time.

        Raises:
            ConfigError: The source cannot be opened.
        """
        ...

    def read(self, now_ns: int, count_max: int) -> Sequence[Update]:
        """The updates that are due by now, oldest first, at most `count_max`; the rest stays for the next call."""
        ...

    def next_due_ns(self) -> int | None:
        """When the next update is due; None when there will be none: the feed has ended."""
        ...

    def counters(self) -> dict[str, int]:
        """What was read, skipped and why, by name."""
        ...

    def close(self) -> None:
        """Give back files and connections. Safe to repeat."""
        ...


@runtime_checkable
class PackedFeed(Feed, Protocol):
    """A feed that has its quotes as arrays already."""

    @property
    def has_only_quotes(self) -> bool:
        """Tell whether `read_packed` may stand in for `read`: there are no trades to put in order between quotes."""
        ...

    def read_packed(self, now_ns: int, count_max: int) -> Sequence[QuoteBatch]:
        """The same updates that `read` would give, as arrays."""
        ...
