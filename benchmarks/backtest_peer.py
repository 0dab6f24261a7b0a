"""The same work in NautilusTrader's backtest engine, where it is installed: quotes in, a market order every so many."""

import resource
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from common.clock import NS_PER_S, SystemClock

PEER = "NautilusTrader"


class PeerRun(msgspec.Struct, frozen=True, kw_only=True):
    """What one run counted, and what it took."""

    ticks: int
    orders: int
    fills: int
    elapsed_s: float
    processor_s: float


def measure_peer(records: npt.NDArray[np.void], order_every: int) -> PeerRun | str:
    """Run it, or say why not."""
    try:
        engine, strategy = _prepare(records, order_every)
    except ImportError as error:
        return f"skipped: {error.name or error} is not installed here"
    used = resource.getrusage(resource.RUSAGE_SELF)
    begun_ns = SystemClock.monotonic_ns()
    engine.run()
    elapsed_s = (SystemClock.monotonic_ns() - begun_ns) / NS_PER_S
    now = resource.getrusage(resource.RUSAGE_SELF)
    orders = engine.cache.orders()
    found = PeerRun(
        ticks=strategy.seen,
        orders=len(orders),
        fills=sum(order.is_closed and order.filled_qty == order.quantity for order in orders),
        elapsed_s=elapsed_s,
        processor_s=now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime,
    )
    engine.dispose()
    return found


def _prepare(records: npt.NDArray[np.void], order_every: int) -> tuple[Any, Any]:
    """The engine with a venue, an instrument, quotes and a strategy."""
    import pandas as pd  # noqa: PLC0415  # not everybody has it
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig  # noqa: PLC0415
    from nautilus_trader.config import LoggingConfig  # noqa: PLC0415
    from nautilus_trader.model.currencies import BTC, USDT  # noqa: PLC0415
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide  # noqa: PLC0415
    from nautilus_trader.model.identifiers import Venue  # noqa: PLC0415
    from nautilus_trader.model.objects import Money  # noqa: PLC0415
    from nautilus_trader.persistence.wranglers import QuoteTickDataWrangler  # noqa: PLC0415
    from nautilus_trader.test_kit.providers import TestInstrumentProvider  # noqa: PLC0415
    from nautilus_trader.trading.strategy import Strategy  # noqa: PLC0415

    instrument = TestInstrumentProvider.btcusdt_binance()

    class Singly(Strategy):  # type: ignore[misc]
        """A market order every so many quotes."""

        def __init__(self) -> None:
            super().__init__()
            self.seen = 0

        def on_start(self) -> None:
            """Ask for quotes."""
            self.subscribe_quote_ticks(instrument.id)

        def on_quote_tick(self, _quote: Any) -> None:
            """Count, and order when it is time."""
            self.seen += 1
            if not self.seen % order_every:
                side = OrderSide.BUY if self.seen // order_every % 2 else OrderSide.SELL
                self.submit_order(self.order_factory.market(instrument.id, side, instrument.make_qty(0.01)))

    quotes = pd.DataFrame(
        {"bid_price": records["bid"], "ask_price": records["ask"], "bid_size": 1.0, "ask_size": 1.0},
        index=pd.to_datetime(records["timestamp_ns"].astype(np.int64), utc=True),
    )
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    balances = [Money(1_000_000, USDT), Money(100, BTC)]
    engine.add_venue(Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, starting_balances=balances)
    engine.add_instrument(instrument)
    engine.add_data(QuoteTickDataWrangler(instrument).process(quotes))
    strategy = Singly()
    engine.add_strategy(strategy)
    return engine, strategy
