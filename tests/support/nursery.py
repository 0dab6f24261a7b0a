"""Children that need not import: a process that has imported everything forks one for each command.

To start Python, numpy and our message types takes 0.4 s of a core, and the tests start some thousand processes. A child
gets its own environment, working directory, arguments and streams before the first line of its program runs; no
socket, thread or file is open before the fork. Where coverage is measured children are started plainly.
"""

import array
import contextlib
import functools
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NoReturn, Protocol

from common.crash_points import CRASH_VARIABLE

REQUEST_BYTES_MAX = 1 << 18
# Imported before the first fork. No `__main__`: `runpy` runs those as the program.
PRELOADED = (
    "chaos.disk",
    "common.cli",
    "common.config_command",
    "exchange.ledger_command",
    "exchange.service",
    "executor.control_command",
    "executor.orders_command",
    "executor.service",
    "gateway.service",
    "monitor.status_command",
    "strategy.loader",
    "strategy.service",
    "workers.positions_command",
    "workers.service",
)


class Child(Protocol):
    """What tests use of `subprocess.Popen`."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, as soon as there is one."""
        ...

    def kill(self) -> None:
        """SIGKILL."""
        ...

    def send_signal(self, sig: int) -> None:
        """A signal, unless it has ended."""
        ...


class ForkedChild:
    """A child of the nursery, as `subprocess.Popen` would show it."""

    def __init__(self, nursery: "Nursery", pid: int, module: str) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery
        self._module = module
        self._ended = os.pidfd_open(pid)

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self._module, timeout or 0.0)
        return code

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, sig: int) -> None:
        if self.returncode is None:
            # Safe against another process of this pid: it stays ours until the nursery has waited for it.
            signal.pidfd_send_signal(self._ended, sig)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], timeout)[0]:
            self.returncode = self._nursery.reap(self.pid)
            os.close(self._ended)
        return self.returncode


class Nursery:
    """Our end of the process that forks; one for each process that runs tests."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            code = f"from support.nursery import serve; serve({theirs.fileno()})"
            self._process = subprocess.Popen(
                [sys.executable, "-c", code], pass_fds=[theirs.fileno()], env=_environment()
            )
        self._socket = ours
        self._lock = threading.Lock()  # some tests start many at once

    def start(
        self, module: str, arguments: Sequence[str], *, cwd: Path, env: dict[str, str], out: IO[Any], err: IO[Any]
    ) -> ForkedChild:
        """Run `python -m MODULE ARGUMENTS` in a fork."""
        request = json.dumps({"module": module, "arguments": list(arguments), "cwd": str(cwd), "env": env}).encode()
        streams = array.array("i", [out.fileno(), err.fileno()])
        with self._lock:
            self._socket.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
            return ForkedChild(self, self._answer(), module)

    def reap(self, pid: int) -> int:
        """Take the exit code of a child that has ended."""
        with self._lock:
            self._socket.send(json.dumps({"reap": pid}).encode())
            return self._answer()

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait(timeout=10)

    def _answer(self) -> int:
        return int(self._socket.recv(64))


def launch(
    module: str, arguments: Sequence[str], *, cwd: Path, env: dict[str, str], out: IO[Any], err: IO[Any]
) -> Child:
    """Run `python -m MODULE ARGUMENTS`: forked, or started plainly where the import itself matters."""
    # Coverage begins, and a crash point is read, when a module is imported.
    if CRASH_VARIABLE in env or any(name.startswith("COV") for name in os.environ):
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
    return _nursery().start(module, arguments, cwd=cwd, env=env, out=out, err=err)


_making = threading.Lock()


@functools.cache
def _make_nursery() -> Nursery:
    return Nursery()


def _nursery() -> Nursery:
    with _making:
        return _make_nursery()


def close_nursery() -> None:
    """End it with the tests; the next child would make a new one."""
    if _make_nursery.cache_info().currsize:
        _nursery().close()
        _make_nursery.cache_clear()


def serve(descriptor: int) -> None:
    """Fork whatever is asked for, until nobody asks any more."""
    for name in PRELOADED:
        __import__(name)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=descriptor) as ours:
        while True:
            request, streams, _, _ = socket.recv_fds(ours, REQUEST_BYTES_MAX, 2)
            if not request:
                return
            wanted = json.loads(request)
            if "reap" in wanted:
                ours.send(str(os.waitstatus_to_exitcode(os.waitpid(wanted["reap"], 0)[1])).encode())
                continue
            pid = os.fork()
            if not pid:
                ours.close()
                _become(wanted, streams)
            for stream in streams:
                os.close(stream)
            ours.send(str(pid).encode())


def _become(wanted: dict[str, Any], streams: list[int]) -> NoReturn:
    """Be the program."""
    code = 1
    try:
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        for number, stream in enumerate(streams, start=1):
            os.dup2(stream, number)
            os.close(stream)
        os.environ.clear()
        os.environ.update(wanted["env"])
        os.chdir(wanted["cwd"])
        sys.path[0] = wanted["cwd"]
        sys.argv = [wanted["module"], *wanted["arguments"]]
        gc.unfreeze()
        runpy.run_module(wanted["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001  # as the interpreter does: the story, and exit code 1
        traceback.print_exc()
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _environment() -> dict[str, str]:
    path = os.pathsep.join(str(Path(__file__).parents[depth]) for depth in (1, 2))
    # numpy's threads, which nobody here uses, would not survive a fork.
    return os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path}
