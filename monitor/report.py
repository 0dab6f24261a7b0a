"""The summary of a run, for people."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from monitor.summary import find_faults


def print_summary(summary: dict[str, Any], run_directory: Path) -> None:
    """Print what a run did to stdout."""
    console = Console(highlight=False, soft_wrap=True)
    faults = find_faults(summary)
    verdict = (
        Text("; ".join(faults), "bold red")
        if faults
        else Text("every signal has its end, no order was lost or made twice", "bold green")
    )
    console.print()
    console.print(f"traded for {summary['duration_s']} s:", verdict)
    console.print(_counts(summary))
    console.print(_latency(summary["tick_to_ack_us"]))
    if summary["positions"]:
        console.print(_positions(summary["positions"]))
    console.print()
    console.print(f"journal, ledger and logs: {run_directory}")
    console.print(f"look closer: tickpulse orders --run-dir {run_directory}", style="dim")
    console.print(f"             tickpulse ledger --run-dir {run_directory}", style="dim")
    if summary["recorded"] is not None:
        _print_recorded(console, summary)


def _print_recorded(console: Console, summary: dict[str, Any]) -> None:
    recorded = summary["recorded"]
    missing = f"{recorded['gaps']:,} gaps of {recorded['lost']:,} messages" if recorded["gaps"] else "no gap"
    trading = sum(recorded[name] for name in ("lost_market", "lost_events", "lost_executions"))
    console.print()
    console.print(f"recorded {recorded['records']:,} messages, {missing}, {trading:,} of market and orders")
    console.print(f"event log: {summary['event_log']}")
    console.print(f"look closer: tickpulse store verify {summary['event_log']}", style="dim")
    console.print(f"             tickpulse store stats {summary['event_log']}", style="dim")


def _counts(summary: dict[str, Any]) -> Table:
    table = _table("", ">count")
    names = (
        "ticks_published",
        "ticks_received",
        "ticks_dropped",
        "signals_emitted",
        "signals_acknowledged",
        "signals_denied",
        "orders_accepted",
        "orders_rejected",
        "fills",
        "duplicate_orders",
        "lost_signals",
        "alarms",
    )
    for name in names:
        table.add_row(name.replace("_", " "), f"{summary[name]:,}")
    for name, count in summary["feed"].items():
        table.add_row(f"feed: {name.removeprefix('feed_').replace('_', ' ')}", f"{count:,}")
    for strategy in summary["strategies"]:
        if strategy["callbacks_failed"]:
            halted = ", halted" if strategy["is_halted"] else ""
            table.add_row(f"{strategy['name']}: callbacks failed{halted}", f"{strategy['callbacks_failed']:,}")
    for name, count in summary["restarts"].items():
        if count:
            table.add_row(f"{name}: restarts", f"{count:,}")
    table.add_row("journal and ledger agree on positions", "yes" if summary["positions_agree"] else "NO")
    return table


def _latency(summary_us: dict[str, float | None]) -> Table:
    table = _table("tick to acknowledgement", *(f">{name.replace('_', '.')}" for name in summary_us))
    table.add_row("µs", *("-" if value is None else f"{value:,.0f}" for value in summary_us.values()))
    return table


def _positions(positions: list[dict[str, str | None]]) -> Table:
    table = _table("position", "instrument", ">quantity", ">entry", ">realised", ">fees")
    for position in positions:
        table.add_row(
            position["strategy"],
            f"{position['exchange']}.{position['symbol']}",
            position["quantity"],
            *(_short(position[name]) for name in ("entry_price", "realised_pnl", "fees")),
        )
    return table


def _short(amount: str | None) -> str:
    return "-" if amount is None else f"{float(amount):,.2f}"


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", title_justify="left")
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left")
    return table
