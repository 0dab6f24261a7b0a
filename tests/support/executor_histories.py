"""Histories of an executor between two strategies and an honest exchange, made from a seed.

Their network loses, repeats and reorders; their process is killed anywhere.
"""

import random
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

import msgspec
from support.executor_builders import (
    EXCHANGE,
    SYMBOL,
    ExecutorHarness,
    Killed,
    contents,
    make_amend_request,
    make_answer,
    make_cancel_request,
    make_ending,
    make_report,
    make_resent,
    make_signal,
    make_venue_order,
    recall_all,
    refold,
)

from common.clock import NS_PER_MS
from common.events.base import DRAFT, Message
from common.events.risk import ControlAction, ControlRequested
from common.events.trading import Acknowledgement, AmendRequested, Signal, SignalAcknowledged
from common.events.trading import OrderStatus as Status
from common.events.venue import (
    AccountReported,
    AnswerOutcome,
    CancelAllOrders,
    CancelOrder,
    ExecutionReported,
    ExecutionType,
    OrdersCancelled,
    QueryAccount,
    QueryOrder,
    ReplaceOrder,
    ResendExecutions,
    SubmitOrder,
    VenuePosition,
    terms_of,
)
from common.ids import make_client_order_id
from common.money import EXACT, ZERO
from executor.requests import Request, RequestWriter

_MessageT = TypeVar("_MessageT", bound=Message)
PAGE_EXECUTIONS_MAX = 2
REFUSED_QUANTITY = Decimal("0.13")
OPEN_STATUSES = {Status.ACCEPTED, Status.PARTIALLY_FILLED}
REPAIR_TURNS_MAX = 300
STEP_COUNT = 500


class VenueOrder(msgspec.Struct):
    """An order as the exchange has it."""

    request: SubmitOrder
    status: Status
    quantity: Decimal
    filled: Decimal = ZERO


class HonestExchange:
    """Keeps its promises: one order for one id, nothing after its expiry, executions numbered without a hole."""

    def __init__(self) -> None:
        self.orders: dict[str, VenueOrder] = {}
        self.executions: list[ExecutionReported] = []
        self.replacements: dict[str, AnswerOutcome] = {}

    def handle(self, request: Request, now_ns: int) -> Message:
        """Answer a request."""
        match request:
            case SubmitOrder():
                return self._submit(request, now_ns)
            case ResendExecutions(from_number=first):
                page = self.executions[first - 1 : first - 1 + PAGE_EXECUTIONS_MAX]
                return make_resent(request, *page, last_number=len(self.executions))
            case QueryAccount():
                return self._account(request)
            case CancelAllOrders():
                working = [order for order in self.orders.values() if order.status in OPEN_STATUSES]
                for order in working:
                    self.end(order, ExecutionType.CANCELLED)
                return OrdersCancelled(**DRAFT, timestamp_ns=now_ns, request_id=request.request_id, count=len(working))
            case QueryOrder() | CancelOrder() | ReplaceOrder():
                return self._handle_order(request, now_ns)
        raise AssertionError(f"not asked for here: {request}")

    def trade(self, order: VenueOrder, quantity: Decimal, price: Decimal) -> ExecutionReported:
        """Fill a part of a working order."""
        quantity = min(quantity, order.quantity - order.filled)
        order.filled += quantity
        order.status = Status.FILLED if order.filled == order.quantity else Status.PARTIALLY_FILLED
        side = order.request.side
        return self._report(make_report(side=side, quantity=str(quantity), price=str(price), fee="0.01"), order)

    def end(self, order: VenueOrder, how: ExecutionType) -> ExecutionReported:
        """End a working order."""
        order.status = Status(how.value)
        return self._report(make_ending(execution_type=how), order)

    def _handle_order(self, request: QueryOrder | CancelOrder | ReplaceOrder, now_ns: int) -> Message:
        order = self.orders.get(request.client_order_id)
        if order is None:
            return make_answer(request, AnswerOutcome.NOT_FOUND, None)
        match request:
            case CancelOrder():
                return self._cancel(request, order)
            case ReplaceOrder():
                return self._replace(request, order, now_ns)
        return make_answer(request, AnswerOutcome.ACCEPTED, order.status)

    def _submit(self, request: SubmitOrder, now_ns: int) -> Message:
        known = self.orders.get(request.client_order_id)
        if known is not None:
            assert terms_of(known.request) == terms_of(request), "an id was used for another order"
            return make_answer(request, AnswerOutcome.EXISTS, known.status)
        is_refused = now_ns >= request.expires_ns or request.quantity == REFUSED_QUANTITY
        status = Status.REJECTED if is_refused else Status.ACCEPTED
        self.orders[request.client_order_id] = VenueOrder(request, status, request.quantity)
        return make_answer(request, AnswerOutcome.REJECTED if is_refused else AnswerOutcome.ACCEPTED, status)

    def _cancel(self, request: CancelOrder, order: VenueOrder) -> Message:
        if order.status in OPEN_STATUSES:
            self.end(order, ExecutionType.CANCELLED)
        is_done = order.status is Status.CANCELLED
        return make_answer(request, AnswerOutcome.ACCEPTED if is_done else AnswerOutcome.REJECTED, order.status)

    def _replace(self, request: ReplaceOrder, order: VenueOrder, now_ns: int) -> Message:
        outcome = self.replacements.get(request.replace_id)
        if outcome is None:
            is_fit = order.status in OPEN_STATUSES and request.quantity > order.filled and now_ns < request.expires_ns
            outcome = AnswerOutcome.ACCEPTED if is_fit else AnswerOutcome.REJECTED
            self.replacements[request.replace_id] = outcome
            if is_fit:
                order.quantity = request.quantity
                terms = {"order_quantity": request.quantity, "limit_price": request.limit_price}
                self._report(
                    make_ending(execution_type=ExecutionType.REPLACED, replace_id=request.replace_id, **terms), order
                )
        return make_answer(request, outcome, order.status)

    def _account(self, request: QueryAccount) -> Message:
        """The witness's own sums, made from its executions."""
        quantity = cash = ZERO
        for report in self.executions:
            if report.price is not None and report.fee is not None:
                signed = report.quantity if report.side == "buy" else -report.quantity
                quantity += signed
                cash -= signed * report.price + report.fee
        return AccountReported(
            **DRAFT,
            timestamp_ns=request.timestamp_ns,
            request_id=request.request_id,
            last_number=len(self.executions),
            order_count=len(self.orders),
            open_orders=[
                make_venue_order(name, symbol=order.request.symbol, filled_quantity=order.filled)
                for name, order in self.orders.items()
                if order.status in OPEN_STATUSES
            ],
            positions=[VenuePosition(exchange=EXCHANGE, symbol=SYMBOL, quantity=quantity)],
            cash={"USDT": cash},
        )

    def _report(self, report: ExecutionReported, order: VenueOrder) -> ExecutionReported:
        number, name = len(self.executions) + 1, order.request.client_order_id
        report = msgspec.structs.replace(report, execution_number=number, client_order_id=name)
        self.executions.append(report)
        return report


class World:
    """Two strategies, an executor, an honest exchange and everything bad in between."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.life = ExecutorHarness(
            request_timeout_ms=100,
            retry_pause_ms=10,
            retry_pause_ms_max=40,
            reconcile_interval_ms=50,
            snapshot_interval_entries=15,
            # Some forget at once, some a little later, some never.
            ended_instructions_max=(1, 5, 10_000)[seed % 3],
        )
        self.exchange = HonestExchange()
        self.requests: list[Request] = []
        self.answers: list[Message] = []
        self.published = 0
        self.reports: list[ExecutionReported] = []
        self.taken_steps = 0
        self.emitted = 0
        self.pushed: list[Callable[[], None]] = []
        self.signals: list[Signal] = []  # every body that was read, also several under one id
        self.amends: list[AmendRequested] = []
        self.acknowledgements: list[SignalAcknowledged] = []
        self.life.executor.recover(self.life.now_ns)
        self.collect()

    def play(self) -> None:
        """Let one bad thing after the other happen."""
        for _ in range(STEP_COUNT):
            [action] = self.random.choices(list(ACTIONS), list(ACTIONS.values()))
            action(self)

    def act(self, action: Callable[[], None]) -> None:
        """Let the executor do something; a kill ends it anywhere, and the next life begins."""
        try:
            action()
            while self.life.executor.is_recovered and self.pushed:
                self.pushed.pop(0)()
            self.life.executor.rest(is_idle=True)
        except Killed:
            self.begin_life()
        self.collect()

    def begin_life(self) -> None:
        """Nothing but the journal is left of the last one."""
        self.collect()
        self.life = self.life.restarted()
        self.taken_steps = 0
        self.life.executor.recover(self.life.now_ns)
        self.collect()

    def collect(self) -> None:
        """What the executor did goes out; what the exchange did is published."""
        for step in self.life.trace[self.taken_steps :]:
            if isinstance(step, Request):
                self.requests.append(step)
            elif isinstance(step, SignalAcknowledged):
                self.acknowledgements.append(step)
        self.taken_steps = len(self.life.trace)
        self.reports += self.exchange.executions[self.published :]
        self.published = len(self.exchange.executions)

    # Strategies

    def emit_signal(self) -> None:
        """A new signal; now and then under an id that was used before."""
        number = self.random.randint(1, self.emitted + 1) if self.random.random() < 0.2 else self.emitted + 1
        self.emitted = max(self.emitted, number)
        lifetime_ms = self.random.choice([50, 200, 60_000])
        signal = make_signal(
            f"s-{number}",
            strategy=strategy_of(number),
            quantity=self.random.choice(["1", "0.3", "2", str(REFUSED_QUANTITY), "0.001"]),
            action=self.random.choice(["buy", "sell"]),
            expires_ns=self.life.now_ns + lifetime_ms * NS_PER_MS,
        )
        self.push(lambda: self.take_signal(signal))

    def repeat_signal(self) -> None:
        """The strategy has not heard the answer."""
        if self.signals:
            signal = self.random.choice(self.signals)
            self.push(lambda: self.take_signal(signal))

    def cancel(self) -> None:
        """A strategy changes its mind."""
        if self.signals:
            number = max(1, self.emitted - self.random.randint(0, 8))
            request = make_cancel_request(f"s-{number}", strategy=strategy_of(number))
            self.push(lambda: self.life.executor.on_cancel(request, self.life.now_ns))

    def amend(self) -> None:
        """A strategy wants another quantity; now and then it says so twice, or changes its mind under the same id."""
        working = [order.signal for order in self.life.book.working_orders() if not order.is_unanswered]
        if working:
            signal = self.random.choice(working)
            request = make_amend_request(
                f"a-{self.random.randint(1, STEP_COUNT)}",
                signal.signal_id,
                strategy=signal.strategy,
                quantity=self.random.choice(["0.2", "1.5", "3"]),
                expires_ns=self.life.now_ns + self.random.choice([50, 60_000]) * NS_PER_MS,
            )
            self.amends.append(request)
            for _ in range(self.random.randint(1, 2)):
                self.push(lambda: self.life.executor.on_amend(request, self.life.now_ns))

    def halt_or_resume(self) -> None:
        """A person stops one strategy or all, or lets them go on."""
        command = ControlRequested(
            **DRAFT,
            timestamp_ns=self.life.now_ns,
            request_id="control-1",
            action=self.random.choice([ControlAction.HALT, ControlAction.RESUME, ControlAction.RESUME]),
            scope=self.random.choice(["all", "strategy:odd"]),
            by="jane",
        )
        self.act(lambda: self.life.executor.on_control(command, self.life.now_ns))

    def push(self, action: Callable[[], None]) -> None:
        """What strategies push is read once the executor has recovered."""
        self.pushed.append(action)
        self.act(lambda: None)

    def take_signal(self, signal: Signal) -> None:
        """The executor reads it, and may be killed before it knows what to make of it."""
        self.signals.append(signal)
        self.life.executor.on_signal(signal, self.life.now_ns)

    # Network: whatever is on its way arrives in any order; once, twice, late, or never

    def deliver_request(self) -> None:
        """Something is asked."""
        for request in self.take_from(self.requests):
            self.answers.append(self.exchange.handle(request, self.life.now_ns))
            self.collect()

    def deliver_answer(self) -> None:
        """Something is answered."""
        for answer in self.take_from(self.answers):
            self.act(lambda answer=answer: self.life.executor.on_answer(answer, self.life.now_ns))

    def deliver_report(self) -> None:
        """Something was executed."""
        for report in self.take_from(self.reports):
            self.act(lambda report=report: self.life.executor.on_execution(report, self.life.now_ns))

    def take_from(self, messages: list[_MessageT]) -> list[_MessageT]:
        """What arrives now; mostly the oldest message, mostly once."""
        if not messages:
            return []
        place = 0 if self.random.random() < 0.7 else self.random.randrange(len(messages))
        chance = self.random.random()
        if chance < 0.1:
            return [messages[place]]
        message = messages.pop(place)
        return [] if chance < 0.2 else [message]

    def pass_time(self) -> None:
        """Requests time out, signals expire."""
        self.act(lambda: self.life.advance(ms=self.random.choice([1, 10, 100])))

    def miss_the_newest_reports(self) -> None:
        """A heartbeat of the exchange shows that some were lost."""
        self.act(lambda: self.life.executor.ask_for_executions(self.life.now_ns))

    # Exchange

    def meet_the_market(self) -> None:
        """A working order is filled, in part or in full; or the venue ends it."""
        working = [order for order in self.exchange.orders.values() if order.status in OPEN_STATUSES]
        if not working:
            return
        order, quantity = self.random.choice(working), self.random.choice(["0.1", "0.17", "1", "5", "0"])
        if quantity == "0":
            self.exchange.end(order, ExecutionType.EXPIRED)
        else:
            self.exchange.trade(order, Decimal(quantity), Decimal(self.random.choice(["99.9", "100", "100.1"])))
        self.collect()

    # Death

    def kill_soon(self) -> None:
        """The process will die before it writes, sends or tells what comes after a few more steps."""
        self.life.steps_left = self.random.randint(0, 8)

    def restart(self) -> None:
        """The process dies between two things; what it knew is what the next life knows."""
        known = contents(recall_all(self.life.book, self.life.journal.entries))
        self.begin_life()
        assert contents(refold(self.life.journal.entries)) == known

    # The end: the network heals, strategies repeat what they never heard of

    def end(self) -> None:
        """Bring everything to rest."""
        self.life.steps_left = None
        self.heal()
        for signal in list(self.signals):
            self.push(lambda signal=signal: self.take_signal(signal))
        for request in list(self.amends):
            self.push(lambda request=request: self.life.executor.on_amend(request, self.life.now_ns))
        self.heal()
        recall_all(self.life.book, self.life.journal.entries)

    def heal(self) -> None:
        """Everything that is on its way arrives in order, and nothing is lost any more."""
        for _ in range(REPAIR_TURNS_MAX):
            asked, self.requests = self.requests, []
            self.answers += [self.exchange.handle(request, self.life.now_ns) for request in asked]
            answers, self.answers = self.answers, []
            for answer in answers:
                self.act(lambda answer=answer: self.life.executor.on_answer(answer, self.life.now_ns))
            reports, self.reports = self.reports, []
            for report in reports:
                self.act(lambda report=report: self.life.executor.on_execution(report, self.life.now_ns))
            if self.is_settled():
                return
            self.act(lambda: self.life.advance(ms=10))
            if self.is_idle() and self.life.book.last_execution_number < len(self.exchange.executions):
                self.miss_the_newest_reports()
        raise AssertionError(f"not settled after {REPAIR_TURNS_MAX} turns: {self.life.executor.counters()}")

    def is_idle(self) -> bool:
        """Nothing is on its way."""
        waiting = (self.requests, self.answers, self.reports, self.pushed, self.life.executor.line)
        return not any(len(part) for part in waiting)

    def is_settled(self) -> bool:
        """Nothing is on its way, nothing is missing."""
        is_complete = self.life.book.last_execution_number == len(self.exchange.executions)
        return self.life.executor.is_recovered and is_complete and self.is_idle()

    # What must hold then

    def check_ends(self) -> None:
        """No loss: each signal has exactly one end, over all lives, and who is told of it hears the same each time."""
        ends = defaultdict(set)
        for told in self.acknowledgements:
            if told.outcome is not Acknowledgement.CONFLICT:
                ends[told.signal_id].add((told.strategy, told.outcome, told.reason, told.client_order_id))
        names = {signal.signal_id for signal in self.signals} | {request.request_id for request in self.amends}
        assert {name: len(found) for name, found in ends.items()} == dict.fromkeys(names, 1)

    def check_orders(self) -> None:
        """No duplicate, and agreement: both sides know the same orders in the same state."""
        known = self.life.book.orders
        assert {order.signal.signal_id: name for name, order in known.items()} == {
            order.signal.signal_id: make_client_order_id(order.signal.signal_id) for order in known.values()
        }
        assert set(self.exchange.orders) <= set(known)
        for name, order in known.items():
            venue_order = self.exchange.orders.get(name)
            if order.status is Status.DENIED:
                # A submission that was on its way for too long may have come after all, to be refused as expired.
                assert venue_order is None or venue_order.status is Status.REJECTED
                continue
            assert venue_order is not None
            assert terms_of(venue_order.request) == terms_of(RequestWriter("executor", 1).submit(order, 1, 0))
            assert (order.status, order.filled_quantity) == (venue_order.status, venue_order.filled)
            assert order.quantity == venue_order.quantity

    def check_positions(self) -> None:
        """Quantity, cash and fees are the sums of what the exchange has executed, to the last digit."""
        sums = defaultdict(lambda: (ZERO, ZERO, ZERO))
        for report in self.exchange.executions:
            if report.price is None or report.fee is None:
                continue
            signal = self.life.book.orders[report.client_order_id].signal
            signed = report.quantity if signal.action == "buy" else -report.quantity
            quantity, paid, fees = sums[signal.strategy, EXCHANGE, SYMBOL]
            sums[signal.strategy, EXCHANGE, SYMBOL] = (
                quantity + signed,
                paid + signed * report.price,
                fees + report.fee,
            )
        assert {
            key: (held.quantity, EXACT.subtract(held.cost, held.realised_pnl), held.fees)
            for key, held in self.life.book.positions.items()
        } == sums

    def check_cancels(self) -> None:
        """A wish to cancel ends: no order goes on working whose cancel was neither done nor refused."""
        assert not [order for order in self.life.book.working_orders() if order.is_cancel_wanted]


ACTIONS: dict[Callable[[World], None], int] = {
    World.emit_signal: 10,
    World.repeat_signal: 4,
    World.cancel: 4,
    World.amend: 4,
    World.deliver_request: 24,
    World.deliver_answer: 24,
    World.deliver_report: 16,
    World.meet_the_market: 10,
    World.pass_time: 6,
    World.miss_the_newest_reports: 1,
    World.kill_soon: 1,
    World.halt_or_resume: 1,
    World.restart: 1,
}


def strategy_of(number: int) -> str:
    """Whose signal it is."""
    return "odd" if number % 2 else "even"
