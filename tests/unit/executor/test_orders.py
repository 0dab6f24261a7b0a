"""The moves of an order: one table, and nothing beside it."""

from decimal import Decimal

import pytest
from support.executor_builders import make_order

from common.errors import FatalError
from common.events.trading import FINAL_STATUSES, OrderStatus
from executor.orders import CONTRADICTIONS, NEXT_STATUS, IllegalMoveError, Move, UnbookableError

# The table as a person would draw it; "-" is illegal, "!" is how an exchange contradicts itself.
DRAWN_TABLE = """
from             ACCEPTED REJECTED UNANSWERED ABANDONED PARTIALLY_FILLED  FILLED  CANCEL_REQUESTED CANCEL_REFUSED REPLACE_REQUESTED REPLACED       REPLACE_REFUSED CANCELLED  EXPIRED  REOPENED
pending_new      accepted rejected unknown    denied    partially_filled  filled  -                -              -                 !accepted      -               cancelled  expired  -
unknown          accepted rejected -          denied    partially_filled  filled  -                -              -                 !accepted      -               cancelled  expired  -
accepted         -        -        -          -         partially_filled  filled  pending_cancel   -              pending_replace   !accepted      -               cancelled  expired  -
partially_filled -        -        -          -         partially_filled  filled  pending_cancel   -              pending_replace   !accepted      -               cancelled  expired  -
pending_cancel   -        -        -          -         pending_cancel    filled  -                accepted       -                 pending_cancel pending_cancel  cancelled  expired  -
pending_replace  -        -        -          -         pending_replace   filled  pending_cancel   -              -                 accepted       accepted        cancelled  expired  -
filled           -        -        -          -         !filled           !filled -                -              -                 !accepted      -               !filled    !filled  !accepted
cancelled        -        -        -          -         !partially_filled !filled -                -              -                 !accepted      -               !cancelled !expired !accepted
expired          -        -        -          -         !partially_filled !filled -                -              -                 !accepted      -               !cancelled !expired !accepted
rejected         -        -        -          -         !partially_filled !filled -                -              -                 !accepted      -               !cancelled !expired !accepted
denied           -        -        -          -         !partially_filled !filled -                -              -                 !accepted      -               !cancelled !expired !accepted
"""  # noqa: E501  # a table is read by its columns
HEAD, *ROWS = [line.split() for line in DRAWN_TABLE.strip().splitlines()]
CELLS = [(OrderStatus(row[0]), Move[name], cell) for row in ROWS for name, cell in zip(HEAD[1:], row[1:], strict=True)]
LEGAL = [(status, move, OrderStatus(cell.removeprefix("!"))) for status, move, cell in CELLS if cell != "-"]
CONTRADICTING = {(status, move) for status, move, cell in CELLS if cell.startswith("!")}
ILLEGAL = [(status, move) for status, move, cell in CELLS if cell == "-"]


def test_drawn_table_has_every_status_and_every_move() -> None:
    """What is added to the code without being drawn here must not pass unseen."""
    assert {(status, move) for status, move, _ in CELLS} == {(status, move) for status in OrderStatus for move in Move}
    assert len(CELLS) == len(OrderStatus) * len(Move)


@pytest.mark.parametrize(("status", "move", "expected"), LEGAL)
def test_legal_move_leads_where_the_table_says(status: OrderStatus, move: Move, expected: OrderStatus) -> None:
    """An order without a fill moves exactly as drawn."""
    order = make_order(status=status)

    order = order.after(move)

    assert order.status is expected


@pytest.mark.parametrize(("status", "move"), ILLEGAL)
def test_illegal_move_is_fatal_and_names_itself(status: OrderStatus, move: Move) -> None:
    """What cannot happen means that our state cannot be trusted; the message says which order, where, and what."""
    order = make_order(status=status)

    with pytest.raises(IllegalMoveError, match=rf"{order.client_order_id}: {move.name} cannot follow {status.value}"):
        order.after(move)


def test_contradictions_are_those_of_the_drawn_table() -> None:
    """They are booked, but nobody may take them for the usual course."""
    assert set(CONTRADICTIONS) == CONTRADICTING
    assert CONTRADICTING.isdisjoint(NEXT_STATUS)


def test_what_the_exchange_executes_is_legal_in_every_status() -> None:
    """No report can end the process for the status that its order is in."""
    of_exchange = {Move.PARTIALLY_FILLED, Move.FILLED, Move.CANCELLED, Move.EXPIRED, Move.REPLACED}

    assert not [(status, move) for status, move in ILLEGAL if move in of_exchange]


def test_illegal_move_is_one_of_the_fatal_errors() -> None:
    """The process ends and rebuilds; it does not go on."""
    assert issubclass(IllegalMoveError, FatalError)


@pytest.mark.parametrize("status", OrderStatus)
def test_final_statuses_are_those_without_a_move(status: OrderStatus) -> None:
    """The list that everyone shares and our table agree on what an end is; only a contradiction leads on from there."""
    has_moves = any(start is status and (start, move) not in CONTRADICTING for start, move, _ in LEGAL)

    assert make_order(status=status).is_final is (status in FINAL_STATUSES) is (not has_moves)


def test_fill_that_overtakes_a_cancel_leaves_the_order_filled() -> None:
    """The venue fills an order while our cancel is still on the wire."""
    order = make_order(status=OrderStatus.PENDING_CANCEL)

    order = order.after_fill(Decimal(1), Decimal(100))

    assert order.status is OrderStatus.FILLED


def test_partial_fill_that_overtakes_a_cancel_leaves_the_cancel_pending() -> None:
    """The rest is still to be cancelled."""
    order = make_order(status=OrderStatus.PENDING_CANCEL)

    order = order.after_fill(Decimal("0.4"), Decimal(100))

    assert (order.status, order.filled_quantity) == (OrderStatus.PENDING_CANCEL, Decimal("0.4"))


def test_refused_cancel_of_a_partly_filled_order_leaves_it_partly_filled() -> None:
    """The order goes back to where it stood, not to where it began."""
    order = make_order(status=OrderStatus.ACCEPTED).after_fill(Decimal("0.4"), Decimal(100))
    order = order.after(Move.CANCEL_REQUESTED)

    order = order.after(Move.CANCEL_REFUSED)

    assert order.status is OrderStatus.PARTIALLY_FILLED


def test_order_cancelled_in_part_keeps_what_was_filled() -> None:
    """Cancelled means the rest: the fills stand."""
    order = make_order(status=OrderStatus.ACCEPTED).after_fill(Decimal("0.4"), Decimal(100))

    order = order.after(Move.CANCELLED, reason="CANCEL_REQUESTED")

    assert (order.status, order.filled_quantity, order.reason) == (
        OrderStatus.CANCELLED,
        Decimal("0.4"),
        "CANCEL_REQUESTED",
    )


def test_fills_add_up_exactly() -> None:
    """Three thirds are one, the cost is the sum of price times quantity, the average is that of the whole."""
    order = make_order(signal={"quantity": "0.9"}, status=OrderStatus.ACCEPTED)

    for price in ("100.1", "100.2", "100.3"):
        order = order.after_fill(Decimal("0.3"), Decimal(price))

    assert (order.status, order.filled_quantity, order.leaves_quantity) == (OrderStatus.FILLED, Decimal("0.9"), 0)
    assert order.filled_cost == Decimal("90.18")
    assert order.average_price == Decimal("100.2")


def test_average_price_that_has_no_last_digit_is_rounded_to_12_decimals() -> None:
    """Two thirds, half to even; None before anything is filled."""
    order = make_order(signal={"quantity": "3"}, status=OrderStatus.ACCEPTED)
    assert order.average_price is None

    order = order.after_fill(Decimal(1), Decimal(2)).after_fill(Decimal(2), Decimal(3))

    assert order.average_price == Decimal("2.666666666667")


@pytest.mark.parametrize("quantity", ["0", "-0.4", "NaN", "Infinity", "1e16"])
def test_fill_of_nothing_or_of_no_amount_is_refused(quantity: str) -> None:
    """A fill is a fill."""
    order = make_order(status=OrderStatus.ACCEPTED)

    with pytest.raises(UnbookableError, match="expected a fill above 0"):
        order.after_fill(Decimal(quantity), Decimal(100))


@pytest.mark.parametrize(("quantity", "leaves"), [("0.6", "0.0"), ("0.61", "-0.01")])
def test_fill_of_all_that_is_left_or_of_more_ends_the_order(quantity: str, leaves: str) -> None:
    """0.4 and 0.6 of 1 is all of it; 0.61 is too much, but the money has moved."""
    order = make_order(status=OrderStatus.ACCEPTED).after_fill(Decimal("0.4"), Decimal(100))

    order = order.after_fill(Decimal(quantity), Decimal(100))

    assert (order.status, order.leaves_quantity) == (OrderStatus.FILLED, Decimal(leaves))


def test_order_that_works_again_has_no_cancel_of_its_own() -> None:
    """The cancel that was done, or was too late, is not that of what works now."""
    order = make_order(status=OrderStatus.CANCELLED, is_cancel_wanted=True)

    assert not order.after(Move.REOPENED).is_cancel_wanted


def test_names_given_at_a_venue_stay_with_the_order() -> None:
    """A later report that does not repeat them does not erase them."""
    order = make_order().after(Move.ACCEPTED, venue_order_id="venue-7")

    order = order.after(Move.CANCEL_REQUESTED).after(Move.CANCEL_REFUSED, reason="TOO_LATE").after(Move.EXPIRED)

    assert (order.venue_order_id, order.reason) == ("venue-7", "TOO_LATE")
