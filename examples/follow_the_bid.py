"""A first strategy of one's own: rest at the best bid, follow it when it moves, sell at the best ask what was bought.

    tickpulse demo --run-dir run --duration 600 &
    tickpulse strategy mine --run-dir run --as examples.follow_the_bid:FollowTheBid --param notional=200

`mine` is a name of your choice: it has its own orders and positions, beside those of every other strategy, and the
table [strategy.mine] of tickpulse.toml if there is one. The module is found in the folder in which the command is run.

The class reads no clock, no file and no socket, so the same code runs live, simulated and replayed.
"""

from typing import Annotated

import msgspec

from common.events.market import Tick
from strategy.base import Strategy


class FollowTheBid(Strategy):
    """One order at a time in each instrument."""

    class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Set with --param, or in [strategy.NAME.parameters]; types and ranges are checked before anything starts."""

        notional: Annotated[float, msgspec.Meta(gt=0)] = 100.0  # of one order, quote units

    def on_tick(self, tick: Tick) -> None:
        """Have one order where it belongs: at the bid without a position, at the ask with one."""
        if tick.bid is None or tick.ask is None or self.pending_signals(tick):
            return
        held = self.position(tick).quantity
        price = self.instruments.find(tick).round_price(tick.ask if held else tick.bid)
        for order in self.open_orders(tick):
            if order.limit_price != price and order.status != "pending_cancel":
                self.cancel(order.signal_id)
            return
        if held:
            self.sell(tick, held, limit_price=price)
        else:
            self.buy(tick, self.parameters.notional / tick.bid, limit_price=price)
