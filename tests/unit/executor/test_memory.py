"""What has ended is forgotten, and known again as soon as somebody asks."""

from collections.abc import Sequence
from decimal import Decimal

import pytest
from support.executor_builders import ExecutorHarness, MemoryJournal, make_denial, make_intent, make_signal

from common.events.trading import OrderStatus
from common.events.venue import ExecutionType
from executor.book import Book
from executor.entries import Entry, ExecutionTaken
from executor.memory import NUMBERED_NAMES_MAX, Memory
from executor.orders import IllegalMoveError


class CountingJournal(MemoryJournal):
    """Counts how often somebody looks into the past."""

    def __init__(self, entries: list[Entry]) -> None:
        super().__init__(entries)
        self.looks = 0

    def history_of_order(self, client_order_id: str, last_seq: int) -> list[Entry]:
        """Count and look."""
        self.looks += 1
        return super().history_of_order(client_order_id, last_seq)

    def history_of_instruction(self, instruction_id: str, last_seq: int) -> list[Entry]:
        """Count and look."""
        self.looks += 1
        return super().history_of_instruction(instruction_id, last_seq)


def make_forgetful(count: int = 6, **config: int) -> ExecutorHarness:
    """An executor that holds two ended instructions, after so many filled orders."""
    harness = ExecutorHarness(**{"ended_instructions_max": 2, **config})
    harness.recover()
    for number in range(1, count + 1):
        harness.have_working(f"s-{number}")
        harness.fill(f"s-{number}", quantity="1", filled_quantity="1", leaves_quantity="0")
    harness.executor.rest(is_idle=True)
    harness.trace.clear()
    return harness


def book_of(entries: Sequence[Entry], ended_max: int = 0) -> tuple[Book, CountingJournal]:
    """A forgetful book of these entries, and its archive."""
    archive = CountingJournal(list(entries))
    book = Book(archive)
    for entry in entries:
        book.apply(entry)
        book.memory.forget(ended_max)
    return book, archive


def test_only_the_newest_that_ended_are_held() -> None:
    """However many there were; what works is held as long as it works."""
    harness = make_forgetful(0)
    harness.have_working("old")
    for number in range(50):
        harness.have_working(f"s-{number}")
        harness.end(f"s-{number}")
        harness.signal(f"denied-{number}", quantity="0.001")

    assert len(harness.book.orders) == 2
    assert "old" in harness.book.signals
    assert len(harness.book.signals) == 3
    assert [order.signal.signal_id for order in harness.book.working_orders()] == ["old"]


def test_what_a_repeat_brings_back_is_forgotten_again() -> None:
    """A strategy that repeats all that it ever said fills no memory."""
    harness = make_forgetful(30)

    for number in range(1, 31):
        harness.signal(f"s-{number}")
    harness.executor.rest(is_idle=True)

    assert len(harness.book.orders) == 2
    assert harness.count("signals_repeated") == 30


def test_signal_whose_order_was_forgotten_is_answered_as_ever() -> None:
    """And makes no second order."""
    harness = make_forgetful()
    assert "s-1" not in harness.book.signals

    harness.signal("s-1")

    assert harness.acknowledgements == [("s-1", "accepted", None)]
    assert harness.sent == []


def test_other_body_under_a_forgotten_id_is_a_conflict() -> None:
    """By its content, not only by its id."""
    harness = make_forgetful()

    harness.signal("s-1", quantity="2")

    assert harness.acknowledgements == [("s-1", "conflict", "CONFLICT")]
    assert harness.sent == []


def test_forgotten_denial_is_repeated_with_its_reason() -> None:
    """What was refused is not looked at a second time."""
    harness = make_forgetful(0)
    harness.signal("denied", quantity="0.001")
    [first] = harness.acknowledgements
    for number in range(3):
        harness.signal(f"s-{number}", quantity="0.001")
    assert "denied" not in harness.book.signals

    harness.signal("denied", quantity="0.001")

    assert harness.acknowledgements[-1] == first


def test_forgotten_cancel_and_amendment_have_their_answers() -> None:
    """Requests are found by their own ids, also once their order is at its end."""
    harness = make_forgetful(0)
    harness.have_working("s-1")
    harness.amend("a-1", "s-1")
    harness.answer()
    harness.replaced("s-1", order_quantity="2", limit_price="101", replace_id="a-1")
    harness.cancel("s-1", request_id="c-1")
    harness.answer()
    harness.end("s-1")
    for number in range(2, 5):
        harness.signal(f"s-{number}", quantity="0.001")
    assert harness.book.requests == {}
    harness.trace.clear()

    harness.amend("a-1", "s-1")
    harness.amend("a-1", "s-1", quantity="3")
    harness.cancel("s-1", request_id="c-1")

    assert [(name, outcome) for name, outcome, _ in harness.acknowledgements] == [
        ("a-1", "accepted"),
        ("a-1", "conflict"),
        ("c-1", "accepted"),
    ]


@pytest.mark.parametrize(
    ("correction", "filled", "cash"),
    [
        ({"execution_type": ExecutionType.TRADE_CANCEL, "filled_quantity": "0"}, "0", "-500.10"),
        ({"execution_type": ExecutionType.TRADE_CORRECT, "price": "99", "fee": "0.03"}, "1", "-599.13"),
    ],
    ids=["cancelled", "corrected"],
)
def test_trade_of_a_forgotten_order_can_be_undone_and_corrected(
    correction: dict[str, str], filled: str, cash: str
) -> None:
    """The exchange may do so days later."""
    harness = make_forgetful()

    harness.fill("s-1", **{"corrects": 1, "quantity": "1", "leaves_quantity": "0", **correction})

    assert str(harness.order("s-1").filled_quantity) == filled
    assert harness.book.cash()["USDT"] == Decimal(cash)
    assert harness.order("s-1").status is (OrderStatus.CANCELLED if filled == "0" else OrderStatus.FILLED)


def test_correction_of_another_orders_trade_is_still_not_booked() -> None:
    """What was forgotten is known as well as what was not."""
    harness = make_forgetful()
    before = harness.book.cash()

    harness.fill("s-1", execution_type=ExecutionType.TRADE_CANCEL, corrects=2)

    assert "expected to correct a trade" in (harness.entries_of(ExecutionTaken)[-1].defect or "")
    assert harness.book.cash() == before


def test_answer_that_comes_after_its_order_was_forgotten_changes_nothing() -> None:
    """Its execution came first, and others ended since."""
    harness = make_forgetful(0)
    harness.signal("s-1")
    harness.fill("s-1", quantity="1", filled_quantity="1", leaves_quantity="0")
    for number in range(2, 6):
        harness.signal(f"s-{number}", quantity="0.001")
    assert "s-1" not in harness.book.signals

    harness.answer()

    assert harness.order("s-1").status is OrderStatus.FILLED


def test_next_instruction_of_a_strategy_costs_no_look_into_the_archive() -> None:
    """Its number is higher than any before: nobody can have seen it."""
    book, archive = book_of([make_denial("mine-1-1"), make_denial("mine-2-7")])

    assert book.record_of("mine-2-8") is None
    assert book.record_of("mine-3-1") is None
    assert archive.looks == 0


@pytest.mark.parametrize("name", ["mine-2-6", "mine-1-9", "mine-02-8", "mine-2-8-", "other-1-1", "free text"])
def test_id_that_may_have_been_seen_is_looked_up(name: str) -> None:
    """Whatever does not have the highest number so far in its right form."""
    book, archive = book_of([make_denial("mine-1-1"), make_denial("mine-2-7")])

    assert book.record_of(name) is None
    assert archive.looks == 1


def test_later_number_that_came_first_is_still_known() -> None:
    """The newest instruction is not always the one with the highest number."""
    book, _ = book_of([make_denial("mine-1-3"), make_denial("mine-1-2")])

    assert book.record_of("mine-1-3") is not None
    assert book.last_ids == {"momentum": "mine-1-2"}


def test_id_that_another_strategy_has_used_is_known() -> None:
    """The id counts, not who sent it: its owner may not make an order of it, which the journal would refuse."""
    book, _ = book_of([make_denial("mine-1-5", strategy="stranger")])

    assert book.record_of("mine-1-5") is not None


def test_names_that_clients_make_up_fill_no_memory() -> None:
    """The ids of further names are looked up each time."""
    book, _ = book_of([make_denial(f"name{number}-1-1") for number in range(NUMBERED_NAMES_MAX + 5)], ended_max=20_000)

    assert len(book.memory.newest) == NUMBERED_NAMES_MAX
    assert book.record_of(f"name{NUMBERED_NAMES_MAX + 2}-1-1") is not None


def test_entries_that_are_not_applied_yet_are_not_looked_at() -> None:
    """An intent is durable a moment before it is known."""
    book, archive = book_of([make_denial("s-1")])
    intent = make_intent("s-2")
    archive.append([intent])

    assert book.find_order(intent.client_order_id) is None
    assert book.record_of("s-2") is None


def test_order_that_there_must_be_and_is_not_is_fatal() -> None:
    """The journal or the exchange tells of what cannot be."""
    book, _ = book_of([])

    with pytest.raises(IllegalMoveError, match="order tp-1: expected an order that was intended, was none"):
        book.order("tp-1")


def test_order_that_works_again_is_not_forgotten() -> None:
    """Where an end turns out to have been none."""
    book, _ = book_of([])
    memory: Memory = book.memory
    book.apply(make_intent("s-1"))
    order = book.order(make_intent("s-1").client_order_id)
    for status in (OrderStatus.CANCELLED, OrderStatus.ACCEPTED):
        order = type(order)(client_order_id=order.client_order_id, signal=make_signal("s-1"), status=status)
        memory.keep_order(order)

    memory.forget(0)

    assert book.working_orders() == [order]
    assert "s-1" in book.signals
