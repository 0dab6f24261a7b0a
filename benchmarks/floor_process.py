"""A process of a floor: bare sockets, no factory, no poller, no queue limit; and how two ends find each other."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import zmq

from benchmarks.frames import START, SYNC, TOPIC
from common.clock import NS_PER_MS, SystemClock

Socket = zmq.Socket[bytes]
SYNC_PAUSE_NS = 2 * NS_PER_MS
# Whoever hears nothing for so long has lost something, which is an error here, or was left alone.
SILENCE_MS_MAX = 30_000


class RoleResult(msgspec.Struct, frozen=True):
    """What one process of a floor leaves behind."""

    count: int  # messages sent or received
    elapsed_ns: int = 0
    latency: bytes = b""


class FloorProcess:
    """Its sockets, the sign that the subscriber is there, and its result: all in the directory of the run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._context = zmq.Context()

    def bind(self, kind: int, channel: str) -> Socket:
        """One end of a channel."""
        socket = self._make(kind)
        socket.bind(self._endpoint(channel))
        return socket

    def connect(self, kind: int, channel: str) -> Socket:
        """The other end."""
        socket = self._make(kind)
        socket.connect(self._endpoint(channel))
        return socket

    def await_subscriber(self, publisher: Socket) -> None:
        """Send the sync frame until the subscriber has heard one, then the start frame."""
        while not self._sign().exists():
            publisher.send(SYNC)
            SystemClock.sleep_ns(SYNC_PAUSE_NS)
        publisher.send(START)

    def subscribe(self) -> Socket:
        """A subscriber whose next frame is the first one that counts."""
        socket = self.connect(zmq.SUB, "market")
        for prefix in (SYNC, START, TOPIC):
            socket.setsockopt(zmq.SUBSCRIBE, prefix)
        while socket.recv() != START:
            self._sign().touch()
        return socket

    def leave(self, role: str, result: RoleResult) -> None:
        """Write a result, once everything sent has left."""
        self._context.destroy(linger=SILENCE_MS_MAX)
        (self._directory / f"{role}.json").write_bytes(msgspec.json.encode(result))

    def _make(self, kind: int) -> Socket:
        socket: Socket = self._context.socket(kind)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.RCVTIMEO, SILENCE_MS_MAX)
        return socket

    def _endpoint(self, channel: str) -> str:
        return f"ipc://{self._directory}/{channel}.ipc"

    def _sign(self) -> Path:
        return self._directory / "subscribed"


def read_result(directory: Path, role: str) -> RoleResult:
    """What a role left behind."""
    return msgspec.json.decode((directory / f"{role}.json").read_bytes(), type=RoleResult)


def play(roles: Mapping[str, Callable[[FloorProcess, bytes], RoleResult]]) -> None:
    """Be the process that the command line names: role, directory, plan as JSON."""
    _, role, directory, plan = sys.argv
    process = FloorProcess(Path(directory))
    process.leave(role, roles[role](process, plan.encode()))
