"""The line between clients and the order desk, as a fault plan has it: what is lost, late, repeated or out of order.

It is a deciding module: the service and the simulation hand it requests and reports, and send what comes out of it.
"""

import heapq
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol

from common.events.base import Message
from common.events.venue import (
    AnswerOutcome,
    CancelOrder,
    ExecutionReported,
    OrderAnswered,
    QueryOrder,
    ReplaceOrder,
    SubmitOrder,
)
from exchange.answers import make_answer
from exchange.simulated.faults import FaultName, FaultPlan
from exchange.simulated.forgetting import ClientIdMemory


class CrashInjected(BaseException):  # nobody may handle it as an error: the process dies
    """The plan has the process die here, as by kill -9."""


class Desk(Protocol):
    """What the line needs of an order desk."""

    def handle(self, request: Any, now_ns: int) -> Message:
        """Answer one request."""
        ...

    def advance(self, now_ns: int) -> list[ExecutionReported]:
        """Let time pass."""
        ...


class Delivery(NamedTuple):
    """What leaves: an answer to whoever asked, or a report to everyone, whose `asker` is None."""

    asker: Hashable
    message: Message


class FaultyLine:
    """Holds what is on its way. Take with `take_due` after each call and when time has passed."""

    def __init__(self, desk: Desk, plan: FaultPlan, memory: ClientIdMemory, entry_latency_ns: int) -> None:
        self._desk = desk
        self._plan = plan
        self._memory = memory
        self._entry_latency_ns = entry_latency_ns
        self._number = 0
        self._requests: list[tuple[int, int, Hashable, Message]] = []
        self._waiting: list[tuple[int, int, Delivery]] = []
        self._answers_after_fill: dict[str, list[tuple[int, int, Delivery]]] = {}
        self._ready: list[Delivery] = []
        self._swapped: list[tuple[int, Delivery]] = []
        self._disconnected_until_ns = 0

    def receive(self, asker: Hashable, request: Message, now_ns: int) -> None:
        """Take a request.

        Raises:
            CrashInjected: The process dies.
        """
        if (fault := self._plan.occurs(FaultName.SLOW)) is not None:
            heapq.heappush(self._requests, (now_ns + fault.duration_ns, self._next_number(), asker, request))
        else:
            self._handle(asker, request, now_ns)

    def report(self, executions: Sequence[ExecutionReported], now_ns: int) -> None:
        """Take execution reports that are durable."""
        for execution in executions:
            self._report(Delivery(None, self._memory.outward(execution)), now_ns)
            self._release_answers(execution.client_order_id.partition("#")[0])

    def take_due(self, now_ns: int) -> list[Delivery]:
        """What leaves now, in this order.

        Raises:
            CrashInjected: The process dies.
        """
        while self._requests and self._requests[0][0] <= now_ns:
            _, _, asker, request = heapq.heappop(self._requests)
            self._handle(asker, request, now_ns)
        while self._waiting and self._waiting[0][0] <= now_ns:
            self._ready.append(heapq.heappop(self._waiting)[2])
        self._ready += [delivery for due_ns, delivery in self._swapped if due_ns <= now_ns]
        self._swapped = [(due_ns, delivery) for due_ns, delivery in self._swapped if due_ns > now_ns]
        ready, self._ready = self._ready, []
        return [] if now_ns < self._disconnected_until_ns else ready

    def _handle(self, asker: Hashable, request: Message, now_ns: int) -> None:
        is_order = isinstance(request, SubmitOrder)
        if is_order and self._plan.occurs(FaultName.CRASH_BEFORE_ACCEPT):
            raise CrashInjected
        if (fault := self._plan.occurs(FaultName.DISCONNECT)) is not None:
            self._disconnected_until_ns = now_ns + fault.duration_ns
        reply = self._reply(request, now_ns)
        if is_order and self._plan.occurs(FaultName.CRASH_AFTER_ACCEPT):
            raise CrashInjected
        if is_order and self._plan.occurs(FaultName.FILL_BEFORE_ANSWER):
            self.report(self._desk.advance(now_ns + self._entry_latency_ns), now_ns)
        self._answer(Delivery(asker, reply), now_ns)

    def _reply(self, request: Message, now_ns: int) -> Message:
        if isinstance(request, SubmitOrder | ReplaceOrder | CancelOrder | QueryOrder) and self._plan.occurs(
            FaultName.THROTTLE
        ):
            return make_answer(request, now_ns, AnswerOutcome.THROTTLED, reason="FAULT_INJECTED")
        skew = self._plan.occurs(FaultName.CLOCK_SKEW)
        venue_ns = now_ns + (0 if skew is None else skew.duration_ns)
        reply = self._desk.handle(self._memory.inward(request, venue_ns), venue_ns)
        return self._memory.outward(self._memory.weighed(request, reply, venue_ns))

    def _answer(self, delivery: Delivery, now_ns: int) -> None:
        if self._plan.occurs(FaultName.ANSWER_LOST):
            return
        copies = 2 if self._plan.occurs(FaultName.ANSWER_DUPLICATED) else 1
        late = self._plan.occurs(FaultName.ANSWER_LATE)
        due_ns = now_ns + (0 if late is None else late.duration_ns)
        waits = self._waits_for_fill(delivery)
        for _ in range(copies):
            if waits is not None and isinstance(delivery.message, OrderAnswered):
                held = (now_ns + waits, self._next_number(), delivery)
                self._answers_after_fill.setdefault(delivery.message.client_order_id, []).append(held)
                heapq.heappush(self._waiting, held)
            elif late is not None:
                heapq.heappush(self._waiting, (due_ns, self._next_number(), delivery))
            else:
                self._ready.append(delivery)

    def _waits_for_fill(self, delivery: Delivery) -> int | None:
        answer = delivery.message
        is_new = isinstance(answer, OrderAnswered) and answer.outcome is AnswerOutcome.ACCEPTED
        fault = self._plan.occurs(FaultName.ANSWER_AFTER_FILL) if is_new else None
        return None if fault is None else fault.duration_ns

    def _release_answers(self, client_order_id: str) -> None:
        for held in self._answers_after_fill.pop(client_order_id, []):
            if held in self._waiting:
                self._waiting.remove(held)
                heapq.heapify(self._waiting)
                self._ready.append(held[2])

    def _report(self, delivery: Delivery, now_ns: int) -> None:
        if now_ns < self._disconnected_until_ns:
            return
        fault = self._plan.occurs(FaultName.EXECUTIONS_REORDERED)
        copies = 2 if self._plan.occurs(FaultName.EXECUTION_DUPLICATED) else 1
        if fault is not None:
            self._swapped += copies * [(now_ns + fault.duration_ns, delivery)]
            return
        self._ready += copies * [delivery]
        self._ready += [swapped for _, swapped in self._swapped]
        self._swapped.clear()

    def _next_number(self) -> int:
        self._number += 1
        return self._number
