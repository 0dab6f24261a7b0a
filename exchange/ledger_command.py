"""`tickpulse ledger`: what was really ordered and executed, from the exchange's own file."""

import sys
from pathlib import Path

import click
import msgspec

from common.command import Command, load_config, run_options
from common.tables import Column, Row, format_table, format_time
from exchange.ledger_reading import read_ledger
from exchange.ledger_schema import LEDGER_NAME

ROWS_DEFAULT = 20

_ORDER_COLUMNS: tuple[Column, ...] = (
    ("number", lambda row: row["arrival_number"]),
    ("answered (UTC)", lambda row: format_time(row["answered_ns"])),
    ("client_order_id", lambda row: row["client_order_id"]),
    ("instrument", lambda row: f"{row['exchange']}.{row['symbol']}"),
    ("side", lambda row: row["side"]),
    ("type", lambda row: f"{row['order_type']} {row['time_in_force']}"),
    ("quantity", lambda row: row["quantity"]),
    ("limit", lambda row: row["limit_price"]),
    ("filled", lambda row: row["filled_quantity"]),
    ("status", lambda row: row["status"]),
    ("reason", lambda row: row["reason"]),
    ("submitted", lambda row: f"{row['submissions']} x"),
)
_EXECUTION_COLUMNS: tuple[Column, ...] = (
    ("number", lambda row: row["execution_number"]),
    ("time (UTC)", lambda row: format_time(row["timestamp_ns"])),
    ("client_order_id", lambda row: row["client_order_id"]),
    ("instrument", lambda row: f"{row['exchange']}.{row['symbol']}"),
    ("what", lambda row: row["execution_type"]),
    ("side", lambda row: row["side"]),
    ("quantity", lambda row: row["quantity"]),
    ("price", lambda row: row["price"]),
    ("fee", lambda row: row["fee"]),
    ("as", lambda row: row["liquidity"]),
    ("left", lambda row: row["leaves_quantity"]),
    ("reason", lambda row: row["reason"]),
)

_REPLACEMENT_COLUMNS: tuple[Column, ...] = (
    ("answered (UTC)", lambda row: format_time(row["answered_ns"])),
    ("client_order_id", lambda row: row["client_order_id"]),
    ("replace_id", lambda row: row["replace_id"]),
    ("quantity", lambda row: row["quantity"]),
    ("limit", lambda row: row["limit_price"]),
    ("outcome", lambda row: row["outcome"]),
    ("reason", lambda row: row["reason"]),
)
_COLUMNS = {"orders": _ORDER_COLUMNS, "executions": _EXECUTION_COLUMNS, "replacements": _REPLACEMENT_COLUMNS}

EPILOG = """\b
Examples:
  tickpulse ledger                          the newest orders of ./run
  tickpulse ledger --executions --limit 50  the newest fills, cancels and expiries
  tickpulse ledger --replacements           the newest amendments, as they were answered
  tickpulse ledger --json | jq .summary     counts, for a script

The file is only read, so this is safe while the exchange runs. `submitted 2 x` is an order that was sent twice and
made once; `duplicate orders` counts those that were made twice, and must be 0.

Exit codes: 0 ok, 3 there is no ledger yet, 78 the file is no ledger or the config is wrong.
"""


@click.command(cls=Command, epilog=EPILOG)
@click.option("--executions", "part", flag_value="executions", help="List executions instead of orders.")
@click.option("--replacements", "part", flag_value="replacements", help="List other terms that were asked for.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=0),
    help=f"Only the newest N rows.  [default: {ROWS_DEFAULT}; with --json: all]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with all of it.")
@run_options
def ledger(
    *,
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
    part: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show what was really ordered and executed, from the exchange's own record.

    Newest last. The summary counts the whole file, whatever is listed.
    """
    run_directory = load_config(config_path, run_dir, assignments).run_directory()
    contents = read_ledger(run_directory.file("state", LEDGER_NAME))
    if as_json:
        _print_json(contents, limit)
    else:
        _print_table(contents, part or "orders", ROWS_DEFAULT if limit is None else limit)


def format_summary(summary: Row) -> str:
    """The counts in one line."""
    filled = ", ".join(f"{quantity} {name}" for name, quantity in summary["filled_quantity"].items()) or "nothing"
    return (
        f"{summary['orders']} orders ({summary['accepted']} accepted, {summary['rejected']} rejected), "
        f"{summary['repeats']} repeats, {summary['duplicate_orders']} duplicate orders, "
        f"{summary['overfilled_orders']} overfilled, {summary['executions']} executions, filled: {filled}"
    )


def format_halt(halt: Row) -> str:
    """Why the exchange takes no new order, and what to do."""
    return (
        f"HALTED since {format_time(halt['halted_ns'])} UTC: {halt['source']} said {halt['order_count']} orders, "
        f"{halt['counted']} were counted; compare `tickpulse orders`, then start the exchange with --clear-halt"
    )


def _print_json(contents: Row, limit: int | None) -> None:
    for part in _COLUMNS:
        contents[part] = _newest(contents[part], limit)
    sys.stdout.buffer.write(msgspec.json.encode(contents) + b"\n")


def _print_table(contents: Row, part: str, limit: int) -> None:
    rows = _newest(contents[part], limit)
    if rows:
        click.echo(format_table(_COLUMNS[part], rows))
        click.echo()
    click.echo(format_summary(contents["summary"]))
    for halt in contents["halts"]:
        if halt["cleared_ns"] is None:
            click.echo(format_halt(halt))


def _newest(rows: list[Row], limit: int | None) -> list[Row]:
    return rows if limit is None else rows[max(0, len(rows) - limit) :]
