"""A pipeline of real processes in a temporary run directory, each of which may be ended and started at any time."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chaos.drills.lossy_disk import LossyDisk
from chaos.drills.proxy import Proxy
from common.clock import NS_PER_MS, NS_PER_S, SystemClock
from common.crash_points import CRASH_VARIABLE
from common.errors import FatalError
from common.events.system import ProcessReported, ProcessState
from common.run_directory import RunDirectory
from monitor.status import read_reports

STRATEGIES = ("alpha", "beta")
EXCHANGE = "simulated"
SYMBOLS = ("BTC/USDT", "ETH/USDT")
NAMES = ("exchange", "executor", "gateway", *STRATEGIES)
# In the order of an orderly end: first whoever makes work, last whoever ends it.
STOP_ORDER = ("gateway", *STRATEGIES, "executor", "exchange")
FILES = {
    "executor": "journal.sqlite",
    "exchange": "ledger.sqlite",
    **{name: f"{name}.outbox.sqlite" for name in STRATEGIES},
}
WRITERS = tuple(FILES)
PROXIED = ("orders", "signals")  # channels that go through a proxy of ours
POLL_NS = 10 * NS_PER_MS
READY_S_MAX = 20.0
STOP_S_MAX = 20.0
LOG_CHARACTERS = 600


class Host:
    """Use it as a context: it leaves no process and no file behind."""

    def __init__(self, *, rate: float = 200.0, tick_count: int = 20, is_disk_lossy: bool = False) -> None:
        """Write the config; nothing is started.

        Args:
            rate: Ticks/s of the market.
            tick_count: Ticks between two acts of each strategy.
            is_disk_lossy: Whoever has a file syncs each write, to a disk that may lose its power.
        """
        # A short path: that of a Unix socket has 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="tpc-")).resolve()
        self.run_directory = RunDirectory(self.directory).create()
        self._lossy_disk: LossyDisk | None = None
        if is_disk_lossy:
            self._lossy_disk = LossyDisk(self.directory / "disk", self.run_directory.file("state", ""))
        self._config_path = self.directory / "config.json"
        self._config_path.write_text(json.dumps(_config(self.directory, rate, tick_count), indent=2))
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self.proxies = {
            channel: Proxy(self._socket(f"proxied-{channel}"), self._socket(channel)) for channel in PROXIED
        }

    def __enter__(self) -> Self:
        for proxy in self.proxies.values():
            proxy.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children.values():
            child.kill()
            child.wait()
        for proxy in self.proxies.values():
            proxy.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    # Lives

    def start(self, name: str, crash: str | None = None, options: Sequence[str] = ()) -> None:
        """Begin a life, which may be doomed to end at a crash point, as `NAME:K`."""
        role = ["strategy", name, "--as", "chaos.traders:Churner"] if name in STRATEGIES else [name]
        with (self.directory / f"{name}.log").open("ab") as log:
            self._children[name] = subprocess.Popen(
                [sys.executable, "-m", *role, *options, "--config", str(self._config_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(name, crash),
                start_new_session=True,
            )

    def run(self, *command: str) -> None:
        """Run a command of ours on this pipeline.

        Raises:
            FatalError: It did not end with 0.
        """
        done = subprocess.run(
            [sys.executable, "-m", "common", *command, "--config", str(self._config_path)],
            env=self._environment("", None),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise FatalError(f"tickpulse {command[0]}: {done.stderr.decode(errors='replace').strip()}")

    def kill(self, name: str) -> None:
        """End a life at once."""
        child = self._children[name]
        child.kill()
        child.wait()

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal."""
        self._children[name].send_signal(number)

    def limit_files(self, name: str) -> None:
        """Refuse every further byte of its files: a disk that is full, for this process alone."""
        hard = resource.prlimit(self._children[name].pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self._children[name].pid, resource.RLIMIT_FSIZE, (0, hard))

    @property
    def lossy_disk(self) -> LossyDisk:
        """The disk of all processes.

        Raises:
            FatalError: They have an ordinary one.
        """
        if self._lossy_disk is None:
            raise FatalError("drill: expected a host with a lossy disk")
        return self._lossy_disk

    def state_files(self, name: str) -> set[str]:
        """Every file below `state` that a process writes, without what it only maps."""
        database = FILES[name]
        return {database, f"{database}-wal", f"{database}-journal", f"{name}.epoch", f"{name}.epoch.new"}

    def is_alive(self, name: str) -> bool:
        """Tell whether a life lasts."""
        return self._children[name].poll() is None

    def wait_end(self, name: str, timeout_s: float) -> bool:
        """Wait for a life to end by itself; tell whether it did."""
        return self.wait(lambda: not self.is_alive(name), timeout_s)

    def exit_code(self, name: str) -> int | None:
        """How a life has ended; None while it lasts."""
        return self._children[name].poll()

    def stop_all(self) -> dict[str, int]:
        """Ask all for their orderly end; gives back the exit codes of those that did not end with 0."""
        codes = {}
        for name in STOP_ORDER:
            self.send(name, signal.SIGTERM)
            if not self.wait_end(name, STOP_S_MAX):
                self.kill(name)
            codes[name] = self._children[name].returncode
        return {name: code for name, code in codes.items() if code}

    # What they say

    def reports(self) -> dict[str, ProcessReported]:
        """The newest report of each process of this life; without those that an earlier life has left."""
        found = {report.source: report for report in read_reports(self.run_directory)}
        return {
            name: report
            for name, report in found.items()
            if name in self._children and report.pid == self._children[name].pid
        }

    def wait_ready(self) -> None:
        """Wait until everybody says so.

        Raises:
            FatalError: Somebody does not, or has ended; the message holds the end of its log.
        """

        def are_ready() -> bool:
            reports = self.reports()
            return all(name in reports and reports[name].state is ProcessState.READY for name in NAMES)

        if not self.wait(are_ready, READY_S_MAX):
            states = {name: self.reports().get(name) for name in NAMES}
            waiting = [name for name, report in states.items() if report is None or report.state != "ready"]
            logs = "\n".join(f"{name}: {self.log_tail(name)}" for name in waiting)
            raise FatalError(f"drill: expected everybody ready within {READY_S_MAX:g} s, waiting for {waiting}\n{logs}")

    def counter(self, name: str, counter: str) -> int:
        """What a process has counted in its present life; 0 before its first report."""
        report = self.reports().get(name)
        return 0 if report is None else report.counters.get(counter, 0)

    def last_counter(self, name: str, counter: str) -> int:
        """What a process had counted when it ended in order."""
        return {report.source: report for report in read_reports(self.run_directory)}[name].counters[counter]

    def accepted(self) -> dict[str, int]:
        """How many signals of each strategy became orders in its present life."""
        return {name: self.counter(name, "signals_accepted") for name in STRATEGIES}

    def wait(self, is_so: Callable[[], bool], timeout_s: float) -> bool:
        """Look again and again; tell whether it came true."""
        deadline_ns = SystemClock.monotonic_ns() + int(timeout_s * NS_PER_S)
        while not is_so():
            if SystemClock.monotonic_ns() > deadline_ns:
                return False
            SystemClock.sleep_ns(POLL_NS)
        return True

    def log_tail(self, name: str) -> str:
        """The last words of a process."""
        return (self.directory / f"{name}.log").read_text(errors="replace")[-LOG_CHARACTERS:].strip()

    def _environment(self, name: str, crash: str | None) -> Mapping[str, str]:
        environment = {key: text for key, text in os.environ.items() if not key.startswith("TICKPULSE_")}
        # numpy's threads, which nobody here uses, cost 70 ms of each start.
        environment["OPENBLAS_NUM_THREADS"] = "1"
        # Who connects goes through the proxy; who binds has the socket behind it.
        channel = "signals" if name in STRATEGIES else "orders" if name == "executor" else None
        if channel is not None:
            environment[f"TICKPULSE_CHANNELS__{channel.upper()}"] = f"ipc://{self._socket(f'proxied-{channel}')}"
        if self._lossy_disk is not None and name in FILES:
            environment |= {"TICKPULSE_RUN__SYNCHRONOUS": "full", **self._lossy_disk.environment(name)}
        return environment if crash is None else {**environment, CRASH_VARIABLE: crash}

    def _socket(self, name: str) -> Path:
        return self.run_directory.file("sockets", f"{name}.ipc")


def _config(directory: Path, rate: float, tick_count: int) -> dict[str, Any]:
    instruments = [
        {
            "exchange": EXCHANGE,
            "symbol": symbol,
            "raw_symbol": symbol.replace("/", ""),
            "tick_size": "0.01",
            "lot_size": "0.0001",
        }
        for symbol in SYMBOLS
    ]
    strategy = {
        "parameters": {"tick_count": tick_count},
        "on_stop_orders": "cancel",
        "signal_lifetime_ms": 2_000,
        "resend_ms": 100,
        "resend_ms_max": 500,
        "failures_max": 1_000,
    }
    return {
        "run": {"directory": str(directory), "report_interval_ms": 50},
        "gateway": {"synthetic": {"rate": rate}},
        "executor": {"request_timeout_ms": 300, "retry_pause_ms": 50, "retry_pause_ms_max": 200, "held_ms_max": 1_500},
        "recorder": {"nice": 0},
        "instruments": instruments,
        "strategy": dict.fromkeys(STRATEGIES, strategy),
    }
