"""The exchange gateway's sockets, ledger file and loop. What becomes of an order is decided by desk and venue."""

import heapq
import os
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NoReturn, cast

from common.clock import NS_PER_MS, NS_PER_US
from common.crash_points import crash_point
from common.errors import WireError, WireFault
from common.events.base import DRAFT, Message
from common.events.market import Tick, Ticks, Trade
from common.events.risk import AlarmRaised, Severity
from common.events.venue import (
    CancelAllOrders,
    CancelOrder,
    ExecutionReported,
    OrderAnswered,
    QueryAccount,
    QueryOrder,
    ReplaceOrder,
    RequestRefused,
    ResendExecutions,
    SubmitOrder,
)
from common.metrics import Latency
from common.process import Process
from common.sockets.market import MarketChannel
from common.sockets.transfer import Envelope, Waiter, answer, take_request
from common.wire import codec
from common.wire.seal import seal
from exchange.config import ExchangeConfig
from exchange.desk import Alarm, OrderDesk
from exchange.fault_file import make_plan
from exchange.ledger import Ledger
from exchange.ledger_schema import LEDGER_NAME
from exchange.simulated.faults import FaultsConfig
from exchange.simulated.faulty_line import CrashInjected, FaultyLine
from exchange.simulated.forgetting import ClientIdMemory
from exchange.simulated.venue import SimulatedVenue

REQUESTS_PER_TURN_MAX = 64
MARKET_FRAMES_PER_TURN_MAX = 2_000
# Answers that wait for their simulated latency. Each belongs to a request in flight, of which an executor has one.
DELAYED_ANSWERS_MAX = 10_000
_REQUESTS = (SubmitOrder, ReplaceOrder, CancelOrder, QueryOrder, CancelAllOrders, QueryAccount, ResendExecutions)


class ExchangeService:
    """Moves frames between the sockets and the order desk."""

    def __init__(
        self,
        process: Process,
        config: ExchangeConfig,
        *,
        faults: FaultsConfig | None = None,
        is_halt_cleared: bool = False,
    ) -> None:
        self._faults = faults
        self._line: FaultyLine | None = None
        self._process = process
        self._config = config
        self._is_halt_cleared = is_halt_cleared
        self._clock = process.clock
        self._counts: Counter[str] = Counter()
        self._injected: Counter[str] = Counter()
        self._delayed: list[tuple[int, int, Envelope, bytes]] = []
        self._answer_number = 0
        self._has_waiting_market = False
        self._next_heartbeat_ns = 0
        self._is_stopping = False

    def open(self) -> None:
        """Open the ledger, rebuild the venue from it, then bind."""
        process, sockets = self._process, self._process.sockets
        self._alarms = process.telemetry()
        self._ledger = Ledger(process.run_directory.file("state", LEDGER_NAME), process.settings.run.synchronous)
        plan = None if self._faults is None else make_plan(self._faults, self._ledger.last_order_number())
        venue = SimulatedVenue(self._config.simulated, process.config.instruments(), plan)
        if self._is_halt_cleared:
            self._ledger.clear_halts(self._clock.now_ns())
            process.log.warning("exchange_halt_cleared")
        self._desk = OrderDesk(
            venue,
            self._ledger,
            balances=self._config.simulated.balances,
            silence_ns_max=self._config.silence_ms_max * NS_PER_MS,
            on_silence=self._config.on_silence,
            on_alarm=self._on_alarm,
        )
        if plan is not None:
            memory = ClientIdMemory(plan.config, self._ledger.find)
            latency_ns = self._config.simulated.order_entry_latency_us * NS_PER_US
            self._line = FaultyLine(self._desk, plan, memory, latency_ns)
            self._injected = plan.injected
            process.log.warning("faults_planned", seed=plan.config.seed, count=len(plan.config.fault))
        self._market = MarketChannel(
            sockets,
            market_endpoint=process.endpoint("market"),
            snapshots_endpoint=process.endpoint("snapshots"),
            patterns=["tick.*.*", "trade.*.*"],
            name=process.source,
            epoch=process.epoch,
            clock=self._clock,
            log=process.log,
            faults=process.faults,
        )
        self._execution_socket = sockets.bind_publisher(process.endpoint("executions"))
        self._executions = process.publisher("executions", self._publish_frame)
        self._requests = sockets.bind_router(process.endpoint("orders"))
        self._waiter = Waiter(self._requests)

    def turn(self, timeout_ms: int) -> None:
        """Requests first; then the market, which may fill what they brought; then what is due by time."""
        pause_ms = 0 if self._has_waiting_market else min(timeout_ms, self._config.market_interval_ms)
        if self._waiter.wait(pause_ms):
            self._take_requests()
        if self._line is not None:
            self._deliver(self._line)
        self._send_delayed()
        count = self._market.drain(self._on_market, self._on_market, MARKET_FRAMES_PER_TURN_MAX)
        self._has_waiting_market = count == MARKET_FRAMES_PER_TURN_MAX
        now_ns = self._clock.now_ns()
        due_ns = self._desk.next_due_ns()
        # Only when no tick waits: the order must meet the market as it was when it came in, not as it is later.
        if due_ns is not None and now_ns >= due_ns and not self._has_waiting_market:
            self._publish(self._desk.advance(now_ns))
        if now_ns >= self._next_heartbeat_ns:
            self._publish(self._desk.check_silence(now_ns, self._clock.monotonic_ns()))
            self._executions.heartbeat(now_ns)
            self._next_heartbeat_ns = now_ns + self._config.heartbeat_interval_ms * NS_PER_MS

    def readiness(self) -> str | None:
        """Ready when the ledger is open and the market known. Requests are answered before, too."""
        return None if self._market.is_joined else "the gateway's snapshot"

    def counters(self) -> dict[str, int]:
        """What was asked, answered and executed."""
        injected = {f"faults_{name}": count for name, count in self._injected.items()}
        return {**self._counts, **injected, **self._desk.counters(), **self._market.counters()}

    def latencies(self) -> Mapping[str, Latency]:
        """None here: the executor measures the whole path."""
        return {}

    def begin_stop(self) -> None:
        """Answer what was asked; the next request finds no one, which is no answer and therefore unknown."""
        self._is_stopping = True

    def is_settled(self) -> bool:
        """Every delayed answer has left."""
        return not self._delayed

    def close(self) -> None:
        """Close the ledger."""
        if hasattr(self, "_ledger"):
            self._ledger.close()

    def _take_requests(self) -> None:
        for _ in range(REQUESTS_PER_TURN_MAX):
            taken = take_request(self._requests)
            if taken is None:
                return
            self._on_request(*taken)

    def _on_request(self, envelope: Envelope, frame: bytes) -> None:
        now_ns = self._clock.now_ns()
        try:
            request = codec.decode(frame)
            if not isinstance(request, _REQUESTS):
                raise WireError(WireFault.UNEXPECTED, f"orders: expected an order request, was {request.topic()}")
        except WireError as error:
            error.frame = frame
            self._refuse(envelope, error, now_ns)
            return
        self._counts[f"requests_{request.kind}"] += 1
        if self._line is None:
            self._answer(envelope, self._desk.handle(request, now_ns), now_ns)
            return
        try:
            self._line.receive(envelope, request, now_ns)
        except CrashInjected:
            _die()
        self._deliver(self._line)

    def _deliver(self, line: FaultyLine) -> None:
        now_ns = self._clock.now_ns()
        try:
            deliveries = line.take_due(now_ns)
        except CrashInjected:
            _die()
        for envelope, message in deliveries:
            if isinstance(message, ExecutionReported):
                self._send_report(message)
            else:
                self._answer(cast("Envelope", envelope), message, now_ns)

    def _refuse(self, envelope: Envelope, error: WireError, now_ns: int) -> None:
        self._counts[error.fault.value] += 1
        self._process.faults.report("orders", error, peer=envelope[0].hex())
        reason = error.fault.value.upper()
        self._answer(
            envelope, RequestRefused(**DRAFT, timestamp_ns=now_ns, reason=reason, detail=str(error)[:400]), now_ns
        )

    def _answer(self, envelope: Envelope, reply: Message, now_ns: int) -> None:
        if isinstance(reply, OrderAnswered):
            self._counts[f"answers_{reply.outcome.value}"] += 1
        frame = codec.encode_sealed(reply)
        latency_ns = self._config.simulated.response_latency_us * NS_PER_US
        if not latency_ns:
            self._send(envelope, frame)
        elif len(self._delayed) >= DELAYED_ANSWERS_MAX:
            self._counts["answers_dropped"] += 1
        else:
            self._answer_number += 1
            heapq.heappush(self._delayed, (now_ns + latency_ns, self._answer_number, envelope, frame))

    def _send_delayed(self) -> None:
        now_ns = self._clock.now_ns()
        while self._delayed and self._delayed[0][0] <= now_ns:
            _, _, envelope, frame = heapq.heappop(self._delayed)
            self._send(envelope, frame)

    def _send(self, envelope: Envelope, frame: bytes) -> None:
        crash_point("exchange.answer.sending")
        if not answer(self._requests, envelope, frame):
            self._counts["answers_undeliverable"] += 1
        crash_point("exchange.answer.sent")

    def _on_alarm(self, alarm: Alarm) -> None:
        self._process.log.critical(alarm.event, detail=alarm.detail)
        self._counts["alarms"] += 1
        self._counts[f"alarms_{alarm.event}"] += 1
        self._alarms.publish(
            AlarmRaised(
                **DRAFT,
                timestamp_ns=self._clock.now_ns(),
                code=alarm.event.upper(),
                severity=Severity.CRITICAL,
                subject=self._process.source,
                detail=alarm.detail[:500],
            )
        )

    def _on_market(self, message: Message) -> None:
        if not isinstance(message, Tick | Ticks | Trade):
            return
        try:
            executions = self._desk.market(message)
        except ValueError:
            self._counts["ticks_malformed"] += 1
            return
        if executions:
            self._publish(executions)

    def _publish(self, executions: Sequence[ExecutionReported]) -> None:
        if self._line is not None:
            self._line.report(executions, self._clock.now_ns())
            self._deliver(self._line)
            return
        for execution in executions:
            self._send_report(execution)

    def _send_report(self, execution: ExecutionReported) -> None:
        self._counts[f"executions_{execution.execution_type.value}"] += 1
        self._executions.publish(execution)

    def _publish_frame(self, frame: bytes) -> None:
        self._execution_socket.send(seal(frame))


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("kill -9 did not end the process")
