"""The watchdog's loop: supervisord's events, the beats of the run directory, and what follows from both."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from common.beats import Beat, read_beat
from common.clock import NS_PER_MS, NS_PER_S
from common.events.base import DRAFT
from common.events.risk import AlarmRaised, Severity
from common.metrics import Latency
from common.process import Process
from common.run_directory import replace_file
from watchdog.config import WatchdogConfig
from watchdog.crash_loops import CrashLoop, CrashLoops
from watchdog.supervisor import ProgramEvent, Supervisor
from watchdog.vigil import Hang, Vigil

NUDGES_NS = 2 * NS_PER_S  # after a crash or a kill: twice what supervisord would take by itself to start it again
PAUSES_NAME = "watchdog.pauses"


class WatchdogService:
    """Looks again and again."""

    def __init__(self, process: Process, config: WatchdogConfig, supervisor: Supervisor, *, may_kill: bool) -> None:
        self._process = process
        self._config = config
        self._supervisor = supervisor
        self._may_kill = may_kill
        self._clock = process.clock
        self._vigil = Vigil(config)
        self._crash_loops = CrashLoops(config)
        self._counts: Counter[str] = Counter()
        self._next_look_ns = 0
        self._nudges_end_ns = 0

    def open(self) -> None:
        """Learn what runs, then take events."""
        process = self._process
        self._alarms = process.telemetry()
        self._pauses_path = process.run_directory.file("state", PAUSES_NAME)
        for program in _read_pauses(self._pauses_path):
            self._tell_refusal("start", program, self._supervisor.start(program))
        self._save_pauses()
        for program, pid in self._supervisor.running().items():
            self._begin(program, pid)
        self._supervisor.subscribe()

    def turn(self, timeout_ms: int) -> None:
        """Take events; look at the beats when it is time."""
        for event in self._supervisor.take_events(timeout_ms):
            self._on_event(event)
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._next_look_ns:
            return
        self._next_look_ns = now_ns + self._config.check_interval_ms * NS_PER_MS
        for hang in self._vigil.look(now_ns, self._read_beat):
            self._on_hang(hang)
        for program in self._crash_loops.take_due(now_ns):
            self._tell_refusal("start", program, self._supervisor.start(program))
            self._save_pauses()
        if now_ns < self._nudges_end_ns:
            # supervisord looks after its children once a second, or when somebody asks it something.
            self._supervisor.nudge()

    def readiness(self) -> str | None:
        """Ready as soon as it is open."""
        return None

    def counters(self) -> dict[str, int]:
        """What was found and done, how many programs run, and how many pause."""
        return {
            **self._counts,
            "programs_watched": len(self._vigil),
            "programs_paused": len(self._crash_loops.paused()),
        }

    def latencies(self) -> Mapping[str, Latency]:
        """Nothing is measured."""
        return {}

    def begin_stop(self) -> None:
        """Nothing is begun that would have to end."""

    def is_settled(self) -> bool:
        """At once: what pauses is started by the next life."""
        return True

    def close(self) -> None:
        """Nothing is held."""

    def _on_event(self, event: ProgramEvent) -> None:
        now_ns = self._clock.monotonic_ns()
        if event.is_crash:
            self._counts["crashes"] += 1
            self._crash_loops.on_crash(event.program, now_ns)
            self._nudges_end_ns = now_ns + NUDGES_NS
        if event.state != "RUNNING":
            self._vigil.end(event.program)
            return
        if event.program in self._crash_loops.paused():
            self._crash_loops.end_pause(event.program)
            self._save_pauses()
        self._begin(event.program, event.pid)
        # Only now, because what supervisord is about to start cannot be stopped.
        loop = self._crash_loops.find_loop(event.program)
        if loop is not None:
            self._on_crash_loop(loop, now_ns)

    def _begin(self, program: str, pid: int) -> None:
        if pid != os.getpid():
            self._vigil.begin(program, pid)

    def _read_beat(self, program: str) -> Beat | None:
        return read_beat(self._process.run_directory.file("status", f"{_name_of(program)}.alive"))

    def _on_hang(self, hang: Hang) -> None:
        self._counts["hangs"] += 1
        silent_ms = hang.silent_ns // NS_PER_MS
        while_doing = "while opening" if hang.is_opening else "between two turns"
        is_killed = self._may_kill
        if is_killed:
            fault = self._supervisor.kill(hang.name)
            self._tell_refusal("kill", hang.name, fault)
            is_killed = fault is None
        if is_killed:
            self._counts["kills"] += 1
            self._vigil.end(hang.name)
            self._nudges_end_ns = self._clock.monotonic_ns() + NUDGES_NS
        outcome = "killed, to be started again" if is_killed else "not killed"
        self._process.log.error("process_hung", program=hang.name, pid=hang.pid, silent_ms=silent_ms, killed=is_killed)
        self._raise(
            "PROCESS_HUNG", hang.name, f"pid {hang.pid} gave no beat for {silent_ms} ms {while_doing}: {outcome}"
        )

    def _on_crash_loop(self, loop: CrashLoop, now_ns: int) -> None:
        fault = self._supervisor.stop(loop.name)
        if fault is not None:
            # It has ended again already; its next start is the next chance.
            self._tell_refusal("stop", loop.name, fault)
            return
        self._counts["crash_loops"] += 1
        self._crash_loops.pause(loop, now_ns)
        self._save_pauses()
        window_s, pause_s = self._config.restart_window_ms / 1_000, loop.pause_ns // NS_PER_MS / 1_000
        self._process.log.error("crash_loop", program=loop.name, crashes=loop.crash_count, pause_s=pause_s)
        self._raise(
            "CRASH_LOOP", loop.name, f"crashed {loop.crash_count} times within {window_s:g} s: pauses {pause_s:g} s"
        )

    def _save_pauses(self) -> None:
        """So that a watchdog that is killed leaves nothing stopped for ever."""
        replace_file(self._pauses_path, msgspec.json.encode(self._crash_loops.paused()))

    def _raise(self, code: str, program: str, detail: str) -> None:
        self._counts["alarms"] += 1
        self._counts[f"alarms_{code.lower()}"] += 1
        self._alarms.publish(
            AlarmRaised(
                **DRAFT,
                timestamp_ns=self._clock.now_ns(),
                code=code,
                severity=Severity.CRITICAL,
                subject=_name_of(program),
                detail=detail,
            )
        )

    def _tell_refusal(self, act: str, program: str, fault: str | None) -> None:
        if fault is not None:
            self._counts["acts_refused"] += 1
            self._process.log.warning("supervisord_refused", act=act, program=program, fault=fault)


def _read_pauses(path: Path) -> list[str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[str])
    except (OSError, msgspec.DecodeError):
        return []


def _name_of(program: str) -> str:
    """The name by which the process knows itself."""
    return program.partition(":")[2]
