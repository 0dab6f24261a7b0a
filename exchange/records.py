"""An order as the ledger keeps it, and the rules that every ledger follows."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from common import money
from common.errors import FatalError
from common.events.trading import OrderStatus
from common.events.venue import AnswerOutcome, ExecutionReported, ExecutionType, OrderTerms

OPEN_STATUSES = frozenset({OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED})

_ENDED_STATUS = {
    ExecutionType.CANCELLED: OrderStatus.CANCELLED,
    ExecutionType.EXPIRED: OrderStatus.EXPIRED,
}


class RecordedOrder(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the exchange knows about one client_order_id.

    `arrival_number` counts submissions from 1 over the ledger's life; it is also the time priority of the order.
    `answered_ns` is the time of the first answer, `submissions` how often the id was asked for, repeats included.
    """

    arrival_number: int
    client_order_id: str
    terms: OrderTerms
    answered_ns: int
    outcome: AnswerOutcome
    status: OrderStatus
    filled_quantity: Decimal
    venue_order_id: str | None = None
    reason: str | None = None
    submissions: int = 1

    @property
    def is_open(self) -> bool:
        """Tell whether the order still works at the venue."""
        return self.status in OPEN_STATUSES


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
    if execution.execution_type is ExecutionType.TRADE:
        return OrderStatus.PARTIALLY_FILLED if execution.leaves_quantity > 0 else OrderStatus.FILLED
    return _ENDED_STATUS[execution.execution_type]


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
