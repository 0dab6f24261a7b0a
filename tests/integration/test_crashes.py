"""kill -9 of each process while it trades: it comes back, the others go on, and all books agree afterwards."""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

import pytest
from support.eventually import eventually
from support.pipeline import Pipeline, View

pytestmark = pytest.mark.processes

EVERYONE = ("exchange", "executor", "gateway", "pingpong", "pongping")
STRATEGIES = ("pingpong", "pongping")


@pytest.fixture
def trading() -> Iterator[Pipeline]:
    """Everybody runs, and both strategies have orders filled."""
    with Pipeline() as pipeline:
        pipeline.start("exchange", "executor", "gateway")
        for name in STRATEGIES:
            pipeline.start_strategy(name, "support.pipeline_strategies:PingPong")
        pipeline.wait_ready()
        assert_trading(pipeline)
        yield pipeline


def assert_trading(pipeline: Pipeline) -> None:
    """From now on each strategy has new orders in the exchange's ledger."""
    before = fills_by_strategy(pipeline)
    eventually(
        lambda: all(fills_by_strategy(pipeline)[name] >= before[name] + 2 for name in STRATEGIES),
        what=f"both strategies trade; until now they had {before}",
    )


def fills_by_strategy(pipeline: Pipeline) -> Counter[str]:
    """How many orders of each strategy were filled, in part or in full."""
    return Counter(order["strategy"] for order in pipeline.journal()["orders"] if Decimal(order["filled_quantity"]) > 0)


def stop_when_settled(pipeline: Pipeline) -> None:
    """End everybody, once what was under way has arrived."""
    for name in ("gateway", *STRATEGIES):
        assert pipeline.stop(name) == 0
    eventually(lambda: pipeline.journal()["summary"]["orders_working"] == 0, what="no order under way")
    pipeline.stop_all()


def assert_books_agree(pipeline: Pipeline) -> None:
    """Journal and ledger, which know nothing of each other, tell the same story to the last digit."""
    journal, ledger = pipeline.view("orders"), pipeline.view("ledger")
    sent = [order for order in journal["orders"] if order["status"] != "denied"]

    assert by_id(sent, "status") == by_id(ledger["orders"], "status")
    assert by_id(sent, "filled_quantity") == by_id(ledger["orders"], "filled_quantity")
    assert by_id(sent, "quantity") == by_id(ledger["orders"], "quantity")
    assert ledger["summary"]["duplicate_orders"] == ledger["summary"]["overfilled_orders"] == 0
    assert len({order["signal_id"] for order in journal["orders"]}) == len(journal["orders"])
    assert {signal["outcome"] for signal in journal["signals"]} <= {"accepted", "rejected", "denied"}
    assert journal["summary"]["last_execution_number"] == ledger["summary"]["executions"]
    assert journal["summary"]["executions_foreign"] == 0
    assert net_positions(journal) == net_executions(ledger)


def by_id(orders: list[View], field: str) -> dict[str, str]:
    """One field of each order."""
    return {order["client_order_id"]: order[field] for order in orders}


def net_positions(journal: View) -> dict[str, Decimal]:
    """What all strategies together hold, by instrument."""
    net: dict[str, Decimal] = {}
    for position in journal["positions"]:
        net[position["symbol"]] = net.get(position["symbol"], Decimal(0)) + Decimal(position["quantity"])
    return {symbol: quantity for symbol, quantity in net.items() if quantity}


def net_executions(ledger: View) -> dict[str, Decimal]:
    """The same from the exchange's trades."""
    net: dict[str, Decimal] = {}
    for row in ledger["executions"]:
        sign = 1 if row["side"] == "buy" else -1
        net[row["symbol"]] = net.get(row["symbol"], Decimal(0)) + sign * Decimal(row["quantity"])
    return {symbol: quantity for symbol, quantity in net.items() if quantity}


@pytest.mark.parametrize("victim", ["exchange", "executor", "gateway", "pingpong"])
def test_killed_process_comes_back_and_trading_goes_on(trading: Pipeline, victim: str) -> None:
    """One crash, one restart of the same process; nobody else is restarted, nothing is lost or made twice."""
    others = {name: trading.pid(name) for name in EVERYONE if name != victim}

    trading.kill(victim)
    trading.restart(victim)
    trading.wait_ready(victim)
    assert_trading(trading)

    states = {name: trading.state(name) for name in others}
    assert states == dict.fromkeys(others, "ready")
    assert {name: trading.pid(name) for name in others} == others
    stop_when_settled(trading)
    assert_books_agree(trading)


def test_exchange_that_is_away_for_a_while_is_asked_again(trading: Pipeline) -> None:
    """Orders in flight without an answer are unknown, not failed: each is asked about, and placed once at most."""
    trading.kill("exchange")
    trading.wait_counter("executor", "requests_unanswered", 2)

    trading.restart("exchange")
    trading.wait_ready()
    assert_trading(trading)

    stop_when_settled(trading)
    assert_books_agree(trading)


def test_executor_that_is_away_for_a_while_finds_the_signals_again(trading: Pipeline) -> None:
    """Signals that nobody takes are sent again by their strategies until somebody does."""
    trading.kill("executor")
    before = {name: trading.counter(name, "signals_resent") for name in STRATEGIES}
    for name in STRATEGIES:
        trading.wait_counter(name, "signals_resent", before[name] + 1)

    trading.restart("executor")
    trading.wait_ready()
    assert_trading(trading)

    stop_when_settled(trading)
    assert_books_agree(trading)


def test_everybody_killed_at_once_goes_on_from_the_files(trading: Pipeline) -> None:
    """As after a power cut that spared the disk: state is journal and ledger, and they are enough."""
    for name in EVERYONE:
        trading.kill(name)

    trading.restart(*EVERYONE)
    trading.wait_ready()
    assert_trading(trading)

    stop_when_settled(trading)
    assert_books_agree(trading)


def test_each_killed_in_turn_again_and_again_loses_nothing(trading: Pipeline) -> None:
    """Two rounds without waiting for the others to recover in between."""
    for victim in EVERYONE * 2:
        trading.kill(victim)
        trading.restart(victim)

    trading.wait_ready()
    assert_trading(trading)

    stop_when_settled(trading)
    assert_books_agree(trading)
