"""What the exchange says, or does not say, about an order."""

import pytest
from support.executor_builders import NOW_NS, ExecutorHarness, contents, make_answer, refold

from common.events.base import DRAFT
from common.events.system import ChannelHeartbeat
from common.events.trading import OrderAccepted, OrderRejected, OrderStatus, OrderUnknown
from common.events.venue import AnswerOutcome, QueryOrder, RequestRefused, SubmitOrder
from executor.entries import OrderAbandoned, OrderAnswerTaken, OrderUnanswered

TIMEOUT_MS = 1_000
PAUSE_MS = 100


def fall_silent(harness: ExecutorHarness) -> None:
    """Let the newest request go unanswered, and the pause after it pass."""
    harness.advance(ms=TIMEOUT_MS)
    harness.advance(ms=PAUSE_MS)


def test_accepted_order_is_recorded_then_told() -> None:
    """The strategy's answer rests on a durable fact."""
    harness = ExecutorHarness()
    harness.signal()
    harness.trace.clear()

    harness.answer(venue_order_id="venue-7")

    assert harness.story == ["OrderAnswerTaken", "OrderAccepted", "SignalAcknowledged"]
    assert harness.acknowledgements == [("s-1", "accepted", None)]
    assert (harness.order().status, harness.order().venue_order_id) == (OrderStatus.ACCEPTED, "venue-7")


def test_rejected_order_ends_its_signal_with_the_exchange_s_reason() -> None:
    """It will never live; the strategy learns why."""
    harness = ExecutorHarness()
    harness.signal()

    harness.reject("INSUFFICIENT_BALANCE")

    assert harness.acknowledgements == [("s-1", "rejected", "INSUFFICIENT_BALANCE")]
    assert [event.reason for event in harness.events_of(OrderRejected)] == ["INSUFFICIENT_BALANCE"]
    assert harness.count("orders_working") == 0


def test_order_id_taken_by_other_terms_at_the_exchange_rejects_the_order() -> None:
    """Whatever it has under our id, it is not this order."""
    harness = ExecutorHarness()
    harness.signal()

    harness.answer(AnswerOutcome.CONFLICT, None, reason="TERMS_DIFFER")

    assert harness.acknowledgements == [("s-1", "rejected", "TERMS_DIFFER")]


def test_silence_makes_the_order_unknown_and_is_asked_about() -> None:
    """No answer is neither yes nor no: first the fact that we do not know, then the question."""
    harness = ExecutorHarness()
    harness.signal()
    harness.trace.clear()

    fall_silent(harness)

    assert harness.story == ["OrderUnanswered", "OrderUnknown", "QueryOrder"]
    assert harness.order().status is OrderStatus.UNKNOWN
    assert harness.acknowledgements == []


def test_silence_is_noticed_at_the_timeout_and_not_before() -> None:
    """A slow answer is still an answer."""
    harness = ExecutorHarness()
    harness.signal()

    harness.advance(ms=TIMEOUT_MS - 1)
    assert harness.events_of(OrderUnknown) == []
    harness.answer()

    assert harness.acknowledgements == [("s-1", "accepted", None)]


def test_query_that_finds_the_order_makes_it_accepted() -> None:
    """It had arrived; only the answer was lost. Nothing is sent again."""
    harness = ExecutorHarness()
    harness.signal()
    fall_silent(harness)

    harness.answer()

    assert harness.acknowledgements == [("s-1", "accepted", None)]
    assert [type(request) for request in harness.sent] == [SubmitOrder, QueryOrder]


def test_query_that_finds_the_order_rejected_makes_it_rejected() -> None:
    """The answer that was lost had been a refusal; the state tells it."""
    harness = ExecutorHarness()
    harness.signal()
    fall_silent(harness)

    harness.answer(AnswerOutcome.ACCEPTED, OrderStatus.REJECTED, reason="EXPIRED")

    assert harness.acknowledgements == [("s-1", "rejected", "EXPIRED")]


@pytest.mark.parametrize("status", [OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED])
def test_query_that_finds_the_order_at_its_end_waits_for_the_executions(status: OrderStatus) -> None:
    """Fills come from executions only, each once; the state of the order claims none."""
    harness = ExecutorHarness()
    harness.signal()
    fall_silent(harness)

    harness.answer(AnswerOutcome.ACCEPTED, status)

    assert harness.acknowledgements == [("s-1", "accepted", None)]
    assert (harness.order().status, harness.order().filled_quantity) == (OrderStatus.ACCEPTED, 0)


def test_query_that_finds_another_order_under_the_id_rejects_ours() -> None:
    """A conflict does not become an acceptance because it answers a query."""
    harness = ExecutorHarness()
    harness.signal()
    fall_silent(harness)

    harness.answer(AnswerOutcome.CONFLICT, None, reason="TERMS_DIFFER")

    assert harness.acknowledgements == [("s-1", "rejected", "TERMS_DIFFER")]


def test_order_that_the_exchange_never_had_is_sent_again_under_the_same_id() -> None:
    """A retry is always the same id: if the first one is still on its way, it becomes a repeat."""
    harness = ExecutorHarness()
    harness.signal()
    fall_silent(harness)

    harness.find_nothing()

    first, query, second = harness.sent
    assert isinstance(second, SubmitOrder)
    assert first.client_order_id == query.client_order_id == second.client_order_id
    assert len({request.request_id for request in harness.sent}) == 3


def test_order_sent_again_that_exists_by_now_is_accepted() -> None:
    """The first submission arrived after the query: the exchange says EXISTS, which is a yes."""
    harness = ExecutorHarness()
    harness.signal()
    fall_silent(harness)
    harness.find_nothing()

    harness.answer(AnswerOutcome.EXISTS, OrderStatus.ACCEPTED)

    assert harness.acknowledgements == [("s-1", "accepted", None)]


def test_repeat_of_what_was_rejected_is_rejected() -> None:
    """EXISTS tells that it was asked before, the status tells what became of it."""
    harness = ExecutorHarness()
    harness.signal()
    fall_silent(harness)
    harness.find_nothing()

    harness.answer(AnswerOutcome.EXISTS, OrderStatus.REJECTED, reason="EXPIRED")

    assert harness.acknowledgements == [("s-1", "rejected", "EXPIRED")]


def test_order_that_the_exchange_does_not_have_after_its_expiry_is_abandoned() -> None:
    """Asked and answered after the time was over: nothing can arrive any more, so the signal has its end."""
    harness = ExecutorHarness()
    harness.signal(expires_ns=NOW_NS + TIMEOUT_MS * 1_000_000)
    fall_silent(harness)

    harness.find_nothing()

    assert harness.acknowledgements == [("s-1", "denied", "EXPIRED")]
    assert [type(request) for request in harness.sent] == [SubmitOrder, QueryOrder]
    assert len(harness.entries_of(OrderAbandoned)) == 1


def test_not_found_from_before_the_expiry_does_not_end_an_order_that_may_still_arrive() -> None:
    """The exchange looked while the order could still be accepted: it must look once more before we let go."""
    harness = ExecutorHarness()
    harness.signal(expires_ns=NOW_NS + 1_500 * 1_000_000)
    fall_silent(harness)
    harness.advance(ms=900)

    harness.find_nothing()
    assert isinstance(harness.sent[-1], QueryOrder)
    assert harness.acknowledgements == []

    harness.answer()
    assert harness.acknowledgements == [("s-1", "accepted", None)]


def test_query_without_an_answer_is_asked_again_after_longer_pauses() -> None:
    """Until somebody answers: never a second order, never a guess, and one record of not knowing."""
    harness = ExecutorHarness()
    harness.signal()

    for pause_ms in (100, 200, 400):
        harness.advance(ms=TIMEOUT_MS)
        harness.advance(ms=pause_ms - 1)
        waiting_for_pause = len(harness.sent)
        harness.advance(ms=1)
        assert len(harness.sent) == waiting_for_pause + 1

    assert [type(request) for request in harness.sent] == [SubmitOrder, QueryOrder, QueryOrder, QueryOrder]
    assert len(harness.entries_of(OrderUnanswered)) == 1


def test_orders_behind_an_unknown_one_wait_for_its_end() -> None:
    """The order of one strategy's signals is kept through a silence."""
    harness = ExecutorHarness()
    harness.signal("s-1")
    harness.signal("s-2")
    fall_silent(harness)
    harness.find_nothing()

    assert {request.client_order_id for request in harness.sent} == {harness.order("s-1").client_order_id}
    harness.answer()

    assert harness.sent[-1].client_order_id == harness.order("s-2").client_order_id


def test_answer_that_comes_after_the_timeout_is_not_taken() -> None:
    """The question that followed it will bring the same news; taking both could mix two requests up."""
    harness = ExecutorHarness()
    harness.signal()
    [submit] = harness.sent
    fall_silent(harness)

    harness.answer(to=submit)

    assert harness.order().status is OrderStatus.UNKNOWN
    assert harness.count("answers_late") == 1
    harness.answer()
    assert harness.acknowledgements == [("s-1", "accepted", None)]


def test_answer_that_comes_twice_is_taken_once() -> None:
    """The second one finds no question."""
    harness = ExecutorHarness()
    harness.signal()
    harness.answer()

    harness.answer()

    assert len(harness.events_of(OrderAccepted)) == len(harness.entries_of(OrderAnswerTaken)) == 1


def test_answer_with_the_request_id_of_an_earlier_life_is_not_taken() -> None:
    """Request ids carry the epoch, so an answer that outlived a crash fits no question."""
    harness = ExecutorHarness()
    harness.signal()
    [submit] = harness.sent

    later = harness.restarted()
    later.executor.recover(later.now_ns)
    later.executor.on_answer(make_answer(submit), later.now_ns)

    assert later.count("answers_late") == 1
    assert later.acknowledgements == []


def test_request_that_the_exchange_could_not_read_stays_unanswered() -> None:
    """A version mismatch: counted, and asked about after the timeout, since nothing says that nothing was done."""
    harness = ExecutorHarness()
    harness.signal()

    harness.executor.on_answer(
        RequestRefused(**DRAFT, timestamp_ns=NOW_NS, reason="UNREADABLE", detail="unknown type"), NOW_NS
    )
    fall_silent(harness)

    assert harness.count("requests_refused") == 1
    assert isinstance(harness.sent[-1], QueryOrder)


def test_message_that_is_no_answer_is_counted() -> None:
    """And changes nothing."""
    harness = ExecutorHarness()
    harness.signal()

    harness.executor.on_answer(
        ChannelHeartbeat(**DRAFT, timestamp_ns=NOW_NS, role="exchange", channel="orders", sequences={}), NOW_NS
    )

    assert harness.count("answers_unexpected") == 1
    assert harness.order().status is OrderStatus.PENDING_NEW


def test_book_is_what_the_journal_says_after_silence_and_answers() -> None:
    """Live state and its fold are the same thing."""
    harness = ExecutorHarness()
    for name in ("s-1", "s-2", "s-3"):
        harness.signal(name)
    fall_silent(harness)
    harness.find_nothing()
    harness.reject("NO")
    harness.answer()

    assert contents(refold(harness.journal.entries)) == contents(harness.book)
