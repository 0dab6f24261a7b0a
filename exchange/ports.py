"""What the order desk needs of a venue and of a ledger."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from common.events.market import Tick, Ticks, Trade
from common.events.venue import ExecutionReported, OrderAnswered, ReplaceOrder, SubmitOrder
from exchange.records import Halt, RecordedOrder, RecordedReplacement
from exchange.refusals import Refusal

ALL = -1  # SQLite's word for no limit


class Venue(Protocol):
    """Where orders trade. It knows only the orders that still work; what is finished is in the ledger."""

    def restore(self, orders: Iterable[RecordedOrder], last_order_number: int, last_execution_number: int) -> None:
        """Take over, before anything else, what was open when the last life ended."""
        ...

    def decide(self, request: SubmitOrder, now_ns: int) -> OrderAnswered:
        """Say whether an order will be taken, and under which id of the venue; nothing is done yet."""
        ...

    def enter(self, request: SubmitOrder, answer: OrderAnswered, now_ns: int) -> None:
        """Take what was decided: `answer` is the recorded one, a refusal too, since each submission has a number."""
        ...

    def find_replace_refusal(self, request: ReplaceOrder) -> Refusal | None:
        """Why a working limit order cannot have these terms."""
        ...

    def replace(self, request: ReplaceOrder, now_ns: int) -> None:
        """Give a working order other terms; its reports come with the next `advance`."""
        ...

    def cancel(self, client_order_id: str, now_ns: int, reason: str) -> bool:
        """Take back what is left of an order; its reports come with the next `advance`.

        Returns:
            Whether it was still working.
        """
        ...

    def on_tick(self, tick: Tick) -> list[ExecutionReported]:
        """Reports that follow from a tick."""
        ...

    def on_ticks(self, ticks: Ticks) -> list[ExecutionReported]:
        """Reports that follow from a batch of ticks."""
        ...

    def on_trade(self, trade: Trade) -> list[ExecutionReported]:
        """Reports that follow from a public trade."""
        ...

    def advance(self, now_ns: int) -> list[ExecutionReported]:
        """Reports that follow from the time alone."""
        ...

    def next_due_ns(self) -> int | None:
        """When `advance` may next have something to do; None when it waits for nothing."""
        ...


class OrderLedger(Protocol):
    """What was really ordered and executed. Every write is durable when its method returns.

    All methods raise FatalError when that cannot be kept: memory and file may then differ, and only a restart
    from the file makes them agree.
    """

    def find(self, client_order_id: str) -> RecordedOrder | None:
        """The order with this id."""
        ...

    def record_submission(self, request: SubmitOrder, answer: OrderAnswered, now_ns: int) -> bool:
        """Keep an order with its first answer, refused ones too, and tell whether it is new.

        A known id changes nothing.
        """
        ...

    def record_repeat(self, client_order_id: str) -> None:
        """Count that a known id was submitted again."""
        ...

    def record_executions(
        self, executions: Sequence[ExecutionReported], replacement: RecordedReplacement | None = None
    ) -> None:
        """Keep reports that follow the last one without a hole, and what they make of their orders: all or nothing.

        `replacement` is the change of terms that the REPLACED report among them tells of.
        """
        ...

    def record_replacement(self, replacement: RecordedReplacement) -> None:
        """Keep a replacement that was refused: a repeat gets the same answer."""
        ...

    def find_replacement(self, replace_id: str) -> RecordedReplacement | None:
        """The replacement with this id."""
        ...

    def executions_from(self, number: int, count_max: int) -> list[ExecutionReported]:
        """At most so many reports from a number on, in order, as drafts."""
        ...

    def open_orders(self, after_number: int = 0, count_max: int = ALL) -> list[RecordedOrder]:
        """The orders that still work, in order of arrival: at most so many of those after a number."""
        ...

    def order_counts(self) -> dict[str, int]:
        """How many orders each source has submitted, repeats not counted."""
        ...

    def epochs(self) -> dict[str, int]:
        """The newest life of each source that says which it is."""
        ...

    def record_epoch(self, source: str, epoch: int) -> None:
        """Remember the newest life of a source."""
        ...

    def halts(self) -> list[Halt]:
        """Every halt there was, oldest first."""
        ...

    def record_halt(self, halt: Halt) -> None:
        """Remember that nothing new is placed until `clear_halts`."""
        ...

    def clear_halts(self, now_ns: int) -> None:
        """Let new orders in again, as a person has decided."""
        ...

    def last_execution_number(self) -> int:
        """The newest execution; 0 before the first."""
        ...

    def last_order_number(self) -> int:
        """The newest arrival; 0 before the first."""
        ...
