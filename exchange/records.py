"""An order as the ledger keeps it, and the rules that every ledger follows."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

import msgspec

from common import money
from common.errors import FatalError
from common.events.trading import OrderStatus
from common.events.venue import (
    AnswerOutcome,
    ExecutionReported,
    ExecutionType,
    OrderAnswered,
    OrderTerms,
    ReplaceOrder,
    SubmitOrder,
    terms_of,
)

OPEN_STATUSES = frozenset({OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED})

_ENDED_STATUS = {
    ExecutionType.TRADE_CANCEL: OrderStatus.CANCELLED,  # only a trade that ended its order is ever cancelled
    ExecutionType.CANCELLED: OrderStatus.CANCELLED,
    ExecutionType.EXPIRED: OrderStatus.EXPIRED,
}


class RecordedOrder(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the exchange knows about one client_order_id.

    `arrival_number` counts submissions from 1 over the ledger's life; it is also the time priority of the order.
    `answered_ns` is the time of the first answer, `submissions` how often the id was asked for, repeats included.
    `terms` are those of the submission; `quantity` and `limit_price` those that hold now, `priority_ns` the time of the
    replacement that cost the order its place in line.
    """

    arrival_number: int
    client_order_id: str
    terms: OrderTerms
    answered_ns: int
    outcome: AnswerOutcome
    status: OrderStatus
    filled_quantity: Decimal
    quantity: Decimal
    limit_price: Decimal | None = None
    priority_ns: int | None = None
    source: str = ""
    venue_order_id: str | None = None
    reason: str | None = None
    submissions: int = 1

    @property
    def is_open(self) -> bool:
        """Tell whether the order still works at the venue."""
        return self.status in OPEN_STATUSES


class RecordedReplacement(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A replacement that was asked for, and the answer that every repeat of it gets. Amounts as `amount_text`."""

    replace_id: str
    client_order_id: str
    quantity: str
    limit_price: str
    answered_ns: int
    outcome: AnswerOutcome
    reason: str | None = None

    def is_of(self, request: ReplaceOrder) -> bool:
        """Tell whether a request asks for this very change."""
        terms = (request.client_order_id, amount_text(request.quantity), amount_text(request.limit_price))
        return (self.client_order_id, self.quantity, self.limit_price) == terms


class Halt(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The moment in which a source said that it had intended fewer orders than were counted here."""

    source: str
    order_count: int
    counted: int
    halted_ns: int
    cleared_ns: int | None = None


def make_replacement(
    request: ReplaceOrder, outcome: AnswerOutcome, reason: str | None, now_ns: int
) -> RecordedReplacement:
    """The record of a replacement that is answered now."""
    return RecordedReplacement(
        replace_id=request.replace_id,
        client_order_id=request.client_order_id,
        quantity=amount_text(request.quantity),
        limit_price=amount_text(request.limit_price),
        answered_ns=now_ns,
        outcome=outcome,
        reason=reason,
    )


def amount_text(amount: Decimal) -> str:
    """Write an amount in the one spelling that equal amounts share.

    An order whose amount is not finite or out of bounds is refused and recorded like any other. `NaN` stands for all
    of these, since such an amount may be megabytes long and a signalling NaN cannot even be compared.
    """
    return money.plain(amount) if money.is_bounded(amount) else "NaN"


def terms_key(terms: OrderTerms) -> tuple[str | None, ...]:
    """The terms as text, equal for equal orders: 1.0 and 1.00 are the same quantity."""
    return (
        terms.exchange,
        terms.symbol,
        terms.side,
        terms.order_type,
        amount_text(terms.quantity),
        None if terms.limit_price is None else amount_text(terms.limit_price),
        terms.time_in_force,
    )


def status_after(execution: ExecutionReported) -> OrderStatus:
    """Where an execution leaves its order."""
    match execution.execution_type:
        case ExecutionType.TRADE | ExecutionType.TRADE_CORRECT:
            return OrderStatus.PARTIALLY_FILLED if execution.leaves_quantity > 0 else OrderStatus.FILLED
        case ExecutionType.REPLACED:
            return OrderStatus.PARTIALLY_FILLED if execution.filled_quantity > 0 else OrderStatus.ACCEPTED
        case ended:
            return _ENDED_STATUS[ended]


class Terms(Protocol):
    """An order whose terms may change."""

    quantity: Decimal
    limit_price: Decimal | None


def keeps_place(order: Terms | RecordedOrder, quantity: Decimal, limit_price: Decimal | None) -> bool:
    """Tell whether new terms only shrink an order, which costs it no time priority and adds no risk."""
    return limit_price == order.limit_price and quantity <= order.quantity


def first_record(request: SubmitOrder, answer: OrderAnswered, arrival_number: int, now_ns: int) -> RecordedOrder:
    """A submission with its first answer, as a ledger in memory keeps it.

    Raises:
        FatalError: The answer tells no status.
    """
    if answer.status is None:
        raise FatalError(f"ledger: order {request.client_order_id}: expected a first answer with a status")
    return RecordedOrder(
        arrival_number=arrival_number,
        client_order_id=request.client_order_id,
        terms=terms_of(request),
        answered_ns=now_ns,
        outcome=answer.outcome,
        status=answer.status,
        filled_quantity=answer.filled_quantity or money.ZERO,
        quantity=request.quantity,
        limit_price=request.limit_price,
        source=request.source,
        venue_order_id=answer.venue_order_id,
        reason=answer.reason,
    )


def order_after(order: RecordedOrder, execution: ExecutionReported) -> RecordedOrder:
    """What an execution makes of its order."""
    changes: dict[str, object] = {}
    if execution.execution_type is ExecutionType.REPLACED and execution.order_quantity is not None:
        changes = {"quantity": execution.order_quantity, "limit_price": execution.limit_price}
        if not keeps_place(order, execution.order_quantity, execution.limit_price):
            changes["priority_ns"] = execution.timestamp_ns
    return msgspec.structs.replace(
        order,
        status=status_after(execution),
        filled_quantity=execution.filled_quantity,
        reason=execution.reason or order.reason,
        **changes,
    )


def check_numbers(executions: Sequence[ExecutionReported], last_number: int) -> None:
    """Make sure that reports follow the last one without a hole.

    Raises:
        FatalError: A number is skipped or used again; the venue has lost count.
    """
    for expected, execution in enumerate(executions, start=last_number + 1):
        if execution.execution_number != expected:
            raise FatalError(
                f"ledger: expected execution number {expected}, was {execution.execution_number} of order "
                f"{execution.client_order_id}; restart to rebuild the venue from the ledger"
            )
