"""Files in virtual time: a write survives the death of its process at once, and power loss once it was synced."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Generic, TypeVar

import msgspec

from chaos.facts import Facts, Intent, Submission
from chaos.machine import PassPoint
from common.errors import FatalError
from common.events.base import DRAFT
from common.events.venue import ExecutionReported, OrderAnswered, SubmitOrder, terms_of
from common.money import ZERO
from exchange.records import RecordedOrder, check_numbers, status_after
from executor.entries import Entry, ExecutionTaken, OrderIntended, SignalDenied

T = TypeVar("T")


class VirtualFile(Generic[T]):
    """Transactions in the order of their commits.

    Power loss cuts off a suffix of what was not synced. A torn transaction is one that is not there: SQLite's log
    has a checksum for each, and drops the first that is damaged with all behind it.
    """

    def __init__(self, *, is_synced: bool) -> None:
        """Open a file; `is_synced` is what `synchronous = "full"` does."""
        self.transactions: list[T] = []
        self.is_refusing = False
        self._is_synced = is_synced
        self._synced_count = 0

    def commit(self, transaction: T) -> None:
        """Write one transaction.

        Raises:
            FatalError: The disk refuses.
        """
        if self.is_refusing:
            raise FatalError("disk: no space left on the virtual device")
        self.transactions.append(transaction)
        if self._is_synced:
            self.sync()

    def sync(self) -> None:
        """What is written now survives power loss."""
        self._synced_count = len(self.transactions)

    def lose_power(self, random: Random) -> int:
        """Keep what was synced and a part of the rest; returns how many transactions are gone."""
        written_count = len(self.transactions)
        del self.transactions[random.randint(self._synced_count, written_count) :]
        self.sync()
        return written_count - len(self.transactions)


class VirtualJournal:
    """The executor's journal on a virtual disk, with the contract of the real one."""

    def __init__(self, file: VirtualFile[Sequence[Entry]], pass_point: PassPoint, facts: Facts) -> None:
        self._file = file
        self._pass_point = pass_point
        self._facts = facts
        self._unique = {_unique_key(entry) for entry in self.replay()} - {None}

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries in one transaction."""
        self._pass_point("executor.journal.writing")
        keys = [key for key in map(_unique_key, entries) if key is not None]
        if len(set(keys)) < len(keys) or not self._unique.isdisjoint(keys):
            raise FatalError(f"journal: {len(entries)} entries could not be written, UNIQUE constraint failed: {keys}")
        self._file.commit(tuple(entries))
        self._unique.update(keys)
        for entry in entries:
            if isinstance(entry, OrderIntended):
                self._facts.note_intent(Intent(entry.signal, entry.client_order_id, entry.timestamp_ns))
        self._pass_point("executor.journal.written")

    def replay(self) -> Iterator[Entry]:
        """Every entry, in order."""
        return iter([entry for transaction in self._file.transactions for entry in transaction])


def _unique_key(entry: Entry) -> tuple[str, str] | None:
    """What only one entry may have: the verdict on a signal, the booking of an execution."""
    if isinstance(entry, OrderIntended | SignalDenied):
        return "verdict", entry.subject
    return ("execution", entry.subject) if isinstance(entry, ExecutionTaken) else None


LedgerWrite = RecordedOrder | str | list[ExecutionReported]


class VirtualLedger:
    """The exchange's ledger on a virtual disk: orders, repeated ids and groups of executions."""

    def __init__(self, file: VirtualFile[LedgerWrite], pass_point: PassPoint, facts: Facts) -> None:
        self.orders: dict[str, RecordedOrder] = {}
        self.executions: list[ExecutionReported] = []
        self._file = file
        self._pass_point = pass_point
        self._facts = facts
        for write in file.transactions:
            self._apply(write)

    def find(self, client_order_id: str) -> RecordedOrder | None:
        """The order with this id."""
        return self.orders.get(client_order_id)

    def record_submission(self, request: SubmitOrder, answer: OrderAnswered, now_ns: int) -> None:
        """Keep a new order with its first answer."""
        if request.client_order_id in self.orders:
            raise FatalError(f"ledger: order {request.client_order_id} is known already")
        if answer.status is None:
            raise FatalError(f"ledger: order {request.client_order_id}: expected a first answer with a status")
        order = RecordedOrder(
            arrival_number=len(self.orders) + 1,
            client_order_id=request.client_order_id,
            terms=terms_of(request),
            answered_ns=now_ns,
            outcome=answer.outcome,
            status=answer.status,
            filled_quantity=answer.filled_quantity or ZERO,
            venue_order_id=answer.venue_order_id,
            reason=answer.reason,
        )
        self._pass_point("exchange.order.writing")
        self._write(order)
        self._facts.note_submission(Submission(order, request.request_id))
        self._pass_point("exchange.order.written")

    def record_repeat(self, client_order_id: str) -> None:
        """Count that a known id was submitted again."""
        self._write(client_order_id)

    def record_executions(self, executions: Sequence[ExecutionReported]) -> None:
        """Keep reports and what they make of their orders: all or nothing."""
        check_numbers(executions, len(self.executions))
        if any(execution.client_order_id not in self.orders for execution in executions):
            raise FatalError("ledger: an execution belongs to no order")
        self._pass_point("exchange.executions.writing")
        # Copies, because a publisher writes its identity into the drafts that it sends.
        self._write([msgspec.structs.replace(execution, **DRAFT) for execution in executions])
        self._pass_point("exchange.executions.written")

    def executions_from(self, number: int, count_max: int) -> list[ExecutionReported]:
        """At most so many reports from a number on, in order, as drafts."""
        start = max(0, number - 1)
        return self.executions[start : start + count_max]

    def open_orders(self) -> list[RecordedOrder]:
        """The orders that still work, in order of arrival."""
        return [order for order in self.orders.values() if order.is_open]

    def last_execution_number(self) -> int:
        """The newest execution; 0 before the first."""
        return len(self.executions)

    def last_order_number(self) -> int:
        """The newest arrival; 0 before the first."""
        return len(self.orders)

    def _write(self, write: LedgerWrite) -> None:
        self._file.commit(write)
        self._apply(write)

    def _apply(self, write: LedgerWrite) -> None:
        if isinstance(write, RecordedOrder):
            self.orders[write.client_order_id] = write
        elif isinstance(write, str):
            order = self.orders[write]
            self.orders[write] = msgspec.structs.replace(order, submissions=order.submissions + 1)
        else:
            for execution in write:
                self.orders[execution.client_order_id] = msgspec.structs.replace(
                    self.orders[execution.client_order_id],
                    status=status_after(execution),
                    filled_quantity=execution.filled_quantity,
                    reason=execution.reason or self.orders[execution.client_order_id].reason,
                )
            self.executions += write
