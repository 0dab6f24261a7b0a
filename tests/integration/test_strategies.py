"""Strategies in processes of their own: failing ones, two of a kind, and orders that end in every way."""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from support.feed_builders import CAPTURED_NS, make_line, write_capture
from support.pipeline import Pipeline, View, make_config, make_instrument

pytestmark = pytest.mark.processes

# Each test has an instrument of its own, whose market nobody else trades on.
SYMBOLS = ("PART/USDT", "REST/USDT", "TWIN/USDT", "FLIP/USDT", "MISS/USDT")
QUOTE_COUNT = 4_000  # 200 s: longer than these tests ever take
QUOTE_INTERVAL_NS = 50_000_000
BID, ASK = "99.50", "100.50"
BID_SIZE, ASK_SIZE = 2, 3


@pytest.fixture(scope="module")
def quiet_market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A market that never moves: 2 are bid at 99.50, 3 offered at 100.50. FLIP shows 3 and 4 in turns."""
    capture = write_quotes(tmp_path_factory.mktemp("market") / "capture")
    config = make_config(
        gateway={"feed": "recorded", "recorded": {"path": str(capture)}},
        instruments=[make_instrument(symbol, exchange="binance", lot_size="0.01") for symbol in SYMBOLS],
        executor={"reference_age_ms_max": 600_000},
        strategy={
            name: {"instruments": [f"binance.{symbol}"], "tick_age_ms_max": 600_000}
            for name, symbol in {
                "part": "PART/USDT",
                "rest": "REST/USDT",
                "one": "TWIN/USDT",
                "two": "TWIN/USDT",
                "flip": "FLIP/USDT",
                "miss": "MISS/USDT",
            }.items()
        },
    )
    with Pipeline(config) as pipeline:
        pipeline.start("exchange", "executor", "gateway")
        pipeline.wait_tradable()
        yield pipeline


def write_quotes(path: Path) -> Path:
    """A capture of quotes in turns of all instruments."""
    lines = []
    for number in range(QUOTE_COUNT):
        for symbol in SYMBOLS:
            size = ASK_SIZE + (number % 2 if symbol == "FLIP/USDT" else 0)
            quote = {"u": number, "s": symbol.replace("/", ""), "b": BID, "B": str(BID_SIZE), "a": ASK, "A": str(size)}
            stream = f"{quote['s'].lower()}@bookTicker"
            lines.append(make_line(stream, quote, CAPTURED_NS + number * QUOTE_INTERVAL_NS))
    return write_capture(path, lines)


def buy_once(pipeline: Pipeline, name: str, **params: object) -> None:
    """Start a strategy that sends one order."""
    pipeline.start_strategy(name, "support.pipeline_strategies:BuyOnce", **params)


def wait_order(pipeline: Pipeline, strategy: str, status: str) -> View:
    """The one order of a strategy, once the executor's journal says that it is there."""

    def find() -> View | None:
        orders = [order for order in pipeline.journal()["orders"] if order["strategy"] == strategy]
        assert len(orders) <= 1
        return orders[0] if orders and orders[0]["status"] == status else None

    return pipeline.eventually(find, what=f"order of {strategy} {status}")


def position_of(pipeline: Pipeline, strategy: str) -> View:
    """The one position of a strategy, by the executor's journal."""
    positions = [position for position in pipeline.journal()["positions"] if position["strategy"] == strategy]
    assert len(positions) == 1
    return positions[0]


def executions_of(pipeline: Pipeline, order: View) -> list[View]:
    """What the exchange's own ledger says of an order."""
    executions = pipeline.ledger()["executions"]
    return [row for row in executions if row["client_order_id"] == order["client_order_id"]]


def test_market_order_beyond_what_is_offered_is_filled_in_part(quiet_market: Pipeline) -> None:
    """5 wanted, 3 offered: 3 are bought, the rest ends, the position is what was bought."""
    buy_once(quiet_market, "part", quantity=5)

    order = wait_order(quiet_market, "part", "expired")

    position = position_of(quiet_market, "part")
    kinds = [(row["execution_type"], row["quantity"]) for row in executions_of(quiet_market, order)]
    assert (order["filled_quantity"], order["average_price"]) == ("3", "100.5")
    assert kinds == [("trade", "3"), ("expired", "0")]
    assert (position["quantity"], position["entry_price"]) == ("3", "100.5")


def test_limit_order_rests_and_is_cancelled_by_its_strategy(quiet_market: Pipeline) -> None:
    """It joins the book below the market, its strategy takes it back, and nothing was bought."""
    buy_once(quiet_market, "rest", quantity=1, limit_price=99, is_cancelled=True)

    order = wait_order(quiet_market, "rest", "cancelled")

    kinds = [(row["execution_type"], row["reason"]) for row in executions_of(quiet_market, order)]
    assert (order["time_in_force"], order["filled_quantity"]) == ("gtc", "0")
    assert kinds == [("cancelled", "CANCEL_REQUESTED")]
    quiet_market.wait_counter("rest", "cancels_emitted", 1)


def test_resting_remainder_is_filled_by_the_next_offer(quiet_market: Pipeline) -> None:
    """5 wanted at the ask: what is shown is taken, the rest waits for new sizes and pays as maker."""
    buy_once(quiet_market, "flip", quantity=5, limit_price=100.5)

    order = wait_order(quiet_market, "flip", "filled")

    fills = executions_of(quiet_market, order)
    assert [fill["liquidity"] for fill in fills] == ["taker", "maker"]
    assert sorted(fill["quantity"] for fill in fills) in (["2", "3"], ["1", "4"])
    assert position_of(quiet_market, "flip")["quantity"] == "5"


def test_order_that_the_strategy_never_cancels_stays_at_the_exchange(quiet_market: Pipeline) -> None:
    """A resting order outlives its strategy, which finds it again in its next life."""
    buy_once(quiet_market, "miss", quantity=1, limit_price=99)
    order = wait_order(quiet_market, "miss", "accepted")
    quiet_market.stop("miss")

    quiet_market.start_strategy("miss", "support.pipeline_strategies:CancelWhatIsOpen")

    assert wait_order(quiet_market, "miss", "cancelled")["client_order_id"] == order["client_order_id"]


def test_two_instances_of_a_strategy_have_positions_of_their_own(quiet_market: Pipeline) -> None:
    """The same class under two names: two outboxes, two positions in one instrument, one market."""
    buy_once(quiet_market, "one", quantity=1)
    buy_once(quiet_market, "two", quantity=2)

    wait_order(quiet_market, "one", "filled")
    wait_order(quiet_market, "two", "filled")

    assert (position_of(quiet_market, "one")["quantity"], position_of(quiet_market, "two")["quantity"]) == ("1", "2")
    for name in ("one", "two"):
        quiet_market.wait_counter(name, "signals_accepted", 1)
        assert quiet_market.counter(name, "signals_emitted") == 1


def test_strategy_that_awaits_its_orders_never_buys_what_it_holds(pipeline: Pipeline) -> None:
    """When an order's end is told, so is the position that it made: no tick comes in between."""
    pipeline.start_strategy("careful", "support.pipeline_strategies:PingPong", quantity=0.05)
    pipeline.wait_counter("careful", "signals_accepted", 60)
    pipeline.stop("careful")

    orders = [order for order in pipeline.journal()["orders"] if order["strategy"] == "careful"]
    held: defaultdict[str, Decimal] = defaultdict(Decimal)
    for order in orders:
        is_buy = order["side"] == "buy"
        assert not (is_buy and held[order["symbol"]] > Decimal("0.01")), order
        held[order["symbol"]] += Decimal(order["filled_quantity"]) * (1 if is_buy else -1)


def test_strategy_that_fails_too_often_is_halted_and_lives(pipeline: Pipeline) -> None:
    """Ten failures in a row: no callback any more, no signal, but a process that reports and ends in order."""
    pipeline.start_strategy("broken", "support.pipeline_strategies:Failing", failures=1_000_000)
    pipeline.wait_counter("broken", "is_halted", 1)
    received = pipeline.counter("broken", "ticks_received")
    pipeline.wait_counter("broken", "ticks_received", received + 50)

    row = next(row for row in pipeline.view("status")["processes"] if row["name"] == "broken")
    code = pipeline.stop("broken")

    records = [record["event"] for record in pipeline.log("broken")]
    assert row["condition"] == "ready"
    assert (row["counters"]["callbacks_failed"], row["counters"]["is_halted"]) == (10, 1)
    assert row["counters"]["callbacks_skipped"] > 0
    assert row["counters"]["signals_emitted"] == 0
    assert (records.count("callback_failed"), records.count("strategy_halted")) == (10, 1)
    assert code == 0


def test_strategy_that_fails_now_and_then_goes_on(pipeline: Pipeline) -> None:
    """Nine failures are counted and logged with their traceback; the tenth callback trades."""
    pipeline.start_strategy("clumsy", "support.pipeline_strategies:Failing", failures=9)
    pipeline.wait_counter("clumsy", "signals_accepted", 1)

    counters = pipeline.report("clumsy")["counters"]
    code = pipeline.stop("clumsy")

    failures = [record for record in pipeline.log("clumsy") if record["event"] == "callback_failed"]
    assert (counters["callbacks_failed"], counters["is_halted"]) == (9, 0)
    assert [record["error"] for record in failures] == [f"ZeroDivisionError: failure {n}" for n in range(1, 10)]
    assert all("Traceback" in record["exception"] for record in failures)
    assert code == 0


def test_failing_strategy_disturbs_no_other(pipeline: Pipeline) -> None:
    """Beside one that fails on every tick another trades as always."""
    pipeline.start_strategy("beside", "support.pipeline_strategies:PingPong")
    pipeline.start_strategy("failing", "support.pipeline_strategies:Failing", failures=1_000_000)
    pipeline.wait_counter("failing", "is_halted", 1)

    before = pipeline.counter("beside", "signals_accepted")
    pipeline.wait_counter("beside", "signals_accepted", before + 5)

    assert pipeline.counter("beside", "callbacks_failed") == 0
    assert [pipeline.stop(name) for name in ("beside", "failing")] == [0, 0]
