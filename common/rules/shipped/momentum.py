"""Momentum: N rises of the mid in a row."""

from typing import Literal

from common.errors import InvalidValueError
from common.events.market import Tick
from common.events.risk import Severity
from common.rules.finding import Finding, found
from common.rules.measures import mid_price
from common.rules.rule import Rule, rule
from common.rules.window import Window, last


def momentum(ticks: int = 5, *, direction: Literal["rising", "falling"] = "rising") -> Rule:
    """Tell when the mid has moved the same way `ticks` times in a row; once for each run, at its N-th move.

    Formula: m[i-N] < m[i-N+1] < ... < m[i], where m are the mids (best bid plus best ask, by two) that differ from the
    one before. A tick that changes sizes only neither counts nor ends a run; of the book updates in a Binance capture
    91 % do. Were each move the toss of a coin, a run of five would be there once in 32 moves.

    Values: `moves` (N), `change_bps` (of the mid, over the run), `span_s` (from the first to the last mid of the run
    and the one before it, where there is one).

    Source: the runs of Wald and Wolfowitz, "On a test whether two samples are from the same population", 1940.

    Raises:
        InvalidValueError: `ticks` is not 1 to 10,000, or the direction is neither.
    """
    if not 1 <= ticks <= 10_000 or direction not in {"rising", "falling"}:
        raise InvalidValueError(
            f"momentum: expected 1 to 10000 ticks, rising or falling, was {ticks} ticks, {direction!r}"
        )

    # One mid more than the run has: a longer run shows as N + 1 and is not told again.
    @rule(on=Tick, name=f"momentum_{direction}", mid=last(ticks + 2, of=mid_price).changes())
    def told(tick: Tick, mid: Window) -> Finding | None:
        if (mid.rising if direction == "rising" else mid.falling) != ticks:
            return None
        before = mid[-ticks - 1]
        return found(
            tick,
            f"{ticks} {direction} ticks in a row, from {before:.10g} to {mid.last:.10g}",
            severity=Severity.INFO,
            moves=ticks,
            change_bps=(mid.last / before - 1) * 10_000,
            span_s=mid.span_s,
        )

    return told
