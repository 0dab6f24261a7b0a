"""Listens to a running pipeline: reports on telemetry, positions and kill switch on events, alarms on both."""

from collections.abc import Callable

from common.config import Config
from common.events.base import Message
from common.events.system import ProcessReported
from common.sockets.factory import Sockets
from common.sockets.transfer import Waiter, drain
from common.wire.subscriber import Subscriber
from monitor.status import read_reports
from monitor.tally import Tally

FRAMES_PER_LOOK_MAX = 10_000
LOOKS_PER_FILES = 4  # about once a second: a life that nobody has heard yet is in its file


class Watch:
    """The receiving ends of a monitor. It binds telemetry, so one watches a pipeline at a time."""

    def __init__(self, sockets: Sockets, config: Config, on_event: Callable[[Message], None]) -> None:
        """Bind and connect; `on_event` gets what is no report.

        Raises:
            ConfigError: Telemetry is bound already.
        """
        self.tally = Tally()
        self._looks = 0
        self._config = config
        self._on_event = on_event
        self._reports = Subscriber(["process.*.*", "alarm.*.*"])
        self._told = Subscriber(["position_*.*.*", "alarm.*.*", "trading_state_changed.*.*"])
        self._telemetry = sockets.bind_subscriber(config.endpoint("telemetry"), self._reports.prefixes())
        self._events = sockets.connect_subscriber(config.endpoint("events"), self._told.prefixes())
        self._waiter = Waiter(self._telemetry, self._events)

    def look(self, timeout_ms: int) -> None:
        """Take what has come, after waiting for something at most so long."""
        self._waiter.wait(timeout_ms)
        drain(self._telemetry, self._on_telemetry_frame, FRAMES_PER_LOOK_MAX)
        drain(self._events, self._on_event_frame, FRAMES_PER_LOOK_MAX)
        self._looks += 1
        if self._looks % LOOKS_PER_FILES == 0:
            self.read_files()

    def read_files(self) -> None:
        """Take the last reports from the run directory: those that were sent before we listened, or after."""
        for report in read_reports(self._config.run_directory()):
            self.tally.take(report)

    def _on_telemetry_frame(self, frame: bytes) -> None:
        message = self._reports.accept(frame)
        if isinstance(message, ProcessReported):
            self.tally.take(message)
        elif message is not None:
            self._on_event(message)

    def _on_event_frame(self, frame: bytes) -> None:
        message = self._told.accept(frame)
        if message is not None:
            self._on_event(message)
