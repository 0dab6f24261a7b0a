"""The deciding half of the executor: messages and a time in; journal entries, requests and events out.

Pure but for its ports: a journal that makes entries durable, a publisher that numbers events, a source of references.
The order of every step is the promise: decide, make durable, then act and tell.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from common.errors import FatalError
from common.events.base import DRAFT, Message
from common.events.trading import (
    Acknowledgement,
    CancelRequested,
    OrderStatus,
    Signal,
    SignalAcknowledged,
    StateReported,
    StateRequested,
)
from common.events.venue import (
    AnswerOutcome,
    CancelOrder,
    ExecutionReported,
    ExecutionsResent,
    OrderAnswered,
    QueryOrder,
    RequestRefused,
    ResendExecutions,
    SubmitOrder,
)
from common.ids import make_client_order_id
from common.instruments import InstrumentTable
from common.metrics import Latency
from executor import requests
from executor.book import Book, SignalRecord
from executor.config import ExecutorConfig
from executor.digest import digest_of
from executor.entries import (
    CancelIntended,
    CancelRefused,
    Entry,
    ExecutionTaken,
    OrderAbandoned,
    OrderAnswerTaken,
    OrderIntended,
    OrderUnanswered,
    Outcome,
    SignalConflicted,
    SignalDenied,
)
from executor.gate import RiskGate
from executor.intake import UnreadableSignal
from executor.limits import RiskLimits
from executor.orders import Order
from executor.request_line import Request, RequestLine
from executor.risk import FindReference, Reason, Refusal

LATENCY_NAMES = ("tick_to_signal", "signal_to_executor", "executor_to_ack", "tick_to_ack")


class Journal(Protocol):
    """What makes facts durable."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries; when this returns they survive the death of the process.

        Raises:
            FatalError: They could not be written: nothing may be sent any more.
        """
        ...

    def replay(self) -> Iterable[Entry]:
        """Every entry since the beginning, in order."""
        ...


class Executor:
    """Decides what becomes of every signal."""

    def __init__(
        self,
        *,
        epoch: int,
        config: ExecutorConfig,
        instruments: InstrumentTable,
        journal: Journal,
        find_reference: FindReference,
        send: Callable[[Request], None],
        publish: Callable[[Message], None],
    ) -> None:
        """Rebuild what is known from the journal. `recover` then asks the exchange for the rest."""
        self.book = Book()
        self.counts: Counter[str] = Counter()
        self.latencies = {name: Latency() for name in LATENCY_NAMES}
        self.line = RequestLine(
            timeout_ms=config.request_timeout_ms,
            pause_ms=config.retry_pause_ms,
            pause_ms_max=config.retry_pause_ms_max,
        )
        self.gate = RiskGate(config, instruments, find_reference)
        self._epoch = epoch
        self._journal = journal
        self._find_reference = find_reference
        self._send = send
        self._publish = publish
        self._request_number = 0
        self._is_resend_asked = False
        self._newest_ahead = 0
        self._is_recovered = False
        for entry in journal.replay():
            self.book.apply(entry)
            self.counts["journal_entries_replayed"] += 1

    @property
    def is_recovered(self) -> bool:
        """Tell whether everything that was open at the start has been settled with the exchange."""
        return self._is_recovered

    def recover(self, now_ns: int) -> None:
        """Ask the exchange for every order whose answer is missing, and for the executions that were missed."""
        for order in self.book.working_orders():
            if order.is_unanswered:
                self.line.push(requests.query(order, self._next_request_id(), now_ns))
            elif order.status is OrderStatus.PENDING_CANCEL:
                self.line.push(requests.cancel(order, self._next_request_id(), now_ns))
        self.ask_for_executions(now_ns)
        self._pump(now_ns)

    # Strategies

    def on_signal(self, signal: Signal, now_ns: int) -> None:
        """Take a signal: act on a new one, answer again for a known one, refuse another body under a known id."""
        self.counts["signals_received"] += 1
        record = self.book.signals.get(signal.signal_id)
        if record is not None:
            self._on_known_signal(record, signal, digest_of(signal), now_ns)
            return
        refusal = self._find_refusal(signal, now_ns)
        if refusal is not None:
            self._deny(signal, digest_of(signal), refusal, now_ns)
            return
        order_id = make_client_order_id(signal.signal_id)
        entry = OrderIntended(now_ns, signal, order_id)
        self._journal.append([entry])
        self.line.push(requests.submit(Order(client_order_id=order_id, signal=signal), self._next_request_id(), now_ns))
        # The intent is durable, so the order leaves before anything else: nobody needs the rest as soon.
        self._pump(now_ns)
        self._publish_all(self.book.apply(entry))
        if signal.trigger_timestamp_ns is not None:
            self.latencies["tick_to_signal"].record(signal.timestamp_ns - signal.trigger_timestamp_ns)
            self.latencies["signal_to_executor"].record(now_ns - signal.timestamp_ns)

    def on_unreadable_signal(self, unreadable: UnreadableSignal, now_ns: int) -> None:
        """Refuse a signal that has an id but not the fields of a signal."""
        self.counts["signals_received"] += 1
        record = self.book.signals.get(unreadable.signal_id)
        if record is not None:
            self._on_known_signal(record, unreadable, unreadable.digest, now_ns)
            return
        self._deny(unreadable, unreadable.digest, Refusal(Reason.MALFORMED, unreadable.detail), now_ns)

    def on_cancel(self, request: CancelRequested, now_ns: int) -> None:
        """Cancel the order of a signal, if it is still working and belongs to who asks."""
        record = self.book.signals.get(request.signal_id)
        order = None if record is None else self.book.orders.get(record.client_order_id or "")
        if order is None or order.is_final or order.is_cancel_wanted or order.signal.strategy != request.strategy:
            self.counts["cancels_without_order"] += 1
            return
        self.counts["cancels_received"] += 1
        self._learn(CancelIntended(now_ns, order.client_order_id))
        if not order.is_unanswered:
            self.line.push(requests.cancel(order, self._next_request_id(), now_ns))
        self._pump(now_ns)

    def on_state_request(self, request: StateRequested, now_ns: int) -> None:
        """Tell a strategy where it stands."""
        self._publish(
            StateReported(
                **DRAFT,
                timestamp_ns=now_ns,
                strategy=request.strategy,
                request_id=request.request_id,
                open_orders=self.book.open_orders_of(request.strategy),
                positions=self.book.positions_of(request.strategy),
            )
        )

    # Exchange

    def on_answer(self, answer: Message, now_ns: int) -> None:
        """Take an answer of the exchange."""
        if isinstance(answer, RequestRefused):
            # It could not read what we sent: a version mismatch, which waiting cannot mend but a person can.
            self.counts["requests_refused"] += 1
            return
        if not isinstance(answer, OrderAnswered | ExecutionsResent):
            self.counts["answers_unexpected"] += 1
            return
        request = self.line.match(answer.request_id)
        if request is None:
            self.counts["answers_late"] += 1
            return
        if isinstance(request, ResendExecutions) and isinstance(answer, ExecutionsResent):
            self._on_resent(request, answer, now_ns)
        elif isinstance(request, ResendExecutions) or isinstance(answer, ExecutionsResent):
            # The answer to another kind of question is none.
            self.counts["answers_unexpected"] += 1
            self._on_unanswered(request, now_ns)
        elif isinstance(request, CancelOrder):
            self._on_cancel_answer(request, answer, now_ns)
        elif answer.outcome is AnswerOutcome.NOT_FOUND:
            self._on_not_found(request.client_order_id, now_ns)
        else:
            self._on_order_answer(request, answer, now_ns)
        self._pump(now_ns)

    def on_execution(self, report: ExecutionReported, now_ns: int) -> None:
        """Take an execution report. One that does not follow the last one waits until the hole is filled."""
        expected = self.book.last_execution_number + 1
        if report.execution_number < expected:
            self.counts["executions_repeated"] += 1
        elif report.execution_number > expected:
            self.counts["executions_ahead"] += 1
            self._newest_ahead = max(self._newest_ahead, report.execution_number)
            self.ask_for_executions(now_ns)
        else:
            self._take_execution(report, now_ns)

    def ask_for_executions(self, now_ns: int) -> None:
        """Ask for every execution after the last one known; once at a time."""
        if self._is_resend_asked:
            return
        self._is_resend_asked = True
        self.line.push(requests.resend(self.book.last_execution_number + 1, self._next_request_id(), now_ns))
        self._pump(now_ns)

    def on_time(self, now_ns: int) -> None:
        """Let time pass: a request without an answer is asked about, never sent blindly again."""
        request = self.line.take_unanswered(now_ns)
        if request is not None:
            self.counts["requests_unanswered"] += 1
            self._on_unanswered(request, now_ns)
        self._pump(now_ns)

    def counters(self) -> dict[str, int]:
        """Everything counted so far, by name."""
        return {
            **self.counts,
            "orders_working": len(self.book.working_orders()),
            "requests_waiting": len(self.line),
            "executions_foreign": self.book.foreign_executions,
            "last_execution_number": self.book.last_execution_number,
        }

    # Deciding

    def set_limits(self, limits: RiskLimits) -> None:
        """Take other limits, from the next signal on."""
        self.gate.set_limits(limits)

    def _find_refusal(self, signal: Signal, now_ns: int) -> Refusal | None:
        return self.gate.find_refusal(signal, self.book.exposure, waiting_count=len(self.line), now_ns=now_ns)

    def _deny(self, signal: Signal | UnreadableSignal, digest: str, refusal: Refusal, now_ns: int) -> None:
        self.counts["signals_denied"] += 1
        self.counts[f"denied_{refusal.reason.value.lower()}"] += 1
        self._learn(
            SignalDenied(
                timestamp_ns=now_ns,
                signal_id=signal.signal_id,
                strategy=signal.strategy,
                exchange=signal.exchange,
                symbol=signal.symbol,
                digest=digest,
                reason=refusal.reason.value,
                detail=refusal.detail,
                signal=signal if isinstance(signal, Signal) else None,
            )
        )

    def _on_known_signal(
        self, record: SignalRecord, signal: Signal | UnreadableSignal, digest: str, now_ns: int
    ) -> None:
        if digest != record.digest:
            self.counts["signals_in_conflict"] += 1
            self._learn(SignalConflicted(timestamp_ns=now_ns, signal_id=record.signal_id, digest=digest))
            detail = "this signal_id was used before with another body; the first one stands"
            conflict = Outcome(Acknowledgement.CONFLICT, Reason.CONFLICT.value, detail)
            # To who asked: a strategy that takes another one's id must not end the other one's signal.
            asker = SignalRecord(
                signal_id=signal.signal_id,
                strategy=signal.strategy,
                exchange=signal.exchange,
                symbol=signal.symbol,
                digest=digest,
            )
            self._publish(self.book.acknowledgement(asker, conflict, now_ns))
            return
        self.counts["signals_repeated"] += 1
        if record.outcome is not None:
            self._publish(self.book.acknowledgement(record, record.outcome, now_ns))

    def _on_order_answer(self, request: SubmitOrder | QueryOrder, answer: OrderAnswered, now_ns: int) -> None:
        order = self.book.orders[request.client_order_id]
        if isinstance(request, SubmitOrder):
            self._record_ack(order.signal, now_ns)
        was_unanswered = order.is_unanswered
        self._learn(
            OrderAnswerTaken(
                timestamp_ns=now_ns,
                client_order_id=request.client_order_id,
                outcome=_submission_outcome(request, answer),
                status=answer.status,
                venue_order_id=answer.venue_order_id,
                reason=answer.reason,
            )
        )
        if was_unanswered:
            self._on_first_word(request.client_order_id, now_ns)

    def _on_first_word(self, client_order_id: str, now_ns: int) -> None:
        """The exchange has told of an order, by an answer or an execution: a cancel that waited for that goes now."""
        order = self.book.orders[client_order_id]
        self.counts["orders_rejected" if order.status is OrderStatus.REJECTED else "orders_accepted"] += 1
        if order.status is OrderStatus.PENDING_CANCEL:
            self.line.push(requests.cancel(order, self._next_request_id(), now_ns))

    def _on_cancel_answer(self, request: CancelOrder, answer: OrderAnswered, now_ns: int) -> None:
        if answer.outcome is not AnswerOutcome.ACCEPTED:
            reason = answer.reason or answer.outcome.value.upper()
            self._learn(CancelRefused(now_ns, request.client_order_id, reason))

    def _on_not_found(self, client_order_id: str, now_ns: int) -> None:
        """The exchange never had the order: send it, under the same id, or let it go if its time is over."""
        order = self.book.orders[client_order_id]
        if not order.is_unanswered:
            return
        if now_ns < order.signal.expires_ns:
            self.counts["orders_sent_again"] += 1
            self.line.push_first(requests.submit(order, self._next_request_id(), now_ns))
        elif self.line.sent_ns < order.signal.expires_ns:
            # It may have looked before the order came, and taken it in time. After the expiry it takes it no more.
            self.line.push_first(requests.query(order, self._next_request_id(), now_ns))
        else:
            self._abandon(order, now_ns)

    def _on_unanswered(self, request: Request, now_ns: int) -> None:
        if isinstance(request, ResendExecutions):
            self._is_resend_asked = False
            self.ask_for_executions(now_ns)
            return
        order = self.book.orders[request.client_order_id]
        if isinstance(request, CancelOrder):
            if not order.is_final:
                self.line.push_first(requests.cancel(order, self._next_request_id(), now_ns))
            return
        if order.status is OrderStatus.PENDING_NEW:
            self._learn(OrderUnanswered(now_ns, order.client_order_id))
        # Also for an order whose execution came first: the answer to the query is then only counted.
        if order.is_unanswered:
            self.line.push_first(requests.query(order, self._next_request_id(), now_ns))

    def _on_resent(self, request: ResendExecutions, answer: ExecutionsResent, now_ns: int) -> None:
        self._is_resend_asked = False
        if answer.last_number < request.from_number - 1:
            raise FatalError(
                f"executions: expected an exchange that has made {request.from_number - 1} or more, was "
                f"{answer.last_number}; its ledger is not the one of this journal: restore it, or start both anew"
            )
        for report in answer.executions:
            if report.execution_number == self.book.last_execution_number + 1:
                self._take_execution(report, now_ns)
        # A report that came while the answer was on its way was put off, and may be newer than the answer.
        newest = max(answer.last_number if answer.executions else 0, self._newest_ahead)
        self._newest_ahead = 0
        if newest > self.book.last_execution_number:
            self.ask_for_executions(now_ns)

    def _take_execution(self, report: ExecutionReported, now_ns: int) -> None:
        reference = self._find_reference(report)
        self.counts["executions"] += 1
        order = self.book.orders.get(report.client_order_id)
        was_unanswered = order is not None and order.is_unanswered
        if report.price is not None:
            self.counts["fills"] += 1
        self._learn(ExecutionTaken(now_ns, report, None if reference is None else reference.mark()))
        if was_unanswered:
            self._on_first_word(report.client_order_id, now_ns)

    # Doing

    def _learn(self, entry: Entry) -> None:
        """Make a fact durable, then tell of it."""
        # Known first: what contradicts the book raises here, and does not become a journal that nobody can replay.
        events = self.book.apply(entry)
        self._journal.append([entry])
        self._publish_all(events)

    def _publish_all(self, events: Iterable[Message]) -> None:
        for event in events:
            if isinstance(event, SignalAcknowledged):
                self.counts["signals_acknowledged"] += 1
            self._publish(event)

    def _pump(self, now_ns: int) -> None:
        """Send the next request, unless one is in flight. A signal that expired in the queue is let go, not sent."""
        while (request := self.line.take_sendable(now_ns)) is not None:
            if isinstance(request, SubmitOrder) and now_ns >= request.expires_ns:
                self.line.drop_in_flight()
                self._abandon(self.book.orders[request.client_order_id], now_ns)
                continue
            self._send(request)
            return
        self._is_recovered = self._is_recovered or not len(self.line)

    def _abandon(self, order: Order, now_ns: int) -> None:
        self.counts["orders_abandoned"] += 1
        self._learn(OrderAbandoned(now_ns, order.client_order_id, Reason.EXPIRED.value))

    def _next_request_id(self) -> str:
        self._request_number += 1
        return f"{self._epoch}-{self._request_number}"

    def _record_ack(self, signal: Signal, now_ns: int) -> None:
        if signal.trigger_timestamp_ns is not None:
            self.latencies["executor_to_ack"].record(now_ns - self.line.sent_ns)
            self.latencies["tick_to_ack"].record(now_ns - signal.trigger_timestamp_ns)


def _submission_outcome(request: Request, answer: OrderAnswered) -> AnswerOutcome:
    """A query that finds an order says what a repeated submission would have said."""
    is_found = isinstance(request, QueryOrder) and answer.outcome is AnswerOutcome.ACCEPTED
    return AnswerOutcome.EXISTS if is_found else answer.outcome
