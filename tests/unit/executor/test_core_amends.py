"""Other terms for a working order: decided, durable, asked for; the old ones hold until the exchange says otherwise."""

import pytest
from support.executor_builders import ExecutorHarness

from common.events.trading import OrderAmended, OrderFilled, OrderStatus
from common.events.venue import CancelOrder, ReplaceOrder
from executor.entries import AmendIntended


def have_amended(**changes: object) -> ExecutorHarness:
    """An order that works, with an amendment on its way."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.amend(**changes)  # type: ignore[arg-type]
    return harness


def test_amendment_is_durable_before_it_is_asked_for() -> None:
    """A restart between the two asks for the same again, under the same id."""
    harness = have_amended()

    assert harness.story == ["AmendIntended", "OrderAmendRequested", "ReplaceOrder"]
    assert harness.order().status is OrderStatus.PENDING_REPLACE
    request = harness.in_flight
    assert isinstance(request, ReplaceOrder)
    assert (request.replace_id, str(request.quantity), str(request.limit_price)) == ("a-1", "2", "101")


def test_agreed_terms_hold_from_their_execution_on() -> None:
    """The execution is numbered and never lost; the answer says nothing more."""
    harness = have_amended()

    harness.answer()
    assert str(harness.order().quantity) == "1"
    harness.replaced(order_quantity="2", limit_price="101", replace_id="a-1")

    assert (str(harness.order().quantity), str(harness.order().limit_price)) == ("2", "101")
    assert harness.order().status is OrderStatus.ACCEPTED
    assert [(str(event.quantity), str(event.limit_price)) for event in harness.events_of(OrderAmended)] == [
        ("2", "101")
    ]
    assert harness.acknowledgements == [("a-1", "accepted", None)]


def test_refused_amendment_leaves_the_order_as_it_was() -> None:
    """The strategy hears the exchange's reason."""
    harness = have_amended()

    harness.reject("PRICE_OUT_OF_RANGE", OrderStatus.ACCEPTED)

    assert (harness.order().status, str(harness.order().quantity)) == (OrderStatus.ACCEPTED, "1")
    assert harness.acknowledgements == [("a-1", "rejected", "PRICE_OUT_OF_RANGE")]


def test_fill_that_overtakes_an_amendment_ends_it() -> None:
    """The order was filled under the old terms; the amendment has its end too, and its late refusal says nothing."""
    harness = have_amended()

    harness.fill(quantity="1")
    harness.reject("ORDER_FILLED", OrderStatus.FILLED)

    assert len(harness.events_of(OrderFilled)) == 1
    assert harness.acknowledgements == [("a-1", "rejected", "ORDER_FILLED")]
    assert harness.count("requests_waiting") == 0


def test_partial_fill_during_an_amendment_counts_towards_the_new_quantity() -> None:
    """The new quantity is the total, fills included."""
    harness = have_amended()

    harness.fill(quantity="0.4")
    harness.replaced(order_quantity="2", limit_price="101", replace_id="a-1")

    assert harness.order().status is OrderStatus.PARTIALLY_FILLED
    assert str(harness.order().leaves_quantity) == "1.6"


def test_silence_asks_for_the_same_amendment_again() -> None:
    """Its id makes that safe."""
    harness = have_amended()

    harness.advance(ms=1_000)
    harness.advance(ms=100)

    requests = [request for request in harness.sent if isinstance(request, ReplaceOrder)]
    assert [request.replace_id for request in requests] == ["a-1", "a-1"]
    assert len(harness.entries_of(AmendIntended)) == 1


def test_restart_during_an_amendment_asks_for_it_again() -> None:
    """It may or may not have arrived."""
    life = have_amended().restarted()

    life.executor.recover(life.now_ns)

    assert isinstance(life.in_flight, ReplaceOrder)
    assert life.in_flight.replace_id == "a-1"


def test_cancel_follows_an_amendment_that_is_on_its_way() -> None:
    """Both are asked for, in this order; what remains is a cancelled order."""
    harness = have_amended()

    harness.cancel()
    harness.answer()
    harness.replaced(order_quantity="2", limit_price="101", replace_id="a-1")
    assert isinstance(harness.in_flight, CancelOrder)
    harness.end()

    assert harness.order().status is OrderStatus.CANCELLED
    assert harness.acknowledgements == [("a-1", "accepted", None)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quantity": "1.005"}, "OFF_LOT"),
        ({"quantity": "0.4"}, "INVALID_QUANTITY"),
        ({"quantity": "NaN"}, "INVALID_QUANTITY"),
        ({"limit_price": "100.05"}, "OFF_TICK"),
        ({"quantity": "200"}, "ABOVE_MAX_QUANTITY"),
        ({"expires_ns": 1}, "EXPIRED"),
        ({"signal_id": "s-9"}, "NO_WORKING_ORDER"),
        ({"strategy": "another"}, "NO_WORKING_ORDER"),
    ],
)
def test_amendment_passes_the_checks_of_an_order(changes: dict[str, object], reason: str) -> None:
    """It is refused by name, in the journal and to its strategy; the exchange hears nothing."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.fill(quantity="0.4")
    harness.trace.clear()

    harness.amend(**changes)  # type: ignore[arg-type]

    assert harness.acknowledgements == [("a-1", "denied", reason)]
    assert harness.sent == []


def test_second_amendment_waits_for_nobody_but_is_denied() -> None:
    """One change at a time: which one holds must never depend on the network."""
    harness = have_amended()

    harness.amend("a-2")

    assert harness.acknowledgements == [("a-2", "denied", "NOT_AMENDABLE")]


def test_repeated_amendment_hears_its_end_again_and_changes_nothing() -> None:
    """The strategy has not heard the answer."""
    harness = have_amended()
    harness.answer()
    harness.replaced(order_quantity="2", limit_price="101", replace_id="a-1")
    harness.trace.clear()

    harness.amend()

    assert harness.story == ["SignalAcknowledged"]
    assert harness.acknowledgements == [("a-1", "accepted", None)]


def test_amendment_under_a_known_id_with_other_terms_is_a_conflict() -> None:
    """The first one stands."""
    harness = have_amended()

    harness.amend(quantity="3")

    assert harness.acknowledgements == [("a-1", "conflict", "CONFLICT")]
