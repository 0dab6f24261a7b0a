"""Cancels: of orders that work, that nobody has answered for, that are over, and that belong to others."""

import pytest
from support.executor_builders import NOW_NS, ExecutorHarness, contents, refold

from common.errors import FatalError
from common.events.trading import OrderAccepted, OrderCancelRequested, OrderPartiallyFilled, OrderStatus
from common.events.venue import AnswerOutcome, CancelOrder, QueryOrder, SubmitOrder
from executor.entries import CancelIntended


def cancels(harness: ExecutorHarness) -> list[CancelOrder]:
    """The cancels that were sent."""
    return [request for request in harness.sent if isinstance(request, CancelOrder)]


def test_wish_to_cancel_is_durable_before_the_cancel_leaves() -> None:
    """A restart remembers it."""
    harness = ExecutorHarness()
    harness.have_working()

    harness.cancel()

    assert harness.story == ["CancelIntended", "OrderCancelRequested", "CancelOrder"]
    assert harness.order().status is OrderStatus.PENDING_CANCEL


def test_cancelled_order_ends_with_its_execution_not_with_the_answer() -> None:
    """The answer says that the cancel was done, the execution how much was filled before it."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.cancel()

    harness.answer(AnswerOutcome.ACCEPTED, OrderStatus.CANCELLED)
    assert harness.order().status is OrderStatus.PENDING_CANCEL
    harness.end(reason="CANCEL_REQUESTED")

    assert (harness.order().status, harness.order().reason) == (OrderStatus.CANCELLED, "CANCEL_REQUESTED")


def test_cancel_that_is_asked_for_twice_is_sent_once() -> None:
    """Repeating it does no harm."""
    harness = ExecutorHarness()
    harness.have_working()

    harness.cancel()
    harness.cancel()

    assert len(cancels(harness)) == 1
    assert harness.count("cancels_without_order") == 1


def test_cancel_of_an_order_without_an_answer_follows_the_answer() -> None:
    """The exchange may not know the order yet; a cancel that overtook it would find nothing."""
    harness = ExecutorHarness()
    harness.signal()

    harness.cancel()
    assert cancels(harness) == []
    harness.answer()

    assert len(cancels(harness)) == 1
    told = [type(event) for event in harness.events if isinstance(event, OrderAccepted | OrderCancelRequested)]
    assert told == [OrderAccepted, OrderCancelRequested]
    assert harness.acknowledgements == [("s-1", "accepted", None)]


def test_cancel_of_an_order_without_an_answer_follows_a_fill_that_overtakes_it() -> None:
    """The fill is word from the exchange too: the rest must not go on working because the answer came late."""
    harness = ExecutorHarness()
    harness.signal()
    harness.cancel()

    harness.fill(quantity="0.4")
    harness.answer()

    assert harness.order().status is OrderStatus.PENDING_CANCEL
    assert len(cancels(harness)) == 1


def test_cancel_of_an_unknown_order_follows_the_query_that_finds_it() -> None:
    """Not knowing does not lose the wish."""
    harness = ExecutorHarness()
    harness.signal()
    harness.advance(ms=1_000)
    harness.cancel()
    harness.advance(ms=100)

    harness.answer()

    assert [type(request) for request in harness.sent] == [SubmitOrder, QueryOrder, CancelOrder]
    assert harness.order().status is OrderStatus.PENDING_CANCEL


def test_cancel_of_an_order_that_is_then_rejected_is_not_sent() -> None:
    """There is nothing to cancel."""
    harness = ExecutorHarness()
    harness.signal()
    harness.cancel()

    harness.reject("NO")

    assert cancels(harness) == []
    assert harness.order().status is OrderStatus.REJECTED


@pytest.mark.parametrize("changes", [{"signal_id": "s-9"}, {"strategy": "reversion"}], ids=["unknown", "of_another"])
def test_cancel_of_an_order_that_is_not_the_asker_s_does_nothing(changes: dict[str, str]) -> None:
    """Isolation: one strategy cannot cancel what another one wants."""
    harness = ExecutorHarness()
    harness.have_working()

    harness.cancel(**changes)

    assert harness.trace == []
    assert harness.count("cancels_without_order") == 1


def test_cancel_of_a_finished_order_does_nothing() -> None:
    """The strategy has not heard of the fill yet; the event is on its way."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.fill(quantity="1")
    harness.trace.clear()

    harness.cancel()

    assert harness.trace == []


def test_cancel_of_a_refused_signal_does_nothing() -> None:
    """It never became an order."""
    harness = ExecutorHarness()
    harness.signal(quantity="0.001")
    harness.trace.clear()

    harness.cancel()

    assert harness.trace == []


def test_fill_during_a_cancel_is_booked_and_the_cancel_goes_on() -> None:
    """The venue decides; the event is that of the fill."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.cancel()

    harness.fill(quantity="0.4")

    assert harness.order().status is OrderStatus.PENDING_CANCEL
    assert len(harness.events_of(OrderPartiallyFilled)) == 1
    harness.end()
    assert (harness.order().status, str(harness.order().filled_quantity)) == (OrderStatus.CANCELLED, "0.4")


def test_cancel_that_comes_too_late_leaves_the_order_filled() -> None:
    """The fill arrives first, then the refusal of the cancel."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.cancel()
    harness.fill(quantity="1")

    harness.reject("ORDER_FILLED", OrderStatus.FILLED)

    assert harness.order().status is OrderStatus.FILLED


def test_refused_cancel_leaves_the_order_working_until_executions_tell_more() -> None:
    """The refusal arrives first, then the fill that was its reason."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.cancel()

    harness.reject("ORDER_FILLED", OrderStatus.FILLED)
    assert (harness.order().status, harness.order().reason) == (OrderStatus.ACCEPTED, "ORDER_FILLED")
    harness.fill(quantity="1")

    assert harness.order().status is OrderStatus.FILLED


def test_order_whose_cancel_was_refused_can_be_cancelled_again() -> None:
    """The venue was busy."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.fill(quantity="0.4")
    harness.cancel()
    harness.reject("TRY_LATER", OrderStatus.PARTIALLY_FILLED)
    assert harness.order().status is OrderStatus.PARTIALLY_FILLED

    harness.cancel()

    assert len(cancels(harness)) == 2


def test_cancel_of_an_order_that_the_exchange_does_not_find_is_refused() -> None:
    """It accepted the order before, so only executions can tell what happened; the name of the reason says it."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.cancel()

    harness.find_nothing()

    assert (harness.order().status, harness.order().reason) == (OrderStatus.ACCEPTED, "NOT_FOUND")


def test_cancel_without_an_answer_is_sent_again() -> None:
    """A cancel may be repeated blindly: it can only ever do the same."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.cancel()

    harness.advance(ms=1_000)
    harness.advance(ms=100)

    first, second = cancels(harness)
    assert first.client_order_id == second.client_order_id
    assert first.request_id != second.request_id


def test_cancel_without_an_answer_is_not_sent_again_once_the_order_is_over() -> None:
    """The execution said what the answer would have said."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.cancel()
    harness.end()

    harness.advance(ms=1_000)
    harness.advance(ms=100)

    assert len(cancels(harness)) == 1
    assert harness.count("requests_waiting") == 0


def test_journal_that_cannot_be_written_lets_no_cancel_out() -> None:
    """Fail closed."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.journal.is_broken = True

    with pytest.raises(FatalError):
        harness.cancel()

    assert harness.trace == []


def test_book_is_what_the_journal_says_after_cancels() -> None:
    """Live state and its fold are the same thing."""
    harness = ExecutorHarness()
    harness.have_working("s-1")
    harness.signal("s-2", expires_ns=NOW_NS + 60_000_000_000)
    harness.cancel("s-1")
    harness.cancel("s-2")
    harness.fill("s-2", quantity="0.4")
    harness.answer()
    harness.reject("TOO_LATE")

    assert len(refold(harness.journal.entries).orders) == 2
    assert contents(refold(harness.journal.entries)) == contents(harness.book)
    assert [entry.subject for entry in harness.entries_of(CancelIntended)] == [
        harness.order(name).client_order_id for name in ("s-1", "s-2")
    ]
