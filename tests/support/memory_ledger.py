"""A ledger in memory, for tests and simulations that need no file. It follows the contract of the real one."""

from collections.abc import Sequence

import msgspec

from common.errors import FatalError
from common.events.base import DRAFT
from common.events.venue import ExecutionReported, OrderAnswered, SubmitOrder, terms_of
from common.money import ZERO
from exchange.records import RecordedOrder, check_numbers, status_after


class MemoryLedger:
    """Remembers what a file would, for as long as the test holds it: also over restarts of the desk."""

    def __init__(self) -> None:
        self._orders: dict[str, RecordedOrder] = {}
        self._executions: list[ExecutionReported] = []

    def find(self, client_order_id: str) -> RecordedOrder | None:
        """The order with this id."""
        return self._orders.get(client_order_id)

    def record_submission(self, request: SubmitOrder, answer: OrderAnswered, now_ns: int) -> None:
        """Keep a new order with its first answer."""
        if request.client_order_id in self._orders:
            raise FatalError(f"ledger: order {request.client_order_id} is known already")
        assert answer.status is not None, "the first answer says where the order stands"
        self._orders[request.client_order_id] = RecordedOrder(
            arrival_number=len(self._orders) + 1,
            client_order_id=request.client_order_id,
            terms=terms_of(request),
            answered_ns=now_ns,
            outcome=answer.outcome,
            status=answer.status,
            filled_quantity=answer.filled_quantity or ZERO,
            venue_order_id=answer.venue_order_id,
            reason=answer.reason,
        )

    def record_repeat(self, client_order_id: str) -> None:
        """Count that a known id was submitted again."""
        order = self._orders[client_order_id]
        self._orders[client_order_id] = msgspec.structs.replace(order, submissions=order.submissions + 1)

    def record_executions(self, executions: Sequence[ExecutionReported]) -> None:
        """Keep reports and what they make of their orders: all or nothing."""
        check_numbers(executions, len(self._executions))
        if any(execution.client_order_id not in self._orders for execution in executions):
            raise FatalError("ledger: an execution belongs to no order")
        for execution in executions:
            order = self._orders[execution.client_order_id]
            self._orders[execution.client_order_id] = msgspec.structs.replace(
                order,
                status=status_after(execution),
                filled_quantity=execution.filled_quantity,
                reason=execution.reason or order.reason,
            )
        # Copies, because a publisher writes its identity into the drafts that it sends.
        self._executions += [msgspec.structs.replace(execution, **DRAFT) for execution in executions]

    def executions_from(self, number: int, count_max: int) -> list[ExecutionReported]:
        """At most so many reports from a number on, in order, as drafts."""
        start = max(0, number - 1)
        return self._executions[start : start + count_max]

    def open_orders(self) -> list[RecordedOrder]:
        """The orders that still work, in order of arrival."""
        return [order for order in self._orders.values() if order.is_open]

    def last_execution_number(self) -> int:
        """The newest execution; 0 before the first."""
        return len(self._executions)

    def last_order_number(self) -> int:
        """The newest arrival; 0 before the first."""
        return len(self._orders)
