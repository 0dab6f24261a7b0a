"""The promises of the design, each as a small pure class: what was expected, what was there."""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

from chaos.facts import Ending, Facts, Intent, Invariant, Size, Submission
from chaos.safety_invariants import CancelsPass, Halted, InDoubt, Limited, Reducing, signed_quantity
from common.errors import FatalError
from common.events.trading import Acknowledgement, CancelRequested, OrderStatus
from common.events.venue import AnswerOutcome, ExecutionType, terms_of
from common.ids import make_client_order_id
from common.money import EXACT, ZERO, plain
from exchange.records import RecordedOrder, terms_key
from executor.book import Book
from executor.entries import (
    AmendIntended,
    CancelIntended,
    Entry,
    OrderAdopted,
    OrderIntended,
    OrderVanished,
    SignalDenied,
)
from executor.orders import Order
from executor.requests import RequestWriter
from executor.risk import Reason

PROBE_MS_MAX = 1_000
NEVER_LIVED = frozenset({OrderStatus.DENIED, OrderStatus.REJECTED})


class NoDuplicate(Invariant):
    """Each order at the exchange is the one order of one signal, and fills no more than its quantity."""

    name = "no duplicate"

    def on_submission(self, submission: Submission, facts: Facts) -> Sequence[str]:
        order_id = submission.order.client_order_id
        if submission.order.outcome is not AnswerOutcome.ACCEPTED or order_id in _order_ids(facts):
            return ()
        return [f"{order_id}: expected the id that follows from a signal, was accepted beside the order of one"]

    def at_end(self, ending: Ending, facts: Facts) -> Sequence[str]:
        filled: dict[str, Decimal] = defaultdict(Decimal)
        for execution in ending.executions:
            if execution.execution_type is ExecutionType.TRADE:
                filled[execution.client_order_id] += execution.quantity
        return [
            f"{order_id}: expected fills up to {ending.orders[order_id].quantity}, were {quantity}"
            for order_id, quantity in filled.items()
            if quantity > ending.orders[order_id].quantity
        ]


class NoLoss(Invariant):
    """Every instruction that a strategy has emitted has exactly one end, and the strategy was told."""

    name = "no loss"

    def at_end(self, ending: Ending, facts: Facts) -> Sequence[str]:
        verdicts: dict[str, int] = defaultdict(int)
        for instruction_id in map(_verdict_on, ending.entries):
            if instruction_id is not None:
                verdicts[instruction_id] += 1
        messages = [f"{name}: expected one verdict, were {count}" for name, count in verdicts.items() if count != 1]
        messages += [
            f"{name}: expected a verdict in the journal, was none" for name in facts.instructions if not verdicts[name]
        ]
        waiting = {name: count for name, count in ending.unacknowledged.items() if count}
        messages += [f"{name}: expected an empty outbox, {count} unacknowledged" for name, count in waiting.items()]
        return messages


class WriteAhead(Invariant):
    """No order is at the exchange without a durable intent in the journal at that moment."""

    name = "write-ahead"

    def on_submission(self, submission: Submission, facts: Facts) -> Sequence[str]:
        if submission.order.client_order_id in facts.intents:
            return ()
        return [f"{submission.order.client_order_id}: expected its intent in the journal before it, was not there"]


class Agreement(Invariant):
    """Journal, live book and the exchange's ledger tell the same, to the last digit."""

    name = "agreement"

    def at_end(self, ending: Ending, facts: Facts) -> Sequence[str]:
        book = ending.book
        if book is None:
            return ["expected a live executor to compare, was none"]
        refolded = Book()
        try:
            for entry in ending.entries:
                refolded.apply(entry)
        except (KeyError, FatalError) as error:
            return [f"journal: expected entries that can be folded, {type(error).__name__}: {error}"]
        messages = [
            f"{what}: expected the journal's, live was different"
            for what in ("signals", "orders", "positions", "last_execution_number")
            if getattr(refolded, what) != getattr(book, what)
        ]
        messages += [
            f"{entry.subject}: expected nothing that only one side knows, the journal has {type(entry).__name__}"
            for entry in ending.entries
            if isinstance(entry, OrderAdopted | OrderVanished)
        ]
        if book.last_execution_number != len(ending.executions):
            messages.append(
                f"executions: expected the ledger's {len(ending.executions)}, booked {book.last_execution_number}"
            )
        return [*messages, *_compare_orders(book, ending), *_compare_positions(book, ending)]


class Ordered(Invariant):
    """Nothing but a cancel has its verdict before what it follows, unless it was denied for want of that."""

    name = "order"

    def at_end(self, ending: Ending, facts: Facts) -> Sequence[str]:
        verdicts = [
            _verdict_on(entry)
            for entry in ending.entries
            if not isinstance(entry, SignalDenied) or entry.reason != Reason.PREDECESSOR_MISSING
        ]
        place = {subject: index for index, subject in enumerate(verdicts) if subject is not None}
        return [
            f"{name}: expected its verdict after that of {instruction.follows}"
            for name, instruction in facts.instructions.items()
            if not isinstance(instruction, CancelRequested)
            and instruction.follows in place
            and name in place
            and place[name] < place[instruction.follows]
        ]


class Bounded(Invariant):
    """Every queue has a limit and keeps it."""

    name = "bounded"

    def after_step(self, sizes: Sequence[Size]) -> Sequence[str]:
        return [f"{size.name}: expected up to {size.count_max}, were {size.count}" for size in sizes if _is_over(size)]


class Live(Invariant):
    """No process ends by an error of its own, nothing stays undecided, and a signal ends within 1 s of healing."""

    name = "live"

    def at_end(self, ending: Ending, facts: Facts) -> Sequence[str]:
        messages = [f"expected no process to end by itself, {end}" for end in facts.ends]
        messages += [
            f"{name}: expected its probe to end within {PROBE_MS_MAX} ms of healing, was {_shown(probe_ms)}"
            for name, probe_ms in ending.probes_ms.items()
            if probe_ms is None or probe_ms > PROBE_MS_MAX
        ]
        messages += [f"{name}: expected an end, is undecided" for name in undecided(ending)]
        return messages or ([] if ending.is_at_rest else ["expected everything to come to rest after healing"])


class FailClosed(Invariant):
    """No order is intended on a price older than the limit, whoever has failed to tell of a newer one."""

    name = "fail closed"

    def on_intent(self, intent: Intent, facts: Facts) -> Sequence[str]:
        signal = intent.signal
        made_ns = facts.prices_ns.get((signal.exchange, signal.symbol))
        if made_ns is not None and intent.timestamp_ns - made_ns <= facts.reference_age_ns_max:
            return ()
        age = "none" if made_ns is None else f"{(intent.timestamp_ns - made_ns) / 1e6:.0f} ms old"
        return [f"{signal.signal_id}: expected a fresh price before an order is intended, was {age}"]


class Isolation(Invariant):
    """What becomes of a signal is decided by its own strategy's body, whatever others push under its id."""

    name = "isolation"

    def on_submission(self, submission: Submission, facts: Facts) -> Sequence[str]:
        order = submission.order
        signal_id = _order_ids(facts).get(order.client_order_id)
        if signal_id is None:
            return ()
        ours = Order(client_order_id=order.client_order_id, signal=facts.emitted[signal_id])
        asked = RequestWriter("executor", 1).submit(ours, 1, 0)
        if terms_key(terms_of(asked)) == terms_key(order.terms):
            return ()
        return [f"{signal_id}: expected the terms of its strategy, were {order.terms}"]

    def at_end(self, ending: Ending, facts: Facts) -> Sequence[str]:
        signals = {} if ending.book is None else ending.book.signals
        return [
            f"{name}: expected an end of its own, was CONFLICT with another one's body"
            for name, record in signals.items()
            if name in facts.emitted and record.outcome and record.outcome.outcome is Acknowledgement.CONFLICT
        ]


INVARIANTS: tuple[Invariant, ...] = (
    NoDuplicate(),
    NoLoss(),
    WriteAhead(),
    Agreement(),
    Ordered(),
    Bounded(),
    Live(),
    FailClosed(),
    Isolation(),
    Halted(),
    Reducing(),
    CancelsPass(),
    Limited(),
    InDoubt(),
)
# Files that were not synced come back from different moments. Then no one can promise that journal and ledger agree or
# that nothing is forgotten; what holds is that nothing is ordered twice, unwritten, unbounded or on a stale price.
AFTER_UNSYNCED_POWER_LOSS = ("no duplicate", "write-ahead", "bounded", "fail closed", "isolation")


def undecided(ending: Ending) -> list[str]:
    """Instructions that were taken, and of which nobody can say what became."""
    if ending.book is None:
        return []
    records = {**ending.book.signals, **ending.book.requests}
    return [name for name, record in records.items() if record.outcome is None]


def _verdict_on(entry: Entry) -> str | None:
    """The instruction that an entry is the verdict on."""
    match entry:
        case OrderIntended() | SignalDenied():
            return entry.subject
        case AmendIntended():
            return entry.request.request_id
        case CancelIntended(request=CancelRequested(request_id=request_id)):
            return request_id
    return None


def _order_ids(facts: Facts) -> dict[str, str]:
    """Signal of each order id that may exist; grown as signals are emitted."""
    ids = facts.order_ids
    for signal_id in list(facts.emitted)[len(ids) :]:
        ids[make_client_order_id(signal_id)] = signal_id
    return ids


def _compare_orders(book: Book, ending: Ending) -> list[str]:
    messages = []
    for order_id, recorded in ending.orders.items():
        order = book.orders.get(order_id)
        if order is not None and order.status in NEVER_LIVED and recorded.status in NEVER_LIVED:
            continue  # a copy that came after the order was given up is refused: it expired for both
        there = None if order is None else _standing(order)
        if there != _standing(recorded):
            messages.append(f"{order_id}: expected the ledger's {_standing(recorded)}, was {there or 'nothing'}")
    return messages + [
        f"{order_id}: expected an order that the ledger knows, was {order.status} in the book alone"
        for order_id, order in book.orders.items()
        if order_id not in ending.orders and order.status not in NEVER_LIVED
    ]


def _standing(order: Order | RecordedOrder) -> str:
    """Where an order stands, and its terms."""
    price = "market" if order.limit_price is None else plain(order.limit_price)
    return f"{order.status} {plain(order.filled_quantity)} of {plain(order.quantity)} at {price}"


def _compare_positions(book: Book, ending: Ending) -> list[str]:
    """Quantities and fees by strategy, once from the ledger's executions, once from the book."""
    expected: dict[tuple[str, str, str], tuple[Decimal, Decimal]] = {}
    fees_of: dict[int, Decimal] = {}
    for execution in ending.executions:
        order = book.orders.get(execution.client_order_id)
        if execution.price is None or order is None:
            continue
        # A correction or a bust replaces what its trade had cost.
        number, fee = execution.corrects or execution.execution_number, execution.fee or ZERO
        undone = fees_of.get(number, ZERO)
        fees_of[number] = ZERO if execution.execution_type is ExecutionType.TRADE_CANCEL else fee
        key = (order.signal.strategy, execution.exchange, execution.symbol)
        quantity, fees = expected.get(key, (ZERO, ZERO))
        expected[key] = EXACT.add(quantity, signed_quantity(execution)), EXACT.add(fees, fees_of[number] - undone)
    held = {key: (position.quantity, position.fees) for key, position in book.positions.items()}
    return [
        f"position {'.'.join(key)}: expected quantity and fees {expected.get(key)}, were {held.get(key)}"
        for key in {**expected, **held}
        if expected.get(key) != held.get(key)
    ]


def _is_over(size: Size) -> bool:
    return size.count > size.count_max


def _shown(milliseconds: float | None) -> str:
    return "never" if milliseconds is None else f"{milliseconds:.0f} ms"
