"""Which orders the simulated venue takes."""

from decimal import Decimal
from typing import Any

import pytest
from support.exchange_builders import NOW_NS, make_instrument, make_submit, make_tick, make_venue, submit

from common.events.trading import OrderStatus
from common.events.venue import AnswerOutcome
from exchange.simulated.reasons import Reason

INSTRUMENT = make_instrument(
    min_quantity=Decimal("0.05"), max_quantity=Decimal(50), min_notional=Decimal(10), max_notional=Decimal(1000)
)


def test_good_order_is_accepted_with_a_venue_order_id() -> None:
    """Accepted means: the venue has it, nothing is filled yet."""
    venue = make_venue(INSTRUMENT)

    answer = submit(venue, make_submit(), NOW_NS)

    assert (answer.outcome, answer.status) == (AnswerOutcome.ACCEPTED, OrderStatus.ACCEPTED)
    assert (answer.venue_order_id, answer.filled_quantity) == ("sim-1", 0)
    assert (answer.request_id, answer.client_order_id) == ("request-order-1", "order-1")
    assert [order.client_order_id for order in venue.open_orders()] == ["order-1"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"symbol": "DOGE/USDT"}, Reason.INSTRUMENT_UNKNOWN),
        ({"quantity": "0"}, Reason.QUANTITY_INVALID),
        ({"quantity": "-1"}, Reason.QUANTITY_INVALID),
        ({"quantity": "NaN"}, Reason.QUANTITY_INVALID),
        ({"quantity": "sNaN"}, Reason.QUANTITY_INVALID),
        ({"quantity": "Infinity"}, Reason.QUANTITY_INVALID),
        ({"quantity": "1E-999999"}, Reason.QUANTITY_INVALID),
        ({"quantity": "1.001"}, Reason.QUANTITY_OFF_LOT),
        ({"quantity": "0.04"}, Reason.QUANTITY_TOO_SMALL),
        ({"quantity": "50.01"}, Reason.QUANTITY_TOO_LARGE),
        ({"limit_price": None}, Reason.PRICE_MISSING),
        ({"order_type": "market", "limit_price": "100"}, Reason.PRICE_UNEXPECTED),
        ({"limit_price": "0"}, Reason.PRICE_INVALID),
        ({"limit_price": "-100"}, Reason.PRICE_INVALID),
        ({"limit_price": "NaN"}, Reason.PRICE_INVALID),
        ({"limit_price": "100.05"}, Reason.PRICE_OFF_TICK),
        ({"quantity": "0.09"}, Reason.NOTIONAL_TOO_SMALL),
        ({"quantity": "10.01"}, Reason.NOTIONAL_TOO_LARGE),
    ],
)
def test_bad_order_is_rejected_with_its_reason(changes: dict[str, Any], reason: Reason) -> None:
    """Nothing is placed, and the reason is one that a program can act on."""
    venue = make_venue(INSTRUMENT)

    answer = submit(venue, make_submit(**changes), NOW_NS)

    assert (answer.outcome, answer.status, answer.reason) == (AnswerOutcome.REJECTED, OrderStatus.REJECTED, reason)
    assert answer.detail
    assert answer.venue_order_id is None
    assert venue.open_orders() == []


def test_market_order_is_judged_by_the_price_it_would_pay() -> None:
    """A market order has no price of its own; the touch stands for it."""
    venue = make_venue(INSTRUMENT)
    venue.on_tick(make_tick(ask=200.0))

    answer = submit(venue, make_submit(order_type="market", quantity="6"), NOW_NS)

    assert answer.reason == Reason.NOTIONAL_TOO_LARGE


def test_market_order_before_the_first_tick_is_bounded_by_its_quantity_alone() -> None:
    """Without a price there is no notional; the order is taken, and finds nothing to trade with."""
    venue = make_venue(INSTRUMENT)

    answer = submit(venue, make_submit(order_type="market", quantity="50"), NOW_NS)

    assert answer.outcome is AnswerOutcome.ACCEPTED


def test_order_beyond_the_limit_of_open_orders_is_rejected_until_one_ends() -> None:
    """The venue's memory is bounded; what is finished makes room."""
    venue = make_venue(open_orders_max=1)
    venue.on_tick(make_tick())
    submit(venue, make_submit("order-1", limit_price="101"), NOW_NS)

    refused = submit(venue, make_submit("order-2"), NOW_NS)
    venue.advance(NOW_NS)
    accepted = submit(venue, make_submit("order-3"), NOW_NS)

    assert refused.reason == Reason.TOO_MANY_ORDERS
    assert accepted.outcome is AnswerOutcome.ACCEPTED


def test_every_submission_takes_a_number() -> None:
    """The number in venue_order_id is the number of the arrival, as in the ledger; a refused order uses one up."""
    venue = make_venue()
    submit(venue, make_submit("order-1", quantity="0"), NOW_NS)

    answer = submit(venue, make_submit("order-2"), NOW_NS)

    assert answer.venue_order_id == "sim-2"
