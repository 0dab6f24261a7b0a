"""The feed that needs no venue: a seeded market on an open-loop schedule.

Update number n is due at `start + n / rate`, whether or not anybody was fast enough for the ones before it. The same
seed and instruments give the same updates, however they are read.
"""

import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import count as count_from
from itertools import islice

import numpy as np

from common.clock import NS_PER_S, NS_PER_US
from common.errors import ConfigError
from common.events.market import TICK_DTYPE
from common.instruments import Instrument
from gateway.config import SyntheticConfig
from gateway.feeds.base import QuoteBatch, QuoteUpdate, TradeUpdate, Update
from gateway.feeds.synthetic_market import SIDES, MarketBlock, SyntheticMarket

VENUE_DELAY_NS = 200 * NS_PER_US  # a venue in the same city
# Eleven days. Due times must fit 64 bits whatever rate a config asks for.
INTERVAL_NS_MAX = 1e15


class SyntheticFeed:
    """Updates of the instruments of one exchange; those of others in the sequence are left out.

    At rate 0 everything is due at the start, and an update bears the time at which it is read.
    """

    def __init__(self, config: SyntheticConfig, instruments: Sequence[Instrument]) -> None:
        self.exchange = config.exchange
        self._config = config
        self._instruments = [instrument for instrument in instruments if instrument.exchange == config.exchange]
        self._interval_ns = min(NS_PER_S / config.rate, INTERVAL_NS_MAX) if config.rate else 0.0
        self._count = 0
        self._count_end = 0

    @property
    def has_only_quotes(self) -> bool:
        """Whether the config asks for no trades: then `read_packed` may stand in for `read`."""
        return self._config.trade_share == 0

    def start(self, now_ns: int) -> None:
        """Begin the market from its first update; a second start gives the same again.

        Raises:
            ConfigError: The exchange has no instrument, the seed is negative, or a tick or lot size is too long.
        """
        self._check()
        self._market = SyntheticMarket(self._instruments, self._config.seed, self._config.trade_share)
        rounds = self._market.block_count // len(self._instruments)
        self._raw_symbols = [instrument.raw_symbol for instrument in self._instruments] * rounds
        self._start_ns = self._read_ns = now_ns
        self._count = 0
        self._count_end = self._config.tick_count_max or sys.maxsize
        self._open_block()

    def read(self, now_ns: int, count_max: int) -> Sequence[Update]:
        """Hand out the updates that are due by now, oldest first, at most `count_max`."""
        self._read_ns = now_ns
        updates: list[Update] = []
        while count := self._count_ready(now_ns, count_max - len(updates)):
            updates += islice(self._updates, count)
            self._row += count
            self._count += count
        return updates

    def read_packed(self, now_ns: int, count_max: int) -> Sequence[QuoteBatch]:
        """Hand out what `read` would, as arrays: one batch or more per instrument, in order within each instrument.

        Raises:
            RuntimeError: There are trades, which have no place in an array of quotes.
        """
        if not self.has_only_quotes:
            raise RuntimeError("synthetic feed: expected read_packed() only where has_only_quotes; call read()")
        self._read_ns = now_ns
        batches: list[QuoteBatch] = []
        count_end = self._count + count_max
        while count := self._count_ready(now_ns, count_end - self._count):
            batches += self._pack(count)
            self._row += count
            self._count += count
            self._updates = self._make_updates()
        return batches

    def next_due_ns(self) -> int | None:
        """When the next update is due; None after the last one."""
        if self._count >= self._count_end:
            return None
        return self._start_ns + int(self._count * self._interval_ns)

    def counters(self) -> dict[str, int]:
        """How many updates were handed out."""
        return {"feed_updates": self._count}

    def close(self) -> None:
        """End the market."""
        self._count_end = self._count

    def _check(self) -> None:
        if not self._instruments:
            raise ConfigError(
                f"synthetic feed: expected at least one instrument of exchange {self.exchange!r}, was none; "
                f"add one to the instrument table or change the feed's exchange"
            )
        if self._config.seed < 0:
            raise ConfigError(f"synthetic feed: expected a seed of 0 or more, was {self._config.seed}; change the seed")

    def _count_ready(self, now_ns: int, count_max: int) -> int:
        """How many due updates the open block can give; 0 only when none is due, allowed or left."""
        limit = min(count_max, self._count_end - self._count)
        if limit <= 0:
            return 0
        if self._row == len(self._due_ns):
            self._open_block()
        row_end = min(self._row + limit, len(self._due_ns))
        return bisect_right(self._due_ns, now_ns, self._row, row_end) - self._row

    def _open_block(self) -> None:
        self._block = self._market.next_block()
        # The same float64 product and truncation as in next_due_ns(), so both name the same nanosecond.
        numbers = np.arange(self._count, self._count + len(self._raw_symbols))
        self._due_times = self._start_ns + (numbers * self._interval_ns).astype(np.int64)
        self._due_ns: list[int] = self._due_times.tolist()
        self._row = 0
        self._updates = self._make_updates()

    def _make_updates(self) -> Iterator[Update]:
        """Go on with what is left of the open block."""
        local_times = islice(self._due_ns, self._row, None) if self._config.rate else self._read_times()
        return _build_updates(self._block, self._row, self._raw_symbols, local_times, self._count)

    def _read_times(self) -> Iterator[int]:
        while True:
            yield self._read_ns

    def _pack(self, count: int) -> Iterator[QuoteBatch]:
        """Sort the next rows of the open block by instrument."""
        rows = slice(self._row, self._row + count)
        records = np.zeros(count, dtype=TICK_DTYPE)
        records["local_timestamp_ns"] = self._due_times[rows] if self._config.rate else self._read_ns
        records["exchange_timestamp_ns"] = records["local_timestamp_ns"] - VENUE_DELAY_NS
        for field, column in zip(("bid", "ask", "bid_size", "ask_size"), self._block[:4], strict=True):
            records[field] = column.ravel()[rows]
        stride = len(self._instruments)
        for first in range(min(stride, count)):
            # Copied, because the receiver looks at the records as plain numbers, which needs them side by side.
            yield QuoteBatch(self._raw_symbols[self._row + first], records[first::stride].copy())


def _build_updates(
    block: MarketBlock, row: int, raw_symbols: list[str], local_times: Iterator[int], first_number: int
) -> Iterator[Update]:
    """Go on from a row of a block, each update built when it is read: at rate 0 only then is its time known.

    Nothing is converted before the first is read, so packed reads do not pay for it.
    """
    bids, asks, bid_sizes, ask_sizes = (column.ravel()[row:].tolist() for column in block[:4])
    sides = SIDES[block.sides.ravel()[row:]].tolist()
    rows = zip(
        raw_symbols[row:], bids, asks, bid_sizes, ask_sizes, sides, count_from(first_number), local_times, strict=False
    )
    for raw_symbol, bid, ask, bid_size, ask_size, side, number, read_ns in rows:
        venue_ns = read_ns - VENUE_DELAY_NS
        if side is None:
            yield QuoteUpdate(raw_symbol, bid, ask, bid_size, ask_size, read_ns, venue_ns)
        else:
            price = ask if side == "buy" else bid
            yield TradeUpdate(raw_symbol, price, bid_size, read_ns, venue_ns, side, str(number))
