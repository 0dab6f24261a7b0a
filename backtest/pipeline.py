"""The event loop: the deciding code of all processes in one thread, on the virtual clock.

Ticks go straight to the strategies while nothing is due. The venue sees every tick while an order of ours is there,
and otherwise only the newest before the next order: the outcome is the same, as `is_exhaustive` shows. At one time the
market comes first, to the venue and then to the strategies, and then what is due, in the order in which it was sent.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable

from msgspec.structs import replace

from backtest.agenda import NEVER_NS, Agenda, Draws, Line
from backtest.keeping import ForgetfulJournal, ForgetfulOutboxStore, RollingLedger
from backtest.market import Market
from backtest.plan import Outcome, Plan, StrategyPlan
from backtest.recording import Recording
from backtest.source import Source
from backtest.tape import GroupedTape, SingleTape, Tape
from common.clock import NS_PER_MS, NS_PER_S, NS_PER_US
from common.events.base import Message
from common.events.risk import AlarmRaised
from common.events.trading import (
    FINAL_STATUSES,
    Acknowledgement,
    AmendRequested,
    CancelRequested,
    OrderEvent,
    Signal,
    SignalAcknowledged,
    StateRequested,
)
from common.events.venue import ExecutionReported, SubmitOrder
from common.ids import make_client_order_id
from common.wire.codec import encode_body
from common.wire.publisher import Publisher
from exchange.desk import OrderDesk
from exchange.simulated.venue import SimulatedVenue
from executor.core import Executor
from executor.limits import RiskLimits
from executor.requests import Request
from strategy.base import Strategy
from strategy.engine import Engine

TURN_NS = 250 * NS_PER_MS  # how often processes look at the time, while something waits or a limit is set
LEAD_NS = NS_PER_S  # before the first tick: everybody starts and agrees with everybody
DRAIN_NS_MAX = 60 * NS_PER_S
FAILURES_KEPT_MAX = 20
FOREVER_MS = 1_000_000_000_000
Progress = Callable[[int, int], None]


class Pipeline:
    """Strategies, executor and exchange, wired by lines that take their time."""

    def __init__(self, plan: Plan, source: Source, on_progress: Progress | None = None) -> None:
        """Build every process anew; `on_progress` hears ticks and the time, now and then."""
        self._plan = plan
        self._on_progress = on_progress
        self._digest = hashlib.sha256()
        self._agenda = Agenda()
        self._now_ns = 0
        spans = plan.backtest.latency_us.spans()
        draws = {
            name: Draws(spans["answer" if name == "execution" else name], plan.backtest.seed, number)
            for number, name in enumerate(("market", "signal", "order", "answer", "event", "execution"))
        }
        self.tape = self._make_tape(source, draws["market"])
        self._market = Market(self.tape, market_ns_max=spans["market"].max_ns)
        self.recording = Recording(plan)
        self._signals = Line(self._agenda, draws["signal"], self._on_instruction)
        self._orders = Line(self._agenda, draws["order"], self._on_request)
        self._answers = Line(self._agenda, draws["answer"], self._on_answer)
        self._executions = Line(self._agenda, draws["execution"], self._on_execution)
        self._events = Line(self._agenda, draws["event"], self._on_event)
        self._venue = SimulatedVenue(plan.venue, plan.instruments)
        ledger = RollingLedger(plan.backtest.ended_orders_max)
        self._desk = OrderDesk(self._venue, ledger, balances=plan.venue.balances)
        self._response_ns = plan.venue.response_latency_us * NS_PER_US
        self._reports = Publisher(
            role="exchange", source="exchange", epoch=1, channel="executions", send=self._digest.update
        )
        self._told = Publisher(role="executor", source="executor", epoch=1, channel="events", send=_ignore)
        self.executor = self._make_executor()
        self.failures: list[str] = []
        self.engines = {name: self._make_engine(name, each) for name, each in plan.strategies.items()}
        self._pushers = {
            name: Publisher(role="strategy", source=name, epoch=1, channel="signals", send=_ignore)
            for name in self.engines
        }
        self._engine_list = tuple(self.engines.values())
        self._row = self._delivery = 0  # what the venue and the strategies see next
        self._is_busy = plan.is_exhaustive
        self._venue_due_ns = NEVER_NS
        self._is_turn_entered = False
        self._is_watching = plan.executor.risk != RiskLimits() or any(
            type(engine.strategy).on_timer is not Strategy.on_timer for engine in self._engine_list
        )
        self._turn_ns = min([TURN_NS, *(each.config.timer_ms * NS_PER_MS for each in plan.strategies.values())])
        self._alarms: list[str] = []

    def run(self) -> Outcome:
        """From the first tick to the last, and to the end of what was begun."""
        self._load()
        while not len(self.tape.times) and not self.tape.is_finished:
            self._load()
        if len(self.tape.times):
            first_ns = int(self.tape.times[0])
            self._start(first_ns)
            self._trade()
            self._finish()
        return self._outcome()

    # The course of a run

    def _start(self, first_ns: int) -> None:
        self._now_ns = first_ns - LEAD_NS
        self.recording.begin(first_ns)
        self.recording.sample(self.tape)
        self.executor.recover(self._now_ns)
        for engine in self._engine_list:
            self._push(engine, engine.request_state(self._now_ns))
        while self._agenda.next_ns() < first_ns:
            self._take_due()
        if self._is_watching:
            self._enter_turn()

    def _trade(self) -> None:
        tape, agenda = self.tape, self._agenda
        while True:
            due_ns = agenda.next_ns()
            has_all = self._delivery < len(tape.deliveries) and (not self._is_busy or self._row < len(tape.times))
            if not tape.is_finished and (not has_all or min(due_ns, tape.arrivals[self._delivery]) >= tape.horizon_ns):
                self._load()
                continue
            if self._is_busy:
                if not self._step(due_ns):
                    return
                continue
            last = bisect_right(tape.arrivals, due_ns, self._delivery)
            if last > self._delivery:
                self._hand_over(last)
            elif self._delivery < len(tape.deliveries):
                self._take_due()
            else:
                return

    def _step(self, due_ns: int) -> bool:
        """The next thing of three, while the venue must see every tick; False when the market is over."""
        tape, row, delivery = self.tape, self._row, self._delivery
        row_ns = int(tape.times[row]) if row < len(tape.times) else NEVER_NS
        delivery_ns = tape.arrivals[delivery] if delivery < len(tape.arrivals) else NEVER_NS
        if row_ns == delivery_ns == NEVER_NS:
            return False
        if row_ns <= delivery_ns and row_ns <= due_ns:
            self._now_ns = row_ns
            self._row = row + 1
            reports = self._desk.market(tape.row(row))
            if reports:
                self._report(reports)
            self._is_busy = self._plan.is_exhaustive or not self._venue.is_idle
        elif delivery_ns <= due_ns:
            self._hand_over(delivery + 1)
        else:
            self._take_due()
        return True

    def _hand_over(self, last: int) -> None:
        """Hand strategies what they have by now, until one of them emits something."""
        tape, first = self.tape, self._delivery
        now_ns = self._now_ns
        if len(self._engine_list) == 1:
            engine = self._engine_list[0]
            on_market = engine.on_market
            deliveries, arrivals = tape.deliveries, tape.arrivals
            for index in range(first, last):
                now_ns = arrivals[index]
                on_market(deliveries[index], now_ns)
                if engine.has_new_outgoing:
                    last = index + 1
                    break
        else:
            for index in range(first, last):
                now_ns = tape.arrivals[index]
                for engine in self._engine_list:
                    engine.on_market(tape.deliveries[index], now_ns)
                if any(engine.has_new_outgoing for engine in self._engine_list):
                    last = index + 1
                    break
        self._delivery, self._now_ns = last, now_ns
        for engine in self._engine_list:
            if engine.has_new_outgoing:
                self._flush(engine)

    def _take_due(self) -> None:
        self._now_ns, action, argument = self._agenda.take()
        action(argument)

    def _load(self) -> None:
        tape = self.tape
        if not self._is_busy:
            # What is over is passed by now, so that the window stays small.
            self._catch_up()
        seen_ns = self._market.oldest_needed_ns(self._now_ns)
        done = min(self._row, bisect_left(tape.times, seen_ns))
        dropped = tape.load(done, self._delivery)
        self._row -= dropped
        self._delivery = 0
        if self.recording.is_begun:
            self.recording.sample(tape)
        if self._on_progress is not None:
            self._on_progress(tape.ticks_loaded, self._now_ns)

    def _finish(self) -> None:
        """Everything begun finds its end: orders are cancelled, and positions closed where the plan says so."""
        if len(self.tape.times):
            self._now_ns = max(self._now_ns, int(self.tape.times[-1]))
        self.recording.end(self.tape)
        self._drain()
        if self._plan.is_flattened:
            self._flatten()
        for engine in self._engine_list:
            engine.stop(self._now_ns)
            self._flush(engine)
        self._drain()

    def _flatten(self) -> None:
        for engine in self._engine_list:
            for order in engine.portfolio.open_orders(None):
                engine.cancel(order.signal_id)
            self._flush(engine)
        self._drain()
        for engine in self._engine_list:
            engine.now_ns = self._now_ns
            engine.trigger_timestamp_ns = None
            for instrument in self._plan.instruments:
                held = engine.portfolio.position(instrument).quantity
                if held:
                    close = engine.strategy.sell if held > 0 else engine.strategy.buy
                    close(instrument, held.copy_abs(), reduce_only=True)
            self._flush(engine)
        self._drain()

    def _drain(self) -> None:
        end_ns = self._now_ns + DRAIN_NS_MAX
        self._is_watching = False
        while self._agenda.next_ns() < end_ns:
            self._take_due()

    # What arrives where

    def _on_instruction(self, message: Message) -> None:
        now_ns = self._now_ns
        if type(message) is Signal:
            self.executor.on_signal(message, now_ns)
        elif type(message) is CancelRequested:
            self.executor.on_cancel(message, now_ns)
        elif type(message) is AmendRequested:
            self.executor.on_amend(message, now_ns)
        elif type(message) is StateRequested:
            self.executor.on_state_request(message, now_ns)

    def _on_request(self, request: Request) -> None:
        now_ns = self._now_ns
        self._catch_up()
        if type(request) is SubmitOrder:
            self.recording.on_arrival(request, self._market.mid(request, now_ns))
        answer = self._desk.handle(request, now_ns)
        self._digest.update(encode_body(answer))
        self._answers.send(answer, now_ns + self._response_ns)
        self._after_venue(self._desk.advance(now_ns))

    def _on_venue_due(self, _: object) -> None:
        self._venue_due_ns = NEVER_NS
        self._catch_up()
        self._after_venue(self._desk.advance(self._now_ns))

    def _after_venue(self, reports: list[ExecutionReported]) -> None:
        if reports:
            self._report(reports)
        due_ns = self._desk.next_due_ns()
        if due_ns is not None and due_ns < self._venue_due_ns:
            self._venue_due_ns = max(due_ns, self._now_ns)
            self._agenda.enter(self._venue_due_ns, self._on_venue_due, None)
        self._is_busy = self._plan.is_exhaustive or not self._venue.is_idle

    def _catch_up(self) -> None:
        """Show the venue the newest of what it has not seen; no order of ours was there meanwhile."""
        tape = self.tape
        last = bisect_right(tape.times, self._now_ns, self._row)
        if last > self._row:
            rows = range(self._row, last) if self._is_busy else tape.newest_rows(self._row, last)
            self._row = last
            for index in rows:
                self._report(self._desk.market(tape.row(index)))

    def _on_answer(self, answer: Message) -> None:
        self.executor.on_answer(answer, self._now_ns)

    def _on_execution(self, report: ExecutionReported) -> None:
        self.executor.on_execution(report, self._now_ns)

    def _on_event(self, event: Message) -> None:
        for engine in self._engine_list:
            engine.on_event(event, self._now_ns)
            if engine.has_new_outgoing:
                self._flush(engine)

    def _on_turn(self, _: object) -> None:
        """Processes look at the time; again, while there is something to wait for."""
        self._is_turn_entered = False
        self.executor.on_time(self._now_ns)
        for engine in self._engine_list:
            engine.on_time(self._now_ns)
            self._flush(engine)
        if self._is_watching or any(len(engine.outbox) for engine in self._engine_list) or len(self.executor.line):
            self._enter_turn()

    # What is sent

    def _flush(self, engine: Engine) -> None:
        for message in engine.take_outgoing(self._now_ns):
            if type(message) is Signal:
                self.recording.on_signal(message, self._market.mid(message, self._seen_ns()))
            self._push(engine, message)
            self._enter_turn()

    def _push(self, engine: Engine, message: Message) -> None:
        self._pushers[engine.name].publish(message)
        self._digest.update(self._now_ns.to_bytes(8, "little") + _content_of(message))
        self._signals.send(message, self._now_ns)

    def _send_request(self, request: Request) -> None:
        self._digest.update(_content_of(request))
        self._orders.send(request, self._now_ns)

    def _publish_event(self, event: Message) -> None:
        self._told.publish(event)
        if isinstance(event, AlarmRaised):
            if len(self._alarms) < FAILURES_KEPT_MAX:
                self._alarms.append(f"{event.code} {event.subject}: {event.detail}")
        elif getattr(event, "strategy", None) in self.engines:
            self._events.send(event, self._now_ns)
            if isinstance(event, OrderEvent) and event.status in FINAL_STATUSES:
                self.recording.on_end(event.client_order_id)
            elif isinstance(event, SignalAcknowledged) and event.outcome is not Acknowledgement.ACCEPTED:
                self.recording.on_end(make_client_order_id(event.signal_id))

    def _report(self, reports: list[ExecutionReported]) -> None:
        for report in reports:
            self._digest.update(self._now_ns.to_bytes(8, "little"))
            self._reports.publish(report)
            self.recording.on_execution(report)
            self._executions.send(report, self._now_ns)

    def _enter_turn(self) -> None:
        if not self._is_turn_entered:
            self._is_turn_entered = True
            due_ns = (self._now_ns // self._turn_ns + 1) * self._turn_ns
            self._agenda.enter(due_ns, self._on_turn, None)

    def _seen_ns(self) -> int:
        """Of when the newest tick is that the strategies have."""
        tape = self.tape
        return tape.stamps[self._delivery - 1] if self._delivery else self._now_ns - self._market.market_ns_max

    # Building

    def _make_tape(self, source: Source, market: Draws) -> Tape:
        plan = self._plan
        if plan.backtest.group_ms and plan.takes_groups:
            return GroupedTape(source, market, plan.instruments, group_ms=plan.backtest.group_ms)
        return SingleTape(source, market, keeps_groups=plan.takes_groups)

    def _make_executor(self) -> Executor:
        # Executor and exchange share every message here, so comparing accounts would compare a thing with itself.
        config = replace(
            self._plan.executor,
            ended_instructions_max=self._plan.backtest.ended_orders_max,
            reconcile_interval_ms=FOREVER_MS,
        )
        return Executor(
            epoch=1,
            config=config,
            instruments=self._plan.instruments,
            journal=ForgetfulJournal(),
            find_reference=lambda listed: self._market.reference(listed, self._now_ns),
            send=self._send_request,
            publish=self._publish_event,
        )

    def _make_engine(self, name: str, plan: StrategyPlan) -> Engine:
        # Nobody restarts a backtest in its middle.
        config = replace(plan.config, checkpoint_ms=FOREVER_MS, on_stop_orders="cancel")
        return Engine(
            name=name,
            epoch=1,
            config=config,
            instruments=self._plan.instruments,
            strategy_type=plan.strategy_type,
            parameters=plan.parameters,
            store=ForgetfulOutboxStore(),
            on_failure=self._on_failure,
        )

    def _on_failure(self, callback_name: str, error: Exception) -> None:
        if len(self.failures) < FAILURES_KEPT_MAX:
            self.failures.append(f"{callback_name}: {type(error).__name__}: {error}")

    def _outcome(self) -> Outcome:
        return Outcome(
            result_hash=self._digest.hexdigest(),
            ticks=self.tape.ticks_loaded,
            counters={
                "executor": self.executor.counters(),
                **{f"strategy.{name}": engine.counters() for name, engine in self.engines.items()},
            },
            failures=self.failures,
            halts={name: engine.halt_reason for name, engine in self.engines.items() if engine.halt_reason},
            alarms=self._alarms,
        )


def _content_of(message: Message) -> bytes:
    """A message but for the number of the tick behind it, which arrays do not have: every format has one hash."""
    if isinstance(message, Signal | SubmitOrder):
        message = replace(message, cause_id=None, correlation_id=None)
    return encode_body(message)


def _ignore(_frame: bytes) -> None:
    """What others are told follows from what is in the hash already."""
