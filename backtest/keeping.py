"""Journal, ledger and outbox of a backtest: nothing is durable, and what has ended is forgotten.

A backtest is not restarted in its middle, so nobody reads the past again. What the processes may still ask about is
what works, and what ended a moment ago.
"""

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from common.events.base import DRAFT
from common.events.venue import ExecutionReported, OrderAnswered, SubmitOrder
from exchange.memory_ledger import MemoryLedger
from exchange.ports import ALL
from exchange.records import RecordedOrder, RecordedReplacement, check_numbers, first_record, order_after
from executor.entries import Entry
from executor.snapshot import Snapshot
from strategy.checkpoint import Checkpoint
from strategy.outbox import Instruction, Kept


class ForgetfulJournal:
    """Counts entries and keeps none. What is asked of its archive has ended, and reads as never having been there."""

    def __init__(self) -> None:
        self._count = 0

    def append(self, entries: Sequence[Entry]) -> None:
        """Count them."""
        self._count += len(entries)

    def replay(self, after_seq: int = 0) -> Iterable[Entry]:
        """Nothing: every backtest begins anew."""
        return ()

    def last_seq(self) -> int:
        """How many there were."""
        return self._count

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """Not kept."""

    def snapshots(self) -> Iterable[Snapshot]:
        """None."""
        return ()

    def history_of_order(self, client_order_id: str, last_seq: int) -> Sequence[Entry]:
        """Nothing is kept."""
        return ()

    def history_of_instruction(self, instruction_id: str, last_seq: int) -> Sequence[Entry]:
        """Nothing is kept."""
        return ()


class ForgetfulOutboxStore:
    """Keeps nothing: a strategy under test has one life."""

    def load(self) -> Kept:
        """Nothing."""
        return Kept()

    def add(self, instructions: Sequence[Instruction], checkpoint: Checkpoint) -> None:
        """Not kept."""

    def remove(self, ids: Sequence[str]) -> None:
        """Nothing to remove."""


class RollingLedger(MemoryLedger):
    """The ledger of the exchange: open orders, and the newest of what has ended."""

    def __init__(self, ended_max: int) -> None:
        super().__init__()
        self._open: dict[str, RecordedOrder] = {}
        self._ended: deque[str] = deque()
        self._ended_max = ended_max
        self._executions: deque[ExecutionReported] = deque(maxlen=2 * ended_max)
        self._execution_count = 0
        self._order_counts: dict[str, int] = {}
        self._order_count = 0

    def record_submission(self, request: SubmitOrder, answer: OrderAnswered, now_ns: int) -> bool:
        if request.client_order_id in self.orders:
            return False
        order = first_record(request, answer, self._order_count + 1, now_ns)
        self._order_count += 1
        self._order_counts[request.source] = self._order_counts.get(request.source, 0) + 1
        self._keep(order)
        return True

    def record_executions(
        self, executions: Sequence[ExecutionReported], replacement: RecordedReplacement | None = None
    ) -> None:
        check_numbers(executions, self._execution_count)
        for execution in executions:
            self._keep(order_after(self.orders[execution.client_order_id], execution))
        if replacement is not None:
            self.record_replacement(replacement)
        self._execution_count += len(executions)
        self._executions.extend(msgspec.structs.replace(execution, **DRAFT) for execution in executions)

    def record_replacement(self, replacement: RecordedReplacement) -> None:
        """Keep a replacement with its answer; the oldest makes room."""
        super().record_replacement(replacement)
        if len(self._replacements) > self._ended_max:
            del self._replacements[next(iter(self._replacements))]

    def executions_from(self, number: int, count_max: int) -> list[ExecutionReported]:
        """At most so many of the newest reports from a number on."""
        found = [execution for execution in self._executions if execution.execution_number >= number]
        return found[:count_max]

    def open_orders(self, after_number: int = 0, count_max: int = ALL) -> list[RecordedOrder]:
        found = [order for order in self._open.values() if order.arrival_number > after_number]
        return found if count_max == ALL else found[:count_max]

    def order_counts(self) -> dict[str, int]:
        return dict(self._order_counts)

    def last_execution_number(self) -> int:
        return self._execution_count

    def last_order_number(self) -> int:
        return self._order_count

    def _keep(self, order: RecordedOrder) -> None:
        self.orders[order.client_order_id] = order
        if order.is_open:
            self._open[order.client_order_id] = order
            return
        self._open.pop(order.client_order_id, None)
        self._ended.append(order.client_order_id)
        if len(self._ended) > self._ended_max:
            self.orders.pop(self._ended.popleft(), None)
