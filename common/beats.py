"""The proof that the main loop of a process turns: a file of 24 bytes that it writes over again and again.

A socket that answers and a process that exists prove nothing of the kind. Writing costs 2 µs and needs no thread;
whoever watches needs no message from a process that may not be able to send one.
"""

import os
import struct
from pathlib import Path
from typing import NamedTuple

_FIELDS = struct.Struct("<3Q")


class Beat(NamedTuple):
    """Where a main loop was last seen. `turns` is 0 until its first turn: the process is still opening."""

    pid: int
    monotonic_ns: int
    turns: int


class BeatFile:
    """The writing end."""

    def __init__(self, path: Path) -> None:
        # Not a memory map: on a full disk that is SIGBUS, where a write is an error with a name.
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._pid = os.getpid()
        self._turns = 0

    def write(self, monotonic_ns: int, turns: int) -> None:
        """Leave word that the loop turns."""
        self._turns = turns
        os.pwrite(self._descriptor, _FIELDS.pack(self._pid, monotonic_ns, turns), 0)

    def write_within_turn(self, monotonic_ns: int) -> None:
        """Leave word that a long turn gets on, as where it waits for somebody on purpose, again and again."""
        self.write(monotonic_ns, self._turns)

    def close(self) -> None:
        """Give the file back; it stays, and its beat grows old. Safe to repeat."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_beat(path: Path) -> Beat | None:
    """The newest beat; None where no process of ours has ever run under this name."""
    try:
        return Beat(*_FIELDS.unpack(path.read_bytes()))
    except (OSError, struct.error):
        return None
