"""An operator at a running pipeline: halt, resume, cancel all, other limits; each limit fires in the real executor."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from support.pipeline import Pipeline, make_config
from support.plain_client import Listener, PlainClient

from common.errors import ExitCode

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]

# One after the other on one pipeline: the limit, and the reason that signals are denied for.
LIMITS: list[tuple[dict[str, Any], str]] = [
    ({"order_notional_max": "1"}, "order_notional_limit"),
    ({"gross_notional_max": "1"}, "gross_notional_limit"),
    ({"net_notional_max": "1"}, "net_notional_limit"),
    ({"position_notional_max": "1"}, "position_notional_limit"),
    ({"open_orders_max": 0}, "open_orders_limit"),
    ({"orders_per_second_max": 0}, "order_rate_limit"),
    ({"price_collar": "0"}, "price_collar"),
    ({"each_strategy": {"order_notional_max": "1"}}, "order_notional_limit"),
    ({"symbols": {"simulated.BTC/USDT": {"order_quantity_max": "0.0001"}}}, "order_quantity_limit"),
    ({"symbols": {"simulated.BTC/USDT": {"position_quantity_max": "0.0001"}}}, "position_quantity_limit"),
    ({"requires_balance": True}, "unknown_balance"),
    ({"margin_rate": "0.5"}, "unknown_balance"),
    ({"duplicate_window_ms": 10_000}, "duplicate_order"),
]


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    """A strategy that buys and sells, and one whose order rests."""
    with Pipeline() as started:
        started.start("exchange", "executor", "gateway")
        started.wait_tradable()
        started.start_strategy("pingpong", "support.pipeline_strategies:PingPong")
        started.start_strategy("resting", "support.pipeline_strategies:BuyOnce", quantity=0.01, limit_price=1_000.0)
        started.wait_ready()
        started.wait_counter("pingpong", "signals_accepted", 2)
        yield started


def set_limits(pipeline: Pipeline, limits: dict[str, Any]) -> Any:
    """Write the limits into the config and have the executor read it anew."""
    path = Path(pipeline.config_path)
    config = json.loads(path.read_text())
    config.setdefault("executor", {})["risk"] = limits
    path.write_text(json.dumps(config))
    return pipeline.run("reload", "--by", "jane", "--json")


def denied(pipeline: Pipeline, reason: str) -> int:
    """How many signals were denied for a reason."""
    return pipeline.counter("executor", f"denied_{reason}")


@pytest.mark.parametrize(
    ("limits", "reason"), LIMITS, ids=[f"{reason}-{next(iter(limits))}" for limits, reason in LIMITS]
)
def test_limit_holds_after_a_reload_and_is_gone_after_the_next(
    pipeline: Pipeline, limits: dict[str, Any], reason: str
) -> None:
    """Without a restart, with its reason code on each denied signal."""
    before = denied(pipeline, reason)

    done = set_limits(pipeline, limits)
    assert done.returncode == ExitCode.OK, done.stderr
    pipeline.wait_counter("executor", f"denied_{reason}", before + 1)
    set_limits(pipeline, {})

    assert json.loads(done.stdout)["limits"]
    accepted = pipeline.counter("pingpong", "signals_accepted")
    pipeline.wait_counter("pingpong", "signals_accepted", accepted + 1)


def test_config_that_is_wrong_is_refused_and_changes_nothing(pipeline: Pipeline) -> None:
    """The message names the key; the process trades on."""
    done = set_limits(pipeline, {"order_notional": "1"})
    set_limits(pipeline, {})

    assert done.returncode == ExitCode.CHECKS_FAILED
    assert "order_notional" in done.stdout + done.stderr
    assert pipeline.is_running("executor")


def test_halt_takes_orders_back_survives_a_kill_and_is_lifted_by_a_person(pipeline: Pipeline) -> None:
    """The kill switch, from the command line."""
    halted = pipeline.run("halt", "--by", "jane", "--reason", "prices look odd", "--json")
    assert halted.returncode == ExitCode.OK, halted.stderr
    pipeline.eventually(
        lambda: (
            not [order for order in pipeline.ledger()["orders"] if order["status"] in {"accepted", "partially_filled"}]
        )
    )
    before = denied(pipeline, "trading_halted")
    pipeline.wait_counter("executor", "denied_trading_halted", before + 1)

    pipeline.kill("executor")
    pipeline.restart("executor")
    pipeline.wait_ready("executor")
    pipeline.wait_counter("executor", "denied_trading_halted", 1)
    shown = pipeline.run("trading", "--json")
    resumed = pipeline.run("resume", "--by", "jane", "--reason", "looked at it", "--yes", "--json")

    assert shown.returncode == ExitCode.CHECKS_FAILED
    assert json.loads(shown.stdout)["scopes"][0]["state"] == "halted"
    assert json.loads(shown.stdout)["scopes"][0]["by"] == "jane"
    assert resumed.returncode == ExitCode.OK, resumed.stderr
    accepted = pipeline.counter("pingpong", "signals_accepted")
    pipeline.wait_counter("pingpong", "signals_accepted", accepted + 1)


def test_halt_of_one_strategy_leaves_the_other_trading(pipeline: Pipeline) -> None:
    """And cancel-all takes back without halting."""
    pipeline.run("halt", "--scope", "strategy:resting", "--by", "jane", "--reason", "testing")
    done = pipeline.run("cancel-all", "--by", "jane", "--reason", "testing", "--json")
    accepted = pipeline.counter("pingpong", "signals_accepted")
    pipeline.wait_counter("pingpong", "signals_accepted", accepted + 2)
    pipeline.run("resume", "--scope", "strategy:resting", "--by", "jane", "--reason", "done", "--yes")

    assert done.returncode == ExitCode.OK, done.stderr


def test_loss_beyond_its_limit_halts_the_strategy_by_itself(pipeline: Pipeline) -> None:
    """Fees alone are a loss; with a limit of nothing the strategy is stopped, and a person lifts it."""
    set_limits(pipeline, {"each_strategy": {"drawdown_max": "0"}})
    before = denied(pipeline, "trading_halted")
    pipeline.wait_counter("executor", "denied_trading_halted", before + 1)
    shown = json.loads(pipeline.run("trading", "--json").stdout)
    set_limits(pipeline, {})
    resumed = pipeline.run("resume", "--scope", "strategy:pingpong", "--by", "jane", "--reason", "known", "--yes")

    scopes = {scope["scope"]: scope["by"] for scope in shown["scopes"]}
    assert scopes["strategy:pingpong"] == "limit:DRAWDOWN_LIMIT"
    assert resumed.returncode == ExitCode.OK, resumed.stderr


def test_alarm_of_the_exchange_is_told_on_telemetry() -> None:
    """The executor dies with an order at the venue: whoever listens hears of it, and the status counts it."""
    with (
        Pipeline(make_config(exchange={"silence_ms_max": 2_000})) as pipeline,
        PlainClient(pipeline.endpoint) as people,
    ):
        (pipeline.directory / "sockets").mkdir()
        telemetry = people.bind(zmq.SUB, "telemetry")
        telemetry.subscribe(b"alarm.exchange.")
        pipeline.start("exchange", "executor", "gateway")
        pipeline.wait_tradable()
        pipeline.start_strategy("resting", "support.pipeline_strategies:BuyOnce", quantity=0.01, limit_price=1_000.0)
        pipeline.wait_counter("executor", "orders_working", 1)

        pipeline.kill("executor")
        topic, body = Listener(telemetry).next()
        pipeline.wait_counter("exchange", "alarms_executor_silent", 1)

    assert topic == "alarm.exchange.EXECUTOR_SILENT"
    assert (body["subject"], body["severity"]) == ("exchange", "critical")
    assert body["detail"].startswith("executor: 1 working orders")
