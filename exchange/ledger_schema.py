"""The tables of the ledger file, and the check that a file is one."""

import sqlite3
from pathlib import Path

from common.errors import ConfigError

LEDGER_NAME = "ledger.sqlite"  # in the state directory of a run
SCHEMA_VERSION = 2
APPLICATION = "tickpulse ledger"

# Amounts are TEXT: SQLite's REAL is a float, and money is none. The partial index makes a restart as fast with a
# million finished orders as with none. No index keeps venue_order_id unique: the arrival number in it is.
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE orders (
        arrival_number INTEGER PRIMARY KEY,
        client_order_id TEXT NOT NULL UNIQUE,
        venue_order_id TEXT,
        source TEXT NOT NULL,
        exchange TEXT NOT NULL,
        symbol TEXT NOT NULL,
        side TEXT NOT NULL,
        order_type TEXT NOT NULL,
        quantity TEXT NOT NULL,
        limit_price TEXT,
        time_in_force TEXT NOT NULL,
        answered_ns INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        reason TEXT,
        status TEXT NOT NULL,
        filled_quantity TEXT NOT NULL,
        submissions INTEGER NOT NULL DEFAULT 1,
        correlation_id TEXT,
        working_quantity TEXT,
        working_limit_price TEXT,
        priority_ns INTEGER
    )""",
    "CREATE INDEX orders_open ON orders (arrival_number) WHERE status IN ('accepted', 'partially_filled')",
    """CREATE TABLE executions (
        execution_number INTEGER PRIMARY KEY,
        timestamp_ns INTEGER NOT NULL,
        execution_type TEXT NOT NULL,
        client_order_id TEXT NOT NULL,
        venue_order_id TEXT NOT NULL,
        exchange TEXT NOT NULL,
        symbol TEXT NOT NULL,
        side TEXT NOT NULL,
        quantity TEXT NOT NULL,
        price TEXT,
        fee TEXT,
        liquidity TEXT,
        filled_quantity TEXT NOT NULL,
        leaves_quantity TEXT NOT NULL,
        reason TEXT,
        corrects INTEGER,
        order_quantity TEXT,
        limit_price TEXT,
        replace_id TEXT
    )""",
    """CREATE TABLE replacements (
        replace_id TEXT PRIMARY KEY,
        client_order_id TEXT NOT NULL,
        quantity TEXT NOT NULL,
        limit_price TEXT NOT NULL,
        answered_ns INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        reason TEXT
    )""",
    "CREATE TABLE sources (source TEXT PRIMARY KEY, epoch INTEGER NOT NULL)",
    """CREATE TABLE halts (
        halted_ns INTEGER NOT NULL,
        source TEXT NOT NULL,
        order_count INTEGER NOT NULL,
        counted INTEGER NOT NULL,
        cleared_ns INTEGER
    )""",
)


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make a new file a ledger, or make sure that an old one is.

    Raises:
        ConfigError: The file is another program's, from a newer version, or damaged. It is left as it was.
    """
    if _is_empty(connection, path):
        _create(connection)
    else:
        check(connection, path)


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Make sure that a file is a ledger that this version can read.

    Raises:
        ConfigError: It is not, or cannot be read at all.
    """
    try:
        meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    except sqlite3.DatabaseError as error:
        raise ConfigError(
            f"ledger {path}: expected a tickpulse ledger, {error}; choose another --run-dir or restore the file"
        ) from error
    if meta.get("application") != APPLICATION:
        raise ConfigError(
            f"ledger {path}: expected application {APPLICATION!r}, was {meta.get('application')!r}; "
            f"the file belongs to another program, choose another --run-dir"
        )
    if meta.get("schema_version") != str(SCHEMA_VERSION):
        raise ConfigError(
            f"ledger {path}: expected schema version {SCHEMA_VERSION}, was {meta.get('schema_version')}; "
            f"run the version of tickpulse that wrote it"
        )


def _is_empty(connection: sqlite3.Connection, path: Path) -> bool:
    try:
        count: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise ConfigError(
            f"ledger {path}: expected an SQLite file, {error}; restore it from a backup or choose another --run-dir"
        ) from error
    return count == 0


def _create(connection: sqlite3.Connection) -> None:
    # One transaction: a process that dies here leaves an empty file or a whole ledger.
    connection.execute("BEGIN IMMEDIATE")
    for statement in _TABLES:
        connection.execute(statement)
    connection.executemany(
        "INSERT INTO meta (key, value) VALUES (?, ?)",
        [("application", APPLICATION), ("schema_version", str(SCHEMA_VERSION))],
    )
    connection.execute("COMMIT")
