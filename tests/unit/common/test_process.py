"""The life of a process, with a fake service inside a real one."""

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import pytest
import structlog
from support import fake_service
from support.eventually import eventually

from common.beats import Beat, read_beat
from common.config import Config
from common.errors import ConfigError, ExitCode
from common.events.system import ProcessReported, ProcessState
from common.metrics import Latency
from common.process import Process
from common.sockets.factory import Sockets
from common.sockets.transfer import drain, take
from common.wire import codec

SCRIPT = Path(fake_service.__file__)


class Child:
    """A process with a fake service; leaving the block leaves nothing of it."""

    def __init__(self, directory: Path, behaviour: str, *assignments: str) -> None:
        self.directory = directory
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(directory), behaviour, *assignments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=directory,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_for(self, word: str) -> None:
        """Wait until it has come so far in its life."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == word:
                return
        raise AssertionError(f"ended before {word!r}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self) -> tuple[int, list[str], str]:
        """Exit code, the words it said until its end, and its log."""
        words, log = self._process.communicate()
        return self._process.returncode, words.split(), log

    def status(self) -> ProcessReported:
        """Its status file."""
        return msgspec.json.decode((self.directory / "status" / "fake.json").read_bytes(), type=ProcessReported)


def events_of(log: str) -> list[str]:
    """The names of the events in a log."""
    return [json.loads(line)["event"] for line in log.splitlines()]


@pytest.fixture
def _own_logging() -> Iterator[None]:
    """Logging is global to a process: given back as it was."""
    yield
    structlog.reset_defaults()


def test_terminated_process_settles_closes_and_ends_with_0(tmp_path: Path) -> None:
    """SIGTERM is how supervisord stops a process: nothing begun is cut short."""
    with Child(tmp_path, "steady") as child:
        child.wait_for("turn")
        child.send(signal.SIGTERM)
        exit_code, words, log = child.end()

        assert (exit_code, words) == (ExitCode.OK, ["stop", "close"])
        assert child.status().state is ProcessState.STOPPED
        assert events_of(log)[-1] == "process_stopped"
        stopped = json.loads(log.splitlines()[-1])
        assert stopped["counters"]["turns_taken"] == stopped["turns"] + fake_service.SETTLING_TURNS


def test_interrupted_process_settles_too_and_ends_with_130(tmp_path: Path) -> None:
    """Ctrl-C is an orderly stop; only the exit code tells it apart."""
    with Child(tmp_path, "steady") as child:
        child.wait_for("turn")
        child.send(signal.SIGINT)
        exit_code, words, _ = child.end()

        assert (exit_code, words) == (ExitCode.INTERRUPTED, ["stop", "close"])


def test_process_that_cannot_settle_ends_when_its_time_is_over(tmp_path: Path) -> None:
    """Before supervisord would kill it; the log says that it was cut short."""
    with Child(tmp_path, "unsettled", "run.stop_ms_max=1") as child:
        child.wait_for("turn")
        child.send(signal.SIGTERM)
        exit_code, _, log = child.end()

        assert exit_code == ExitCode.OK
        assert events_of(log)[-2:] == ["stop_unsettled", "process_stopped"]


def test_second_signal_ends_a_process_at_once(tmp_path: Path) -> None:
    """Without settling or closing: whoever asks twice means it, and the crash path is safe."""
    with Child(tmp_path, "unsettled", "run.stop_ms_max=60000") as child:
        child.wait_for("turn")
        child.send(signal.SIGTERM)
        child.wait_for("stop")
        child.send(signal.SIGINT)
        exit_code, words, log = child.end()

        assert (exit_code, words) == (ExitCode.INTERRUPTED, [])
        assert log.endswith("tickpulse: second signal, ending at once\n")


def test_fault_ends_a_process_with_1_and_its_story(tmp_path: Path) -> None:
    """It is started again; status file and log say why. It waits a second first, or it would spin."""
    with Child(tmp_path, "broken") as child:
        exit_code, words, log = child.end()

        status = child.status()
        assert (exit_code, words) == (ExitCode.FAULT, ["open", "close"])
        assert (status.state, status.detail) == (ProcessState.FAILED, "RuntimeError: the journal is gone")
        record = json.loads(log.splitlines()[-1])
        assert record["event"] == "process_failed"
        assert "RuntimeError: the journal is gone" in record["exception"]


def test_config_error_of_a_service_ends_a_process_with_78(tmp_path: Path) -> None:
    """A person must change something; the status file says so too."""
    with Child(tmp_path, "misconfigured") as child:
        exit_code, words, log = child.end()

        status = child.status()
        assert (exit_code, words) == (ExitCode.BAD_CONFIG, ["open", "close"])
        assert log.endswith("endpoint tcp://127.0.0.1:5555: expected a free address\n")
        assert status.state is ProcessState.FAILED
        assert status.detail.startswith("endpoint tcp://127.0.0.1:5555")


@pytest.mark.usefixtures("_own_logging")
def test_second_process_of_a_name_is_told_who_holds_it(tmp_path: Path) -> None:
    """Before it opens anything; the first goes on undisturbed, and its name is free when it has ended."""
    config = make_config(tmp_path)
    with Child(tmp_path, "steady") as child:
        child.wait_for("turn")

        with pytest.raises(ConfigError, match=f"fake is held by pid {child.pid} since"):
            Process("fake", "fake", config)

        child.send(signal.SIGTERM)
        assert child.end()[0] == ExitCode.OK
    Process("fake", "fake", config).close()


@pytest.mark.usefixtures("_own_logging")
def test_each_life_has_a_higher_epoch(tmp_path: Path) -> None:
    """So numbers of different lives never meet."""
    epochs = []
    for _ in range(3):
        process = Process("fake", "fake", make_config(tmp_path))
        epochs.append(process.epoch)
        process.close()

    assert epochs == sorted(set(epochs))


@pytest.mark.usefixtures("_own_logging")
def test_endpoint_that_a_service_asked_for_is_in_its_report(tmp_path: Path) -> None:
    """A person sees where a process listens."""
    process = Process("fake", "fake", make_config(tmp_path))

    endpoint = process.endpoint("market")
    process.close()

    assert endpoint == f"ipc://{tmp_path}/sockets/market.ipc"
    assert process.endpoints == {"market": endpoint}


def test_running_process_says_how_it_is_on_telemetry_and_in_its_status_file(tmp_path: Path) -> None:
    """The same report in both places: state, turns, counters and latencies."""
    config = make_config(tmp_path, report_interval_ms=20)
    config.run_directory().create()
    with Sockets(config.settings().sockets) as sockets:
        listener = sockets.bind_subscriber(config.endpoint("telemetry"), [b"process."])
        with Child(tmp_path, "steady", "run.report_interval_ms=20") as child:
            report = eventually(lambda: find_ready_report(take(listener)), what="a report of a ready process")
            child.send(signal.SIGTERM)
            child.end()

            assert (report.role, report.source, report.pid) == ("fake", "fake", child.pid)
            assert report.turns > 0
            assert report.counters["turns_taken"] >= report.turns
            assert report.endpoints == {name: config.endpoint(name) for name in ("telemetry", "records")}
            latency = Latency()
            latency.merge(child.status().latencies["turn"])
            assert latency.value_ns_at(50) == pytest.approx(5_000_000, rel=0.001)


def test_every_report_of_a_life_comes_to_a_recorder_that_starts_later(tmp_path: Path) -> None:
    """From number 1 on, so that a number that is missing was lost."""
    config = make_config(tmp_path, report_interval_ms=20)
    with Child(tmp_path, "steady", "run.report_interval_ms=20") as child:
        child.wait_for("turn")
        eventually(lambda: status_after_turns(child), what="a report that nobody heard")
        with Sockets(config.settings().sockets) as sockets:
            recorder = sockets.bind_puller(config.endpoint("records"))
            frames: list[bytes] = []
            eventually(lambda: drain(recorder, frames.append, 100) and len(frames) > 5, what="reports")
            child.send(signal.SIGTERM)
            child.end()
            eventually(lambda: not drain(recorder, frames.append, 100), what="the last report")

    reports = [codec.decode(frame) for frame in frames]
    assert [report.seq for report in reports] == list(range(1, len(reports) + 1))
    assert isinstance(reports[-1], ProcessReported)
    assert reports[-1].state is ProcessState.STOPPED


def test_full_disk_takes_the_status_file_and_not_the_process(tmp_path: Path) -> None:
    """It is logged once and counted, in reports that need no disk."""
    config = make_config(tmp_path, report_interval_ms=20)
    config.run_directory().create()
    with Sockets(config.settings().sockets) as sockets, Child(tmp_path, "steady", "run.report_interval_ms=20") as child:
        child.wait_for("turn")
        eventually(lambda: status_after_turns(child), what="a status file with turns")
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        listener = sockets.bind_subscriber(config.endpoint("telemetry"), [b"process."])

        def find_count() -> int:
            report = find_ready_report(take(listener))
            return 0 if report is None else report.counters.get("statuses_unwritten", 0)

        eventually(lambda: find_count() >= 3, what="a report that counts what was refused")
        # Whoever measures the child writes a file, too.
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        child.send(signal.SIGTERM)
        code, _, log = child.end()

    assert code == ExitCode.OK
    assert events_of(log).count("status_unwritten") == 1


def test_process_that_waits_for_a_peer_is_not_ready_and_says_for_what(tmp_path: Path) -> None:
    """It is alive, and counts its turns."""
    with Child(tmp_path, "waiting", "run.report_interval_ms=20") as child:
        child.wait_for("turn")
        status = eventually(lambda: status_after_turns(child), what="a status file with turns")

        assert (status.state, status.detail) == (ProcessState.STARTING, "a peer that never comes")
        child.send(signal.SIGTERM)
        _, _, log = child.end()
        assert events_of(log) == ["process_started", "process_waiting", "process_stopped"]


def test_running_process_proves_that_its_main_loop_turns(tmp_path: Path) -> None:
    """Its beat names it, and is another one a moment later."""
    path = tmp_path / "status" / "fake.alive"
    with Child(tmp_path, "steady") as child:
        first = eventually(lambda: beat_after(path, 0), what="a beat after a turn")
        second = eventually(lambda: beat_after(path, first.turns), what="a beat after more turns")

    assert first.pid == second.pid == child.pid
    assert second.monotonic_ns > first.monotonic_ns


def test_process_that_settles_goes_on_proving_it(tmp_path: Path) -> None:
    """An orderly stop takes its time, and is no hang."""
    path = tmp_path / "status" / "fake.alive"
    with Child(tmp_path, "unsettled", "run.stop_ms_max=60000") as child:
        child.wait_for("turn")
        child.send(signal.SIGTERM)
        child.wait_for("stop")

        beats = {eventually(lambda: read_beat(path), what="a beat")}
        eventually(lambda: beats.add(read_beat(path)) or len(beats) >= 3, what="three different beats")

    # One may be from before the stop: while it settles, turns are not counted.
    assert len({beat.turns for beat in beats if beat is not None}) <= 2


def make_config(directory: Path, **run: Any) -> Config:
    """The config of a run in this directory."""
    return Config({"run": {"directory": str(directory), **run}}, "test")


def find_ready_report(frame: bytes | None) -> ProcessReported | None:
    """The report in a frame, if it is one of a ready process with turns behind it."""
    report = None if frame is None else codec.decode(frame)
    is_wanted = isinstance(report, ProcessReported) and report.state is ProcessState.READY and report.turns > 0
    return report if is_wanted and isinstance(report, ProcessReported) else None


def beat_after(path: Path, turns: int) -> Beat | None:
    """The beat of a process, once it has made more turns."""
    beat = read_beat(path)
    return beat if beat is not None and beat.turns > turns else None


def status_after_turns(child: Child) -> ProcessReported | None:
    """The status file, once the main loop has turned."""
    status = child.status()
    return status if status.turns else None
