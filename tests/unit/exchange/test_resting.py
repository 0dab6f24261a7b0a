"""Orders that wait in the book, and what fills them."""

from decimal import Decimal
from typing import Any

import pytest
from support.exchange_builders import NOW_NS, make_submit, make_tick, make_trade, make_venue, submit

from common.events.venue import ExecutionReported
from common.money import plain
from exchange.simulated.venue import SimulatedVenue


def make_resting(*orders: dict[str, Any]) -> SimulatedVenue:
    """A market of 99 to 101 in which the orders rest, named order-1, order-2 and so on."""
    venue = make_venue(maker_fee_rate=Decimal("-0.001"))
    venue.on_tick(make_tick())
    for number, changes in enumerate(orders, start=1):
        submit(venue, make_submit(f"order-{number}", **changes), NOW_NS)
    assert venue.advance(NOW_NS) == []
    return venue


def fills_of(reports: list[ExecutionReported]) -> list[tuple[str, str, str]]:
    """Order, quantity and price of each trade."""
    return [(report.client_order_id, plain(report.quantity), plain(report.price)) for report in reports if report.price]


@pytest.mark.parametrize(
    ("order", "tick"),
    [
        ({"side": "buy", "limit_price": "100"}, {"ask": 100.0}),
        ({"side": "buy", "limit_price": "100"}, {"ask": 97.0, "bid": 96.0}),
        ({"side": "sell", "limit_price": "100"}, {"bid": 100.0}),
        ({"side": "sell", "limit_price": "100"}, {"bid": 103.0, "ask": 104.0}),
    ],
)
def test_quote_that_comes_to_the_limit_fills_at_the_limit(order: dict[str, Any], tick: dict[str, Any]) -> None:
    """A maker gets its own price, however far the market runs through it, and the maker's rate."""
    venue = make_resting(order)

    [report] = venue.on_tick(make_tick(**tick))

    assert (report.quantity, report.price, report.liquidity) == (1, 100, "maker")
    assert report.fee == Decimal("-0.1")
    assert venue.open_orders() == []


def test_quote_that_stays_away_fills_nothing() -> None:
    """One tick short of the limit is not the limit."""
    venue = make_resting({"side": "buy", "limit_price": "100"}, {"side": "sell", "limit_price": "100"})

    reports = venue.on_tick(make_tick(bid=99.9, ask=100.1))

    assert reports == []


def test_noisy_float_at_the_limit_counts_as_the_limit() -> None:
    """0.1 + 0.2 is a little more than 0.3, and still a market at 0.3."""
    venue = make_resting({"limit_price": "0.3"})

    reports = venue.on_tick(make_tick(bid=0.2, ask=0.1 + 0.2))

    assert fills_of(reports) == [("order-1", "1", "0.3")]


def test_quote_fills_at_most_what_it_shows() -> None:
    """The rest waits for the next quote; the same quote again gives nothing more."""
    venue = make_resting({"limit_price": "100"})

    first = venue.on_tick(make_tick(ask=100.0, ask_size=0.4))
    repeated = venue.on_tick(make_tick(ask=100.0, ask_size=0.4, bid=98.0))
    renewed = venue.on_tick(make_tick(ask=100.0, ask_size=5.0))

    assert fills_of(first) == [("order-1", "0.4", "100")]
    assert repeated == []
    assert fills_of(renewed) == [("order-1", "0.6", "100")]


def test_orders_share_a_quote_in_price_time_priority() -> None:
    """The better price first, then the earlier order; each at its own limit."""
    venue = make_resting(
        {"limit_price": "99.5"},
        {"limit_price": "100"},
        {"limit_price": "99.5"},
    )

    reports = venue.on_tick(make_tick(bid=98.0, ask=99.0, ask_size=2.5))

    assert fills_of(reports) == [("order-2", "1", "100"), ("order-1", "1", "99.5"), ("order-3", "0.5", "99.5")]


def test_print_strictly_through_the_limit_fills_at_the_limit() -> None:
    """Someone sold below our bid: whoever stood before us was served."""
    venue = make_resting({"limit_price": "100"})

    [report] = venue.on_trade(make_trade(price=99.9, quantity=0.3, aggressor_side="sell"))

    assert (report.quantity, report.price, report.liquidity) == (Decimal("0.3"), 100, "maker")
    assert report.leaves_quantity == Decimal("0.7")


@pytest.mark.parametrize(
    "trade",
    [
        {"price": 100.0},
        {"price": 100.1},
        {"price": 99.9, "aggressor_side": "buy"},
        {"price": 99.9, "aggressor_side": None},
        {"price": 99.9, "quantity": 0.009},
        {"price": 0.0},
    ],
)
def test_print_that_proves_nothing_fills_nothing(trade: dict[str, Any]) -> None:
    """At the limit our place in the queue is unknown; a buyer's print does not meet bids; less than a lot is none."""
    venue = make_resting({"limit_price": "100"})

    reports = venue.on_trade(make_trade(**trade))

    assert reports == []


def test_print_above_fills_a_resting_sell() -> None:
    """The rule holds on both sides."""
    venue = make_resting({"side": "sell", "limit_price": "100"})

    reports = venue.on_trade(make_trade(price=100.1, quantity=5.0, aggressor_side="buy"))

    assert fills_of(reports) == [("order-1", "1", "100")]


def test_orders_share_one_print() -> None:
    """A print of 1.5 fills 1.5 of ours, not 1.5 of each."""
    venue = make_resting({"limit_price": "100"}, {"limit_price": "100"})

    reports = venue.on_trade(make_trade(price=99.0, quantity=1.5))

    assert fills_of(reports) == [("order-1", "1", "100"), ("order-2", "0.5", "100")]


def test_own_orders_that_cross_do_not_meet_each_other() -> None:
    """They only meet the market; a wash trade is never made up."""
    venue = make_resting({"side": "buy", "limit_price": "100"}, {"side": "sell", "limit_price": "100"})

    reports = venue.on_tick(make_tick(bid=99.0, ask=101.0, bid_size=3.0))

    assert reports == []
    assert len(venue.open_orders()) == 2


def test_market_of_an_unknown_instrument_changes_nothing() -> None:
    """Ticks of instruments that are not in the table pass by."""
    venue = make_resting({"limit_price": "100"})

    reports = venue.on_tick(make_tick(symbol="DOGE/USDT", ask=1.0, bid=0.5))
    reports += venue.on_trade(make_trade(symbol="DOGE/USDT", price=1.0))

    assert reports == []
