"""The run directory: sockets, state, status and logs of one running pipeline, closed to other users.

Who runs in it holds a lock, so two pipelines never share one by accident.
"""

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import msgspec

from common.clock import NS_PER_MS, NS_PER_S
from common.errors import ConfigError

SUBDIRECTORIES = ("sockets", "state", "status", "locks", "logs")


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lock."""

    pid: int
    since_ns: int


class Lock:
    """An exclusive lock on a file, freed by the kernel when its holder dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self, now_ns: int) -> bool:
        """Try to take the lock, and leave word of who holds it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, msgspec.json.encode(Holder(os.getpid(), now_ns)))
        self._descriptor = descriptor
        return True

    def holder(self) -> Holder | None:
        """Who wrote its name last; only of worth while somebody holds the lock."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Holder)
        except (OSError, msgspec.DecodeError):
            return None

    def release(self) -> None:
        """Give the lock back. Safe to repeat."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class RunDirectory:
    """One pipeline's place on disk."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()

    def create(self) -> Self:
        """Make the directory and its parts, readable by this user only.

        Raises:
            ConfigError: It cannot be made or written to.
        """
        try:
            for directory in (self.path, *(self.path / name for name in SUBDIRECTORIES)):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise ConfigError(
                f"run directory {self.path}: expected one that this user can create and write, {error.strerror}; "
                f"choose another with --run-dir"
            ) from error
        return self

    def file(self, part: str, name: str) -> Path:
        """The path of a file, such as `("state", "journal.sqlite")`."""
        return self.path / part / name

    def lock(self, name: str, now_ns: int) -> Lock:
        """Claim a role in this run.

        Raises:
            ConfigError: Another process has it; the message says which and since when.
        """
        lock = Lock(self.file("locks", name))
        if lock.acquire(now_ns):
            return lock
        holder = lock.holder()
        who = "another process" if holder is None else f"pid {holder.pid} since {_utc(holder.since_ns)}"
        raise ConfigError(
            f"run directory {self.path}: {name} is held by {who}; stop it or choose another directory with --run-dir"
        )

    def next_epoch(self, source: str, now_ns: int) -> int:
        """Begin a new life of a process: a number above all that it used before, near the time in ms."""
        path = self.file("state", f"{source}.epoch")
        try:
            last = int(path.read_text())
        except (OSError, ValueError):
            last = 0
        epoch = max(now_ns // NS_PER_MS, last + 1)
        replace_file(path, str(epoch).encode())
        return epoch


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old or the new content, never a part."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_bytes(content)
    temporary.replace(path)


def _utc(timestamp_ns: int) -> str:
    return datetime.fromtimestamp(timestamp_ns / NS_PER_S, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
