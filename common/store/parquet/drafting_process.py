"""Large drafts in a process of their own: in the writer's they hold up its batches, since Python runs one at a time.

It gets one task a line and answers each with a line. It ends when its input does: with the writer, however that ends.
`python -m common.store.parquet.drafting_process` is started when the first large task comes.
"""

import contextlib
import os
import subprocess
import sys

import msgspec

from common.store.config import StoreConfig
from common.store.contract import StoreConfigError, StoreDamagedError, StoreFullError
from common.store.parquet.drafting import Change, Task, draft
from common.store.sealing import MissingKeyError, open_key_ring

MODULE = "common.store.parquet.drafting_process"
_NICE = 5  # who records comes first
_END_S = 10.0
_ERRORS: dict[str, type[Exception]] = {
    error.__name__: error for error in (StoreFullError, StoreDamagedError, StoreConfigError, MissingKeyError)
}


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a task: what it changes, or the name of an error and its text."""

    change: Change | None = None
    error: str = ""
    text: str = ""


class DraftingProcess:
    """The process, as its writer sees it: started when it is needed, and again when it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def draft(self, task: Task) -> Change | None:
        """As of `drafting.draft`.

        Raises:
            OSError: The process cannot be started, or died; nothing was lost, and the next task starts it anew.
        """
        process = self._process or self._start()
        if process.stdin is None or process.stdout is None:
            raise OSError(f"{MODULE}: expected a process with pipes, was one without")
        try:
            process.stdin.write(msgspec.json.encode(task) + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):
            self.close()
            raise OSError(f"{MODULE}: ended with {process.returncode}; what it was to convert is tried again")
        answer = msgspec.json.decode(line, type=_Answer)
        if answer.error:
            raise _ERRORS.get(answer.error, ValueError)(answer.text)
        return answer.change

    def close(self) -> None:
        """End the process. Safe to repeat."""
        process, self._process = self._process, None
        if process is None:
            return
        with process, contextlib.suppress(BrokenPipeError):
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()

    def _start(self) -> subprocess.Popen[bytes]:
        # A group of its own: what a terminal or a supervisor sends to ours is for the writer, who ends it.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            process_group=0,
        )
        return self._process


def _answer(line: bytes) -> _Answer:
    try:
        task = msgspec.json.decode(line, type=Task)
        return _Answer(change=draft(task, open_key_ring(StoreConfig(key_ring=task.key_ring))))
    except Exception as error:  # noqa: BLE001  # the writer raises it
        return _Answer(error=type(error).__name__, text=str(error))


def main() -> None:
    """Do what comes in until there is no more."""
    os.nice(_NICE)
    for line in sys.stdin.buffer:
        answer = msgspec.json.encode(_answer(line)) + b"\n"
        try:
            sys.stdout.buffer.write(answer)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            os._exit(1)  # the writer is no more, and nobody hears it


if __name__ == "__main__":
    main()
