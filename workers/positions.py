"""The read model of orders, trades, positions and profits (CQRS): asked without touching the executor.

A projection of the executor's history, fact by fact, so it agrees with the journal, and the journal with the exchange,
to the last digit.
"""

import sqlite3
from decimal import Decimal

import msgspec

from common.clock import NS_PER_DAY
from common.events.base import Message
from common.events.trading import OrderEvent, PositionEvent
from common.events.venue import ExecutionReported, ExecutionType
from common.history import Recorded
from common.money import EXACT, ZERO, plain
from workers.sqlite_model import SqliteModel

SCHEMA = """
CREATE TABLE orders (
    client_order_id TEXT PRIMARY KEY, signal_id TEXT, strategy TEXT, exchange TEXT, symbol TEXT, status TEXT,
    side TEXT, order_type TEXT, time_in_force TEXT, quantity TEXT, limit_price TEXT, filled_quantity TEXT,
    average_price TEXT, venue_order_id TEXT, reason TEXT, submitted_ns INTEGER, updated_ns INTEGER, seq INTEGER
) WITHOUT ROWID;
CREATE TABLE trades (
    execution_number INTEGER PRIMARY KEY, client_order_id TEXT, strategy TEXT, exchange TEXT, symbol TEXT, side TEXT,
    quantity TEXT, price TEXT, notional TEXT, fee TEXT, liquidity TEXT, timestamp_ns INTEGER, state TEXT, seq INTEGER
);
CREATE INDEX trades_time ON trades (timestamp_ns);
CREATE TABLE positions (
    strategy TEXT, exchange TEXT, symbol TEXT, quantity TEXT, entry_price TEXT, mark_price TEXT, realised_pnl TEXT,
    unrealised_pnl TEXT, fees TEXT, updated_ns INTEGER, seq INTEGER, PRIMARY KEY (strategy, exchange, symbol)
) WITHOUT ROWID;
CREATE TABLE pnl (
    seq INTEGER, strategy TEXT, exchange TEXT, symbol TEXT, timestamp_ns INTEGER, realised_pnl TEXT,
    unrealised_pnl TEXT, fees TEXT, PRIMARY KEY (seq, strategy, exchange, symbol)
) WITHOUT ROWID;
"""

_ORDER = """
INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (client_order_id) DO UPDATE SET
    status = excluded.status, quantity = excluded.quantity, limit_price = excluded.limit_price,
    filled_quantity = excluded.filled_quantity, average_price = excluded.average_price,
    venue_order_id = coalesce(excluded.venue_order_id, venue_order_id), reason = excluded.reason,
    updated_ns = excluded.updated_ns, seq = excluded.seq
"""
_TRADE = """
INSERT OR REPLACE INTO trades
SELECT ?, client_order_id, strategy, exchange, symbol, ?, ?, ?, ?, ?, ?, ?, 'done', ? FROM orders
WHERE client_order_id = ?
"""


class Positions(SqliteModel):
    """Applies order, position and execution facts to the tables."""

    worker_name = "positions"
    schema = SCHEMA
    schema_version = 2

    def apply_fact(self, connection: sqlite3.Connection, fact: Recorded) -> None:
        for event in fact.events:
            _apply_event(connection, event, fact.seq)
        if fact.kind == "execution":
            _apply_execution(connection, msgspec.convert(fact.body["report"], ExecutionReported), fact.seq)


def first_trades_of_days(connection: sqlite3.Connection, since_ns: int) -> list[int]:
    """When the first trade of each day (UTC) was, from a time on; one that was cancelled later is none. Times in ns."""
    rows = connection.execute(
        "SELECT min(timestamp_ns) FROM trades WHERE timestamp_ns >= ? AND state != 'cancelled' "
        "GROUP BY timestamp_ns / ? ORDER BY 1",
        [since_ns, NS_PER_DAY],
    )
    return [int(row[0]) for row in rows]


def _apply_event(connection: sqlite3.Connection, event: Message, seq: int) -> None:
    if isinstance(event, OrderEvent):
        connection.execute(
            _ORDER,
            [
                event.client_order_id, event.signal_id, event.strategy, event.exchange, event.symbol,
                event.status.value, event.side, event.order_type, event.time_in_force, plain(event.quantity),
                _plain(event.limit_price),
                plain(event.filled_quantity), _plain(event.average_price), event.venue_order_id, event.reason,
                event.timestamp_ns, event.timestamp_ns, seq,
            ],
        )  # fmt: skip
    elif isinstance(event, PositionEvent):
        key = [event.strategy, event.exchange, event.symbol]
        profits = [plain(event.realised_pnl), plain(event.unrealised_pnl), plain(event.fees)]
        connection.execute(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                *key, plain(event.quantity), _plain(event.entry_price), _plain(event.mark_price), *profits,
                event.timestamp_ns, seq,
            ],
        )  # fmt: skip
        connection.execute(
            "INSERT OR REPLACE INTO pnl VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [seq, *key, event.timestamp_ns, *profits]
        )


def _apply_execution(connection: sqlite3.Connection, report: ExecutionReported, seq: int) -> None:
    price, fee = report.price or ZERO, report.fee or ZERO
    match report.execution_type:
        case ExecutionType.TRADE:
            connection.execute(
                _TRADE,
                [
                    report.execution_number, report.side, plain(report.quantity), plain(price),
                    plain(EXACT.multiply(report.quantity, price)), plain(fee), report.liquidity, report.timestamp_ns,
                    seq, report.client_order_id,
                ],
            )  # fmt: skip
        case ExecutionType.TRADE_CANCEL:
            connection.execute(
                "UPDATE trades SET state = 'cancelled', seq = ? WHERE execution_number = ?", [seq, report.corrects]
            )
        case ExecutionType.TRADE_CORRECT:
            row = connection.execute(
                "SELECT quantity FROM trades WHERE execution_number = ?", [report.corrects]
            ).fetchone()
            if row is not None:
                notional = plain(EXACT.multiply(Decimal(row[0]), price))
                connection.execute(
                    "UPDATE trades SET state = 'corrected', price = ?, notional = ?, fee = ?, seq = ? "
                    "WHERE execution_number = ?",
                    [plain(price), notional, plain(fee), seq, report.corrects],
                )
        case _:
            pass


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)
