"""A live session and its backtest as people read them."""

from backtest.comparing import Comparison
from backtest.tables import money, number
from common.tables import format_table

Row = tuple[str, str, str]


def comparison_rows(given: Comparison) -> list[Row]:
    """What both have."""
    live, backtest = given.live, given.backtest
    return [
        ("filled orders", f"{live.orders:,}", f"{backtest.orders:,}"),
        ("of them without a counterpart", f"{given.only_live:,}", f"{given.only_backtest:,}"),
        ("turnover", money(live.turnover), money(backtest.turnover)),
        ("fees", money(live.fees), money(backtest.fees)),
        ("profit at the last mid, after fees", money(live.profit), money(backtest.profit)),
        ("decision to fill, median ms", _optional(live.decision_to_fill_ms), _optional(backtest.decision_to_fill_ms)),
    ]


def explain(given: Comparison) -> list[str]:
    """Where the difference comes from, in sentences."""
    paired = f"{given.pairs:,} of {given.live.orders:,} live orders have a counterpart"
    lines = [f"{paired}: same instrument and side, decided within a second."]
    if given.decision_apart_ms is not None and given.price_difference_bps is not None:
        when = "later" if given.decision_apart_ms > 0 else "earlier"
        worse = "worse" if given.price_difference_bps > 0 else "better"
        lines.append(
            f"Of these, live decided {abs(given.decision_apart_ms):.3f} ms {when} (median), "
            f"and filled {abs(given.price_difference_bps):.4g} bps {worse} (mean)."
        )
    more = "less" if given.profit_difference < 0 else "more"
    lines.append(
        f"Live made {money(abs(given.profit_difference))} {more} than the backtest: {money(given.by_price)} by prices, "
        f"{money(given.by_quantity)} by quantities, {money(given.by_fees)} by fees, "
        f"{money(given.by_only_live)} by orders that only live has, "
        f"{money(given.by_only_backtest)} by those that only the backtest has."
    )
    return lines


def format_comparison(given: Comparison) -> str:
    """The table, and what it means."""
    rows = [dict(zip(("", "live", "backtest"), row, strict=True)) for row in comparison_rows(given)]
    columns = [(name, lambda row, name=name: row[name]) for name in ("", "live", "backtest")]
    return "\n".join([format_table(columns, rows), "", *explain(given)])


def _optional(value: float | None) -> str:
    return "-" if value is None else number(value)
