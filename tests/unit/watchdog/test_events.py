"""supervisord's bytes, and what they say."""

import os
import xmlrpc.client

import pytest

from common.errors import ConfigError, FatalError
from watchdog import supervisor
from watchdog.supervisor import EventReader, ProgramEvent, Supervisor

RUNNING = "processname:momentum groupname:momentum from_state:STARTING pid:2766"
CRASHED = "processname:momentum groupname:momentum from_state:RUNNING expected:0 pid:2766"
ENDED = "processname:momentum groupname:momentum from_state:RUNNING expected:1 pid:2766"
STARTING = "processname:worker groupname:pool from_state:EXITED tries:0"


def make_bytes(name: str, payload: str) -> bytes:
    """An event as supervisord writes it."""
    head = f"ver:3.0 server:supervisor serial:21 pool:watchdog poolserial:10 eventname:{name} len:{len(payload)}"
    return f"{head}\n{payload}".encode()


@pytest.mark.parametrize(
    ("name", "payload", "expected"),
    [
        ("PROCESS_STATE_RUNNING", RUNNING, ProgramEvent("momentum:momentum", "RUNNING", 2766, is_crash=False)),
        ("PROCESS_STATE_EXITED", CRASHED, ProgramEvent("momentum:momentum", "EXITED", 2766, is_crash=True)),
        ("PROCESS_STATE_EXITED", ENDED, ProgramEvent("momentum:momentum", "EXITED", 2766, is_crash=False)),
        ("PROCESS_STATE_STARTING", STARTING, ProgramEvent("pool:worker", "STARTING", 0, is_crash=False)),
        ("TICK_5", "when:1201063880", None),
    ],
)
def test_event_says_which_program_came_into_which_state(name: str, payload: str, expected: ProgramEvent | None) -> None:
    """Another kind of event says nothing to us, but wants its answer."""
    assert EventReader().feed(make_bytes(name, payload)) == [expected]


def test_events_come_whole_however_the_bytes_are_cut() -> None:
    """A pipe knows no messages."""
    data = make_bytes("PROCESS_STATE_RUNNING", RUNNING) + make_bytes("PROCESS_STATE_EXITED", CRASHED)
    whole = EventReader().feed(data)
    reader = EventReader()

    pieces = [event for index in range(len(data)) for event in reader.feed(data[index : index + 1])]

    assert pieces == whole
    assert [event.state for event in pieces if event is not None] == ["RUNNING", "EXITED"]


def test_program_that_supervisord_does_not_run_is_told_what_to_do() -> None:
    """Nobody would start what it kills."""
    with pytest.raises(ConfigError, match="expected to be run by supervisord"):
        Supervisor({})


def test_each_event_is_answered_and_the_end_of_supervisord_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an answer no next event comes; without supervisord there is nothing to do."""
    (stdin, its_end), (its_input, stdout) = os.pipe(), os.pipe()
    monkeypatch.setattr(supervisor, "STDIN", stdin)
    monkeypatch.setattr(supervisor, "STDOUT", stdout)
    remote = Supervisor({"SUPERVISOR_SERVER_URL": "unix:///nowhere"})
    try:
        remote.subscribe()
        assert remote.take_events(0) == []

        os.write(its_end, make_bytes("TICK_5", "when:1") + make_bytes("PROCESS_STATE_RUNNING", RUNNING))
        events = remote.take_events(1_000)
        os.close(its_end)

        assert [event.state for event in events] == ["RUNNING"]
        assert os.read(its_input, 100) == b"READY\nRESULT 2\nOKREADY\nRESULT 2\nOKREADY\n"
        with pytest.raises(FatalError, match="it has ended"):
            remote.take_events(1_000)
    finally:
        for descriptor in (stdin, its_input, stdout):
            os.close(descriptor)


@pytest.mark.parametrize(("is_running", "expected"), [(True, None), (False, "NOT_RUNNING")])
def test_program_that_is_stopped_cannot_outlive_it(
    monkeypatch: pytest.MonkeyPatch, *, is_running: bool, expected: str | None
) -> None:
    """A SIGTERM between fork and exec is lost: SIGKILL follows, unless there was nothing to stop."""
    calls: list[tuple[object, ...]] = []

    class Remote:
        """Keeps what it was asked."""

        supervisor: object

        def stopProcess(self, *arguments: object) -> None:  # noqa: N802  # supervisord's name
            calls.append(arguments)
            if not is_running:
                raise xmlrpc.client.Fault(70, "NOT_RUNNING")

        def signalProcess(self, *arguments: object) -> None:  # noqa: N802
            calls.append(arguments)

    interface = Remote()
    interface.supervisor = interface
    monkeypatch.setattr(supervisor.childutils, "getRPCInterface", lambda _: interface)

    fault = Supervisor({"SUPERVISOR_SERVER_URL": "unix:///nowhere"}).stop("momentum:momentum")

    assert fault == expected
    assert calls == [("momentum:momentum", False), ("momentum:momentum", "KILL")][: 1 + is_running]
