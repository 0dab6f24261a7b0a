"""One recording: joins a gateway's market channel and writes what it hears."""

from pathlib import Path

import msgspec

from common.clock import NS_PER_S, SystemClock
from common.config import Config
from common.events.base import Message
from common.events.market import BookDelta, BookSnapshot, Tick, Trade
from common.events.system import ConnectionChanged, ConnectionState
from common.log import get_log
from common.sockets.factory import Sockets
from common.sockets.market import MarketChannel
from common.sockets.transfer import Waiter
from gateway.feeds.binance import LOCAL_DIGITS_MAX
from gateway.recording.capture_writer import CaptureWriter
from gateway.recording.raw_form import RawForm

FRAMES_PER_TURN_MAX = 4_096
TURN_MS_MAX = 100
FLUSH_NS = NS_PER_S  # what a kill -9 may cost of a gzip file; a shorter interval compresses worse
KINDS = (Tick.kind, Trade.kind, BookSnapshot.kind, BookDelta.kind)


class RecordingReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded. `lost` counts messages that the channel dropped because we were too slow."""

    files: list[str]
    lines: int
    size_bytes: int
    quotes: int
    trades: int
    books: int
    ticks_without_quote: int
    lost: int
    has_feed_ended: bool


class RecordingSession:
    """Reads the channel in turns."""

    def __init__(self, config: Config, sockets: Sockets, name: str, path: Path, bytes_max: int, symbol: str) -> None:
        """Connect, and make the first file.

        Raises:
            ConfigError: The file cannot be made.
        """
        self._clock = SystemClock()
        self._writer = CaptureWriter(path, bytes_max)
        self._raw_form = RawForm()
        self._lines: list[bytes] = []
        self._next_flush_ns = 0
        self.has_feed_ended = False
        now_ns = self._clock.now_ns()
        self._channel = MarketChannel(
            sockets,
            market_endpoint=config.endpoint("market"),
            snapshots_endpoint=config.endpoint("snapshots"),
            patterns=[*(f"{kind}.*.{symbol}" for kind in KINDS), f"{ConnectionChanged.kind}.*.*"],
            name=name,
            epoch=now_ns,
            clock=self._clock,
            log=get_log(process="record"),
        )
        self._waiter = Waiter(self._channel.socket, self._channel.snapshot_socket)

    @property
    def is_joined(self) -> bool:
        """Tell whether the gateway has answered: from here on nothing is missed unseen."""
        return self._channel.is_joined

    def turn(self) -> None:
        """Write what waits; wait a moment where nothing does."""
        if not self._channel.drain(self._on_message, lambda _tick: None, FRAMES_PER_TURN_MAX):
            self._waiter.wait(TURN_MS_MAX)
        now_ns = self._clock.monotonic_ns()
        is_flush = now_ns >= self._next_flush_ns
        if is_flush:
            self._next_flush_ns = now_ns + FLUSH_NS
            self._lines += self._raw_form.settle()
        self._write()
        if is_flush:
            self._writer.flush()

    def close(self) -> None:
        """Write what is in hand, and end the file."""
        self._lines += self._raw_form.finish()
        self._write()
        self._writer.close()

    def report(self) -> RecordingReport:
        """What there is so far."""
        counts = self._raw_form.counts
        return RecordingReport(
            files=[str(path) for path in self._writer.paths],
            lines=self._writer.lines_written,
            size_bytes=self._writer.bytes_written,
            quotes=counts["quotes"],
            trades=counts["trades"],
            books=counts["books"],
            ticks_without_quote=counts["ticks_without_quote"],
            lost=self._channel.subscriber.lost,
            has_feed_ended=self.has_feed_ended,
        )

    def _on_message(self, message: Message) -> None:
        if isinstance(message, ConnectionChanged):
            self.has_feed_ended |= message.state is ConnectionState.ENDED
            return
        self._lines += self._raw_form.lines(message)

    def _write(self) -> None:
        # Packing puts instruments one behind the other. All stamps have as many digits, so text compares as numbers.
        self._lines.sort(key=_stamp)
        self._writer.write(self._lines)
        self._lines.clear()


def _stamp(line: bytes) -> bytes:
    return line[:LOCAL_DIGITS_MAX]
