"""Which processes hang: those whose beat does not change while ours does. Pure.

Time here is the time in which we ran ourselves. A machine that was suspended, or too busy to run us, says nothing about
the others; and no two processes' clocks are compared, only one file with itself a moment ago.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from common.clock import NS_PER_MS
from watchdog.config import WatchdogConfig

# Of what passed between two looks, no more counts: a look may be late on a busy machine, but not by this much.
ELAPSED_NS_MAX = 500 * NS_PER_MS


class Beat(Protocol):
    """As of `common.beats`; only compared, and asked for its process and whether that has turned."""

    @property
    def pid(self) -> int: ...
    @property
    def turns(self) -> int: ...


class Hang(msgspec.Struct, frozen=True):
    """A process whose main loop has not turned for so long."""

    name: str
    pid: int
    silent_ns: int
    is_opening: bool


class _Watched(msgspec.Struct):
    pid: int
    since_ns: int  # when its beat was last seen to change, in our own time
    beat: Beat | None = None
    told_count: int = 0


class Vigil:
    """Watches the processes that run."""

    def __init__(self, config: WatchdogConfig) -> None:
        self._silence_ns_max = config.silence_ms_max * NS_PER_MS
        self._starting_ns_max = config.starting_ms_max * NS_PER_MS
        self._watched: dict[str, _Watched] = {}
        self._last_look_ns: int | None = None
        self._own_ns = 0

    def __len__(self) -> int:
        """How many processes run."""
        return len(self._watched)

    def begin(self, name: str, pid: int) -> None:
        """A process runs from now on; the same one again changes nothing."""
        known = self._watched.get(name)
        if known is None or known.pid != pid:
            self._watched[name] = _Watched(pid=pid, since_ns=self._own_ns)

    def end(self, name: str) -> None:
        """It is being stopped, or has ended: whatever it does now is not for us to judge."""
        self._watched.pop(name, None)

    def look(self, now_ns: int, read_beat: Callable[[str], Beat | None]) -> list[Hang]:
        """The processes that hang. One that goes on hanging is told again after twice the time.

        Args:
            now_ns: Monotonic time.
            read_beat: The newest beat of a process; None for a program that is not ours, which is let be.
        """
        if self._last_look_ns is not None:
            self._own_ns += min(now_ns - self._last_look_ns, ELAPSED_NS_MAX)
        self._last_look_ns = now_ns
        hangs = (self._look_at(name, watched, read_beat(name)) for name, watched in self._watched.items())
        return [hang for hang in hangs if hang is not None]

    def _look_at(self, name: str, watched: _Watched, beat: Beat | None) -> Hang | None:
        if beat is None:
            return None
        if beat != watched.beat:
            watched.beat, watched.since_ns, watched.told_count = beat, self._own_ns, 0
            return None
        # The beat of a life before this one: this one has not come so far.
        is_opening = beat.turns == 0 or beat.pid != watched.pid
        patience_ns = (self._starting_ns_max if is_opening else self._silence_ns_max) << watched.told_count
        silent_ns = self._own_ns - watched.since_ns
        if silent_ns < patience_ns:
            return None
        watched.told_count += 1
        return Hang(name=name, pid=watched.pid, silent_ns=silent_ns, is_opening=is_opening)
