"""What is held and what it is worth, and how much of its risk that uses. Pure.

Equity = starting equity + realised profit + unrealised profit - fees. A position is marked at the middle of the newest
bid and ask, without those at the last price, without that at the price of its last fill.

The score is the largest of the shares of its limits that a portfolio uses: 1 is at a limit.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

import msgspec

from common.clock import NS_PER_DAY
from common.events.market import Quote
from common.money import EXACT, ZERO

PERCENT = Decimal(100)
TWO = Decimal(2)


class Holding(NamedTuple):
    """A strategy's position; `mark_price` is that of its last fill."""

    strategy: str
    exchange: str
    symbol: str
    quantity: Decimal
    entry_price: Decimal | None
    mark_price: Decimal | None
    realised_pnl: Decimal
    fees: Decimal


class Valuation(NamedTuple):
    """A portfolio in one currency: signed and absolute value of what is held, and what it earned."""

    equity: Decimal
    cash: Decimal
    gross_value: Decimal
    net_value: Decimal
    realised_pnl: Decimal
    unrealised_pnl: Decimal
    fees: Decimal
    largest_value: Decimal


Marks = Mapping[tuple[str, str], Decimal]


def mark_of(quote: Quote) -> Decimal | None:
    """The price at which a quote marks a position; None where it has none."""
    if quote.bid is not None and quote.ask is not None:
        return EXACT.divide(EXACT.add(Decimal(str(quote.bid)), Decimal(str(quote.ask))), TWO)
    return None if quote.last is None else Decimal(str(quote.last))


def value(holdings: Iterable[Holding], marks: Marks, starting_equity: Decimal) -> Valuation:
    """Value positions that share one quote currency."""
    gross = net = realised = unrealised = fees = largest = ZERO
    for holding in holdings:
        realised = EXACT.add(realised, holding.realised_pnl)
        fees = EXACT.add(fees, holding.fees)
        mark = marks.get((holding.exchange, holding.symbol), holding.mark_price)
        if not holding.quantity or mark is None:
            continue
        worth = EXACT.multiply(holding.quantity, mark)
        cost = EXACT.multiply(holding.quantity, holding.entry_price or mark)
        net = EXACT.add(net, worth)
        gross = EXACT.add(gross, worth.copy_abs())
        unrealised = EXACT.add(unrealised, EXACT.subtract(worth, cost))
        largest = max(largest, worth.copy_abs())
    equity = EXACT.subtract(EXACT.add(starting_equity, EXACT.add(realised, unrealised)), fees)
    return Valuation(equity, EXACT.subtract(equity, net), gross, net, realised, unrealised, fees, largest)


class RiskLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a portfolio may use, in its currency; None for no limit."""

    gross_value_max: Decimal | None = None
    drawdown_max: Decimal | None = None
    daily_loss_max: Decimal | None = None
    largest_share_max: Decimal | None = None  # of one position in the gross value, 0 to 1


class RiskState(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be remembered: the highest equity, and that at the beginning of the day (UTC)."""

    peak_equity: Decimal
    day: int
    day_equity: Decimal

    def drawdown(self, equity: Decimal) -> Decimal:
        """How far equity is below its peak."""
        return max(EXACT.subtract(self.peak_equity, equity), ZERO)

    def daily_loss(self, equity: Decimal) -> Decimal:
        """How far equity is below that of the day's beginning."""
        return max(EXACT.subtract(self.day_equity, equity), ZERO)


def begin_risk(equity: Decimal, now_ns: int) -> RiskState:
    """The state before anything happened."""
    return RiskState(peak_equity=equity, day=now_ns // NS_PER_DAY, day_equity=equity)


def follow_risk(state: RiskState, equity: Decimal, now_ns: int) -> RiskState:
    """The state after one more valuation."""
    day = now_ns // NS_PER_DAY
    return RiskState(
        peak_equity=max(state.peak_equity, equity),
        day=day,
        day_equity=equity if day > state.day else state.day_equity,
    )


def shares_used(valuation: Valuation, state: RiskState, limits: RiskLimits) -> dict[str, Decimal]:
    """How much of each limit is used, in percent; 100 or more breaks it."""
    share = valuation.largest_value / valuation.gross_value if valuation.gross_value else ZERO
    used = {
        "gross_value": (valuation.gross_value, limits.gross_value_max),
        "drawdown": (state.drawdown(valuation.equity), limits.drawdown_max),
        "daily_loss": (state.daily_loss(valuation.equity), limits.daily_loss_max),
        "largest_share": (share, limits.largest_share_max),
    }
    return {name: PERCENT * amount / limit for name, (amount, limit) in used.items() if limit}
