"""The recorder beside a pipeline: kill -9 under load, and a log that agrees with everybody's own count."""

import importlib.util
import json
from pathlib import Path

import pytest
from support.pipeline import Pipeline, make_config, run_tickpulse

from chaos.drills.recorded import audit_facts, audit_log, audit_ticks
from common.errors import ExitCode
from common.events.system import GapFound
from common.store.address import open_store
from common.store.config import StoreConfig
from executor.history import JournalHistory

pytestmark = [
    pytest.mark.processes,
    pytest.mark.unmeasured,
    pytest.mark.skipif(importlib.util.find_spec("common.store.jsonl") is None, reason="needs the format JSON Lines"),
]
KILLS = 5  # `tickpulse chaos --processes --scenario recorder --faults 50` for more


@pytest.mark.timeout(180)
def test_kills_under_load_lose_nothing_that_was_acknowledged() -> None:
    """The log is whole, each number is recorded or in a gap, and what the executor's journal has stands in it once."""
    done = run_tickpulse(
        "chaos", "--processes", "--scenario", "recorder", "--faults", str(KILLS), "--json", timeout_s=170
    )

    report = json.loads(done.stdout)
    assert report["failures"] == []
    assert [(row["scenario"], row["injected"]) for row in report["scenarios"]] == [("recorder", KILLS)]


@pytest.mark.timeout(120)
def test_everybody_killed_in_turn_leaves_a_log_that_is_exact() -> None:
    """Publishers that begin again, and a recorder that was down meanwhile: gaps without an end, said so."""
    with Pipeline(make_config(recorder={"nice": 0})) as pipeline:
        pipeline.start("recorder", "exchange", "executor", "gateway")
        pipeline.start_strategy("pingpong", "support.pipeline_strategies:PingPong")
        pipeline.wait_ready()
        pipeline.wait_counter("recorder", "log_execution", 4)
        pipeline.kill("recorder")
        pipeline.kill("gateway")
        pipeline.kill("executor")
        executions = pipeline.counter("exchange", "executions_trade")
        pipeline.restart("gateway", "executor")
        pipeline.wait_counter("exchange", "executions_trade", executions + 4)
        pipeline.restart("recorder")
        pipeline.wait_ready()
        pipeline.wait_counter("recorder", "log_execution", executions + 8)
        for name in ("gateway", "pingpong", "executor", "exchange", "recorder"):
            assert pipeline.stop(name) == 0

        history = JournalHistory(pipeline.directory / "state")
        with open_store(f"jsonl:{pipeline.directory / 'store'}", StoreConfig()) as store:
            assert [*audit_log(store), *audit_facts(store, history)] == []
            gaps = [each.message for each in store.get_events() if isinstance(each.message, GapFound)]
            executed = sum(each.message.kind == "execution" for each in store.get_events())
        assert executed == len(pipeline.ledger()["executions"])
        assert {gap.publisher for gap in gaps if gap.last_seq is None} >= {"gateway", "executor"}
        assert {gap.reason for gap in gaps} == {"RECORDER_DOWN"}
        recovered = [gap for gap in gaps if gap.is_recovered]
        assert {gap.channel for gap in recovered} <= {"events", "executions"}


def test_clean_run_is_recorded_to_the_last_tick() -> None:
    """Without a gap, from each process's first report on; it agrees with the gateway's own count."""
    with Pipeline(make_config(gateway={"synthetic": {"rate": 5_000.0}, "wait_for_subscribers": 2})) as pipeline:
        pipeline.start("recorder", "exchange", "executor", "gateway")
        pipeline.wait_ready()
        pipeline.wait_counter("recorder", "log_tick", 2_000)
        for name in ("gateway", "executor", "exchange", "recorder"):
            assert pipeline.stop(name) == 0

        status = json.loads((pipeline.directory / "status" / "gateway.json").read_bytes())
        with open_store(f"jsonl:{pipeline.directory / 'store'}") as store:
            assert [*audit_log(store), *audit_ticks(store, status["counters"]["ticks_published"])] == []
            assert [each.message for each in store.get_events() if isinstance(each.message, GapFound)] == []


def test_mistake_in_the_config_stops_the_recorder_and_nobody_else(tmp_path: Path) -> None:
    """Exit 78, so supervisord leaves it at that."""
    done = run_tickpulse("recorder", "--set", "recorder.store=csv:somewhere", "--run-dir", str(tmp_path))

    assert done.returncode == ExitCode.BAD_CONFIG
    assert "expected one of jsonl:PATH" in done.stderr
