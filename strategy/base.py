"""What a quant writes: a class with callbacks that calls `buy` and `sell`.

    class FollowTheBid(Strategy):
        class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
            quantity: float = 0.01

        def on_tick(self, tick: Tick) -> None:
            if tick.bid is not None and self.position(tick).quantity == 0:
                self.buy(tick, self.parameters.quantity)

The same class runs live, simulated and replayed: it reads no clock and no file, and asks for `now_ns` instead.
"""

from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, ClassVar, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from common.errors import InvalidValueError
from common.events.market import Tick, Trade
from common.events.trading import OpenOrder, OrderEvent, OrderStatus, OrderType, PositionEvent, Side, TimeInForce
from common.instruments import Instrument, InstrumentTable, Listed
from common.rules import RuleEngine, rules_of
from strategy.portfolio import Portfolio, PositionView


class NoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For a strategy that has none."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy asks for, already on the grid of its instrument."""

    instrument: Instrument
    side: Side
    quantity: Decimal
    limit_price: Decimal | None
    time_in_force: TimeInForce
    lifetime_ms: int | None
    confidence: float | None
    reduce_only: bool


class PlacedOrder(msgspec.Struct, frozen=True):
    """An order that works, or that a signal on its way will become."""

    signal_id: str
    exchange: str
    symbol: str
    side: Side
    order_type: OrderType
    status: OrderStatus


class Host(Protocol):
    """What a strategy can reach of the process around it."""

    instruments: InstrumentTable
    portfolio: Portfolio
    now_ns: int
    trigger_timestamp_ns: int | None

    def emit(self, order: Order) -> str:
        """Turn an order into a signal and return its id."""
        ...

    def cancel(self, signal_id: str) -> None:
        """Ask for the cancellation of a signal's order."""
        ...

    def find_order(self, signal_id: str) -> PlacedOrder | None:
        """The order of a signal, if it works or is on its way."""
        ...

    def amend(self, placed: PlacedOrder, quantity: Decimal | None, limit_price: Decimal | None) -> None:
        """Ask for other terms of an order."""
        ...

    def unpack(self) -> Iterable[Tick]:
        """The ticks of the batch in hand, one by one."""
        ...

    def on_failure(self, name: str, error: Exception) -> None:
        """Count and tell what the strategy's code has raised."""
        ...


class Strategy:
    """Base of all strategies. Override the callbacks you need; everything else is for calling.

    Callbacks come one at a time, in the order of the stream. An exception in one is counted and logged; after too many
    of them the strategy is halted.
    """

    Parameters: ClassVar[type[msgspec.Struct]] = NoParameters

    def __init__(self, host: Host, parameters: Any) -> None:
        """Called by the host; use `on_start` for your own set-up."""
        self._host = host
        self.parameters = parameters
        # The methods that are `@rule`s; `self.rules.add` takes more. Feed it what it shall see.
        self.rules = RuleEngine(rules_of(self), on_failure=host.on_failure)

    # Callbacks

    def save_state(self) -> dict[str, Any] | None:
        """What the next life needs to go on from here, or None when nothing is worth keeping.

        Plain data, as MessagePack holds it: numbers, text, bytes, lists, dicts with text keys; up to 1 MiB. It is asked
        for whenever something was emitted, every `checkpoint_ms` and at the end, so it should take microseconds.
        """
        return None

    def load_state(self, state: dict[str, Any]) -> None:
        """What an earlier life has saved, once, just before `on_start`; positions and open orders are known.

        No tick that the saved state contains comes again. Raise before anything is changed when it cannot be used.
        """

    def on_start(self) -> None:
        """Once, when positions and open orders are known and before the first tick."""

    def on_tick(self, tick: Tick) -> None:
        """For each tick, unless `on_ticks` is overridden."""

    def on_ticks(self, instrument: Instrument, records: npt.NDArray[np.void]) -> None:
        """For each group of ticks that waited together: shape (count,), dtype `TICK_DTYPE`, oldest first, read-only.

        A single tick is a group of one. By default each is handed to `on_tick`.
        """
        for tick in self._host.unpack():
            self.on_tick(tick)

    def on_trade(self, trade: Trade) -> None:
        """For each public trade."""

    def on_order(self, event: OrderEvent) -> None:
        """For each change of an order of this strategy."""

    def on_position(self, event: PositionEvent) -> None:
        """For each change of a position of this strategy."""

    def on_timer(self, now_ns: int) -> None:
        """At the interval of the config (`timer_ms`)."""

    def on_stop(self) -> None:
        """Once, on an orderly stop; signals emitted here are still sent, and then no more is taken."""

    # What a strategy can do

    def buy(self, listed: Listed, quantity: float | Decimal, **options: Any) -> str:
        """Emit a signal to buy, and return its id.

        Args:
            listed: The instrument, or a tick or trade of it.
            quantity: Base units; rounded down to the lot size.
            **options: `limit_price` (quote units, rounded down to the tick size; a market order without it),
                `time_in_force` (gtc, ioc or fok; gtc with a limit and ioc without unless stated),
                `lifetime_ms` (the signal is void when it was not sent by then), `confidence` (0 to 1),
                `reduce_only` (never to open or grow a position).

        Raises:
            InvalidValueError: The instrument is not in the table, or the quantity rounds to nothing.
            OutboxFullError: Too many signals wait for the executor. Nothing was emitted.
            OrderGateClosedError: `on_stop` has returned.
        """
        return self._emit("buy", listed, quantity, **options)

    def sell(self, listed: Listed, quantity: float | Decimal, **options: Any) -> str:
        """Emit a signal to sell; as `buy`, with a limit price rounded up."""
        return self._emit("sell", listed, quantity, **options)

    def cancel(self, signal_id: str) -> None:
        """Ask for what is left of a signal's order to be cancelled; `on_order` tells what came of it.

        It may be on its way still. Nothing happens when it has ended, or is being cancelled already.

        Raises:
            InvalidValueError: This strategy never emitted such a signal.
            OutboxFullError: As of `buy`.
        """
        self._host.cancel(signal_id)

    def amend(
        self,
        signal_id: str,
        *,
        quantity: float | Decimal | None = None,
        limit_price: float | Decimal | None = None,
    ) -> None:
        """Ask for other terms of a limit order that works or is on its way; `on_order` tells what came of it.

        Args:
            signal_id: The order's signal.
            quantity: The new total, fills included, base units; rounded down to the lot size. None: as it is.
            limit_price: The new limit, quote units; rounded as by `buy` or `sell`. None: as it is.

        Raises:
            InvalidValueError: There is no such order, it has no limit, nothing is to change, or the quantity rounds to
                nothing.
            OutboxFullError: As of `buy`.
            OrderGateClosedError: As of `buy`.
        """
        placed = self._host.find_order(signal_id)
        if placed is None or placed.order_type != "limit":
            raise InvalidValueError(f"amend {signal_id}: expected a limit order that works or is on its way")
        if quantity is None and limit_price is None:
            raise InvalidValueError(f"amend {signal_id}: expected a quantity or a limit price")
        instrument = self._listed(placed)
        self._host.amend(
            placed,
            None if quantity is None else _round_lots(instrument, quantity),
            None if limit_price is None else _round_limit(instrument, limit_price, placed.side),
        )

    def measure_from(self, timestamp_ns: int | None) -> None:
        """Count the latency of what this callback emits from another time than its tick's, ns UTC; None: not at all."""
        self._host.trigger_timestamp_ns = timestamp_ns

    # What a strategy can see

    @property
    def instruments(self) -> InstrumentTable:
        """All instruments, with tick size, lot size and limits."""
        return self._host.instruments

    @property
    def now_ns(self) -> int:
        """Wall time of what is being handled, ns UTC."""
        return self._host.now_ns

    def position(self, listed: Listed) -> PositionView:
        """This strategy's position in an instrument; flat where there is none."""
        return self._host.portfolio.position(listed)

    def open_orders(self, listed: Listed | None = None) -> list[OpenOrder]:
        """This strategy's working orders, of one instrument or of all."""
        return self._host.portfolio.open_orders(listed)

    def pending_signals(self, listed: Listed | None = None) -> int:
        """How many signals were emitted whose end is not known yet, for one instrument or for all."""
        return self._host.portfolio.pending_signals(listed)

    def _emit(
        self,
        side: Side,
        listed: Listed,
        quantity: float | Decimal,
        *,
        limit_price: float | Decimal | None = None,
        time_in_force: TimeInForce | None = None,
        lifetime_ms: int | None = None,
        confidence: float | None = None,
        reduce_only: bool = False,
    ) -> str:
        instrument = self._listed(listed)
        lots = _round_lots(instrument, quantity)
        price = None if limit_price is None else _round_limit(instrument, limit_price, side)
        # Converted, because the wire does not write the number types that come out of an array.
        return self._host.emit(
            Order(
                instrument=instrument,
                side=side,
                quantity=lots,
                limit_price=price,
                time_in_force=time_in_force or ("ioc" if price is None else "gtc"),
                lifetime_ms=None if lifetime_ms is None else int(lifetime_ms),
                confidence=None if confidence is None else float(confidence),
                reduce_only=bool(reduce_only),
            )
        )

    def _listed(self, listed: Listed) -> Instrument:
        instrument = self._host.instruments.find(listed)
        if instrument is None:
            raise InvalidValueError(f"{listed.exchange}.{listed.symbol}: not in the instrument table; add it to config")
        return instrument


def _round_lots(instrument: Instrument, quantity: float | Decimal) -> Decimal:
    lots = instrument.round_quantity(quantity)
    if lots <= 0:
        raise InvalidValueError(
            f"{instrument.name}: expected a quantity of {instrument.lot_size} or more, was {quantity}"
        )
    return lots


def _round_limit(instrument: Instrument, limit_price: float | Decimal, side: Side) -> Decimal:
    return instrument.round_price(limit_price, ROUND_FLOOR if side == "buy" else ROUND_CEILING)
