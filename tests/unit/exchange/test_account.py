"""The account is the sum of all executions, exact, and the same after a restart."""

from decimal import Decimal

import pytest
from support.exchange_builders import (
    NOW_NS,
    make_execution,
    make_query_account,
    make_replace,
    make_submit,
    make_tick,
    make_venue,
)

from common.events.venue import AccountReported, ExecutionReported, ExecutionType
from exchange.account import Account
from exchange.desk import OrderDesk
from exchange.memory_ledger import MemoryLedger


def make_desk(ledger: MemoryLedger, **balances: str) -> OrderDesk:
    """A desk at a venue of 99 to 101, fees 0.02 and 0.05 %."""
    venue = make_venue(open_orders_max=2_000)
    venue.on_tick(make_tick(bid_size=100.0, ask_size=100.0))
    return OrderDesk(venue, ledger, balances={name: Decimal(amount) for name, amount in balances.items()})


def account_of(desk: OrderDesk, after: int = 0, source: str = "executor") -> AccountReported:
    """Ask for the account."""
    request = make_query_account(after_arrival_number=after, source=source)
    answer = desk.handle(request, NOW_NS)
    assert isinstance(answer, AccountReported)
    return answer


def trade(desk: OrderDesk, name: str, side: str, quantity: str) -> None:
    """Fill a market order: a buy at 101, a sale at 99."""
    desk.handle(make_submit(name, side=side, order_type="market", quantity=quantity, source="executor"), NOW_NS)
    desk.advance(NOW_NS)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_position_cash_and_balance_are_the_sum_of_the_fills(*, is_restarted: bool) -> None:
    """Bought 3 at 101, sold 1 at 99, each with a fee of 0.05 %."""
    ledger = MemoryLedger()
    desk = make_desk(ledger, USDT="1000", EUR="7")
    trade(desk, "order-1", "buy", "3")
    trade(desk, "order-2", "sell", "1")
    desk = make_desk(ledger, USDT="1000", EUR="7") if is_restarted else desk

    account = account_of(desk)

    cash = Decimal(-303) - Decimal("0.1515") + Decimal(99) - Decimal("0.0495")
    assert [(position.symbol, position.quantity) for position in account.positions] == [("BTC/USDT", 2)]
    assert account.cash == {"USDT": cash}
    assert account.balances == {"USDT": 1000 + cash, "EUR": 7}
    assert (account.last_number, account.order_count, account.is_complete) == (2, 2, True)


def test_account_without_configured_balances_reports_none() -> None:
    """Nothing runs out there, so there is nothing to tell; a closed position is none."""
    desk = make_desk(MemoryLedger())
    trade(desk, "order-1", "buy", "1")
    trade(desk, "order-2", "sell", "1")

    account = account_of(desk)

    assert (account.balances, account.positions) == ({}, [])


def test_open_orders_are_told_with_the_terms_that_hold() -> None:
    """A replaced and partly filled order is told as it works now."""
    desk = make_desk(MemoryLedger())
    desk.handle(make_submit(), NOW_NS)
    desk.advance(NOW_NS)
    desk.market(make_tick(ask=100.0, ask_size=0.4))
    desk.handle(make_replace(quantity="3", limit_price="98"), NOW_NS)

    [order] = account_of(desk).open_orders

    assert (order.client_order_id, order.venue_order_id, order.status) == ("order-1", "sim-1", "partially_filled")
    assert (order.quantity, order.limit_price, order.filled_quantity) == (3, 98, Decimal("0.4"))


def test_more_open_orders_than_one_answer_holds_come_in_pages() -> None:
    """The asker goes on from the last arrival number, whatever number it makes up."""
    desk = make_desk(MemoryLedger())
    for number in range(1_001):
        desk.handle(make_submit(f"order-{number}"), NOW_NS)

    first = account_of(desk)
    rest = account_of(desk, first.open_orders[-1].arrival_number)

    assert (len(first.open_orders), first.is_complete) == (1_000, False)
    assert ([order.client_order_id for order in rest.open_orders], rest.is_complete) == (["order-1000"], True)
    assert account_of(desk, (1 << 64) - 1).open_orders == []


def test_orders_are_counted_per_source() -> None:
    """Refused ones too, repeats not."""
    desk = make_desk(MemoryLedger())
    for name in ("order-1", "order-2", "order-2"):
        desk.handle(make_submit(name, quantity="0", source="executor"), NOW_NS)

    assert (account_of(desk).order_count, account_of(desk, source="other").order_count) == (2, 0)


@pytest.mark.parametrize(
    ("side", "execution_type", "quantity", "cash"),
    [
        ("buy", ExecutionType.TRADE_CANCEL, None, "0"),
        ("sell", ExecutionType.TRADE_CANCEL, None, "0"),
        ("buy", ExecutionType.TRADE_CORRECT, Decimal("0.4"), "-42.1"),
        ("sell", ExecutionType.TRADE_CORRECT, Decimal("-0.4"), "41.9"),
    ],
)
def test_cancelled_trade_never_was_and_corrected_trade_had_its_new_price(
    side: str, execution_type: ExecutionType, quantity: Decimal | None, cash: str
) -> None:
    """The trade of 0.4 at 100 is taken back; a correction puts 0.4 at 105 for a fee of 0.1 in its place."""
    original = make_execution(1, side=side)
    correction = make_execution(2, side=side, execution_type=execution_type, corrects=1, price="105", fee="0.1")
    account = Account(lambda number: _only(original, number))

    account.apply(original)
    account.apply(correction)

    assert [position.quantity for position in account.positions()] == ([] if quantity is None else [quantity])
    assert account.cash() == {"USDT": Decimal(cash)}


def _only(execution: ExecutionReported, number: int) -> ExecutionReported:
    assert number == execution.execution_number
    return execution
