"""How much others used the machine while a benchmark ran: the first thing to look at when numbers surprise.

Linux counts the busy time of all cores by looking 100 to 1,000 times a second. That misses much of what wakes up for a
few µs, so the answer is a lower bound, good to a tenth of a core.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from common.clock import NS_PER_S, SystemClock

STAT = Path("/proc/stat")
# Fields of its first line, of proc(5): user, nice, system, idle, iowait, irq, softirq, steal; in ticks of the kernel.
BUSY_FIELDS = (0, 1, 2, 5, 6, 7)


class Bystanders:
    """A context that measures how many cores were busy for others: processes, and the host of a virtual machine."""

    def __init__(self) -> None:
        self.cores: float | None = None  # on average; None where the system does not tell

    def __enter__(self) -> Self:
        self._started_ns = SystemClock.monotonic_ns()
        self._started_s = _foreign_s()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        elapsed_s = (SystemClock.monotonic_ns() - self._started_ns) / NS_PER_S
        ended_s = _foreign_s()
        if self._started_s is not None and ended_s is not None:
            self.cores = round(max(0.0, ended_s - self._started_s) / elapsed_s, 2)


def read_busy_s(text: str, ticks_per_s: int) -> float:
    """Seconds that all cores were busy since the start of the system, from the text of /proc/stat."""
    fields = text.partition("\n")[0].split()[1:]
    return sum(int(fields[index]) for index in BUSY_FIELDS) / ticks_per_s


def _foreign_s() -> float | None:
    """What all used, less what we and those of our children that have ended used."""
    try:
        text = STAT.read_text(encoding="utf-8")
    except OSError:
        return None
    return read_busy_s(text, os.sysconf("SC_CLK_TCK")) - sum(os.times()[:4])
