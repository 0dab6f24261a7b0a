"""Volatility burst: the market moves faster than it did."""

import math

from common.errors import InvalidValueError
from common.events.market import Tick
from common.rules.finding import Finding, found
from common.rules.measures import log_mid
from common.rules.rule import Rule, rule
from common.rules.window import Window, last_seconds


def volatility_burst(
    *, short_s: float = 5.0, long_s: float = 300.0, factor: float = 3.0, ticks_min: int = 10, cooldown_s: float = 10.0
) -> Rule:
    """Tell when realised volatility over a short window is several times that over a long one.

    Formula: v(T) = sqrt(sum of r^2 / T), where r = ln m[i] - ln m[i-1] are the log returns of the mid from tick to tick
    in the last T seconds; told where v(short) >= `factor` * v(long). Units of v: per square root of a second; times
    sqrt(31,536,000) it is a year's. The long window contains the short one, so the ratio never exceeds
    sqrt(long_s / short_s). Nothing is told until ticks have come for `long_s` seconds.

    From tick to tick the mid's bounce between bid and ask is in the sum too; it is in both windows.

    Values: `short_bps`, `long_bps` (hundredths of a percent per square root of a second), `ratio`.

    Source: Andersen, Bollerslev, Diebold and Labys, "Modeling and Forecasting Realized Volatility", 2003.

    Args:
        short_s: The short window, seconds of event time.
        long_s: The long one.
        factor: Above 1.
        ticks_min: Fewer ticks in the short window tell nothing.
        cooldown_s: Silence for a symbol after it was told, seconds.

    Raises:
        InvalidValueError: The windows cannot show such a factor.
    """
    if not (0 < short_s < long_s and 1 < factor < math.sqrt(long_s / short_s)):
        raise InvalidValueError(
            "volatility_burst: expected a long window above the short one, and a factor between 1 and "
            f"sqrt(long_s / short_s), was {short_s} s, {long_s} s and {factor}"
        )

    @rule(
        on=Tick,
        name="volatility_burst",
        cooldown_s=cooldown_s,
        short=last_seconds(short_s, of=log_mid).steps(),
        long=last_seconds(long_s, of=log_mid).steps(),
    )
    def told(tick: Tick, short: Window, long: Window) -> Finding | None:
        if not short.last or short.count < ticks_min or not long.is_full:
            return None  # most ticks move no price
        short_volatility, long_volatility = math.sqrt(short.square_sum / short_s), math.sqrt(long.square_sum / long_s)
        if short_volatility < factor * long_volatility:
            return None
        ratio = short_volatility / long_volatility
        return found(
            tick,
            f"volatility of the last {short_s:g} s is {ratio:.1f} times that of the last {long_s:g} s",
            short_bps=short_volatility * 10_000,
            long_bps=long_volatility * 10_000,
            ratio=ratio,
        )

    return told
