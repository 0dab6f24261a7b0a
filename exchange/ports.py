"""What the order desk needs of a venue and of a ledger."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from common.events.market import Tick, Ticks, Trade
from common.events.venue import CancelOrder, ExecutionReported, OrderAnswered, SubmitOrder
from exchange.records import RecordedOrder


class Venue(Protocol):
    """Where orders trade. It knows only the orders that still work; what is finished is in the ledger."""

    def restore(self, orders: Iterable[RecordedOrder], last_order_number: int, last_execution_number: int) -> None:
        """Take over, before anything else, what was open when the last life ended."""
        ...

    def submit(self, request: SubmitOrder, now_ns: int) -> OrderAnswered:
        """Take or refuse an order whose id was never submitted before."""
        ...

    def cancel(self, request: CancelOrder, now_ns: int) -> OrderAnswered:
        """Take back what is left of an order; its reports come with the next `advance`."""
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

    def record_submission(self, request: SubmitOrder, answer: OrderAnswered, now_ns: int) -> None:
        """Keep a new order with its first answer, refused ones too: a repeat gets the same answer."""
        ...

    def record_repeat(self, client_order_id: str) -> None:
        """Count that a known id was submitted again."""
        ...

    def record_executions(self, executions: Sequence[ExecutionReported]) -> None:
        """Keep reports that follow the last one without a hole, and what they make of their orders: all or nothing."""
        ...

    def executions_from(self, number: int, count_max: int) -> list[ExecutionReported]:
        """At most so many reports from a number on, in order, as drafts."""
        ...

    def open_orders(self) -> list[RecordedOrder]:
        """The orders that still work, in order of arrival."""
        ...

    def last_execution_number(self) -> int:
        """The newest execution; 0 before the first."""
        ...

    def last_order_number(self) -> int:
        """The newest arrival; 0 before the first."""
        ...
