"""`tickpulse status` and `tickpulse wait`, on status files made by hand."""

import json
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from support.report_builders import DEAD_PID, make_report, write_status

from common.clock import NS_PER_S, SystemClock
from common.errors import ExitCode
from common.events.system import ProcessReported, ProcessState
from monitor.status_command import status, wait

# A busy machine must not make a process of a test silent.
PATIENT = ("--set", "monitor.silence_ms_max=3600000")
EVERY_PROCESS = ("exchange", "executor", "gateway", "momentum")

pytestmark = pytest.mark.usefixtures("own_surroundings")


def make_fresh(source: str, state: ProcessState = ProcessState.READY, **changes: object) -> ProcessReported:
    """A report of a living process, just made."""
    now_ns = SystemClock.now_ns()
    return make_report(
        source, **{"state": state, "timestamp_ns": now_ns, "started_ns": now_ns - 90 * NS_PER_S, **changes}
    )


def invoke(command: click.Command, *arguments: str) -> Result:
    """Run a command on ./run."""
    return CliRunner().invoke(command, [*PATIENT, *arguments])


# Status


def test_status_of_a_ready_pipeline_is_ok() -> None:
    """One line for each process, with what it has counted."""
    write_status(
        Path("run"),
        make_fresh("gateway", pid=make_report().pid, counters={"ticks_published": 12_345, "messages_dropped": 0}),
        make_fresh("momentum", counters={"ticks_received": 12_345, "signals_emitted": 2}),
    )

    result = invoke(status)

    heading, gateway, momentum, safety = result.output.splitlines()
    assert result.exit_code == ExitCode.OK
    assert heading.split() == ["PROCESS", "ROLE", "STATE", "PID", "UP", "COUNTED"]
    assert gateway.split()[:3] == ["gateway", "gateway", "ready"]
    assert gateway.split()[4:] == ["90", "s", "ticks_published=12,345"]
    assert momentum.split()[:3] == ["momentum", "strategy", "ready"]
    assert momentum.split()[6:] == ["ticks_received=12,345", "signals_emitted=2"]
    assert safety.split("   ") == ["kill switch: unknown", "alarms: 0"]


@pytest.mark.parametrize(
    ("is_halted", "restricted", "shown"),
    [
        (0, 0, "kill switch: active   alarms: 3 "),
        (0, 1, "kill switch: restricted; see `tickpulse trading`   "),
        (1, 2, "kill switch: halted; see `tickpulse trading`   "),
    ],
)
def test_status_shows_kill_switch_and_alarms(is_halted: int, restricted: int, shown: str) -> None:
    """What the people on call must see without knowing where to look."""
    counters = {"alarms": 2, "alarms_circuit_open": 2, "is_halted": is_halted, "scopes_restricted": restricted}
    counts = {"alarms": 1, "alarms_exchange_halted": 1}
    write_status(Path("run"), make_fresh("executor", counters=counters), make_fresh("exchange", counters=counts))

    text, view = invoke(status).output, json.loads(invoke(status, "--json").output)

    assert text.splitlines()[-1].startswith(shown)
    assert "(2 CIRCUIT_OPEN, 1 EXCHANGE_HALTED)" in text
    assert f"kill switch: {view['kill_switch']}" in text
    assert view["alarms"] == 3


def test_status_shows_an_exchange_that_takes_no_new_order() -> None:
    """The executor's kill switch says nothing of it."""
    write_status(Path("run"), make_fresh("exchange", counters={"is_halted": 1}))

    assert "   exchange: halted; see `tickpulse ledger`   alarms: 0" in invoke(status).output


@pytest.mark.parametrize(
    ("report", "shown"),
    [
        (make_fresh("executor", ProcessState.STARTING, detail="the journal"), "waits for the journal"),
        (make_fresh("executor", ProcessState.FAILED, detail="gateway.rate: unknown key"), "gateway.rate: unknown key"),
        (make_fresh("executor", ProcessState.STOPPED), "stopped"),
        (make_fresh("executor", pid=DEAD_PID), "dead"),
        (make_report("executor"), "silent for"),
    ],
)
def test_status_of_a_pipeline_with_one_process_that_is_not_ready_is_not_ok(report: ProcessReported, shown: str) -> None:
    """It shows which and why; the exit code is for scripts."""
    write_status(Path("run"), make_fresh("gateway"), report)

    result = invoke(status)

    assert result.exit_code == ExitCode.CHECKS_FAILED
    assert shown in next(line for line in result.output.splitlines() if line.startswith("executor"))


def test_columns_of_status_line_up_whatever_the_condition() -> None:
    """A table that is out of line is read wrongly."""
    long_ago_ns = SystemClock.now_ns() - 12_345 * NS_PER_S
    write_status(
        Path("run"),
        make_fresh("gateway"),
        make_fresh("executor", timestamp_ns=long_ago_ns),
        make_fresh("exchange", pid=DEAD_PID),
    )

    heading, *rows, _ = invoke(status, "--set", "monitor.silence_ms_max=3000").output.splitlines()

    end_of_pid = heading.index("PID") + len("PID")
    assert all(re.search(r" \d+$", row[:end_of_pid]) and row[end_of_pid] == " " for row in rows)


def test_status_as_json_has_everything_that_was_reported() -> None:
    """For programs: one object, every counter."""
    report = make_fresh(
        "executor",
        ProcessState.STARTING,
        detail="the exchange",
        counters={"orders_accepted": 2, "anything": 3},
        endpoints={"signals": "ipc:///somewhere"},
    )
    write_status(Path("run"), report)

    result = invoke(status, "--json")

    assert result.exit_code == ExitCode.CHECKS_FAILED
    assert json.loads(result.output) == {
        "run_directory": str(Path("run").absolute()),
        "kill_switch": "unknown",
        "alarms": 0,
        "processes": [
            {
                "name": "executor",
                "role": "executor",
                "condition": "starting",
                "detail": "the exchange",
                "pid": report.pid,
                "epoch": report.epoch,
                "up_s": 90.0,
                "turns": 1_000,
                "counters": {"orders_accepted": 2, "anything": 3},
                "endpoints": {"signals": "ipc:///somewhere"},
            }
        ],
    }


def test_status_where_nothing_ran_says_so() -> None:
    """With the directory that was looked at; JSON stays JSON."""
    as_text, as_json = invoke(status, "--run-dir", "nowhere"), invoke(status, "--run-dir", "nowhere", "--json")

    expected = f"Error: nothing has run in {Path('nowhere').absolute()}; start it or name another --run-dir\n"
    assert (as_text.exit_code, as_text.output) == (ExitCode.CHECKS_FAILED, expected)
    assert (as_json.exit_code, json.loads(as_json.stdout)["processes"]) == (ExitCode.CHECKS_FAILED, [])
    assert as_json.stderr == expected


# Wait


def test_wait_for_processes_that_are_ready_ends_at_once() -> None:
    """With nothing to say."""
    write_status(Path("run"), make_fresh("gateway"), make_fresh("momentum"))

    result = invoke(wait, "gateway", "momentum")

    assert (result.exit_code, result.output) == (ExitCode.OK, "")


def test_wait_tells_what_each_process_waits_for_when_time_is_over() -> None:
    """Those that are ready are not named."""
    write_status(
        Path("run"),
        make_fresh("gateway"),
        make_fresh("executor", ProcessState.STARTING, detail="the exchange"),
        make_fresh("exchange", pid=DEAD_PID),
    )

    result = invoke(wait, "gateway", "executor", "exchange", "momentum", "--timeout", "0")

    assert result.exit_code == ExitCode.CHECKS_FAILED
    assert result.output == (
        "Error: not ready after 0 s: executor: starting (the exchange); exchange: dead; momentum: not started\n"
    )


def test_wait_without_names_waits_for_the_whole_pipeline_of_the_config() -> None:
    """Gateway, exchange, executor, and every strategy that has a table."""
    write_status(Path("run"), *map(make_fresh, EVERY_PROCESS))

    complete = invoke(wait, "--set", "strategy.momentum.timer_ms=5")
    incomplete = invoke(wait, "--set", "strategy.second.strategy=momentum", "--timeout", "0")

    assert complete.exit_code == ExitCode.OK
    assert incomplete.exit_code == ExitCode.CHECKS_FAILED
    assert "Error: not ready after 0 s: second: not started\n" in incomplete.output


@pytest.mark.parametrize(
    "report",
    [
        make_fresh("gateway", ProcessState.STOPPED),
        make_fresh("gateway", ProcessState.FAILED),
        make_fresh("gateway", pid=DEAD_PID),
        None,
    ],
    ids=["stopped", "failed", "dead", "never started"],
)
def test_wait_for_the_stop_ends_when_nothing_runs_any_more(report: ProcessReported | None) -> None:
    """However it ended."""
    write_status(Path("run"), *([] if report is None else [report]))

    result = invoke(wait, "gateway", "--stopped")

    assert (result.exit_code, result.output) == (ExitCode.OK, "")


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (make_fresh("gateway"), "ready"),
        (make_fresh("gateway", ProcessState.STOPPING, detail="settling"), "stopping (settling)"),
        (make_report("gateway"), r"silent for \d+ s"),
    ],
)
def test_wait_for_the_stop_goes_on_while_a_process_lives(report: ProcessReported, reason: str) -> None:
    """A silent one too: it may come to itself."""
    write_status(Path("run"), report)

    result = invoke(wait, "gateway", "--stopped", "--timeout", "0")

    assert result.exit_code == ExitCode.CHECKS_FAILED
    expected = reason if "\\" in reason else re.escape(reason)
    assert re.fullmatch(f"Error: not stopped after 0 s: gateway: {expected}\n", result.output)


@pytest.mark.parametrize("timeout", ["-1", "nan", "inf", "soon"])
def test_wait_with_a_time_that_is_none_is_a_usage_error(timeout: str) -> None:
    """Not a traceback; and who waits for ever must not do it unseen."""
    result = invoke(wait, "gateway", "--timeout", timeout)

    assert result.exit_code == ExitCode.USAGE
    assert "Invalid value for '--timeout'" in result.output


def test_wait_with_a_config_that_has_no_tables_of_strategies_says_so() -> None:
    """A strategy is a table, not a name."""
    result = invoke(wait, "--set", "strategy=momentum", "--timeout", "0")

    assert result.exit_code == ExitCode.BAD_CONFIG
    assert "--set strategy: strategy: expected object, was 'momentum'" in result.output
