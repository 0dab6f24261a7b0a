"""Gives each instruction its id and its place in the order, and keeps it until its end is known.

All instructions of a strategy share one numbering, and each names the one before it. So the executor can apply them in
the order in which they were emitted, whatever the network does to them.
"""

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol

from common.events.base import DRAFT
from common.events.trading import AmendRequested, CancelRequested, SignalAcknowledged
from common.ids import make_signal_id, parse_signal_id
from strategy.base import PlacedOrder
from strategy.checkpoint import Checkpoint
from strategy.outbox import Instruction, Outbox, OutboxFullError, OutboxStore, id_of

OnEmitted = Callable[[Instruction], object]


class OnWarning(Protocol):
    """Told of what a person should hear: the name of an event, and its fields."""

    def __call__(self, event: str, **fields: Any) -> object:
        """Take note."""
        ...


class Emitter:
    """The order of one strategy's instructions, over all its lives."""

    def __init__(
        self,
        *,
        name: str,
        epoch: int,
        outbox: Outbox,
        store: OutboxStore,
        on_warning: OnWarning | None = None,
        on_emitted: OnEmitted | None = None,
    ) -> None:
        """Take over what an earlier life has left; `on_emitted` sees each instruction before it has a sender."""
        self.outbox = outbox
        # The signals are reported even when there was none.
        self.counts = Counter(signals_emitted=0)
        self._name = name
        self._epoch = epoch
        self._number = 0
        self._store = store
        self._on_warning = on_warning
        self._on_emitted = on_emitted
        self._unwritten: list[Instruction] = []
        self._ended: list[str] = []
        self._was_full = False
        self.kept = store.load()
        self.last_id: str | None = None
        self._follow(self.kept.last_id)
        outbox.restore(self.kept.instructions)
        self.counts["signals_restored"] = len(self.kept.instructions)

    @property
    def has_unwritten(self) -> bool:
        """Tell whether something was emitted that may not be sent yet, because a crash would lose it."""
        return bool(self._unwritten)

    @property
    def is_settled(self) -> bool:
        """Tell whether every instruction has its end, in the store too."""
        return not self._ended and len(self.outbox) == 0

    def next_id(self) -> str:
        """The id of the next instruction. One that is not emitted uses none up: a hole would read as a loss."""
        return make_signal_id(self._name, self._epoch, self._number + 1)

    def emit(self, instruction: Instruction) -> None:
        """Emit what was made with `next_id` and `last_id`.

        Raises:
            OutboxFullError: It was not emitted.
        """
        try:
            self.outbox.add(instruction, instruction.timestamp_ns)
        except OutboxFullError as error:
            self._on_full(error)
            raise
        self._unwritten.append(instruction)
        self._number += 1
        self.last_id = id_of(instruction)
        self.counts[f"{instruction.kind}s_emitted"] += 1
        if self._on_emitted is not None:
            self._on_emitted(instruction)

    def cancel(self, placed: PlacedOrder, now_ns: int) -> None:
        """Ask for the cancellation of an order; once, until the executor has answered."""
        if self.outbox.is_cancelling(placed.signal_id):
            return
        self.emit(
            CancelRequested(
                **DRAFT,
                timestamp_ns=now_ns,
                exchange=placed.exchange,
                symbol=placed.symbol,
                signal_id=placed.signal_id,
                strategy=self._name,
                request_id=self.next_id(),
                follows=self.last_id,
            )
        )

    def amend(
        self,
        placed: PlacedOrder,
        quantity: Decimal | None,
        limit_price: Decimal | None,
        *,
        now_ns: int,
        expires_ns: int,
    ) -> None:
        """Ask for other terms of an order."""
        self.emit(
            AmendRequested(
                **DRAFT,
                timestamp_ns=now_ns,
                exchange=placed.exchange,
                symbol=placed.symbol,
                request_id=self.next_id(),
                signal_id=placed.signal_id,
                strategy=self._name,
                quantity=quantity,
                limit_price=limit_price,
                expires_ns=expires_ns,
                follows=self.last_id,
            )
        )

    def write(self, checkpoint: Checkpoint) -> None:
        """Make durable what was emitted, together with the strategy's state after it.

        Raises:
            FatalError: It was not written, so it must not be sent.
        """
        self._store.add(self._unwritten, checkpoint)
        self._unwritten.clear()

    def acknowledge(self, message: SignalAcknowledged) -> bool:
        """The executor told the end of an instruction; False when nobody waits for it (any more)."""
        instruction = self.outbox.acknowledge(message.signal_id)
        if instruction is None:
            return False
        if self.outbox.is_relieved:
            self._was_full = False
        self._ended.append(message.signal_id)
        self.counts[f"{instruction.kind}s_acknowledged"] += 1
        self.counts[f"{instruction.kind}s_{message.outcome.value}"] += 1
        return True

    def forget_ended(self) -> None:
        """Take what has ended out of the store: together, because each transaction costs as much as an emission."""
        if self._ended and not self._unwritten:  # whose end may be known before it was sent, if a peer makes up ids
            self._store.remove(self._ended)
            self._ended.clear()

    def compare(self, executor_last_id: str | None) -> None:
        """Notice that the executor knows a newer instruction than the store: it is not the one that we had."""
        if executor_last_id is None or not self._is_news(executor_last_id):
            return
        event = "state_lost" if self.last_id is None else "state_restored"
        self.counts[event] += 1
        self._warn(event, last_id=self.last_id, executor_last_id=executor_last_id)
        self._follow(executor_last_id)

    def was_emitted(self, signal_id: str) -> bool:
        """Tell whether an id is one of ours, of any life."""
        place = parse_signal_id(signal_id, self._name)
        if place is None or self.last_id is None:
            return False
        last_place = parse_signal_id(self.last_id, self._name)
        return last_place is not None and place <= last_place

    def _is_news(self, executor_last_id: str) -> bool:
        if self.last_id is None:
            return True
        theirs, ours = parse_signal_id(executor_last_id, self._name), parse_signal_id(self.last_id, self._name)
        # A foreign id has no place in our order: it tells nothing.
        return theirs is not None and ours is not None and theirs > ours

    def _follow(self, last_id: str | None) -> None:
        """Let the next instruction come after this one, in a life that was not used before."""
        self.last_id = last_id
        place = None if last_id is None else parse_signal_id(last_id, self._name)
        if place is not None and place.epoch >= self._epoch:
            # The clock was set back and the number of the last life is lost: an id must not be made twice.
            self._epoch, self._number = place.epoch + 1, 0

    def _on_full(self, error: OutboxFullError) -> None:
        self.counts["signals_refused_full"] += 1
        if not self._was_full:
            self._was_full = True
            self._warn("outbox_full", error=str(error))

    def _warn(self, event: str, **fields: object) -> None:
        if self._on_warning is not None:
            self._on_warning(event, **fields)
