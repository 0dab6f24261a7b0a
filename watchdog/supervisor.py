"""Our end of supervisord: its events, on stdin and stdout, and its commands, by XML-RPC.

A program is called `group:name`, which are the same for a program without a group.
"""

import os
import select
import xmlrpc.client
from collections.abc import Mapping
from typing import Any

import msgspec
from supervisor import childutils
from supervisor.dispatchers import PEventListenerDispatcher

from common.errors import ConfigError, FatalError

STDIN, STDOUT = 0, 1
READ_BYTES_MAX = 1 << 16
READY: bytes = PEventListenerDispatcher.READY_FOR_EVENTS_TOKEN
OK_READY: bytes = PEventListenerDispatcher.RESULT_TOKEN_START + b"2\nOK" + READY
STATE_PREFIX = "PROCESS_STATE_"


class ProgramEvent(msgspec.Struct, frozen=True):
    """A program has come into another state, such as RUNNING or EXITED. `is_crash`: it ended as it should not."""

    program: str
    state: str
    pid: int
    is_crash: bool


class EventReader:
    """Takes supervisord's bytes apart: a line of headers that ends in `len:N`, and N bytes."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[ProgramEvent | None]:
        """The events that are complete; None for one that tells of no program's state but wants its answer too."""
        self._buffer += data
        events: list[ProgramEvent | None] = []
        while b"\n" in self._buffer:
            line, _, rest = self._buffer.partition(b"\n")
            headers = childutils.get_headers(line.decode())
            length = int(headers["len"])
            if len(rest) < length:
                break
            self._buffer = rest[length:]
            events.append(_read_event(headers["eventname"], rest[:length].decode()))
        return events


class Supervisor:
    """The supervisord that runs us."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Find it.

        Raises:
            ConfigError: We are not run by one.
        """
        if "SUPERVISOR_SERVER_URL" not in environ:
            raise ConfigError(
                "watchdog: expected to be run by supervisord as an event listener with a [unix_http_server], as in "
                "supervisord.conf; SUPERVISOR_SERVER_URL is not set"
            )
        self._remote: Any = childutils.getRPCInterface(environ).supervisor
        self._reader = EventReader()

    def subscribe(self) -> None:
        """Say that we take events from now on; those since our start were kept for us."""
        os.write(STDOUT, READY)

    def take_events(self, timeout_ms: int) -> list[ProgramEvent]:
        """What has happened, after waiting for something at most so long; each is answered, so that the next comes.

        Raises:
            FatalError: supervisord has ended: there is nobody left to start what we would kill.
        """
        readable, _, _ = select.select([STDIN], [], [], timeout_ms / 1_000)
        if not readable:
            return []
        data = os.read(STDIN, READ_BYTES_MAX)
        if not data:
            raise FatalError("watchdog: expected events of supervisord on stdin, but it has ended")
        events = self._reader.feed(data)
        for _ in events:
            os.write(STDOUT, OK_READY)
        return [event for event in events if event is not None]

    def running(self) -> dict[str, int]:
        """The programs that run now, with their pids."""
        return {
            f"{program['group']}:{program['name']}": program["pid"]
            for program in self._remote.getAllProcessInfo()
            if program["statename"] == "RUNNING"
        }

    def kill(self, program: str) -> str | None:
        """End a program at once; it is restarted. supervisord does it, so that no other process of this pid is hit."""
        return _fault_of(lambda: self._remote.signalProcess(program, "KILL"))

    def nudge(self) -> None:
        """Make it look after its children now."""
        _fault_of(self._remote.getState)  # refused while everything is being stopped

    def stop(self, program: str) -> str | None:
        """Stop a program that has only just begun; it is not restarted."""
        fault = _fault_of(lambda: self._remote.stopProcess(program, False))  # noqa: FBT003  # XML-RPC has no names
        if fault is None:
            # Between fork and exec the SIGTERM ends in supervisord's own handler: the program would run on, be taken
            # for stopping, be killed 10 s later and never be started again. Nothing is refused that matters here.
            self.kill(program)
        return fault

    def start(self, program: str) -> str | None:
        """Start a program that was stopped."""
        return _fault_of(lambda: self._remote.startProcess(program, False))  # noqa: FBT003


def _fault_of(call: Any) -> str | None:
    """Why supervisord refused, as when the program has just ended by itself; None when it obeyed."""
    try:
        call()
    except xmlrpc.client.Fault as fault:
        return fault.faultString
    return None


def _read_event(name: str, payload: str) -> ProgramEvent | None:
    if not name.startswith(STATE_PREFIX):
        return None
    fields = childutils.get_headers(payload)
    return ProgramEvent(
        program=f"{fields['groupname']}:{fields['processname']}",
        state=name.removeprefix(STATE_PREFIX),
        pid=int(fields.get("pid", 0)),
        is_crash=fields.get("expected") == "0",
    )
