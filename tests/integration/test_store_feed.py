"""A gateway that feeds from an event log, as a process that another one steers."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.eventually import eventually
from support.message_builders import make_tick
from support.pipeline import make_config
from support.replay_builders import LOG_NS, write_log

from common.clock import NS_PER_S
from common.store.times import format_time_ns

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "common")
HOUR_NS = 3_600 * NS_PER_S

pytestmark = pytest.mark.processes


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A run directory with a short path, and in it a log of ten ticks an hour apart."""
    directory = Path(tempfile.mkdtemp(prefix="tp-", dir="/tmp"))  # as of support.pipeline
    ticks = [make_tick(number + 1, timestamp_ns=LOG_NS + number * HOUR_NS, bid=100.0 + number) for number in range(10)]
    write_log(directory / "log", ticks)
    (directory / "config.json").write_text(json.dumps(make_config()))
    yield directory
    shutil.rmtree(directory)


def arguments_of(run_dir: Path) -> tuple[str, ...]:
    """The options that name the run."""
    return ("--run-dir", str(run_dir), "--config", str(run_dir / "config.json"))


def control(run_dir: Path, *arguments: str, is_done: bool = True) -> dict[str, Any]:
    """`tickpulse replay-control ... --json`, which is done, or refused."""
    done = subprocess.run(
        (*COMMAND, "replay-control", *arguments, "--json", *arguments_of(run_dir)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (0 if is_done else 3), done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_running_gateway_is_paused_stepped_moved_and_let_go(run_dir: Path) -> None:
    """Ticks leave exactly as it is told; its report says that it is a replay, and when it has ended."""
    gateway = subprocess.Popen(
        (*COMMAND, "gateway", "--feed", "store", "--store", f"jsonl:{run_dir / 'log'}", *arguments_of(run_dir)),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def counters() -> dict[str, int]:
        try:
            found: dict[str, int] = json.loads((run_dir / "status" / "gateway.json").read_text())["counters"]
        except OSError:
            return {}
        return found

    try:
        eventually(lambda: counters().get("ticks_published") == 1, what=lambda: repr(counters()))
        paused = control(run_dir, "pause")
        stepped = control(run_dir, "step")
        eventually(lambda: counters().get("ticks_published") == 2, what=lambda: repr(counters()))
        sought = control(run_dir, "seek", format_time_ns(LOG_NS + 7 * HOUR_NS))
        fast = control(run_dir, "speed", "0")
        control(run_dir, "resume")
        eventually(lambda: counters().get("feed_ended") == 1, what=lambda: repr(counters()))
        status = control(run_dir, "status")
        refused = control(run_dir, "seek", format_time_ns(LOG_NS), is_done=False)
    finally:
        gateway.terminate()
        code = gateway.wait(30)

    assert (paused["state"], paused["events"]) == ("paused", 1)
    assert stepped["is_done"]
    assert (sought["position_ns"], fast["speed"]) == (LOG_NS + 7 * HOUR_NS, 0.0)
    assert (status["state"], status["events"]) == ("ended", 5)
    assert (refused["reason"], refused["state"]) == ("REPLAY_ENDED", "ended")
    assert counters()["ticks_published"] == 5
    assert counters()["is_replay"] == 1
    assert code == 0
