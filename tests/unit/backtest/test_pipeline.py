import itertools
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from support.backtest_builders import (
    BTC,
    START_NS,
    GroupTaker,
    Maker,
    MessageSource,
    Raiser,
    Taker,
    hash_of,
    make_market,
    make_plan,
    make_records,
    make_source,
    make_tick,
    make_trade,
    run,
)

from backtest.config import LatenciesConfig
from backtest.source import ArraySource, MarketMessage, TickArray
from common.clock import NS_PER_MS, NS_PER_S, NS_PER_US
from common.events.market import Tick
from exchange.simulated.config import SimulatedVenueConfig
from executor.config import ExecutorConfig
from executor.limits import RiskLimits
from strategy.base import Strategy
from strategy.config import StrategyConfig

DRAWN = {"market": "50..900", "signal": "10..500", "order": "10..3000", "answer": "5..700", "event": 40}


def market_of(name: str) -> Any:
    """A source, made anew for each run."""
    if name == "messages":
        return MessageSource(make_market())
    return make_source(is_both=name == "two instruments")


@pytest.mark.unmeasured
@pytest.mark.parametrize("market", ["one instrument", "two instruments", "messages"])
@pytest.mark.parametrize("strategy", [Taker, Maker, GroupTaker])
@pytest.mark.parametrize("group_ms", [0, 7])
@pytest.mark.parametrize("latency", [{}, DRAWN, dict.fromkeys(DRAWN, 0)], ids=["fixed", "drawn", "none"])
def test_venue_that_sees_only_what_counts_gives_what_one_that_sees_every_tick_gives(
    market: str, strategy: type[Strategy], group_ms: int, latency: dict[str, Any]
) -> None:
    """The quick way is exact: same decisions, orders and fills at the same times, to the last byte."""
    plan = make_plan(strategy, latency_us=latency, group_ms=group_ms)

    quick = run(plan, market_of(market))
    slow = run(msgspec.structs.replace(plan, is_exhaustive=True), market_of(market))

    assert quick.outcome == slow.outcome  # type: ignore[attr-defined]
    assert quick.recording.fills().tobytes() == slow.recording.fills().tobytes()
    assert len(quick.recording.fills()) >= 10


def test_same_input_gives_the_same_hash_and_any_other_another() -> None:
    """The hash says whether two backtests are the same: parameters, latencies, fees and market are all in it."""
    first = hash_of(make_plan())

    assert hash_of(make_plan()) == first
    assert hash_of(make_plan(), ArraySource.of([TickArray(BTC, make_records(2_000))], 71)) == first
    others = [
        hash_of(make_plan(parameters={"every": 51})),
        hash_of(make_plan(latency_us={"order": 2_500})),
        hash_of(make_plan(venue=SimulatedVenueConfig(taker_fee_rate=Decimal("0.0004")))),
        hash_of(make_plan(), ArraySource.of([TickArray(BTC, make_records(2_000, seed=9))])),
        hash_of(make_plan(latency_us=DRAWN, seed=1)),
        hash_of(make_plan(latency_us=DRAWN, seed=2)),
    ]
    assert len({first, *others}) == len(others) + 1


@pytest.mark.parametrize(("order_us", "price"), [(100, "100.01"), (4_000, "110.01")])
def test_decision_meets_the_market_as_it_is_when_the_order_arrives(order_us: int, price: str) -> None:
    """The price jumps 3 ms after the tick that is decided on: a fast order has the old price, a slow one has not."""
    market = [make_tick(0, 99.99, 100.01), make_tick(2_000, 100, 100.01), make_tick(2_003, 110, 110.01)]
    plan = make_plan(parameters={"every": 2}, latency_us={"order": order_us})

    pipeline = run(plan, MessageSource([*market, make_tick(3_000, 120, 120.01)]))

    fill = pipeline.recording.fills()[0]
    assert fill["price_ticks"] * BTC.tick_size == Decimal(price)
    assert fill["decision_mid"] == 100.005
    sent_ns = START_NS + 2_000 * NS_PER_MS + (100 + 100 + order_us) * NS_PER_US
    assert fill["time_ns"] == sent_ns + 1_000 * NS_PER_US  # the venue's own order entry


def test_strategy_sees_a_tick_after_its_latency_and_never_before() -> None:
    """`now_ns` of a callback is the tick's own time and the way from the gateway."""

    class Watcher(Taker):
        def on_tick(self, tick: Tick) -> None:
            self.seen_ns.append((tick.timestamp_ns, self.now_ns))

    pipeline = run(make_plan(Watcher, latency_us={"market": "200..5000"}, seed=3))
    seen = pipeline.engines["test"].strategy.seen_ns  # type: ignore[attr-defined]

    delays = [now_ns - stamped_ns for stamped_ns, now_ns in seen]
    assert len(seen) == 2_000
    assert min(delays) >= 200 * NS_PER_US
    assert len(set(delays)) > 100
    assert [now_ns for _, now_ns in seen] == sorted(now_ns for _, now_ns in seen)


def test_groups_are_handed_over_when_their_interval_is_over() -> None:
    """Whoever waits for 10 ms of ticks has none of them earlier."""
    pipeline = run(make_plan(GroupTaker, group_ms=10, latency_us={"market": 500}))
    seen = pipeline.engines["test"].strategy.seen_ns  # type: ignore[attr-defined]

    assert pipeline.engines["test"].strategy.seen == 2_000  # type: ignore[attr-defined]
    assert len(seen) == 200
    interval_ns = 10 * NS_PER_MS
    assert all(now_ns == (last_ns // interval_ns + 1) * interval_ns + 500 * NS_PER_US for last_ns, now_ns in seen)


def test_recorded_groups_stay_together_unless_said_otherwise() -> None:
    """What the gateway sent as one message is one call of `on_ticks`."""
    market = make_market(500)
    pipeline = run(make_plan(GroupTaker), MessageSource(market))

    groups = [message.count for message in market if hasattr(message, "count")]
    assert len(pipeline.engines["test"].strategy.seen_ns) == len(groups)  # type: ignore[attr-defined]
    assert pipeline.engines["test"].ticks_received == sum(groups) == 500


def test_resting_order_is_filled_by_a_trade_beyond_it() -> None:
    """The venue sees trades too while an order rests, and only then."""

    class OnceMaker(Strategy):
        def on_tick(self, tick: Tick) -> None:
            if not self.open_orders() and not self.pending_signals():
                self.buy(tick, 1, limit_price=99)

    market: list[MarketMessage] = [make_tick(after, 100, 100.02) for after in (0, 1_000, 1_500, 4_000)]
    market[3:3] = [make_trade(2_000, 98.9, 0.4, "sell"), make_trade(2_100, 99, 5, "sell")]

    fills = run(make_plan(OnceMaker), MessageSource(market)).recording.fills()

    assert fills["lots"].tolist() == [400]
    assert fills["is_maker"].tolist() == [1]
    assert fills["price_ticks"].tolist() == [9_900]


def test_what_works_at_the_end_is_cancelled_and_what_is_held_is_valued_or_closed() -> None:
    """A backtest leaves nothing open; with `is_flattened` it holds nothing either."""
    odd = make_plan(parameters={"every": 400})
    left = run(odd)
    closed = run(msgspec.structs.replace(odd, is_flattened=True))
    made = run(make_plan(Maker))

    assert left.engines["test"].portfolio.position(BTC).quantity == 1
    assert closed.engines["test"].portfolio.position(BTC).quantity == 0
    assert len(closed.recording.fills()) == len(left.recording.fills()) + 1
    assert made.executor.counters()["orders_working"] == 0
    assert made.engines["test"].is_settled


def test_strategy_that_raises_is_counted_and_halted_as_live() -> None:
    """The run goes on to its end, and says what was raised and that trading was over."""
    outcome = run(make_plan(Raiser, strategy_config=StrategyConfig(failures_max=3))).outcome  # type: ignore[attr-defined]

    assert outcome.counters["strategy.test"]["callbacks_failed"] == 3
    assert outcome.failures[0] == "on_tick: RuntimeError: no idea what to do with BTC/USDT"
    assert outcome.halts["test"].startswith("halted: 3 callbacks failed")
    assert outcome.ticks == 2_000


def test_risk_limits_of_the_config_deny_what_they_deny_live() -> None:
    """The executor is the one of live trading, limits and all."""
    limits = ExecutorConfig(risk=RiskLimits(position_notional_max=Decimal(50)))
    counters = run(make_plan(executor=limits)).outcome.counters["executor"]  # type: ignore[attr-defined]

    assert counters["signals_denied"] == 40
    assert counters.get("orders_accepted", 0) == 0


def test_timer_runs_on_virtual_time() -> None:
    """`on_timer` comes at its interval, through the longest quiet."""

    class Timed(Taker):
        def on_timer(self, now_ns: int) -> None:
            self.seen_ns.append((now_ns, self.now_ns))

    market = [make_tick(0, 100, 100.02), make_tick(60_000, 100, 100.02)]
    pipeline = run(make_plan(Timed, strategy_config=StrategyConfig(timer_ms=500)), MessageSource(market))
    times = [now_ns for now_ns, _ in pipeline.engines["test"].strategy.seen_ns]  # type: ignore[attr-defined]

    assert 115 <= len(times) <= 125
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {NS_PER_S // 2}


def test_memory_holds_a_window_however_long_the_range() -> None:
    """After 500 orders in 50,000 ticks, everybody has forgotten all but the newest."""
    plan = make_plan(parameters={"every": 100}, ended_orders_max=100)
    pipeline = run(plan, make_source(50_000, per_array=1_000))

    assert len(pipeline.recording.fills()) == 500
    assert len(pipeline.executor.book.orders) <= 101
    assert len(pipeline.executor.book.signals) <= 101
    assert len(pipeline._desk._ledger.orders) <= 101  # type: ignore[attr-defined]
    assert len(pipeline.engines["test"].outbox) == 0
    assert len(pipeline.recording._underway) == 0
    assert len(pipeline.tape.times) <= 2_000
    assert len(pipeline.tape.deliveries) <= 2_000


def test_empty_market_gives_an_empty_result() -> None:
    """No tick, no start, no division by nothing."""
    pipeline = run(make_plan(), MessageSource([]))

    assert pipeline.outcome.ticks == 0  # type: ignore[attr-defined]
    assert len(pipeline.recording.fills()) == 0


def test_latency_defaults_are_those_of_the_config() -> None:
    """Five hops, each with a default of its own."""
    assert {str(span) for span in LatenciesConfig().spans().values()} == {"100 µs"}
