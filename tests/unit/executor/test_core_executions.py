"""Executions: each applied once, in the order of their numbers, whatever the network does to them."""

from typing import Any

import pytest
from support.executor_builders import (
    ExecutorHarness,
    contents,
    make_answer,
    make_ending,
    make_reference,
    make_report,
    make_resent,
    refold,
)

from common.errors import FatalError
from common.events.risk import AlarmRaised
from common.events.trading import (
    OrderEvent,
    OrderFilled,
    OrderPartiallyFilled,
    OrderStatus,
    PositionClosed,
    PositionEvent,
    PositionModified,
    PositionOpened,
    TradeExecuted,
)
from common.events.venue import ExecutionType, ResendExecutions, SubmitOrder
from common.money import plain
from executor.entries import ExecutionTaken


def last_resend(harness: ExecutorHarness) -> ResendExecutions:
    """The newest request, which asks for executions."""
    request = harness.in_flight
    assert isinstance(request, ResendExecutions)
    return request


def test_fill_is_recorded_then_told_with_the_position_it_made() -> None:
    """One durable fact; order and position follow from it."""
    harness = ExecutorHarness()
    harness.have_working()

    harness.fill(quantity="0.4", price="100")

    assert harness.story == ["ExecutionTaken", "TradeExecuted", "PositionOpened", "OrderPartiallyFilled"]
    assert (str(harness.order().filled_quantity), str(harness.position().quantity)) == ("0.4", "0.4")


def test_event_of_a_fill_tells_the_fill_and_where_the_order_stands() -> None:
    """Each event alone is enough."""
    harness = ExecutorHarness()
    harness.have_working()

    harness.fill(quantity="0.4", price="100", fee="0.02")
    harness.fill(quantity="0.6", price="99", fee="-0.01", liquidity="maker")

    [partial] = harness.events_of(OrderPartiallyFilled)
    [filled] = harness.events_of(OrderFilled)
    assert (str(partial.last_quantity), str(partial.last_price), str(partial.fee)) == ("0.4", "100", "0.02")
    assert (filled.execution_number, filled.liquidity, str(filled.fee)) == (2, "maker", "-0.01")
    assert (filled.filled_quantity, f"{filled.average_price:.4f}") == (1, "99.4000")


def test_trade_is_told_alone_with_its_cause() -> None:
    """What a ledger needs, to the last digit, and the way back to the tick."""
    harness = ExecutorHarness()
    harness.have_working(cause_id="gateway:1:tick.simulated.BTC/USDT:7", correlation_id="root")

    harness.fill(quantity="0.4", price="100.05", fee="-0.01", liquidity="maker")

    [trade] = harness.events_of(TradeExecuted)
    [position] = harness.events_of(PositionOpened)
    assert [str(amount) for amount in (trade.quantity, trade.price, trade.notional, trade.fee)] == [
        "0.4",
        "100.05",
        "40.020",
        "-0.01",
    ]
    assert (trade.execution_number, trade.side, trade.liquidity) == (1, "buy", "maker")
    assert trade.client_order_id == harness.order().client_order_id
    assert {(event.cause_id, event.correlation_id) for event in (trade, position)} == {
        ("gateway:1:tick.simulated.BTC/USDT:7", "root")
    }


def test_positions_open_change_close_and_cross_with_an_event_each() -> None:
    """Marked at the middle of the market; a closed position has no mark and no unrealised profit."""
    harness = ExecutorHarness()
    harness.reference = make_reference(bid="109", ask="111")
    harness.have_working("s-1", quantity="2")
    harness.have_working("s-2", quantity="5", action="sell")

    harness.fill("s-1", quantity="1", price="100")
    harness.fill("s-1", quantity="1", price="100")
    harness.fill("s-2", quantity="3", price="105")
    harness.fill("s-2", quantity="1", price="104")

    told = [
        (type(event), *(plain(amount) for amount in (event.quantity, event.realised_pnl, event.unrealised_pnl)))
        for event in harness.events
        if isinstance(event, PositionEvent)
    ]
    assert told == [
        (PositionOpened, "1", "0", "10"),
        (PositionModified, "2", "0", "20"),
        (PositionOpened, "-1", "10", "-5"),
        (PositionModified, "-2", "10", "-11"),
    ]
    harness.have_working("s-3", quantity="2")
    harness.fill("s-3", quantity="2", price="100")
    [closed] = harness.events_of(PositionClosed)
    assert (closed.quantity, closed.entry_price, closed.mark_price, closed.unrealised_pnl) == (0, None, None, 0)


def test_fill_without_a_known_market_is_booked_without_a_mark() -> None:
    """A fill is a fact; only its valuation needs a price."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.reference = None

    harness.fill()

    [position] = harness.events_of(PositionOpened)
    assert (position.mark_price, position.unrealised_pnl) == (None, 0)


def test_strategies_have_positions_of_their_own() -> None:
    """Opposite orders of two strategies in one instrument do not net."""
    harness = ExecutorHarness()
    harness.have_working("s-1", strategy="long")
    harness.have_working("s-2", strategy="short", action="sell")

    harness.fill("s-1", quantity="1")
    harness.fill("s-2", quantity="1")

    assert (harness.position("long").quantity, harness.position("short").quantity) == (1, -1)


def test_execution_that_comes_twice_is_applied_once() -> None:
    """A repeated report is a repeated report."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.fill(quantity="0.4")

    harness.execute(make_report(1, quantity="0.4"))

    assert str(harness.position().quantity) == "0.4"
    assert len(harness.entries_of(ExecutionTaken)) == 1
    assert harness.count("executions_repeated") == 1


def test_fill_that_comes_before_the_answer_ends_the_signal_as_accepted() -> None:
    """Two sockets, no order between them: the execution says what the answer would have said."""
    harness = ExecutorHarness()
    harness.signal()

    harness.fill(quantity="1")

    assert harness.acknowledgements == [("s-1", "accepted", None)]
    assert harness.order().status is OrderStatus.FILLED
    assert harness.count("orders_accepted") == 1


def test_answer_that_comes_after_the_fill_changes_nothing() -> None:
    """And frees the line for the next order."""
    harness = ExecutorHarness()
    harness.signal("s-1")
    harness.signal("s-2")
    harness.fill("s-1", quantity="1")

    harness.answer()

    assert harness.order("s-1").status is OrderStatus.FILLED
    assert harness.acknowledgements == [("s-1", "accepted", None)]
    assert harness.count("orders_accepted") == 1
    assert [type(request) for request in harness.sent] == [SubmitOrder, SubmitOrder]


def test_lost_answer_of_an_order_that_was_filled_is_not_asked_about() -> None:
    """Nothing is unknown any more."""
    harness = ExecutorHarness()
    harness.signal()
    harness.fill(quantity="0.4")

    harness.advance(ms=1_000)
    harness.advance(ms=100)

    assert [type(request) for request in harness.sent] == [SubmitOrder]
    assert harness.order().status is OrderStatus.PARTIALLY_FILLED


def test_fill_while_the_order_is_unknown_settles_it() -> None:
    """The query that is on its way then finds a settled order, whatever it says."""
    harness = ExecutorHarness()
    harness.signal()
    harness.advance(ms=1_000)
    harness.advance(ms=100)
    harness.fill(quantity="0.4")

    harness.find_nothing()

    assert harness.order().status is OrderStatus.PARTIALLY_FILLED
    assert harness.acknowledgements == [("s-1", "accepted", None)]
    assert len([request for request in harness.sent if isinstance(request, SubmitOrder)]) == 1


@pytest.mark.parametrize("status", [OrderStatus.CANCELLED, OrderStatus.EXPIRED])
def test_order_that_ends_at_the_venue_ends_here_with_its_reason(status: OrderStatus) -> None:
    """An ioc order's rest expires, an operator may cancel at the venue."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.fill(quantity="0.4")

    harness.end(execution_type=ExecutionType(status.value), reason="TIME_IN_FORCE")

    assert (harness.order().status, harness.order().reason) == (status, "TIME_IN_FORCE")
    assert str(harness.position().quantity) == "0.4"
    assert harness.count("orders_working") == 0


def test_order_that_expired_before_its_answer_was_accepted_once() -> None:
    """The exchange had it, so the signal's end is accepted; a market order that met nothing is such a case."""
    harness = ExecutorHarness()
    harness.signal()

    harness.end(execution_type=ExecutionType.EXPIRED, reason="NO_LIQUIDITY")

    assert harness.acknowledgements == [("s-1", "accepted", "NO_LIQUIDITY")]
    assert harness.order().status is OrderStatus.EXPIRED


def test_hole_in_the_executions_is_asked_for_once_and_filled_in_order() -> None:
    """What came after the hole is not applied before what fell into it."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.fill(quantity="0.1", price="100")

    harness.execute(make_report(3, quantity="0.3", price="102"))
    harness.execute(make_report(4, quantity="0.4", price="103"))

    assert str(harness.position().quantity) == "0.1"
    assert [request.from_number for request in harness.sent if isinstance(request, ResendExecutions)] == [2]
    harness.resend(
        make_report(2, quantity="0.2", price="101"),
        make_report(3, quantity="0.3", price="102"),
        make_report(4, quantity="0.4", price="103"),
    )
    assert [entry.report.execution_number for entry in harness.entries_of(ExecutionTaken)] == [1, 2, 3, 4]
    assert (harness.order().status, f"{harness.position().cost:f}") == (OrderStatus.FILLED, "102.0")
    assert harness.count("requests_waiting") == 0


def test_long_history_comes_in_pages() -> None:
    """Each page says how much there is, and the next one is asked for until it is all here."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.execute(make_report(5, quantity="0.1"))

    for first in (1, 3):
        harness.resend(make_report(first, quantity="0.1"), make_report(first + 1, quantity="0.1"), last_number=5)
    harness.resend(make_report(5, quantity="0.1"))

    assert [request.from_number for request in harness.sent if isinstance(request, ResendExecutions)] == [1, 3, 5]
    assert str(harness.position().quantity) == "0.5"
    assert harness.count("requests_waiting") == 0


def test_page_that_overlaps_what_arrived_meanwhile_is_applied_without_repeats() -> None:
    """The live stream filled the hole first; the page brings the same and one more."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.execute(make_report(2, quantity="0.2"))
    harness.execute(make_report(1, quantity="0.1"))

    harness.resend(make_report(1, quantity="0.1"), make_report(2, quantity="0.2"))

    assert str(harness.position().quantity) == "0.3"


def test_report_that_overtakes_the_page_is_not_forgotten() -> None:
    """It was put off because a page was on its way, but that page was written before it: ask once more.

    If it is the last fill of the day, no later report would show that it is missing.
    """
    harness = ExecutorHarness()
    harness.have_working()
    harness.execute(make_report(2, quantity="0.2"))
    page = make_resent(
        last_resend(harness), make_report(1, quantity="0.1"), make_report(2, quantity="0.2"), last_number=2
    )
    harness.execute(make_report(3, quantity="0.3"))

    harness.executor.on_answer(page, harness.now_ns)

    assert last_resend(harness).from_number == 3
    harness.resend(make_report(3, quantity="0.3"))
    assert str(harness.position().quantity) == "0.6"


def test_empty_page_ends_the_asking() -> None:
    """There is nothing new; the exchange is not asked in a circle."""
    harness = ExecutorHarness()

    harness.executor.ask_for_executions(harness.now_ns)
    harness.resend(last_number=0)

    assert len(harness.sent) == 1


def test_page_that_never_comes_is_asked_for_again() -> None:
    """The number to start from is that of now, not that of then."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.execute(make_report(3, quantity="0.3"))
    harness.execute(make_report(1, quantity="0.1"))

    harness.advance(ms=1_000)
    harness.advance(ms=100)

    assert last_resend(harness).from_number == 2


def test_answer_of_the_wrong_kind_is_no_answer() -> None:
    """A page for an order, an order's state for a page: both questions stay open."""
    harness = ExecutorHarness()
    harness.signal()
    [submit] = harness.sent
    assert isinstance(submit, SubmitOrder)
    harness.executor.ask_for_executions(harness.now_ns)
    page_for_order = make_resent(
        ResendExecutions(source="", epoch=0, seq=0, timestamp_ns=0, request_id=submit.request_id, from_number=1),
        last_number=0,
    )
    harness.executor.on_answer(page_for_order, harness.now_ns)
    harness.answer()

    request = last_resend(harness)
    order_for_page = make_answer(submit, request_id=request.request_id)
    harness.executor.on_answer(order_for_page, harness.now_ns)

    assert harness.order().status is OrderStatus.ACCEPTED
    assert last_resend(harness).request_id != request.request_id
    assert harness.count("answers_unexpected") == 2


def test_exchange_that_has_forgotten_executions_is_fatal() -> None:
    """Its numbers begin anew, so every new fill would look like a repeat: nothing may go on with that ledger."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.fill(quantity="0.1")
    harness.fill(quantity="0.1")
    harness.executor.ask_for_executions(harness.now_ns)

    with pytest.raises(FatalError, match="expected an exchange that has made 2 or more, was 0"):
        harness.resend(last_number=0)


def test_execution_of_an_order_that_is_not_ours_adopts_the_order_and_tells_people() -> None:
    """The exchange has it, so its fills move our account: they are booked, under a strategy of their own."""
    harness = ExecutorHarness()

    harness.execute(make_report(1, client_order_id="somebody-elses"))
    harness.execute(make_report(2, client_order_id="somebody-elses", filled_quantity="0.8", leaves_quantity="0.2"))

    assert [type(entry).__name__ for entry in harness.entries] == ["OrderAdopted", "ExecutionTaken", "ExecutionTaken"]
    assert [alarm.code for alarm in harness.events_of(AlarmRaised)] == ["ORDER_ADOPTED"]
    assert harness.count("orders_adopted") == 1
    assert str(harness.book.orders["somebody-elses"].leaves_quantity) == "0.2"
    assert str(harness.position("adopted").quantity) == "0.8"


@pytest.mark.parametrize(
    "report",
    [
        {"quantity": "1.01"},
        {"quantity": "0"},
        {"quantity": "NaN"},
        {"quantity": "1e-16"},
        {"price": None},
        {"price": "NaN"},
        {"price": "Infinity"},
        {"price": "1e16"},
        {"fee": "NaN"},
        {"fee": "-Infinity"},
    ],
)
def test_trade_that_cannot_be_booked_is_fatal_and_is_not_booked(report: dict[str, Any]) -> None:
    """The exchange tells what cannot be; the journal stays one that a next life can replay."""
    harness = ExecutorHarness()
    harness.have_working()

    with pytest.raises(FatalError):
        harness.fill(**report)

    assert harness.trace == []
    assert contents(harness.restarted().book) == contents(refold(harness.journal.entries))


def test_execution_after_the_end_of_an_order_is_fatal_and_is_not_booked() -> None:
    """Cancelled is cancelled; a fill after it means that one of us is wrong, and a person must look."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.end()

    with pytest.raises(FatalError, match="cannot follow cancelled"):
        harness.fill()

    assert harness.restarted().book.last_execution_number == 1


def test_every_event_of_an_order_names_its_signal_and_strategy() -> None:
    """Whoever listens can sort them."""
    harness = ExecutorHarness()
    harness.signal()
    harness.answer()
    harness.fill(quantity="0.4")
    harness.end()

    told = [event for event in harness.events if isinstance(event, OrderEvent)]
    assert {(event.signal_id, event.strategy) for event in told} == {("s-1", "momentum")}
    assert [event.status for event in told] == [
        OrderStatus.PENDING_NEW,
        OrderStatus.ACCEPTED,
        OrderStatus.PARTIALLY_FILLED,
        OrderStatus.CANCELLED,
    ]


def test_book_is_what_the_journal_says_after_executions() -> None:
    """Live state and its fold are the same thing."""
    harness = ExecutorHarness()
    harness.have_working("s-1")
    harness.have_working("s-2", action="sell")
    harness.fill("s-1", quantity="0.3", price="100.1")
    harness.fill("s-2", quantity="0.7", price="99.9")
    harness.execute(make_report(3, client_order_id="somebody-elses"))
    harness.execute(make_ending(4, "s-1"))

    assert contents(refold(harness.journal.entries)) == contents(harness.book)
