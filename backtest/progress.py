"""One line on a terminal that says how far a backtest is; nothing where there is no terminal."""

import sys
from typing import Self

from common.clock import NS_PER_MS, NS_PER_S, SystemClock
from common.store.times import format_time_ns

INTERVAL_NS = 200 * NS_PER_MS


class ProgressLine:
    """Called with ticks and the virtual time; it writes a few times a second, and takes the line away at the end."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._clock = SystemClock()
        self._begun_ns = self._clock.monotonic_ns()
        self._next_ns = 0

    def __call__(self, ticks: int, now_ns: int) -> None:
        """Tell how far it is."""
        seconds = max(self._clock.monotonic_ns() - self._begun_ns, 1) / NS_PER_S
        self.tell(f"{format_time_ns(now_ns // NS_PER_S * NS_PER_S)}  {ticks:,} ticks  {ticks / seconds:,.0f}/s")

    def tell(self, text: str) -> None:
        """Write a line over the one before."""
        now_ns = self._clock.monotonic_ns()
        if self._is_shown and now_ns >= self._next_ns:
            self._next_ns = now_ns + INTERVAL_NS
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
