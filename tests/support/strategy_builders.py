"""A strategy's surroundings, without processes: a host that records orders, ticks, and two instruments."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from common.events.base import DRAFT
from common.events.market import Tick
from common.events.trading import HeldPosition, Signal
from common.instruments import Instrument, InstrumentTable, Listed
from strategy.base import Order, PlacedOrder, Strategy
from strategy.portfolio import Portfolio

BTC = Instrument(
    exchange="simulated",
    symbol="BTC/USDT",
    raw_symbol="BTCUSDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.00001"),
)
ETH = Instrument(
    exchange="simulated",
    symbol="ETH/USDT",
    raw_symbol="ETHUSDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.0001"),
)
FILL_CHANCE = 0.05
StrategyT = TypeVar("StrategyT", bound=Strategy)


class FakeHost:
    """A host whose time, positions and answers the test decides. Signals stay pending until `settle`."""

    def __init__(self, *instruments: Instrument) -> None:
        self.instruments = InstrumentTable(instruments or (BTC, ETH))
        self.portfolio = Portfolio()
        self.now_ns = 1_700_000_000_000_000_000
        self.orders: list[Order] = []
        self.cancelled: list[str] = []
        self.placed: dict[str, PlacedOrder] = {}
        self.amended: list[tuple[str, Decimal | None, Decimal | None]] = []
        self.failures: list[tuple[str, Exception]] = []
        self._settled_count = 0

    def emit(self, order: Order) -> str:
        """Record an order as a pending signal."""
        signal_id = signal_id_of(len(self.orders))
        self.orders.append(order)
        self.portfolio.on_signal(make_signal(order, signal_id, self.now_ns))
        return signal_id

    def cancel(self, signal_id: str) -> None:
        """Record a cancel."""
        self.cancelled.append(signal_id)

    def find_order(self, signal_id: str) -> PlacedOrder | None:
        """The order that a test has placed under this id."""
        return self.placed.get(signal_id)

    def amend(self, placed: PlacedOrder, quantity: Decimal | None, limit_price: Decimal | None) -> None:
        """Record an amendment."""
        self.amended.append((placed.signal_id, quantity, limit_price))

    def unpack(self, records: npt.NDArray[np.void]) -> Iterator[Tick]:
        """The ticks of a batch of BTC, bid and ask only."""
        for record in records:
            yield make_tick(bid=float(record["bid"]), ask=float(record["ask"]))

    def on_failure(self, name: str, error: Exception) -> None:
        """Record what a rule has raised."""
        self.failures.append((name, error))

    def advance(self, *, ms: float) -> None:
        """Let time pass."""
        self.now_ns += round(ms * 1_000_000)

    def hold(self, listed: Listed, quantity: str, entry_price: str | None = None) -> None:
        """Set the position in an instrument."""
        self.portfolio.on_position(
            HeldPosition(
                exchange=listed.exchange,
                symbol=listed.symbol,
                quantity=Decimal(quantity),
                entry_price=None if entry_price is None else Decimal(entry_price),
                realised_pnl=Decimal(0),
                fees=Decimal(0),
            )
        )

    def pending_orders(self) -> list[Order]:
        """Orders whose signal has no known end."""
        return self.orders[self._settled_count :]

    def settle(self) -> None:
        """End every pending signal without a fill."""
        for index in range(self._settled_count, len(self.orders)):
            self.portfolio.on_signal_end(signal_id_of(index))
        self._settled_count = len(self.orders)

    def fill_pending(self, price: str) -> None:
        """End every pending signal with a complete fill; a reduce-only order fills up to the position."""
        pending = self.pending_orders()
        self.settle()
        for order in pending:
            held = self.portfolio.position(order.instrument).quantity
            quantity = min(order.quantity, abs(held)) if order.reduce_only else order.quantity
            held += quantity if order.side == "buy" else -quantity
            self.hold(order.instrument, str(held), price if held else None)


def start_strategy(strategy_type: type[StrategyT], host: FakeHost, **parameters: object) -> StrategyT:
    """Build and start a strategy; parameters are checked as those of a config file are."""
    strategy = strategy_type(host, msgspec.convert(parameters, strategy_type.Parameters))
    strategy.on_start()
    return strategy


def make_tick(
    mid: float | None = None,
    *,
    instrument: Instrument = BTC,
    bid: float | None = None,
    ask: float | None = None,
    last: float | None = None,
) -> Tick:
    """A tick around `mid` with a spread of 0.02, or with exactly the prices given."""
    if mid is not None:
        bid, ask = mid - 0.01, mid + 0.01
    return Tick(
        **DRAFT,
        timestamp_ns=1,
        exchange=instrument.exchange,
        symbol=instrument.symbol,
        raw_symbol=instrument.raw_symbol,
        local_timestamp_ns=1,
        bid=bid,
        ask=ask,
        last=last,
    )


def feed_mids(strategy: Strategy, mids: Iterable[float], *, instrument: Instrument = BTC) -> None:
    """Hand a strategy one tick per mid; no time passes."""
    for mid in mids:
        strategy.on_tick(make_tick(mid, instrument=instrument))


def wander(host: FakeHost, seed: int) -> Iterator[float]:
    """3,000 mids of a walk pulled back to 60,000, up to 40 ms apart; one time in twenty all signals are filled."""
    random = np.random.default_rng(seed)
    deviation = 0.0
    for step in random.normal(scale=3.0, size=3_000).tolist():
        deviation += step - 0.003 * deviation
        mid = round(60_000 + deviation, 2)
        host.advance(ms=int(random.integers(0, 40)))
        if random.random() < FILL_CHANCE:
            host.fill_pending(str(mid))
        yield mid


def signal_id_of(index: int) -> str:
    """Id of the signal that carries `orders[index]` of a fake host."""
    return f"test.1.{index + 1}"


def make_signal(order: Order, signal_id: str, now_ns: int) -> Signal:
    """The signal that a host makes of an order."""
    return Signal(
        **DRAFT,
        timestamp_ns=now_ns,
        exchange=order.instrument.exchange,
        symbol=order.instrument.symbol,
        signal_id=signal_id,
        strategy="test",
        action=order.side,
        order_type="market" if order.limit_price is None else "limit",
        quantity=order.quantity,
        limit_price=order.limit_price,
        time_in_force=order.time_in_force,
        expires_ns=now_ns + 1_000_000_000,
        confidence=order.confidence,
        reduce_only=order.reduce_only,
    )
