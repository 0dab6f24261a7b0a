"""The exchange gateway in virtual time: desk and simulated venue are the real ones."""

from collections.abc import Sequence

from chaos.disk import LedgerWrite, VirtualFile, VirtualLedger
from chaos.facts import Size
from chaos.machine import Machine
from common.clock import NS_PER_MS
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
from exchange.simulated.venue import SimulatedVenue

HEARTBEAT_NS = 50 * NS_PER_MS
_REQUESTS = (SubmitOrder, ReplaceOrder, CancelOrder, CancelAllOrders, QueryOrder, QueryAccount, ResendExecutions)


class ExchangeNode:
    """Answers requests, passes the market on, publishes executions."""

    def __init__(self, machine: Machine, file: VirtualFile[LedgerWrite]) -> None:
        self._machine = machine
        self.ledger = VirtualLedger(file, machine.pass_point, machine.facts)
        self.desk = OrderDesk(SimulatedVenue(SimulatedVenueConfig(), machine.instruments), self.ledger)
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
            reply = self.desk.handle(request, self._machine.now_ns)
            self._machine.pass_point("exchange.answer.sending")
            self._machine.send("answers", codec.encode(reply))
            self._machine.pass_point("exchange.answer.sent")

    def turn(self) -> None:
        now_ns = self._machine.now_ns
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
        for execution in executions:
            self._executions.publish(execution)
