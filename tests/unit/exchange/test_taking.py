"""Orders that take what the market shows: market orders, limits that cross, IOC and FOK."""

from decimal import Decimal
from typing import Any

import pytest
from support.exchange_builders import NOW_NS, make_submit, make_tick, make_venue, submit

from common.events.venue import ExecutionReported, ExecutionType
from common.money import plain
from exchange.simulated.reasons import Reason
from exchange.simulated.venue import SimulatedVenue


def make_market(**tick: Any) -> SimulatedVenue:
    """A venue whose market stands at 99 to 101 unless told otherwise."""
    venue = make_venue(maker_fee_rate=Decimal("0.001"), taker_fee_rate=Decimal("0.002"))
    venue.on_tick(make_tick(**tick))
    return venue


def place(venue: SimulatedVenue, client_order_id: str = "order-1", **changes: Any) -> list[ExecutionReported]:
    """Submit an order and let it become active."""
    submit(venue, make_submit(client_order_id, **changes), NOW_NS)
    return venue.advance(NOW_NS)


def fills_of(reports: list[ExecutionReported]) -> list[tuple[str, str]]:
    """Quantity and price of each trade."""
    return [(plain(report.quantity), plain(report.price)) for report in reports if report.price is not None]


@pytest.mark.parametrize(("side", "price"), [("buy", "101.0"), ("sell", "99.0")])
def test_market_order_takes_the_touch(side: str, price: str) -> None:
    """A taker pays the best opposite price and the taker fee."""
    venue = make_market()

    [report] = place(venue, side=side, order_type="market", time_in_force="ioc")

    assert (report.execution_type, report.liquidity) == (ExecutionType.TRADE, "taker")
    assert (report.quantity, str(report.price)) == (1, price)
    assert report.fee == Decimal(price) * Decimal("0.002")
    assert (report.filled_quantity, report.leaves_quantity) == (1, 0)
    assert venue.open_orders() == []


@pytest.mark.parametrize("time_in_force", ["gtc", "ioc"])
def test_market_order_larger_than_the_touch_fills_what_is_shown_and_the_rest_expires(time_in_force: str) -> None:
    """Only the best level is known; a market order has no price to wait at, even if it asks for gtc."""
    venue = make_market(ask_size=0.4)

    trade, end = place(venue, order_type="market", time_in_force=time_in_force)

    assert (trade.quantity, trade.leaves_quantity) == (Decimal("0.4"), Decimal("0.6"))
    assert (end.execution_type, end.reason) == (ExecutionType.EXPIRED, Reason.NO_LIQUIDITY)
    assert (end.quantity, end.filled_quantity, end.leaves_quantity) == (0, Decimal("0.4"), 0)
    assert venue.open_orders() == []


def test_market_order_without_a_market_expires() -> None:
    """Nothing is shown before the first tick."""
    venue = make_venue()

    [end] = place(venue, order_type="market", time_in_force="ioc")

    assert (end.execution_type, end.reason) == (ExecutionType.EXPIRED, Reason.NO_LIQUIDITY)


@pytest.mark.parametrize(("side", "limit_price"), [("buy", "102"), ("sell", "98")])
def test_crossing_limit_order_pays_the_touch_not_its_limit(side: str, limit_price: str) -> None:
    """A taker gets the better price."""
    venue = make_market()

    reports = place(venue, side=side, limit_price=limit_price)

    assert fills_of(reports) == [("1", "101" if side == "buy" else "99")]


def test_crossing_limit_order_rests_with_what_it_did_not_get() -> None:
    """A gtc order takes what is shown and waits with the rest."""
    venue = make_market(ask_size=0.4)

    reports = place(venue, limit_price="101")

    assert fills_of(reports) == [("0.4", "101")]
    [order] = venue.open_orders()
    assert order.leaves_quantity == Decimal("0.6")


def test_ioc_order_takes_what_is_shown_and_the_rest_expires() -> None:
    """Immediate or cancel never rests."""
    venue = make_market(ask_size=0.4)

    trade, end = place(venue, limit_price="101", time_in_force="ioc")

    assert trade.quantity == Decimal("0.4")
    assert (end.execution_type, end.reason) == (ExecutionType.EXPIRED, Reason.IOC_REMAINDER)


def test_ioc_order_away_from_the_market_expires_unfilled() -> None:
    """The limit is not reached: not a single lot is filled."""
    venue = make_market()

    [end] = place(venue, limit_price="100", time_in_force="ioc")

    assert (end.execution_type, end.filled_quantity) == (ExecutionType.EXPIRED, 0)


@pytest.mark.parametrize(
    ("ask_size", "limit_price", "reason"),
    [
        (0.99, "101", Reason.FOK_NOT_FILLABLE),
        (10.0, "100.9", Reason.FOK_NOT_FILLABLE),
        (0.99, None, Reason.NO_LIQUIDITY),
    ],
)
def test_fok_order_that_cannot_be_filled_at_once_expires_whole(
    ask_size: float, limit_price: str | None, reason: Reason
) -> None:
    """All or nothing, and nothing of the shown size is used up."""
    venue = make_market(ask_size=ask_size)
    order_type = "market" if limit_price is None else "limit"

    [end] = place(venue, order_type=order_type, limit_price=limit_price, time_in_force="fok")
    reports = place(venue, "order-2", limit_price="101", quantity="0.99")

    assert (end.execution_type, end.reason, end.filled_quantity) == (ExecutionType.EXPIRED, reason, 0)
    assert fills_of(reports) == [("0.99", "101")]


def test_fok_order_that_fits_is_filled_whole() -> None:
    """Exactly the shown size is enough."""
    venue = make_market(ask_size=1.0)

    reports = place(venue, limit_price="101", time_in_force="fok")

    assert fills_of(reports) == [("1", "101")]


def test_shown_size_is_filled_once_only() -> None:
    """What one order took is not there for the next, until the market shows a new quote."""
    venue = make_market(ask_size=1.5)
    place(venue, "order-1", order_type="market", time_in_force="ioc")

    second = place(venue, "order-2", order_type="market", time_in_force="ioc")
    venue.on_tick(make_tick(ask_size=1.5, bid=98.0))
    repeated = place(venue, "order-3", order_type="market", time_in_force="ioc")
    venue.on_tick(make_tick(ask_size=1.4))
    renewed = place(venue, "order-4", order_type="market", time_in_force="ioc")

    assert fills_of(second) == [("0.5", "101")]
    assert fills_of(repeated) == []
    assert fills_of(renewed) == [("1", "101")]


def test_executions_are_numbered_without_a_hole() -> None:
    """Fills and ends share one series, over all instruments and orders."""
    venue = make_market(ask_size=0.4)

    reports = place(venue, "order-1", order_type="market") + place(venue, "order-2", time_in_force="ioc")

    assert [report.execution_number for report in reports] == [1, 2, 3]
