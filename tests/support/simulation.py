"""The whole pipeline in one thread, on a virtual clock and a virtual network: the deciding code of all processes.

Every message crosses the network as the very bytes of the wire, with a delay drawn from one seed. The only thing that
is not real is what a service does: waiting, sockets and files.
"""

import hashlib
import heapq
from collections.abc import Callable
from random import Random

import msgspec
from support.executor_builders import MemoryJournal

from chaos.memory_ledger import MemoryLedger
from chaos.memory_outbox_store import MemoryOutboxStore
from common.clock import NS_PER_MS, NS_PER_US, VirtualClock
from common.events.base import Message
from common.events.market import Quote, Tick, Ticks, Trade
from common.events.trading import Signal, StateRequested
from common.events.venue import ExecutionReported
from common.instruments import Instrument, InstrumentTable
from common.wire import codec
from common.wire.publisher import Publisher
from common.wire.subscriber import Subscriber
from exchange.desk import OrderDesk
from exchange.simulated.config import SimulatedVenueConfig
from exchange.simulated.venue import SimulatedVenue
from executor.config import ExecutorConfig
from executor.core import Executor
from executor.intake import read_pushed
from executor.references import QUOTE_PATTERN, References
from executor.requests import Request
from gateway.config import SyntheticConfig
from gateway.feeds.synthetic import SyntheticFeed
from gateway.normaliser import Normaliser
from strategy.base import Strategy
from strategy.config import StrategyConfig
from strategy.engine import Engine

TURN_NS = NS_PER_MS
DELAY_NS_MIN, DELAY_NS_MAX = 20 * NS_PER_US, 300 * NS_PER_US
EXCHANGE = "simulated"


class Network:
    """Carries frames, each after a delay of its own, in the order of sending within one channel."""

    def __init__(self, clock: VirtualClock, seed: int) -> None:
        self._clock = clock
        self._random = Random(seed)
        self._due: list[tuple[int, int, str, bytes, Callable[[bytes], None]]] = []
        self._number = 0
        self._last_due_ns: dict[str, int] = {}
        self._digest = hashlib.sha256()
        self.frames: dict[str, int] = {}

    def channel(self, name: str, *receivers: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """The sending end of a channel with these receivers."""

        def send(frame: bytes) -> None:
            self.frames[name] = self.frames.get(name, 0) + 1
            self._digest.update(f"{self._clock.now_ns()} {name} ".encode() + frame)
            for index, receiver in enumerate(receivers):
                self._send(f"{name} {index}", frame, receiver)

        return send

    def deliver_until(self, until_ns: int) -> None:
        """Let time pass and hand over what arrives."""
        while self._due and self._due[0][0] <= until_ns:
            due_ns, _, _, frame, receiver = heapq.heappop(self._due)
            self._clock.advance_to(due_ns)
            receiver(frame)
        self._clock.advance_to(until_ns)

    def fingerprint(self) -> str:
        """Digest of every frame that was sent, with its channel and time, in order."""
        return self._digest.hexdigest()

    def _send(self, way: str, frame: bytes, receiver: Callable[[bytes], None]) -> None:
        delay_ns = self._random.randint(DELAY_NS_MIN, DELAY_NS_MAX)
        due_ns = max(self._clock.now_ns() + delay_ns, self._last_due_ns.get(way, 0))
        self._last_due_ns[way] = due_ns
        self._number += 1
        heapq.heappush(self._due, (due_ns, self._number, way, frame, receiver))


class Pipeline:
    """Gateway, strategies, executor and exchange, wired by a virtual network."""

    def __init__(self, instruments: list[Instrument], strategies: dict[str, type[Strategy]], *, seed: int) -> None:
        self.clock = VirtualClock()
        self.network = Network(self.clock, seed)
        self.journal = MemoryJournal()
        self.ledger = MemoryLedger()
        self._table = InstrumentTable(instruments)
        self._quotes = Subscriber([QUOTE_PATTERN])
        self._references = References()
        self.stores = {name: MemoryOutboxStore() for name in strategies}
        self._strategy_market = {name: Subscriber(["*"]) for name in strategies}
        self.engines = {name: self._engine(name, strategy) for name, strategy in strategies.items()}
        self._strategy_events = {name: Subscriber(["*"]) for name in strategies}
        self._venue_market = Subscriber(["tick.*.*", "trade.*.*"])
        self._executions = Subscriber(["execution.*.*"])
        self._wire_gateway(seed)
        self._wire_exchange()
        self._wire_executor()
        self._wire_strategies()
        self.executor.recover(self.clock.now_ns())

    def run(self, duration_ns: int) -> None:
        """Trade for so long, then let everything begun find its end."""
        for engine in self.engines.values():
            self._push(engine.name, engine.request_state(self.clock.now_ns()))
        self.network.deliver_until(self.clock.now_ns() + 5 * TURN_NS)
        self._feed.start(self.clock.now_ns())
        end_ns = self.clock.now_ns() + duration_ns
        while self.clock.now_ns() < end_ns:
            self._turn(is_feeding=True)
        for engine in self.engines.values():
            engine.stop(self.clock.now_ns())
        for _ in range(100):
            self._turn(is_feeding=False)

    def _turn(self, *, is_feeding: bool) -> None:
        now_ns = self.clock.now_ns()
        if is_feeding and (updates := self._feed.read(now_ns, 1_000)):
            self._normaliser.publish(updates, now_ns)
            self._normaliser.sample(is_refresh=False)
        for engine in self.engines.values():
            engine.on_time(now_ns)
            self._flush(engine)
        self.executor.on_time(now_ns)
        self._report(self._desk.advance(now_ns))
        self.network.deliver_until(now_ns + TURN_NS)

    # Wiring, one process each

    def _wire_gateway(self, seed: int) -> None:
        receivers = [self._to_engine(engine) for engine in self.engines.values()]
        market = self.network.channel("market", self._on_venue_market, self._on_reference, *receivers)
        publisher = Publisher(role="gateway", source="gateway", epoch=1, channel="market", send=market)
        self._feed = SyntheticFeed(SyntheticConfig(exchange=EXCHANGE, rate=2_000, seed=seed), list(self._table))
        self._normaliser = Normaliser(EXCHANGE, list(self._table), publisher, batch_ticks_max=64)

    def _wire_exchange(self) -> None:
        self._desk = OrderDesk(SimulatedVenue(SimulatedVenueConfig(), self._table), self.ledger)
        send = self.network.channel("executions", self._on_execution)
        self._reports = Publisher(role="exchange", source="exchange", epoch=1, channel="executions", send=send)
        self._orders = self.network.channel("orders", self._on_request)
        self._answers = self.network.channel("answers", self._on_answer)

    def _wire_executor(self) -> None:
        receivers = [self._to_events(engine) for engine in self.engines.values()]
        send = self.network.channel("events", *receivers)
        events = Publisher(role="executor", source="executor", epoch=1, channel="events", send=send)
        self.executor = Executor(
            epoch=1,
            config=ExecutorConfig(),
            instruments=self._table,
            journal=self.journal,
            find_reference=self._references.find,
            send=self._send_request,
            publish=events.publish,
        )

    def _wire_strategies(self) -> None:
        pushed = self.network.channel("signals", self._on_pushed)
        self._pushers = {
            name: Publisher(role="strategy", source=name, epoch=1, channel="signals", send=pushed)
            for name in self.engines
        }

    def _engine(self, name: str, strategy: type[Strategy]) -> Engine:
        return Engine(
            name=name,
            epoch=1,
            config=StrategyConfig(),
            instruments=self._table,
            strategy_type=strategy,
            parameters=msgspec.convert({}, strategy.Parameters),
            store=self.stores[name],
            market_position=self._strategy_market[name].positions,
            on_failure=_raise,
        )

    # What arrives where

    def _to_engine(self, engine: Engine) -> Callable[[bytes], None]:
        market = self._strategy_market[engine.name]

        def receive(frame: bytes) -> None:
            message = market.accept(frame)
            if message is not None and engine.is_started:
                engine.on_market(message, self.clock.now_ns())
                self._flush(engine)

        return receive

    def _to_events(self, engine: Engine) -> Callable[[bytes], None]:
        events = self._strategy_events[engine.name]

        def receive(frame: bytes) -> None:
            message = events.accept(frame)
            if message is not None:
                engine.on_event(message, self.clock.now_ns())

        return receive

    def _on_reference(self, frame: bytes) -> None:
        quote = self._quotes.accept(frame)
        if isinstance(quote, Quote):
            self._references.on_quote(quote)

    def _on_venue_market(self, frame: bytes) -> None:
        message = self._venue_market.accept(frame)
        if isinstance(message, Tick | Ticks | Trade):
            self._report(self._desk.market(message))

    def _on_request(self, frame: bytes) -> None:
        request: Request = codec.decode(frame)  # type: ignore[assignment]
        self._answers(codec.encode(self._desk.handle(request, self.clock.now_ns())))

    def _on_answer(self, frame: bytes) -> None:
        self.executor.on_answer(codec.decode(frame), self.clock.now_ns())

    def _on_execution(self, frame: bytes) -> None:
        report = self._executions.accept(frame)
        if isinstance(report, ExecutionReported):
            self.executor.on_execution(report, self.clock.now_ns())

    def _on_pushed(self, frame: bytes) -> None:
        message = read_pushed(frame)
        if isinstance(message, Signal):
            self.executor.on_signal(message, self.clock.now_ns())
        elif isinstance(message, StateRequested):
            self.executor.on_state_request(message, self.clock.now_ns())

    # What is sent

    def _flush(self, engine: Engine) -> None:
        for message in engine.take_outgoing(self.clock.now_ns()):
            self._push(engine.name, message)

    def _push(self, name: str, message: Message) -> None:
        self._pushers[name].publish(message)

    def _send_request(self, request: Request) -> None:
        self._orders(codec.encode(request))

    def _report(self, executions: list[ExecutionReported]) -> None:
        for execution in executions:
            self._reports.publish(execution)


def _raise(_callback: str, error: Exception) -> None:
    raise error
