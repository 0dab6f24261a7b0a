"""What a recording amounts to: equity, exposure, and the statistics of both.

Money is exact; ratios, and whatever comes from mid prices, are float64. Ratios are those of `empyrical`: returns of
equal intervals, no risk-free rate, annualised by 365 days of 24 hours. Where a ratio makes no sense it is NaN.
"""

import math
import warnings
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from backtest.recording import Recording
from common.clock import NS_PER_DAY, NS_PER_S
from common.instruments import Instrument, quote_currency
from common.money import EXACT, ZERO

Floats = npt.NDArray[np.float64]
RETURNS_MIN = 5  # a deviation of fewer says nothing
INTERVALS_MIN = 10  # of the longest kind that has so many in the range
INTERVALS = (("day", NS_PER_DAY), ("hour", 3_600 * NS_PER_S), ("minute", 60 * NS_PER_S))


class Curve(msgspec.Struct, frozen=True):
    """Sampled: ns UTC int64; equity, gross and net value of positions in quote units; drawdown as a share, <= 0."""

    times: npt.NDArray[np.int64]
    equity: Floats
    gross: Floats
    net: Floats
    drawdown: Floats


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """One day, UTC; money in quote units."""

    date: str
    profit: float
    return_share: float
    drawdown_max: float
    fees: float
    turnover: float
    fills: int
    round_trips: int


class Slippage(msgspec.Struct, frozen=True, kw_only=True):
    """Fill price against mid, above 0 where it cost: quote units, and bps of the turnover it was measured on."""

    amount: float
    bps: float


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """`DEFINITIONS` says what each is."""

    currency: str
    starting_equity: Decimal
    final_equity: Decimal
    net_profit: Decimal
    realised_profit: Decimal
    unrealised_profit: Decimal
    fees: Decimal
    turnover: Decimal
    return_share: float
    drawdown_max: float
    sharpe: float
    sortino: float
    volatility: float
    interval: str
    intervals: int
    orders: int
    fills: int
    maker_share: float
    round_trips: int
    hit_rate: float
    profit_factor: float
    average_round_trip: float
    average_holding_s: float
    exposure_time: float
    exposure_average: float
    exposure_max: float
    slippage_decision: Slippage
    slippage_arrival: Slippage
    days: list[Day]


DEFINITIONS = {
    "net_profit": "realised and unrealised profit less fees; what is held at the end is valued at the last mid",
    "return_share": "net profit as a share of the starting equity",
    "drawdown_max": "largest fall of sampled equity from its highest, as a share of that",
    "sharpe": "mean by deviation of the interval's returns, times the root of intervals a year; risk-free rate 0",
    "sortino": "the same by the deviation of returns below 0",
    "volatility": "deviation of the interval's returns, times the root of intervals a year",
    "interval": "of the returns: the longest of day, hour, minute that the range has ten of; no ratio where none has",
    "turnover": "sum of price times quantity of all fills",
    "round_trips": "from flat to flat, or to the other side",
    "hit_rate": "share of round trips that gained after fees",
    "profit_factor": "what gaining round trips brought by what losing ones cost",
    "maker_share": "share of fills that rested in the book",
    "exposure_time": "share of samples at which something was held",
    "exposure_average": "mean value of all positions, each counted by its size, as a share of equity",
    "exposure_max": "largest value of all positions, as a share of equity",
    "slippage_decision": "fill price against the newest mid that the strategy had when it decided; above 0 is a cost",
    "slippage_arrival": "fill price against the mid when the order reached the exchange",
}


def measure(recording: Recording, starting_equity: Decimal) -> tuple[Statistics, Curve]:
    """The statistics of a run that is over, and its curve."""
    curve = draw_curve(recording, float(starting_equity))
    realised = _sum(position.realised_pnl for position in recording.positions.values())
    fees = _sum(position.fees for position in recording.positions.values())
    unrealised = _unrealised(recording)
    profit = EXACT.subtract(EXACT.add(realised, unrealised), fees)
    name, returns, a_year = make_returns(curve)
    trips = recording.round_trips()
    profits = trips["profit"]
    fills = recording.fills()
    gains, losses = profits[profits > 0].sum(), -profits[profits < 0].sum()
    share = curve.gross / np.where(curve.equity > 0, curve.equity, np.nan)
    statistics = Statistics(
        currency=_currency(recording),
        starting_equity=starting_equity,
        final_equity=EXACT.add(starting_equity, profit),
        net_profit=profit,
        realised_profit=realised,
        unrealised_profit=unrealised,
        fees=fees,
        turnover=recording.turnover,
        return_share=float(profit / starting_equity),
        drawdown_max=float(curve.drawdown.min(initial=0.0)),
        sharpe=ratio("sharpe_ratio", returns, a_year),
        sortino=ratio("sortino_ratio", returns, a_year),
        volatility=ratio("annual_volatility", returns, a_year),
        interval=name,
        intervals=len(returns),
        orders=recording.orders,
        fills=len(fills),
        maker_share=_mean(fills["is_maker"]),
        round_trips=len(trips),
        hit_rate=_mean(profits > 0),
        profit_factor=float(gains / losses) if losses else math.nan,
        average_round_trip=_mean(profits),
        average_holding_s=_mean((trips["closed_ns"] - trips["opened_ns"]) / NS_PER_S),
        exposure_time=_mean(curve.gross > 0),
        exposure_average=_mean(share[np.isfinite(share)]),
        exposure_max=float(share[np.isfinite(share)].max(initial=0.0)),
        slippage_decision=_slippage(recording, fills, "decision_mid"),
        slippage_arrival=_slippage(recording, fills, "arrival_mid"),
        days=make_days(recording, curve),
    )
    return statistics, curve


def draw_curve(recording: Recording, starting_equity: float) -> Curve:
    """Equity and exposure at each sample; the last one holds every fill."""
    times = np.array(recording.sample_times, dtype=np.int64)
    equity = np.full(len(times), starting_equity)
    gross, net = np.zeros(len(times)), np.zeros(len(times))
    fills = recording.fills()
    for number, instrument in enumerate(recording.instruments):
        own = fills[fills["instrument"] == number]
        if not len(own):
            continue
        own = own[np.argsort(own["time_ns"], kind="stable")]
        signed = own["side"] * own["lots"] * float(instrument.lot_size)
        cash = -signed * prices_of(own, instrument) - own["fee"]
        held_by = np.searchsorted(own["time_ns"], times, side="right")
        if len(held_by):
            held_by[-1] = len(own)
        held = np.concatenate([[0.0], np.cumsum(signed)])[held_by]
        # Of several strategies each counts by its size; what they hold together is the net value.
        sizes = np.zeros(len(times))
        for strategy in np.unique(own["strategy"]):
            of = np.where(own["strategy"] == strategy, signed, 0.0)
            sizes += np.abs(np.round(np.concatenate([[0.0], np.cumsum(of)])[held_by], 12))
        mids = np.nan_to_num(recording.mids(instrument.name))
        value = np.round(held, 12) * mids
        equity += np.concatenate([[0.0], np.cumsum(cash)])[held_by] + value
        gross += sizes * mids
        net += value
    highest = np.maximum.accumulate(equity) if len(equity) else equity
    return Curve(
        times, equity, gross, net, np.where(highest > 0, equity / np.where(highest > 0, highest, 1.0) - 1, 0.0)
    )


def make_returns(curve: Curve) -> tuple[str, Floats, float]:
    """The name of the interval, its returns, and how many such intervals a year has."""
    if len(curve.times) < 2:
        return "minute", np.empty(0), 365.0 * 1_440
    span_ns = int(curve.times[-1] - curve.times[0])
    name, step_ns = next((each for each in INTERVALS if span_ns >= INTERVALS_MIN * each[1]), INTERVALS[-1])
    if span_ns < INTERVALS_MIN * step_ns:
        return name, np.empty(0), 365.0 * NS_PER_DAY / step_ns
    edges = np.arange(curve.times[0], curve.times[-1] + 1, step_ns)
    equity = curve.equity[np.searchsorted(curve.times, edges, side="right") - 1]
    a_year = 365.0 * NS_PER_DAY / step_ns
    return name, (np.diff(equity) / equity[:-1] if (equity > 0).all() else np.empty(0)), a_year


def ratio(name: str, returns: Floats, a_year: float) -> float:
    """A ratio of empyrical's, NaN where the returns are too few or never differ."""
    if len(returns) < RETURNS_MIN or np.ptp(returns) == 0:
        return math.nan
    import empyrical  # noqa: PLC0415  # it brings pandas: a second, which `--help` need not wait for

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        value = float(getattr(empyrical, name)(returns, annualization=a_year))
    return value if math.isfinite(value) else math.nan


def make_days(recording: Recording, curve: Curve) -> list[Day]:
    """One row for each day that was sampled, UTC."""
    fills, trips, days = recording.fills(), recording.round_trips(), []
    fill_days, trip_days = fills["time_ns"] // NS_PER_DAY, trips["closed_ns"] // NS_PER_DAY
    sample_days = curve.times // NS_PER_DAY
    before = float(curve.equity[0]) if len(curve.equity) else 0.0
    values = values_of(recording, fills)
    for day in np.union1d(sample_days, fill_days[: np.searchsorted(fill_days, sample_days[-1:].max(initial=0))]):
        equity = curve.equity[sample_days == day]
        is_last = day == sample_days[-1]
        is_own = (fill_days >= day) if is_last else (fill_days == day)
        path = np.concatenate([[before], equity])
        drawdown = path / np.maximum.accumulate(path) - 1
        days.append(
            Day(
                date=str(np.datetime64(int(day), "D")),
                profit=float(path[-1] - before),
                return_share=float(path[-1] / before - 1) if before > 0 else math.nan,
                drawdown_max=float(drawdown.min()) if before > 0 else math.nan,
                fees=float(fills["fee"][is_own].sum()),
                turnover=float(values[is_own].sum()),
                fills=int(is_own.sum()),
                round_trips=int(((trip_days >= day) if is_last else (trip_days == day)).sum()),
            )
        )
        before = float(path[-1])
    return days


def prices_of(fills: npt.NDArray[np.void], instrument: Instrument) -> Floats:
    """Prices of fills of one instrument, quote units."""
    prices: Floats = fills["price_ticks"] * float(instrument.tick_size)
    return prices


def values_of(recording: Recording, fills: npt.NDArray[np.void]) -> Floats:
    """Price times quantity of each fill, quote units."""
    steps = np.array([float(entry.tick_size) * float(entry.lot_size) for entry in recording.instruments])
    values: Floats = fills["price_ticks"].astype(np.float64) * fills["lots"] * steps[fills["instrument"]]
    return values


def _slippage(recording: Recording, fills: npt.NDArray[np.void], field: str) -> Slippage:
    ticks = np.array([float(entry.tick_size) for entry in recording.instruments])[fills["instrument"]]
    lots = np.array([float(entry.lot_size) for entry in recording.instruments])[fills["instrument"]]
    costs = fills["side"] * (fills["price_ticks"] * ticks - fills[field]) * fills["lots"] * lots
    is_known = np.isfinite(costs)
    value = values_of(recording, fills)[is_known].sum()
    amount = float(costs[is_known].sum())
    return Slippage(amount=amount, bps=float(amount / value * 10_000) if value else math.nan)


def _unrealised(recording: Recording) -> Decimal:
    total = ZERO
    for (_, key), position in recording.positions.items():
        mid = recording.last_mid(key)
        total = EXACT.add(total, position.unrealised_pnl(None if mid is None else Decimal(repr(mid))))
    return total


def _currency(recording: Recording) -> str:
    """What the money is in; where several are traded their sums mean little, and say so."""
    traded = {quote_currency(symbol) for _, (_, symbol) in recording.positions}
    traded = traded or {quote_currency(entry.symbol) for entry in recording.instruments}
    return "+".join(sorted(traded))


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _sum(amounts: Any) -> Decimal:
    total = ZERO
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total
