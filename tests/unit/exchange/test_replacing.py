"""Other terms for a working order: once for each replace_id, whatever is repeated, filled meanwhile or restarted."""

from decimal import Decimal
from typing import Any

import pytest
from support.exchange_builders import (
    NOW_NS,
    make_instrument,
    make_query,
    make_replace,
    make_submit,
    make_tick,
    make_venue,
)

from common.events.venue import (
    AnswerOutcome,
    CancelOrder,
    ExecutionReported,
    ExecutionType,
    OrderAnswered,
    QueryOrder,
    ReplaceOrder,
    SubmitOrder,
)
from exchange.desk import OrderDesk
from exchange.memory_ledger import MemoryLedger

SECOND_NS = 1_000_000_000


def make_desk(ledger: MemoryLedger) -> OrderDesk:
    """A desk at a venue of 99 to 101 without latency."""
    venue = make_venue(make_instrument(max_notional=Decimal(1000)))
    venue.on_tick(make_tick())
    return OrderDesk(venue, ledger)


def ask(
    desk: OrderDesk, request: SubmitOrder | ReplaceOrder | CancelOrder | QueryOrder, now_ns: int = NOW_NS
) -> OrderAnswered:
    """Make a request about one order."""
    answer = desk.handle(request, now_ns)
    assert isinstance(answer, OrderAnswered)
    return answer


def rest(desk: OrderDesk, *names: str) -> None:
    """Have orders to buy 1 at 100 in the book."""
    for name in names:
        ask(desk, make_submit(name))
    desk.advance(NOW_NS)


def test_replacement_is_told_by_a_numbered_report_and_holds() -> None:
    """The order goes on under its id, with the new total and the new limit."""
    desk = make_desk(MemoryLedger())
    rest(desk, "order-1")

    answer = ask(desk, make_replace(quantity="3", limit_price="98"))
    [report] = desk.advance(NOW_NS)
    [fill] = desk.market(make_tick(ask=98.0, ask_size=5.0))

    assert (answer.outcome, answer.venue_order_id) == (AnswerOutcome.ACCEPTED, "sim-1")
    assert (report.execution_type, report.execution_number, report.replace_id) == (
        ExecutionType.REPLACED,
        1,
        "replace-1",
    )
    assert (report.order_quantity, report.limit_price, report.leaves_quantity) == (3, 98, 3)
    assert (fill.price, fill.quantity, fill.leaves_quantity) == (98, 3, 0)


def test_replacement_that_crosses_the_market_takes_what_is_shown() -> None:
    """It meets the market like a new order."""
    desk = make_desk(MemoryLedger())
    rest(desk, "order-1")

    ask(desk, make_replace(quantity="1", limit_price="101"))
    reports = desk.advance(NOW_NS)

    assert [report.execution_type for report in reports] == [ExecutionType.REPLACED, ExecutionType.TRADE]
    assert (reports[1].price, reports[1].liquidity) == (101, "taker")


@pytest.mark.parametrize("is_restarted", [False, True])
def test_repeated_replacement_is_answered_as_the_first_time(is_restarted: bool) -> None:
    """Also by the next life; and nothing is changed twice."""
    ledger = MemoryLedger()
    desk = make_desk(ledger)
    rest(desk, "order-1")
    first = ask(desk, make_replace())
    ask(desk, make_replace(replace_id="replace-2", quantity="5"))
    desk = make_desk(ledger) if is_restarted else desk

    again = ask(desk, make_replace(), NOW_NS + SECOND_NS)

    recorded = ledger.find("order-1")
    assert (again.outcome, again.status, again.reason) == (first.outcome, first.status, first.reason)
    assert recorded is not None
    assert (recorded.quantity, ledger.last_execution_number()) == (5, 2)


def test_repeat_of_a_refused_replacement_is_refused_for_the_same_reason() -> None:
    """Even when by then it would be taken."""
    desk = make_desk(MemoryLedger())
    rest(desk, "order-1")
    ask(desk, make_replace(expires_ns=NOW_NS))

    answer = ask(desk, make_replace())

    assert (answer.outcome, answer.reason) == (AnswerOutcome.REJECTED, "EXPIRED")


@pytest.mark.parametrize("changes", [{"quantity": "3"}, {"limit_price": "99"}])
def test_other_terms_under_a_known_replace_id_are_a_conflict(changes: dict[str, str]) -> None:
    """Nothing is done."""
    desk = make_desk(MemoryLedger())
    rest(desk, "order-1")
    ask(desk, make_replace())

    answer = ask(desk, make_replace(**changes))

    assert answer.outcome is AnswerOutcome.CONFLICT


def test_repeat_of_a_replaced_submission_is_compared_with_the_first_terms() -> None:
    """The executor may still be asking whether its submission arrived."""
    desk = make_desk(MemoryLedger())
    rest(desk, "order-1")
    ask(desk, make_replace(quantity="2"))

    assert ask(desk, make_submit(quantity="1")).outcome is AnswerOutcome.EXISTS
    assert ask(desk, make_submit(quantity="2")).outcome is AnswerOutcome.CONFLICT


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quantity": "0.4"}, "QUANTITY_FILLED"),
        ({"quantity": "NaN"}, "QUANTITY_FILLED"),
        ({"quantity": "1.005"}, "QUANTITY_OFF_LOT"),
        ({"limit_price": "100.05"}, "PRICE_OFF_TICK"),
        ({"limit_price": "NaN"}, "PRICE_INVALID"),
        ({"quantity": "11"}, "NOTIONAL_TOO_LARGE"),
        ({"expires_ns": NOW_NS}, "EXPIRED"),
    ],
)
def test_bad_replacement_is_rejected_and_the_order_goes_on(changes: dict[str, Any], reason: str) -> None:
    """0.4 of it is filled; the old terms hold."""
    ledger = MemoryLedger()
    desk = make_desk(ledger)
    rest(desk, "order-1")
    desk.market(make_tick(ask=100.0, ask_size=0.4))

    answer = ask(desk, make_replace(**changes))

    recorded = ledger.find("order-1")
    assert (answer.outcome, answer.reason) == (AnswerOutcome.REJECTED, reason)
    assert recorded is not None
    assert (recorded.quantity, recorded.limit_price, recorded.is_open) == (1, 100, True)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"limit_price": "101"}, "ORDER_FILLED"),
        ({"time_in_force": "ioc"}, "ORDER_EXPIRED"),
        ({"quantity": "0"}, "ORDER_REJECTED"),
    ],
)
def test_replacement_that_comes_too_late_is_rejected(order: dict[str, str], reason: str) -> None:
    """The order ended in the very moment; the answer says how."""
    desk = make_desk(MemoryLedger())
    ask(desk, make_submit(**order))

    answer = ask(desk, make_replace())

    assert (answer.outcome, answer.reason) == (AnswerOutcome.REJECTED, reason)


def test_market_order_on_its_way_cannot_be_replaced() -> None:
    """It has no limit that could change."""
    venue = make_venue(latency_us=1_000)
    desk = OrderDesk(venue, MemoryLedger())
    ask(desk, make_submit(order_type="market"))

    answer = ask(desk, make_replace())

    assert (answer.outcome, answer.reason) == (AnswerOutcome.REJECTED, "NOT_A_LIMIT_ORDER")


def test_replacement_of_an_unknown_order_finds_nothing_and_of_another_instrument_conflicts() -> None:
    """The same answers that a cancel gets."""
    desk = make_desk(MemoryLedger())
    rest(desk, "order-1")

    assert ask(desk, make_replace("order-9", replace_id="replace-9")).outcome is AnswerOutcome.NOT_FOUND
    assert ask(desk, make_replace(symbol="ETH/USDT")).outcome is AnswerOutcome.CONFLICT


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize(
    ("changes", "order_filled_first"),
    [({"quantity": "0.5", "limit_price": "100"}, "order-1"), ({"quantity": "2", "limit_price": "100"}, "order-2")],
)
def test_only_a_smaller_quantity_keeps_time_priority(
    changes: dict[str, str], order_filled_first: str, is_restarted: bool
) -> None:
    """Also after a restart, which rebuilds the terms and the line."""
    ledger = MemoryLedger()
    desk = make_desk(ledger)
    rest(desk, "order-1", "order-2")
    ask(desk, make_replace(**changes), NOW_NS + SECOND_NS)
    desk.advance(NOW_NS + SECOND_NS)
    if is_restarted:
        desk = make_desk(ledger)
        desk.advance(NOW_NS + SECOND_NS)

    [fill] = fills(desk.market(make_tick(ask=100.0, ask_size=0.25, timestamp_ns=NOW_NS + SECOND_NS)))

    assert fill.client_order_id == order_filled_first


def test_replaced_order_on_its_way_keeps_its_way() -> None:
    """A smaller one arrives when it would have; one with another price later."""
    desk = OrderDesk(make_venue(latency_us=1_000), MemoryLedger())
    for name in ("order-1", "order-2"):
        ask(desk, make_submit(name, time_in_force="ioc"))
    ask(desk, make_replace("order-1", replace_id="smaller", quantity="0.5"), NOW_NS + 500_000)
    ask(desk, make_replace("order-2", replace_id="dearer", limit_price="102"), NOW_NS + 500_000)

    first = fills(desk.advance(NOW_NS + 1_000_000), ExecutionType.EXPIRED)
    second = fills(desk.advance(NOW_NS + 1_500_000), ExecutionType.EXPIRED)

    assert [report.client_order_id for report in (*first, *second)] == ["order-1", "order-2"]


def test_query_of_a_replaced_order_tells_where_it_stands() -> None:
    """Working, under the same id."""
    desk = make_desk(MemoryLedger())
    rest(desk, "order-1")
    ask(desk, make_replace())

    answer = ask(desk, make_query())

    assert (answer.outcome, answer.status) == (AnswerOutcome.ACCEPTED, "accepted")


def fills(
    reports: list[ExecutionReported], execution_type: ExecutionType = ExecutionType.TRADE
) -> list[ExecutionReported]:
    """The reports of one kind."""
    return [report for report in reports if report.execution_type is execution_type]
