"""Positions, working orders and pending signals of one strategy."""

from decimal import Decimal

import pytest
from support.engine_builders import (
    make_held_position,
    make_open_order,
    make_order_event,
    make_position_event,
    make_state,
)
from support.executor_builders import make_signal
from support.message_builders import make_tick
from support.strategy_builders import BTC, ETH

from common.events.trading import FINAL_STATUSES, OrderStatus
from strategy.portfolio import FLAT, Portfolio, PositionView


def test_position_that_nobody_told_of_is_flat() -> None:
    """Zero everywhere, and no entry price."""
    portfolio = Portfolio()

    view = portfolio.position(BTC)

    assert view is FLAT
    assert (view.quantity, view.entry_price, view.fees) == (0, None, 0)


def test_position_is_what_the_newest_event_says() -> None:
    """To the last digit; found by whatever names the instrument."""
    portfolio = Portfolio()

    portfolio.on_position(make_position_event("1"))
    portfolio.on_position(
        make_position_event("-0.5", entry_price="100.123", realised_pnl="-1.5", unrealised_pnl="0.25", fees="0.1")
    )

    expected = PositionView(Decimal("-0.5"), Decimal("100.123"), Decimal("-1.5"), Decimal("0.25"), Decimal("0.1"))
    assert portfolio.position(BTC) == portfolio.position(make_tick()) == expected
    assert portfolio.position(ETH) is FLAT


def test_order_is_open_until_it_has_a_final_status() -> None:
    """Its fills are seen on the way."""
    portfolio = Portfolio()

    portfolio.on_order(make_order_event("s-1", OrderStatus.PENDING_NEW))
    portfolio.on_order(make_order_event("s-1", OrderStatus.PARTIALLY_FILLED, filled_quantity="0.4"))
    (order,) = portfolio.open_orders(None)
    portfolio.on_order(make_order_event("s-1", OrderStatus.CANCELLED, filled_quantity="0.4"))

    assert (order.signal_id, order.status, order.filled_quantity) == (
        "s-1",
        OrderStatus.PARTIALLY_FILLED,
        Decimal("0.4"),
    )
    assert (order.side, order.order_type, order.quantity, order.limit_price) == ("buy", "limit", 1, 100)
    assert portfolio.open_orders(None) == []


@pytest.mark.parametrize("status", list(OrderStatus))
def test_order_is_open_in_every_status_that_is_not_final(status: OrderStatus) -> None:
    """One whose outcome is unknown may still trade."""
    portfolio = Portfolio()
    portfolio.on_order(make_order_event("s-1"))

    portfolio.on_order(make_order_event("s-1", status))

    assert bool(portfolio.open_orders(BTC)) == (status not in FINAL_STATUSES)


def test_end_of_an_order_that_was_never_seen_is_no_error() -> None:
    """Its earlier events were lost."""
    portfolio = Portfolio()

    portfolio.on_order(make_order_event("s-1", OrderStatus.FILLED))

    assert portfolio.open_orders(None) == []


def test_orders_are_listed_by_instrument_or_all() -> None:
    """In the order in which they came."""
    portfolio = Portfolio()
    for signal_id, instrument in (("s-1", BTC), ("s-2", ETH), ("s-3", BTC)):
        portfolio.on_order(make_order_event(signal_id, symbol=instrument.symbol))

    listed = [portfolio.open_orders(which) for which in (None, BTC, ETH)]

    assert [[order.signal_id for order in orders] for orders in listed] == [
        ["s-1", "s-2", "s-3"],
        ["s-1", "s-3"],
        ["s-2"],
    ]


def test_pending_signals_are_counted_by_instrument_or_all() -> None:
    """A signal is pending from its emission to its end."""
    portfolio = Portfolio()
    for signal_id, instrument in (("s-1", BTC), ("s-2", ETH), ("s-3", BTC)):
        portfolio.on_signal(make_signal(signal_id, symbol=instrument.symbol))

    before = [portfolio.pending_signals(which) for which in (None, BTC, ETH)]
    portfolio.on_signal_end("s-1")
    portfolio.on_signal_end("s-1")
    after = [portfolio.pending_signals(which) for which in (None, BTC, ETH)]

    assert (before, after) == ([3, 2, 1], [2, 1, 1])


def test_report_replaces_orders_and_positions_and_keeps_pending_signals() -> None:
    """The executor does not know yet of a signal that is on its way."""
    portfolio = Portfolio()
    portfolio.on_order(make_order_event("s-1"))
    portfolio.on_position(make_position_event("1"))
    portfolio.on_signal(make_signal("s-2"))

    portfolio.take(
        make_state(
            "7-1",
            open_orders=[make_open_order("s-3")],
            positions=[make_held_position("2", symbol="ETH/USDT", entry_price="50", fees="0.5")],
        )
    )

    assert [order.signal_id for order in portfolio.open_orders(None)] == ["s-3"]
    assert portfolio.position(BTC) is FLAT
    assert portfolio.position(ETH) == PositionView(quantity=Decimal(2), entry_price=Decimal(50), fees=Decimal("0.5"))
    assert portfolio.pending_signals(None) == 1


def test_order_of_a_report_ends_by_its_later_event() -> None:
    """Report and events speak of the same order."""
    portfolio = Portfolio()
    portfolio.take(make_state("7-1", open_orders=[make_open_order("s-3")]))

    portfolio.on_order(make_order_event("s-3", OrderStatus.FILLED))

    assert portfolio.open_orders(None) == []
