"""Where a run takes place: a temporary directory and child processes, both gone when it ends, however it ends."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.processor_time import ProcessorTime, read_processor_time
from common.clock import NS_PER_MS, NS_PER_S, SystemClock
from common.errors import FatalError

# Rare enough to take no time from what is measured: a look costs 0.2 ms.
POLL_NS = 100 * NS_PER_MS
STOP_S_MAX = 15.0
LOG_TAIL_CHARACTERS = 2_000
PR_SET_PDEATHSIG = 1  # of linux/prctl.h
# Python swallows what a signal handler raises while an object is being finalised: then `wait` raises it again.
INTERRUPTED = threading.Event()
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Looked up here, because between fork and exec nothing may be imported or loaded.
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class Stage:
    """A context: entered with nothing, left with nothing behind."""

    def __init__(self) -> None:
        self.directory = Path()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        # Settings of the caller's own pipeline must not leak into the one that is measured.
        self._environment = {name: text for name, text in os.environ.items() if not name.startswith("TICKPULSE_")}

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="tickpulse-bench-"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C, pressed while this cleans up, must not stop it half way.
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDING_SIGNALS}
        try:
            for child in self._children.values():
                child.kill()
                child.wait()
            shutil.rmtree(self.directory, ignore_errors=True)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def start(self, name: str, *arguments: str) -> None:
        """Start `python -m` with these arguments; its output goes to a file."""
        with self._log(name).open("ab") as output:
            self._children[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                # Of its own group: Ctrl-C is for us, and we end our children.
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # one system call, which takes no lock
            )

    def processor_times(self) -> dict[str, ProcessorTime]:
        """What each child has used so far; empty where the system does not tell."""
        times = {name: read_processor_time(child.pid) for name, child in self._children.items()}
        return {name: time for name, time in times.items() if time is not None}

    def wait(self, is_done: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait until something has happened.

        Raises:
            FatalError: A child has failed, or the time is over; the message holds the end of the logs.
        """
        deadline_ns = SystemClock.monotonic_ns() + int(timeout_s * NS_PER_S)
        while not is_done():
            if INTERRUPTED.is_set():
                raise KeyboardInterrupt
            self._check()
            if SystemClock.monotonic_ns() > deadline_ns:
                logs = "\n".join(f"{name}: {self._log_tail(name)}" for name in self._children)
                raise FatalError(f"benchmark: expected {what} within {timeout_s:g} s\n{logs}")
            SystemClock.sleep_ns(POLL_NS)

    def wait_end(self, names: Iterable[str], timeout_s: float) -> None:
        """Wait until children have ended by themselves.

        Raises:
            FatalError: As of `wait`.
        """
        children = [self._children[name] for name in names]
        self.wait(lambda: all(child.poll() is not None for child in children), "the end of all processes", timeout_s)
        self._check()

    def stop(self, name: str) -> None:
        """Ask a child for its orderly end, and wait for it.

        Raises:
            FatalError: It did not end, or not well.
        """
        self._children[name].terminate()
        self.wait_end([name], STOP_S_MAX)

    def _check(self) -> None:
        for name, child in self._children.items():
            if child.poll():
                raise FatalError(f"benchmark: {name} ended with exit code {child.returncode}: {self._log_tail(name)}")

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.out"

    def _log_tail(self, name: str) -> str:
        return self._log(name).read_text(errors="replace")[-LOG_TAIL_CHARACTERS:].strip() or "nothing in its log"


def _die_with_parent() -> None:
    """Have the kernel end this child when we are killed in a way that runs no cleaning up."""
    if _PRCTL is not None:
        _PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)
