"""Which programs crash again and again, and how long each is to pause. Pure.

supervisord starts a crashed program at once, which is right once and useless for ever: a loop burns a core, floods the
log and hides that nobody trades.
"""

from collections import deque

import msgspec

from common.clock import NS_PER_MS
from watchdog.config import WatchdogConfig


class CrashLoop(msgspec.Struct, frozen=True):
    """A program that crashed so often within the window, and how long it shall pause."""

    name: str
    crash_count: int
    pause_ns: int


class _History(msgspec.Struct):
    crashes_ns: deque[int] = msgspec.field(default_factory=deque)
    pause_count: int = 0
    resumes_ns: int | None = None


class CrashLoops:
    """Counts crashes of each program, and keeps the pauses."""

    def __init__(self, config: WatchdogConfig) -> None:
        self._crashes_max = config.restarts_max
        self._window_ns = config.restart_window_ms * NS_PER_MS
        self._pause_ns_first = config.restart_pause_ms * NS_PER_MS
        self._pause_ns_max = config.restart_pause_ms_max * NS_PER_MS
        self._histories: dict[str, _History] = {}
        self._paused: set[str] = set()

    def on_crash(self, name: str, now_ns: int) -> None:
        """A program has ended in a way that it should not."""
        history = self._histories.setdefault(name, _History())
        crashes_ns = history.crashes_ns
        while crashes_ns and crashes_ns[0] <= now_ns - self._window_ns:
            crashes_ns.popleft()
        if not crashes_ns and history.resumes_ns is not None and now_ns - history.resumes_ns > self._window_ns:
            # It ran well for a while since its last pause: this is another trouble.
            history.pause_count, history.resumes_ns = 0, None
        crashes_ns.append(now_ns)

    def find_loop(self, name: str) -> CrashLoop | None:
        """Tell whether a program that runs again had better not."""
        history = self._histories.get(name)
        if history is None or len(history.crashes_ns) <= self._crashes_max:
            return None
        pause_ns = min(self._pause_ns_first << history.pause_count, self._pause_ns_max)
        return CrashLoop(name=name, crash_count=len(history.crashes_ns), pause_ns=pause_ns)

    def pause(self, loop: CrashLoop, now_ns: int) -> None:
        """It was stopped; each pause that follows soon is twice as long."""
        history = self._histories[loop.name]
        history.crashes_ns.clear()
        history.pause_count += 1
        history.resumes_ns = now_ns + loop.pause_ns
        self._paused.add(loop.name)

    def end_pause(self, name: str) -> None:
        """Somebody has started it already."""
        self._paused.discard(name)

    def take_due(self, now_ns: int) -> list[str]:
        """The programs whose pause is over, each once."""
        due = sorted(name for name in self._paused if now_ns >= (self._histories[name].resumes_ns or 0))
        self._paused.difference_update(due)
        return due

    def paused(self) -> list[str]:
        """The programs that pause now, by name."""
        return sorted(self._paused)
