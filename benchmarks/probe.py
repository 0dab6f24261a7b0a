"""The strategies that the pipeline is measured with. They do nothing but count, so what is measured is the way to them.

Unlike a strategy for trading they write files and read a clock: that is how a benchmark hears of its result.
"""

from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from common.clock import SystemClock
from common.events.market import Tick
from common.instruments import Instrument
from strategy.base import Strategy
from strategy.outbox import OutboxFullError

QUANTITY = 0.001  # 60 USDT: enough for a venue's minimum, little enough to be filled from what is shown
LOT_SIZE = 0.00001
QUANTITIES = 2_000
RESTING_EVERY = 4
RESTING_PRICE = 0.98  # of the bid: far from a fill, within a price collar of 5 %


class OrderEvery(Strategy):
    """An order for each n-th tick, alternately a buy and a sell, at the price shown on the other side."""

    class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """What a run asks for."""

        signal_every: int
        warm_up_ticks: int

    def on_start(self) -> None:
        self._count = 0
        self._signal_every = self.parameters.signal_every

    def on_tick(self, tick: Tick) -> None:
        self._count += 1
        if not self._count % self._signal_every:
            self._order(tick)

    def _order(self, tick: Tick) -> None:
        is_warm = self._count > self.parameters.warm_up_ticks
        # From when the tick was due, not from when the gateway got round to it: nobody's delay may be left out.
        self.measure_from(tick.local_timestamp_ns if is_warm else None)
        if self._count // self._signal_every % 2:
            self.buy(tick, QUANTITY, limit_price=tick.ask, time_in_force="ioc")
        else:
            self.sell(tick, QUANTITY, limit_price=tick.bid, time_in_force="ioc")


class OrderFlow(Strategy):
    """An order for each tick, each of another quantity; some of them rest on the book, far from the price."""

    class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """What a run asks for."""

        resting_count: int = 0  # orders to keep on the book

    def on_start(self) -> None:
        self._count = 0

    def on_tick(self, tick: Tick) -> None:
        self._count += 1
        # A limit of equal orders in a short time is on: no two of 2,000 in a row are equal.
        quantity = QUANTITY + self._count % QUANTITIES * LOT_SIZE
        self.measure_from(tick.local_timestamp_ns)
        # Too many wait: the schedule goes on without this one, which the engine counts.
        with suppress(OutboxFullError):
            if self._count % RESTING_EVERY == 0 and self._resting_count(tick) < self.parameters.resting_count:
                self.buy(tick, quantity, limit_price=(tick.bid or 0.0) * RESTING_PRICE, time_in_force="gtc")
            else:
                # Never a sell: beside a buy that is still under way it would be refused, as a trade with ourselves.
                self.buy(tick, quantity, limit_price=tick.ask, time_in_force="ioc")

    def _resting_count(self, tick: Tick) -> int:
        below = (tick.bid or 0.0) * (1 + RESTING_PRICE) / 2
        return sum(order.limit_price is not None and order.limit_price < below for order in self.open_orders(tick))


class Arrivals(msgspec.Struct, frozen=True):
    """What a counting strategy leaves behind."""

    count: int  # ticks in all
    timed_count: int  # of them after the warm-up
    elapsed_ns: int  # from the end of the warm-up to the last tick; 0 when that did not come


class _Counting(Strategy):
    """Times the arrivals between the end of the warm-up and the last tick."""

    class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """What a run asks for."""

        tick_count: int
        warm_up_ticks: int
        result_path: str  # gets `Arrivals` as JSON

    def on_start(self) -> None:
        self._count = 0
        self._mark = self.parameters.warm_up_ticks
        self._warm_count = self._warm_ns = self._elapsed_ns = 0

    def on_stop(self) -> None:
        arrivals = Arrivals(self._count, self._count - self._warm_count, self._elapsed_ns)
        Path(self.parameters.result_path).write_bytes(msgspec.json.encode(arrivals))

    def _on_mark(self) -> None:
        now_ns = SystemClock.monotonic_ns()
        if self._warm_ns:
            self._elapsed_ns = now_ns - self._warm_ns
        else:
            self._warm_count, self._warm_ns = self._count, now_ns
            self._mark = self.parameters.tick_count


class CountTicks(_Counting):
    """One call for each tick."""

    def on_tick(self, tick: Tick) -> None:
        self._count += 1
        if self._count == self._mark:
            self._on_mark()


class CountBatches(_Counting):
    """One call for each group of ticks that came together."""

    def on_ticks(self, instrument: Instrument, records: npt.NDArray[np.void]) -> None:
        self._count += len(records)
        if self._count >= self._mark:
            self._on_mark()
