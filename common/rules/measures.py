"""What rules and strategies measure of a tick. None where the tick does not tell."""

import math

from common.events.market import Tick


def mid_price(tick: Tick) -> float | None:
    """The middle of best bid and ask, or the last price where one of them is absent; None without either.

    A price of 0 counts as absent: venues send it for an empty side of the book.
    """
    if tick.bid and tick.ask:
        return (tick.bid + tick.ask) / 2
    return tick.last or None


def log_mid(tick: Tick) -> float | None:
    """The natural logarithm of the middle of bid and ask; its steps are log returns."""
    return math.log((tick.bid + tick.ask) / 2) if tick.bid and tick.ask else None


def spread_bps(tick: Tick) -> float | None:
    """Best ask minus best bid in hundredths of a percent of their middle; 0 or less in a locked or crossed book."""
    return (tick.ask - tick.bid) / (tick.ask + tick.bid) * 20_000 if tick.bid and tick.ask else None
