"""Real processes in a run directory of their own: started, watched through their status files, killed, stopped.

    with Pipeline() as pipeline:
        pipeline.start("exchange", "executor", "gateway")
        pipeline.start_strategy("mine", "support.pipeline_strategies:PingPong")
        pipeline.wait_ready()
        pipeline.kill("executor")
        pipeline.restart("executor")

Leaving the block stops everything in order and fails the test if a process did not end as it promises to.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from support.eventually import eventually
from support.nursery import Child, launch

from exchange.ledger_reading import read_ledger
from exchange.ledger_schema import LEDGER_NAME
from executor.orders_command import describe, fold
from executor.service import JOURNAL_NAME

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
ROLES = ("exchange", "executor", "gateway", "workers", "recorder")
STOP_S_MAX = 25.0
LOG_TAIL_LINES = 15

View = dict[str, Any]
T = TypeVar("T")


def make_instrument(symbol: str, *, exchange: str = "simulated", lot_size: str = "0.0001") -> View:
    """A row of the instrument table: prices on 0.01."""
    return {
        "exchange": exchange,
        "symbol": symbol,
        "raw_symbol": symbol.replace("/", ""),
        "tick_size": "0.01",
        "lot_size": lot_size,
        "min_notional": "5",
        "max_notional": "100000",
    }


def make_config(**tables: View | list[View]) -> View:
    """A config for tests: three instruments, quick reports, 200 ticks/s. Tables are merged over it, key by key."""
    config: View = {
        "run": {"report_interval_ms": 50},
        "gateway": {"synthetic": {"rate": 200.0}},
        "instruments": [make_instrument(symbol) for symbol in ("BTC/USDT", "BTC/USD", "ETH/USDT")],
    }
    return _merged(config, tables)


def child_environment() -> dict[str, str]:
    """Ours, for a child: without settings of the developer's own, with whatever measures coverage."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TICKPULSE_")}
    # numpy's threads, which nobody here uses, cost 70 ms of each start.
    return environment | {"OPENBLAS_NUM_THREADS": "1"}


def run_tickpulse(
    *arguments: str, cwd: Path = ROOT, timeout_s: float = 40.0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end, whatever its exit code."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = launch("common", arguments, cwd=cwd, env=child_environment() | environment, out=out, err=err)
        try:
            code = child.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(["tickpulse", *arguments], code, out.read(), err.read())


class Pipeline:
    """The processes of one run."""

    def __init__(self, config: View | None = None) -> None:
        # Not pytest's tmp_path: the path of a Unix socket has 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="tp-", dir="/tmp"))
        self.config_path = self.directory / "config.json"
        self._config = make_config() if config is None else config
        self.config_path.write_text(json.dumps(self._config))
        self._commands: dict[str, tuple[str, list[str], Path]] = {}  # module, arguments, directory
        self._processes: dict[str, Child] = {}
        self._ended: set[str] = set()  # those that a test has ended

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                error.add_note(self.story())
                return
            self.stop_all()
        finally:
            self.remove()

    # Starting and ending

    def start(self, *names: str) -> None:
        """Start gateway, exchange, executor, workers or recorder; they are not waited for."""
        for name in names:
            self._launch(name, name, [], TESTS)

    def start_exchange(self, *options: str) -> None:
        """Start the exchange with options of its own."""
        self._launch("exchange", "exchange", [*options], TESTS)

    def launch_workers(self, *options: str) -> None:
        """Start the workers' host with options of its own."""
        self._launch("workers", "workers", [*options], TESTS)

    def start_strategy(self, name: str, reference: str, *, cwd: Path = TESTS, **params: object) -> None:
        """Start a strategy: an entry point, or `module:Class` as seen from `cwd`."""
        given = [
            text for key, value in params.items() for text in ("--param", f"{key}={json.dumps(value, default=str)}")
        ]
        self._launch(name, "strategy", [name, "--as", reference, *given], cwd)

    def restart(self, *names: str) -> None:
        """Start again what has ended, as it was started before."""
        for name in names:
            self._launch(name, *self._commands[name])

    def revive(self) -> None:
        """Start again whatever has ended, and wait until all are ready."""
        self.restart(*[name for name in self._processes if not self.is_running(name)])
        self.wait_ready()

    def kill(self, name: str) -> None:
        """End a process as a crash would: SIGKILL, at once."""
        self._ended.add(name)
        process = self._processes[name]
        process.kill()
        process.wait(timeout=STOP_S_MAX)

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask a process to end, and give back its exit code."""
        self.send_signal(name, number)
        return self.join(name)

    def send_signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal, without waiting for what comes of it."""
        self._ended.add(name)
        self._processes[name].send_signal(number)

    def join(self, name: str) -> int:
        """Wait until a process has ended, and give back its exit code."""
        return self._processes[name].wait(timeout=STOP_S_MAX)

    def stop_all(self) -> None:
        """End what runs in the order of supervisord.conf: the gateway first, so that what it sent is worked off.

        Raises:
            AssertionError: One of them did not end with exit code 0, or had ended before without being asked.
        """
        self.check()
        strategies = [name for name in self._processes if name not in ROLES]
        order = [
            *(["gateway"] if "gateway" in self._processes else []),
            *strategies,
            "executor",
            "exchange",
            "workers",
            "recorder",
        ]
        codes = {name: self.stop(name) for name in order if self.is_running(name)}
        assert not any(codes.values()), f"expected exit code 0 of each after SIGTERM, was {codes}\n{self.story()}"

    def remove(self) -> None:
        """End what still runs, by its pid, and remove the run directory. Safe to repeat."""
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    # Watching

    def is_running(self, name: str) -> bool:
        """Tell whether a process was started and has not ended."""
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def pid(self, name: str) -> int:
        """The process that runs under this name."""
        return self._processes[name].pid

    def report(self, name: str) -> View | None:
        """The newest status of the process that runs under this name now; None before its first."""
        assert self.is_running(name), f"{name} has ended with {self._processes[name].returncode}\n{self.story()}"
        try:
            report: View = json.loads((self.directory / "status" / f"{name}.json").read_bytes())
        except FileNotFoundError:
            return None
        return report if report["pid"] == self.pid(name) else None

    def state(self, name: str) -> str:
        """What a process says it is; `not started` before it says anything."""
        report = self.report(name)
        return "not started" if report is None else str(report["state"])

    def check(self) -> None:
        """Make sure that nobody has ended without being asked.

        Raises:
            AssertionError: Somebody has.
        """
        lost = {
            name: process.returncode
            for name, process in self._processes.items()
            if process.poll() is not None and name not in self._ended
        }
        assert not lost, f"ended without being asked, with exit codes {lost}\n{self.story()}"

    def eventually(self, condition: Callable[[], T], what: str | Callable[[], str] = "") -> T:
        """As the function of this name, but fails at once when a process dies, and tells the end of each log."""

        def checked() -> T:
            self.check()
            return condition()

        try:
            return eventually(checked, what=what)
        except AssertionError as error:
            error.add_note(self.story())
            raise

    def wait_ready(self, *names: str) -> None:
        """Wait until these, or all that were started, say that they are ready."""
        for name in names or tuple(self._processes):
            self.eventually(lambda name=name: self.state(name) == "ready", what=f"{name} is ready")

    def wait_tradable(self) -> None:
        """Wait until all are ready and the executor knows a price of every instrument."""
        self.wait_ready()
        # Every round of quotes holds each instrument that has ticked since the last one.
        self.wait_counter("executor", "quotes_received", 4 * len(self._config["instruments"]))

    def counter(self, name: str, key: str) -> int:
        """A counter as of the newest report; 0 before there is one."""
        report = self.report(name)
        return 0 if report is None else int(report["counters"].get(key, 0))

    def wait_counter(self, name: str, key: str, at_least: int) -> int:
        """Wait until a process has counted so many."""
        return self.eventually(
            lambda: (count := self.counter(name, key)) >= at_least and count, what=f"{name} counts {key} >= {at_least}"
        )

    def endpoint(self, channel: str) -> str:
        """Where a channel of this run is."""
        return f"ipc://{self.directory}/sockets/{channel}.ipc"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `tickpulse` command on this run directory."""
        return run_tickpulse(*arguments, "--run-dir", str(self.directory), "--config", str(self.config_path))

    def view(self, command: str) -> View:
        """What `tickpulse orders --json`, `ledger --json` or `status --json` prints."""
        done = self.run(command, "--json")
        # `status` says 3 when a process is not ready, and prints all the same.
        assert done.returncode in {0, 3}, done.stderr
        assert done.stdout, done.stderr
        view: View = json.loads(done.stdout)
        return view

    def journal(self) -> View:
        """The same as `view("orders")` without a process: for asking often."""
        return describe(*fold(self.directory / "state" / JOURNAL_NAME))

    def ledger(self) -> View:
        """The same as `view("ledger")` without a process: for asking often."""
        return read_ledger(self.directory / "state" / LEDGER_NAME)

    def log(self, name: str) -> list[View]:
        """The log records of a process, over all its lives."""
        lines = self._log_path(name).read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def story(self) -> str:
        """The end of each log, for a failure's message."""
        parts = []
        for name in self._processes:
            tail = self._log_path(name).read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
            parts.append("\n".join([f"--- {name}", *tail]))
        return "\n".join(parts)

    def _launch(self, name: str, module: str, arguments: list[str], cwd: Path) -> None:
        assert not self.is_running(name), f"{name} runs already"
        self._commands[name] = module, arguments, cwd
        (self.directory / "logs").mkdir(exist_ok=True)
        self._ended.discard(name)
        with self._log_path(name).open("ab") as log:
            self._processes[name] = launch(
                module,
                [*arguments, "--run-dir", str(self.directory), "--config", str(self.config_path)],
                cwd=cwd,
                env=child_environment(),
                out=log,
                err=log,
            )

    def _log_path(self, name: str) -> Path:
        return self.directory / "logs" / f"{name}.log"


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> View:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
