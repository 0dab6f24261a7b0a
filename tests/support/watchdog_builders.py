"""A watchdog at work in a test: a supervisord that obeys or refuses, a clock that is moved, beats that are written."""

from collections.abc import Callable
from pathlib import Path

from common.beats import BeatFile
from common.clock import NS_PER_MS, VirtualClock
from common.config import Config
from common.events.risk import AlarmRaised
from common.process import Process
from common.wire import codec
from common.wire.publisher import Publisher
from watchdog.config import WatchdogConfig
from watchdog.service import WatchdogService
from watchdog.supervisor import ProgramEvent

CONFIG = WatchdogConfig(
    check_interval_ms=100,
    silence_ms_max=1_500,
    starting_ms_max=10_000,
    restarts_max=2,
    restart_window_ms=60_000,
    restart_pause_ms=5_000,
    restart_pause_ms_max=12_000,
)
PID = 1 << 22  # one above the highest that Linux gives: nobody's


class FakeSupervisor:
    """Keeps what it was told to do; `fault` is what it refuses everything with."""

    def __init__(self, running: dict[str, int]) -> None:
        self.acts: list[tuple[str, str]] = []
        self.events: list[ProgramEvent] = []
        self.nudge_count = 0
        self.fault: str | None = None
        self._running = running

    def subscribe(self) -> None:
        """Events are wanted from now on."""

    def take_events(self, timeout_ms: int) -> list[ProgramEvent]:
        """Those that a test has put there."""
        taken, self.events = self.events, []
        return taken

    def running(self) -> dict[str, int]:
        """What runs at the start."""
        return self._running

    def nudge(self) -> None:
        """Count it."""
        self.nudge_count += 1

    def kill(self, program: str) -> str | None:
        """Keep it."""
        return self._act("kill", program)

    def stop(self, program: str) -> str | None:
        """Keep it."""
        return self._act("stop", program)

    def start(self, program: str) -> str | None:
        """Keep it."""
        return self._act("start", program)

    def _act(self, act: str, program: str) -> str | None:
        self.acts.append((act, program))
        return self.fault


class RecordingProcess(Process):
    """Keeps the frames that would go to telemetry."""

    def __init__(self, directory: Path) -> None:
        super().__init__("watchdog", "watchdog", Config({"run": {"directory": str(directory)}}, "test"))
        self.clock = VirtualClock()
        self.frames: list[bytes] = []

    def publisher(self, channel: str, send: Callable[[bytes], object]) -> Publisher:
        return super().publisher(channel, self.frames.append)


class WatchdogHarness:
    """The service, in a run directory where beats are written."""

    def __init__(self, directory: Path, running: dict[str, int], *, may_kill: bool = True) -> None:
        self.process = RecordingProcess(directory)
        self.supervisor = FakeSupervisor(running)
        self.service = WatchdogService(self.process, CONFIG, self.supervisor, may_kill=may_kill)
        self.service.open()

    def close(self) -> None:
        """Give everything back."""
        self.service.close()
        self.process.close()

    def beat(self, name: str, turns: int, pid: int = PID) -> None:
        """Write the beat of a process."""
        beats = BeatFile(self.process.run_directory.file("status", f"{name}.alive"))
        beats._pid = pid
        beats.write(self.process.clock.monotonic_ns(), turns)
        beats.close()

    def run(self, duration_ms: int, *events: ProgramEvent) -> None:
        """Let these events come, and time pass in turns of 20 ms."""
        self.supervisor.events += events
        for _ in range(duration_ms // 20):
            self.process.clock.advance_to(self.process.clock.now_ns() + 20 * NS_PER_MS)
            self.service.turn(20)

    def alarms(self) -> list[AlarmRaised]:
        """What went out on telemetry."""
        alarms = [codec.decode(frame) for frame in self.process.frames]
        return [alarm for alarm in alarms if isinstance(alarm, AlarmRaised)]


def make_event(state: str, name: str = "gateway", pid: int = PID, *, is_crash: bool = False) -> ProgramEvent:
    """A program has come into another state."""
    return ProgramEvent(program=f"{name}:{name}", state=state, pid=pid, is_crash=is_crash)
