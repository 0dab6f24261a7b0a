"""What the journal and the ledger tell about the speed of orders and of a halt. Pure: times in, durations out.

Every process of a run reads the same wall clock, so times of different files may be subtracted.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from common.clock import NS_PER_S
from common.metrics import Latency


class SignalTimes(msgspec.Struct, frozen=True, kw_only=True):
    """One signal on its way, ns UTC."""

    due_ns: int  # by the schedule, whoever was late
    emitted_ns: int
    accepted_ns: int | None = None  # when the executor had read the exchange's answer; None: it was refused


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The measured time, ns UTC; its end is not part of it."""

    start_ns: int
    end_ns: int

    def contains(self, time_ns: int) -> bool:
        """Tell whether a moment lies in it."""
        return self.start_ns <= time_ns < self.end_ns


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast orders were accepted within a window."""

    per_s: float  # over all of it
    per_s_min: int | None  # in its worst whole second; None in a window below a second
    backlog: int  # signals that were due in or before it and had no accepted order at its end


def find_pace(signals: Iterable[SignalTimes], window: Window) -> Pace:
    """Count what was accepted in a window, and what was left at its end."""
    by_second: Counter[int] = Counter()
    backlog = 0
    for signal in signals:
        is_late = signal.accepted_ns is None or signal.accepted_ns >= window.end_ns
        backlog += is_late and signal.due_ns < window.end_ns
        if signal.accepted_ns is not None and window.contains(signal.accepted_ns):
            by_second[(signal.accepted_ns - window.start_ns) // NS_PER_S] += 1
    elapsed_ns = window.end_ns - window.start_ns
    seconds = range(elapsed_ns // NS_PER_S)
    return Pace(
        per_s=round(by_second.total() * NS_PER_S / elapsed_ns, 1),
        per_s_min=min((by_second[second] for second in seconds), default=None),
        backlog=backlog,
    )


def find_latencies(signals: Iterable[SignalTimes], window: Window) -> tuple[Latency, Latency]:
    """From when a signal was due, and from when it was emitted, to its accepted order; for those due in a window."""
    from_due, from_emitted = Latency(), Latency()
    for signal in signals:
        if signal.accepted_ns is not None and window.contains(signal.due_ns):
            from_due.record(signal.accepted_ns - signal.due_ns)
            from_emitted.record(signal.accepted_ns - signal.emitted_ns)
    return from_due, from_emitted


class OrderLife(msgspec.Struct, frozen=True, kw_only=True):
    """One order at the exchange, ns UTC."""

    placed_ns: int
    ended_ns: int | None = None  # filled, cancelled or expired; None: it still works

    def works_at(self, time_ns: int) -> bool:
        """Tell whether it was on the book at a moment."""
        return self.placed_ns <= time_ns and (self.ended_ns is None or self.ended_ns > time_ns)


class Halt(msgspec.Struct, frozen=True, kw_only=True):
    """One round of the kill switch, ns UTC."""

    sent_ns: int  # the operator's command leaves
    halted_ns: int  # the executor has read it
    answered_ns: int  # the operator has the answer
    resumed_ns: int  # the executor has read the command to go on


class HaltOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one halt came to at the exchange. Durations from the operator's command, ns."""

    to_executor_ns: int
    to_last_order_ns: int  # until the last order was placed there; 0: none was after the command
    to_last_cancel_ns: int  # until the last working order was taken back there
    to_answer_ns: int
    working_count: int  # orders that worked when the executor halted
    left_count: int  # of all orders, those that still worked when it resumed
    late_count: int  # orders placed after the last working one was taken back

    @property
    def to_quiet_ns(self) -> int:
        """Until the last order was out and every cancel was there."""
        return max(self.to_last_order_ns, self.to_last_cancel_ns)


def find_outcome(halt: Halt, orders: Sequence[OrderLife]) -> HaltOutcome:
    """Look up in the ledger what a halt did."""
    ended = [
        order.ended_ns
        for order in orders
        if order.works_at(halt.halted_ns) and order.ended_ns is not None and order.ended_ns < halt.resumed_ns
    ]
    last_cancel_ns = max(ended, default=halt.halted_ns)
    placed = [order.placed_ns for order in orders if halt.sent_ns <= order.placed_ns < halt.resumed_ns]
    return HaltOutcome(
        to_executor_ns=halt.halted_ns - halt.sent_ns,
        to_last_order_ns=max(placed, default=halt.sent_ns) - halt.sent_ns,
        to_last_cancel_ns=last_cancel_ns - halt.sent_ns,
        to_answer_ns=halt.answered_ns - halt.sent_ns,
        working_count=sum(order.works_at(halt.halted_ns) for order in orders),
        left_count=sum(order.works_at(halt.resumed_ns) for order in orders),
        late_count=sum(placed_ns > last_cancel_ns for placed_ns in placed),
    )
