"""The feed that plays a capture file again, in its own timing or faster.

Every line ends in one counter: `lines_read` is `lines_published` + `lines_malformed` + `lines_ignored` once the feed
has ended; before that it also counts the updates that were read ahead.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from common.clock import NS_PER_S
from common.errors import ConfigError
from gateway.config import RecordedConfig
from gateway.feeds.base import DepthSnapshot, DepthUpdate, Update
from gateway.feeds.binance import LINE_BYTES_MAX, Ignored, Malformed, Outcome, parse_line
from gateway.feeds.capture_file import CaptureFile

READ_AHEAD_LINES = 256  # about 0.6 ms of inflating and parsing
MALFORMED_LINES_KEPT = 20
# A hundred years. Due times must fit 64 bits however slow a config asks the feed to be.
OFFSET_NS_MAX = 100 * 365 * 86_400 * NS_PER_S

MalformedObserver = Callable[[int, str], None]


class RecordedFeed:
    """Updates with the receive times of the file, which lie in the past, due as far apart as they were received.

    A line that is older than the one before it is due together with that one. A gap in the file is waited for.
    """

    def __init__(self, config: RecordedConfig, on_malformed: MalformedObserver | None = None) -> None:
        """Take the file's name; nothing is opened yet.

        Args:
            config: Which file, how fast.
            on_malformed: Told the number (from 1) of every line that is no message, and why.
        """
        self.exchange = config.exchange
        self.malformed_lines: list[tuple[int, str]] = []
        self._config = config
        self._on_malformed = on_malformed
        self._counts: Counter[str] = Counter()
        self._file: CaptureFile | None = None
        self._lines: Iterator[bytes] = iter(())
        self._forget_read_ahead()

    @property
    def damage(self) -> str | None:
        """Why the file could not be read to its end; None while nothing is wrong."""
        return self._file.damage if self._file else None

    def start(self, now_ns: int) -> None:
        """Open the file and find its first update, which is due now.

        Raises:
            ConfigError: The file cannot be opened, or holds no update that is asked for.
        """
        self.close()
        self._counts.clear()
        self.malformed_lines.clear()
        self._file = _open_capture(self._config.path)
        self._lines = self._file.lines()
        self._start_ns = self._last_due_ns = now_ns
        self._first_local_ns: int | None = None
        self._last_local_ns = 0
        self._read_ahead()
        if not self._updates:
            self.close()
            raise ConfigError(self._describe_useless())

    def read(self, now_ns: int, count_max: int) -> Sequence[Update]:
        """Hand out the updates that are due by now, oldest first, at most `count_max`."""
        updates: list[Update] = []
        while count := self._count_ready(now_ns, count_max - len(updates)):
            updates += self._updates[self._next : self._next + count]
            self._next += count
            if self._next == len(self._updates):
                self._read_ahead()
        self._counts["lines_published"] += len(updates)
        return updates

    def next_due_ns(self) -> int | None:
        """When the next update is due; None after the last one."""
        return self._due_ns[self._next] if self._next < len(self._due_ns) else None

    def counters(self) -> dict[str, int]:
        """Lines by what became of them, times that went back, and 1 for a file that could not be read to its end."""
        names = ("lines_read", "lines_published", "lines_malformed", "lines_ignored", "clock_went_back")
        return {name: self._counts[name] for name in names} | {"feed_truncated": int(self.damage is not None)}

    def close(self) -> None:
        """Give the file back; updates that were not read are gone."""
        if self._file:
            self._file.close()
        self._forget_read_ahead()

    def _forget_read_ahead(self) -> None:
        self._updates: list[Update] = []
        self._due_ns: list[int] = []
        self._next = 0

    def _count_ready(self, now_ns: int, count_max: int) -> int:
        if count_max <= 0:
            return 0
        end = min(self._next + count_max, len(self._due_ns))
        return bisect_right(self._due_ns, now_ns, self._next, end) - self._next

    def _read_ahead(self) -> None:
        """Replace what was handed out by the next updates; by none only at the end of the file."""
        self._forget_read_ahead()
        while not self._updates and (lines := list(islice(self._lines, READ_AHEAD_LINES))):
            for line_number, line in enumerate(lines, self._counts["lines_read"] + 1):
                self._take(parse_line(line), line_number)
            self._counts["lines_read"] += len(lines)

    def _take(self, outcome: Outcome, line_number: int) -> None:
        if isinstance(outcome, Malformed):
            self._refuse(line_number, outcome.reason)
        elif isinstance(outcome, Ignored) or (
            not self._config.depth and isinstance(outcome, DepthUpdate | DepthSnapshot)
        ):
            self._counts["lines_ignored"] += 1
        else:
            self._updates.append(outcome)
            self._due_ns.append(self._schedule(outcome.local_timestamp_ns))

    def _refuse(self, line_number: int, reason: str) -> None:
        self._counts["lines_malformed"] += 1
        if len(self.malformed_lines) < MALFORMED_LINES_KEPT:
            self.malformed_lines.append((line_number, reason))
        if self._on_malformed:
            self._on_malformed(line_number, reason)

    def _schedule(self, local_ns: int) -> int:
        """When an update is due, which is never before the one that stands before it in the file."""
        if self._first_local_ns is None:
            self._first_local_ns = local_ns
        if local_ns < self._last_local_ns:
            self._counts["clock_went_back"] += 1
        self._last_local_ns = local_ns
        if self._config.speed:
            offset_ns = min((local_ns - self._first_local_ns) / self._config.speed, OFFSET_NS_MAX)
            self._last_due_ns = max(self._last_due_ns, self._start_ns + int(offset_ns))
        return self._last_due_ns

    def _describe_useless(self) -> str:
        counts = self._counts
        hints = [f"line {number}: {reason}" for number, reason in self.malformed_lines[:1]]
        hints += [self.damage] if self.damage else []
        return (
            f"capture file {self._config.path!r}: expected Binance bookTicker, trade or depth messages, each after "
            f"the receive time in ns, was none in {counts['lines_read']} lines ({counts['lines_malformed']} malformed, "
            f"{counts['lines_ignored']} of other streams{''.join(f'; {hint}' for hint in hints)}); "
            f"give another file in gateway.recorded.path"
        )


def _open_capture(path: str) -> CaptureFile:
    if not path:
        raise ConfigError("recorded feed: expected the path of a capture file, was empty; set gateway.recorded.path")
    return CaptureFile(path, LINE_BYTES_MAX)
