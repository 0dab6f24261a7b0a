"""When an order meets the market: one latency after it was submitted, whoever reads the socket when."""

from decimal import Decimal

import pytest
from support.exchange_builders import (
    NOW_NS,
    make_instrument,
    make_submit,
    make_tick,
    make_ticks,
    make_venue,
    submit,
)

from common.events.venue import ExecutionType

LATENCY_NS = 1_000_000
ACTIVE_NS = NOW_NS + LATENCY_NS


def test_order_on_its_way_does_not_see_the_market_before_it_arrives() -> None:
    """The quote of the moment of submission is gone when the order gets there."""
    venue = make_venue(latency_us=1_000)
    venue.on_tick(make_tick(timestamp_ns=NOW_NS, ask=101.0))
    submit(venue, make_submit(order_type="market"), NOW_NS)

    early = venue.on_tick(make_tick(timestamp_ns=ACTIVE_NS - 1, ask=105.0))
    [report] = venue.on_tick(make_tick(timestamp_ns=ACTIVE_NS + 1, ask=110.0))

    assert early == []
    assert (report.price, report.timestamp_ns) == (105, ACTIVE_NS)


def test_order_that_arrives_in_the_nanosecond_of_a_tick_comes_before_it() -> None:
    """The tie has one answer, the same as if `advance` had been called at that time."""
    venue = make_venue(latency_us=1_000)
    venue.on_tick(make_tick(ask=101.0))
    submit(venue, make_submit(order_type="market"), NOW_NS)

    [report] = venue.on_tick(make_tick(timestamp_ns=ACTIVE_NS, ask=110.0))

    assert report.price == 101


def test_quiet_market_is_served_by_time() -> None:
    """No tick need come for an order to become active; its report bears the time of its arrival."""
    venue = make_venue(latency_us=1_000)
    venue.on_tick(make_tick())
    submit(venue, make_submit(order_type="market"), NOW_NS)

    due_ns = venue.next_due_ns()
    early = venue.advance(ACTIVE_NS - 1)
    [report] = venue.advance(ACTIVE_NS + 500)

    assert due_ns == ACTIVE_NS
    assert early == []
    assert report.timestamp_ns == ACTIVE_NS
    assert venue.next_due_ns() is None


def test_ticks_of_one_instrument_do_not_move_the_time_of_another() -> None:
    """Batches overlap: a later tick of ETH may come before an earlier one of BTC."""
    venue = make_venue(make_instrument(), make_instrument(symbol="ETH/USDT"), latency_us=1_000)
    venue.on_tick(make_tick(ask=101.0))
    submit(venue, make_submit(order_type="market"), NOW_NS)

    other = venue.on_tick(make_tick(symbol="ETH/USDT", timestamp_ns=ACTIVE_NS + 9))
    venue.on_tick(make_tick(ask=105.0, timestamp_ns=ACTIVE_NS - 1))
    [report] = venue.on_tick(make_tick(ask=110.0, timestamp_ns=ACTIVE_NS + 1))

    assert other == []
    assert report.price == 105


def test_orders_of_several_instruments_become_active_in_order_of_arrival() -> None:
    """Execution numbers follow time, also when one call activates many."""
    venue = make_venue(make_instrument(), make_instrument(symbol="ETH/USDT"), latency_us=1_000)
    for symbol in ("BTC/USDT", "ETH/USDT"):
        venue.on_tick(make_tick(symbol=symbol))
    for number, symbol in enumerate(["BTC/USDT", "ETH/USDT", "BTC/USDT"]):
        submit(venue, make_submit(f"order-{number}", symbol=symbol, order_type="market"), NOW_NS + number)

    reports = venue.advance(ACTIVE_NS + 10)

    assert [report.client_order_id for report in reports] == ["order-0", "order-1", "order-2"]


def test_wall_clock_that_jumps_back_does_not_hold_up_later_orders() -> None:
    """An order submitted after the jump is active one latency later by the new time, not by the old one."""
    venue = make_venue(latency_us=1_000)
    venue.on_tick(make_tick())
    submit(venue, make_submit("before", order_type="market"), NOW_NS + 3_600_000_000_000)

    submit(venue, make_submit("after", order_type="market"), NOW_NS)
    reports = venue.advance(ACTIVE_NS)

    assert [report.client_order_id for report in reports] == ["after"]


def test_batch_activates_an_order_between_two_of_its_ticks() -> None:
    """A batch is no moment: what happens inside it happens at the time of its ticks."""
    venue = make_venue(latency_us=1_000)
    submit(venue, make_submit(order_type="market"), NOW_NS)
    batch = make_ticks(
        [
            make_tick(timestamp_ns=ACTIVE_NS - 1, ask=105.0),
            make_tick(timestamp_ns=ACTIVE_NS + 1, ask=110.0),
            make_tick(timestamp_ns=ACTIVE_NS + 2, ask=115.0),
        ]
    )

    [report] = venue.on_ticks(batch)

    assert report.price == 105


def test_batch_shows_a_resting_order_every_quote_in_it() -> None:
    """The quote in the middle that crosses is not lost behind the last one."""
    venue = make_venue()
    submit(venue, make_submit(limit_price="100"), NOW_NS)
    venue.advance(NOW_NS)

    [report] = venue.on_ticks(make_ticks([make_tick(), make_tick(ask=99.5, bid=99.4), make_tick()]))

    assert (report.price, report.quantity) == (100, 1)


def test_batch_without_orders_leaves_its_last_quote() -> None:
    """Who comes after a batch meets its last tick."""
    venue = make_venue()
    venue.on_ticks(make_ticks([make_tick(ask=105.0), make_tick(ask=110.0)]))

    submit(venue, make_submit(order_type="market"), NOW_NS)
    [report] = venue.advance(NOW_NS)

    assert report.price == 110


def test_quote_that_comes_back_within_a_batch_can_be_had_again() -> None:
    """The market showed another quote in between, so what our order took is not missing from the new one."""
    venue = make_venue()
    venue.on_tick(make_tick(ask_size=1.0))
    submit(venue, make_submit("order-1", order_type="market"), NOW_NS)
    venue.advance(NOW_NS)

    venue.on_ticks(make_ticks([make_tick(ask_size=2.0), make_tick(ask_size=1.0)]))
    submit(venue, make_submit("order-2", order_type="market"), NOW_NS)
    [report] = venue.advance(NOW_NS)

    assert report.quantity == 1


def test_malformed_batch_is_refused_before_it_changes_anything() -> None:
    """The caller drops and counts it; the venue goes on with what it had."""
    venue = make_venue()
    venue.on_tick(make_tick(ask=101.0))

    with pytest.raises(ValueError, match="prices and sizes"):
        venue.on_ticks(make_ticks([make_tick(ask=105.0), make_tick(ask=-1.0)]))

    submit(venue, make_submit(order_type="market"), NOW_NS)
    assert venue.advance(NOW_NS)[0].price == 101


def test_cancel_ends_a_resting_order() -> None:
    """The report comes with the next call, and what was filled before stays filled."""
    venue = make_venue()
    venue.on_tick(make_tick(ask_size=0.4))
    submit(venue, make_submit(limit_price="101"), NOW_NS)
    venue.advance(NOW_NS)

    was_working = venue.cancel("order-1", NOW_NS + 1)
    [report] = venue.advance(NOW_NS + 1)

    assert was_working
    assert (report.execution_type, report.reason) == (ExecutionType.CANCELLED, "CANCEL_REQUESTED")
    assert (report.quantity, report.filled_quantity, report.leaves_quantity) == (0, Decimal("0.4"), 0)
    assert venue.open_orders() == []
    assert venue.on_tick(make_tick(ask=90.0, bid=89.0)) == []


def test_cancel_ends_an_order_on_its_way() -> None:
    """A cancel takes effect at once, even before its order has arrived."""
    venue = make_venue(latency_us=1_000)
    venue.on_tick(make_tick())
    submit(venue, make_submit(order_type="market"), NOW_NS)

    venue.cancel("order-1", NOW_NS + 1)
    reports = venue.advance(ACTIVE_NS)

    assert [report.execution_type for report in reports] == [ExecutionType.CANCELLED]


def test_cancel_comes_after_what_was_due_before_it() -> None:
    """An order that arrived earlier than its cancel is filled, and there is nothing left to cancel."""
    venue = make_venue(latency_us=1_000)
    venue.on_tick(make_tick())
    submit(venue, make_submit(order_type="market"), NOW_NS)

    was_working = venue.cancel("order-1", ACTIVE_NS)
    reports = venue.advance(ACTIVE_NS)

    assert not was_working
    assert [report.execution_type for report in reports] == [ExecutionType.TRADE]


@pytest.mark.parametrize("order_type", ["market", "limit"])
def test_cancel_of_an_order_that_expires_in_the_same_moment_finds_nothing(order_type: str) -> None:
    """What ended by itself is not ended a second time."""
    venue = make_venue(latency_us=1_000)
    submit(venue, make_submit(order_type=order_type, time_in_force="ioc"), NOW_NS)

    was_working = venue.cancel("order-1", ACTIVE_NS)

    assert not was_working
    assert [report.execution_type for report in venue.advance(ACTIVE_NS)] == [ExecutionType.EXPIRED]


def test_cancel_of_an_unknown_order_finds_nothing() -> None:
    """The venue knows the working orders only."""
    venue = make_venue()

    was_working = venue.cancel("order-9", NOW_NS)

    assert not was_working
