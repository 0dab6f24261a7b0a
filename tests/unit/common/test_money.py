import decimal
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidValueError
from common.money import (
    AMOUNT_MAX,
    EXACT,
    divide_rounded,
    is_bounded,
    is_multiple,
    parse_amount,
    plain,
    round_to_step,
)

amounts = st.decimals(min_value=-AMOUNT_MAX, max_value=AMOUNT_MAX, places=15, allow_nan=False, allow_infinity=False)
steps = st.sampled_from([Decimal(text) for text in ("1", "0.01", "0.00001", "5", "0.25", "1e-8", "100")])
ROUNDINGS = [decimal.ROUND_FLOOR, decimal.ROUND_CEILING, decimal.ROUND_HALF_EVEN, decimal.ROUND_DOWN]


@given(amounts, amounts)
def test_product_of_any_two_bounded_amounts_is_exact(first: Decimal, second: Decimal) -> None:
    """60 digits hold price times quantity whatever they are, so the trap never strikes an honest order."""
    product = EXACT.multiply(first, second)

    assert Fraction(product) == Fraction(first) * Fraction(second)


@given(st.lists(amounts, max_size=30))
def test_sum_of_bounded_amounts_is_exact(addends: list[Decimal]) -> None:
    """Fills and fees are added up for days."""
    total = Decimal(0)
    for addend in addends:
        total = EXACT.add(total, addend)

    assert Fraction(total) == sum((Fraction(addend) for addend in addends), Fraction(0))


def test_result_that_would_need_rounding_is_an_error() -> None:
    """Silent rounding of money is the failure that this module exists for."""
    with pytest.raises(decimal.Inexact):
        EXACT.divide(Decimal(1), Decimal(3))


@pytest.mark.parametrize("text", ["0", "-0", "1e15", "-1e15", "0.000000000000001", "1E+3", "123.450"])
def test_amount_inside_the_bounds_is_bounded(text: str) -> None:
    """Up to 1e15 on either side, up to 15 decimals."""
    assert is_bounded(Decimal(text))


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "-NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
        "1000000000000000.1",
        "1e16",
        "-1e16",
        "1e-16",
        "1e999999",
        "-1e-999999",
        "0.0000000000000010",
    ],
)
def test_amount_outside_the_bounds_or_not_finite_is_not_bounded(text: str) -> None:
    """Whatever a peer writes, the question is answered, not raised."""
    assert not is_bounded(Decimal(text))


def test_amount_that_a_person_writes_is_read_to_the_last_digit() -> None:
    """Trailing zeros are kept too."""
    assert str(parse_amount("0.1000", "quantity")) == "0.1000"


@pytest.mark.parametrize("text", ["", "abc", "1,5", "NaN", "inf", "1e16", "1e-16", "0x10", "1e99999999999999999999"])
def test_text_that_is_no_bounded_amount_is_refused_with_its_place(text: str) -> None:
    """The message says what was expected, what was there and where."""
    with pytest.raises(InvalidValueError, match="quantity: expected a finite decimal") as refusal:
        parse_amount(text, "quantity")

    assert repr(text) in str(refusal.value)


@given(steps, st.integers(-(10**9), 10**9))
def test_multiple_of_a_step_lies_on_its_grid(step: Decimal, count: int) -> None:
    """However many steps, no float error creeps in."""
    assert is_multiple(EXACT.multiply(step, Decimal(count)), step)


@pytest.mark.parametrize(("amount", "step"), [("0.015", "0.01"), ("7", "5"), ("0.000000000000001", "0.01")])
def test_amount_between_two_steps_is_off_the_grid(amount: str, step: str) -> None:
    """The executor refuses it rather than moving it."""
    assert not is_multiple(Decimal(amount), Decimal(step))


@given(amounts, steps, st.sampled_from(ROUNDINGS))
def test_rounding_lands_on_the_grid_less_than_a_step_away(amount: Decimal, step: Decimal, rounding: str) -> None:
    """In the direction that was asked for."""
    rounded = round_to_step(amount, step, rounding)

    assert is_multiple(rounded, step)
    assert abs(Fraction(rounded) - Fraction(amount)) < Fraction(step)
    if rounding == decimal.ROUND_FLOOR:
        assert rounded <= amount
    if rounding == decimal.ROUND_CEILING:
        assert rounded >= amount
    if rounding == decimal.ROUND_HALF_EVEN:
        assert abs(Fraction(rounded) - Fraction(amount)) <= Fraction(step) / 2


@given(amounts, steps)
def test_rounding_what_is_on_the_grid_changes_nothing(amount: Decimal, step: Decimal) -> None:
    """A price that is rounded twice is the price that was rounded once."""
    once = round_to_step(amount, step, decimal.ROUND_HALF_EVEN)

    assert round_to_step(once, step, decimal.ROUND_FLOOR) == once


@pytest.mark.parametrize(
    ("dividend", "divisor", "quotient"),
    [
        ("1", "3", "0.333333333333"),
        ("2", "3", "0.666666666667"),
        ("0.0000000000005", "1", "0.000000000000"),
        ("0.0000000000015", "1", "0.000000000002"),
        ("-1", "3", "-0.333333333333"),
        ("10", "4", "2.500000000000"),
    ],
)
def test_split_keeps_twelve_decimals_half_to_even(dividend: str, divisor: str, quotient: str) -> None:
    """The same digits on every run, so that a rebuilt position equals the one that was lost."""
    assert format(divide_rounded(Decimal(dividend), Decimal(divisor)), "f") == quotient


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("1E+2", "100"),
        ("0.00100", "0.001"),
        ("100", "100"),
        ("100.00", "100"),
        ("1E-9", "0.000000001"),
        ("0", "0"),
        ("-0.00", "0"),
        ("0E+5", "0"),
        ("-12.50", "-12.5"),
    ],
)
def test_plain_form_has_neither_exponent_nor_trailing_zeros(amount: str, text: str) -> None:
    """Venues and people read 100, never 1E+2."""
    assert plain(Decimal(amount)) == text


@given(amounts)
def test_plain_form_is_the_same_amount(amount: Decimal) -> None:
    """Writing an amount loses nothing of it."""
    text = plain(amount)

    assert Decimal(text) == amount
    assert "E" not in text.upper()
