"""What a strategy knows of its own orders and positions, folded from the executor's events."""

from decimal import Decimal

import msgspec

from common.events.trading import (
    FINAL_STATUSES,
    HeldPosition,
    OpenOrder,
    OrderEvent,
    PositionEvent,
    Signal,
    StateReported,
)
from common.instruments import Listed
from common.money import ZERO


class PositionView(msgspec.Struct, frozen=True):
    """A position as a strategy reads it. Long above 0, short below; prices and profit in quote units."""

    quantity: Decimal = ZERO
    entry_price: Decimal | None = None
    realised_pnl: Decimal = ZERO
    unrealised_pnl: Decimal = ZERO
    fees: Decimal = ZERO


FLAT = PositionView()
Key = tuple[str, str]


class Portfolio:
    """Positions, working orders, and signals on their way, of one strategy."""

    def __init__(self) -> None:
        self._positions: dict[Key, PositionView] = {}
        self._orders: dict[str, OpenOrder] = {}
        self._pending: dict[str, Key] = {}

    def position(self, listed: Listed) -> PositionView:
        """The position in an instrument; flat where there is none."""
        return self._positions.get((listed.exchange, listed.symbol), FLAT)

    def open_orders(self, listed: Listed | None) -> list[OpenOrder]:
        """Working orders, of one instrument or of all."""
        orders = self._orders.values()
        if listed is None:
            return list(orders)
        return [order for order in orders if (order.exchange, order.symbol) == (listed.exchange, listed.symbol)]

    def pending_signals(self, listed: Listed | None) -> int:
        """How many signals have no known end yet."""
        if listed is None:
            return len(self._pending)
        key = (listed.exchange, listed.symbol)
        return sum(1 for pending in self._pending.values() if pending == key)

    def on_signal(self, signal: Signal) -> None:
        """A signal was emitted."""
        self._pending[signal.signal_id] = (signal.exchange, signal.symbol)

    def on_signal_end(self, signal_id: str) -> None:
        """A signal was acknowledged."""
        self._pending.pop(signal_id, None)

    def on_order(self, event: OrderEvent) -> None:
        """An order changed."""
        if event.status in FINAL_STATUSES:
            self._orders.pop(event.client_order_id, None)
            return
        self._orders[event.client_order_id] = OpenOrder(
            client_order_id=event.client_order_id,
            signal_id=event.signal_id,
            exchange=event.exchange,
            symbol=event.symbol,
            status=event.status,
            side=event.side,
            order_type=event.order_type,
            quantity=event.quantity,
            filled_quantity=event.filled_quantity,
            limit_price=event.limit_price,
        )

    def on_position(self, event: PositionEvent | HeldPosition) -> None:
        """A position changed, or is told for the first time."""
        self._positions[event.exchange, event.symbol] = PositionView(
            event.quantity, event.entry_price, event.realised_pnl, event.unrealised_pnl, event.fees
        )

    def take(self, state: StateReported) -> None:
        """Start over from what the executor says."""
        self._orders = {order.client_order_id: order for order in state.open_orders}
        self._positions.clear()
        for position in state.positions:
            self.on_position(position)
