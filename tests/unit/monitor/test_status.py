"""How a process is, from the file that it left."""

import os
from pathlib import Path

import pytest
from support.report_builders import DEAD_PID, NOW_NS, make_report, write_status

from common.clock import NS_PER_MS
from common.events.system import ProcessState
from common.run_directory import RunDirectory
from monitor.status import condition, read_reports

SILENCE_MS_MAX = 3_000


def condition_after(age_ms: int, state: ProcessState = ProcessState.READY, pid: int | None = None) -> str:
    """The condition of a process whose last report is so old."""
    report = make_report(state=state, pid=os.getpid() if pid is None else pid)
    return condition(report, NOW_NS + age_ms * NS_PER_MS, SILENCE_MS_MAX)


@pytest.mark.parametrize("state", [ProcessState.STARTING, ProcessState.READY, ProcessState.STOPPING])
@pytest.mark.parametrize("age_ms", [0, SILENCE_MS_MAX, -1_000])
def test_process_that_speaks_is_what_it_says(state: ProcessState, age_ms: int) -> None:
    """Up to the allowed silence, and where the clock was set back."""
    assert condition_after(age_ms, state) == state.value


def test_process_that_lives_and_says_nothing_is_silent() -> None:
    """It hangs: its last word does not count any more."""
    assert condition_after(SILENCE_MS_MAX + 1) == "silent for 3 s"
    assert condition_after(75_400) == "silent for 75 s"


@pytest.mark.parametrize("state", [ProcessState.STARTING, ProcessState.READY, ProcessState.STOPPING])
def test_process_that_is_gone_without_a_last_word_is_dead(state: ProcessState) -> None:
    """At once, not after the allowed silence."""
    assert condition_after(0, state, DEAD_PID) == "dead"


@pytest.mark.parametrize("state", [ProcessState.STOPPED, ProcessState.FAILED])
@pytest.mark.parametrize("pid", [DEAD_PID, None])
def test_last_word_counts_for_ever(state: ProcessState, pid: int | None) -> None:
    """Its pid may belong to somebody else by now."""
    assert condition_after(10**9, state, pid) == state.value


@pytest.mark.skipif(os.geteuid() == 0, reason="root may signal every process, so none is forbidden")
def test_process_of_another_user_is_alive() -> None:
    """That it may not be signalled shows that it is there."""
    assert condition_after(0, pid=1) == "ready"


def test_reports_are_read_by_name(tmp_path: Path) -> None:
    """The last one of each process that ever ran there."""
    reports = [make_report(name) for name in ("momentum", "executor")]

    write_status(tmp_path, *reports)

    assert read_reports(RunDirectory(tmp_path)) == reports[::-1]


def test_file_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    """It tells nothing, and must not hide the others."""
    write_status(tmp_path, make_report())
    for name, content in (("broken", b"{"), ("empty", b""), ("foreign", b'{"type": "Market.Tick.Received.v1"}')):
        (tmp_path / "status" / f"{name}.json").write_bytes(content)
    (tmp_path / "status" / "folder.json").mkdir()
    (tmp_path / "status" / "gateway.json.new").write_bytes(b"{}")

    assert read_reports(RunDirectory(tmp_path)) == [make_report()]


def test_directory_where_nothing_ran_has_no_reports(tmp_path: Path) -> None:
    """It need not even exist."""
    assert read_reports(RunDirectory(tmp_path / "nowhere")) == []
