"""A live session beside the backtest of the same period: which orders both have, and where their profit differs.

Orders are paired by instrument and side, each with the nearest decision within a second. The difference in profit is
then split without a rest: what an order brought is its quantity times the way from its price to the last mid, less its
fee.
"""

from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal
from statistics import median

import msgspec

from common.clock import NS_PER_MS, NS_PER_S
from common.events.trading import Side
from common.money import EXACT, ROUNDING, ZERO

PAIR_NS_MAX = NS_PER_S


class FilledOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What an order came to: times in ns UTC, the cash that its fills moved without fees, quote units."""

    instrument: str
    side: Side
    decision_ns: int
    filled_ns: int
    quantity: Decimal
    cost: Decimal
    fee: Decimal

    @property
    def signed(self) -> Decimal:
        """Its quantity, below 0 for a sale."""
        return self.quantity if self.side == "buy" else self.quantity.copy_negate()

    @property
    def price(self) -> Decimal:
        """Average price."""
        return ROUNDING.divide(self.cost, self.quantity)


class SideTotals(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two: money in quote units, the median way from decision to fill in ms."""

    orders: int
    turnover: Decimal
    fees: Decimal
    profit: Decimal
    decision_to_fill_ms: float | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Both sides, and the difference live less backtest. `by_*` add up to `profit_difference`."""

    live: SideTotals
    backtest: SideTotals
    pairs: int
    only_live: int
    only_backtest: int
    decision_apart_ms: float | None  # median over pairs, live less backtest
    price_difference_bps: float | None  # mean over pairs, above 0 where live paid more or got less
    profit_difference: Decimal
    by_price: Decimal
    by_quantity: Decimal
    by_fees: Decimal
    by_only_live: Decimal
    by_only_backtest: Decimal


def compare(live: Sequence[FilledOrder], backtest: Sequence[FilledOrder], marks: dict[str, Decimal]) -> Comparison:
    """Set two lists of filled orders beside each other; `marks` are the last mid prices, by instrument."""
    pairs, only_live, only_backtest = pair(live, backtest)
    prices = [_worse_bps(ours, theirs) for ours, theirs in pairs]
    by_price = by_quantity = by_fees = ZERO
    for ours, theirs in pairs:
        mark = marks.get(ours.instrument, theirs.price)
        # At the backtest's price, the live quantity; then what the live price changes of it.
        way = ROUNDING.subtract(mark, theirs.price)
        more = ROUNDING.multiply(EXACT.subtract(ours.signed, theirs.signed), way)
        all_of_it = ROUNDING.subtract(_gross(ours, marks), _gross(theirs, marks))
        by_quantity = ROUNDING.add(by_quantity, more)
        by_price = ROUNDING.add(by_price, ROUNDING.subtract(all_of_it, more))
        by_fees = EXACT.add(by_fees, EXACT.subtract(theirs.fee, ours.fee))
    live_totals, backtest_totals = _totals(live, marks), _totals(backtest, marks)
    return Comparison(
        live=live_totals,
        backtest=backtest_totals,
        pairs=len(pairs),
        only_live=len(only_live),
        only_backtest=len(only_backtest),
        decision_apart_ms=_median([(ours.decision_ns - theirs.decision_ns) / NS_PER_MS for ours, theirs in pairs]),
        price_difference_bps=sum(prices) / len(prices) if prices else None,
        profit_difference=ROUNDING.subtract(live_totals.profit, backtest_totals.profit),
        by_price=by_price,
        by_quantity=by_quantity,
        by_fees=by_fees,
        by_only_live=_profit(only_live, marks),
        by_only_backtest=_profit(only_backtest, marks).copy_negate(),
    )


def pair(
    live: Sequence[FilledOrder], backtest: Sequence[FilledOrder]
) -> tuple[list[tuple[FilledOrder, FilledOrder]], list[FilledOrder], list[FilledOrder]]:
    """Each live order with the nearest of the backtest's that is free, and what is left of both."""
    free: dict[tuple[str, Side], list[FilledOrder]] = {}
    for order in sorted(backtest, key=_decision):
        free.setdefault((order.instrument, order.side), []).append(order)
    pairs: list[tuple[FilledOrder, FilledOrder]] = []
    only_live: list[FilledOrder] = []
    for order in sorted(live, key=_decision):
        near = free.get((order.instrument, order.side), [])
        place = bisect_left(near, order.decision_ns, key=_decision)
        candidates = [index for index in (place - 1, place) if 0 <= index < len(near)]
        best = min(candidates, key=lambda index: abs(near[index].decision_ns - order.decision_ns), default=None)
        if best is None or abs(near[best].decision_ns - order.decision_ns) > PAIR_NS_MAX:
            only_live.append(order)
        else:
            pairs.append((order, near.pop(best)))
    return pairs, only_live, [order for orders in free.values() for order in orders]


def _decision(order: FilledOrder) -> int:
    return order.decision_ns


def _gross(order: FilledOrder, marks: dict[str, Decimal]) -> Decimal:
    """What it brought up to the last mid, before its fee."""
    cost = order.cost if order.side == "buy" else order.cost.copy_negate()
    return ROUNDING.subtract(ROUNDING.multiply(order.signed, marks.get(order.instrument, order.price)), cost)


def _profit(orders: Sequence[FilledOrder], marks: dict[str, Decimal]) -> Decimal:
    total = ZERO
    for order in orders:
        total = ROUNDING.add(total, ROUNDING.subtract(_gross(order, marks), order.fee))
    return total


def _totals(orders: Sequence[FilledOrder], marks: dict[str, Decimal]) -> SideTotals:
    turnover = fees = ZERO
    for order in orders:
        turnover, fees = EXACT.add(turnover, order.cost), EXACT.add(fees, order.fee)
    return SideTotals(
        orders=len(orders),
        turnover=turnover,
        fees=fees,
        profit=_profit(orders, marks),
        decision_to_fill_ms=_median([(order.filled_ns - order.decision_ns) / NS_PER_MS for order in orders]),
    )


def _worse_bps(ours: FilledOrder, theirs: FilledOrder) -> float:
    difference = float(ROUNDING.divide(ROUNDING.subtract(ours.price, theirs.price), theirs.price)) * 10_000
    return difference if ours.side == "buy" else -difference


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None
