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
from exchange.records import RecordedOrder, status_after, terms_key

SELECT_ORDERS = (
    "SELECT arrival_number, client_order_id, exchange, symbol, side, order_type, quantity, limit_price, "
    "time_in_force, answered_ns, outcome, status, filled_quantity, venue_order_id, reason, submissions FROM orders"
)
# The columns in the order of `terms_key`, then those of the answer.
INSERT_ORDER = (
    "INSERT INTO orders (exchange, symbol, side, order_type, quantity, limit_price, time_in_force, client_order_id, "
    "venue_order_id, answered_ns, outcome, reason, status, filled_quantity, correlation_id) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
UPDATE_ORDER = (
    "UPDATE orders SET status = ?, filled_quantity = ?, reason = coalesce(?, reason) WHERE client_order_id = ?"
)
SELECT_EXECUTIONS = (
    "SELECT execution_number, timestamp_ns, execution_type, client_order_id, venue_order_id, exchange, symbol, side, "
    "quantity, price, fee, liquidity, filled_quantity, leaves_quantity, reason FROM executions"
)
INSERT_EXECUTION = (
    "INSERT INTO executions (execution_number, timestamp_ns, execution_type, client_order_id, venue_order_id, "
    "exchange, symbol, side, quantity, price, fee, liquidity, filled_quantity, leaves_quantity, reason) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


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
        None if execution.price is None else money.plain(execution.price),
        None if execution.fee is None else money.plain(execution.fee),
        execution.liquidity,
        money.plain(execution.filled_quantity),
        money.plain(execution.leaves_quantity),
        execution.reason,
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
    )


def _amount_from(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
