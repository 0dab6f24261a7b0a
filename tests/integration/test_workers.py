"""`tickpulse workers` beside a pipeline: what it shows is what was traded, through kill -9 and rebuilding."""

import json
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.pipeline import Pipeline, View, make_config

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]

READ_MODELS = ("positions", "audit")


@pytest.fixture(scope="module")
def traded() -> Iterator[Pipeline]:
    """A pipeline that has traded, whose workers were killed in the middle, and that has ended in order."""
    workers = {"enabled": ["positions", "audit", "risk_monitor", "notifications", "challenge"]}
    options: View = {"options": {"risk_monitor": {"interval_ms": 50, "limits": {"gross_value_max": "1"}}}}
    with Pipeline(make_config(workers={**workers, **options})) as pipeline:
        pipeline.start("exchange", "executor", "gateway", "workers")
        pipeline.start_strategy("pingpong", "support.pipeline_strategies:PingPong")
        pipeline.wait_ready()
        pipeline.wait_counter("exchange", "executions_trade", 4)
        pipeline.kill("workers")
        pipeline.wait_counter("exchange", "executions_trade", 8)
        pipeline.restart("workers")
        pipeline.wait_ready("workers")
        pipeline.wait_counter("exchange", "executions_trade", 12)
        pipeline.wait_counter("workers", "handled_challenge", 1)
        for name in ("gateway", "pingpong", "executor", "exchange"):
            assert pipeline.stop(name) == 0
        assert pipeline.stop("workers") == 0
        yield pipeline


def test_positions_and_profits_are_those_of_the_journal(traded: Pipeline) -> None:
    """To the last digit, with nothing left to read."""
    journal = traded.journal()

    shown = traded.view("pnl")

    assert (shown["behind"], shown["journal_seq"]) == (0, journal["journal_seq"])
    fields = ("strategy", "exchange", "symbol", "quantity", "entry_price", "realised_pnl", "fees")
    assert [{field: row[field] for field in fields} for row in shown["pnl"]] == journal["positions"]
    for name in ("realised_pnl", "fees"):
        assert Decimal(shown["totals"]["USDT"][name]) + Decimal(shown["totals"].get("USD", {}).get(name, "0")) == sum(
            Decimal(row[name]) for row in journal["positions"]
        )


def test_trades_are_those_of_the_ledger(traded: Pipeline) -> None:
    """Each one, also those that were made while the workers were dead."""
    done = traded.run("trades", "--json", "--limit", "0")

    shown, ledger = json.loads(done.stdout), traded.ledger()["executions"]
    fields = ("execution_number", "client_order_id", "symbol", "side", "quantity", "price", "fee")
    expected = [{field: row[field] for field in fields} for row in ledger if row["execution_type"] == "trade"]
    assert [{field: row[field] for field in fields} for row in shown["trades"]] == expected
    assert len(expected) >= 12


def test_trace_goes_from_the_tick_to_the_fill(traded: Pipeline) -> None:
    """Each step with whoever took it, in the order of their clocks, for the order and for its signal."""
    order = next(order for order in traded.journal()["orders"] if order["status"] == "filled")

    by_order, by_signal = (
        json.loads(traded.run("trace", order[name], "--json").stdout)["steps"]
        for name in ("client_order_id", "signal_id")
    )

    found = [(step["actor"], step["what"]) for step in by_order]
    assert found[:3] == [("gateway", "tick"), ("strategy:pingpong", "signal"), ("executor", "intent")]
    assert {("exchange", "answered accepted"), ("exchange", "trade")} <= set(found[3:])
    times = [step["timestamp_ns"] for step in by_order[:3]]
    assert times == sorted(times)
    assert by_signal == by_order


def test_people_are_shown_the_same(traded: Pipeline) -> None:
    """As tables, with how current they are."""
    order = next(order for order in traded.journal()["orders"] if order["status"] == "filled")

    texts = {name: traded.run(name).stdout for name in ("positions", "pnl", "trades")}
    trace = traded.run("trace", order["client_order_id"]).stdout

    assert all("which is the newest" in text for text in texts.values())
    assert "pingpong" in texts["pnl"]
    assert order["client_order_id"] in trace
    assert "steps in" in trace


def test_id_that_nobody_knows_is_said_so(traded: Pipeline) -> None:
    """Exit 3, without a traceback."""
    done = traded.run("trace", "nobody")

    assert (done.returncode, done.stdout) == (3, "")
    assert "nobody: expected the id of an order or a signal" in done.stderr


def test_risk_is_told_and_a_challenge_begun(traded: Pipeline) -> None:
    """What the risk monitor publishes reaches the other workers of its host: alerts, and the worth of the portfolio."""
    log = (traded.directory / "logs" / "notifications.log").read_text().splitlines()

    [attempt] = traded.view("challenge")["attempts"]

    assert "GROSS_VALUE_LIMIT_BROKEN" in {json.loads(line)["event"].get("code") for line in log}
    assert attempt["status"] == "running"
    assert Path(attempt["report"]).read_text().startswith("<!doctype html>")


def test_model_built_anew_is_the_same(traded: Pipeline) -> None:
    """From the journal alone, while nobody else runs; Ctrl-C ends it in order."""
    before = {name: traded.view(name) for name in ("pnl", "trades")}

    traded.launch_workers(*[option for name in READ_MODELS for option in ("--rebuild", name)])
    traded.wait_ready("workers")
    code = traded.stop("workers", signal.SIGINT)

    after = {name: traded.view(name) for name in ("pnl", "trades")}
    assert code == 130
    assert without_age(before) == without_age(after)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--rebuild", "nothing"), "--rebuild 'nothing': expected a read model that is enabled: positions, audit"),
        (("--set", 'workers.enabled=["auditt"]'), "worker 'auditt': expected one of audit, challenge"),
        (("--set", "workers.enable=1"), "enabled"),
        (("--set", "workers.options.risk_monitor.currncy=EUR"), "[workers.options.risk_monitor]"),
        (("--set", "workers.options.challenge.daily_loss_max=0"), "daily_loss_max: expected an amount above 0"),
    ],
)
def test_mistake_of_a_user_is_told_in_a_line(traded: Pipeline, arguments: tuple[str, ...], text: str) -> None:
    """Exit 78, so that supervisord does not try again."""
    done = traded.run("workers", *arguments)

    assert done.returncode == 78
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def without_age(views: dict[str, View]) -> dict[str, Any]:
    """All but how old the answer is."""
    return {name: {key: value for key, value in view.items() if key != "age_ms"} for name, view in views.items()}
