"""The promises of kill switch and limits: what people and a risk officer rely on, whatever else goes wrong."""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal

import msgspec

from chaos.facts import Ending, Facts, Intent, Invariant, strictest
from common.errors import FatalError
from common.events.risk import TradingState
from common.events.trading import CancelRequested, Signal
from common.events.venue import ExecutionReported, ExecutionType, SubmitOrder
from common.money import ZERO
from exchange.records import RecordedOrder
from executor.book import Book
from executor.booking import find_contradiction
from executor.entries import (
    AmendIntended,
    Entry,
    ExecutionTaken,
    OrderAbandoned,
    OrderIntended,
    OrderReopened,
    SignalDenied,
    TradingStateMoved,
)
from executor.orders import Order
from executor.requests import VOID_NS, Request
from executor.risk import Reason
from executor.trading_state import RECONCILIATION, STRICTNESS, symbol_scope

PERSON = "chaos"  # who types every command; nobody else may loosen
# Why a cancel may be denied: there is nothing to cancel.
CANCEL_DENIALS = frozenset({Reason.NO_WORKING_ORDER.value})


class Halted(Invariant):
    """From a halt in the journal on no order of its scope is intended, sent or left working, until a person resumes."""

    name = "halted"

    def on_intent(self, intent: Intent, facts: Facts) -> Sequence[str]:
        if facts.state_of(intent.signal) is not TradingState.HALTED:
            return ()
        return [f"{intent.signal.signal_id}: expected no order while its scope is halted, one was intended"]

    def on_request(self, request: Request, facts: Facts) -> Sequence[str]:
        if not isinstance(request, SubmitOrder) or request.expires_ns == VOID_NS:
            return ()
        intent = facts.intents.get(request.client_order_id)
        if intent is None or facts.state_of(intent.signal) is not TradingState.HALTED:
            return ()
        return [f"{intent.signal.signal_id}: expected no order to leave while its scope is halted, one was sent"]

    def at_end(self, ending: Ending, facts: Facts) -> Sequence[str]:
        working = [] if ending.book is None else ending.book.working_orders()
        return [
            f"{order.signal.signal_id}: expected nothing to work while its scope is halted, was {order.status}"
            for order in working
            if facts.state_of(order.signal) is TradingState.HALTED
        ] + _loosened_by_nobody(ending.entries)


class Reducing(Invariant):
    """While a scope reduces, an order is no larger than what the strategy's other orders leave of its position."""

    name = "reducing"

    def at_end(self, ending: Ending, facts: Facts) -> Sequence[str]:
        if not any(_is_reduce(entry) for entry in ending.entries):
            return ()
        book, messages = Book(), []
        states: dict[str, TradingState] = {}
        for entry in ending.entries:
            if isinstance(entry, TradingStateMoved):
                states[entry.scope] = entry.state
            elif isinstance(entry, OrderIntended | AmendIntended):
                signal, growth = _growth(entry, book)
                reducible = max(_reducible(signal, book), ZERO)
                if strictest(states, signal) is TradingState.REDUCING and growth > reducible:
                    messages.append(f"{signal.signal_id}: expected to {signal.action} up to {reducible}, was {growth}")
            book.apply(entry)
        return messages


class CancelsPass(Invariant):
    """Whatever is halted, limited or waiting: a cancel of a working order is done."""

    name = "cancels pass"

    def at_end(self, ending: Ending, facts: Facts) -> Sequence[str]:
        return [
            f"{entry.signal_id}: expected a cancel to pass, was denied with {entry.reason}"
            for entry in ending.entries
            if isinstance(entry, SignalDenied)
            and entry.reason not in CANCEL_DENIALS
            and isinstance(facts.instructions.get(entry.signal_id), CancelRequested)
        ]


class Limited(Invariant):
    """What is held and works at the exchange stays within the limits, as if all of one side filled."""

    name = "limits"

    def on_ledger(
        self, orders: Collection[RecordedOrder], executions: Sequence[ExecutionReported], facts: Facts
    ) -> Sequence[str]:
        limits = facts.limits
        if limits.open_orders_max is None and not limits.symbols:
            return ()
        working = [order for order in orders if order.is_open]
        messages = []
        if limits.open_orders_max is not None and len(working) > limits.open_orders_max:
            messages.append(f"working orders: expected up to {limits.open_orders_max}, were {len(working)}")
        for name, symbol in limits.symbols.items():
            size = _largest(name, working, executions)
            if symbol.position_quantity_max is not None and size > symbol.position_quantity_max:
                messages.append(f"position in {name}: expected up to {symbol.position_quantity_max}, may become {size}")
        return messages


class InDoubt(Invariant):
    """Only what the venue cannot tell, or tells against its own word, halts by itself: its symbol, and with an alarm.

    The halt is in the same transaction, and names the order. Where the venue is certain of everything there is none.
    """

    name = "in doubt"

    def at_end(self, ending: Ending, facts: Facts) -> Sequence[str]:
        book, messages = Book(), []
        doubt: Doubt | None = None  # what the entry before tells
        try:
            for entry in ending.entries:
                messages += _judge_halt(doubt, entry, book)
                doubt = find_doubt(entry, book)
                messages += [] if doubt is None else self._judge(doubt, facts)
                book.apply(entry)
        except FatalError:
            return messages  # entries that cannot be folded are told by `Agreement`
        return messages + _judge_halt(doubt, None, book)

    def _judge(self, doubt: "Doubt", facts: Facts) -> list[str]:
        if facts.is_venue_certain:
            return [f"{doubt}: expected a venue that can tell to leave nothing in doubt"]
        # One that dies between the write and the alarm leaves the halt, whose reason tells the same.
        if (doubt.code, doubt.order_id) in facts.alarms or "executor" in facts.killed_inside:
            return []
        return [f"{doubt}: expected an alarm, was none"]


class Doubt(msgspec.Struct, frozen=True):
    """An order of which the venue cannot tell what became, or tells what contradicts itself."""

    code: str
    order_id: str
    scope: str

    def __str__(self) -> str:
        return f"{self.code} {self.order_id}"

    def is_reason_of(self, halt: TradingStateMoved) -> bool:
        """It is what this halt was made for."""
        is_its_halt = (halt.scope, halt.state) == (self.scope, TradingState.HALTED)
        return is_its_halt and halt.reason.startswith(f"{self.code}: {self.order_id}: ")

    def state_in(self, book: Book) -> TradingState:
        """What the book lets its symbol do."""
        states = {scope.scope: scope.state for scope in book.kill_switch.scopes()}
        return states.get(self.scope, TradingState.ACTIVE)


def _judge_halt(doubt: Doubt | None, entry: Entry | None, book: Book) -> list[str]:
    """Whether an entry halts what the doubt before it demands, and nothing else."""
    if isinstance(entry, TradingStateMoved) and entry.by == RECONCILIATION:
        is_due = doubt is not None and doubt.is_reason_of(entry)
        return [] if is_due else [f"{entry.subject}: expected a doubt before it is halted, was {doubt}: {entry.reason}"]
    if doubt is None or doubt.state_in(book) is TradingState.HALTED:
        return []
    return [f"{doubt}: expected {doubt.scope} to be halted in the same transaction, was not"]


def find_doubt(entry: Entry, book: Book) -> Doubt | None:
    """The doubt that an entry tells of, before the book has it."""
    code = None
    match entry:
        case OrderAbandoned(reason=Reason.UNRESOLVED.value):
            code = "ORDER_UNRESOLVED"
        case ExecutionTaken(defect=str()):
            code = "EXECUTION_NOT_BOOKED"
        case OrderReopened():
            code = "ORDER_CONTRADICTED"
        case ExecutionTaken(report=report) if find_contradiction(book.order(report.client_order_id), report):
            code = "ORDER_CONTRADICTED"
    if code is None or entry.order_id is None:
        return None
    signal = book.order(entry.order_id).signal
    return Doubt(code, entry.order_id, symbol_scope(signal.exchange, signal.symbol))


def _is_reduce(entry: Entry) -> bool:
    return isinstance(entry, TradingStateMoved) and entry.state is TradingState.REDUCING


def _loosened_by_nobody(entries: Iterable[Entry]) -> list[str]:
    messages = []
    states: dict[str, TradingState] = {}
    for entry in entries:
        if isinstance(entry, TradingStateMoved):
            before = states.get(entry.scope, TradingState.ACTIVE)
            if STRICTNESS[entry.state] < STRICTNESS[before] and entry.by != PERSON:
                messages.append(f"{entry.scope}: expected a person to loosen it to {entry.state}, was {entry.by}")
            states[entry.scope] = entry.state
    return messages


def _growth(entry: OrderIntended | AmendIntended, book: Book) -> tuple[Signal, Decimal]:
    """What an order or other terms of it add to what may be filled."""
    if isinstance(entry, OrderIntended):
        return entry.signal, entry.signal.quantity
    order = book.orders[entry.client_order_id]
    return order.signal, entry.quantity - order.quantity


def _reducible(signal: Signal, book: Book) -> Decimal:
    """The part of the strategy's position that no working order of this side may take away already."""
    held = book.held_quantity((signal.strategy, signal.exchange, signal.symbol))
    working = sum((_leaves(order) for order in book.working_orders() if _is_alike(order.signal, signal)), ZERO)
    return (held if signal.action == "sell" else -held) - working


def _leaves(order: Order) -> Decimal:
    quantity = order.quantity if order.replacement is None else max(order.quantity, order.replacement.quantity)
    return quantity - order.filled_quantity - order.busted_quantity


def _is_alike(one: Signal, other: Signal) -> bool:
    return (one.strategy, one.exchange, one.symbol, one.action) == (
        other.strategy,
        other.exchange,
        other.symbol,
        other.action,
    )


def _largest(name: str, working: Sequence[RecordedOrder], executions: Sequence[ExecutionReported]) -> Decimal:
    """The size of the position in a symbol if every working order of one side fills, in the worse case."""
    held, leaves = ZERO, {"buy": ZERO, "sell": ZERO}
    for execution in executions:
        if f"{execution.exchange}.{execution.symbol}" == name:
            held += signed_quantity(execution)
    for order in working:
        if f"{order.terms.exchange}.{order.terms.symbol}" == name:
            leaves[order.terms.side] += order.quantity - order.filled_quantity
    return max(held + leaves["buy"], leaves["sell"] - held)


def signed_quantity(execution: ExecutionReported) -> Decimal:
    """What an execution adds to a position."""
    if execution.execution_type not in {ExecutionType.TRADE, ExecutionType.TRADE_CANCEL}:
        return ZERO
    is_bought = (execution.side == "buy") is (execution.execution_type is ExecutionType.TRADE)
    return execution.quantity if is_bought else -execution.quantity
