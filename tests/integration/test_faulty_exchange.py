"""`exchange --faults FILE` and `--clear-halt` with real processes; and what a strategy's stop does to its orders."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from support.pipeline import Pipeline, View, make_config
from support.plain_client import PlainClient, make_frame

from common.errors import ExitCode

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]

PLAN = """
[[fault]]
name = "answer_lost"
probability = 0.05
[[fault]]
name = "answer_duplicated"
probability = 0.2
[[fault]]
name = "execution_duplicated"
probability = 0.2
[[fault]]
name = "executions_reordered"
probability = 0.2
ms = 20
"""
PLAYED = ("answer_lost", "answer_duplicated", "execution_duplicated", "executions_reordered")
FORGETFUL_PLAN = """
client_id_memory = "none"
[[fault]]
name = "answer_lost"
probability = 0.3
[[fault]]
name = "reject"
probability = 0.3
"""
WORKING = ("accepted", "partially_filled")


def write_plan(pipeline: Pipeline, text: str) -> str:
    """A fault file in the run directory."""
    path = Path(pipeline.directory) / "faults.toml"
    path.write_text(text)
    return str(path)


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    """A strategy that buys and sells at an exchange that misbehaves."""
    resting = {"parameters": {"quantity": 0.01, "limit_price": 1_000.0}}
    strategies: dict[str, Any] = {
        "cancelling": {**resting, "on_stop_orders": "cancel"},
        "leaving": {**resting, "on_stop_orders": "leave"},
    }
    with Pipeline(make_config(executor={"request_timeout_ms": 100}, strategy=strategies)) as started:
        started.start_exchange("--faults", write_plan(started, PLAN))
        started.start("executor", "gateway")
        started.wait_tradable()
        started.start_strategy("pingpong", "support.pipeline_strategies:PingPong")
        yield started


def assert_one_order_for_each_signal(ledger: View) -> None:
    """The ledger knows nothing of signals: what it calls a duplicate is an id that was taken for new."""
    assert ledger["summary"]["duplicate_orders"] == ledger["summary"]["overfilled_orders"] == 0
    assert not [order["client_order_id"] for order in ledger["orders"] if "#" in order["client_order_id"]]


def statuses_of(pipeline: Pipeline, strategy: str) -> list[str]:
    """Where the exchange has the orders of a strategy."""
    ours = {order["client_order_id"] for order in pipeline.journal()["orders"] if order["strategy"] == strategy}
    return [order["status"] for order in pipeline.ledger()["orders"] if order["client_order_id"] in ours]


def test_planned_faults_occur_and_cost_no_order(pipeline: Pipeline) -> None:
    """Every kind of them; each signal has one order, and trading goes on."""
    for name in PLAYED:
        pipeline.wait_counter("exchange", f"faults_{name}", 2)
    accepted = pipeline.counter("pingpong", "signals_accepted")
    pipeline.wait_counter("pingpong", "signals_accepted", accepted + 2)

    assert_one_order_for_each_signal(pipeline.ledger())
    assert pipeline.counter("executor", "alarms_order_contradicted") == 0


def test_orderly_stop_cancels_what_works_or_leaves_it(pipeline: Pipeline) -> None:
    """As `on_stop_orders` says."""
    for name in ("cancelling", "leaving"):
        pipeline.start_strategy(name, "support.pipeline_strategies:BuyOnce")
    for name in ("cancelling", "leaving"):
        pipeline.eventually(lambda name=name: statuses_of(pipeline, name) == ["accepted"], what=f"{name} has an order")

    codes = [pipeline.stop(name) for name in ("cancelling", "leaving")]

    assert codes == [ExitCode.OK, ExitCode.OK]
    assert (statuses_of(pipeline, "cancelling"), statuses_of(pipeline, "leaving")) == (["cancelled"], ["accepted"])


def test_exchange_that_counts_too_many_orders_halts_until_a_person_clears_it(pipeline: Pipeline) -> None:
    """Somebody sends an order in the executor's name: everything is cancelled, and new orders are refused."""
    with PlainClient(pipeline.endpoint) as client:
        socket = client.connect(zmq.REQ, "orders")
        socket.send(_foreign_order(len(pipeline.ledger()["orders"])))
        assert socket.poll(10_000), "no answer"
    pipeline.wait_counter("exchange", "is_halted", 1)
    refused = pipeline.counter("executor", "orders_rejected")
    pipeline.wait_counter("executor", "orders_rejected", refused + 1)
    halted = pipeline.ledger()["orders"]

    assert not [order for order in halted if order["status"] in WORKING]
    assert "COUNT_MISMATCH" in {order["reason"] for order in halted}
    assert "exchange_halted" in {record["event"] for record in pipeline.log("exchange")}

    assert pipeline.stop("exchange") == ExitCode.OK
    pipeline.start_exchange("--clear-halt")
    pipeline.wait_ready("exchange")
    accepted = pipeline.counter("pingpong", "signals_accepted")
    pipeline.wait_counter("pingpong", "signals_accepted", accepted + 2)
    assert pipeline.counter("exchange", "is_halted") == 0


def test_venue_that_remembers_nothing_gets_each_order_once_and_a_person_hears_of_it() -> None:
    """Answers are lost, and no question can find what became of the order."""
    config = make_config(
        executor={"request_timeout_ms": 100, "reconcile_interval_ms": 100},
        strategy={"pingpong": {"signal_lifetime_ms": 1_000}},
    )
    with Pipeline(config) as pipeline:
        pipeline.start_exchange("--faults", write_plan(pipeline, FORGETFUL_PLAN))
        pipeline.start("executor", "gateway")
        pipeline.wait_tradable()
        pipeline.start_strategy("pingpong", "support.pipeline_strategies:PingPong")

        pipeline.wait_counter("executor", "alarms_order_unresolved", 1)
        pipeline.wait_counter("executor", "denied_trading_halted", 1)
        shown = pipeline.run("trading", "--json")
        assert pipeline.stop("pingpong") == ExitCode.OK
        journal, ledger = pipeline.journal(), pipeline.ledger()

    scopes = {scope["scope"]: scope["by"] for scope in msgspec.json.decode(shown.stdout)["scopes"]}
    assert shown.returncode == ExitCode.CHECKS_FAILED
    assert "reconciliation" in {by for scope, by in scopes.items() if scope.startswith("symbol:simulated.")}
    assert_one_order_for_each_signal(ledger)
    assert len(ledger["orders"]) > 0
    assert {"denied"} == {order["status"] for order in journal["orders"] if order["reason"] == "UNRESOLVED"}


def _foreign_order(order_count: int) -> bytes:
    body = {
        "type": "Venue.Order.Submit.v1",
        "source": "executor",
        "epoch": 0,
        "seq": 1,
        "timestamp_ns": 1,
        "exchange": "simulated",
        "symbol": "BTC/USDT",
        "request_id": "foreign-1",
        "client_order_id": "foreign",
        "side": "buy",
        "order_type": "market",
        "quantity": "0.01",
        "time_in_force": "ioc",
        "expires_ns": 1 << 62,
        "order_count": order_count,
    }
    return make_frame("submit_order", body)
