"""A backtest, or a sweep, as one HTML file that needs nothing else: no network, no other file."""

import html
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from plotly.offline import get_plotlyjs

from backtest.performance import DEFINITIONS
from backtest.plots import draw_equity, draw_exposure, draw_prices, draw_sweep
from backtest.recording import Recording
from backtest.result import Finished, Result
from backtest.sweep import Combination
from backtest.tables import SWEEP_FIELDS, describe_trouble, money, number, percent, rows_of, sweep_row

TRADES_SHOWN_MAX = 1_000
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; background: #f5f7fa; margin: 0; }
main { max-width: 1180px; margin: 0 auto; padding: 24px; }
h1 { font-size: 26px; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 0 0 12px; }
section { background: white; border: 1px solid #e4e7eb; border-radius: 10px; padding: 18px 20px; margin: 18px 0; }
.sub { color: #52606d; margin: 0; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; margin: 18px 0; }
.tile { background: white; border: 1px solid #e4e7eb; border-radius: 10px; padding: 12px 16px; }
.tile b { display: block; font-size: 20px; font-variant-numeric: tabular-nums; }
.tile span { color: #52606d; font-size: 13px; }
.good { color: #15803d; } .bad { color: #dc2626; }
.warn { background: #fff7ed; border-color: #fdba74; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid #e4e7eb; white-space: nowrap; }
th { color: #52606d; font-weight: 600; position: sticky; top: 0; background: white; }
th:first-child, td:first-child { text-align: left; }
.text td, .text th { text-align: left; white-space: normal; }
.text td:first-child { white-space: nowrap; }
.scroll { max-height: 420px; overflow: auto; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 0 28px; }
code { font-size: 13px; overflow-wrap: anywhere; }
"""


def write_report(finished: Finished, path: Path, comparison: Any = None) -> None:
    """Write the report of one backtest."""
    path.write_text(make_report(finished, comparison), encoding="utf-8")


def write_sweep_report(combinations: Sequence[Combination], by: str, path: Path) -> None:
    """Write the report of a sweep, which is ranked."""
    names = [*combinations[0].parameters, *SWEEP_FIELDS, "error"]
    rows = [[_cell(row[name], name) for name in names] for row in map(sweep_row, combinations)]
    first = next((each.result for each in combinations if each.result is not None), None)
    subtitle = "" if first is None else f"{first.data}, {first.first} to {first.last}"
    body = [
        _head("Sweep" if first is None else f"Sweep of {first.strategy}", subtitle),
        _section(f"{by} by parameters", draw_sweep(combinations, by)),
        _section(f"All {len(combinations)} combinations, best first", _scroll(_table(names, rows))),
    ]
    path.write_text(_page("Sweep", body), encoding="utf-8")


def make_report(finished: Finished, comparison: Any = None) -> str:
    """The whole page."""
    result, recording, curve = finished.result, finished.recording, finished.curve
    currency = result.statistics.currency
    trouble = describe_trouble(result)
    body = [
        _head(f"Backtest of {result.strategy}", f"{result.data}, {result.first} to {result.last}"),
        _tiles(result),
        *([_section("What went wrong", "<br>".join(map(html.escape, trouble)), "warn")] if trouble else []),
        _section("Equity and drawdown", draw_equity(curve, currency)),
        *(_section(f"Price and fills: {name}", plot) for name, plot in draw_prices(recording)),
        _section("Exposure", draw_exposure(curve, currency)),
        _section("Statistics", f'<div class="columns">{_statistics(result)}</div>'),
        _section("Days, UTC", _scroll(_days(result))),
        _section(*_trades(recording)),
        *([] if comparison is None else [_comparison(comparison)]),
        _section("What was assumed", _table(["", ""], _assumptions(result), "text")),
        _section("Definitions", _table(["statistic", "is"], _definitions(), "text")),
    ]
    return _page(f"Backtest of {result.strategy}", body)


def _tiles(result: Result) -> str:
    given = result.statistics
    is_gain = given.net_profit > 0
    tiles = [
        (f"net profit, {given.currency}", money(given.net_profit), "good" if is_gain else "bad"),
        ("return", percent(given.return_share), "good" if is_gain else "bad"),
        ("max drawdown", percent(given.drawdown_max), ""),
        (f"Sharpe, by {given.interval}", number(given.sharpe), ""),
        (f"Sortino, by {given.interval}", number(given.sortino), ""),
        ("round trips", f"{given.round_trips:,}", ""),
        ("hit rate", percent(given.hit_rate), ""),
        (f"fees, {given.currency}", money(given.fees), ""),
    ]
    cells = (f'<div class="tile"><b class="{kind}">{value}</b><span>{name}</span></div>' for name, value, kind in tiles)
    return f'<div class="tiles">{"".join(cells)}</div>'


def _statistics(result: Result) -> str:
    rows = rows_of(result)
    half = (len(rows) + 1) // 2
    return _table(["", ""], rows[:half]) + _table(["", ""], rows[half:])


def _days(result: Result) -> str:
    unit = result.statistics.currency
    names = ["day", f"profit, {unit}", "return", "max drawdown", f"fees, {unit}", f"turnover, {unit}"]
    rows = [
        [
            day.date,
            f"{day.profit:,.2f}",
            percent(day.return_share),
            percent(day.drawdown_max),
            f"{day.fees:,.2f}",
            f"{day.turnover:,.2f}",
            f"{day.fills:,}",
            f"{day.round_trips:,}",
        ]
        for day in result.statistics.days
    ]
    return _table([*names, "fills", "round trips"], rows)


def _trades(recording: Recording) -> tuple[str, str]:
    fills = recording.fills()
    names = ["time, UTC", "instrument", "side", "quantity", "price", "fee", "as", "slippage, bps", "position after"]
    rows = []
    for fill in fills[:TRADES_SHOWN_MAX]:
        instrument = recording.instruments[fill["instrument"]]
        price = int(fill["price_ticks"]) * instrument.tick_size
        slippage = fill["side"] * (float(price) - fill["decision_mid"]) / float(price) * 10_000
        rows.append(
            [
                str(np.datetime64(int(fill["time_ns"]) // 1_000, "us")).replace("T", " "),
                instrument.name,
                "buy" if fill["side"] > 0 else "sell",
                str(int(fill["lots"]) * instrument.lot_size),
                str(price),
                f"{fill['fee']:.6g}",
                "maker" if fill["is_maker"] else "taker",
                number(float(slippage)),
                str(int(fill["position_lots"]) * instrument.lot_size),
            ]
        )
    shown = f"the first {TRADES_SHOWN_MAX:,} of {len(fills):,}" if len(fills) > len(rows) else f"{len(fills):,}"
    return f"Trades: {shown}", _scroll(_table(names, rows))


def _assumptions(result: Result) -> list[tuple[str, str]]:
    given = result.assumptions
    return [
        ("strategy", f"{result.strategy}, {', '.join(result.instruments)}"),
        *((f"parameter {name}", str(value)) for name, value in result.parameters.items()),
        ("starting equity", f"{money(result.statistics.starting_equity)} {result.statistics.currency}"),
        *((f"latency: {name}", span) for name, span in given.latencies.items()),
        ("latency: order entry at the venue", f"{given.order_entry_latency_us} µs"),
        ("latency: answer of the venue", f"{given.response_latency_us} µs"),
        ("maker fee", percent(float(given.maker_fee_rate))),
        ("taker fee", percent(float(given.taker_fee_rate))),
        ("ticks in groups of", "as recorded" if not given.group_ms else f"{given.group_ms} ms"),
        ("seed of the latencies", str(given.seed)),
        ("positions at the end", "closed by market orders" if given.is_flattened else "valued at the last mid price"),
        ("fills", "only the best level is known: a taker has what is shown there, and a maker waits for the price"),
        ("ticks", f"{result.outcome.ticks:,}, {result.first} to {result.last}"),
        ("result hash", result.outcome.result_hash),
    ]


def _definitions() -> list[tuple[str, str]]:
    return [(name.replace("_", " "), text) for name, text in DEFINITIONS.items()]


def _comparison(comparison: Any) -> str:
    from backtest.tables_comparison import comparison_rows, explain  # noqa: PLC0415

    notes = "".join(f"<p>{html.escape(line)}</p>" for line in explain(comparison))
    return _section("Live beside backtest", _table(["", "live", "backtest"], comparison_rows(comparison)) + notes)


def _head(title: str, subtitle: str) -> str:
    return f'<h1>{html.escape(title)}</h1><p class="sub">{html.escape(subtitle)}</p>'


def _section(title: str, content: str, kind: str = "") -> str:
    return f'<section class="{kind}"><h2>{html.escape(title)}</h2>{content}</section>'


def _scroll(content: str) -> str:
    return f'<div class="scroll">{content}</div>'


def _table(names: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "") -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names) if any(names) else ""
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape('-' if cell is None else str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(value: Any, name: str) -> str | None:
    if isinstance(value, float):
        return percent(value) if name in {"return_share", "drawdown_max", "hit_rate"} else number(value)
    return money(value) if isinstance(value, Decimal) else None if value is None else str(value)


def _page(title: str, body: Sequence[str]) -> str:
    script = get_plotlyjs()
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style><script>{script}</script></head><body><main>{''.join(body)}</main></body></html>"
    )
