"""What a witness outside of all processes saw: the ground on which the invariants judge."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import msgspec

from common.events.risk import AlarmRaised, TradingState
from common.events.trading import Signal
from common.events.venue import ExecutionReported
from common.instruments import Listed
from exchange.records import RecordedOrder
from executor.book import Book
from executor.entries import Entry, TradingStateMoved
from executor.limits import RiskLimits
from executor.requests import Request
from executor.trading_state import ALL, STRICTNESS
from strategy.outbox import Instruction, id_of

NO_LIMITS = RiskLimits()
VIOLATIONS_MAX = 20  # of one history; more of the same say nothing new


class Intent(msgspec.Struct, frozen=True):
    """The executor's journal holds that this order may be sent."""

    signal: Signal
    client_order_id: str
    timestamp_ns: int


class Submission(msgspec.Struct, frozen=True):
    """The exchange's ledger holds this order: new, and accepted or refused."""

    order: RecordedOrder
    request_id: str


class Size(msgspec.Struct, frozen=True):
    """How full a bounded thing is."""

    name: str
    count: int
    count_max: int


class Violation(msgspec.Struct, frozen=True):
    """A promise that did not hold: its name, what was expected and what was there."""

    invariant: str
    message: str


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything stands after the faults have healed. `book` is None when no executor could live."""

    entries: Sequence[Entry]
    book: Book | None
    orders: Mapping[str, RecordedOrder]
    executions: Sequence[ExecutionReported]
    unacknowledged: Mapping[str, int]  # signals in the outbox of each strategy
    is_at_rest: bool  # nothing is open any more
    probes_ms: Mapping[str, float | None]  # from healing to the end of each strategy's probe


class Invariant:
    """One promise. Each method gives a message for whatever breaks it, and none where the promise does not look."""

    name: str

    def on_intent(self, intent: Intent, facts: "Facts") -> Sequence[str]:
        """An intent has become durable."""
        return ()

    def on_submission(self, submission: Submission, facts: "Facts") -> Sequence[str]:
        """An order has reached the exchange."""
        return ()

    def on_request(self, request: Request, facts: "Facts") -> Sequence[str]:
        """The executor sends something to the exchange."""
        return ()

    def on_ledger(
        self, orders: Collection[RecordedOrder], executions: Sequence[ExecutionReported], facts: "Facts"
    ) -> Sequence[str]:
        """The exchange's ledger holds more than before."""
        return ()

    def after_step(self, sizes: Sequence[Size]) -> Sequence[str]:
        """A process has handled one message or let time pass."""
        return ()

    def at_end(self, ending: Ending, facts: "Facts") -> Sequence[str]:
        """All faults are healed and everything has come to rest."""
        return ()


class Facts:
    """Everything the witness noted, and the promises that did not hold."""

    def __init__(
        self,
        invariants: Sequence[Invariant],
        *,
        reference_age_ns_max: int,
        limits: RiskLimits = NO_LIMITS,
        is_venue_certain: bool = True,
    ) -> None:
        self.instructions: dict[str, Instruction] = {}
        self.emitted: dict[str, Signal] = {}
        self.intents: dict[str, Intent] = {}
        self.prices_ns: dict[tuple[str, str], int] = {}  # the newest price that the gateway made
        self.ends: list[str] = []  # processes that ended by an error that nobody injected
        self.counts: Counter[str] = Counter()
        self.violations: list[Violation] = []
        self.order_ids: dict[str, str] = {}  # signal of each order id that may exist
        self.reference_age_ns_max = reference_age_ns_max
        self.limits = limits
        self.is_venue_certain = is_venue_certain  # it always knows what became of an order, and keeps its word
        self.alarms: set[tuple[str, str]] = set()  # code and subject of each that left
        self.killed_inside: set[str] = set()  # processes that died within a step: what it had to tell is gone
        self.states: dict[str, TradingState] = {}  # of each scope, as the journal has it
        self._invariants = invariants

    def note_emitted(self, instruction: Instruction) -> None:
        """A strategy is about to send an instruction, for the first time or again."""
        self.instructions.setdefault(id_of(instruction), instruction)
        if isinstance(instruction, Signal):
            self.emitted.setdefault(instruction.signal_id, instruction)

    def note_price(self, listed: Listed, now_ns: int) -> None:
        """The gateway has made a price."""
        self.prices_ns[listed.exchange, listed.symbol] = now_ns

    def note_intent(self, intent: Intent) -> None:
        """An intent has become durable."""
        self.intents[intent.client_order_id] = intent
        for invariant in self._invariants:
            self._judge(invariant, invariant.on_intent(intent, self))

    def note_alarm(self, alarm: AlarmRaised) -> None:
        """The executor tells the people on call."""
        self.alarms.add((alarm.code, alarm.subject))

    def note_state(self, entry: TradingStateMoved) -> None:
        """A move of the kill switch has become durable."""
        self.states[entry.scope] = entry.state

    def state_of(self, signal: Signal) -> TradingState:
        """What the journal allows the orders of a signal: the strictest of what covers them."""
        return strictest(self.states, signal)

    def note_request(self, request: Request) -> None:
        """The executor is about to send something to the exchange."""
        for invariant in self._invariants:
            self._judge(invariant, invariant.on_request(request, self))

    def note_ledger(self, orders: Collection[RecordedOrder], executions: Sequence[ExecutionReported]) -> None:
        """The exchange's ledger has grown."""
        for invariant in self._invariants:
            self._judge(invariant, invariant.on_ledger(orders, executions, self))

    def note_submission(self, submission: Submission) -> None:
        """An order has reached the exchange."""
        self.counts["orders"] += 1
        for invariant in self._invariants:
            self._judge(invariant, invariant.on_submission(submission, self))

    def note_step(self, sizes: Sequence[Size]) -> None:
        """A process has finished a step."""
        self.counts["steps"] += 1
        for invariant in self._invariants:
            self._judge(invariant, invariant.after_step(sizes))

    def note_ending(self, ending: Ending) -> None:
        """Everything has come to rest."""
        for invariant in self._invariants:
            self._judge(invariant, invariant.at_end(ending, self))

    def _judge(self, invariant: Invariant, messages: Sequence[str]) -> None:
        for message in messages:
            if len(self.violations) < VIOLATIONS_MAX:
                self.violations.append(Violation(invariant.name, message))


def strictest(states: Mapping[str, TradingState], signal: Signal) -> TradingState:
    """What holds for the orders of a signal where each scope has a state of its own."""
    scopes = (ALL, f"strategy:{signal.strategy}", f"symbol:{signal.exchange}.{signal.symbol}")
    return max((states.get(scope, TradingState.ACTIVE) for scope in scopes), key=STRICTNESS.__getitem__)
