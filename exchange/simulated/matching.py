"""Matching: what our orders in one instrument fill, given what its market shows.

Only the best level is known, so every rule errs on the side of too few fills:

- A taker pays the touch price, for at most the size shown there.
- A resting order fills at its own limit when the opposite quote comes to it or beyond, for at most the size shown.
- It fills at its own limit when a public trade of the opposite aggressor prints strictly beyond its limit, for at
  most the printed quantity. A print at the limit fills nothing: how many others stood before us is unknown.
  A print without aggressor fills nothing.
- Our orders share one quote or print in price-time priority, and only ever meet the market: two of our own that
  cross rest side by side.
"""

from bisect import bisect_right, insort
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from common.events.market import Trade
from common.events.trading import Liquidity, Side
from common.events.venue import ExecutionType
from common.instruments import Instrument
from common.money import EXACT, ZERO
from exchange.simulated.book import BookSide
from exchange.simulated.orders import OrderQueue, VenueOrder, arrival
from exchange.simulated.reasons import Reason
from exchange.simulated.reports import ReportWriter


class Matcher:
    """One instrument: its market, the orders on their way to it, and those that rest."""

    __slots__ = ("_asks", "_bids", "_buys", "_reports", "_sells", "_waiting", "instrument")

    def __init__(self, instrument: Instrument, reports: ReportWriter) -> None:
        self.instrument = instrument
        self._reports = reports
        self._bids = BookSide(instrument)
        self._asks = BookSide(instrument)
        self._buys = OrderQueue("buy")
        self._sells = OrderQueue("sell")
        self._waiting: list[VenueOrder] = []  # in order of arrival

    def on_quote(
        self, now_ns: int, bid: float | None, ask: float | None, bid_size: float | None, ask_size: float | None
    ) -> None:
        """Show a new quote to the orders that are here by then.

        An order that becomes active in the very nanosecond of a quote comes before it.
        """
        if self._waiting:
            self._activate_due(now_ns)
        self._bids.show(bid, bid_size)
        self._asks.show(ask, ask_size)
        if ask is not None and ask <= self._buys.reach:
            self._meet_quote(self._buys, self._asks, now_ns)
        if bid is not None and bid >= self._sells.reach:
            self._meet_quote(self._sells, self._bids, now_ns)

    @property
    def is_idle(self) -> bool:
        """Tell whether no order is here and nothing shown is taken: only the newest quote counts."""
        has_orders = self._waiting or self._buys or self._sells
        return not (has_orders or self._bids.is_consumed or self._asks.is_consumed)

    def on_records(self, records: npt.NDArray[np.void]) -> None:
        """Show a batch of quotes, oldest first; shape (count,), dtype `TICK_DTYPE`."""
        if self._is_untouched_by(records):
            records = records[-1:]
        for now_ns, _, _, bid, ask, bid_size, ask_size, _, _ in records.tolist():
            self.on_quote(now_ns, bid, ask, bid_size, ask_size)

    def on_trade(self, trade: Trade) -> None:
        """Show a public trade to the orders that rest on the side which its aggressor hit."""
        if self._waiting:
            self._activate_due(trade.timestamp_ns)
        if trade.aggressor_side == "sell" and trade.price <= self._buys.reach:
            self._meet_print(self._buys, trade)
        elif trade.aggressor_side == "buy" and trade.price >= self._sells.reach:
            self._meet_print(self._sells, trade)

    def enter(self, order: VenueOrder) -> None:
        """Send an order on its way."""
        insort(self._waiting, order, key=arrival)

    def cancel(self, order: VenueOrder, reason: str, now_ns: int) -> None:
        """Take back a working order, wherever it is."""
        self.withdraw(order)
        self._end(order, ExecutionType.CANCELLED, reason, now_ns)

    def withdraw(self, order: VenueOrder) -> None:
        """Take a working order out of its line."""
        if order in self._waiting:
            self._waiting.remove(order)
        else:
            self._queue_of(order).remove(order)

    def touch_price(self, side: Side) -> Decimal | None:
        """What a taker of this side would pay; None when the market shows nothing."""
        touch = self._opposite(side).touch()
        return touch.price if touch.price > ZERO else None

    def next_active_ns(self) -> int | None:
        """When the next order becomes active."""
        return self._waiting[0].active_ns if self._waiting else None

    def take_due(self, now_ns: int) -> list[VenueOrder]:
        """The orders on their way that have arrived by now; the caller activates each."""
        due_count = bisect_right(self._waiting, now_ns, key=lambda order: order.active_ns)
        due = self._waiting[:due_count]
        del self._waiting[:due_count]
        return due

    def activate(self, order: VenueOrder) -> None:
        """Let an order take what is shown; its remainder rests or expires."""
        side = self._opposite(order.side)
        touch = side.touch()
        quantity = min(order.leaves_quantity, touch.available) if order.accepts(touch.price) else ZERO
        if order.time_in_force == "fok" and quantity < order.leaves_quantity:
            quantity = ZERO
        if quantity > ZERO:
            side.take(quantity)
            self._fill(order, quantity, touch.price, "taker", order.active_ns)
        if order.is_working:
            self._rest_or_expire(order)

    def _activate_due(self, now_ns: int) -> None:
        if self._waiting[0].active_ns > now_ns:
            return
        for order in self.take_due(now_ns):
            self.activate(order)

    def _rest_or_expire(self, order: VenueOrder) -> None:
        if order.can_rest:
            self._queue_of(order).add(order)
            return
        if order.order_type == "market":
            reason = Reason.NO_LIQUIDITY
        else:
            reason = Reason.FOK_NOT_FILLABLE if order.time_in_force == "fok" else Reason.IOC_REMAINDER
        self._end(order, ExecutionType.EXPIRED, reason, order.active_ns)

    def _meet_quote(self, queue: OrderQueue, side: BookSide, now_ns: int) -> None:
        price, available = side.touch()
        while queue and available > ZERO and queue.first.accepts(price):
            quantity = self._fill_first(queue, available, now_ns)
            side.take(quantity)
            available = EXACT.subtract(available, quantity)

    def _meet_print(self, queue: OrderQueue, trade: Trade) -> None:
        price = self.instrument.round_price(trade.price)
        available = self.instrument.round_quantity(trade.quantity) if price > ZERO else ZERO
        while queue and available > ZERO and queue.first.accepts(price) and queue.first.limit_price != price:
            quantity = self._fill_first(queue, available, trade.timestamp_ns)
            available = EXACT.subtract(available, quantity)

    def _fill_first(self, queue: OrderQueue, available: Decimal, now_ns: int) -> Decimal:
        order = queue.first
        quantity = min(order.leaves_quantity, available)
        self._fill(order, quantity, order.resting_price, "maker", now_ns)
        if not order.is_working:
            queue.remove(order)
        return quantity

    def _fill(self, order: VenueOrder, quantity: Decimal, price: Decimal, liquidity: Liquidity, now_ns: int) -> None:
        order.fill(quantity)
        self._reports.write_trade(order, quantity, price, liquidity, now_ns)

    def _end(self, order: VenueOrder, execution_type: ExecutionType, reason: str, now_ns: int) -> None:
        order.is_working = False
        self._reports.write_end(order, execution_type, reason, now_ns)

    def _is_untouched_by(self, records: npt.NDArray[np.void]) -> bool:
        """Tell whether only the last record of a batch matters, as is the rule: 20 µs for 512 ticks instead of 260."""
        if self._bids.is_consumed or self._asks.is_consumed:
            return False
        if self._waiting and self._waiting[0].active_ns <= records["timestamp_ns"].max():
            return False
        meets_buys = bool(self._buys) and (records["ask"] <= self._buys.reach).any()
        meets_sells = bool(self._sells) and (records["bid"] >= self._sells.reach).any()
        return not (meets_buys or meets_sells)

    def _opposite(self, side: Side) -> BookSide:
        return self._asks if side == "buy" else self._bids

    def _queue_of(self, order: VenueOrder) -> OrderQueue:
        return self._buys if order.side == "buy" else self._sells
