"""Bars from trades or ticks: of a length of time, of a number of trades, of a traded volume. Pure.

The same code makes them live, in replay and in a backtest, one by one or from arrays, to the last bit: what decides is
the messages' own time, never a clock's.

    "5s" "1m" "4h" "1d"   time: from a multiple of the length since 1970 UTC; nothing is told of an empty interval
    "100t"                tick: so many trades or ticks
    "2.5v"                volume: ends with the trade that reaches it, which is not split, so a bar may hold more

A trade that is older than the time bar that forms is `late`: no bar that was told is changed for it. One that is older
than the newest, but inside its bar, is `backward`: it counts, in the order of arrival.
"""

import re
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from common.clock import NS_PER_S
from common.errors import InvalidValueError
from common.events.base import DRAFT
from common.events.market import Bar, Tick, Trade

Times = npt.NDArray[np.int64]
Amounts = npt.NDArray[np.float64]

LENGTH_NS_MAX = 366 * 86_400 * NS_PER_S
_LENGTHS_NS = {"s": NS_PER_S, "m": 60 * NS_PER_S, "h": 3_600 * NS_PER_S, "d": 86_400 * NS_PER_S}
_find_interval = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhdtv])").fullmatch
_WINDOW = 256  # elements looked through at first for the end of a volume bar


class Interval(NamedTuple):
    """What ends a bar: `size` is ns, a number of trades, or base units."""

    name: str
    kind: Literal["time", "tick", "volume"]
    size: float


def parse_interval(text: str) -> Interval:
    """Read an interval, such as `1m`, `100t` or `2.5v`.

    Raises:
        InvalidValueError: It is none.
    """
    match = _find_interval(text)
    unit = match[2] if match else ""
    amount = float(match[1]) if match else 0.0
    is_too_long = amount * _LENGTHS_NS.get(unit, 0) > LENGTH_NS_MAX
    if not amount or is_too_long or (unit != "v" and not amount.is_integer()):
        raise InvalidValueError(
            f"bars {text!r}: expected a length of time such as 5s, 1m, 4h or 1d, up to a year, a number of trades "
            "such as 100t, or a volume such as 2.5v"
        )
    if unit == "v":
        return Interval(text, "volume", amount)
    if unit == "t":
        return Interval(text, "tick", int(amount))
    return Interval(text, "time", int(amount) * _LENGTHS_NS[unit])


class _Forming:
    """The bar in hand."""

    __slots__ = ("close", "count", "end_ns", "high", "low", "newest_ns", "open", "open_ns", "quote_volume", "volume")

    def __init__(self, open_ns: int, end_ns: int | None, newest_ns: int, price: float) -> None:
        self.open_ns = open_ns
        self.end_ns = end_ns  # of a time bar
        self.newest_ns = newest_ns
        self.open = self.high = self.low = self.close = price
        self.volume = self.quote_volume = 0.0
        self.count = 0


class BarBuilder:
    """Makes the bars of one instrument and one interval. They are drafts: who publishes them numbers them."""

    def __init__(self, interval: Interval | str, *, exchange: str, symbol: str) -> None:
        """Begin without a bar.

        Raises:
            InvalidValueError: The interval is none.
        """
        self.interval = parse_interval(interval) if isinstance(interval, str) else interval
        self.late = 0
        self.backward = 0
        self.unpriced = 0  # ticks without any price
        self._exchange = exchange
        self._symbol = symbol
        self._bar: _Forming | None = None
        self._told_until_ns = -(1 << 63)  # time bars up to here were told
        self._is_time = self.interval.kind == "time"
        self._size_ns = int(self.interval.size) if self._is_time else 0

    def add_trade(self, trade: Trade) -> Bar | None:
        """Take a trade; give the bar that it ends, which of a time bar is the one before it."""
        return self.add(trade.timestamp_ns, trade.price, trade.quantity)

    def add_tick(self, tick: Tick) -> Bar | None:
        """Take a tick at its mid price, or at `last` where a side is missing. It has no volume.

        Raises:
            InvalidValueError: The bars are volume bars, which need trades.
        """
        self._refuse_volume()
        if tick.bid is not None and tick.ask is not None:
            return self.add(tick.timestamp_ns, (tick.bid + tick.ask) / 2, 0.0)
        if tick.last is not None:
            return self.add(tick.timestamp_ns, tick.last, 0.0)
        self.unpriced += 1
        return None

    def add_ticks(self, records: npt.NDArray[np.void]) -> list[Bar]:
        """Take ticks as `Ticks.records` has them; the same bars as of `add_tick`, one after the other.

        Raises:
            InvalidValueError: As of `add_tick`.
        """
        self._refuse_volume()
        mids = (records["bid"] + records["ask"]) / 2
        prices = np.where(np.isnan(mids), records["last"], mids)
        is_priced = ~np.isnan(prices)
        self.unpriced += int(len(prices) - is_priced.sum())
        prices = prices[is_priced]
        return self.add_many(records["timestamp_ns"][is_priced], prices, np.zeros(len(prices)))

    def add(self, timestamp_ns: int, price: float, quantity: float) -> Bar | None:
        """Take one price and quantity; give the bar that ended, if one did."""
        ended = None
        if self._is_time:
            if timestamp_ns < self._begin_ns():
                self.late += 1
                return None
            ended = self.advance(timestamp_ns)
        bar = self._bar or self._begin(timestamp_ns, price)
        if timestamp_ns < bar.newest_ns:
            self.backward += 1
        else:
            bar.newest_ns = timestamp_ns
        bar.high, bar.low, bar.close = max(bar.high, price), min(bar.low, price), price
        bar.volume += quantity
        bar.quote_volume += price * quantity
        bar.count += 1
        return self._end() if self._is_full(bar) else ended

    def add_many(self, times: Times, prices: Amounts, quantities: Amounts) -> list[Bar]:
        """Take arrays, each of shape (count,), in the order of arrival; the same bars as of `add`, one by one."""
        if self._is_time:
            return self._add_by_time(times, prices, quantities)
        bars, start = [], 0
        while start < len(times):
            end = self._find_end(quantities, start)
            part = slice(start, end)
            self._extend(times[part], prices[part], quantities[part])
            if self._bar is not None and self._is_full(self._bar):
                bars.append(self._end())
            start = end
        return bars

    def advance(self, now_ns: int) -> Bar | None:
        """Tell that time has come so far: gives a time bar whose interval is over, though no trade came after it.

        What it holds is the same as without; only trades that come after it with an older time are late.
        """
        if self._bar is None or self._bar.end_ns is None or now_ns < self._bar.end_ns:
            return None
        return self._end()

    def forming(self) -> Bar | None:
        """The bar as it stands, not closed; None where there is none."""
        return None if self._bar is None else self._make(self._bar, is_closed=False)

    def _begin_ns(self) -> int:
        """What is older is late."""
        return self._told_until_ns if self._bar is None else self._bar.open_ns

    def _begin(self, timestamp_ns: int, price: float) -> _Forming:
        if self._is_time:
            open_ns = timestamp_ns - timestamp_ns % self._size_ns
            self._bar = _Forming(open_ns, open_ns + self._size_ns, timestamp_ns, price)
        else:
            self._bar = _Forming(timestamp_ns, None, timestamp_ns, price)
        return self._bar

    def _is_full(self, bar: _Forming) -> bool:
        if self._is_time:
            return False
        return (bar.count if self.interval.kind == "tick" else bar.volume) >= self.interval.size

    def _end(self) -> Bar:
        assert self._bar is not None  # noqa: S101  # our own bug
        bar, self._bar = self._bar, None
        if bar.end_ns is not None:
            self._told_until_ns = bar.end_ns
        return self._make(bar, is_closed=True)

    def _make(self, bar: _Forming, *, is_closed: bool) -> Bar:
        close_ns = bar.newest_ns if bar.end_ns is None else bar.end_ns
        return Bar(
            **DRAFT,
            timestamp_ns=close_ns if is_closed else bar.newest_ns,
            exchange=self._exchange,
            symbol=self._symbol,
            bar_kind=self.interval.kind,
            interval=self.interval.name,
            open_timestamp_ns=bar.open_ns,
            close_timestamp_ns=close_ns,
            open=bar.open,
            high=bar.high,
            low=bar.low,
            close=bar.close,
            volume=bar.volume,
            quote_volume=bar.quote_volume,
            trade_count=bar.count,
            is_closed=is_closed,
        )

    def _add_by_time(self, times: Times, prices: Amounts, quantities: Amounts) -> list[Bar]:
        if not len(times):
            return []
        # A time is late where an earlier one has begun a later interval.
        begins = times - times % self._size_ns
        newest_begins = np.maximum.accumulate(np.maximum(begins, self._begin_ns()))
        is_taken = begins >= newest_begins
        self.late += int(len(times) - is_taken.sum())
        times, prices, quantities, begins = times[is_taken], prices[is_taken], quantities[is_taken], begins[is_taken]
        edges = [0, *(np.flatnonzero(np.diff(begins)) + 1).tolist(), len(times)]
        bars = []
        for start, end in pairwise(edges):
            if start == end:
                continue
            if (ended := self.advance(int(times[start]))) is not None:
                bars.append(ended)
            self._extend(times[start:end], prices[start:end], quantities[start:end])
        return bars

    def _find_end(self, quantities: Amounts, start: int) -> int:
        """Behind the element that ends a tick or volume bar; behind the last where none does."""
        bar = self._bar
        if self.interval.kind == "tick":
            return min(len(quantities), start + int(self.interval.size) - (bar.count if bar else 0))
        volume, window = bar.volume if bar else 0.0, _WINDOW
        while start < len(quantities):
            sums = _running_sums(volume, quantities[start : start + window])
            found = np.flatnonzero(sums >= self.interval.size)
            if len(found):
                return start + int(found[0]) + 1
            start, volume, window = start + len(sums), float(sums[-1]), 2 * window
        return len(quantities)

    def _extend(self, times: Times, prices: Amounts, quantities: Amounts) -> None:
        bar = self._bar or self._begin(int(times[0]), float(prices[0]))
        newest = np.maximum.accumulate(np.maximum(times, bar.newest_ns))
        self.backward += int((times < newest).sum())
        bar.newest_ns = int(newest[-1])
        bar.high, bar.low = max(bar.high, float(prices.max())), min(bar.low, float(prices.min()))
        bar.close = float(prices[-1])
        bar.volume = float(_running_sums(bar.volume, quantities)[-1])
        bar.quote_volume = float(_running_sums(bar.quote_volume, prices * quantities)[-1])
        bar.count += len(times)

    def _refuse_volume(self) -> None:
        if self.interval.kind == "volume":
            raise InvalidValueError(f"bars {self.interval.name}: expected trades, ticks have no volume; use add_trade")


def _running_sums(start: float, amounts: Amounts) -> Amounts:
    """What adding one by one gives, bit by bit; `sum` of numpy adds in another order."""
    sums: Amounts = np.add.accumulate(np.concatenate(([start], amounts)))[1:]
    return sums
