"""The executor's sockets, journal file and loop. What to do is decided in `core`."""

from collections import deque
from collections.abc import Callable, Mapping

from common.clock import NS_PER_MS, NS_PER_S
from common.crash_points import crash_point
from common.errors import ConfigError, WireError, WireFault
from common.events.base import Message
from common.events.market import Quote
from common.events.risk import ControlAction, ControlAnswered, ControlRequested
from common.events.trading import AmendRequested, CancelRequested, Signal, StateRequested
from common.events.venue import ExecutionReported
from common.metrics import Latency
from common.process import Process
from common.sockets.transfer import Waiter, answer, drain, offer, take_answer, take_request
from common.wire import codec
from common.wire.seal import seal
from common.wire.subscriber import Subscriber
from executor.config import ExecutorConfig
from executor.core import Executor
from executor.intake import UnreadableSignal, read_pushed
from executor.journal import SqliteJournal
from executor.references import QUOTE_PATTERN, References
from executor.requests import Request

JOURNAL_NAME = "journal.sqlite"
# Frames of one channel per turn: a flood on one may delay the others, a halt among them, by a few ms at most.
FRAMES_PER_TURN_MAX = 16
COMMANDS_PER_TURN_MAX = 4
# Without a gateway signals are taken all the same, and denied with the reason.
PRICES_PATIENCE_NS = NS_PER_S
# Events wait at most this long for the answer to the order that has just left.
DEFERRAL_MS = 1


class ExecutorService:
    """Moves frames between the sockets and the deciding core."""

    def __init__(self, process: Process, config: ExecutorConfig, reload: Callable[[], ExecutorConfig]) -> None:
        """Prepare; `reload` reads the config anew."""
        self._process = process
        self._reload = reload
        self._config = config
        self._clock = process.clock
        self._is_stopping = False
        self._has_prices = False
        self._patience_ends_ns = 0
        self._has_waiting_signals = False
        self._next_heartbeat_ns = 0
        self._dropped = 0
        self._breaks_seen = 0
        self._waiting_events: deque[Message] = deque()
        self._has_sent = False
        self._has_deferred = False

    def open(self) -> None:
        """Open the journal, then the sockets, then ask the exchange for what the journal does not know."""
        process, sockets = self._process, self._process.sockets
        instruments = process.config.instruments()
        self._journal = SqliteJournal(
            process.run_directory.file("state", JOURNAL_NAME), process.settings.run.synchronous
        )
        self._signals = sockets.bind_puller(process.endpoint("signals"))
        self._event_socket = sockets.bind_publisher(process.endpoint("events"))
        self._events = process.publisher("events", self._publish_frame)
        self._orders = sockets.connect_requester(process.endpoint("orders"))
        self._execution_reports = Subscriber(["execution.*.*"], on_fault=process.faults.on("executions"))
        self._executions = sockets.connect_subscriber(
            process.endpoint("executions"), self._execution_reports.prefixes()
        )
        self._quote_stream = Subscriber([QUOTE_PATTERN], on_fault=process.faults.on("market"))
        self._quotes = sockets.connect_subscriber(process.endpoint("market"), self._quote_stream.prefixes())
        self._references = References()
        self._control = sockets.bind_router(process.endpoint("control"))
        self._waiter = Waiter(self._orders, self._signals, self._executions, self._quotes, self._control)
        self._exchange_waiter = Waiter(self._orders, self._executions, self._quotes, self._control)
        self._core = Executor(
            epoch=process.epoch,
            config=self._config,
            instruments=instruments,
            journal=self._journal,
            find_reference=self._references.find,
            send=self._send,
            publish=self._waiting_events.append,
        )
        for detail in self._core.facts.unusable_snapshots:
            process.log.warning("snapshot_unusable", detail=detail)
        self._patience_ends_ns = self._clock.monotonic_ns() + PRICES_PATIENCE_NS
        self._core.recover(self._clock.now_ns())

    def turn(self, timeout_ms: int) -> None:
        """Answers first: they free the line for the next order. Then signals, then executions."""
        takes_signals = self._takes_signals()
        waiter = self._waiter if takes_signals else self._exchange_waiter
        pause_ms = DEFERRAL_MS if self._waiting_events else timeout_ms
        ready = waiter.wait(0 if self._has_waiting_signals else pause_ms)
        if self._orders in ready:
            self._take_answer()
        if self._control in ready:
            self._take_commands()
        if takes_signals and self._signals in ready:
            count = drain(self._signals, self._on_pushed_frame, FRAMES_PER_TURN_MAX)
            self._has_waiting_signals = count == FRAMES_PER_TURN_MAX
        if self._executions in ready:
            drain(self._executions, self._on_execution_frame, FRAMES_PER_TURN_MAX)
        if self._quotes in ready:
            drain(self._quotes, self._on_quote_frame, FRAMES_PER_TURN_MAX)
        self._on_time()
        self._publish_events()
        self._core.rest(is_idle=ready <= {self._quotes, self._control})

    def readiness(self) -> str | None:
        """Ready once everything that was open at the start is settled with the exchange."""
        return None if self._core.is_recovered else "the exchange's answer about open orders and executions"

    def counters(self) -> dict[str, int]:
        """Counters of the core and of the channels."""
        streams = {"executions": self._execution_reports, "quotes": self._quote_stream}
        return {
            **self._core.counters(),
            **{f"{name}_{key}": count for name, stream in streams.items() for key, count in stream.counters().items()},
            "frames_dropped": self._dropped,
        }

    def latencies(self) -> Mapping[str, Latency]:
        """Tick to acknowledgement, and its hops."""
        return self._core.latencies

    def begin_stop(self) -> None:
        """Read no more signals: those in the socket stay with their strategies, which send them again."""
        self._is_stopping = True
        self._has_waiting_signals = False
        self._core.begin_stop()

    def is_settled(self) -> bool:
        """Every request has its answer, and every event was published.

        What is asked before the recovery is done is asked again at the next start, so nobody waits for it.
        """
        return (len(self._core.line) == 0 or not self._core.is_recovered) and not self._waiting_events

    def close(self) -> None:
        """Close the journal."""
        if hasattr(self, "_journal"):
            self._journal.close()

    def _takes_signals(self) -> bool:
        """After recovery, and with the first prices: a restarted executor must not deny what it will soon know."""
        if not self._core.is_recovered or self._is_stopping:
            return False
        if not self._has_prices:
            is_patience_over = self._clock.monotonic_ns() >= self._patience_ends_ns
            self._has_prices = self._quote_stream.received > 0 or is_patience_over
        return self._has_prices

    def _send(self, request: Request) -> None:
        crash_point("executor.request.sending")
        offer(self._orders, codec.encode_sealed(request))
        crash_point("executor.request.sent")
        self._has_sent = True

    def _publish_frame(self, frame: bytes) -> None:
        self._event_socket.send(seal(frame))

    def _publish_events(self) -> None:
        """Publish what waits; right after an order has left, wait one turn for its answer first.

        A send wakes libzmq's thread, which on a busy machine takes the core for 0.3 ms, while the answer lies unread.
        """
        if self._has_sent and not self._has_deferred:
            self._has_sent, self._has_deferred = False, True
            return
        self._has_sent = self._has_deferred = False
        while self._waiting_events:
            crash_point("executor.event.publishing")
            self._events.publish(self._waiting_events.popleft())
            crash_point("executor.event.published")

    def _take_commands(self) -> None:
        for _ in range(COMMANDS_PER_TURN_MAX):
            taken = take_request(self._control)
            if taken is None:
                return
            envelope, frame = taken
            try:
                request = codec.decode(frame)
                if not isinstance(request, ControlRequested):
                    raise WireError(WireFault.UNEXPECTED, f"control: expected a command, was {request.topic()}")
            except WireError as error:
                self._drop("control", error, frame)
                continue
            reply = self._obey(request, self._clock.now_ns())
            self._process.log.warning(
                "command", action=request.action, scope=request.scope, by=request.by, is_done=reply.is_done
            )
            answer(self._control, envelope, codec.encode_sealed(reply))

    def _obey(self, request: ControlRequested, now_ns: int) -> ControlAnswered:
        if request.action is ControlAction.RELOAD:
            try:
                self._core.set_limits(self._reload().risk)
            except ConfigError as error:
                return self._core.safety.report(request, now_ns, refusal=("INVALID_CONFIG", str(error)))
        return self._core.on_control(request, now_ns)

    def _take_answer(self) -> None:
        frame = take_answer(self._orders)
        if frame is not None:
            self._on_answer_frame(frame)

    def _on_pushed_frame(self, frame: bytes) -> None:
        try:
            message = read_pushed(frame)
        except WireError as error:
            self._drop("signals", error, frame)
            return
        # Between two of many: an answer frees the line, and with one order a turn a flood of signals would clog it.
        if len(self._core.line):
            self._take_answer()
        now_ns = self._clock.now_ns()
        match message:
            case Signal():
                self._core.on_signal(message, now_ns)
            case CancelRequested():
                self._core.on_cancel(message, now_ns)
            case AmendRequested():
                self._core.on_amend(message, now_ns)
            case StateRequested():
                self._core.on_state_request(message, now_ns)
            case UnreadableSignal():
                self._core.on_unreadable_signal(message, now_ns)

    def _on_answer_frame(self, frame: bytes) -> None:
        try:
            message = codec.decode(frame)
        except WireError as error:
            self._drop("orders", error, frame)
            return
        self._core.on_answer(message, self._clock.now_ns())

    def _on_execution_frame(self, frame: bytes) -> None:
        report = self._execution_reports.accept(frame)
        if len(self._core.line):
            self._take_answer()
        if isinstance(report, ExecutionReported):
            self._core.on_execution(report, self._clock.now_ns())

    def _on_quote_frame(self, frame: bytes) -> None:
        quote = self._quote_stream.accept(frame)
        if isinstance(quote, Quote):
            self._references.on_quote(quote)

    def _on_time(self) -> None:
        now_ns = self._clock.now_ns()
        self._core.on_time(now_ns)
        stream = self._execution_reports
        # A restarted exchange may have booked what it had no time to publish.
        breaks = stream.lost + stream.counts["epoch_changes"]
        if breaks != self._breaks_seen:
            self._breaks_seen = breaks
            stream.forget_lost_tails()
            self._core.ask_for_executions(now_ns)
        if now_ns >= self._next_heartbeat_ns:
            self._events.heartbeat(now_ns)
            self._next_heartbeat_ns = now_ns + self._config.heartbeat_interval_ms * NS_PER_MS

    def _drop(self, channel: str, error: WireError, frame: bytes) -> None:
        self._dropped += 1
        error.frame = frame
        self._core.counts[error.fault.value] += 1
        self._process.faults.report(channel, error)
