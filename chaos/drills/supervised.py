"""The pipeline of supervisord.conf, whose processes are killed in turn and started again by supervisord alone."""

import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from common.clock import NS_PER_MS, NS_PER_S, SystemClock
from common.config import load
from common.errors import FatalError
from common.events.system import ProcessReported, ProcessState
from monitor.config import strategy_names
from monitor.status import read_reports
from monitor.supervisor import STOP_S_MAX, SupervisedPipeline

READY_S_MAX = 60.0
POLL_NS = 10 * NS_PER_MS
CONF = Path("supervisord.conf")
REPORT_INTERVAL_MS = 100


class SupervisedHost:
    """`tickpulse demo` without its panel. Use it as a context: it leaves no process and no file behind."""

    def __init__(self) -> None:
        """Take the config that is here, in a run directory of its own; nothing is started.

        Raises:
            ConfigError: The config is wrong, or there is no supervisord.conf here.
        """
        directory = Path(tempfile.mkdtemp(prefix="tpc-")).resolve()
        config = load(None, os.environ, ())
        config.assign(("run", "directory"), str(directory), "drill")
        config.assign(("run", "report_interval_ms"), REPORT_INTERVAL_MS, "drill")
        self.run_directory = config.run_directory().create()
        self.strategies = strategy_names(config)
        self.names = ("exchange", "executor", "gateway", *self.strategies)
        config_path = self.run_directory.file("state", "config.json")
        config_path.write_text(json.dumps(config.tree, default=str))
        environment = {"TICKPULSE_RUN_DIR": str(directory), "TICKPULSE_CONFIG": str(config_path)}
        self._pipeline = SupervisedPipeline(CONF, self.run_directory, environment)

    def __enter__(self) -> Self:
        self._pipeline.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipeline.request_stop()
        with contextlib.suppress(FatalError):
            self._wait(self._pipeline.is_stopped, STOP_S_MAX, "supervisord to stop")
        self._pipeline.kill()
        shutil.rmtree(self.run_directory.path, ignore_errors=True)

    def kill(self, name: str) -> int:
        """SIGKILL by its process id, which is given back."""
        pid = self._reports()[name].pid
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_ready(self, ended_pid: int = 0) -> float:
        """Wait until everybody is ready, each in a life that has not ended.

        Args:
            ended_pid: Of a process that was killed: its last words do not count.

        Returns:
            How many ms that took.

        Raises:
            FatalError: Somebody is not.
            NotReadyError: supervisord has ended.
        """

        def are_ready() -> bool:
            self._pipeline.check()
            reports = self._reports()
            return all(
                name in reports and reports[name].state is ProcessState.READY and reports[name].pid != ended_pid
                for name in self.names
            )

        return self._wait(are_ready, READY_S_MAX, "everybody ready")

    def stop(self) -> None:
        """Stop in order.

        Raises:
            FatalError: Somebody did not.
        """
        self._pipeline.request_stop()
        self._wait(self._pipeline.is_stopped, STOP_S_MAX, "supervisord to stop")
        states = {name: report.state.value for name, report in self._reports().items()}
        if set(states.values()) != {ProcessState.STOPPED.value}:
            raise FatalError(f"drill: expected everybody to have stopped in order, was {states}")

    def _reports(self) -> dict[str, ProcessReported]:
        return {each.source: each for each in read_reports(self.run_directory) if each.source in self.names}

    def _wait(self, is_so: Callable[[], bool], timeout_s: float, what: str) -> float:
        began_ns = SystemClock.monotonic_ns()
        while not is_so():
            if SystemClock.monotonic_ns() - began_ns > timeout_s * NS_PER_S:
                states = {name: (report.state.value, report.detail) for name, report in self._reports().items()}
                raise FatalError(f"drill: expected {what} within {timeout_s:g} s, was {states}")
            SystemClock.sleep_ns(POLL_NS)
        return (SystemClock.monotonic_ns() - began_ns) / NS_PER_MS
