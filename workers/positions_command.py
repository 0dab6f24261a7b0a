"""`tickpulse positions`, `pnl`, `trades`: what the read model of the workers knows."""

import json
import sqlite3
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from common.clock import NS_PER_MS, SystemClock
from common.command import Command, load_config, run_options
from common.errors import InvalidValueError
from common.history import open_history
from common.instruments import quote_currency
from common.money import EXACT, ZERO, plain
from common.run_directory import RunDirectory
from common.store.config import StoreConfig
from common.store.times import parse_time_ns
from common.tables import Column, Row, format_table, format_time
from workers.positions import Positions
from workers.positions_as_of import read_positions
from workers.sqlite_model import position_of

F = TypeVar("F", bound=Callable[..., Any])
AMOUNTS = ("realised_pnl", "unrealised_pnl", "fees")
EPILOG = """\b
The last line says which journal entry the answer stands at, and how many the workers have yet to read: 0 means that it
is what the executor knows.

Exit codes: 0 ok, 3 there is no read model yet, 78 the config is wrong.
"""

POSITION_COLUMNS: tuple[Column, ...] = (
    ("strategy", lambda row: row["strategy"]),
    ("instrument", lambda row: f"{row['exchange']}.{row['symbol']}"),
    ("quantity", lambda row: row["quantity"]),
    ("entry", lambda row: row["entry_price"]),
    ("mark", lambda row: row["mark_price"]),
    ("realised", lambda row: row["realised_pnl"]),
    ("unrealised", lambda row: row["unrealised_pnl"]),
    ("fees", lambda row: row["fees"]),
    ("changed (UTC)", lambda row: format_time(row["updated_ns"])),
)
PNL_COLUMNS: tuple[Column, ...] = (
    ("strategy", lambda row: row["strategy"]),
    ("instrument", lambda row: f"{row['exchange']}.{row['symbol']}"),
    ("realised", lambda row: row["realised_pnl"]),
    ("unrealised", lambda row: row["unrealised_pnl"]),
    ("fees", lambda row: row["fees"]),
    ("net", lambda row: row["net_pnl"]),
)
DAY_COLUMN: Column = ("day (UTC)", lambda row: row["day"])
# The last state of each position on each day; with max() SQLite takes the other columns from its row.
DAY_ENDS = """(
    SELECT date(timestamp_ns / 1000000000, 'unixepoch') AS day, strategy, exchange, symbol, realised_pnl,
        unrealised_pnl, fees, max(seq) AS seq
    FROM pnl GROUP BY 1, 2, 3, 4
)"""
TRADE_COLUMNS: tuple[Column, ...] = (
    ("number", lambda row: row["execution_number"]),
    ("time (UTC)", lambda row: format_time(row["timestamp_ns"])),
    ("strategy", lambda row: row["strategy"]),
    ("instrument", lambda row: f"{row['exchange']}.{row['symbol']}"),
    ("side", lambda row: row["side"]),
    ("quantity", lambda row: row["quantity"]),
    ("price", lambda row: row["price"]),
    ("notional", lambda row: row["notional"]),
    ("fee", lambda row: row["fee"]),
    ("as", lambda row: row["liquidity"]),
    ("state", lambda row: None if row["state"] == "done" else row["state"]),
    ("client_order_id", lambda row: row["client_order_id"]),
)


class Standing(NamedTuple):
    """How current an answer is."""

    seq: int
    behind: int
    age_ms: int | None  # of the newest fact in the model

    def text(self) -> str:
        """One line for people."""
        if self.behind == 0:
            return f"as of journal entry {self.seq}, which is the newest"
        return f"as of journal entry {self.seq}, {self.behind} behind the journal; are the workers running?"


def filtering_options(function: F) -> F:
    """Add the options that all three commands have."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option("--symbol", metavar="SYMBOL", help="Only this symbol, such as BTC/USDT."),
        click.option("--strategy", metavar="NAME", help="Only this strategy."),
        run_options,
    ):
        function = option(function)
    return function


@click.command(cls=Command, epilog=EPILOG)
@click.option("--all", "shows_flat", is_flag=True, help="Flat ones too.")
@click.option("--as-of", "as_of", metavar="TIME", help="As an event log told of them by then; ISO 8601. Needs --store.")
@click.option("--store", metavar="ADDRESS", help="That event log, such as jsonl:PATH.")
@filtering_options
def positions(
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
    *,
    shows_flat: bool,
    as_of: str | None,
    store: str | None,
    **options: Any,
) -> None:
    """Show what each strategy holds, marked at the price of its last fill. Amounts in quote units."""
    if (as_of is None) != (store is None):
        raise click.UsageError("expected --as-of TIME and --store ADDRESS together")
    if as_of is not None and store is not None:
        config = load_config(config_path, run_dir, assignments).section("store", StoreConfig)
        _show_as_of(store, as_of, config, shows_flat=shows_flat, **options)
        return
    rows, standing = _read("positions", "strategy, exchange, symbol", config_path, run_dir, assignments, options)
    rows = [row for row in rows if shows_flat or Decimal(row["quantity"])]
    _print("positions", rows, POSITION_COLUMNS, standing, as_json=options["as_json"])


@click.command(cls=Command, epilog=EPILOG)
@click.option("--by-day", "by_day", is_flag=True, help="As each day (UTC) ended: sums since the start, not of the day.")
@filtering_options
def pnl(
    config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...], *, by_day: bool, **options: Any
) -> None:
    """Show what each strategy won or lost, and the sum by quote currency. Net is realised + unrealised - fees."""
    if by_day:
        rows, standing = _read(DAY_ENDS, "day, strategy, exchange, symbol", config_path, run_dir, assignments, options)
        days = [{**row, "net_pnl": plain(_net(row))} for row in rows]
        _print("days", days, (DAY_COLUMN, *PNL_COLUMNS), standing, as_json=options["as_json"])
        return
    rows, standing = _read("positions", "strategy, exchange, symbol", config_path, run_dir, assignments, options)
    table = [{**row, "net_pnl": plain(_net(row))} for row in rows]
    totals = _totals(rows)
    if options["as_json"]:
        _print_json({"pnl": table, "totals": totals}, standing)
        return
    _print("pnl", table, PNL_COLUMNS, standing, as_json=False)
    for currency, total in totals.items():
        click.echo(f"in all {total['net_pnl']} {currency}: realised {total['realised_pnl']}, "
                   f"unrealised {total['unrealised_pnl']}, fees {total['fees']}")  # fmt: skip


@click.command(cls=Command, epilog=EPILOG)
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Newest trades; 0 = all.")
@filtering_options
def trades(
    config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...], *, limit: int, **options: Any
) -> None:
    """Show our trades, newest last, with what the exchange has corrected or cancelled since."""
    rows, standing = _read("trades", "execution_number", config_path, run_dir, assignments, options)
    _print("trades", rows[-limit:] if limit else rows, TRADE_COLUMNS, standing, as_json=options["as_json"])


def _show_as_of(
    address: str,
    as_of: str,
    config: StoreConfig,
    *,
    shows_flat: bool,
    as_json: bool,
    symbol: str | None,
    strategy: str | None,
) -> None:
    try:
        as_of_ns = parse_time_ns(as_of)
    except InvalidValueError as error:
        raise click.UsageError(f"--as-of {error}") from error
    found, standing = read_positions(address, as_of_ns, config)
    rows = [
        row
        for row in found
        if (shows_flat or Decimal(row["quantity"]))
        and symbol in {None, row["symbol"]}
        and strategy in {None, row["strategy"]}
    ]
    if as_json:
        click.echo(json.dumps({"positions": rows, "last_id": standing.last_id}, indent=2))
        return
    click.echo(format_table(POSITION_COLUMNS, rows) if rows else "no positions")
    click.echo(f"\n{standing.text()}")


def _read(
    table: str,
    order: str,
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
    options: dict[str, Any],
) -> tuple[list[Row], Standing]:
    run_directory = load_config(config_path, run_dir, assignments).run_directory()
    wanted = {name: options[name] for name in ("strategy", "symbol") if options[name] is not None}
    where = " AND ".join(f"{name} = ?" for name in wanted) or "1"
    with Positions.reading(run_directory.file("state", "")) as connection:
        found = connection.execute(
            f"SELECT * FROM {table} WHERE {where} ORDER BY {order}",  # noqa: S608  # names of ours, values bound
            list(wanted.values()),
        )
        rows = [dict(row) for row in found]
        standing = _standing(connection, run_directory)
    return rows, standing


def _standing(connection: sqlite3.Connection, run_directory: RunDirectory) -> Standing:
    seq, newest_ns = position_of(connection)
    history = open_history("executor", run_directory.file("state", ""))
    try:
        behind = max(history.last_seq() - seq, 0)
    finally:
        history.close()
    age_ms = None if not seq else (SystemClock.now_ns() - newest_ns) // NS_PER_MS
    return Standing(seq, behind, age_ms)


def _net(row: Row) -> Decimal:
    realised, unrealised, fees = (Decimal(row[name]) for name in AMOUNTS)
    return EXACT.subtract(EXACT.add(realised, unrealised), fees)


def _totals(rows: Iterable[Row]) -> dict[str, dict[str, str]]:
    totals: dict[str, dict[str, Decimal]] = {}
    for row in rows:
        total = totals.setdefault(quote_currency(row["symbol"]), dict.fromkeys((*AMOUNTS, "net_pnl"), ZERO))
        for name in AMOUNTS:
            total[name] = EXACT.add(total[name], Decimal(row[name]))
        total["net_pnl"] = EXACT.add(total["net_pnl"], _net(row))
    return {
        currency: {name: plain(amount) for name, amount in total.items()} for currency, total in sorted(totals.items())
    }


def _print(name: str, rows: list[Row], columns: tuple[Column, ...], standing: Standing, *, as_json: bool) -> None:
    if as_json:
        _print_json({name: rows}, standing)
        return
    click.echo(format_table(columns, rows) if rows else f"no {name}")
    click.echo(f"\n{standing.text()}")


def _print_json(contents: dict[str, Any], standing: Standing) -> None:
    click.echo(
        json.dumps(
            {**contents, "journal_seq": standing.seq, "behind": standing.behind, "age_ms": standing.age_ms}, indent=2
        )
    )
