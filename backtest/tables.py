"""A backtest and a sweep as people read them on a terminal."""

import csv
import functools
import io
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from backtest.result import Result
from backtest.sweep import Combination
from common.money import plain
from common.tables import Row, format_table

SWEEP_FIELDS = (
    "net_profit",
    "return_share",
    "drawdown_max",
    "sharpe",
    "sortino",
    "round_trips",
    "hit_rate",
    "fills",
    "turnover",
    "fees",
)


def rows_of(result: Result) -> list[tuple[str, str]]:
    """The statistics with their units, in the order in which a person asks for them."""
    given, unit = result.statistics, f" {result.statistics.currency}"
    return [
        ("net profit", money(given.net_profit) + unit),
        ("of it realised, before fees", money(given.realised_profit) + unit),
        ("of it unrealised", money(given.unrealised_profit) + unit),
        ("fees", money(given.fees) + unit),
        ("return", percent(given.return_share)),
        ("max drawdown", percent(given.drawdown_max)),
        (f"Sharpe (by {given.interval}, annualised)", number(given.sharpe)),
        (f"Sortino (by {given.interval}, annualised)", number(given.sortino)),
        (f"volatility (by {given.interval}, annualised)", percent(given.volatility)),
        ("orders", f"{given.orders:,}"),
        ("fills", f"{given.fills:,}"),
        ("of them as maker", percent(given.maker_share)),
        ("round trips", f"{given.round_trips:,}"),
        ("hit rate", percent(given.hit_rate)),
        ("profit factor", number(given.profit_factor)),
        ("average round trip", number(given.average_round_trip) + unit),
        ("average holding", f"{number(given.average_holding_s)} s"),
        ("turnover", money(given.turnover) + unit),
        ("slippage against mid at decision", f"{number(given.slippage_decision.bps)} bps"),
        ("slippage against mid at arrival", f"{number(given.slippage_arrival.bps)} bps"),
        ("time in the market", percent(given.exposure_time)),
        ("exposure, average and largest", f"{percent(given.exposure_average)}, {percent(given.exposure_max)}"),
    ]


def format_result(result: Result) -> str:
    """One backtest."""
    outcome = result.outcome
    head = [
        ("strategy", f"{result.strategy} {_parameters(result.parameters)}".rstrip()),
        ("data", f"{result.data}, {outcome.ticks:,} ticks, {result.first} to {result.last}"),
    ]
    tail = [
        ("speed", f"{result.ticks_per_s:,.0f} ticks/s, {result.elapsed_s:.2f} s"),
        ("result hash", outcome.result_hash),
    ]
    rows = [*head, *rows_of(result), *tail]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name.ljust(width)}  {value}" for name, value in rows]
    return "\n".join([*lines, *describe_trouble(result)])


def describe_trouble(result: Result) -> list[str]:
    """What went wrong inside the run: raised by the strategy, or told by the executor."""
    outcome = result.outcome
    failed = sum(counts.get("callbacks_failed", 0) for counts in outcome.counters.values())
    denied = outcome.counters["executor"].get("signals_denied", 0)
    reasons = ", ".join(
        f"{count} {name.removeprefix('denied_')}"
        for name, count in sorted(outcome.counters["executor"].items())
        if name.startswith("denied_") and count
    )
    return [
        *([f"! {failed} callbacks of the strategy raised; the first: {outcome.failures[0]}"] if failed else []),
        *(f"! {name} {reason}" for name, reason in outcome.halts.items()),
        *([f"! {denied} signals denied: {reasons}"] if denied else []),
        *(f"! {alarm}" for alarm in outcome.alarms),
    ]


def format_sweep(combinations: Sequence[Combination]) -> str:
    """One row for each combination, as they are ranked."""
    rows = [sweep_row(each) for each in combinations]
    names = list(combinations[0].parameters) if combinations else []
    columns = [*names, *SWEEP_FIELDS, *(["error"] if any(row["error"] for row in rows) else [])]
    return format_table([(name, functools.partial(_shown, name)) for name in columns], rows)


def sweep_row(combination: Combination) -> dict[str, Any]:
    """One combination as flat values."""
    result = combination.result
    values = {name: None if result is None else getattr(result.statistics, name) for name in SWEEP_FIELDS}
    error = None if combination.error is None else combination.error[:80]
    return {**combination.parameters, **values, "error": error}


def format_csv(combinations: Sequence[Combination]) -> str:
    """A sweep as CSV, with full digits and the hash of each result."""
    file = io.StringIO()
    names = list(combinations[0].parameters) if combinations else []
    writer = csv.DictWriter(file, [*names, *SWEEP_FIELDS, "result_hash", "error"], lineterminator="\n")
    writer.writeheader()
    for each in combinations:
        found = "" if each.result is None else each.result.outcome.result_hash
        writer.writerow({**sweep_row(each), "error": each.error, "result_hash": found})
    return file.getvalue()


def money(amount: Decimal) -> str:
    """To the cent where it is large, and to eight decimals where it is small."""
    digits = 2 if abs(amount) >= 1 else 8
    return f"{amount:,.{digits}f}" if amount else plain(amount)


def percent(share: float) -> str:
    """A share as percent; a dash for NaN."""
    return "-" if math.isnan(share) else f"{100 * share:.4g} %"


def number(value: float) -> str:
    """Four digits; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:,.4g}"


def _shown(name: str, row: Row) -> str | None:
    return _cell(name, row[name])


def _cell(name: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return money(value)
    if name in {"return_share", "drawdown_max", "hit_rate"}:
        return percent(value)
    return number(value) if isinstance(value, float) else str(value)


def _parameters(parameters: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in parameters.items())
