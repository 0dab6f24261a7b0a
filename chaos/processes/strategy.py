"""A strategy process in virtual time: engine, outbox and portfolio are the real ones."""

from collections.abc import Sequence

import msgspec

from chaos.disk import OutboxWrite, VirtualFile, VirtualOutbox
from chaos.facts import Size
from chaos.machine import Machine
from chaos.traders import Churner
from common.clock import NS_PER_MS
from common.events.trading import SignalAcknowledged
from common.instruments import Instrument
from common.wire.publisher import Publisher
from common.wire.subscriber import Subscriber
from executor.book import Book
from executor.positions import Position
from strategy.config import StrategyConfig
from strategy.engine import Engine
from strategy.outbox import Instruction, OutboxFullError
from strategy.service import EVENT_KINDS

# Signals that live for less than most partitions last, and an outbox that a partition fills.
CONFIG = StrategyConfig(
    signal_lifetime_ms=400, resend_ms=50, resend_ms_max=200, outbox_signals_max=20, timer_ms=100, tick_age_ms_max=500
)
ASK_AGAIN_NS = 100 * NS_PER_MS
PROBE_LIFETIME_MS = 5_000


class StrategyNode:
    """Moves frames between the network and the engine."""

    def __init__(self, machine: Machine, tick_count: int, file: VirtualFile[OutboxWrite], *, is_resting: bool) -> None:
        self._machine = machine
        self._market = Subscriber(["tick.*.*", "trade.*.*"])
        self._events = Subscriber([*EVENT_KINDS, f"state_reported.executor.{machine.name}"])
        self._signals = Publisher(
            role="strategy", source=machine.name, epoch=machine.epoch, channel="signals", send=self._send
        )
        self.engine = Engine(
            name=machine.name,
            epoch=machine.epoch,
            config=CONFIG,
            instruments=machine.instruments,
            strategy_type=Churner,
            parameters=msgspec.convert({"tick_count": tick_count}, Churner.Parameters),
            store=VirtualOutbox(file, machine.pass_point),
            market_position=self._market.positions,
        )
        self._state_asked_ns = 0
        self._breaks_seen = 0
        self._is_probing = False
        self._probe_id: str | None = None
        self.probe_ended_ns: int | None = None
        if is_resting:
            self.rest()

    def receive(self, channel: str, frame: bytes) -> None:
        now_ns = self._machine.now_ns
        if channel == "market":
            message = self._market.accept(frame)
            if message is not None and self.engine.is_started:
                self.engine.on_market(message, now_ns)
        else:
            event = self._events.accept(frame)
            if event is not None:
                self.engine.on_event(event, now_ns)
            is_acknowledged = isinstance(event, SignalAcknowledged) and event.signal_id == self._probe_id
            if is_acknowledged and self.probe_ended_ns is None:
                self.probe_ended_ns = now_ns
        if self.engine.has_new_outgoing:
            self._flush(now_ns)

    def turn(self) -> None:
        now_ns = self._machine.now_ns
        self.engine.on_time(now_ns)
        if self._is_probing and self._probe_id is None and self.engine.is_started:
            self._probe()
        self._flush(now_ns)
        self._ask_for_state(now_ns)

    def rest(self) -> None:
        """Trade no more; send one probe as soon as that can be."""
        trader = self.engine.strategy
        if isinstance(trader, Churner):
            trader.is_resting = True
        self._is_probing = True

    def sizes(self) -> Sequence[Size]:
        return (Size(f"{self._machine.name} outbox", len(self.engine.outbox), CONFIG.outbox_signals_max),)

    def die(self) -> None:
        """What was emitted is in the outbox; what was not did not happen."""

    @property
    def is_quiet(self) -> bool:
        """Every instruction has its end, and where it stands is known."""
        return self.engine.is_state_known and not self.engine.outbox and self.probe_ended_ns is not None

    def sees(self, book: Book) -> bool:
        """The strategy sees what the executor has booked, to the last digit."""
        return all(self._sees(instrument, book) for instrument in self._machine.instruments)

    def _sees(self, instrument: Instrument, book: Book) -> bool:
        name, portfolio = self._machine.name, self.engine.portfolio
        held = book.positions.get((name, instrument.exchange, instrument.symbol), Position())
        seen = portfolio.position(instrument)
        working = {order.signal_id: order for order in book.open_orders_of(name) if order.symbol == instrument.symbol}
        return (seen.quantity, seen.realised_pnl, seen.fees) == (held.quantity, held.realised_pnl, held.fees) and {
            order.signal_id: order for order in portfolio.open_orders(instrument)
        } == working

    def _probe(self) -> None:
        instrument = next(iter(self._machine.instruments))
        try:
            self._probe_id = self.engine.strategy.buy(
                instrument, instrument.lot_size * 10_000, lifetime_ms=PROBE_LIFETIME_MS
            )
        except OutboxFullError:
            return  # tried again at the next turn; the time that it takes counts

    def _flush(self, now_ns: int) -> None:
        outgoing = self.engine.take_outgoing(now_ns)
        for message in outgoing:
            if isinstance(message, Instruction):
                self._machine.facts.note_emitted(message)
        for message in outgoing:
            self._signals.publish(message)

    def _send(self, frame: bytes) -> None:
        self._machine.pass_point("strategy.signal.sending")
        self._machine.send("signals", frame)
        self._machine.pass_point("strategy.signal.sent")

    def _ask_for_state(self, now_ns: int) -> None:
        stream = self._events
        breaks = stream.lost + stream.counts["epoch_changes"]
        if self.engine.is_state_known and breaks == self._breaks_seen:
            return
        if now_ns - self._state_asked_ns >= ASK_AGAIN_NS:
            self._state_asked_ns = now_ns
            self._breaks_seen = breaks
            stream.forget_lost_tails()
            self._signals.publish(self.engine.request_state(now_ns))
