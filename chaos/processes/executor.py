"""The executor in virtual time: its core, book, risk and request line are the real ones."""

from collections import deque
from collections.abc import Sequence

import msgspec

from chaos.disk import JournalWrite, VirtualFile, VirtualJournal
from chaos.facts import Facts, Size
from chaos.machine import Machine
from common.clock import NS_PER_MS
from common.errors import WireError
from common.events.base import Message
from common.events.market import Quote
from common.events.risk import AlarmRaised, ControlRequested, TradingState
from common.events.trading import AmendRequested, CancelRequested, OrderStatus, Signal, StateRequested
from common.events.venue import ExecutionReported
from common.wire import codec
from common.wire.publisher import Publisher
from common.wire.subscriber import Subscriber
from executor.config import CircuitConfig, ExecutorConfig
from executor.core import Executor
from executor.intake import UnreadableSignal, read_pushed
from executor.limits import RiskLimits
from executor.orders import Order
from executor.references import QUOTE_PATTERN, References
from executor.requests import Request

# Ten times as impatient as in production, so that a history of two seconds sees every wait end, and with bounds that
# a partition reaches.
CONFIG = ExecutorConfig(
    request_timeout_ms=100,
    retry_pause_ms=20,
    retry_pause_ms_max=100,
    reference_age_ms_max=300,
    orders_waiting_max=15,
    reconcile_interval_ms=100,
    held_ms_max=500,
    circuit=CircuitConfig(failures_max=3, pause_ms=20, pause_ms_max=100),
    heartbeat_interval_ms=50,
    snapshot_interval_entries=20,
    ended_instructions_max=3,
)
PRICES_PATIENCE_NS = 200 * NS_PER_MS
INBOX_FRAMES_MAX = 1_000  # a PULL socket's queue; what is beyond it is refused to its sender


class ExecutorNode:
    """Moves frames to the core, and its events out after each step."""

    def __init__(self, machine: Machine, file: VirtualFile[JournalWrite], limits: RiskLimits) -> None:
        self._machine = machine
        self._journal = VirtualJournal(file, machine.pass_point, machine.facts)
        self._inbox: deque[bytes] = deque()
        self._waiting_events: deque[Message] = deque()
        self._quotes = Subscriber([QUOTE_PATTERN])
        self._executions = Subscriber(["execution.*.*"])
        self._references = References()
        self._breaks_seen = 0
        self._known_count_max = 0
        self._patience_ends_ns = machine.now_ns + PRICES_PATIENCE_NS
        self._events = Publisher(
            role="executor",
            source=machine.name,
            epoch=machine.epoch,
            channel="events",
            send=lambda frame: machine.send("events", frame),
        )
        self._next_heartbeat_ns = machine.now_ns
        self.core = Executor(
            epoch=machine.epoch,
            config=msgspec.structs.replace(CONFIG, risk=limits),
            instruments=machine.instruments,
            journal=self._journal,
            find_reference=self._references.find,
            send=self._send,
            publish=self._waiting_events.append,
        )
        self.core.recover(machine.now_ns)
        self._publish_events()

    def receive(self, channel: str, frame: bytes) -> None:
        now_ns = self._machine.now_ns
        if channel == "signals":
            if len(self._inbox) < INBOX_FRAMES_MAX:
                self._inbox.append(frame)
        elif channel == "control":
            command = codec.decode(frame)
            if isinstance(command, ControlRequested):
                self._machine.send("control answers", codec.encode(self.core.on_control(command, now_ns)))
        elif channel == "answers":
            self.core.on_answer(codec.decode(frame), now_ns)
        elif channel == "executions":
            report = self._executions.accept(frame)
            if isinstance(report, ExecutionReported):
                self.core.on_execution(report, now_ns)
        else:
            quote = self._quotes.accept(frame)
            if isinstance(quote, Quote):
                self._references.on_quote(quote)
        self._take_signals()
        self._publish_events()

    def turn(self) -> None:
        now_ns = self._machine.now_ns
        self.core.on_time(now_ns)
        stream = self._executions
        breaks = stream.lost + stream.counts["epoch_changes"]
        if breaks != self._breaks_seen:
            self._breaks_seen = breaks
            stream.forget_lost_tails()
            self.core.ask_for_executions(now_ns)
        self._take_signals()
        self._publish_events()
        self.core.rest(is_idle=True)
        if now_ns >= self._next_heartbeat_ns:
            self._events.heartbeat(now_ns)
            self._next_heartbeat_ns = now_ns + CONFIG.heartbeat_interval_ms * NS_PER_MS

    def sizes(self) -> Sequence[Size]:
        # Beside the bounded submissions: one resend, one look at the account, and a cancel for each order that the
        # exchange has, or at a start a query for one of which it cannot tell; it may wait for longer than its order
        # lives.
        working = self.core.book.working_orders()
        known_count = sum(order.status is not OrderStatus.PENDING_NEW for order in working)
        self._known_count_max = max(self._known_count_max, known_count)
        line_max = CONFIG.orders_waiting_max + self._known_count_max + 2
        return (
            Size("executor request line", len(self.core.line), line_max),
            Size("executor inbox", len(self._inbox), INBOX_FRAMES_MAX),
        )

    def die(self) -> None:
        """What strategies pushed and nobody read is gone; the journal has the rest."""

    def go_astray(self) -> None:
        """Another life has taken over name, files and addresses; the way to the exchange is all that this one keeps."""
        machine, send = self._machine, self._machine.send
        machine.facts = Facts((), reference_age_ns_max=0)
        machine.pass_point = lambda _name: None
        machine.send = lambda channel, frame: send(channel, frame) if channel == "orders" else None
        self._journal.go_astray(machine.facts)

    @property
    def epoch(self) -> int:
        """Which life this is."""
        return self._machine.epoch

    @property
    def is_quiet(self) -> bool:
        """Everything begun has its answer."""
        book = self.core.book
        is_settled = not any(order.is_unanswered or self._is_halted(order) for order in book.working_orders())
        return self.core.is_recovered and is_settled and not self.core.line and not self._inbox

    def _is_halted(self, order: Order) -> bool:
        signal = order.signal
        state = self.core.book.kill_switch.state(signal.strategy, signal.exchange, signal.symbol)
        return state is TradingState.HALTED

    def _take_signals(self) -> None:
        has_prices = self._quotes.received > 0 or self._machine.now_ns >= self._patience_ends_ns
        while self._inbox and has_prices and self.core.is_recovered:
            self._on_pushed(self._inbox.popleft())

    def _on_pushed(self, frame: bytes) -> None:
        now_ns = self._machine.now_ns
        try:
            message = read_pushed(frame)
        except WireError:
            self._machine.facts.counts["frames unusable"] += 1
            return
        match message:
            case Signal():
                self.core.on_signal(message, now_ns)
            case CancelRequested():
                self.core.on_cancel(message, now_ns)
            case AmendRequested():
                self.core.on_amend(message, now_ns)
            case StateRequested():
                self.core.on_state_request(message, now_ns)
            case UnreadableSignal():
                self.core.on_unreadable_signal(message, now_ns)

    def _send(self, request: Request) -> None:
        self._machine.facts.note_request(request)
        self._machine.pass_point("executor.request.sending")
        self._machine.send("orders", codec.encode(request))
        self._machine.pass_point("executor.request.sent")

    def _publish_events(self) -> None:
        while self._waiting_events:
            self._machine.pass_point("executor.event.publishing")
            event = self._waiting_events.popleft()
            if isinstance(event, AlarmRaised):
                self._machine.facts.note_alarm(event)
            self._events.publish(event)
            self._machine.pass_point("executor.event.published")
