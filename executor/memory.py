"""What the book holds of orders and instructions: all that is open, and the newest of what has ended.

What has ended is forgotten, oldest first, and taken back from the archive when somebody asks for it. Nobody can tell:
whatever is forgotten, the answers are the same. So when to forget is no fact, and is in no journal.
"""

from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from common.ids import SignalPlace, split_signal_id
from executor.archive import Archive
from executor.entries import Entry
from executor.orders import IllegalMoveError, Order
from executor.records import Fill, SignalRecord

# A client that makes up its own names fills no memory: the ids of further names are looked up in the archive.
NUMBERED_NAMES_MAX = 10_000


class MemoryState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a memory must hold to go on behind the entry `last_seq`."""

    last_seq: int
    newest: dict[str, SignalPlace]
    orders: list[Order]
    signals: list[SignalRecord]
    requests: list[SignalRecord]
    fills: list[tuple[int, Fill]]


class Memory:
    """Orders with their signals, requests and fills."""

    def __init__(self, archive: Archive | None, fold: Callable[[Sequence[Entry]], "Memory"]) -> None:
        """Hold nothing. Without an archive nothing may be forgotten; `fold` is what makes a memory of entries."""
        self.signals: dict[str, SignalRecord] = {}
        self.requests: dict[str, SignalRecord] = {}  # cancels and amendments, by their own ids
        self.orders: dict[str, Order] = {}
        self.working: dict[str, Order] = {}
        self.fills: dict[str, dict[int, Fill]] = {}  # by order, then execution number
        self.newest: dict[str, SignalPlace] = {}  # of the instructions ever seen, by the name that their ids begin with
        self.last_seq = 0  # of the entries that are folded
        self._ended: deque[str] = deque()  # instructions that can be forgotten, oldest first
        self._archive = archive
        self._fold = fold

    # Looking up

    def find_order(self, client_order_id: str) -> Order | None:
        """An order, whether it is held or not; None where there is no such order."""
        order = self.orders.get(client_order_id)
        if order is None and self._archive is not None:
            self._recall(self._archive.history_of_order(client_order_id, self.last_seq))
            order = self.orders.get(client_order_id)
        return order

    def order(self, client_order_id: str) -> Order:
        """An order that there must be.

        Raises:
            IllegalMoveError: There is none.
        """
        order = self.find_order(client_order_id)
        if order is None:
            raise IllegalMoveError(f"order {client_order_id}: expected an order that was intended, was none")
        return order

    def record_of(self, instruction_id: str) -> SignalRecord | None:
        """What is kept of a signal or request, whether it is held or not; None for one that has no verdict yet."""
        record = self._held(instruction_id)
        if record is None and self._archive is not None and not self._is_new(instruction_id):
            self._recall(self._archive.history_of_instruction(instruction_id, self.last_seq))
            record = self._held(instruction_id)
        return record

    # Keeping

    def keep_order(self, order: Order) -> Order | None:
        """Keep an order as it is now; gives back what it was."""
        before = self.orders.get(order.client_order_id)
        self.orders[order.client_order_id] = order
        if not order.is_final:
            self.working[order.client_order_id] = order
        elif before is None or not before.is_final:
            self.working.pop(order.client_order_id, None)
            self._ended.append(order.signal.signal_id)
        return before

    def keep_record(self, record: SignalRecord, *, is_request: bool) -> None:
        """Keep what is known of an instruction."""
        (self.requests if is_request else self.signals)[record.signal_id] = record
        self._note_place(record.signal_id)
        # A signal that has become an order is forgotten with that.
        if record.outcome is not None and (is_request or record.client_order_id is None):
            self._ended.append(record.signal_id)

    def keep_fill(self, number: int, fill: Fill) -> None:
        """Keep a fill under the number of its execution."""
        self.fills.setdefault(fill.client_order_id, {})[number] = fill

    # Forgetting

    def forget(self, ended_max: int) -> None:
        """Forget what ended first, until so many instructions are left that have ended."""
        while len(self._ended) > ended_max:
            instruction_id = self._ended.popleft()
            self.requests.pop(instruction_id, None)
            record = self.signals.get(instruction_id)
            if record is None or record.client_order_id in self.working:
                continue
            del self.signals[instruction_id]
            self.orders.pop(record.client_order_id or "", None)
            self.fills.pop(record.client_order_id or "", None)

    def _recall(self, entries: Sequence[Entry]) -> None:
        """Take back what these entries tell, where it is not held."""
        past = self._fold(entries)
        for order in past.orders.values():
            if order.client_order_id not in self.orders:
                self.keep_order(order)
                self.fills |= past.fills
        for held, records, is_request in (
            (self.signals, past.signals, False),
            (self.requests, past.requests, True),
        ):
            for record in records.values():
                if record.signal_id not in held:
                    self.keep_record(record, is_request=is_request)

    # What outlives a process

    def state(self) -> MemoryState:
        """All that is open. What has ended is in the archive."""
        return MemoryState(
            last_seq=self.last_seq,
            newest=self.newest,
            orders=list(self.working.values()),
            signals=[self.signals[order.signal.signal_id] for order in self.working.values()],
            requests=[record for record in self.requests.values() if record.outcome is None],
            fills=[(number, fill) for name in self.working for number, fill in self.fills.get(name, {}).items()],
        )

    def restore(self, state: MemoryState) -> None:
        """Hold what was open."""
        self.last_seq = state.last_seq
        self.newest |= state.newest
        for order in state.orders:
            self.keep_order(order)
        for record in state.signals:
            self.keep_record(record, is_request=False)
        for record in state.requests:
            self.keep_record(record, is_request=True)
        for number, fill in state.fills:
            self.keep_fill(number, fill)

    def _held(self, instruction_id: str) -> SignalRecord | None:
        return self.signals.get(instruction_id) or self.requests.get(instruction_id)

    def _is_new(self, instruction_id: str) -> bool:
        """Tell by its number alone; a strategy's next instruction costs no look into the archive."""
        name, place = split_signal_id(instruction_id) or ("", None)
        newest = self.newest.get(name)
        return newest is not None and place is not None and place > newest

    def _note_place(self, instruction_id: str) -> None:
        numbered = split_signal_id(instruction_id)
        if numbered is None:
            return
        name, place = numbered
        newest = self.newest.get(name)
        if (place > newest) if newest is not None else (len(self.newest) < NUMBERED_NAMES_MAX):
            self.newest[name] = place
