"""A venue that remembers no client ids, loses answers, throttles and crashes: at most once, and an alarm.

The real executor, gateway desk and simulated venue on a virtual clock; only sockets and files are not there.
"""

from random import Random

import pytest
from support.exchange_builders import make_tick, make_venue
from support.executor_builders import ExecutorHarness, make_instrument

from common.clock import NS_PER_MS
from common.events.base import DRAFT
from common.events.risk import AlarmRaised, ControlAction, ControlRequested
from common.events.trading import OrderStatus
from common.events.venue import ExecutionReported
from exchange.desk import Alarm, OrderDesk
from exchange.memory_ledger import MemoryLedger
from exchange.simulated.faults import Fault, FaultName, FaultPlan, FaultsConfig
from exchange.simulated.faulty_line import CrashInjected, FaultyLine
from exchange.simulated.forgetting import SEPARATOR, ClientIdMemory
from executor.config import CircuitConfig
from executor.requests import Request

pytestmark = pytest.mark.unmeasured
SEEDS = range(30)
SIGNALS = 40
LIFETIME_MS = 300
FAULTS = [
    Fault(name=FaultName.ANSWER_LOST, probability=0.3),
    Fault(name=FaultName.ANSWER_LATE, probability=0.1, ms=150),
    Fault(name=FaultName.DISCONNECT, probability=0.05, ms=100),
    Fault(name=FaultName.FILL_BEFORE_ANSWER, probability=0.1),
    Fault(name=FaultName.EXECUTIONS_REORDERED, probability=0.1),
    Fault(name=FaultName.REJECT, probability=0.2),
    Fault(name=FaultName.THROTTLE, probability=0.1),
    Fault(name=FaultName.CRASH_BEFORE_ACCEPT, probability=0.05),
    Fault(name=FaultName.CRASH_AFTER_ACCEPT, probability=0.05),
]


class World:
    """One executor and one exchange; each may die and go on from what it has written."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.ledger = MemoryLedger()
        self.exchange_alarms: list[Alarm] = []
        self.alarms: list[str] = []
        self.taken = 0
        self.executor = ExecutorHarness(
            make_instrument(),
            request_timeout_ms=50,
            retry_pause_ms=5,
            retry_pause_ms_max=20,
            reconcile_interval_ms=50,
            circuit=CircuitConfig(failures_max=1_000),
        )
        self.faults: list[Fault] = FAULTS
        self.start_exchange()
        self.executor.executor.recover(self.now_ns)

    @property
    def now_ns(self) -> int:
        """The time of all."""
        return self.executor.now_ns

    def start_exchange(self) -> None:
        """A new life from the ledger: what was on its way to it or from it is gone."""
        config = FaultsConfig(fault=self.faults, client_id_memory="none")
        plan = FaultPlan(config, self.random.random)
        venue = make_venue(faults=plan)
        self.desk = OrderDesk(venue, self.ledger, on_alarm=self.exchange_alarms.append)
        self.desk.market(make_tick(timestamp_ns=self.now_ns))
        self.line = FaultyLine(self.desk, plan, ClientIdMemory(config, self.ledger.find), 0)

    def restart_executor(self) -> None:
        """Nothing but its journal is left."""
        self.collect()
        self.executor = self.executor.restarted()
        self.taken = 0
        self.executor.executor.recover(self.now_ns)

    def step(self) -> None:
        """Ten milliseconds: the market ticks, requests arrive, answers and reports come back."""
        self.executor.advance(ms=10)
        try:
            self.line.report(self.desk.market(make_tick(timestamp_ns=self.now_ns)), self.now_ns)
            self.line.report(self.desk.advance(self.now_ns), self.now_ns)
            for request in self.collect():
                self.line.receive("executor", request, self.now_ns)
            deliveries = self.line.take_due(self.now_ns)
        except CrashInjected:
            self.start_exchange()
            return
        for delivery in deliveries:
            if isinstance(delivery.message, ExecutionReported):
                self.executor.execute(delivery.message)
            else:
                self.executor.executor.on_answer(delivery.message, self.now_ns)

    def collect(self) -> list[Request]:
        """What the executor has done since the last look; requests are still to be carried."""
        steps, self.taken = self.executor.trace[self.taken :], len(self.executor.trace)
        self.alarms += [step.code for step in steps if isinstance(step, AlarmRaised)]
        return [step for step in steps if isinstance(step, Request)]

    def resume(self) -> None:
        """A person has looked."""
        scope = f"symbol:{make_instrument().name}"
        request = ControlRequested(
            **DRAFT, timestamp_ns=self.now_ns, request_id="c", action=ControlAction.RESUME, scope=scope, by="jane"
        )
        self.executor.executor.on_control(request, self.now_ns)

    def play(self) -> None:
        """Trade through it all, then let it heal."""
        for number in range(SIGNALS):
            self.resume()
            expires_ns = self.now_ns + LIFETIME_MS * NS_PER_MS
            if self.executor.executor.is_recovered:
                price = self.random.choice(["101", "99"])  # one is filled, one rests
                self.executor.signal(f"s-{number}", limit_price=price, expires_ns=expires_ns, timestamp_ns=self.now_ns)
                if self.random.random() < 0.2:
                    self.executor.cancel(f"s-{number}")
            for _ in range(self.random.randint(1, 12)):
                self.step()
            if self.random.random() < 0.1:
                self.restart_executor()
        self.faults = []
        self.start_exchange()
        for _ in range(200):
            self.step()


def test_no_signal_has_two_orders_and_what_nobody_can_tell_is_an_alarm() -> None:
    """The ledger is the witness; books and account agree to the last digit."""
    alarms = set()
    statuses = set()
    for seed in SEEDS:
        world = World(seed)
        world.play()
        alarms |= set(world.alarms)
        orders, book = world.ledger.orders, world.executor.book

        assert not [name for name in orders if SEPARATOR in name], f"seed {seed}"
        assert world.exchange_alarms == []
        assert {order_id: (order.status, order.filled_quantity) for order_id, order in book.orders.items()} == {
            order_id: _expected(world, order_id) for order_id in book.orders
        }, f"seed {seed}"
        assert set(orders) <= set(book.orders)
        assert all(record.outcome is not None for record in book.signals.values())
        statuses |= {order.status for order in book.orders.values()}

    assert "ORDER_UNRESOLVED" in alarms
    assert alarms <= {"ORDER_UNRESOLVED", "TRADING_STOPPED"}
    assert {OrderStatus.FILLED, OrderStatus.REJECTED, OrderStatus.DENIED} <= statuses


def _expected(world: World, order_id: str) -> tuple[OrderStatus, object]:
    """What the ledger says; an order that was given up is refused there, or never came."""
    ours, theirs = world.executor.book.orders[order_id], world.ledger.find(order_id)
    if theirs is None or theirs.status is OrderStatus.REJECTED:
        assert ours.status in {OrderStatus.DENIED, OrderStatus.REJECTED}
        return ours.status, ours.filled_quantity
    return theirs.status, theirs.filled_quantity
