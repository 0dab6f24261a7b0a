"""Listens to a running pipeline: process reports on telemetry, positions on events."""

from collections.abc import Callable

from common.config import Config
from common.events.system import ProcessReported
from common.events.trading import PositionEvent
from common.sockets.factory import Sockets
from common.sockets.transfer import Waiter, drain
from common.wire.subscriber import Subscriber
from monitor.status import read_reports
from monitor.tally import Tally

FRAMES_PER_LOOK_MAX = 10_000


class Watch:
    """The receiving ends of a monitor. It binds telemetry, so one watches a pipeline at a time."""

    def __init__(self, sockets: Sockets, config: Config, on_position: Callable[[PositionEvent], None]) -> None:
        """Bind and connect.

        Raises:
            ConfigError: Telemetry is bound already.
        """
        self.tally = Tally()
        self._config = config
        self._on_position = on_position
        self._reports = Subscriber(["process.*.*"])
        self._positions = Subscriber(["position_*.*.*"])
        self._telemetry = sockets.bind_subscriber(config.endpoint("telemetry"), self._reports.prefixes())
        self._events = sockets.connect_subscriber(config.endpoint("events"), self._positions.prefixes())
        self._waiter = Waiter(self._telemetry, self._events)

    def look(self, timeout_ms: int) -> None:
        """Take what has come, after waiting for something at most so long."""
        self._waiter.wait(timeout_ms)
        drain(self._telemetry, self._on_report, FRAMES_PER_LOOK_MAX)
        drain(self._events, self._on_event, FRAMES_PER_LOOK_MAX)

    def read_files(self) -> None:
        """Take the last reports from the run directory: those that were sent before we listened, or after."""
        for report in read_reports(self._config.run_directory()):
            self.tally.take(report)

    def _on_report(self, frame: bytes) -> None:
        report = self._reports.accept(frame)
        if isinstance(report, ProcessReported):
            self.tally.take(report)

    def _on_event(self, frame: bytes) -> None:
        event = self._positions.accept(frame)
        if isinstance(event, PositionEvent):
            self._on_position(event)
