"""The promises of the design, each as a small pure class: what was expected, what was there."""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

from chaos.facts import Ending, Facts, Intent, Invariant, Size, Submission
from common.errors import FatalError
from common.events.trading import Acknowledgement, OrderStatus
from common.events.venue import AnswerOutcome, ExecutionType, terms_of
from common.ids import make_client_order_id
from common.money import EXACT, ZERO
from exchange.records import terms_key
from executor.book import Book
from executor.entries import OrderIntended, SignalDenied
from executor.orders import Order
from executor.requests import RequestWriter
from executor.risk import Reason

PROBE_MS_MAX = 1_000
NEVER_LIVED = frozenset({OrderStatus.DENIED, OrderStatus.REJECTED})


class _Silent:
    """Has nothing to say where a promise does not look."""

    def on_intent(self, intent: Intent, facts: Facts) -> Sequence[str]:
        return ()

    def on_submission(self, submission: Submission, facts: Facts) -> Sequence[str]:
        return ()

    def after_step(self, sizes: Sequence[Size]) -> Sequence[str]:
        return ()

    def at_end(self, ending: Ending, facts: Facts) -> Sequence[str]:
        return ()


class NoDuplicate(_Silent):
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
            f"{order_id}: expected fills up to {ending.orders[order_id].terms.quantity}, were {quantity}"
            for order_id, quantity in filled.items()
            if quantity > ending.orders[order_id].terms.quantity
        ]


class NoLoss(_Silent):
    """Every signal that a strategy has emitted has exactly one end, and the strategy was told."""

    name = "no loss"

    def at_end(self, ending: Ending, facts: Facts) -> Sequence[str]:
        verdicts: dict[str, int] = defaultdict(int)
        for entry in ending.entries:
            if isinstance(entry, OrderIntended | SignalDenied):
                verdicts[entry.subject] += 1
        messages = [f"{name}: expected one verdict, were {count}" for name, count in verdicts.items() if count != 1]
        messages += [
            f"{name}: expected a verdict in the journal, was none" for name in facts.emitted if not verdicts[name]
        ]
        waiting = {name: count for name, count in ending.unacknowledged.items() if count}
        messages += [f"{name}: expected an empty outbox, {count} unacknowledged" for name, count in waiting.items()]
        return messages


class WriteAhead(_Silent):
    """No order is at the exchange without a durable intent in the journal at that moment."""

    name = "write-ahead"

    def on_submission(self, submission: Submission, facts: Facts) -> Sequence[str]:
        if submission.order.client_order_id in facts.intents:
            return ()
        return [f"{submission.order.client_order_id}: expected its intent in the journal before it, was not there"]


class Agreement(_Silent):
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
        if book.last_execution_number != len(ending.executions):
            messages.append(
                f"executions: expected the ledger's {len(ending.executions)}, booked {book.last_execution_number}"
            )
        return [*messages, *_compare_orders(book, ending), *_compare_positions(book, ending)]


class Ordered(_Silent):
    """A signal that says what it follows has its verdict after that one, unless it was denied for want of it."""

    name = "order"

    def at_end(self, ending: Ending, facts: Facts) -> Sequence[str]:
        verdicts = [
            entry.subject
            for entry in ending.entries
            if isinstance(entry, OrderIntended)
            or (isinstance(entry, SignalDenied) and entry.reason != Reason.PREDECESSOR_MISSING)
        ]
        place = {subject: index for index, subject in enumerate(verdicts)}
        return [
            f"{name}: expected its verdict after that of {signal.follows}"
            for name, signal in facts.emitted.items()
            if signal.follows in place and name in place and place[name] < place[signal.follows]
        ]


class Bounded(_Silent):
    """Every queue has a limit and keeps it."""

    name = "bounded"

    def after_step(self, sizes: Sequence[Size]) -> Sequence[str]:
        return [f"{size.name}: expected up to {size.count_max}, were {size.count}" for size in sizes if _is_over(size)]


class Live(_Silent):
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


class FailClosed(_Silent):
    """No order is intended on a price older than the limit, whoever has failed to tell of a newer one."""

    name = "fail closed"

    def on_intent(self, intent: Intent, facts: Facts) -> Sequence[str]:
        signal = intent.signal
        made_ns = facts.prices_ns.get((signal.exchange, signal.symbol))
        if made_ns is not None and intent.timestamp_ns - made_ns <= facts.reference_age_ns_max:
            return ()
        age = "none" if made_ns is None else f"{(intent.timestamp_ns - made_ns) / 1e6:.0f} ms old"
        return [f"{signal.signal_id}: expected a fresh price before an order is intended, was {age}"]


class Isolation(_Silent):
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
)
# Files that were not synced come back from different moments. Then no one can promise that journal and ledger agree or
# that nothing is forgotten; what holds is that nothing is ordered twice, unwritten, unbounded or on a stale price.
AFTER_UNSYNCED_POWER_LOSS = ("no duplicate", "write-ahead", "bounded", "fail closed", "isolation")


def undecided(ending: Ending) -> list[str]:
    """Signals that were intended, and of which nobody can say what became."""
    if ending.book is None:
        return []
    return [name for name, record in ending.book.signals.items() if record.outcome is None]


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
        there = None if order is None else (order.status, order.filled_quantity)
        if there != (recorded.status, recorded.filled_quantity):
            messages.append(
                f"{order_id}: expected the ledger's {recorded.status} {recorded.filled_quantity}, "
                f"was {'nothing' if there is None else ' '.join(map(str, there))}"
            )
    return messages + [
        f"{order_id}: expected an order that the ledger knows, was {order.status} in the book alone"
        for order_id, order in book.orders.items()
        if order_id not in ending.orders and order.status not in NEVER_LIVED
    ]


def _compare_positions(book: Book, ending: Ending) -> list[str]:
    """Quantities and fees by strategy, once from the ledger's executions, once from the book."""
    expected: dict[tuple[str, str, str], tuple[Decimal, Decimal]] = {}
    for execution in ending.executions:
        order = book.orders.get(execution.client_order_id)
        if execution.execution_type is not ExecutionType.TRADE or order is None:
            continue
        key = (order.signal.strategy, execution.exchange, execution.symbol)
        quantity, fees = expected.get(key, (ZERO, ZERO))
        signed = execution.quantity if execution.side == "buy" else execution.quantity.copy_negate()
        expected[key] = EXACT.add(quantity, signed), EXACT.add(fees, execution.fee or ZERO)
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
