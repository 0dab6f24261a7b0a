"""Restarts: the journal alone rebuilds everything, and the exchange is asked before anything new is begun."""

from collections.abc import Callable

import pytest
from support.executor_builders import (
    NOW_NS,
    ExecutorHarness,
    contents,
    make_denial,
    make_ending,
    make_intent,
    make_report,
)

from common.clock import NS_PER_S
from common.events.trading import OrderStatus
from common.events.venue import (
    AnswerOutcome,
    CancelOrder,
    QueryAccount,
    QueryOrder,
    ReplaceOrder,
    ResendExecutions,
    SubmitOrder,
)
from common.ids import make_client_order_id
from executor.intake import UnreadableSignal

Act = Callable[[ExecutorHarness], object]

# A life with everything in it: refusals, conflicts, silence, fills before answers, cancels, amendments, and an order of
# somebody else.
STORY: list[Act] = [
    lambda life: life.signal("s-1", quantity="2"),
    lambda life: life.signal("s-2", action="sell"),
    lambda life: life.signal("s-3", quantity="0.001"),
    lambda life: life.signal("s-1", quantity="3"),
    lambda life: life.executor.on_unreadable_signal(
        UnreadableSignal("s-4", "momentum", "simulated", "BTC/USDT", "d" * 32, "$.action"), life.now_ns
    ),
    lambda life: life.fill("s-1", quantity="0.5", price="99.9"),
    lambda life: life.answer(),
    lambda life: life.cancel("s-2"),
    lambda life: life.advance(ms=1_000),
    lambda life: life.advance(ms=100),
    lambda life: life.find_nothing(),
    lambda life: life.answer(AnswerOutcome.EXISTS),
    lambda life: life.fill("s-2", quantity="0.3", price="100.1"),
    lambda life: life.execute(make_report(3, client_order_id="somebody-elses")),
    lambda life: life.reject("TOO_LATE"),
    lambda life: life.signal("s-5"),
    lambda life: life.reject("INSUFFICIENT_BALANCE"),
    lambda life: life.signal("s-6", expires_ns=NOW_NS + 2 * NS_PER_S),
    lambda life: life.advance(ms=1_000),
    lambda life: life.advance(ms=100),
    lambda life: life.find_nothing(),
    lambda life: life.cancel("s-1"),
    lambda life: life.execute(make_ending(4, "s-1")),
    lambda life: life.fill("s-2", quantity="0.7", price="100.2"),
    lambda life: life.answer(AnswerOutcome.ACCEPTED, OrderStatus.CANCELLED),
    lambda life: life.signal("s-7"),
    lambda life: life.answer(),
    lambda life: life.amend("a-1", "s-7"),
    lambda life: life.replaced("s-7", order_quantity="2", limit_price="101", replace_id="a-1"),
    lambda life: life.answer(),
    lambda life: life.amend("a-2", "s-7", quantity="3"),
    lambda life: life.reject("TOO_LATE"),
    lambda life: life.amend("a-3", "s-7", quantity="0.001"),
    lambda life: life.cancel("s-7", request_id="c-1"),
    lambda life: life.advance(ms=100),
]


def live_through(acts: list[Act]) -> ExecutorHarness:
    """A life up to a point."""
    life = ExecutorHarness()
    for act in acts:
        act(life)
    return life


@pytest.mark.parametrize("count", range(len(STORY) + 1))
def test_restart_at_any_point_of_a_story_knows_the_same(count: int) -> None:
    """Signals with their answers, orders, positions, the place in the executions: all of it is a fold."""
    life = live_through(STORY[:count])

    next_life = life.restarted()

    assert contents(next_life.book) == contents(life.book)


@pytest.mark.parametrize("count", range(len(STORY) + 1))
def test_story_goes_on_after_a_restart_as_if_nothing_had_happened(count: int) -> None:
    """Every signal that had its answer gets the same one again; no order is sent before the exchange was asked."""
    life = live_through(STORY[:count])
    answers = {signal_id: record.outcome for signal_id, record in life.book.signals.items() if record.outcome}

    next_life = life.restarted()
    next_life.recover()
    for record in life.book.signals.values():
        order = life.book.orders.get(record.client_order_id or "")
        if order is not None:
            next_life.executor.on_signal(order.signal, next_life.now_ns)

    repeated = {signal_id: outcome for signal_id, outcome, _ in next_life.acknowledgements}
    expected = {name: end.outcome.value for name, end in answers.items() if life.book.signals[name].client_order_id}
    assert repeated == expected
    assert not any(isinstance(request, SubmitOrder) for request in next_life.sent)


def test_story_has_an_entry_of_every_kind() -> None:
    """What the story leaves out would not be tested by it."""
    kinds = {type(entry).__name__ for entry in live_through(STORY).journal.entries}

    assert kinds == {
        "OrderIntended",
        "SignalDenied",
        "SignalConflicted",
        "OrderAnswerTaken",
        "OrderUnanswered",
        "OrderAbandoned",
        "CancelIntended",
        "CancelRefused",
        "AmendIntended",
        "AmendRefused",
        "OrderAdopted",
        "ExecutionTaken",
    }


def test_death_between_any_two_entries_leaves_a_journal_that_can_be_recovered() -> None:
    """Whatever was the last fact that became durable, the next life asks about each open order, and sends none."""
    entries = live_through(STORY).journal.entries
    for count in range(len(entries) + 1):
        life = ExecutorHarness(entries=entries[:count], epoch=2)
        open_orders = [order for order in life.book.working_orders() if order.is_unanswered]

        life.executor.recover(life.now_ns)
        while isinstance(life.in_flight, QueryOrder | CancelOrder | ReplaceOrder):
            life.answer()

        asked = [request.client_order_id for request in life.sent if isinstance(request, QueryOrder)]
        assert asked == [order.client_order_id for order in open_orders]
        assert not any(isinstance(request, SubmitOrder) for request in life.sent)
        assert isinstance(life.in_flight, ResendExecutions)


def test_first_start_asks_for_the_executions_from_the_beginning() -> None:
    """An exchange may have a past of which this journal knows nothing."""
    life = ExecutorHarness()

    life.executor.recover(life.now_ns)

    [request] = life.sent
    assert isinstance(request, ResendExecutions)
    assert request.from_number == 1
    assert not life.executor.is_recovered


def test_start_is_over_when_every_question_is_answered() -> None:
    """Open intents first, then pending cancels and what was missed; only then new signals are for us."""
    earlier = ExecutorHarness()
    earlier.have_working("s-1")
    earlier.cancel("s-1")
    earlier.signal("s-2")

    life = earlier.restarted()
    life.executor.recover(life.now_ns)

    steps = []
    while not life.executor.is_recovered:
        steps.append(type(life.in_flight))
        if isinstance(life.in_flight, ResendExecutions):
            life.resend(make_ending(1, "s-1"))
        elif isinstance(life.in_flight, QueryAccount):
            life.report_account()
        else:
            life.answer()
    assert steps == [CancelOrder, QueryOrder, ResendExecutions, QueryAccount]
    assert life.order("s-1").status is OrderStatus.CANCELLED
    assert life.acknowledgements == [("s-2", "accepted", None)]


def test_start_against_a_silent_exchange_does_not_end() -> None:
    """Nothing new is begun until it is known what is open; the question is repeated, after growing pauses."""
    life = ExecutorHarness(entries=[make_intent()])
    life.executor.recover(life.now_ns)

    for _ in range(5):
        life.advance(ms=1_000)
        life.advance(ms=1_000)

    assert not life.executor.is_recovered
    assert {type(request) for request in life.sent} == {QueryOrder}
    assert len(life.sent) == 6


def test_intent_that_never_left_is_sent_after_the_restart_under_its_id() -> None:
    """Killed between the journal and the socket: the exchange says that it has nothing, so it is sent now."""
    life = ExecutorHarness(entries=[make_intent()])
    life.executor.recover(life.now_ns)

    life.find_nothing()
    life.answer()

    assert [type(request) for request in life.sent] == [QueryOrder, SubmitOrder, ResendExecutions]
    assert {request.client_order_id for request in life.sent[:2]} == {make_client_order_id("s-1")}
    assert life.acknowledgements == [("s-1", "accepted", None)]


def test_order_that_arrived_before_the_restart_is_not_sent_again() -> None:
    """Killed between the socket and the answer."""
    life = ExecutorHarness(entries=[make_intent()])
    life.executor.recover(life.now_ns)

    life.answer()

    assert not any(isinstance(request, SubmitOrder) for request in life.sent)
    assert life.acknowledgements == [("s-1", "accepted", None)]


def test_intent_that_expired_while_nobody_was_there_is_let_go() -> None:
    """The strategy is told that nothing was done."""
    life = ExecutorHarness(entries=[make_intent()], now_ns=NOW_NS + 60 * NS_PER_S)
    life.executor.recover(life.now_ns)

    life.find_nothing()

    assert life.acknowledgements == [("s-1", "denied", "EXPIRED")]
    assert not any(isinstance(request, SubmitOrder) for request in life.sent)


def test_refused_signal_is_refused_again_with_the_recorded_words_after_a_restart() -> None:
    """What the market says now has no part in it."""
    earlier = ExecutorHarness()
    earlier.reference = None
    earlier.signal()
    life = earlier.restarted()
    life.recover()

    life.signal()

    assert life.acknowledgements == [("s-1", "denied", "NO_REFERENCE")]
    assert life.entries == []


def test_denial_written_by_an_earlier_version_is_enough_to_refuse_again() -> None:
    """The record alone answers, without the signal."""
    life = ExecutorHarness(entries=[make_denial()])
    life.recover()

    life.signal()

    assert life.acknowledgements == [("s-1", "conflict", "CONFLICT")]
    assert [type(request) for request in life.sent] == [ResendExecutions, QueryAccount]


def test_executions_of_the_time_between_are_applied_once_and_in_order() -> None:
    """Two happened while nobody listened; the live stream brings the second one again."""
    earlier = ExecutorHarness()
    earlier.have_working()
    earlier.fill(quantity="0.1", price="100")
    life = earlier.restarted()
    life.executor.recover(life.now_ns)
    life.execute(make_report(3, quantity="0.3", price="102"))

    life.resend(make_report(2, quantity="0.2", price="101"), make_report(3, quantity="0.3", price="102"))
    life.execute(make_report(3, quantity="0.3", price="102"))
    life.report_account()

    assert (str(life.position().quantity), str(life.position().cost)) == ("0.6", "60.8")
    assert life.executor.is_recovered


def test_wish_to_cancel_an_unanswered_order_outlives_a_restart() -> None:
    """The query finds the order, the cancel follows."""
    earlier = ExecutorHarness()
    earlier.signal()
    earlier.cancel()
    life = earlier.restarted()
    life.executor.recover(life.now_ns)

    life.answer()
    life.resend()
    life.report_account()

    assert isinstance(life.in_flight, CancelOrder)
    assert life.order().status is OrderStatus.PENDING_CANCEL


def test_request_ids_of_two_lives_differ() -> None:
    """An answer that outlives its asker fits no question of the next life."""
    earlier = ExecutorHarness()
    earlier.executor.recover(earlier.now_ns)
    life = earlier.restarted()
    life.executor.recover(life.now_ns)

    assert earlier.sent[0].request_id != life.sent[0].request_id


def test_restart_of_a_restart_changes_nothing() -> None:
    """Starting up writes no entry of its own."""
    life = live_through(STORY)

    third = life.restarted().restarted()

    assert contents(third.book) == contents(life.book)
    assert third.count("journal_entries_replayed") == len(life.journal.entries)
