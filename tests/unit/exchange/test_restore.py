"""A venue that starts again from what the ledger kept."""

from decimal import Decimal
from typing import Any

import pytest
from support.exchange_builders import NOW_NS, make_instrument, make_submit, make_tick, make_venue, submit

from common.errors import ConfigError
from common.events.trading import OrderStatus
from common.events.venue import AnswerOutcome, ExecutionType, terms_of
from exchange.records import RecordedOrder
from exchange.simulated.venue import SimulatedVenue

LATENCY_US = 1_000
LATENCY_NS = 1_000_000


def make_recorded(number: int = 1, filled_quantity: str = "0", **terms: Any) -> RecordedOrder:
    """An order that was open when the last life ended."""
    request = make_submit(**terms)
    return RecordedOrder(
        arrival_number=number,
        client_order_id=f"order-{number}",
        terms=terms_of(request),
        quantity=request.quantity,
        limit_price=request.limit_price,
        answered_ns=NOW_NS,
        outcome=AnswerOutcome.ACCEPTED,
        status=OrderStatus.ACCEPTED,
        filled_quantity=Decimal(filled_quantity),
        venue_order_id=f"sim-{number}",
    )


def make_restored(*orders: RecordedOrder) -> SimulatedVenue:
    """A venue in its second life, after 7 arrivals and 3 executions."""
    venue = make_venue(latency_us=LATENCY_US)
    venue.restore(orders, last_order_number=7, last_execution_number=3)
    return venue


def test_resting_order_survives_with_what_is_left_of_it() -> None:
    """Only the rest can be filled, at its own limit, and numbers go on where they ended."""
    venue = make_restored(make_recorded(filled_quantity="0.4"))

    assert venue.on_tick(make_tick(timestamp_ns=NOW_NS + LATENCY_NS)) == []
    [report] = venue.on_tick(make_tick(timestamp_ns=NOW_NS + LATENCY_NS, ask=99.5))

    assert (report.quantity, report.price, report.liquidity) == (Decimal("0.6"), 100, "maker")
    assert (report.filled_quantity, report.leaves_quantity) == (1, 0)
    assert (report.execution_number, report.venue_order_id) == (4, "sim-1")


def test_restored_orders_keep_their_time_priority() -> None:
    """The order that came first is filled first, as before the restart; new ones line up behind."""
    venue = make_restored(make_recorded(2), make_recorded(5))
    answer = submit(venue, make_submit("new"), NOW_NS)
    venue.advance(NOW_NS + LATENCY_NS)

    reports = venue.on_tick(make_tick(timestamp_ns=NOW_NS + LATENCY_NS, bid=98.0, ask=99.0, ask_size=3.0))

    assert answer.venue_order_id == "sim-8"
    assert [report.client_order_id for report in reports] == ["order-2", "order-5", "new"]


def test_order_that_was_on_its_way_expires_when_it_cannot_rest() -> None:
    """The market is unknown after a restart: an immediate order gets its end, not a guess."""
    venue = make_restored(make_recorded(order_type="market"))

    [report] = venue.advance(NOW_NS + LATENCY_NS)

    assert (report.execution_type, report.execution_number) == (ExecutionType.EXPIRED, 4)
    assert venue.open_orders() == []


def test_open_order_of_an_instrument_that_is_gone_stops_the_start() -> None:
    """An order that nobody can see any more would stay open for ever; a person must decide."""
    venue = make_venue(make_instrument(symbol="ETH/USDT"))

    with pytest.raises(ConfigError, match=r"order-1 is open on simulated\.BTC/USDT"):
        venue.restore([make_recorded()], last_order_number=1, last_execution_number=0)
