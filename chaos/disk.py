"""Files in virtual time: a write survives the death of its process at once, and power loss once it was synced."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Generic, TypeVar

import msgspec

from chaos.facts import Facts, Intent, Submission
from chaos.machine import PassPoint
from chaos.memory_outbox_store import MemoryOutboxStore
from common.errors import FatalError
from common.events.base import DRAFT
from common.events.venue import ExecutionReported, OrderAnswered, SubmitOrder
from exchange.memory_ledger import MemoryLedger
from exchange.records import Halt, RecordedReplacement, check_numbers
from executor.archive import find_instruction_history, find_order_history
from executor.entries import Entry, ExecutionTaken, OrderIntended, SignalDenied, TradingStateMoved
from executor.snapshot import Snapshot
from strategy.checkpoint import Checkpoint
from strategy.outbox import Instruction

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


JournalWrite = Sequence[Entry] | Snapshot


class VirtualJournal:
    """The executor's journal on a virtual disk, with the contract of the real one."""

    def __init__(self, file: VirtualFile[JournalWrite], pass_point: PassPoint, facts: Facts) -> None:
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
            elif isinstance(entry, TradingStateMoved):
                self._facts.note_state(entry)
        self._pass_point("executor.journal.written")

    def replay(self, after_seq: int = 0) -> Iterator[Entry]:
        """Every entry behind that number, in order."""
        return iter(entries_of(self._file)[after_seq:])

    def last_seq(self) -> int:
        """The number of the newest entry."""
        return len(entries_of(self._file))

    def history_of_order(self, client_order_id: str, last_seq: int) -> list[Entry]:
        """Every entry about an order."""
        return find_order_history(entries_of(self._file)[:last_seq], client_order_id)

    def history_of_instruction(self, instruction_id: str, last_seq: int) -> list[Entry]:
        """The denial of an instruction, or every entry about its order."""
        return find_instruction_history(entries_of(self._file)[:last_seq], instruction_id)

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot; older ones are never in the way here."""
        self._file.commit(snapshot)

    def snapshots(self) -> Iterator[Snapshot]:
        """What was kept, newest first."""
        return (each for each in reversed(self._file.transactions) if isinstance(each, Snapshot))

    def go_astray(self, facts: Facts) -> None:
        """Write to a copy from now on, which nobody reads."""
        file: VirtualFile[JournalWrite] = VirtualFile(is_synced=True)
        file.transactions = list(self._file.transactions)
        self._file, self._facts, self._pass_point = file, facts, lambda _name: None


def entries_of(file: VirtualFile[JournalWrite]) -> list[Entry]:
    """Every entry of a journal's file, in order."""
    return [entry for write in file.transactions if not isinstance(write, Snapshot) for entry in write]


def _unique_key(entry: Entry) -> tuple[str, str] | None:
    """What only one entry may have: the verdict on a signal, the booking of an execution."""
    if isinstance(entry, OrderIntended | SignalDenied):
        return "verdict", entry.subject
    return ("execution", entry.subject) if isinstance(entry, ExecutionTaken) else None


LedgerWrite = tuple[str, tuple[Any, ...]]  # a method of the ledger that writes, and what it was told


class VirtualLedger(MemoryLedger):
    """The exchange's ledger on a virtual disk: what was written is told again to whoever opens it next."""

    def __init__(self, file: VirtualFile[LedgerWrite], pass_point: PassPoint, facts: Facts) -> None:
        super().__init__()
        for name, arguments in file.transactions:
            getattr(super(), name)(*arguments)
        self._file = file
        self._pass_point = pass_point
        self._facts = facts

    def record_submission(self, request: SubmitOrder, answer: OrderAnswered, now_ns: int) -> bool:
        self._pass_point("exchange.order.writing")
        if request.client_order_id in self.orders:
            return False
        self._file.commit(("record_submission", (request, answer, now_ns)))
        super().record_submission(request, answer, now_ns)
        self._facts.note_submission(Submission(self.orders[request.client_order_id], request.request_id))
        self._facts.note_ledger(self.orders.values(), self.executions)
        self._pass_point("exchange.order.written")
        return True

    def record_repeat(self, client_order_id: str) -> None:
        self._file.commit(("record_repeat", (client_order_id,)))
        super().record_repeat(client_order_id)

    def record_executions(
        self, executions: Sequence[ExecutionReported], replacement: RecordedReplacement | None = None
    ) -> None:
        self._pass_point("exchange.executions.writing")
        # Copies, because a publisher writes its identity into the drafts that it sends.
        drafts = [msgspec.structs.replace(execution, **DRAFT) for execution in executions]
        check_numbers(drafts, len(self.executions))
        self._file.commit(("record_executions", (drafts, replacement)))
        super().record_executions(drafts, replacement)
        self._facts.note_ledger(self.orders.values(), self.executions)
        self._pass_point("exchange.executions.written")

    def record_replacement(self, replacement: RecordedReplacement) -> None:
        self._file.commit(("record_replacement", (replacement,)))
        super().record_replacement(replacement)

    def record_epoch(self, source: str, epoch: int) -> None:
        self._file.commit(("record_epoch", (source, epoch)))
        super().record_epoch(source, epoch)

    def record_halt(self, halt: Halt) -> None:
        self._file.commit(("record_halt", (halt,)))
        super().record_halt(halt)


OutboxWrite = tuple[str, tuple[Any, ...]]


class VirtualOutbox(MemoryOutboxStore):
    """A strategy's outbox on a virtual disk."""

    def __init__(self, file: VirtualFile[OutboxWrite], pass_point: PassPoint) -> None:
        super().__init__()
        for name, arguments in file.transactions:
            getattr(super(), name)(*arguments)
        self._file = file
        self._pass_point = pass_point

    def add(self, instructions: Sequence[Instruction], checkpoint: Checkpoint) -> None:
        self._pass_point("strategy.outbox.writing")
        self._file.commit(("add", (tuple(instructions), checkpoint)))
        super().add(instructions, checkpoint)
        self._pass_point("strategy.outbox.written")

    def remove(self, ids: Sequence[str]) -> None:
        self._file.commit(("remove", (tuple(ids),)))
        super().remove(ids)
