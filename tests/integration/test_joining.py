"""Processes that come late, early, or in any order."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pipeline import Pipeline, make_config

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]

EVERYONE = ("gateway", "exchange", "executor", "pingpong")
SYMBOLS = {"BTC/USDT", "BTC/USD", "ETH/USDT"}
# What each says when it is the only one.
ALONE = {
    "gateway": ("ready", ""),
    "exchange": ("starting", "the gateway's snapshot"),
    "executor": ("starting", "the exchange's answer about open orders and executions"),
    "pingpong": ("starting", "the gateway's snapshot"),
}


@pytest.fixture
def patient() -> Iterator[Pipeline]:
    """Nothing runs yet; strategies take ticks of any age, so that a slow machine changes no count."""
    with Pipeline(make_config(strategy={"late": {"tick_age_ms_max": 600_000}})) as pipeline:
        yield pipeline


def start(pipeline: Pipeline, name: str) -> None:
    """Start one process, whichever it is."""
    if name == "pingpong":
        pipeline.start_strategy(name, "support.pipeline_strategies:PingPong")
    else:
        pipeline.start(name)


def test_late_joiner_gets_the_snapshot_first_and_counts_no_loss(patient: Pipeline, tmp_path: Path) -> None:
    """A hundred ticks were sent before; it begins with the newest of each instrument and misses none from there."""
    path = tmp_path / "ticks"
    patient.start("gateway", "exchange", "executor")
    patient.wait_ready()
    patient.wait_counter("gateway", "ticks_published", 100)

    patient.start_strategy("late", "support.pipeline_strategies:Witness", path=path)
    patient.wait_counter("late", "ticks_received", 100)
    patient.stop("gateway")
    counters = patient.report("late")["counters"]

    seen = [(symbol, int(seq)) for symbol, seq, _ in map(str.split, path.read_text().splitlines())]
    assert {symbol for symbol, _ in seen[: len(SYMBOLS)]} == SYMBOLS
    for symbol in SYMBOLS:
        numbers = [seq for name, seq in seen if name == symbol]
        assert numbers[0] > 1
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert counters["ticks_from_snapshot"] == len(SYMBOLS)
    assert (counters["ticks_dropped"], counters["market_lost"], counters.get("ticks_stale", 0)) == (0, 0, 0)


def test_late_joiner_knows_what_it_held_before(patient: Pipeline) -> None:
    """A strategy that is started again under its name goes on with the position of its last life."""
    for name in EVERYONE:
        start(patient, name)
    patient.wait_tradable()
    patient.start_strategy("late", "support.pipeline_strategies:BuyOnce", quantity=0.02)
    patient.wait_counter("late", "signals_acknowledged", 1)
    patient.eventually(lambda: held(patient, "late"), what="a fill of the first life")
    patient.kill("late")

    patient.start_strategy("late", "support.pipeline_strategies:SellWhatIsHeld")
    patient.wait_counter("late", "signals_accepted", 1)

    patient.eventually(lambda: held(patient, "late") == set(), what="flat after the second life")


@pytest.mark.parametrize("first", EVERYONE)
def test_any_process_may_be_the_first(first: str) -> None:
    """It says what it waits for, and all are ready when the others have come, the last ones first."""
    others = [name for name in reversed(EVERYONE) if name != first]
    with Pipeline() as pipeline:
        start(pipeline, first)
        pipeline.eventually(lambda: pipeline.state(first) == ALONE[first][0] and pipeline.report(first)["turns"])
        alone = pipeline.report(first)

        for name in others:
            start(pipeline, name)
        pipeline.wait_ready()
        pipeline.wait_counter("pingpong", "signals_accepted", 3)
        status = pipeline.run("status")

    assert (alone["state"], alone["detail"]) == ALONE[first]
    assert status.returncode == 0, status.stderr
    assert {name for name in EVERYONE if name in status.stdout} == set(EVERYONE)


def held(pipeline: Pipeline, strategy: str) -> set[tuple[str, str]]:
    """Instruments and quantities that a strategy holds, by the executor's journal."""
    return {
        (position["symbol"], position["quantity"])
        for position in pipeline.journal()["positions"]
        if position["strategy"] == strategy and position["quantity"] != "0"
    }
