"""A process that hangs is found and started anew; one that crashes again and again pauses. Under supervisord."""

import json
import os
import signal
from collections.abc import Iterator

import pytest
from support.demo import PROCESSES, Demo
from support.eventually import eventually
from support.pipeline import View, run_tickpulse

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]

HEALED_S_MAX = 15.0  # patience for a busy machine; alone it takes 2.5 s
FOUND_MS_MAX = 2_000


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """A pipeline that trades for all these tests; three crashes within a minute are a loop, and pause for a second."""
    loops = ("watchdog.restarts_max=2", "watchdog.restart_pause_ms=1000")
    demo = Demo("--duration", "600", "--json", *(part for text in loops for part in ("--set", text)))
    eventually(lambda: demo.pids().keys() == PROCESSES, what="all are ready")
    yield demo
    demo.close()


def records_of(demo: Demo, event: str, program: str) -> list[View]:
    """What the watchdog has logged of this kind about a program."""
    lines = (demo.directory / "logs" / "watchdog.log").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [record for record in records if (record["event"], record.get("program")) == (event, f"{program}:{program}")]


def is_back(demo: Demo, name: str, old_pid: int) -> bool:
    """Tell whether a new life of a process is ready."""
    return demo.pids().get(name, old_pid) != old_pid


def test_stopped_strategy_is_found_within_two_seconds_and_started_anew(demo: Demo) -> None:
    """SIGSTOP: the process exists, its sockets take what comes, and it does nothing. Nobody else is touched."""
    # The monitor counts the lives that it has heard of, and hears none of a process's first reports.
    eventually(lambda: demo.reports()["momentum"]["seq"] >= 5, what="momentum has reported for two seconds")
    before = demo.pids()

    os.kill(before["momentum"], signal.SIGSTOP)
    eventually(lambda: is_back(demo, "momentum", before["momentum"]), HEALED_S_MAX, "a new life of momentum is ready")

    [hang] = records_of(demo, "process_hung", "momentum")
    assert (hang["pid"], hang["killed"]) == (before["momentum"], True)
    assert hang["silent_ms"] < FOUND_MS_MAX
    after = demo.pids()
    assert {name for name in PROCESSES if after.get(name) != before[name]} == {"momentum"}
    eventually(lambda: demo.counter("watchdog", "kills") == 1, what="the watchdog reports one kill")


def test_program_in_a_crash_loop_pauses_and_comes_back(demo: Demo) -> None:
    """Its third crash stops it for a second, with an alarm; then it is started again."""
    for _ in range(3):
        pid = eventually(lambda: demo.pids().get("support_resistance"), what="it is ready")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda pid=pid: demo.pids().get("support_resistance") != pid, what="its status is of another life")

    loops = eventually(lambda: records_of(demo, "crash_loop", "support_resistance"), what="an alarm")
    eventually(lambda: demo.counter("watchdog", "programs_paused") == 0, what="the pause is over")
    eventually(lambda: "support_resistance" in demo.pids(), what="it is ready again")

    assert [(loop["crashes"], loop["pause_s"]) for loop in loops] == [(3, 1.0)]
    refused = [record["act"] for record in records_of(demo, "supervisord_refused", "support_resistance")]
    assert "start" not in refused, "it ran on through its pause"


def test_pipeline_that_was_healed_lost_and_repeated_nothing(demo: Demo) -> None:
    """What the kills cost is counted at the end: no order twice, no signal without an end."""
    demo.process.send_signal(signal.SIGINT)
    code, output, errors = demo.finish()

    summary = json.loads(output)
    assert code == 130, errors
    assert summary["restarts"]["momentum"] == 1
    assert summary["duplicate_orders"] == summary["lost_signals"] == 0
    assert summary["positions_agree"]


def test_watchdog_without_a_supervisord_says_what_it_needs() -> None:
    """It could neither kill nor start anything."""
    done = run_tickpulse("watchdog")

    assert done.returncode == 78
    assert "expected to be run by supervisord" in done.stderr
    assert "Traceback" not in done.stderr
