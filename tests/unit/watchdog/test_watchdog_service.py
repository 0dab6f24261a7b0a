"""What the watchdog does about what it sees."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from support.watchdog_builders import PID, WatchdogHarness, make_event

from common.events.risk import Severity

Start = Callable[..., WatchdogHarness]
CRASH = make_event("EXITED", is_crash=True)
RUNNING = make_event("RUNNING")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a watchdog of a gateway that runs, and ends it; logging is given back as it was."""
    started: list[WatchdogHarness] = []

    def begin(running: dict[str, int] | None = None, *, may_kill: bool = True) -> WatchdogHarness:
        programs = {"gateway:gateway": PID} if running is None else running
        started.append(WatchdogHarness(tmp_path, programs, may_kill=may_kill))
        return started[-1]

    yield begin
    for harness in started:
        harness.close()
    structlog.reset_defaults()


def test_process_that_hangs_is_killed_once_with_an_alarm(start: Start) -> None:
    """It was found running at the start, and no event was needed."""
    watchdog = start()
    watchdog.beat("gateway", turns=7)

    watchdog.run(5_000)

    assert watchdog.supervisor.acts == [("kill", "gateway:gateway")]
    [alarm] = watchdog.alarms()
    assert (alarm.code, alarm.severity, alarm.subject) == ("PROCESS_HUNG", Severity.CRITICAL, "gateway")
    assert alarm.detail == f"pid {PID} gave no beat for 1500 ms between two turns: killed, to be started again"
    assert alarm.topic() == "alarm.watchdog.PROCESS_HUNG"
    assert watchdog.service.counters() == {
        "hangs": 1,
        "kills": 1,
        "alarms": 1,
        "alarms_process_hung": 1,
        "programs_watched": 0,
        "programs_paused": 0,
    }


def test_process_that_hangs_while_opening_is_killed_later(start: Start) -> None:
    """And the alarm says so."""
    watchdog = start()
    watchdog.beat("gateway", turns=0)

    watchdog.run(9_900)
    assert watchdog.supervisor.acts == []
    watchdog.run(500)

    assert watchdog.supervisor.acts == [("kill", "gateway:gateway")]
    assert "while opening" in watchdog.alarms()[0].detail


def test_process_that_beats_is_let_be(start: Start) -> None:
    """Each beat is a new one."""
    watchdog = start()

    for turns in range(1, 30):
        watchdog.beat("gateway", turns)
        watchdog.run(500)

    assert watchdog.supervisor.acts == []
    assert watchdog.service.readiness() is None


def test_lenient_watchdog_only_raises_the_alarm(start: Start) -> None:
    """A debugger stops a process too."""
    watchdog = start(may_kill=False)
    watchdog.beat("gateway", turns=7)

    watchdog.run(2_000)

    assert watchdog.supervisor.acts == []
    assert [alarm.detail for alarm in watchdog.alarms()] == [
        f"pid {PID} gave no beat for 1500 ms between two turns: not killed"
    ]


def test_kill_that_is_refused_is_tried_again(start: Start) -> None:
    """The process hangs on, so it is still watched."""
    watchdog = start()
    watchdog.beat("gateway", turns=7)
    watchdog.supervisor.fault = "NOT_RUNNING: gateway"

    watchdog.run(4_000)

    assert watchdog.supervisor.acts == [("kill", "gateway:gateway")] * 2
    assert watchdog.service.counters()["acts_refused"] == 2
    assert "kills" not in watchdog.service.counters()


def test_killed_process_is_started_again_without_delay(start: Start) -> None:
    """Supervisord is asked something for two seconds, so that it looks after its children at once; then no more."""
    watchdog = start()
    watchdog.beat("gateway", turns=7)
    watchdog.run(1_500)
    assert watchdog.supervisor.nudge_count == 0

    watchdog.run(2_500)
    assert watchdog.supervisor.nudge_count == 20
    watchdog.run(1_900, CRASH)
    assert 20 < watchdog.supervisor.nudge_count <= 40
    watchdog.run(100, make_event("RUNNING", pid=PID + 1))

    assert watchdog.service.counters()["programs_watched"] == 1


def test_program_that_is_being_stopped_is_not_killed(start: Start) -> None:
    """An operator stops it, or supervisord ends; its last beat grows old."""
    watchdog = start()
    watchdog.beat("gateway", turns=7)

    watchdog.run(10_000, make_event("STOPPING"), make_event("STOPPED"))

    assert watchdog.supervisor.acts == []
    assert watchdog.supervisor.nudge_count == 0


def test_program_that_crashes_again_and_again_pauses_and_is_started(start: Start) -> None:
    """Its third crash within a minute: stopped as soon as it runs, for five seconds."""
    watchdog = start()

    watchdog.run(1_000, CRASH, RUNNING, CRASH, RUNNING)
    assert watchdog.supervisor.acts == []
    watchdog.run(1_000, CRASH, RUNNING, make_event("STOPPING"), make_event("STOPPED"))
    assert watchdog.supervisor.acts == [("stop", "gateway:gateway")]
    assert watchdog.service.counters()["programs_paused"] == 1
    watchdog.run(5_000)

    assert watchdog.supervisor.acts == [("stop", "gateway:gateway"), ("start", "gateway:gateway")]
    [alarm] = watchdog.alarms()
    assert (alarm.code, alarm.subject) == ("CRASH_LOOP", "gateway")
    assert alarm.detail == "crashed 3 times within 60 s: pauses 5 s"


def test_program_that_is_gone_before_it_can_be_stopped_is_stopped_at_its_next_start(start: Start) -> None:
    """Supervisord refuses to stop what does not run."""
    watchdog = start()
    watchdog.supervisor.fault = "NOT_RUNNING: gateway"
    watchdog.run(100, CRASH, RUNNING, CRASH, RUNNING, CRASH, RUNNING)

    watchdog.supervisor.fault = None
    watchdog.run(100, CRASH, RUNNING)

    assert watchdog.supervisor.acts == [("stop", "gateway:gateway")] * 2
    assert watchdog.service.counters()["crash_loops"] == 1


def test_program_that_an_operator_starts_during_its_pause_is_not_started_twice(start: Start) -> None:
    """Its pause is over."""
    watchdog = start()
    watchdog.run(100, CRASH, RUNNING, CRASH, RUNNING, CRASH, RUNNING, make_event("STOPPED"))

    watchdog.run(10_000, RUNNING)

    assert [act for act, _ in watchdog.supervisor.acts] == ["stop"]


def test_program_whose_pause_outlives_the_watchdog_is_started_by_the_next_one(start: Start) -> None:
    """Or the death of the watchdog would leave it stopped for ever."""
    first = start()
    first.run(100, CRASH, RUNNING, CRASH, RUNNING, CRASH, RUNNING, make_event("STOPPED"))
    first.process.close()

    second = start({})
    second.process.close()
    third = start({})

    assert second.supervisor.acts == [("start", "gateway:gateway")]
    assert third.supervisor.acts == []


def test_orderly_end_is_no_crash(start: Start) -> None:
    """However often."""
    watchdog = start()

    watchdog.run(1_000, *[make_event("EXITED"), RUNNING] * 5)

    assert watchdog.supervisor.acts == []


def test_watchdog_does_not_watch_itself(start: Start) -> None:
    """It looks, so it turns."""
    watchdog = start({"watchdog:watchdog": os.getpid()})

    watchdog.run(60_000)

    assert watchdog.service.counters()["programs_watched"] == 0
    assert watchdog.service.is_settled()
    assert watchdog.service.latencies() == {}
