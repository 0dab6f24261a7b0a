"""What a number is worth nothing without: the machine, the versions and the commit that it was measured with."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import zmq

ROOT = Path(__file__).parent.parent


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where and with what a benchmark ran."""

    time: str  # UTC, ISO 8601
    cpu: str
    cores: int  # that this process may use
    load_average: float  # of the last minute before the start
    system: str
    python: str
    pyzmq: str
    libzmq: str
    commit: str  # of the source; with "+changes" when files differ from it

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"{self.cpu}, {self.cores} cores, load {self.load_average:.2f} at the start, {self.system}",
            f"Python {self.python}, pyzmq {self.pyzmq}, libzmq {self.libzmq}, commit {self.commit}, {self.time}",
        ]


def describe_machine() -> Machine:
    """Look at the machine."""
    return Machine(
        time=datetime.now(tz=UTC).isoformat(timespec="seconds"),
        cpu=find_cpu(Path("/proc/cpuinfo")),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load_average=round(os.getloadavg()[0], 2),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        pyzmq=zmq.__version__,
        libzmq=zmq.zmq_version(),
        commit=find_commit(ROOT),
    )


def find_cpu(path: Path) -> str:
    """The model of the processor, as Linux tells it; elsewhere what Python knows."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def find_commit(directory: Path) -> str:
    """The commit that a directory is at; "unknown" outside a checkout or without git."""
    commit = _git(directory, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return "unknown"
    return f"{commit}+changes" if _git(directory, "status", "--porcelain", "--untracked-files=no") else commit


def _git(directory: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],  # noqa: S607  # git is found as the user's shell finds it
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
