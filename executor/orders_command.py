"""`tickpulse orders`: what the executor knows, folded from its journal."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from common.command import Command, load_config, run_options
from common.errors import NotReadyError
from common.events.trading import Acknowledgement
from common.money import plain
from executor.book import Book
from executor.journal import open_readonly, read_entries
from executor.orders import Order
from executor.records import SignalRecord
from executor.service import JOURNAL_NAME


@click.command(cls=Command)
@click.option(
    "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Newest orders to show; 0 = all."
)
@click.option("--at", "last_seq", type=click.IntRange(min=0), metavar="SEQ", help="As of this journal entry.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object with signals, requests, orders and positions."
)
@run_options
def orders(
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
    *,
    limit: int,
    last_seq: int | None,
    as_json: bool,
) -> None:
    """Show signals, orders and positions as the executor's journal tells them.

    Reads DIR/state/journal.sqlite while the executor may be running. The exchange's own view is `tickpulse ledger`.
    With --at the past is shown: the journal folded up to that entry and no further.
    """
    path = load_config(config_path, run_dir, assignments).run_directory().file("state", JOURNAL_NAME)
    book, seq = fold(path, last_seq)
    view = describe(book, seq)
    click.echo(json.dumps(view, indent=2) if as_json else _text(view, limit))


def fold(path: Path, last_seq: int | None = None) -> tuple[Book, int]:
    """Rebuild the executor's state from its journal, up to an entry or its end, and tell the number of the last one.

    Raises:
        NotReadyError: There is no journal.
        FatalError: It is damaged.
    """
    if not path.is_file():
        raise NotReadyError(f"journal {path}: no such file; has an executor run there? name another --run-dir")
    book, folded_seq = Book(), 0
    connection = open_readonly(path)
    try:
        for seq, entry in read_entries(connection):
            if last_seq is not None and seq > last_seq:
                break
            book.apply(entry)
            folded_seq = seq
    finally:
        connection.close()
    return book, folded_seq


def describe(book: Book, last_seq: int) -> dict[str, Any]:
    """Signals, orders, positions and their sums, ready for JSON; amounts are decimal strings."""
    outcomes = [record.outcome.outcome for record in book.signals.values() if record.outcome is not None]
    return {
        "journal_seq": last_seq,
        "signals": [_record_row(record) for record in book.signals.values()],
        "requests": [_record_row(record) for record in book.requests.values()],
        "orders": [_order_row(order) for order in book.orders.values()],
        "positions": [
            {
                "strategy": strategy,
                "exchange": exchange,
                "symbol": symbol,
                "quantity": plain(position.quantity),
                "entry_price": _plain(position.entry_price),
                "realised_pnl": plain(position.realised_pnl),
                "fees": plain(position.fees),
            }
            for (strategy, exchange, symbol), position in sorted(book.positions.items())
        ],
        "summary": {
            "signals": len(book.signals),
            "signals_acknowledged": len(outcomes),
            "signals_accepted": outcomes.count(Acknowledgement.ACCEPTED),
            "signals_rejected": outcomes.count(Acknowledgement.REJECTED),
            "signals_denied": outcomes.count(Acknowledgement.DENIED),
            "orders": len(book.orders),
            "orders_working": len(book.working_orders()),
            "last_execution_number": book.last_execution_number,
            "orders_adopted": book.orders_adopted,
        },
    }


def _record_row(record: SignalRecord) -> dict[str, Any]:
    return {
        "signal_id": record.signal_id,
        "strategy": record.strategy,
        "client_order_id": record.client_order_id,
        "outcome": None if record.outcome is None else record.outcome.outcome.value,
        "reason": None if record.outcome is None else record.outcome.reason,
    }


def _order_row(order: Order) -> dict[str, Any]:
    signal = order.signal
    return {
        "client_order_id": order.client_order_id,
        "signal_id": signal.signal_id,
        "strategy": signal.strategy,
        "exchange": signal.exchange,
        "symbol": signal.symbol,
        "side": signal.action,
        "order_type": signal.order_type,
        "time_in_force": signal.time_in_force,
        "quantity": plain(order.quantity),
        "limit_price": _plain(order.limit_price),
        "status": order.status.value,
        "filled_quantity": plain(order.filled_quantity),
        "average_price": _plain(order.average_price),
        "reason": order.reason,
    }


def _plain(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


ORDER_ROW = "{:<40} {:<18} {:<4} {:>12} {:>10} {:<17} {:>12} {:>12}"
POSITION_ROW = "{:<40} {:<18} {:>17} {:>12} {:>16} {:>12}"


def _text(view: dict[str, Any], limit: int) -> str:
    rows = view["orders"][-limit:] if limit else view["orders"]
    summary = view["summary"]
    shown = f"{len(rows)} of " if len(rows) < summary["orders"] else ""
    return "\n".join(
        [
            ORDER_ROW.format("SIGNAL", "SYMBOL", "SIDE", "QUANTITY", "LIMIT", "STATUS", "FILLED", "AVERAGE"),
            *map(_order_line, rows),
            "",
            POSITION_ROW.format("POSITION", "SYMBOL", "QUANTITY", "ENTRY", "REALISED PNL", "FEES"),
            *map(_position_line, view["positions"]),
            "",
            (
                f"{shown}{summary['orders']} orders, {summary['orders_working']} working; "
                f"{summary['signals']} signals: "
                f"{summary['signals_accepted']} accepted, {summary['signals_rejected']} rejected, "
                f"{summary['signals_denied']} denied"
            ),
        ]
    )


def _order_line(row: dict[str, Any]) -> str:
    return ORDER_ROW.format(
        row["signal_id"],
        f"{row['exchange']}.{row['symbol']}",
        row["side"],
        row["quantity"],
        row["limit_price"] or "market",
        row["status"],
        row["filled_quantity"],
        _short(row["average_price"]),
    )


def _position_line(row: dict[str, Any]) -> str:
    return POSITION_ROW.format(
        row["strategy"],
        f"{row['exchange']}.{row['symbol']}",
        row["quantity"],
        _short(row["entry_price"]),
        _short(row["realised_pnl"]),
        _short(row["fees"]),
    )


def _short(amount: str | None) -> str:
    """An amount for the eye: at most four decimals. The JSON form has them all."""
    return "" if amount is None else f"{Decimal(amount):,.4f}".rstrip("0").rstrip(".")
