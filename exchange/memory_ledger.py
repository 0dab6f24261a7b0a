"""A ledger in memory, for tests and simulations that need no file. It follows the contract of the real one."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from common.errors import FatalError
from common.events.base import DRAFT
from common.events.venue import ExecutionReported, OrderAnswered, SubmitOrder
from exchange.ports import ALL
from exchange.records import Halt, RecordedOrder, RecordedReplacement, check_numbers, first_record, order_after


class MemoryLedger:
    """Remembers what a file would, for as long as the test holds it: also over restarts of the desk."""

    def __init__(self) -> None:
        self.orders: dict[str, RecordedOrder] = {}
        self.executions: list[ExecutionReported] = []
        self._replacements: dict[str, RecordedReplacement] = {}
        self._epochs: dict[str, int] = {}
        self._halts: list[Halt] = []

    def find(self, client_order_id: str) -> RecordedOrder | None:
        """The order with this id."""
        return self.orders.get(client_order_id)

    def record_submission(self, request: SubmitOrder, answer: OrderAnswered, now_ns: int) -> bool:
        """Keep an order with its first answer, and tell whether it is new."""
        if request.client_order_id in self.orders:
            return False
        number = len(self.orders) + 1
        self.orders[request.client_order_id] = first_record(request, answer, number, now_ns)
        return True

    def record_repeat(self, client_order_id: str) -> None:
        """Count that a known id was submitted again."""
        order = self.orders[client_order_id]
        self.orders[client_order_id] = msgspec.structs.replace(order, submissions=order.submissions + 1)

    def record_executions(
        self, executions: Sequence[ExecutionReported], replacement: RecordedReplacement | None = None
    ) -> None:
        """Keep reports and what they make of their orders: all or nothing."""
        check_numbers(executions, len(self.executions))
        if any(execution.client_order_id not in self.orders for execution in executions):
            raise FatalError("ledger: an execution belongs to no order")
        for execution in executions:
            order = self.orders[execution.client_order_id]
            self.orders[execution.client_order_id] = order_after(order, execution)
        if replacement is not None:
            self._replacements[replacement.replace_id] = replacement
        # Copies, because a publisher writes its identity into the drafts that it sends.
        self.executions += [msgspec.structs.replace(execution, **DRAFT) for execution in executions]

    def record_replacement(self, replacement: RecordedReplacement) -> None:
        """Keep a replacement that was refused."""
        self._replacements[replacement.replace_id] = replacement

    def find_replacement(self, replace_id: str) -> RecordedReplacement | None:
        """The replacement with this id."""
        return self._replacements.get(replace_id)

    def executions_from(self, number: int, count_max: int) -> list[ExecutionReported]:
        """At most so many reports from a number on, in order, as drafts."""
        start = max(0, number - 1)
        return self.executions[start : start + count_max]

    def open_orders(self, after_number: int = 0, count_max: int = ALL) -> list[RecordedOrder]:
        """The orders that still work, in order of arrival: at most so many of those after a number."""
        found = [order for order in self.orders.values() if order.is_open and order.arrival_number > after_number]
        return found if count_max == ALL else found[:count_max]

    def order_counts(self) -> dict[str, int]:
        """How many orders each source has submitted."""
        return Counter(order.source for order in self.orders.values())

    def epochs(self) -> dict[str, int]:
        """The newest life of each source that says which it is."""
        return dict(self._epochs)

    def record_epoch(self, source: str, epoch: int) -> None:
        """Remember the newest life of a source."""
        self._epochs[source] = epoch

    def halts(self) -> list[Halt]:
        """Every halt there was, oldest first."""
        return list(self._halts)

    def record_halt(self, halt: Halt) -> None:
        """Remember that nothing new is placed."""
        self._halts.append(halt)

    def clear_halts(self, now_ns: int) -> None:
        """Let new orders in again."""
        self._halts = [
            msgspec.structs.replace(halt, cleared_ns=now_ns) if halt.cleared_ns is None else halt
            for halt in self._halts
        ]

    def last_execution_number(self) -> int:
        """The newest execution; 0 before the first."""
        return len(self.executions)

    def last_order_number(self) -> int:
        """The newest arrival; 0 before the first."""
        return len(self.orders)
