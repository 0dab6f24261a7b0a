"""Structured logs: JSON lines for files, a readable form on a terminal. Nothing per message: that is a counter."""

import logging
import sys
from typing import TYPE_CHECKING, Literal

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.errors import WireError

LogLevel = Literal["debug", "info", "warning", "error"]
Log = structlog.typing.FilteringBoundLogger

FAULT_KINDS_MAX = 1_000  # peers x kinds that are logged by name; what lies beyond is only counted


def configure_logging(level: LogLevel) -> None:
    """Send every log record of this process to stderr, so that stdout stays free for results."""
    is_terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if is_terminal else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if is_terminal else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def get_log(**bound: object) -> Log:
    """A logger that carries these fields, such as `process` and `epoch`, in every record."""
    log: Log = structlog.get_logger().bind(**bound)
    return log


class FaultLog:
    """Logs each kind of unusable frame once per peer; the rest is counted by whoever dropped it."""

    def __init__(self, log: Log, keep: "Callable[[str, WireError], object] | None" = None) -> None:
        """Prepare; `keep` is handed every frame with its channel, for whoever looks at them later."""
        self._log = log
        self._keep = keep
        self._seen: set[tuple[str, str, str]] = set()

    def report(self, channel: str, error: "WireError", peer: str = "-") -> None:
        """Tell of a frame that was dropped; it is in the error."""
        if self._keep is not None:
            self._keep(channel, error)
        key = (channel, peer, error.fault.value)
        if key in self._seen or len(self._seen) >= FAULT_KINDS_MAX:
            return
        self._seen.add(key)
        self._log.warning("frame_dropped", channel=channel, peer=peer, fault=error.fault.value, reason=str(error))

    def on(self, channel: str) -> "Callable[[WireError], None]":
        """The same for one channel whose peers cannot be told apart."""
        return lambda error: self.report(channel, error)


class SteadyLog:
    """A log for who must go on when the disk under the log is full: what cannot be told is counted."""

    def __init__(self, log: Log) -> None:
        self.untold = 0
        self._log = log

    def info(self, what: str, **fields: object) -> None:
        """Tell of what people may want to know."""
        self._tell(self._log.info, what, fields)

    def warning(self, what: str, **fields: object) -> None:
        """Tell of what they should know."""
        self._tell(self._log.warning, what, fields)

    def error(self, what: str, **fields: object) -> None:
        """Tell of a failure."""
        self._tell(self._log.error, what, fields)

    def exception(self, what: str, **fields: object) -> None:
        """Tell of a failure with the exception in hand."""
        self._tell(self._log.exception, what, fields)

    def _tell(self, tell: "Callable[..., object]", what: str, fields: dict[str, object]) -> None:
        try:
            tell(what, **fields)
        except OSError:
            self.untold += 1
