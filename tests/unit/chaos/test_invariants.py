"""Invariants that no missing safeguard of today's code can break: they are shown to see what they look for."""

from typing import Any

import msgspec
from support.exchange_builders import make_submit
from support.executor_builders import make_denial, make_intent, make_report, make_signal

from chaos.facts import Ending, Facts, Invariant
from chaos.invariants import INVARIANTS, Agreement, Isolation, Live, NoDuplicate, NoLoss, Ordered
from chaos.safety_invariants import PERSON, Halted, Limited
from common.events.risk import TradingState
from common.events.trading import OrderStatus
from common.events.venue import AnswerOutcome
from exchange.answers import make_answer
from exchange.memory_ledger import MemoryLedger
from executor.book import Book
from executor.entries import Entry, ExecutionTaken, TradingStateMoved
from executor.limits import RiskLimits


def make_facts(*invariants: Invariant) -> Facts:
    """A witness who has seen nothing."""
    return Facts(invariants, reference_age_ns_max=1_000)


def make_ending(*entries: Entry, **changes: Any) -> Ending:
    """The end of a history that left these entries in the journal, and nothing at the exchange."""
    book = Book()
    for entry in entries:
        book.apply(entry)
    ending = Ending(
        entries=entries, book=book, orders={}, executions=[], unacknowledged={}, probes_ms={}, is_at_rest=True
    )
    return msgspec.structs.replace(ending, **changes)


def test_empty_history_breaks_no_promise() -> None:
    """Nothing was promised, nothing was broken."""
    facts = make_facts(*INVARIANTS)

    facts.note_ending(make_ending())

    assert facts.violations == []


def test_verdicts_in_the_wrong_order_are_seen() -> None:
    """A signal that follows another was applied before it."""
    facts = make_facts(Ordered())
    facts.note_emitted(make_signal("s-1"))
    facts.note_emitted(make_signal("s-2", follows="s-1"))

    facts.note_ending(make_ending(make_denial("s-2"), make_denial("s-1")))

    assert [violation.message for violation in facts.violations] == ["s-2: expected its verdict after that of s-1"]


def test_signal_without_a_verdict_is_lost() -> None:
    """Whatever happened to its strategy: it was durable before it was sent."""
    facts = make_facts(NoLoss())
    facts.note_emitted(make_signal("s-1"))

    facts.note_ending(make_ending(unacknowledged={"alpha": 1}))

    assert [violation.message for violation in facts.violations] == [
        "s-1: expected a verdict in the journal, was none",
        "alpha: expected an empty outbox, 1 unacknowledged",
    ]


def test_position_that_differs_from_the_ledger_is_seen() -> None:
    """The book has a fill that the exchange never made."""
    facts = make_facts(Agreement())

    facts.note_ending(make_ending(make_intent("s-1"), ExecutionTaken(1, make_report(1, "s-1"))))

    messages = [violation.message for violation in facts.violations]
    assert messages[0] == "executions: expected the ledger's 0, booked 1"
    assert any(message.startswith("position ") for message in messages)
    assert any("in the book alone" in message for message in messages)


def test_dead_executor_agrees_with_nothing() -> None:
    """There is nothing to compare."""
    facts = make_facts(Agreement(), Live(), Isolation(), NoDuplicate())

    facts.note_ending(make_ending(book=None, probes_ms={"alpha": None, "beta": 1_500.0}, is_at_rest=False))

    assert [violation.message for violation in facts.violations] == [
        "expected a live executor to compare, was none",
        "alpha: expected its probe to end within 1000 ms of healing, was never",
        "beta: expected its probe to end within 1000 ms of healing, was 1500 ms",
    ]


def test_history_that_never_comes_to_rest_is_seen() -> None:
    """Also when every signal has its end."""
    facts = make_facts(Live())

    facts.note_ending(make_ending(is_at_rest=False))

    assert len(facts.violations) == 1


def moved(state: TradingState, by: str) -> TradingStateMoved:
    """The kill switch of everything moves."""
    return TradingStateMoved(timestamp_ns=1, scope="all", state=state, by=by, reason="")


def test_halt_that_lifts_itself_is_seen() -> None:
    """Only a person may loosen."""
    facts = make_facts(Halted())

    facts.note_ending(make_ending(moved(TradingState.HALTED, "limit:X"), moved(TradingState.ACTIVE, "limit:X")))

    assert [violation.message for violation in facts.violations] == [
        "all: expected a person to loosen it to active, was limit:X"
    ]


def test_halt_that_a_person_lifts_is_fine() -> None:
    """That is what resuming is for."""
    facts = make_facts(Halted())

    facts.note_ending(make_ending(moved(TradingState.HALTED, "limit:X"), moved(TradingState.ACTIVE, PERSON)))

    assert facts.violations == []


def test_more_working_orders_than_the_limit_are_seen() -> None:
    """Counted at the exchange, not by who sent them."""
    facts = Facts([Limited()], reference_age_ns_max=1_000, limits=RiskLimits(open_orders_max=1))
    ledger = MemoryLedger()
    for order_id in ("order-1", "order-2"):
        request = make_submit(client_order_id=order_id)
        accepted = make_answer(request, 1, AnswerOutcome.ACCEPTED, status=OrderStatus.ACCEPTED)
        ledger.record_submission(request, accepted, 1)

    facts.note_ledger(ledger.orders.values(), [])

    assert [violation.message for violation in facts.violations] == ["working orders: expected up to 1, were 2"]
