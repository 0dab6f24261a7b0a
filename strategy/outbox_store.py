"""The outbox on disk: one SQLite file of instructions without an end, and the newest checkpoint.

What is added is durable before it is sent, so it survives kill -9; with `synchronous = "full"` power loss too. An
emission is one transaction of about 30 µs: the instruction, the newest id and the strategy's state after it.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from common.checkpoints import BackgroundCheckpoints
from common.crash_points import crash_point
from common.errors import FatalError, WireError
from common.sqlite_files import Kind, open_database, statements
from common.wire.codec import decode_body, encode_body
from strategy.checkpoint import Checkpoint, Mark
from strategy.outbox import Instruction, Kept, id_of

SCHEMA_VERSION = 1
# "TPO1": tells our outboxes from any other SQLite file.
APPLICATION_ID = 0x54504F31

# Removal goes by `number`, which this process remembers: an index of ids would cost each insert 8 µs.
SCHEMA = """
CREATE TABLE instructions (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE TABLE checkpoint (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  timestamp_ns INTEGER,
  last_id TEXT,
  market BLOB,
  state BLOB
) STRICT;
INSERT INTO checkpoint (only) VALUES (1);
"""

OUTBOX = Kind("outbox", APPLICATION_ID, SCHEMA_VERSION, statements(SCHEMA))

_INSERT = "INSERT INTO instructions (number, id, body) VALUES (?, ?, ?)"
_DELETE = "DELETE FROM instructions WHERE number = ?"
# In place: replacing the row costs twice as much for a state of 24 kB, 102 µs instead of 51 µs.
_SAVE = "UPDATE checkpoint SET timestamp_ns = ?, last_id = ?, market = ?, state = ?"

_encode_market = msgspec.msgpack.Encoder().encode
_decode_market = msgspec.msgpack.Decoder(dict[str, Mark]).decode


class SqliteOutboxStore:
    """One strategy's file. Anyone may read it, one process writes."""

    def __init__(self, path: Path, synchronous: str) -> None:
        """Open or create the file.

        Args:
            path: Where it is.
            synchronous: `normal`: what was added survives the death of the process. `full`: it survives power loss.

        Raises:
            ConfigError: The file is not an outbox, or of a newer version.
            FatalError: It is damaged.
        """
        self._path = path
        self._last_number = 0
        self._last_id: str | None = None
        self._numbers: dict[str, int] = {}
        self._connection = open_database(path, OUTBOX, synchronous=synchronous)
        self._checkpoints = BackgroundCheckpoints(self._connection, path)

    def load(self) -> Kept:
        """What an earlier life has left.

        Raises:
            FatalError: A row cannot be read; the message says which.
        """
        try:
            rows = self._connection.execute("SELECT number, id, body FROM instructions ORDER BY number").fetchall()
            saved = self._connection.execute("SELECT timestamp_ns, last_id, market, state FROM checkpoint").fetchone()
        except sqlite3.Error as error:
            raise FatalError(f"outbox {self._path}: expected a readable file, {error}; restore or remove it") from error
        instructions = [self._read(*row) for row in rows]
        self._numbers = {instruction_id: number for number, instruction_id, _ in rows}
        self._last_number = rows[-1][0] if rows else 0
        if saved is None:
            raise FatalError(f"outbox {self._path}: expected one checkpoint row, was none; restore or remove the file")
        timestamp_ns, self._last_id, market, state = saved
        if market is None:
            return Kept(instructions=instructions)
        try:
            checkpoint = Checkpoint(timestamp_ns=timestamp_ns, market=_decode_market(market), state=state)
        except msgspec.MsgspecError as error:
            raise FatalError(f"outbox {self._path}: expected a market position, {error}; restore the file") from error
        return Kept(instructions=instructions, last_id=self._last_id, checkpoint=checkpoint)

    def add(self, instructions: Sequence[Instruction], checkpoint: Checkpoint) -> None:
        """Keep new instructions, maybe none, and the checkpoint after them, in one transaction.

        Raises:
            FatalError: They were not written: they must not be sent.
        """
        ids = [id_of(instruction) for instruction in instructions]
        numbers = range(self._last_number + 1, self._last_number + 1 + len(ids))
        last_id = ids[-1] if ids else self._last_id
        saved = (checkpoint.timestamp_ns, last_id, _encode_market(checkpoint.market), checkpoint.state)
        rows = list(zip(numbers, ids, map(encode_body, instructions), strict=True))
        crash_point("strategy.outbox.writing")
        self._write([(_INSERT, row) for row in rows] + [(_SAVE, saved)])
        crash_point("strategy.outbox.written")
        self._numbers.update(zip(ids, numbers, strict=True))
        self._last_number += len(ids)
        self._last_id = last_id

    def remove(self, ids: Sequence[str]) -> None:
        """Forget instructions whose end is known, in one transaction.

        Raises:
            FatalError: The file could not be written.
        """
        self._write([(_DELETE, (self._numbers.pop(instruction_id),)) for instruction_id in ids])

    def close(self) -> None:
        """Close the file. Safe to repeat."""
        self._checkpoints.close()
        self._connection.close()

    def _write(self, statements: list[tuple[str, tuple[Any, ...]]]) -> None:
        try:
            if self._checkpoints.error is not None:
                raise self._checkpoints.error
            with self._connection:  # commits, or takes back what came before a failure
                self._connection.execute("BEGIN IMMEDIATE")
                for statement, values in statements:
                    self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise FatalError(f"outbox {self._path}: it could not be written, {error}; nothing was sent") from error

    def _read(self, number: int, instruction_id: str, body: bytes) -> Instruction:
        try:
            message = decode_body(body)
        except WireError as error:
            raise FatalError(f"outbox {self._path}: row {number}: expected an instruction, {error}") from error
        if not isinstance(message, Instruction) or id_of(message) != instruction_id:
            raise FatalError(f"outbox {self._path}: row {number}: expected instruction {instruction_id}, was {message}")
        return message
