"""Turns full files of the write-ahead part into Parquet files, in a thread of its own beside the writer.

The order of steps is what a crash cannot break: files under their own names, then the manifest's entry, which makes
them count, then the write-ahead file goes. Whoever starts next removes files that no entry names, and goes on.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable

from common.errors import TickpulseError
from common.log import get_log

_RETRY_S = 1.0


class Converter(threading.Thread):
    """Does one task after the other; what the disk refuses is tried again, for ever."""

    def __init__(self, tick: Callable[[], None]) -> None:
        """Prepare.

        Args:
            tick: Called about once a second, for what is due by time.
        """
        super().__init__(name="parquet", daemon=True)
        self.failure: BaseException | None = None
        self._tick = tick
        self._tasks: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._is_closing = False

    def submit(self, tasks: Iterable[Callable[[], None]]) -> None:
        """Do these after all others."""
        with self._changed:
            self._tasks.extend(tasks)
            self._changed.notify_all()

    def settle(self) -> None:
        """Wait until all is done, or something has failed; `failure` tells."""
        with self._changed:
            self.failure = None
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._tasks or self.failure is not None or not self.is_alive())

    def end(self) -> None:
        """Stop after the task in hand."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        """Work until told to end."""
        while True:
            with self._changed:
                if not self._tasks:
                    self._changed.wait(_RETRY_S)
                if self._is_closing:
                    return
                task = self._tasks[0] if self._tasks else None
            if task is None:
                self._tick()
                continue
            failure = self._attempt(task)
            with self._changed:
                self.failure = failure
                if failure is None:
                    self._tasks.popleft()
                self._changed.notify_all()
                if failure is not None and not self._is_closing:
                    self._changed.wait(_RETRY_S)

    @staticmethod
    def _attempt(task: Callable[[], None]) -> BaseException | None:
        try:
            task()
        except (TickpulseError, OSError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
            get_log(part="store").warning("parquet_conversion_failed", error=str(error))
            return error
        return None
