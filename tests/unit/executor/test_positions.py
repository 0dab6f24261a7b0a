"""Positions: what fills make of them, to the last digit."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from common.events.trading import Side
from common.money import EXACT, ZERO
from executor.positions import Position

Fill = tuple[Side, Decimal, Decimal]


def position_after(*fills: tuple[Side, str, str]) -> Position:
    """Fold fills, each with a fee of 0.01."""
    position = Position()
    for side, quantity, price in fills:
        position = position.after_fill(side, Decimal(quantity), Decimal(price), Decimal("0.01"))
    return position


def amounts(position: Position) -> tuple[str, str, str]:
    """Quantity, cost and realised profit, without trailing zeros."""
    return (f"{position.quantity:f}", f"{position.cost.normalize():f}", f"{position.realised_pnl.normalize():f}")


def test_flat_position_has_nothing() -> None:
    """No entry price, and no profit at any mark."""
    position = Position()

    assert position.entry_price is None
    assert position.unrealised_pnl(Decimal(100)) == 0


def test_bought_quantity_opens_a_long_position() -> None:
    """The cost is the cash that was paid, without the fee."""
    position = position_after(("buy", "2", "100"))

    assert amounts(position) == ("2", "200", "0")
    assert (position.entry_price, position.fees) == (100, Decimal("0.01"))


def test_sold_quantity_opens_a_short_position() -> None:
    """Both signs turn: what is held is negative, and so is what was paid."""
    position = position_after(("sell", "2", "100"))

    assert amounts(position) == ("-2", "-200", "0")
    assert position.entry_price == 100


def test_growing_averages_the_entry_price_and_realises_nothing() -> None:
    """1 at 100 and 3 at 104 are 4 at 103."""
    position = position_after(("buy", "1", "100"), ("buy", "3", "104"))

    assert amounts(position) == ("4", "412", "0")
    assert position.entry_price == 103


def test_growing_short_averages_the_entry_price_and_realises_nothing() -> None:
    """The mirror of the long case."""
    position = position_after(("sell", "1", "100"), ("sell", "3", "104"))

    assert amounts(position) == ("-4", "-412", "0")
    assert position.entry_price == 103


def test_reducing_realises_the_profit_of_the_part_and_keeps_the_entry_price() -> None:
    """2 of 4 at 103 sold at 110 bring 14."""
    position = position_after(("buy", "1", "100"), ("buy", "3", "104"), ("sell", "2", "110"))

    assert amounts(position) == ("2", "206", "14")
    assert position.entry_price == 103


def test_reducing_short_at_a_lower_price_is_a_profit() -> None:
    """1 of 2 sold at 50 bought back at 40 brings 10."""
    position = position_after(("sell", "2", "50"), ("buy", "1", "40"))

    assert amounts(position) == ("-1", "-50", "10")


def test_closing_at_a_loss_leaves_the_loss_and_no_cost() -> None:
    """3 bought at 10.01, sold at 9.99."""
    position = position_after(("buy", "3", "10.01"), ("sell", "3", "9.99"))

    assert amounts(position) == ("0", "0", "-0.06")
    assert position.entry_price is None


def test_closed_position_opens_again_with_its_profit_kept() -> None:
    """Realised profit and fees belong to the strategy's whole life in the instrument."""
    position = position_after(("buy", "1", "100"), ("sell", "1", "110"), ("sell", "1", "120"))

    assert amounts(position) == ("-1", "-120", "10")
    assert position.fees == Decimal("0.03")


def test_crossing_zero_from_long_closes_at_the_fill_price_and_opens_short_there() -> None:
    """1 at 100, 3 sold at 110: 10 realised, 2 short at 110; the fee is paid once."""
    position = position_after(("buy", "1", "100"), ("sell", "3", "110"))

    assert amounts(position) == ("-2", "-220", "10")
    assert (position.entry_price, position.fees) == (110, Decimal("0.02"))


def test_crossing_zero_from_short_closes_at_the_fill_price_and_opens_long_there() -> None:
    """The mirror: 1 sold at 100, 3 bought at 110: 10 lost, 2 long at 110."""
    position = position_after(("sell", "1", "100"), ("buy", "3", "110"))

    assert amounts(position) == ("2", "220", "-10")
    assert position.entry_price == 110


def test_share_that_has_no_last_digit_is_rounded_but_the_sum_is_not() -> None:
    """A third of 5 is rounded to 12 decimals; profit minus cost is still the cash that moved: 1 + 4 - 2 paid."""
    position = position_after(("buy", "1", "1"), ("buy", "2", "2"), ("sell", "1", "2"))

    assert amounts(position) == ("2", "3.333333333333", "0.333333333333")
    assert position.realised_pnl - position.cost == -3


def test_rounded_shares_leave_nothing_behind_when_all_is_closed() -> None:
    """Three times a third of 5 is 5: the last share takes the whole remaining cost."""
    opened: list[tuple[Side, str, str]] = [("buy", "1", "1"), ("buy", "2", "2")]

    position = position_after(*opened, ("sell", "1", "2"), ("sell", "1", "2"), ("sell", "1", "2"))

    assert amounts(position) == ("0", "0", "1")


def test_unrealised_profit_is_that_of_closing_at_the_mark() -> None:
    """Long gains when the mark rises, short when it falls; without a mark nothing is claimed."""
    long, short = position_after(("buy", "2", "100")), position_after(("sell", "2", "100"))

    assert (long.unrealised_pnl(Decimal("100.5")), short.unrealised_pnl(Decimal("100.5"))) == (1, -1)
    assert long.unrealised_pnl(None) == 0


def test_rebate_reduces_the_fees() -> None:
    """A negative fee is money that came in; profit does not know of it."""
    position = Position().after_fill("buy", Decimal(1), Decimal(100), Decimal("0.05"))

    position = position.after_fill("sell", Decimal(1), Decimal(100), Decimal("-0.02"))

    assert (position.fees, position.realised_pnl) == (Decimal("0.03"), 0)


def test_longest_amounts_are_not_rounded() -> None:
    """30 digits are more than Python's default context keeps: a sign change or abs() would lose the last two."""
    position = position_after(
        ("sell", "999999999999999.999999999999999", "1"), ("buy", "999999999999999.999999999999998", "1")
    )

    assert position.quantity == Decimal("-0.000000000000001")


def amounts_up_to(digits: int) -> st.SearchStrategy[Decimal]:
    """Amounts of up to so many digits before the point: round ones, and the longest that `is_bounded` lets pass."""
    longest = st.integers(10 ** (digits + 14), 10 ** (digits + 15))
    return st.integers(1, 10**digits).map(Decimal) | longest.map(
        lambda mantissa: EXACT.scaleb(Decimal(mantissa), Decimal(-15))
    )


# What one order may be worth is bounded by 1e15 as well: the risk checks see to it.
fill = st.integers(0, 15).flatmap(
    lambda digits: st.tuples(st.sampled_from(["buy", "sell"]), amounts_up_to(digits), amounts_up_to(15 - digits))
)
fills = st.lists(fill, max_size=8)


def signed_quantity(fill: Fill) -> Decimal:
    """What a fill adds to the position."""
    return fill[1] if fill[0] == "buy" else EXACT.minus(fill[1])


def total(values: list[Decimal]) -> Decimal:
    """An exact sum."""
    result = ZERO
    for value in values:
        result = EXACT.add(result, value)
    return result


@given(fills)
@settings(max_examples=60)
def test_profit_and_cost_are_the_cash_that_moved(fills: list[Fill]) -> None:
    """Whatever is bought and sold at whatever price: nothing is rounded away, and nothing raises Inexact."""
    position = Position()
    for side, quantity, price in fills:
        position = position.after_fill(side, quantity, price, ZERO)

    assert position.quantity == total([signed_quantity(fill) for fill in fills])
    paid = total([EXACT.multiply(signed_quantity(fill), fill[2]) for fill in fills])
    assert EXACT.subtract(position.realised_pnl, position.cost) == EXACT.minus(paid)


@given(fills)
@settings(max_examples=30)
def test_closed_position_has_no_cost_left(fills: list[Fill]) -> None:
    """Close whatever is held at any price: cost and quantity are zero, not nearly zero."""
    position = Position()
    for side, quantity, price in fills:
        position = position.after_fill(side, quantity, price, ZERO)

    if position.quantity:
        closing: Side = "sell" if position.quantity > 0 else "buy"
        position = position.after_fill(closing, position.quantity.copy_abs(), Decimal("0.1"), ZERO)

    assert (position.quantity, position.cost, position.entry_price) == (0, 0, None)
