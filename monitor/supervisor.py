"""Starts and stops a pipeline under supervisord, as a trading host would."""

import configparser
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from common.errors import ConfigError, NotReadyError
from common.run_directory import RunDirectory

# supervisord stops its programs one after the other, each within its stopwaitsecs.
STOP_S_MAX = 60.0
LOG_TAIL_BYTES = 2_000


def programs_in(conf: Path) -> set[str]:
    """The names of the programs of a supervisord config, without those of files that it includes."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(conf)
    except configparser.Error:
        return set()  # supervisord will say what is wrong with it
    return {section.removeprefix("program:") for section in parser.sections() if section.startswith("program:")}


class SupervisedPipeline:
    """A supervisord of our own and everything under it."""

    def __init__(self, conf: Path, run_directory: RunDirectory, environment: Mapping[str, str]) -> None:
        """Prepare; nothing runs yet.

        Raises:
            ConfigError: The supervisord config is not there.
        """
        if not conf.is_file():
            raise ConfigError(f"supervisord config {conf}: no such file; run from the project's folder or name it")
        self._conf = conf
        self._run_directory = run_directory
        # The programs are found beside the interpreter that runs this, whatever the caller's PATH.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        self._environment = {**os.environ, **environment, "PATH": path}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start supervisord and, by it, the pipeline."""
        log = self._run_directory.file("logs", "supervisord.out")
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._conf)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Of its own group: Ctrl-C is for us, and we stop the pipeline in its order.
                start_new_session=True,
            )

    def check(self) -> None:
        """Find out at once when supervisord has ended.

        Raises:
            NotReadyError: It has; the message holds the end of its log.
        """
        if self._process is not None and self._process.poll() is not None:
            tail = self.log_tail("supervisord.out")
            raise NotReadyError(f"supervisord ended with exit code {self._process.returncode}: {tail}")

    def request_stop(self) -> None:
        """Ask for an orderly stop, in the order of the priorities."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def is_stopped(self) -> bool:
        """Tell whether supervisord and its programs have ended."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """End everything at once: the last resort after an orderly stop that did not come to its end."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def log_tail(self, name: str) -> str:
        """The end of a log."""
        try:
            return (
                self._run_directory.file("logs", name).read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
            )
        except OSError:
            return "no log"
