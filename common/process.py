"""The life of a process: claim the run directory, open, turn until told to stop, settle, close; and say how it is.

A service does one turn at a time and never sleeps longer than a turn, so that signals, reports and the proof that the
main loop turns need no thread.
"""

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Protocol

import msgspec

from common.beats import BeatFile
from common.bus.dead_letters import FOLDER
from common.bus.frame_keeper import FrameKeeper
from common.clock import NS_PER_MS, NS_PER_S, SystemClock
from common.config import Config, Settings
from common.errors import ConfigError, ExitCode
from common.events.base import DRAFT
from common.events.system import ProcessReported, ProcessState
from common.log import FaultLog, Log, configure_logging, get_log
from common.metrics import Latency
from common.run_directory import RunDirectory, replace_file
from common.sockets.factory import Sockets
from common.sockets.transfer import PatientSender, offer
from common.wire.publisher import Publisher

TURN_MS_MAX = 20  # a stop, a report or a timer waits at most this long
# supervisord restarts at once with startsecs=0, so a process that dies young waits itself.
LIFE_NS_MIN = NS_PER_S
# The watchdog must find a hang within 2 s; each beat is one write of 2 µs.
BEAT_INTERVAL_NS = 50 * NS_PER_MS
REPORTS_KEPT_MAX = 256  # for a recorder that is not there: two minutes, 1 MB
LATENCY_REPORT_EVERY = 4  # reports; encoding a histogram takes 0.2 ms


class Service(Protocol):
    """What a process does between its start and its end."""

    def open(self) -> None:
        """Bind and connect sockets, open files."""
        ...

    def turn(self, timeout_ms: int) -> None:
        """Do what is there to do; wait for work at most so long."""
        ...

    def readiness(self) -> str | None:
        """None when everything that this process needs is there; otherwise what it waits for."""
        ...

    def counters(self) -> dict[str, int]:
        """Everything counted in this life."""
        ...

    def latencies(self) -> Mapping[str, Latency]:
        """Distributions of this life."""
        ...

    def begin_stop(self) -> None:
        """Take no new work from now on; turns go on until `is_settled`."""
        ...

    def is_settled(self) -> bool:
        """Tell whether everything begun has found its end."""
        ...

    def close(self) -> None:
        """Give back files; sockets are closed by their owner."""
        ...


class Process:
    """What a service gets from the process around it."""

    def __init__(self, role: str, source: str, config: Config) -> None:
        """Claim the run directory and begin a new life.

        Raises:
            ConfigError: The config is wrong, or another process of this name runs there.
        """
        self.role = role
        self.source = source
        self.config = config
        self.settings: Settings = config.settings()
        self.clock = SystemClock()
        self.run_directory: RunDirectory = config.run_directory().create()
        configure_logging(self.settings.run.log_level)
        self._lock = self.run_directory.lock(source, self.clock.now_ns())
        self.epoch = self.run_directory.next_epoch(source, self.clock.now_ns())
        self.beats = BeatFile(self.run_directory.file("status", f"{source}.alive"))
        self.beats.write(self.clock.monotonic_ns(), 0)
        self.log: Log = get_log(process=source, epoch=self.epoch, pid=os.getpid())
        self.frame_keeper = FrameKeeper(self.run_directory.file("state", f"{FOLDER}/{source}.sqlite"), self.clock)
        self.faults = FaultLog(self.log, self.frame_keeper.keep)
        self.sockets = Sockets(self.settings.sockets)
        self.endpoints: dict[str, str] = {}
        self._telemetry: Publisher | None = None

    def endpoint(self, channel: str) -> str:
        """Where a channel is; remembered for the report."""
        self.endpoints[channel] = self.config.endpoint(channel)
        return self.endpoints[channel]

    def publisher(self, channel: str, send: Callable[[bytes], object]) -> Publisher:
        """The numbering end of a channel, over what sends its frames."""
        return Publisher(role=self.role, source=self.source, epoch=self.epoch, channel=channel, send=send)

    def telemetry(self) -> Publisher:
        """The way to tell how things are, to whoever watches and to whoever records: two who may come and go."""
        if self._telemetry is not None:
            return self._telemetry
        watched = self.sockets.connect_publisher(self.endpoint("telemetry"))
        # A recorder that starts later, or again, still gets these: a number it lacks is one that was lost.
        recorded = PatientSender(self.sockets.connect_pusher(self.endpoint("records")), REPORTS_KEPT_MAX)

        def send(frame: bytes) -> None:
            offer(watched, frame)
            recorded.send(frame)

        self._telemetry = self.publisher("telemetry", send)
        return self._telemetry

    def close(self) -> None:
        """Close sockets and give the run directory back."""
        self.frame_keeper.close()
        self.sockets.close()
        self.beats.close()
        self._lock.release()


def run_process(role: str, source: str, config: Config, build: Callable[[Process], Service]) -> ExitCode:
    """Run a service until SIGTERM or SIGINT.

    Returns:
        The exit code: 0 after SIGTERM, 130 after SIGINT, 1 after a fault, whose story is in the log.

    Raises:
        ConfigError: A person must change something; nothing was started.
    """
    process = Process(role, source, config)
    try:
        return _Life(process, build).run()
    finally:
        process.close()


class _Life:
    def __init__(self, process: Process, build: Callable[[Process], Service]) -> None:
        self._process = process
        self._service = build(process)
        self._clock = process.clock
        self._started_ns = self._clock.now_ns()
        self._stop_signal = 0
        self._turns = 0
        self._reports = 0
        self._statuses_unwritten = 0
        self._is_status_old = False
        self._next_report_ns = 0
        self._next_beat_ns = 0
        self._latencies: dict[str, bytes] = {}
        self._detail: str | None = "opening"
        self._telemetry: Publisher | None = None

    def run(self) -> ExitCode:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        started_ns = self._clock.monotonic_ns()
        try:
            self._open()
            self._turn_until_stopped()
            self._settle()
        except ConfigError as error:
            self._report(ProcessState.FAILED, str(error))
            raise
        except Exception as error:  # the outermost place: log the story, be restarted, rebuild
            self._process.log.exception("process_failed", error=str(error))
            self._report(ProcessState.FAILED, f"{type(error).__name__}: {error}"[:400])
            self._clock.sleep_ns(LIFE_NS_MIN - (self._clock.monotonic_ns() - started_ns))
            return ExitCode.FAULT
        finally:
            self._service.close()
        self._report(ProcessState.STOPPED, "")
        self._process.log.info("process_stopped", turns=self._turns, counters=self._service.counters())
        return ExitCode.INTERRUPTED if self._stop_signal == signal.SIGINT else ExitCode.OK

    def _open(self) -> None:
        self._telemetry = self._process.telemetry()
        self._report(ProcessState.STARTING, "opening")
        self._service.open()
        self._process.log.info("process_started", role=self._process.role, endpoints=self._process.endpoints)
        # What exists now lives as long as the process: a collection of it would pause the hot path for nothing.
        gc.collect()
        gc.freeze()

    def _turn_until_stopped(self) -> None:
        turn = self._service.turn
        while not self._stop_signal:
            turn(TURN_MS_MAX)
            self._turns += 1
            now_ns = self._clock.monotonic_ns()
            if now_ns >= self._next_beat_ns:
                self._beat(now_ns)
            if now_ns >= self._next_report_ns:
                self._report_life()

    def _settle(self) -> None:
        self._report(ProcessState.STOPPING, "settling")
        self._service.begin_stop()
        deadline_ns = self._clock.monotonic_ns() + self._process.settings.run.stop_ms_max * NS_PER_MS
        while not self._service.is_settled():
            now_ns = self._clock.monotonic_ns()
            if now_ns >= self._next_beat_ns:
                self._beat(now_ns)
            if now_ns > deadline_ns:
                self._process.log.warning("stop_unsettled", waited_ms=self._process.settings.run.stop_ms_max)
                return
            self._service.turn(TURN_MS_MAX)

    def _beat(self, now_ns: int) -> None:
        with contextlib.suppress(OSError):  # who watches sees an old beat, and judges
            self._process.beats.write(now_ns, self._turns)
        self._next_beat_ns = now_ns + BEAT_INTERVAL_NS

    def _report_life(self) -> None:
        self._process.frame_keeper.flush()
        detail = self._service.readiness()
        if detail != self._detail:
            self._detail = detail
            self._process.log.info("process_ready" if detail is None else "process_waiting", waits_for=detail)
        state = ProcessState.READY if detail is None else ProcessState.STARTING
        self._report(state, detail or "")

    def _report(self, state: ProcessState, detail: str) -> None:
        """Say how this process is: to whoever listens on telemetry, and in a file for whoever comes later."""
        process = self._process
        interval_ns = process.settings.run.report_interval_ms * NS_PER_MS
        self._next_report_ns = self._clock.monotonic_ns() + interval_ns
        if self._reports % LATENCY_REPORT_EVERY == 0 or state is not ProcessState.READY:
            latencies = self._service.latencies() if self._turns else {}
            self._latencies = {name: latency.encode() for name, latency in latencies.items() if latency.count}
        self._reports += 1
        report = ProcessReported(
            **DRAFT,
            timestamp_ns=self._clock.now_ns(),
            role=process.role,
            pid=os.getpid(),
            state=state,
            detail=detail,
            started_ns=self._started_ns,
            turns=self._turns,
            counters=self._counters() if self._turns else {},
            latencies=self._latencies,
            endpoints=process.endpoints,
        )
        if self._telemetry is not None:
            self._telemetry.publish(report)
        self._write_status(msgspec.json.encode(report))

    def _counters(self) -> dict[str, int]:
        counters = {**self._service.counters(), **self._process.frame_keeper.counters()}
        return {**counters, "statuses_unwritten": self._statuses_unwritten} if self._statuses_unwritten else counters

    def _write_status(self, content: bytes) -> None:
        """Leave the report in its file. A disk that is full, or fails, ends no process by that."""
        try:
            replace_file(self._process.run_directory.file("status", f"{self._process.source}.json"), content)
        except OSError as error:
            if not self._is_status_old:
                self._process.log.warning("status_unwritten", reason=str(error))
            self._is_status_old = True
            self._statuses_unwritten += 1
        else:
            self._is_status_old = False

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._stop_signal:
            # Asked twice: end at once, without settling. The crash path is safe, because the start is the recovery.
            sys.stderr.write("tickpulse: second signal, ending at once\n")
            os._exit(ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.FAULT)
        self._stop_signal = number
