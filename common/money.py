"""Exact amounts: prices, quantities, fees and profit as `Decimal`, never rounded by accident.

Every operation runs in `EXACT`, whose Inexact trap turns a silent rounding into an error. The one rounding that
trading needs, splitting a cost, is asked for by name with `divide_rounded`.
"""

import decimal
from decimal import Decimal

from common.errors import InvalidValueError

# 60 digits hold the product of two bounded amounts (2 x 30) without rounding.
EXACT = decimal.Context(
    prec=60,
    rounding=decimal.ROUND_HALF_EVEN,
    traps=[decimal.Inexact, decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)
ROUNDING = decimal.Context(prec=60, rounding=decimal.ROUND_HALF_EVEN)

ZERO = Decimal(0)
AMOUNT_MAX = Decimal("1e15")
DECIMALS_MAX = 15
# Splits are kept to 12 decimals: finer than any venue's unit, and the same digits on every run.
SPLIT_STEP = Decimal("1e-12")


def is_bounded(amount: Decimal) -> bool:
    """Tell whether an amount is finite, at most 1e15 in size, with at most 15 decimals.

    NaN and infinity answer False: they pass no comparison that accepts what is inside a range.
    """
    if not amount.is_finite():
        return False
    exponent = amount.as_tuple().exponent
    # copy_abs, unlike abs, rounds nothing and so raises nothing, however large the exponent.
    return isinstance(exponent, int) and exponent >= -DECIMALS_MAX and amount.copy_abs() <= AMOUNT_MAX


def parse_amount(text: str, what: str) -> Decimal:
    """Read an amount that a person or a file gives.

    Raises:
        InvalidValueError: It is no number, not finite or out of bounds.
    """
    try:
        amount = Decimal(text)
    except decimal.InvalidOperation:
        amount = Decimal("NaN")
    if not is_bounded(amount):
        raise InvalidValueError(f"{what}: expected a finite decimal up to 1e15 with up to 15 decimals, was {text!r}")
    return amount


def is_multiple(amount: Decimal, step: Decimal) -> bool:
    """Tell whether an amount lies on the grid of a tick or lot size."""
    return EXACT.remainder(amount, step) == ZERO


def round_to_step(amount: Decimal, step: Decimal, rounding: str) -> Decimal:
    """Move an amount onto the grid of a tick or lot size.

    Args:
        amount: Any finite amount.
        step: Tick or lot size, above 0.
        rounding: A `decimal` rounding mode, such as ROUND_FLOOR.
    """
    steps = ROUNDING.divide(amount, step).to_integral_value(rounding=rounding)
    return EXACT.multiply(steps, step)


def divide_rounded(dividend: Decimal, divisor: Decimal) -> Decimal:
    """Divide and keep 12 decimals, half to even: the only place where money is rounded."""
    return ROUNDING.divide(dividend, divisor).quantize(SPLIT_STEP, context=ROUNDING)


def plain(amount: Decimal) -> str:
    """Write an amount without exponent and trailing zeros: `0.001`, `100`, never `1E+2`."""
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
