"""The exchange gateway in virtual time: desk and simulated venue are the real ones."""

from collections.abc import Callable, Sequence
from random import Random

from chaos.disk import LedgerWrite, VirtualFile, VirtualLedger
from chaos.facts import Size
from chaos.machine import Killed, Machine
from common.clock import NS_PER_MS, NS_PER_US
from common.events.market import Tick, Ticks, Trade
from common.events.venue import (
    CancelAllOrders,
    CancelOrder,
    ExecutionReported,
    QueryAccount,
    QueryOrder,
    ReplaceOrder,
    ResendExecutions,
    SubmitOrder,
)
from common.wire import codec
from common.wire.publisher import Publisher
from common.wire.subscriber import Subscriber
from exchange.desk import OrderDesk
from exchange.simulated.config import SimulatedVenueConfig
from exchange.simulated.faults import FaultPlan, FaultsConfig
from exchange.simulated.faulty_line import CrashInjected, FaultyLine
from exchange.simulated.forgetting import ClientIdMemory
from exchange.simulated.venue import SimulatedVenue

HEARTBEAT_NS = 50 * NS_PER_MS
CRASH_DOWN_MS = 50
_REQUESTS = (SubmitOrder, ReplaceOrder, CancelOrder, CancelAllOrders, QueryOrder, QueryAccount, ResendExecutions)


class ExchangeNode:
    """Answers requests, passes the market on, publishes executions; its venue misbehaves as planned."""

    def __init__(
        self, machine: Machine, file: VirtualFile[LedgerWrite], faults: FaultsConfig, is_healed: Callable[[], bool]
    ) -> None:
        self._machine = machine
        self.ledger = VirtualLedger(file, machine.pass_point, machine.facts)
        config = SimulatedVenueConfig()
        random = Random(f"{faults.seed}-{self.ledger.last_order_number()}")
        # 1.0 is below no probability: nothing goes wrong any more.
        plan = FaultPlan(faults, lambda: 1.0 if is_healed() else random.random())
        plan.injected = machine.facts.counts
        self.desk = OrderDesk(SimulatedVenue(config, machine.instruments, plan), self.ledger)
        memory = ClientIdMemory(faults, self.ledger.find)
        self._line = FaultyLine(self.desk, plan, memory, config.order_entry_latency_us * NS_PER_US)
        self._market = Subscriber(["tick.*.*", "trade.*.*"])
        self._executions = Publisher(
            role="exchange",
            source=machine.name,
            epoch=machine.epoch,
            channel="executions",
            send=lambda frame: machine.send("executions", frame),
        )
        self._next_heartbeat_ns = machine.now_ns

    def receive(self, channel: str, frame: bytes) -> None:
        if channel == "market":
            message = self._market.accept(frame)
            if isinstance(message, Tick | Ticks | Trade):
                self._publish(self.desk.market(message))
            return
        request = codec.decode(frame)
        if isinstance(request, _REQUESTS):
            try:
                self._line.receive("executor", request, self._machine.now_ns)
            except CrashInjected:
                raise Killed(CRASH_DOWN_MS) from None
            self._deliver()

    def turn(self) -> None:
        now_ns = self._machine.now_ns
        self._deliver()
        due_ns = self.desk.next_due_ns()
        if due_ns is not None and now_ns >= due_ns:
            self._publish(self.desk.advance(now_ns))
        if now_ns >= self._next_heartbeat_ns:
            self._executions.heartbeat(now_ns)
            self._next_heartbeat_ns = now_ns + HEARTBEAT_NS

    def sizes(self) -> Sequence[Size]:
        return ()

    def die(self) -> None:
        """The ledger has everything."""

    @property
    def is_quiet(self) -> bool:
        """Nothing becomes due by time alone."""
        return self.desk.next_due_ns() is None

    def _publish(self, executions: list[ExecutionReported]) -> None:
        self._line.report(executions, self._machine.now_ns)
        self._deliver()

    def _deliver(self) -> None:
        try:
            deliveries = self._line.take_due(self._machine.now_ns)
        except CrashInjected:
            raise Killed(CRASH_DOWN_MS) from None
        for _, message in deliveries:
            if isinstance(message, ExecutionReported):
                self._executions.publish(message)
                continue
            self._machine.pass_point("exchange.answer.sending")
            self._machine.send("answers", codec.encode(message))
            self._machine.pass_point("exchange.answer.sent")
