"""The executor's side of the dialogue with the exchange: one question at a time, and what follows from the answers.

No answer is no answer: it is asked about, never taken for a refusal, and no order is sent blindly again.
"""

from collections.abc import Callable

from common.clock import NS_PER_MS
from common.errors import FatalError
from common.events.base import Message
from common.events.risk import TradingState
from common.events.trading import OrderStatus, Signal
from common.events.venue import (
    AccountReported,
    AnswerOutcome,
    CancelAllOrders,
    CancelOrder,
    ExecutionReported,
    ExecutionsResent,
    OrderAnswered,
    OrdersCancelled,
    QueryAccount,
    QueryOrder,
    ReplaceOrder,
    RequestRefused,
    ResendExecutions,
    SubmitOrder,
)
from executor.account_watch import AccountWatch
from executor.booking import Booking
from executor.circuit_breaker import ExchangeCircuit
from executor.config import ExecutorConfig
from executor.entries import (
    AmendRefused,
    CancelRefused,
    OrderAbandoned,
    OrderAnswerTaken,
    OrderUnanswered,
)
from executor.facts import Facts
from executor.orders import Order
from executor.request_line import RequestLine
from executor.requests import VOID_NS, Request, RequestWriter
from executor.risk import FindReference, Reason

FENCED = "FENCED"


class ExchangeDialogue:
    """Requests, answers, executions, and the account that must agree with ours."""

    def __init__(
        self,
        facts: Facts,
        config: ExecutorConfig,
        epoch: int,
        find_reference: FindReference,
        send: Callable[[Request], None],
        record_ack: Callable[[Signal, int], None],
    ) -> None:
        """Prepare to ask; `recover` asks first. `record_ack` hears when an order has its answer."""
        self.line = RequestLine(
            timeout_ms=config.request_timeout_ms,
            pause_ms=config.retry_pause_ms,
            pause_ms_max=config.retry_pause_ms_max,
        )
        self.circuit = ExchangeCircuit(config.circuit, facts.publish)
        self._booking = Booking(facts)
        self.account = AccountWatch(facts, self._booking, self._on_first_word)
        self._never_sent: set[str] = set()
        self._throttled: set[str] = set()  # sent, and the exchange said that it did nothing
        self._asked_ns: int | None = None  # when the oldest question without an answer was asked
        self._facts = facts
        self._book = facts.book
        self._counts = facts.counts
        self._requests = RequestWriter("executor", epoch)
        self._find_reference = find_reference
        self._send = send
        self._record_ack = record_ack
        self._account_interval_ns = config.reconcile_interval_ms * NS_PER_MS
        self._next_account_ns = 0
        self._is_account_asked = False
        self._is_resend_asked = False
        self._newest_ahead = 0

    # Asking

    def recover(self, now_ns: int) -> None:
        """Ask for every order whose answer is missing, for the executions that were missed, then for the account."""
        for order in self._book.working_orders():
            if order.is_unanswered:
                self.line.push(self._requests.query(order, now_ns))
            elif order.status is OrderStatus.PENDING_CANCEL:
                self.line.push(self._requests.cancel(order, now_ns))
            elif order.status is OrderStatus.PENDING_REPLACE:
                self.line.push(self._requests.replace(order, now_ns))
        self.ask_for_executions(now_ns)
        self._ask_for_account(now_ns)
        self.pump(now_ns)

    def submit(self, order: Order, order_count: int, now_ns: int) -> None:
        """Place an order whose intent is durable; it leaves at once unless a request is in flight."""
        self._never_sent.add(order.client_order_id)
        self.line.push(self._requests.submit(order, order_count, now_ns))
        self.pump(now_ns)

    def cancel(self, order: Order, now_ns: int) -> None:
        """Take an order back, once the exchange has said that it has it."""
        if not order.is_unanswered:
            self.line.push(self._requests.cancel(order, now_ns))
        self.pump(now_ns)

    def cancel_first(self, orders: list[Order], now_ns: int) -> None:
        """Take orders back before anything else that waits is sent."""
        for order in reversed(orders):
            if not order.is_unanswered:
                self.line.push_first(self._requests.cancel(order, now_ns))
        self.pump(now_ns)

    def cancel_all(self, now_ns: int) -> None:
        """Have the exchange take everything back by one request, before anything else that waits is sent."""
        self.line.push_first(self._requests.cancel_all(now_ns))
        self.pump(now_ns)

    def replace(self, order: Order, now_ns: int) -> None:
        """Ask for the terms that were decided on."""
        self.line.push(self._requests.replace(order, now_ns))
        self.pump(now_ns)

    def ask_for_executions(self, now_ns: int) -> None:
        """Ask for every execution after the last one known; once at a time."""
        if self._is_resend_asked:
            return
        self._is_resend_asked = True
        self.line.push(self._requests.resend(self._book.last_execution_number + 1, now_ns))
        self.pump(now_ns)

    def on_time(self, now_ns: int) -> None:
        """Let time pass: a request without an answer is asked about; an idle line asks how the account stands."""
        request = self.line.take_unanswered(now_ns)
        if request is not None:
            self._counts["requests_unanswered"] += 1
            self.circuit.on_failure(now_ns)
            self._on_unanswered(request, now_ns)
        if self.account.is_reconciled and now_ns >= self._next_account_ns and not len(self.line):
            self._ask_for_account(now_ns)
        self.pump(now_ns)

    def pump(self, now_ns: int) -> None:
        """Send the next request, unless one is in flight or the circuit is open.

        A submission that has waited is looked at again: what has expired or was halted meanwhile is let go, not sent.
        """
        while self.line.has_sendable(now_ns) and self.circuit.may_pass(now_ns):
            request = self.line.take_sendable(now_ns)
            if isinstance(request, SubmitOrder):
                reason = self._find_stop(request, now_ns)
                if reason is not None:
                    self.line.drop_in_flight()
                    self.circuit.on_untried()
                    self._let_go(self._book.order(request.client_order_id), reason, now_ns)
                    continue
                self._never_sent.discard(request.client_order_id)
                self._throttled.discard(request.client_order_id)
            if request is not None:
                self._asked_ns = now_ns if self._asked_ns is None else self._asked_ns
                self._send(request)
            return

    def silent_ns(self, now_ns: int) -> int:
        """How long the exchange has let a question wait, all repeats included; 0 when none waits."""
        return 0 if self._asked_ns is None else now_ns - self._asked_ns

    def _find_stop(self, request: SubmitOrder, now_ns: int) -> Reason | None:
        if request.expires_ns == VOID_NS:
            return None
        if now_ns >= request.expires_ns:
            return Reason.EXPIRED
        order_id = request.client_order_id
        # None: decided on in this very moment. What was never sent is open, so the archive need not be asked.
        is_held = order_id in self._never_sent
        order = self._book.orders.get(order_id) if is_held else self._book.find_order(order_id)
        is_over = order is not None and (not order.is_unanswered or self._is_unwanted(order))
        return Reason.CANCELLED_BEFORE_SENT if is_over else None

    def _is_unwanted(self, order: Order) -> bool:
        """Cancelled, or halted, before the exchange is known to have it."""
        signal = order.signal
        state = self._book.kill_switch.state(signal.strategy, signal.exchange, signal.symbol)
        return order.is_cancel_wanted or state is TradingState.HALTED

    def _let_go(self, order: Order, reason: Reason, now_ns: int) -> None:
        """Nothing was sent; or its id is used up, so that nothing can come of it; or a copy may have come in time."""
        is_unsent = order.client_order_id in self._never_sent
        self._never_sent.discard(order.client_order_id)
        if not order.is_unanswered:
            return  # an execution has told of it meanwhile
        if is_unsent:
            self._abandon(order, reason, now_ns)
        elif now_ns < order.signal.expires_ns:
            self.line.push_first(self._requests.void(order, self._book.orders_intended, now_ns))
        else:
            self.line.push_first(self._requests.query(order, now_ns))

    # Answers

    def on_answer(self, answer: Message, now_ns: int) -> None:
        """Take an answer of the exchange.

        Raises:
            FatalError: The exchange has heard of a newer life of the executor: this one must do nothing more.
        """
        if isinstance(answer, RequestRefused):
            self._on_refused(answer)
            return
        if not isinstance(answer, OrderAnswered | ExecutionsResent | AccountReported | OrdersCancelled):
            self._counts["answers_unexpected"] += 1
            return
        request = self.line.match(answer.request_id)
        if request is None:
            self._counts["answers_late"] += 1
            return
        self._asked_ns = None
        self.circuit.on_success(now_ns)
        if isinstance(answer, OrderAnswered) and answer.outcome is AnswerOutcome.FENCED:
            raise _fenced()
        self._on_matched(request, answer, now_ns)
        self.pump(now_ns)

    def _on_matched(
        self,
        request: Request,
        answer: OrderAnswered | ExecutionsResent | AccountReported | OrdersCancelled,
        now_ns: int,
    ) -> None:
        match request, answer:
            case ResendExecutions(), ExecutionsResent():
                self._on_resent(request, answer, now_ns)
            case QueryAccount(), AccountReported():
                self._on_account(request, answer, now_ns)
            case CancelAllOrders(), OrdersCancelled():
                self._counts["orders_cancelled_at_once"] += answer.count
            case ((SubmitOrder() | QueryOrder() | CancelOrder() | ReplaceOrder()), OrderAnswered()):
                self._on_order_word(request, answer, now_ns)
            case _:
                # The answer to another kind of question is none.
                self._counts["answers_unexpected"] += 1
                self._on_unanswered(request, now_ns)

    def _on_order_word(
        self, request: SubmitOrder | QueryOrder | CancelOrder | ReplaceOrder, answer: OrderAnswered, now_ns: int
    ) -> None:
        order = self._book.order(request.client_order_id)
        if answer.outcome is AnswerOutcome.THROTTLED:
            self._counts["requests_throttled"] += 1
            self.line.pause(now_ns)
            if isinstance(request, SubmitOrder) and order.status is OrderStatus.PENDING_NEW:
                self._throttled.add(order.client_order_id)
            self._ask_again(request, now_ns)
        elif isinstance(request, CancelOrder):
            self._on_cancel_answer(request, answer, now_ns)
        elif isinstance(request, ReplaceOrder):
            self._on_replace_answer(request, answer, now_ns)
        elif answer.outcome is AnswerOutcome.NOT_FOUND:
            self._on_not_found(order, now_ns)
        elif answer.outcome is AnswerOutcome.UNDECIDED:
            self._on_undecided(order, now_ns)
        else:
            self._on_order_answer(request, answer, now_ns)

    def _on_refused(self, answer: RequestRefused) -> None:
        # One that is meant for an older life of ours says nothing about this one.
        if answer.reason == FENCED and self.line.match(answer.request_id or "") is not None:
            raise _fenced()
        # It could not read what we sent: a version mismatch, which waiting cannot mend but a person can.
        self._counts["requests_refused"] += 1

    def _on_order_answer(self, request: SubmitOrder | QueryOrder, answer: OrderAnswered, now_ns: int) -> None:
        order = self._book.order(request.client_order_id)
        if isinstance(request, SubmitOrder):
            self._record_ack(order.signal, now_ns)
        was_unanswered = order.is_unanswered
        self._facts.learn(
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
        order = self._book.order(client_order_id)
        self._counts["orders_rejected" if order.status is OrderStatus.REJECTED else "orders_accepted"] += 1
        if order.status is OrderStatus.PENDING_CANCEL:
            self.line.push(self._requests.cancel(order, now_ns))

    def _on_cancel_answer(self, request: CancelOrder, answer: OrderAnswered, now_ns: int) -> None:
        if answer.outcome is not AnswerOutcome.ACCEPTED:
            reason = answer.reason or answer.outcome.value.upper()
            self._facts.learn(CancelRefused(now_ns, request.client_order_id, reason))

    def _on_replace_answer(self, request: ReplaceOrder, answer: OrderAnswered, now_ns: int) -> None:
        """Agreement comes as a numbered execution, which is never lost; a refusal only as this answer."""
        replacement = self._book.order(request.client_order_id).replacement
        if answer.outcome is AnswerOutcome.ACCEPTED or replacement is None:
            return
        if replacement.replace_id == request.replace_id:
            reason = answer.reason or answer.outcome.value.upper()
            self._facts.learn(AmendRefused(now_ns, request.client_order_id, reason))

    def _on_not_found(self, order: Order, now_ns: int) -> None:
        """The exchange never had the order: send it, under the same id, or let it go if its time is over."""
        if not order.is_unanswered:
            return
        if now_ns < order.signal.expires_ns and self._is_unwanted(order):
            self.line.push_first(self._requests.void(order, self._book.orders_intended, now_ns))
        elif now_ns < order.signal.expires_ns:
            self._counts["orders_sent_again"] += 1
            self.line.push_first(self._requests.submit(order, self._book.orders_intended, now_ns))
        elif self.line.sent_ns < order.signal.expires_ns:
            # It may have looked before the order came, and taken it in time. After the expiry it takes it no more.
            self.line.push_first(self._requests.query(order, now_ns))
        else:
            self._abandon(order, Reason.EXPIRED, now_ns)

    def _on_undecided(self, order: Order, now_ns: int) -> None:
        """The exchange may have it and not know: a repeat could be a second order. Its account tells, or a person."""
        if order.client_order_id in self._throttled:
            self._on_not_found(order, now_ns)
        elif order.is_unanswered:
            self._counts["orders_undecided"] += 1
            if order.status is OrderStatus.PENDING_NEW:
                self._facts.learn(OrderUnanswered(now_ns, order.client_order_id))
            self.account.undecided.add(order.client_order_id)
            self._ask_for_account(now_ns)

    def _on_unanswered(self, request: Request, now_ns: int) -> None:
        if isinstance(request, SubmitOrder):
            order = self._book.order(request.client_order_id)
            if order.status is OrderStatus.PENDING_NEW:
                self._facts.learn(OrderUnanswered(now_ns, order.client_order_id))
        self._ask_again(request, now_ns)

    def _ask_again(self, request: Request, now_ns: int) -> None:
        """Ask what is safe to ask twice; about an order that may be there, where it stands."""
        match request:
            case ResendExecutions():
                self._is_resend_asked = False
                self.ask_for_executions(now_ns)
            case QueryAccount():
                self._is_account_asked = False
                self._ask_for_account(now_ns)
            case CancelAllOrders():
                self.line.push_first(self._requests.cancel_all(now_ns))
            case _:
                self._ask_about(request, now_ns)

    def _ask_about(self, request: SubmitOrder | QueryOrder | CancelOrder | ReplaceOrder, now_ns: int) -> None:
        order = self._book.order(request.client_order_id)
        if isinstance(request, CancelOrder):
            if not order.is_final:
                self.line.push_first(self._requests.cancel(order, now_ns))
        elif isinstance(request, ReplaceOrder):
            if order.replacement is not None and order.replacement.replace_id == request.replace_id:
                self.line.push_first(self._requests.replace(order, now_ns))
        elif order.is_unanswered:
            # Also for an order whose execution came first: the answer to the query is then only counted.
            self.line.push_first(self._requests.query(order, now_ns))

    def _abandon(self, order: Order, reason: Reason, now_ns: int) -> None:
        self._counts["orders_abandoned"] += 1
        self._facts.learn(OrderAbandoned(now_ns, order.client_order_id, reason.value))

    # Executions

    def on_execution(self, report: ExecutionReported, now_ns: int) -> None:
        """Take an execution report. One that does not follow the last one waits until the hole is filled."""
        expected = self._book.last_execution_number + 1
        if report.execution_number < expected:
            self._counts["executions_repeated"] += 1
        elif report.execution_number > expected:
            self._counts["executions_ahead"] += 1
            self._newest_ahead = max(self._newest_ahead, report.execution_number)
            self.ask_for_executions(now_ns)
        else:
            self._take_execution(report, now_ns)

    def _on_resent(self, request: ResendExecutions, answer: ExecutionsResent, now_ns: int) -> None:
        self._is_resend_asked = False
        if answer.last_number < request.from_number - 1:
            raise FatalError(
                f"executions: expected an exchange that has made {request.from_number - 1} or more, was "
                f"{answer.last_number}; its ledger is not the one of this journal: restore it, or start both anew"
            )
        for report in answer.executions:
            if report.execution_number == self._book.last_execution_number + 1:
                self._take_execution(report, now_ns)
        # A report that came while the answer was on its way was put off, and may be newer than the answer.
        newest = max(answer.last_number if answer.executions else 0, self._newest_ahead)
        self._newest_ahead = 0
        if newest > self._book.last_execution_number:
            self.ask_for_executions(now_ns)

    def _take_execution(self, report: ExecutionReported, now_ns: int) -> None:
        reference = self._find_reference(report)
        self._counts["executions"] += 1
        order = self._book.find_order(report.client_order_id)
        if report.price is not None:
            self._counts["fills"] += 1
        self._booking.take(report, None if reference is None else reference.mark(), now_ns)
        was_unanswered = order is not None and order.is_unanswered
        if was_unanswered and not self._book.order(report.client_order_id).is_unanswered:
            self._on_first_word(report.client_order_id, now_ns)

    # Account

    def _ask_for_account(self, now_ns: int, after_arrival_number: int = 0) -> None:
        if self._is_account_asked:
            return
        self._is_account_asked = True
        self._next_account_ns = now_ns + self._account_interval_ns
        self.line.push(self._requests.account(after_arrival_number, now_ns))

    def _on_account(self, request: QueryAccount, report: AccountReported, now_ns: int) -> None:
        self._is_account_asked = False
        if report.last_number > self._book.last_execution_number:
            self.ask_for_executions(now_ns)
        next_page = self.account.take(request, report, now_ns)
        if next_page or not self.account.is_reconciled:
            self._ask_for_account(now_ns, next_page)


def _fenced() -> FatalError:
    return FatalError(
        "exchange: a newer executor has taken over, this one was forgotten or paused; it does nothing more"
    )


def _submission_outcome(request: Request, answer: OrderAnswered) -> AnswerOutcome:
    """A query that finds an order says what a repeated submission would have said."""
    is_found = isinstance(request, QueryOrder) and answer.outcome is AnswerOutcome.ACCEPTED
    return AnswerOutcome.EXISTS if is_found else answer.outcome
