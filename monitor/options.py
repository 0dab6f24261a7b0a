"""Types of options that click does not have."""

import math
from typing import Any

import click


class Finite(click.FloatRange):
    """A finite number in a range. NaN passes every range, and neither it nor infinity is a time or a rate."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"expected a finite number, was {value}", param, ctx)
        return number
