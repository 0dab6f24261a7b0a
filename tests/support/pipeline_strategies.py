"""Strategies that do one thing, so that a test with real processes knows what to expect of them."""

from pathlib import Path
from typing import Annotated

import msgspec

from common.events.market import Tick
from common.events.trading import OrderEvent, OrderStatus
from strategy.base import Strategy

Count = Annotated[int, msgspec.Meta(ge=0)]


class PingPong(Strategy):
    """Buys when flat and sells when long, as often as the executor's answers allow."""

    class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How much."""

        quantity: float = 0.01

    def on_tick(self, tick: Tick) -> None:
        """Never two orders at once, and no sale that is too small to be accepted."""
        instrument = self.instruments.find(tick)
        if instrument is None or tick.bid is None or self.pending_signals(tick) or self.open_orders(tick):
            return
        held = self.position(tick).quantity
        if float(held) * tick.bid > float(instrument.min_notional):
            self.sell(tick, held)
        else:
            self.buy(tick, self.parameters.quantity)


class BuyOnce(Strategy):
    """Sends one order with the first tick, at the market or with a limit."""

    class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """What to buy."""

        quantity: float
        limit_price: float | None = None
        is_cancelled: bool = False  # once it rests

    def on_start(self) -> None:
        """Nothing was sent."""
        self._signal_id = ""

    def on_tick(self, tick: Tick) -> None:
        """The first tick only."""
        if not self._signal_id:
            self._signal_id = self.buy(tick, self.parameters.quantity, limit_price=self.parameters.limit_price)

    def on_order(self, event: OrderEvent) -> None:
        """Take back what rests."""
        if self.parameters.is_cancelled and event.status in {OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED}:
            self.cancel(event.signal_id)


class Failing(Strategy):
    """Raises in its first callbacks, then buys once."""

    class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How often it raises."""

        failures: Count

    def on_start(self) -> None:
        """Nothing has failed yet."""
        self._failed = 0
        self._has_bought = False

    def on_tick(self, tick: Tick) -> None:
        """Fail, or trade."""
        if self._failed < self.parameters.failures:
            self._failed += 1
            raise ZeroDivisionError(f"failure {self._failed}")
        if not self._has_bought:
            self._has_bought = True
            self.buy(tick, 0.01)


class Witness(Strategy):
    """Writes down the number of every tick that it is given."""

    class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Where to."""

        path: str

    def on_tick(self, tick: Tick) -> None:
        """One line a tick: symbol, number, time when the gateway sent it."""
        with Path(self.parameters.path).open("a", encoding="utf-8") as file:
            file.write(f"{tick.symbol} {tick.seq} {tick.timestamp_ns}\n")


class SellWhatIsHeld(Strategy):
    """Leaves every position that it finds, and takes none."""

    def on_tick(self, tick: Tick) -> None:
        """Once for each fill that left something."""
        held = self.position(tick).quantity
        if held > 0 and not self.pending_signals(tick) and not self.open_orders(tick):
            self.sell(tick, held, reduce_only=True)


class CancelWhatIsOpen(Strategy):
    """Takes back every order that it finds at its start."""

    def on_start(self) -> None:
        """Open orders are known by now."""
        for order in self.open_orders():
            self.cancel(order.signal_id)
