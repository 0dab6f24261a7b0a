"""An exchange that may have forgotten an order: it is never sent again; the account tells, or a person has to look."""

import contextlib

import pytest
from support.executor_builders import (
    NOW_NS,
    SYMBOL,
    ExecutorHarness,
    Killed,
    contents,
    make_venue_order,
    refold,
)

from common.events.base import DRAFT
from common.events.risk import AlarmRaised, ControlAction, ControlRequested, TradingState
from common.events.trading import OrderStatus
from common.events.venue import AnswerOutcome, CancelOrder, QueryAccount, QueryOrder, SubmitOrder
from executor.entries import OrderUnanswered, TradingStateMoved

TIMEOUT_MS = 1_000
LIFETIME_MS = 5_000  # of the builders' signals


def forget(harness: ExecutorHarness) -> None:
    """The exchange finds nothing, and says that this proves nothing."""
    assert isinstance(harness.in_flight, QueryOrder)
    harness.answer(AnswerOutcome.UNDECIDED, None)


def have_undecided(**config: int) -> ExecutorHarness:
    """An order without an answer, at an exchange that cannot tell; the account is asked."""
    harness = ExecutorHarness(**config)
    harness.recover()
    harness.signal()
    harness.advance(ms=TIMEOUT_MS)
    harness.advance(ms=100)
    forget(harness)
    assert isinstance(harness.in_flight, QueryAccount)
    return harness


def submissions(harness: ExecutorHarness) -> int:
    """How many orders were sent."""
    return len([request for request in harness.sent if isinstance(request, SubmitOrder)])


def alarms(harness: ExecutorHarness) -> list[str]:
    """Codes of what people were told."""
    return [alarm.code for alarm in harness.events_of(AlarmRaised)]


def test_order_that_may_be_forgotten_is_not_sent_again() -> None:
    """The same id again would be a second order."""
    harness = have_undecided()

    harness.report_account(open_orders=[])

    assert submissions(harness) == 1
    assert harness.order().status is OrderStatus.UNKNOWN
    assert harness.count("orders_undecided") == 1
    assert alarms(harness) == []


def test_order_that_the_account_lists_is_accepted() -> None:
    """What works is seen; the signal has its end, and nobody needs to be called."""
    harness = have_undecided()

    harness.report_account(open_orders=[make_venue_order(harness.order().client_order_id)])

    assert harness.acknowledgements == [("s-1", "accepted", None)]
    assert (harness.order().status, harness.order().venue_order_id) == (OrderStatus.ACCEPTED, "venue-1")
    assert alarms(harness) == []
    assert contents(refold(harness.journal.entries)) == contents(harness.book)


def test_cancel_that_waited_goes_out_when_the_account_lists_the_order() -> None:
    """As after any first word of the exchange."""
    harness = have_undecided()
    harness.cancel()

    harness.report_account(open_orders=[make_venue_order(harness.order().client_order_id)])

    assert isinstance(harness.in_flight, CancelOrder)
    assert harness.order().status is OrderStatus.PENDING_CANCEL


def test_execution_decides() -> None:
    """It bears the id of its order."""
    harness = have_undecided()

    harness.fill(quantity="1", leaves_quantity="0")
    harness.report_account()

    assert harness.acknowledgements == [("s-1", "accepted", None)]
    assert alarms(harness) == []


def test_order_that_nobody_shows_after_its_expiry_ends_with_an_alarm_and_halts_its_symbol() -> None:
    """At most once, and a person looks; what a look from before the expiry shows may still change."""
    harness = have_undecided(reconcile_interval_ms=1_000)
    harness.advance(ms=LIFETIME_MS)
    harness.report_account(open_orders=[])
    assert harness.order().status is OrderStatus.UNKNOWN

    harness.advance(ms=1_000)
    harness.report_account(open_orders=[])

    assert harness.acknowledgements == [("s-1", "denied", "UNRESOLVED")]
    assert alarms(harness) == ["ORDER_UNRESOLVED"]
    moved = [(entry.scope, entry.state, entry.by) for entry in harness.entries_of(TradingStateMoved)]
    assert moved == [(f"symbol:simulated.{SYMBOL}", TradingState.HALTED, "reconciliation")]
    assert submissions(harness) == 1
    assert contents(refold(harness.journal.entries)) == contents(harness.book)


def test_late_fill_of_an_order_that_was_given_up_is_booked() -> None:
    """The person on call hears of it a second time."""
    harness = have_undecided(reconcile_interval_ms=1_000)
    harness.advance(ms=LIFETIME_MS)
    harness.report_account(open_orders=[])
    harness.advance(ms=1_000)
    harness.report_account(open_orders=[])

    harness.fill(quantity="1", leaves_quantity="0")

    assert harness.order().status is OrderStatus.FILLED
    assert harness.position().quantity == 1
    assert alarms(harness) == ["ORDER_UNRESOLVED", "ORDER_CONTRADICTED"]


def test_submission_that_the_exchange_cannot_account_for_is_not_repeated() -> None:
    """Its gateway may have lost the venue while it placed the order."""
    harness = ExecutorHarness()
    harness.recover()
    harness.signal()

    harness.answer(AnswerOutcome.UNDECIDED, None)
    harness.report_account(open_orders=[])

    assert submissions(harness) == 1
    assert harness.order().status is OrderStatus.UNKNOWN


def test_query_tells_how_old_the_order_is_at_most() -> None:
    """An exchange that forgets after a time needs it to say whether it would still know the order."""
    harness = have_undecided()

    [query] = [request for request in harness.sent if isinstance(request, QueryOrder)]

    assert query.since_ns == harness.order().signal.timestamp_ns


def test_throttled_order_is_sent_again_also_where_nothing_is_remembered() -> None:
    """The exchange has said that it did nothing."""
    harness = ExecutorHarness()
    harness.signal()
    harness.answer(AnswerOutcome.THROTTLED, None)
    harness.advance(ms=100)

    forget(harness)

    assert submissions(harness) == 2
    harness.advance(ms=TIMEOUT_MS)
    harness.advance(ms=100)
    forget(harness)
    assert submissions(harness) == 2


@pytest.mark.parametrize("steps", range(4))
def test_order_of_a_killed_executor_is_not_sent_again(steps: int) -> None:
    """Whether it had left nobody knows: the intent is durable, and that is all."""
    harness = ExecutorHarness()
    harness.recover()
    harness.steps_left = steps
    with contextlib.suppress(Killed):
        harness.signal()
    life = harness.restarted()
    life.recover()
    if isinstance(life.in_flight, QueryOrder):
        forget(life)
        life.resend()
        life.report_account(open_orders=[])

    assert submissions(life) == 0
    assert life.executor.is_recovered


def test_halted_order_is_not_made_void() -> None:
    """Its id cannot be used up where ids are forgotten: the refusal would be of a second order."""
    harness = ExecutorHarness()
    harness.recover()
    harness.signal()
    halt = ControlRequested(
        **DRAFT, timestamp_ns=NOW_NS, request_id="c-1", action=ControlAction.HALT, by="jane", reason="odd"
    )
    harness.executor.on_control(halt, NOW_NS)
    harness.advance(ms=TIMEOUT_MS)
    harness.advance(ms=100)

    forget(harness)
    harness.report_account(open_orders=[make_venue_order(harness.order().client_order_id)])

    assert submissions(harness) == 1
    assert isinstance(harness.in_flight, CancelOrder)


def test_order_that_waits_to_be_sent_is_not_sent_once_an_execution_has_told_of_it() -> None:
    """However it came there: the exchange has it."""
    harness = ExecutorHarness()
    harness.signal("s-1")
    harness.signal("s-2")
    harness.fill("s-2", quantity="1", leaves_quantity="0")

    harness.answer()

    assert submissions(harness) == 1
    assert harness.order("s-2").status is OrderStatus.FILLED


def test_silence_is_recorded_once() -> None:
    """However often the exchange cannot tell."""
    harness = have_undecided()
    harness.report_account(open_orders=[])
    life = harness.restarted()
    life.recover()
    forget(life)

    assert len([entry for entry in harness.journal.entries if isinstance(entry, OrderUnanswered)]) == 1


def test_order_that_works_under_a_name_of_the_venue_is_adopted_and_ours_is_given_up() -> None:
    """Nobody can match the two: what it fills is in the account once, and two alarms say so."""
    harness = have_undecided(reconcile_interval_ms=1_000)
    harness.fill(client_order_id="venue-name", quantity="1", filled_quantity="1", leaves_quantity="0")
    harness.advance(ms=LIFETIME_MS)
    harness.report_account()
    harness.advance(ms=1_000)
    harness.report_account()

    assert submissions(harness) == 1
    assert harness.position("adopted").quantity == 1
    assert harness.acknowledgements[-1] == ("s-1", "denied", "UNRESOLVED")
    assert alarms(harness) == ["ORDER_ADOPTED", "ORDER_UNRESOLVED"]
