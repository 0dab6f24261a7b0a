"""Keeps the frames that the hot path could not use, without slowing it.

A dropped frame waits in a small queue in memory and is written to the process' own file of dead letters a little at a
time. What exceeds the limits is counted. A locked file or a full disk costs nothing but those frames.
"""

import sqlite3
from collections import Counter, deque
from pathlib import Path

from common.bus.dead_letters import FRAME_BYTES_KEPT, FRAMES_OWNER, DeadLetter, DeadLetters
from common.bus.letters import letter_for_frame
from common.clock import Clock
from common.errors import TickpulseError, WireError

FRAMES_WAITING_MAX = 200
BYTES_WAITING_MAX = 1 << 20
FRAMES_PER_FLUSH = 20  # two flushes a second: a flood of bad frames leaves 40 samples a second
# In one life of a process: who sends garbage must not fill the disk.
FRAMES_KEPT_MAX = 10_000
BYTES_KEPT_MAX = 64 << 20


class FrameKeeper:
    """The way of unusable frames from a main loop to the disk. Nothing here raises."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.counts: Counter[str] = Counter()
        self._path = path
        self._clock = clock
        self._waiting: deque[DeadLetter] = deque()
        self._waiting_bytes = 0
        self._bytes_left = BYTES_KEPT_MAX
        self._letters: DeadLetters | None = None

    def keep(self, channel: str, error: WireError) -> None:
        """Take a frame in: some microseconds, no disk."""
        size = min(len(error.frame), FRAME_BYTES_KEPT)
        is_room = len(self._waiting) < FRAMES_WAITING_MAX and self._waiting_bytes + size <= BYTES_WAITING_MAX
        if not is_room or self.counts["frames_kept"] >= FRAMES_KEPT_MAX or size > self._bytes_left:
            self.counts["frames_not_kept"] += 1
            return
        self._waiting_bytes += size
        self._bytes_left -= size
        self._waiting.append(letter_for_frame(error, f"{FRAMES_OWNER}{channel}", self._clock.now_ns()))

    def flush(self, count_max: int = FRAMES_PER_FLUSH) -> None:
        """Write some of what waits; stay quiet when that is impossible, and try again the next time."""
        try:
            while self._waiting and count_max > 0:
                if self._letters is None:
                    self._letters = DeadLetters(self._path, locked_s_max=0)  # who waits for a reader stands still
                self._letters.keep(self._waiting[0])
                self._waiting_bytes -= len(self._waiting.popleft().frame)
                self.counts["frames_kept"] += 1
                count_max -= 1
        except (sqlite3.Error, OSError, TickpulseError):
            self.counts["frames_write_refused"] += 1

    def close(self) -> None:
        """Write what waits, if it can be written, and give the file back."""
        self.flush(FRAMES_WAITING_MAX)
        self.counts["frames_not_kept"] += len(self._waiting)
        self._waiting.clear()
        if self._letters is not None:
            self._letters.close()
            self._letters = None

    def counters(self) -> dict[str, int]:
        """What was counted, where it was."""
        return {name: count for name, count in self.counts.items() if count}
