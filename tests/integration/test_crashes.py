"""kill -9 of each process while it trades: it comes back, the others go on, and all books agree afterwards."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from support.pipeline import Pipeline, View

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]

EVERYONE = ("exchange", "executor", "gateway", "pingpong", "pongping")
STRATEGIES = ("pingpong", "pongping")
ENDED = ("filled", "expired", "cancelled", "rejected")


@pytest.fixture(scope="module")
def started() -> Iterator[Pipeline]:
    """Everybody was started once; all these tests crash the same pipeline."""
    with Pipeline() as pipeline:
        pipeline.start("exchange", "executor", "gateway")
        for name in STRATEGIES:
            pipeline.start_strategy(name, "support.pipeline_strategies:PingPong")
        yield pipeline


@pytest.fixture
def trading(started: Pipeline) -> Pipeline:
    """Everybody runs, and both strategies have orders filled."""
    started.revive()
    assert_trading(started)
    return started


def assert_trading(pipeline: Pipeline) -> None:
    """From now on each strategy's signals become orders, and orders become fills."""
    accepted = {name: pipeline.counter(name, "signals_accepted") for name in STRATEGIES}
    filled = pipeline.counter("exchange", "executions_trade")
    for name in STRATEGIES:
        pipeline.wait_counter(name, "signals_accepted", accepted[name] + 2)
    pipeline.wait_counter("exchange", "executions_trade", filled + 2)


def assert_books_agree(pipeline: Pipeline) -> None:
    """Journal and ledger, which know nothing of each other, tell the same of every order that has ended."""
    journal, ledger = pipeline.journal(), pipeline.ledger()
    ended = [order for order in journal["orders"] if order["status"] in ENDED]
    placed = by_id(ledger["orders"])

    assert len(ended) > 0
    assert by_id(ended) == {order_id: placed[order_id] for order_id in by_id(ended)}
    assert ledger["summary"]["duplicate_orders"] == ledger["summary"]["overfilled_orders"] == 0
    assert journal["summary"]["orders_adopted"] == 0
    assert len({order["signal_id"] for order in journal["orders"]}) == len(journal["orders"])


def assert_books_are_closed(pipeline: Pipeline) -> None:
    """The same after an orderly end: all orders have ended, none is on one side only, positions are what was traded."""
    journal, ledger = pipeline.view("orders"), pipeline.view("ledger")

    assert_books_agree(pipeline)
    assert {order["status"] for order in journal["orders"]} <= {*ENDED, "denied"}
    assert placed_by(journal) == {order["client_order_id"] for order in ledger["orders"]}
    assert {signal["outcome"] for signal in journal["signals"]} <= {"accepted", "rejected", "denied"}
    assert journal["summary"]["last_execution_number"] == ledger["summary"]["executions"]
    assert net_positions(journal) == net_executions(ledger)


def placed_by(journal: View) -> set[str]:
    """Orders that the executor has sent."""
    return {order["client_order_id"] for order in journal["orders"] if order["status"] != "denied"}


def by_id(orders: list[View]) -> dict[str, tuple[str, ...]]:
    """What both sides must say of each order."""
    fields = ("status", "side", "quantity", "filled_quantity")
    return {order["client_order_id"]: tuple(order[field] for field in fields) for order in orders}


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
    assert_books_agree(trading)


def test_exchange_that_is_away_for_a_while_is_asked_again(trading: Pipeline) -> None:
    """Orders in flight without an answer are unknown, not failed: each is asked about, and placed once at most."""
    trading.kill("exchange")
    trading.wait_counter("executor", "requests_unanswered", 2)

    trading.restart("exchange")
    trading.wait_ready()
    assert_trading(trading)

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

    assert_books_agree(trading)


def test_each_killed_in_turn_again_and_again_loses_nothing(trading: Pipeline) -> None:
    """Two rounds without waiting for the others to recover in between."""
    for victim in EVERYONE * 2:
        trading.kill(victim)
        trading.restart(victim)

    trading.wait_ready()
    assert_trading(trading)

    assert_books_agree(trading)


def test_everybody_killed_at_once_goes_on_from_the_files(trading: Pipeline) -> None:
    """As after a power cut that spared the disk: journal and ledger are enough. After an orderly end they are equal."""
    for name in EVERYONE:
        trading.kill(name)

    trading.revive()
    assert_trading(trading)
    for name in ("gateway", *STRATEGIES):
        assert trading.stop(name) == 0
    trading.eventually(lambda: trading.journal()["summary"]["orders_working"] == 0, what="no order under way")
    trading.stop_all()

    assert_books_are_closed(trading)
