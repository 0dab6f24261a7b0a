"""Reads a ledger file for people and checks, also while an exchange is writing it."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from common import money
from common.errors import ConfigError, NotReadyError
from common.money import EXACT, ZERO
from exchange import ledger_schema

_ORDERS = (
    "SELECT arrival_number, client_order_id, venue_order_id, exchange, symbol, side, order_type, quantity, "
    "limit_price, time_in_force, answered_ns, outcome, reason, status, filled_quantity, submissions, correlation_id, "
    "source, working_quantity, working_limit_price "
    "FROM orders ORDER BY arrival_number"
)
_EXECUTIONS = (
    "SELECT execution_number, timestamp_ns, execution_type, client_order_id, venue_order_id, exchange, symbol, side, "
    "quantity, price, fee, liquidity, filled_quantity, leaves_quantity, reason, corrects, order_quantity, limit_price, "
    "replace_id "
    "FROM executions ORDER BY execution_number"
)
_REPLACEMENTS = (
    "SELECT replace_id, client_order_id, quantity, limit_price, answered_ns, outcome, reason FROM replacements "
    "ORDER BY rowid"
)
_HALTS = "SELECT halted_ns, source, order_count, counted, cleared_ns FROM halts ORDER BY rowid"
# Both tables are asked: the key of `orders` forbids a second order, but an execution of one would still betray it.
# What stands after `#` numbers the orders that a venue made for one id because it had been told to forget it.
_DUPLICATE_ORDERS = """
    SELECT count(*) FROM (
        SELECT substr(client_order_id, 1, instr(client_order_id || '#', '#') - 1) AS id FROM (
            SELECT client_order_id, venue_order_id FROM orders WHERE venue_order_id IS NOT NULL
            UNION
            SELECT client_order_id, venue_order_id FROM executions
        )
        GROUP BY id HAVING count(*) > 1
    )
"""


# A correction of a trade changes its price and fee, not how much was filled.
_FILLS = {"trade": EXACT.add, "trade_cancel": EXACT.subtract}


def read_ledger(path: Path) -> dict[str, Any]:
    """Read a whole ledger as of one moment.

    Returns:
        `orders` and `executions`: lists of rows, oldest first, keyed by column, amounts as text; `replacements` and
        `halts` likewise, where a halt holds while its `cleared_ns` is None. `summary`: counts; `duplicate_orders` is
        the number of client_order_ids with more than one order at the venue, `overfilled_orders` the number of orders
        with fills above their quantity, `repeats` how often a known id was submitted again, `filled_quantity` what
        was filled per instrument.

    Raises:
        NotReadyError: There is no such file.
        ConfigError: It is no ledger, one of a newer version, or damaged.
    """
    if not path.exists():
        raise NotReadyError(
            f"ledger {path}: expected the file of an exchange, found none; start `tickpulse exchange` with this run "
            f"directory first, or name another with --run-dir"
        )
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        ledger_schema.check(connection, path)
        return _read(connection)
    except sqlite3.Error as error:
        raise ConfigError(f"ledger {path}: expected a whole file, {error}; restore it from a backup") from error
    finally:
        connection.close()


def _read(connection: sqlite3.Connection) -> dict[str, Any]:
    connection.row_factory = sqlite3.Row
    # One transaction sees one moment, whatever the exchange writes meanwhile.
    connection.execute("BEGIN")
    orders = [dict(row) for row in connection.execute(_ORDERS)]
    executions = [dict(row) for row in connection.execute(_EXECUTIONS)]
    halts = [dict(row) for row in connection.execute(_HALTS)]
    replacements = [dict(row) for row in connection.execute(_REPLACEMENTS)]
    duplicate_count: int = connection.execute(_DUPLICATE_ORDERS).fetchone()[0]
    connection.execute("COMMIT")
    return {
        "orders": orders,
        "executions": executions,
        "replacements": replacements,
        "halts": halts,
        "summary": _summarise(orders, executions, duplicate_count),
    }


def _summarise(orders: list[dict[str, Any]], executions: list[dict[str, Any]], duplicate_count: int) -> dict[str, Any]:
    filled_by_order = _sum_quantities(executions, lambda row: row["client_order_id"])
    filled_by_instrument = _sum_quantities(executions, lambda row: f"{row['exchange']}.{row['symbol']}")
    return {
        "orders": len(orders),
        "accepted": sum(row["outcome"] == "accepted" for row in orders),
        "rejected": sum(row["outcome"] == "rejected" for row in orders),
        "executions": len(executions),
        "repeats": sum(row["submissions"] - 1 for row in orders),
        "duplicate_orders": duplicate_count,
        "overfilled_orders": sum(_is_overfilled(row, filled_by_order) for row in orders),
        "filled_quantity": {name: money.plain(filled) for name, filled in sorted(filled_by_instrument.items())},
    }


def _sum_quantities(executions: list[dict[str, Any]], key: Callable[[dict[str, Any]], str]) -> dict[str, Decimal]:
    sums: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    for row in executions:
        if row["execution_type"] in _FILLS:
            add = _FILLS[row["execution_type"]]
            sums[key(row)] = add(sums[key(row)], Decimal(row["quantity"]))
    return sums


def _is_overfilled(order: dict[str, Any], filled_by_order: dict[str, Decimal]) -> bool:
    # Compared with what was filled at all, since the quantity of a refused order need not be a number.
    filled = filled_by_order.get(order["client_order_id"], ZERO)
    return filled > ZERO and not filled <= Decimal(order["working_quantity"] or order["quantity"])
