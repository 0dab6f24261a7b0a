"""What was received and is not written yet: frames as they came, within a bound of bytes. Pure.

When it is full, what comes is dropped, newest first, until half of it is written: so the log has few gaps that are long
instead of many that are short. What was dropped keeps its place in the queue as its numbers alone.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from common.clock import NS_PER_MS

TOGETHER_NS = 50 * NS_PER_MS  # what comes within it while something waits is one batch
FRAME_OVERHEAD_BYTES = 48  # what CPython adds to the bytes of a frame
Frames = tuple[str, Sequence[bytes]]  # a channel, and what came on it


class Place(NamedTuple):
    """The numbers of one frame in its stream."""

    channel: str
    topic: bytes
    source: str
    epoch: int
    first_seq: int
    last_seq: int


class Dropped(NamedTuple):
    """Numbers that came from `recorded_ns` UTC on and had to be dropped, with the reason of each stream's first."""

    recorded_ns: int
    places: dict[tuple[str, bytes, str, int], tuple[int, int, str]]


class Batch(NamedTuple):
    """What one turn took from the sockets, at `recorded_ns` UTC."""

    recorded_ns: int
    groups: Sequence[Frames]
    size_bytes: int


class Buffer:
    """Batches and what was dropped between them, in the order of arrival."""

    def __init__(self, bytes_max: int, locate: Callable[[str, bytes], Place | None]) -> None:
        """Prepare; `locate` reads the numbers of a frame, None where it has none."""
        self.size_bytes = 0
        self.size_bytes_highest = 0
        self.frames_dropped = 0
        self._bytes_max = bytes_max
        self._locate = locate
        self._queue: deque[Batch | Dropped] = deque()
        self._is_full = False
        self._newest_began_ns = 0

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, recorded_ns: int, groups: Sequence[Frames], reason: str) -> None:
        """Take what came in one turn; where it finds no room it is dropped for this reason."""
        size_bytes = sum(sum(map(len, frames)) + FRAME_OVERHEAD_BYTES * len(frames) for _, frames in groups)
        if not self._is_full and self.size_bytes + size_bytes <= self._bytes_max:
            newest = self._queue[-1] if self._queue else None
            if isinstance(newest, Batch) and recorded_ns - self._newest_began_ns < TOGETHER_NS:
                # Who is behind writes more at a time, or never catches up.
                self._queue[-1] = Batch(recorded_ns, [*newest.groups, *groups], newest.size_bytes + size_bytes)
            else:
                self._queue.append(Batch(recorded_ns, groups, size_bytes))
                self._newest_began_ns = recorded_ns
            self.size_bytes += size_bytes
            self.size_bytes_highest = max(self.size_bytes_highest, self.size_bytes)
            return
        self._is_full = bool(self._queue)
        for channel, frames in groups:
            self._drop(recorded_ns, channel, frames, reason)

    def take(self) -> Batch | Dropped | None:
        """The oldest; None where nothing waits."""
        if not self._queue:
            return None
        oldest = self._queue.popleft()
        if isinstance(oldest, Batch):
            self.size_bytes -= oldest.size_bytes
            if self.size_bytes <= self._bytes_max // 2:
                self._is_full = False
        return oldest

    def _drop(self, recorded_ns: int, channel: str, frames: Sequence[bytes], reason: str) -> None:
        self.frames_dropped += len(frames)
        newest = self._queue[-1] if self._queue else None
        if not isinstance(newest, Dropped):
            newest = Dropped(recorded_ns, {})
            self._queue.append(newest)
        places = newest.places
        for frame in frames:
            place = self._locate(channel, frame)
            if place is None:
                continue
            key = (place.channel, place.topic, place.source, place.epoch)
            first_seq, last_seq, why = places.get(key, (place.first_seq, place.last_seq, reason))
            places[key] = (min(first_seq, place.first_seq), max(last_seq, place.last_seq), why)
