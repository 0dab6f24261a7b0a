"""A strategy that exists to be crashed: it trades all the time, in every way there is."""

from decimal import Decimal
from typing import Annotated

import msgspec

from common.events.market import Tick
from common.rules.measures import mid_price
from strategy.base import Strategy
from strategy.outbox import OutboxFullError

QUANTITY = Decimal("0.01")
AWAY = 0.02  # of the price: a limit order this far off rests until it is cancelled


class Churner(Strategy):
    """Every few ticks the next of: trade at market, rest away from it or close to it, cross it, amend, cancel."""

    class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How often."""

        tick_count: Annotated[int, msgspec.Meta(ge=1)] = 4  # ticks between two acts

    parameters: Parameters
    is_resting = False

    def on_start(self) -> None:
        self._tick_count = self._act_count = 0

    def on_tick(self, tick: Tick) -> None:
        self._tick_count += 1
        mid = mid_price(tick)
        if self.is_resting or mid is None or self._tick_count % self.parameters.tick_count:
            return
        self._act_count += 1
        try:
            self._act(tick, mid)
        except OutboxFullError:
            return  # that is the bound doing its work

    def _act(self, tick: Tick, mid: float) -> None:
        match self._act_count % 10:
            case 0:
                self.buy(tick, QUANTITY)
            case 1:
                self.sell(tick, QUANTITY)
            case 2:
                self.buy(tick, QUANTITY, limit_price=mid * (1 - AWAY))
            case 3:
                self.sell(tick, QUANTITY, limit_price=mid * (1 - AWAY), time_in_force="ioc")
            case 4:
                self.buy(tick, QUANTITY * 2, limit_price=mid)
            case 5:
                self.sell(tick, QUANTITY, reduce_only=True)
            case change:
                self._change(change, tick, mid)

    def _change(self, change: int, tick: Tick, mid: float) -> None:
        orders = [order for order in self.open_orders(tick) if order.order_type == "limit"]
        match change:
            case 6 if orders:
                self.amend(orders[-1].signal_id, quantity=QUANTITY * 3, limit_price=mid * (1 - AWAY / 2))
            case 7:
                # On its way, and changed at once.
                signal_id = self.sell(tick, QUANTITY * 2, limit_price=mid * (1 + AWAY))
                self.amend(signal_id, limit_price=mid)
            case 8 if orders:
                self.amend(orders[-1].signal_id, quantity=QUANTITY / 2)
                self.cancel(orders[0].signal_id)
            case 9 if orders:
                self.cancel(orders[0].signal_id)
