"""The table of an event log in SQLite, and how older versions become this one.

A new file goes through all versions, so there is one way to the newest one. Version 1 is the table as it is made by
hand: `events(id, timestamp, type, data_json)`; 2 knows when, from where and about what; 3 has the chain.
"""

import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from common.errors import InvalidValueError
from common.sqlite_files import Kind, Step, statements
from common.store.chain import DIGEST_BYTES, first_link, next_link
from common.store.contract import StoreConfigError
from common.store.json_messages import decode_json

NOUN = "event log"
APPLICATION_ID = 0x54504531  # "TPE1"
ROWS_PER_STEP = 1_000

# What the digest covers, in the order of `_link`; the table has them in the order of its history.
COLUMNS = "id, timestamp, type, data_json, recorded_ns, exchange, symbol, key, sealed"

_FIRST = "CREATE TABLE events (id INTEGER PRIMARY KEY, timestamp INTEGER, type TEXT, data_json TEXT)"
# The index by time answers a range of one symbol without a look at the rows of the others: 11 ms instead of 48 for one
# of 100 symbols among 100,000 rows. An index by symbol of its own would cost every write a third.
_SECOND = """
ALTER TABLE events ADD COLUMN recorded_ns INTEGER;
ALTER TABLE events ADD COLUMN exchange TEXT;
ALTER TABLE events ADD COLUMN symbol TEXT;
UPDATE events SET
  recorded_ns = timestamp,
  exchange = json_extract(data_json, '$.exchange'),
  symbol = json_extract(data_json, '$.symbol');
CREATE INDEX events_time ON events (timestamp, symbol, exchange);
CREATE INDEX events_type ON events (type, timestamp)
"""
_THIRD = """
ALTER TABLE events ADD COLUMN key TEXT;
ALTER TABLE events ADD COLUMN sealed BLOB;
ALTER TABLE events ADD COLUMN digest BLOB;
CREATE TABLE store (only INTEGER PRIMARY KEY CHECK (only = 1), store_id TEXT NOT NULL)
"""

encode_row = msgspec.msgpack.Encoder().encode


def next_digest(digest: bytes, row: tuple[Any, ...]) -> bytes:
    """The digest of a row, given in the order of COLUMNS: over its MessagePack array, whatever is sealed or not."""
    return next_link(digest, encode_row(row))


def digest_of(value: Any) -> bytes:
    """What the column `digest` holds; zeros where somebody put something else there, so that the log can go on."""
    return value if isinstance(value, bytes) and len(value) == DIGEST_BYTES else bytes(DIGEST_BYTES)


def read_store_id(connection: sqlite3.Connection) -> str:
    """Which log it is."""
    [(store_id,)] = connection.execute("SELECT store_id FROM store").fetchall()
    return str(store_id)


def _add_chain(connection: sqlite3.Connection) -> None:
    statements(_THIRD)(connection)
    store_id = uuid.uuid4().hex
    connection.execute("INSERT INTO store (only, store_id) VALUES (1, ?)", (store_id,))
    digest = first_link(store_id)
    for rows in _row_groups(connection, COLUMNS):
        digests = []
        for row in rows:
            digest = next_digest(digest, row)
            digests.append((digest, row[0]))
        connection.executemany("UPDATE events SET digest = ? WHERE id = ?", digests)


MIGRATIONS: dict[int, Step] = {1: statements(_SECOND), 2: _add_chain}
VERSION = 1 + len(MIGRATIONS)


def _create(connection: sqlite3.Connection) -> None:
    connection.execute(_FIRST)
    for migrate in MIGRATIONS.values():
        migrate(connection)


EVENT_LOG = Kind(NOUN, APPLICATION_ID, VERSION, _create, MIGRATIONS)


def adopt(connection: sqlite3.Connection, path: Path) -> None:
    """Mark a table that was made by hand as version 1 of ours.

    Raises:
        StoreConfigError: It is not that table, or a row has no message that this version knows. Nothing was changed.
    """
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(events)")]
    if tables != ["events"] or columns != ["id", "timestamp", "type", "data_json"]:
        raise StoreConfigError(
            f"{NOUN} {path}: expected one table events(id, timestamp, type, data_json), "
            f"were tables {tables} and columns {columns} of events"
        )
    for rows in _row_groups(connection, "id, timestamp, type, data_json"):
        for row_id, timestamp, type_name, data_json in rows:
            try:
                message = decode_json(data_json)
            except (InvalidValueError, TypeError) as error:
                raise StoreConfigError(f"{NOUN} {path}: row {row_id}: {error}; nothing was changed") from error
            if message.timestamp_ns != timestamp or row_id < 1:
                raise StoreConfigError(
                    f"{NOUN} {path}: row {row_id} of {type_name}: expected an id from 1 and timestamp "
                    f"{message.timestamp_ns} (ns UTC) as in data_json, was {timestamp}; nothing was changed"
                )
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    connection.execute("COMMIT")


def _row_groups(connection: sqlite3.Connection, columns: str) -> Iterator[list[tuple[Any, ...]]]:
    query = f"SELECT {columns} FROM events WHERE id > ? ORDER BY id LIMIT {ROWS_PER_STEP}"  # noqa: S608  # ours
    after = -(2**63)
    while rows := connection.execute(query, (after,)).fetchall():
        yield rows
        after = rows[-1][0]
