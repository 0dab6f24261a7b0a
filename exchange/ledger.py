"""The ledger: the exchange's own record of every order and every execution, in one SQLite file.

It is the independent witness of what was really ordered, and all that a restart needs. Every write is durable when
its method returns: against the death of any process always, against power loss with `synchronous="full"`.
Others may read the file at any time; only one process may write it.
"""

import functools
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Concatenate, Literal, ParamSpec, Self, TypeVar

from common.checkpoints import BackgroundCheckpoints
from common.crash_points import crash_point
from common.errors import ConfigError, FatalError
from common.events.venue import ExecutionReported, ExecutionType, OrderAnswered, SubmitOrder
from exchange import ledger_rows, ledger_schema
from exchange.ledger_rows import (
    FIND_REPLACEMENT,
    INSERT_EXECUTION,
    INSERT_HALT,
    INSERT_ORDER,
    INSERT_REPLACEMENT,
    SELECT_EXECUTIONS,
    SELECT_HALTS,
    SELECT_ORDERS,
    UPDATE_ORDER,
    UPDATE_TERMS,
)
from exchange.ports import ALL
from exchange.records import Halt, RecordedOrder, RecordedReplacement, check_numbers, order_after

Synchronous = Literal["normal", "full"]
P = ParamSpec("P")
T = TypeVar("T")

_FIND = f"{SELECT_ORDERS} WHERE client_order_id = ?"
# The condition in the words of the index `orders_open`, without which SQLite would read every order.
_OPEN_ORDERS = (
    f"{SELECT_ORDERS} WHERE status IN ('accepted', 'partially_filled') AND arrival_number > ? "
    "ORDER BY arrival_number LIMIT ?"
)
_ADD_REPEAT = "UPDATE orders SET submissions = submissions + 1 WHERE client_order_id = ?"
_RECORD_EPOCH = "INSERT INTO sources VALUES (?, ?) ON CONFLICT (source) DO UPDATE SET epoch = excluded.epoch"
_EXECUTIONS_FROM = f"{SELECT_EXECUTIONS} WHERE execution_number >= ? ORDER BY execution_number LIMIT ?"


def _or_fatal(method: Callable[Concatenate["Ledger", P], T]) -> Callable[Concatenate["Ledger", P], T]:
    """Turn a failure of the file into the error that ends the process."""

    @functools.wraps(method)
    def guarded(self: "Ledger", /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        # OverflowError: a number that 64 bits do not hold, such as a timestamp that a broken feed made up.
        except (sqlite3.Error, OverflowError) as error:
            raise FatalError(
                f"ledger {self.path}: {method.__name__}: {error}; nothing more is accepted until a restart finds "
                f"the file readable and writable"
            ) from error

    return guarded


class Ledger:
    """An open ledger file. Closing it is good manners; being killed instead loses nothing."""

    def __init__(self, path: Path, synchronous: Synchronous = "normal") -> None:
        """Open the file, or create it.

        Args:
            path: The file; its directory must exist.
            synchronous: "normal" survives kill -9 of any process. "full" survives power loss too: each write then
                waits for the disk, 200 µs instead of 25 µs.

        Raises:
            ConfigError: The file is no ledger, is from a newer version, is damaged, or cannot be opened.
        """
        self.path = path
        self._connection = _open(path, synchronous)
        self._checkpoints = BackgroundCheckpoints(self._connection, path)
        row = self._connection.execute("SELECT max(execution_number) FROM executions").fetchone()
        self._last_execution_number: int = row[0] or 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back. Safe to repeat."""
        self._checkpoints.close()
        self._connection.close()

    @_or_fatal
    def find(self, client_order_id: str) -> RecordedOrder | None:
        """The order with this id."""
        row = self._connection.execute(_FIND, (client_order_id,)).fetchone()
        return None if row is None else ledger_rows.order_from(row)

    @_or_fatal
    def record_submission(self, request: SubmitOrder, answer: OrderAnswered, now_ns: int) -> bool:
        """Keep an order with its first answer, and tell whether it is new; a known id is left as it is."""
        if self._checkpoints.error is not None:
            raise self._checkpoints.error
        crash_point("exchange.order.writing")
        # One statement is one transaction; BEGIN and COMMIT around it would only cost two more.
        is_new = (
            self._connection.execute(INSERT_ORDER, ledger_rows.new_order_row(request, answer, now_ns)).rowcount == 1
        )
        crash_point("exchange.order.written")
        return is_new

    @_or_fatal
    def record_repeat(self, client_order_id: str) -> None:
        """Count that a known id was submitted again."""
        self._connection.execute(_ADD_REPEAT, (client_order_id,))

    @_or_fatal
    def record_executions(
        self, executions: Sequence[ExecutionReported], replacement: RecordedReplacement | None = None
    ) -> None:
        """Keep reports and what they make of their orders, in one transaction, with the replacement that they follow.

        Raises:
            FatalError: A number is skipped or repeated, an order is not known, or the file fails; nothing was kept.
        """
        check_numbers(executions, self._last_execution_number)
        crash_point("exchange.executions.writing")
        with self._connection:  # commits, or rolls everything back
            self._connection.execute("BEGIN IMMEDIATE")
            if replacement is not None:
                self._connection.execute(INSERT_REPLACEMENT, ledger_rows.replacement_row(replacement))
                self._connection.executemany(UPDATE_TERMS, self._new_terms(executions))
            self._connection.executemany(INSERT_EXECUTION, map(ledger_rows.execution_row, executions))
            changes = map(ledger_rows.order_change_row, executions)
            changed_count = self._connection.executemany(UPDATE_ORDER, changes).rowcount
            if changed_count != len(executions):
                raise FatalError(f"ledger {self.path}: an execution belongs to no order; restart to rebuild the venue")
        crash_point("exchange.executions.written")
        self._last_execution_number += len(executions)

    @_or_fatal
    def record_replacement(self, replacement: RecordedReplacement) -> None:
        """Keep a replacement that was refused."""
        self._connection.execute(INSERT_REPLACEMENT, ledger_rows.replacement_row(replacement))

    @_or_fatal
    def find_replacement(self, replace_id: str) -> RecordedReplacement | None:
        """The replacement with this id."""
        row = self._connection.execute(FIND_REPLACEMENT, (replace_id,)).fetchone()
        return None if row is None else ledger_rows.replacement_from(row)

    @_or_fatal
    def executions_from(self, number: int, count_max: int) -> list[ExecutionReported]:
        """At most so many reports from a number on, in order, as drafts."""
        rows = self._connection.execute(_EXECUTIONS_FROM, (number, count_max)).fetchall()
        return [ledger_rows.execution_from(row) for row in rows]

    @_or_fatal
    def open_orders(self, after_number: int = 0, count_max: int = ALL) -> list[RecordedOrder]:
        """The orders that still work, in order of arrival: at most so many of those after a number."""
        rows = self._connection.execute(_OPEN_ORDERS, (after_number, count_max)).fetchall()
        return [ledger_rows.order_from(row) for row in rows]

    @_or_fatal
    def order_counts(self) -> dict[str, int]:
        """How many orders each source has submitted, repeats not counted."""
        return dict(self._connection.execute("SELECT source, count(*) FROM orders GROUP BY source").fetchall())

    @_or_fatal
    def epochs(self) -> dict[str, int]:
        """The newest life of each source that says which it is."""
        return dict(self._connection.execute("SELECT source, epoch FROM sources").fetchall())

    @_or_fatal
    def record_epoch(self, source: str, epoch: int) -> None:
        """Remember the newest life of a source."""
        self._connection.execute(_RECORD_EPOCH, (source, epoch))

    @_or_fatal
    def halts(self) -> list[Halt]:
        """Every halt there was, oldest first."""
        return [ledger_rows.halt_from(row) for row in self._connection.execute(SELECT_HALTS).fetchall()]

    @_or_fatal
    def record_halt(self, halt: Halt) -> None:
        """Remember that nothing new is placed until a person says so."""
        self._connection.execute(INSERT_HALT, (halt.source, halt.order_count, halt.counted, halt.halted_ns))

    @_or_fatal
    def clear_halts(self, now_ns: int) -> None:
        """A person says so."""
        self._connection.execute("UPDATE halts SET cleared_ns = ? WHERE cleared_ns IS NULL", (now_ns,))

    def last_execution_number(self) -> int:
        """The newest execution; 0 before the first."""
        return self._last_execution_number

    @_or_fatal
    def last_order_number(self) -> int:
        """The newest arrival; 0 before the first."""
        row = self._connection.execute("SELECT max(arrival_number) FROM orders").fetchone()
        return row[0] or 0

    def _new_terms(self, executions: Sequence[ExecutionReported]) -> list[tuple[object, ...]]:
        orders = [(self.find(execution.client_order_id), execution) for execution in executions]
        is_replaced = ExecutionType.REPLACED
        return [
            ledger_rows.terms_row(order_after(order, execution))
            for order, execution in orders
            if order is not None and execution.execution_type is is_replaced
        ]


def _open(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None)
    except sqlite3.Error as error:
        raise ConfigError(f"ledger {path}: expected a directory that this user can write, {error}") from error
    try:
        # First of all: setting the journal mode would already change a file that is not ours.
        ledger_schema.prepare(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
    except sqlite3.Error as error:
        connection.close()
        raise ConfigError(f"ledger {path}: expected a file that this user can write, {error}") from error
    except ConfigError:
        connection.close()
        raise
    return connection
