"""`tickpulse replay` as a process: on a terminal, steered by another one, and with no socket but that one."""

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from support.eventually import eventually
from support.message_builders import make_tick
from support.replay_builders import LOG_NS, write_log

from common.clock import NS_PER_S
from common.store.times import format_time_ns

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
COMMAND = (sys.executable, "-m", "support.replay_process")
LISTEN = "00010000"  # __SO_ACCEPTCON in /proc/net/unix
COUNT = 1_000

pytestmark = pytest.mark.processes


class Replay:
    """A replay of a thousand ticks an hour apart, on a terminal of its own, that begins paused."""

    def __init__(self, directory: Path) -> None:
        times_ns = [LOG_NS + number * 3_600 * NS_PER_S for number in range(COUNT)]
        ticks = [make_tick(number, timestamp_ns=time_ns) for number, time_ns in enumerate(times_ns, start=1)]
        self.log = write_log(directory / "log", ticks)
        self.run_dir = directory / "run"
        self.printed = directory / "printed"
        self.person, self.terminal = pty.openpty()
        self.before = termios.tcgetattr(self.terminal)
        self._output: IO[bytes] = self.printed.open("wb")
        self.process = subprocess.Popen(
            (*COMMAND, "replay", f"jsonl:{self.log}", "--run-dir", str(self.run_dir), "--paused", "--print"),
            stdin=self.terminal,
            stdout=self._output,
            stderr=self.terminal,
            start_new_session=True,
            env={**ENVIRONMENT, "PYTHONUNBUFFERED": "1"},
        )
        self.shown = b""
        # The place is shown after keys are taken and the channel is bound.
        self.wait_shown(b"paused")

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.person, keys.encode())

    def wait_shown(self, text: bytes) -> None:
        """Until the terminal shows it."""
        eventually(lambda: text in self._look(), what=lambda: repr(self.shown))

    def wait_printed(self, count: int) -> list[int]:
        """The numbers of the events, once there are so many."""
        eventually(lambda: self.printed.read_bytes().count(b"\n") >= count, what=lambda: repr(self._look()))
        return [json.loads(line)["seq"] for line in self.printed.read_text().splitlines()]

    def control(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`tickpulse replay-control ...`."""
        return subprocess.run(
            (*COMMAND, "replay-control", *arguments, "--run-dir", str(self.run_dir)),
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def wait(self) -> int:
        """Its exit code; the terminal goes on taking what it shows."""
        eventually(lambda: self._look() is not None and self.process.poll() is not None)
        return self.process.returncode

    def close(self) -> None:
        """End it, if it runs."""
        self.process.kill()
        self.process.wait()
        self._output.close()
        os.close(self.person)
        os.close(self.terminal)

    def _look(self) -> bytes:
        os.set_blocking(self.person, False)
        with contextlib.suppress(BlockingIOError, OSError):
            self.shown += os.read(self.person, 65_536)
        return self.shown


@pytest.fixture
def replay() -> Iterator[Replay]:
    """A replay that waits for keys and commands."""
    # Not pytest's tmp_path: the path of a Unix socket has 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="tp-", dir="/tmp"))
    running = Replay(directory)
    yield running
    running.close()
    shutil.rmtree(directory)


def local_flags(replay: Replay) -> int:
    """Whether the terminal echoes and waits for lines."""
    flags = termios.tcgetattr(replay.terminal)[3]
    assert isinstance(flags, int)
    return flags & (termios.ICANON | termios.ECHO)


def test_keys_step_seek_and_end_a_replay(replay: Replay) -> None:
    """One event a key, then one a thousand hours later by a typed time; q ends it, the terminal is as it was."""
    taken = local_flags(replay)
    replay.type("nn")
    stepped = replay.wait_printed(2)
    replay.type(f"g{format_time_ns(LOG_NS + 500 * 3_600 * NS_PER_S)}\rn")
    sought = replay.wait_printed(3)
    replay.type("q")

    assert replay.wait() == 0
    assert taken == 0
    assert stepped == [1, 2]
    assert sought == [1, 2, 501]
    assert termios.tcgetattr(replay.terminal) == replay.before
    replay.wait_shown(b"3 events in")


def test_keys_are_taken_again_after_the_shell_had_the_terminal(replay: Replay) -> None:
    """Ctrl-Z and fg: a shell sets the terminal for itself meanwhile. Keys work as before."""
    replay.process.send_signal(signal.SIGSTOP)
    termios.tcsetattr(replay.terminal, termios.TCSANOW, replay.before)
    replay.process.send_signal(signal.SIGCONT)

    eventually(lambda: local_flags(replay) == 0)
    replay.type("n")
    assert replay.wait_printed(1) == [1]
    replay.type("q")
    assert replay.wait() == 0
    assert termios.tcgetattr(replay.terminal) == replay.before


def test_interrupt_restores_the_terminal(replay: Replay) -> None:
    """Ctrl-C: exit 130."""
    replay.type("\x03")

    assert replay.wait() == 130
    assert termios.tcgetattr(replay.terminal) == replay.before


def test_order_to_end_restores_the_terminal(replay: Replay) -> None:
    """SIGTERM: exit 0."""
    replay.process.send_signal(signal.SIGTERM)

    assert replay.wait() == 0
    assert termios.tcgetattr(replay.terminal) == replay.before


def test_another_process_steers_it(replay: Replay) -> None:
    """Step, seek, speed and resume over the channel `replay`; what cannot be done is refused with the reason."""
    stepped = replay.control("step")
    replay.wait_printed(1)
    status = json.loads(replay.control("status", "--json").stdout)
    sought = replay.control("seek", format_time_ns(LOG_NS + 998 * 3_600 * NS_PER_S))
    speed = json.loads(replay.control("speed", "0", "--json").stdout)
    resumed = replay.control("resume")

    assert (stepped.returncode, sought.returncode, resumed.returncode) == (0, 0, 0)
    assert (status["state"], status["events"], status["position_ns"]) == ("paused", 1, LOG_NS)
    assert (speed["is_done"], speed["speed"], speed["position_ns"]) == (True, 0.0, LOG_NS + 998 * 3_600 * NS_PER_S)
    assert replay.wait_printed(3) == [1, 999, 1_000]
    assert replay.wait() == 0
    assert replay.control("status").returncode == 3


def test_step_is_refused_while_it_runs(replay: Replay) -> None:
    """Exit 3, and the reason."""
    replay.control("resume")

    refused = replay.control("step")

    assert refused.returncode == 3
    assert "pause it first" in refused.stderr


def test_second_replay_in_a_run_directory_is_told_who_runs(replay: Replay) -> None:
    """Exit 78, and the first one is undisturbed."""
    second = subprocess.run(
        (*COMMAND, "replay", f"jsonl:{replay.log}", "--run-dir", str(replay.run_dir), "--speed", "0"),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert second.returncode == 78
    assert f"replay is held by pid {replay.process.pid}" in second.stderr
    assert replay.control("status").returncode == 0


def test_replay_opens_no_socket_but_the_one_that_steers_it(replay: Replay) -> None:
    """Nothing can leave it: it listens on `replay`, and is connected to nobody, over no protocol."""
    replay.type("n")
    replay.wait_printed(1)

    inodes = sockets_of(replay.process.pid)
    unix = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    own = [(fields[3], fields[7] if len(fields) > 7 else "") for fields in unix if fields[6] in inodes]

    assert [path for flags, path in own if flags == LISTEN] == [str(replay.run_dir / "sockets" / "replay.ipc")]
    # asyncio wakes itself over a pair without a name; a connection to somebody else would be one more.
    assert [path for flags, path in own if flags != LISTEN] == ["", ""]
    assert len(own) == len(inodes), "there is a socket that is no Unix socket"


def sockets_of(pid: int) -> set[str]:
    """The inodes of all sockets that a process has."""
    links = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:[")}
