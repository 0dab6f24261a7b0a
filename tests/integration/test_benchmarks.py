"""Benchmarks as a user runs them, tiny. What counts is that everything is counted; how fast it was is no promise."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually

from benchmarks.stage import Stage
from common.errors import ExitCode, FatalError

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]

ROOT = Path(__file__).parents[2]
TINY_LATENCY = ("latency", "--rate", "2000", "--duration", "1", "--warm-up", "0.5", "--signal-every", "20")
ONE_ROUND = ("--rounds", "1")
WAIT_S_MAX = 20.0


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Where temporary directories go. Short: the path of a Unix socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="tpb-", dir="/tmp") as directory:
        yield Path(directory)


def start_bench(scratch: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start `tickpulse bench` with its temporary directories in the scratch directory."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_bench(scratch: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """Run a benchmark to its end, and give its JSON and its text."""
    json_path = scratch / "result.json"
    process = start_bench(scratch, *arguments, "--json", str(json_path))
    text, errors = process.communicate(timeout=50)
    assert (process.returncode, errors) == (ExitCode.OK, ""), text
    result: dict[str, Any] = json.loads(json_path.read_bytes())
    return result, text


def pids_in(scratch: Path) -> list[int]:
    """Processes that name the scratch directory on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes()
        except OSError:
            continue
        if f"{scratch}/tickpulse-bench-".encode() in arguments:
            found.append(int(path.parent.name))
    return found


@pytest.fixture(scope="module")
def latency() -> tuple[dict[str, Any], str]:
    """One run, tiny, with the gateway's batching off, for all who look at its result."""
    with tempfile.TemporaryDirectory(prefix="tpb-", dir="/tmp") as directory:
        return run_bench(Path(directory), *TINY_LATENCY, *ONE_ROUND, "--no-batching")


def test_latency_counts_every_tick_signal_and_order_on_both_sides(latency: tuple[dict[str, Any], str]) -> None:
    """1.5 s at 2,000 ticks/s with an order every 20: 3,000 ticks, 150 orders, the first 50 of them warm-up."""
    result, text = latency

    counts = {check["name"]: (check["expected"], check["actual"]) for check in result["rounds"][0]["checks"]}
    assert counts["floor: ticks received"] == counts["pipeline: ticks received"] == (3_000, 3_000)
    assert counts["floor: orders acknowledged"] == counts["pipeline: signals acknowledged"] == (150, 150)
    assert counts["pipeline: orders in the ledger"] == (150, 150)
    assert counts["pipeline: ticks dropped"] == counts["pipeline: duplicate orders"] == (0, 0)
    assert result["floor"]["count"] == result["pipeline"]["count"] == 100
    assert "verdict: p50" in text
    assert "MISMATCH" not in text


def test_latency_json_holds_machine_plan_percentiles_and_verdicts(latency: tuple[dict[str, Any], str]) -> None:
    """What a later reader needs to judge a number."""
    result, _ = latency

    percentiles = {"p50", "p90", "p99", "p99_9", "max"}
    assert {"cpu", "cores", "python", "pyzmq", "libzmq", "commit", "load_average"} <= result["machine"].keys()
    assert result["foreign_cores"] >= 0
    assert result["plan"] == {"rate": 2000.0, "duration_s": 1.0, "warm_up_s": 0.5, "signal_every": 20}
    assert result["is_batching"] is False
    assert result["floor"]["us"].keys() == result["pipeline"]["us"].keys() == result["ratios"].keys() == percentiles
    assert result["hops"].keys() == {"tick_to_signal", "signal_to_executor", "executor_to_ack"}
    assert [verdict["name"] for verdict in result["verdicts"]] == ["p50", "p99"]


def test_throughput_counts_every_tick_on_every_way(scratch: Path) -> None:
    """20,000 on each way, four times as many where a batch is one call."""
    result, text = run_bench(scratch, "throughput", "--count", "20000", *ONE_ROUND)

    counts = {check["name"]: (check["expected"], check["actual"]) for check in result["checks"][0]}
    assert counts["floor: ticks received"] == (20_000, 20_000)
    assert counts["single: ticks seen by the strategy"] == (20_000, 20_000)
    assert counts["unpacked: ticks seen by the strategy"] == (20_000, 20_000)
    assert counts["batched: ticks seen by the strategy"] == (80_000, 80_000)
    assert all(rate > 0 for rate in result["rates"].values())
    assert "MISMATCH" not in text


def test_every_tick_of_the_recorder_s_benchmark_is_in_its_log(scratch: Path) -> None:
    """And each side has the same orders."""
    result, text = run_bench(scratch, "recorder", *TINY_LATENCY[1:], *ONE_ROUND)

    counts = {check["name"]: (check["expected"], check["actual"]) for check in result["checks"][0]}
    assert counts["recorder: ticks in the log"] == (3_000, 3_000)
    assert [side["count"] for side in result["sides"].values()] == [100, 100, 100]
    assert result["recorder_cores"] > 0
    assert "MISMATCH" not in text


def test_orders_are_counted_at_every_hop(scratch: Path) -> None:
    """1 s at 200 signals/s, half of it warm-up: 200 signals, orders and acknowledgements."""
    result, text = run_bench(scratch, "orders", "--rate", "200", "--duration", "0.5", "--warm-up", "0.5")

    [each] = result["rates"]
    counts = {check["name"]: (check["expected"], check["actual"]) for check in each["checks"]}
    assert counts["signals emitted or held back"] == (200, 200)
    assert counts["orders accepted, ledger"] == (200, 200)
    assert counts["signals lost"] == counts["duplicate orders"] == (0, 0)
    assert (each["refused_count"], each["unsent_count"]) == (0, 0)
    assert each["processes"].keys() == {"gateway", "exchange", "executor", "strategy"}
    assert each["from_due"]["count"] == 100
    assert "MISMATCH" not in text


def test_halts_leave_nothing_working_and_let_nothing_through(scratch: Path) -> None:
    """Three times, with three orders on the book and others on their way."""
    result, text = run_bench(scratch, "halt", "--rounds", "3", "--rate", "200", "--working", "3")

    counts = {check["name"]: (check["expected"], check["actual"]) for check in result["checks"]}
    assert counts["halts with enough orders working"] == (3, 3)
    assert counts["working orders left by a halt"] == (0, 0)
    assert counts["orders placed after the last cancel"] == (0, 0)
    assert counts["orders decided on while halted"] == (0, 0)
    assert all(hop["count"] == 3 for hop in result["hops"].values())
    assert "MISMATCH" not in text


@pytest.mark.skip(reason="now and then it has not ended 20 s after the signal; the cause is not found yet")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_benchmark_that_is_interrupted_leaves_nothing_behind(scratch: Path, number: int) -> None:
    """Neither a process nor a directory, and the exit code says who ended it."""
    process = start_bench(scratch, "latency", "--duration", "60", "--rate", "1000")
    eventually(lambda: len(pids_in(scratch)) == 4)

    process.send_signal(number)
    process.communicate(timeout=WAIT_S_MAX)

    assert process.returncode == ExitCode.INTERRUPTED
    # A child that was being started in that very moment dies with its parent, a moment later.
    eventually(lambda: pids_in(scratch) == [])
    assert list(scratch.iterdir()) == []


def test_benchmark_that_is_killed_leaves_no_process_behind(scratch: Path) -> None:
    """It cannot clean up any more, but the kernel ends its children."""
    process = start_bench(scratch, "latency", "--duration", "60", "--rate", "1000")
    eventually(lambda: len(pids_in(scratch)) == 4)

    process.kill()
    process.communicate(timeout=WAIT_S_MAX)

    eventually(lambda: not pids_in(scratch))


def test_child_that_fails_ends_the_run_with_its_own_words() -> None:
    """Not with a timeout a minute later."""
    with Stage() as stage:
        stage.start("sleeper", "http.server", "0", "--bind", "127.0.0.1")
        stage.start("reader", "json.tool")
        with pytest.raises(FatalError, match=r"reader ended with exit code 1: Expecting value"):
            stage.wait(lambda: False, "something", timeout_s=WAIT_S_MAX)

    assert not stage.directory.exists()


def test_children_see_nothing_of_the_callers_own_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TICKPULSE_ variable in the shell must not change what is measured."""
    monkeypatch.setenv("TICKPULSE_GATEWAY__BATCHING", "not a flag")

    with Stage() as stage:
        stage.start("config", "common", "config", "check")
        stage.wait_end(["config"], WAIT_S_MAX)


def test_bus_benchmark_counts_every_event(scratch: Path) -> None:
    """Also between processes, and beside handlers that fail and hang."""
    bench = start_bench(scratch, "bus", "--count", "2000", "--faulty", "--json", str(scratch / "bus.json"))
    output, errors = bench.communicate(timeout=60)

    assert bench.returncode == ExitCode.OK, output + errors
    report = json.loads((scratch / "bus.json").read_bytes())
    assert report["is_sound"]
    assert report["zmq"] == {"count": 2000, "lost": 0, "per_s": report["zmq"]["per_s"]}
    assert report["faulty"]["healthy_handled"] == 2000
    assert report["faulty"]["hanging_timeouts"] == 1
