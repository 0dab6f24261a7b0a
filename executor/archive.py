"""Where the book looks up what it no longer holds: the entries of one order or instruction, out of the journal.

Folded by themselves they give that order, its fills and its instructions again, exactly as they were.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from executor.entries import Entry


class Archive(Protocol):
    """Reads the past. `last_seq` is the newest entry that may be looked at: what the book has folded."""

    def history_of_order(self, client_order_id: str, last_seq: int) -> Sequence[Entry]:
        """Every entry about an order, in order; none where there is no such order."""
        ...

    def history_of_instruction(self, instruction_id: str, last_seq: int) -> Sequence[Entry]:
        """The denial of an instruction, or every entry about the order that it made or changed; none for a new one."""
        ...


def find_order_history(entries: Iterable[Entry], client_order_id: str) -> list[Entry]:
    """What an archive that holds its entries in memory answers; those beyond `last_seq` are left out by the caller."""
    return [entry for entry in entries if entry.order_id == client_order_id]


def find_instruction_history(entries: Sequence[Entry], instruction_id: str) -> list[Entry]:
    """The same, by the id of an instruction."""
    for entry in entries:
        if entry.instruction_id == instruction_id:
            return [entry] if entry.order_id is None else find_order_history(entries, entry.order_id)
    return []
