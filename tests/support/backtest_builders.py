"""Builders for tests of the backtest: markets, strategies that trade on purpose, and one call that runs them."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from backtest.agenda import NEVER_NS
from backtest.config import BacktestConfig
from backtest.pipeline import Pipeline
from backtest.plan import Plan, StrategyPlan
from backtest.source import ArraySource, MarketMessage, Slice, TickArray
from common.clock import NS_PER_MS
from common.events.market import TICK_DTYPE, Tick, Ticks, Trade
from common.instruments import Instrument, InstrumentTable, Listed
from exchange.simulated.config import SimulatedVenueConfig
from executor.config import ExecutorConfig
from strategy.base import Host, Strategy
from strategy.config import StrategyConfig

START_NS = 1_700_000_000_000_000_000
EXCHANGE = "simulated"


def make_instrument(symbol: str = "BTC/USDT", **changes: Any) -> Instrument:
    """Prices on 0.01, quantities on 0.001."""
    fields: dict[str, Any] = {
        "exchange": EXCHANGE,
        "symbol": symbol,
        "raw_symbol": symbol.replace("/", ""),
        "tick_size": Decimal("0.01"),
        "lot_size": Decimal("0.001"),
    }
    return Instrument(**{**fields, **changes})


BTC, ETH = make_instrument(), make_instrument("ETH/USDT")


def make_tick(after_ms: float, bid: float, ask: float, *, size: float = 10.0, instrument: Instrument = BTC) -> Tick:
    """A tick, so many ms after the start."""
    time_ns = START_NS + round(after_ms * NS_PER_MS)
    exchange, symbol, raw_symbol = instrument.exchange, instrument.symbol, instrument.raw_symbol
    amounts = (bid, ask, size, size, bid, size)
    return Tick("gateway", 1, 1, time_ns, exchange, symbol, raw_symbol, time_ns, *amounts)


def make_trade(after_ms: float, price: float, quantity: float, aggressor_side: Any) -> Trade:
    """A public trade, so many ms after the start."""
    time_ns = START_NS + round(after_ms * NS_PER_MS)
    return Trade("gateway", 1, 1, time_ns, EXCHANGE, "BTC/USDT", "BTCUSDT", time_ns, price, quantity, aggressor_side)


def make_records(count: int, *, seed: int = 1, step_ms: float = 1.0, start: int = 10_000) -> npt.NDArray[np.void]:
    """A walk of a market: shape (count,), dtype `TICK_DTYPE`. Some quotes repeat, as they do."""
    generator = np.random.default_rng(seed)
    records = np.zeros(count, dtype=TICK_DTYPE)
    times = START_NS + (np.arange(count) * step_ms * NS_PER_MS).astype(np.int64)
    mids = start + np.cumsum(generator.integers(-1, 2, count))
    for field in ("timestamp_ns", "local_timestamp_ns", "exchange_timestamp_ns"):
        records[field] = times
    records["bid"], records["ask"] = (mids - 1) / 100, (mids + 1) / 100
    records["bid_size"], records["ask_size"] = generator.integers(1, 4, (2, count))
    records["last"], records["volume"] = mids / 100, 1.0
    return records


class MessageSource:
    """Messages in memory, cut into slices of a few, so that every test crosses their edges."""

    def __init__(self, messages: Sequence[MarketMessage], per_slice: int = 97) -> None:
        self._messages = messages
        self._per_slice = per_slice

    def slices(self) -> Iterator[Slice]:
        """As of `backtest.source.Source`."""
        for start in range(0, len(self._messages), self._per_slice):
            part = self._messages[start : start + self._per_slice]
            yield Slice(part[-1].timestamp_ns, part)
        yield Slice(NEVER_NS)


class Taker(Strategy):
    """Buys and sells in turn, by market orders."""

    class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How often, in ticks."""

        every: int = 50
        quantity: float = 1.0
        first: int = 0  # tick from which on it trades

    def __init__(self, host: Host, parameters: Any) -> None:
        super().__init__(host, parameters)
        self.seen = 0
        self.emitted = 0
        self.seen_ns: list[tuple[int, int]] = []

    def on_tick(self, tick: Tick) -> None:
        """Count, and act."""
        self.seen += 1
        self.act(tick, self.seen)

    def act(self, listed: Listed, count: int) -> None:
        """Emit what is due by this count."""
        given = self.parameters
        if count >= given.first and count // given.every > self.emitted:
            self.emitted = count // given.every
            (self.buy if self.emitted % 2 else self.sell)(listed, given.quantity)


class GroupTaker(Taker):
    """The same, by groups."""

    def on_ticks(self, instrument: Instrument, records: npt.NDArray[np.void]) -> None:
        """Count, and act."""
        self.seen += len(records)
        self.seen_ns.append((int(records["timestamp_ns"][-1]), self.now_ns))
        self.act(instrument, self.seen)


class Maker(Strategy):
    """Always rests an order on each side, cancels what has drifted, and amends now and then."""

    def __init__(self, host: Host, parameters: Any) -> None:
        super().__init__(host, parameters)
        self.seen = 0

    def on_tick(self, tick: Tick) -> None:
        """Quote every 40 ticks, take back every 160."""
        self.seen += 1
        if tick.bid is None or tick.ask is None or self.seen % 40:
            return
        if self.seen % 160 == 0:
            for order in self.open_orders(tick):
                self.cancel(order.signal_id)
        elif self.seen % 120 == 0 and self.open_orders(tick):
            self.amend(self.open_orders(tick)[0].signal_id, quantity=2.5)
        else:
            self.buy(tick, 2, limit_price=tick.bid)
            self.sell(tick, 2, limit_price=tick.ask)


class Raiser(Strategy):
    """Raises at every tick."""

    def on_tick(self, tick: Tick) -> None:
        """Raise."""
        raise RuntimeError(f"no idea what to do with {tick.symbol}")


def make_plan(strategy: type[Strategy] = Taker, parameters: dict[str, Any] | None = None, **changes: Any) -> Plan:
    """A plan; changes named as fields of `BacktestConfig`, of the venue as `venue`, or of the plan itself."""
    backtest = {name: changes.pop(name) for name in BacktestConfig.__struct_fields__ if name in changes}
    config = changes.pop("strategy_config", StrategyConfig())
    fields: dict[str, Any] = {
        "instruments": InstrumentTable([BTC, ETH]),
        "executor": ExecutorConfig(),
        "venue": SimulatedVenueConfig(),
        "strategies": {
            "test": StrategyPlan(
                strategy_type=strategy,
                parameters=msgspec.convert(parameters or {}, strategy.Parameters),
                config=config,
            )
        },
        "backtest": msgspec.convert(backtest, BacktestConfig),
    }
    return Plan(**{**fields, **changes})


def make_source(count: int = 2_000, *, is_both: bool = False, per_array: int = 300) -> ArraySource:
    """Arrays of a walk, of one instrument or of two that overlap."""
    arrays = [TickArray(BTC, make_records(count))]
    if is_both:
        arrays.append(TickArray(ETH, make_records(count // 2, seed=2, step_ms=2.3, start=5_000)))
    return ArraySource.of(arrays, per_array)


def make_market(count: int = 2_000) -> list[MarketMessage]:
    """The same walk as messages: single ticks, groups, and trades at and beyond the touch."""
    generator = np.random.default_rng(5)
    records, messages, place = make_records(count), [], 0
    market: list[MarketMessage] = messages  # type: ignore[assignment]
    while place < count:
        length = int(generator.integers(1, 6))
        part = records[place : place + length]
        time_ns = int(part["timestamp_ns"][-1])
        if generator.integers(3) == 0:
            side, price = ("sell", part["bid"][-1] - 0.02) if generator.integers(2) else ("buy", part["ask"][-1] + 0.02)
            market.append(
                Trade("gateway", 1, 1, time_ns, EXCHANGE, "BTC/USDT", "BTCUSDT", time_ns, float(price), 1.0, side)  # type: ignore[arg-type]
            )
        market.append(
            Ticks("gateway", 1, place + len(part), time_ns, EXCHANGE, "BTC/USDT", "BTCUSDT", len(part), part.tobytes())
        )
        place += length
    return market


def run(plan: Plan, source: Any = None) -> Pipeline:
    """Run to the end; the pipeline that has, with its outcome as `outcome`."""
    pipeline = Pipeline(plan, make_source() if source is None else source)
    pipeline.outcome = pipeline.run()  # type: ignore[attr-defined]
    return pipeline


def hash_of(plan: Plan, source: Any = None) -> str:
    """The result hash of a run."""
    found: str = run(plan, source).outcome.result_hash  # type: ignore[attr-defined]
    return found
