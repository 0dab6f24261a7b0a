"""Orders and executions as rows of the ledger, and back."""

from decimal import Decimal
from typing import Any

from common import money
from common.events.base import DRAFT
from common.events.trading import OrderStatus
from common.events.venue import (
    AnswerOutcome,
    ExecutionReported,
    ExecutionType,
    OrderAnswered,
    OrderTerms,
    SubmitOrder,
    terms_of,
)
from common.money import ZERO
from exchange.records import Halt, RecordedOrder, RecordedReplacement, status_after, terms_key

SELECT_ORDERS = (
    "SELECT arrival_number, client_order_id, exchange, symbol, side, order_type, quantity, limit_price, "
    "time_in_force, answered_ns, outcome, status, filled_quantity, venue_order_id, reason, submissions, source, "
    "working_quantity, working_limit_price, priority_ns FROM orders"
)
# The columns in the order of `terms_key`, then those of the answer. A known id changes nothing, not even a number.
INSERT_ORDER = (
    "INSERT INTO orders (exchange, symbol, side, order_type, quantity, limit_price, time_in_force, client_order_id, "
    "venue_order_id, answered_ns, outcome, reason, status, filled_quantity, correlation_id, source) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (client_order_id) DO NOTHING"
)
UPDATE_ORDER = (
    "UPDATE orders SET status = ?, filled_quantity = ?, reason = coalesce(?, reason) WHERE client_order_id = ?"
)
UPDATE_TERMS = (
    "UPDATE orders SET working_quantity = ?, working_limit_price = ?, priority_ns = ? WHERE client_order_id = ?"
)
_EXECUTION_COLUMNS = (
    "execution_number, timestamp_ns, execution_type, client_order_id, venue_order_id, exchange, symbol, side, "
    "quantity, price, fee, liquidity, filled_quantity, leaves_quantity, reason, corrects, order_quantity, limit_price, "
    "replace_id"
)
SELECT_EXECUTIONS = f"SELECT {_EXECUTION_COLUMNS} FROM executions"  # noqa: S608  # the columns are ours
INSERT_EXECUTION = (
    f"INSERT INTO executions ({_EXECUTION_COLUMNS}) "  # noqa: S608  # the columns are ours
    f"VALUES ({', '.join(19 * '?')})"
)
_REPLACEMENT_COLUMNS = "replace_id, client_order_id, quantity, limit_price, answered_ns, outcome, reason"
FIND_REPLACEMENT = f"SELECT {_REPLACEMENT_COLUMNS} FROM replacements WHERE replace_id = ?"  # noqa: S608  # the columns are ours
INSERT_REPLACEMENT = f"INSERT INTO replacements ({_REPLACEMENT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # the columns are ours
SELECT_HALTS = "SELECT source, order_count, counted, halted_ns, cleared_ns FROM halts ORDER BY rowid"
INSERT_HALT = "INSERT INTO halts (source, order_count, counted, halted_ns) VALUES (?, ?, ?, ?)"


def new_order_row(request: SubmitOrder, answer: OrderAnswered, now_ns: int) -> tuple[object, ...]:
    """The values of `INSERT_ORDER`."""
    return (
        *terms_key(terms_of(request)),
        request.client_order_id,
        answer.venue_order_id,
        now_ns,
        answer.outcome,
        answer.reason,
        answer.status,
        money.plain(answer.filled_quantity or ZERO),
        request.correlation_id,
        request.source,
    )


def order_from(row: tuple[Any, ...]) -> RecordedOrder:
    """The order in a row of `SELECT_ORDERS`."""
    exchange, symbol, side, order_type, quantity, limit_price, time_in_force = row[2:9]
    terms = OrderTerms(exchange, symbol, side, order_type, Decimal(quantity), _amount_from(limit_price), time_in_force)
    return RecordedOrder(
        arrival_number=row[0],
        client_order_id=row[1],
        terms=terms,
        answered_ns=row[9],
        outcome=AnswerOutcome(row[10]),
        status=OrderStatus(row[11]),
        filled_quantity=Decimal(row[12]),
        quantity=terms.quantity if row[17] is None else Decimal(row[17]),
        limit_price=terms.limit_price if row[18] is None else Decimal(row[18]),
        priority_ns=row[19],
        source=row[16],
        venue_order_id=row[13],
        reason=row[14],
        submissions=row[15],
    )


def order_change_row(execution: ExecutionReported) -> tuple[object, ...]:
    """The values of `UPDATE_ORDER`: what an execution makes of its order."""
    filled_quantity = money.plain(execution.filled_quantity)
    return status_after(execution), filled_quantity, execution.reason, execution.client_order_id


def execution_row(execution: ExecutionReported) -> tuple[object, ...]:
    """The values of `INSERT_EXECUTION`."""
    return (
        execution.execution_number,
        execution.timestamp_ns,
        execution.execution_type,
        execution.client_order_id,
        execution.venue_order_id,
        execution.exchange,
        execution.symbol,
        execution.side,
        money.plain(execution.quantity),
        _text_of(execution.price),
        _text_of(execution.fee),
        execution.liquidity,
        money.plain(execution.filled_quantity),
        money.plain(execution.leaves_quantity),
        execution.reason,
        execution.corrects,
        _text_of(execution.order_quantity),
        _text_of(execution.limit_price),
        execution.replace_id,
    )


def execution_from(row: tuple[Any, ...]) -> ExecutionReported:
    """The draft in a row of `SELECT_EXECUTIONS`."""
    return ExecutionReported(
        **DRAFT,
        execution_number=row[0],
        timestamp_ns=row[1],
        execution_type=ExecutionType(row[2]),
        client_order_id=row[3],
        venue_order_id=row[4],
        exchange=row[5],
        symbol=row[6],
        side=row[7],
        quantity=Decimal(row[8]),
        price=_amount_from(row[9]),
        fee=_amount_from(row[10]),
        liquidity=row[11],
        filled_quantity=Decimal(row[12]),
        leaves_quantity=Decimal(row[13]),
        reason=row[14],
        corrects=row[15],
        order_quantity=_amount_from(row[16]),
        limit_price=_amount_from(row[17]),
        replace_id=row[18],
    )


def terms_row(order: RecordedOrder) -> tuple[object, ...]:
    """The values of `UPDATE_TERMS`: the terms that hold."""
    return money.plain(order.quantity), _text_of(order.limit_price), order.priority_ns, order.client_order_id


def replacement_row(replacement: RecordedReplacement) -> tuple[object, ...]:
    """The values of `INSERT_REPLACEMENT`."""
    return (
        replacement.replace_id,
        replacement.client_order_id,
        replacement.quantity,
        replacement.limit_price,
        replacement.answered_ns,
        replacement.outcome,
        replacement.reason,
    )


def replacement_from(row: tuple[Any, ...]) -> RecordedReplacement:
    """The replacement in a row of `FIND_REPLACEMENT`."""
    return RecordedReplacement(
        replace_id=row[0],
        client_order_id=row[1],
        quantity=row[2],
        limit_price=row[3],
        answered_ns=row[4],
        outcome=AnswerOutcome(row[5]),
        reason=row[6],
    )


def halt_from(row: tuple[Any, ...]) -> Halt:
    """The halt in a row of `SELECT_HALTS`."""
    return Halt(source=row[0], order_count=row[1], counted=row[2], halted_ns=row[3], cleared_ns=row[4])


def _text_of(amount: Decimal | None) -> str | None:
    return None if amount is None else money.plain(amount)


def _amount_from(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
