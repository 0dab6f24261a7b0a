"""`tickpulse demo` as a child of a test: the whole pipeline under supervisord."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from support.pipeline import ROOT, View, child_environment

PROCESSES = {"exchange", "executor", "gateway", "momentum", "recorder", "support_resistance", "watchdog", "workers"}


class Demo:
    """A running demo in a run directory of its own."""

    def __init__(self, *options: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tp-", dir="/tmp"))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "common", "demo", "--run-dir", str(self.directory), *options],
            cwd=ROOT,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._streams: tuple[str, str] | None = None

    def finish(self) -> tuple[int, str, str]:
        """Wait for its end: exit code, stdout, stderr."""
        if self._streams is None:
            self._streams = self.process.communicate(timeout=50)
        return (self.process.returncode, *self._streams)

    def reports(self) -> dict[str, View]:
        """The newest report of each process."""
        files = (self.directory / "status").glob("*.json")
        return {report["source"]: report for report in (json.loads(file.read_bytes()) for file in files)}

    def pids(self) -> dict[str, int]:
        """The processes that are ready now."""
        return {name: report["pid"] for name, report in self.reports().items() if report["state"] == "ready"}

    def counter(self, name: str, key: str) -> int:
        """A counter of one process."""
        report = self.reports().get(name)
        return 0 if report is None else report["counters"].get(key, 0)

    def close(self) -> None:
        """End it in whatever way, and remove its files."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.finish()
        shutil.rmtree(self.directory, ignore_errors=True)
