"""Spread widening: the spread stands out of what it was lately."""

from common.errors import InvalidValueError
from common.events.market import Tick
from common.rules.finding import Finding, found
from common.rules.measures import spread_bps
from common.rules.rule import Rule, rule
from common.rules.window import Window, last_seconds


def spread_widening(
    *,
    window_s: float = 60.0,
    deviations: float = 4.0,
    ratio: float = 2.0,
    ticks_min: int = 100,
    cooldown_s: float = 10.0,
) -> Rule:
    """Tell when the relative spread is both many standard deviations and several times above its rolling mean.

    Formula: s = (ask - bid) / mid, in hundredths of a percent; told where s >= mean + `deviations` * stddev and
    s >= `ratio` * mean, with the mean and sample standard deviation of s over the last `window_s` seconds, the newest
    tick included. The ratio is there because the spread of a liquid pair stands at one tick for minutes: its deviation
    is nearly 0, and any second tick would stand out. Each tick counts once, however long it stood.

    Values: `spread_bps`, `mean_bps`, `stddev_bps`.

    Source: the z-score against a rolling window, as for Bollinger bands; quoted spread as in Hasbrouck, "Empirical
    Market Microstructure", 2007.

    Args:
        window_s: Length of the window, seconds of event time.
        deviations: Standard deviations above the mean. n ticks cannot show more than (n - 1) / sqrt(n).
        ratio: Times the mean, above 1.
        ticks_min: Fewer ticks in the window tell nothing.
        cooldown_s: Silence for a symbol after it was told, seconds.

    Raises:
        InvalidValueError: A number is outside its range, or so few ticks cannot show so many deviations.
    """
    if not (deviations > 0 and ratio > 1 and ticks_min >= 2):
        raise InvalidValueError(
            "spread_widening: expected deviations above 0, ratio above 1 and ticks_min of 2 or more, "
            f"was {deviations}, {ratio} and {ticks_min}"
        )
    if (ticks_min - 1) / ticks_min**0.5 <= deviations:
        raise InvalidValueError(
            f"spread_widening: {ticks_min} ticks cannot show {deviations} deviations; expected a higher ticks_min"
        )

    @rule(on=Tick, name="spread_widening", cooldown_s=cooldown_s, spread=last_seconds(window_s, of=spread_bps))
    def told(tick: Tick, spread: Window) -> Finding | None:
        now, mean = spread.last, spread.mean
        # The cheap comparisons first: most ticks end here.
        if now < ratio * mean or now <= 0 or spread.count < ticks_min:
            return None
        stddev = spread.stddev
        if now < mean + deviations * stddev:
            return None
        return found(
            tick,
            f"spread of {now:.4g} bps, {(now - mean) / stddev:.1f} deviations above its mean of {mean:.4g} bps",
            spread_bps=now,
            mean_bps=mean,
            stddev_bps=stddev,
        )

    return told
