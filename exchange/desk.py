"""The order desk: one order for one client_order_id, whatever is repeated, lost or killed.

Venue and ledger are changed in this order: the venue decides, the ledger keeps it, then it is told to anyone. If the
process dies in between, nobody has heard of the decision, and the next life rebuilds the venue from the ledger as if
it had not been made: its order number and execution numbers are given again, to whatever comes next.
"""

from common.errors import FatalError
from common.events.base import DRAFT
from common.events.market import Tick, Ticks, Trade
from common.events.trading import OrderStatus
from common.events.venue import (
    EXECUTIONS_PER_ANSWER_MAX,
    AnswerOutcome,
    CancelOrder,
    ExecutionReported,
    ExecutionsResent,
    OrderAnswered,
    QueryOrder,
    ResendExecutions,
    SubmitOrder,
    terms_of,
)
from exchange.answers import make_answer
from exchange.ports import OrderLedger, Venue
from exchange.records import RecordedOrder, terms_key

Request = SubmitOrder | CancelOrder | QueryOrder | ResendExecutions
Reply = OrderAnswered | ExecutionsResent


class OrderDesk:
    """Answers requests and passes the market on, with every order and execution in the ledger first.

    After a FatalError venue and ledger may differ: the process must end, and its next life starts from the ledger.
    """

    def __init__(self, venue: Venue, ledger: OrderLedger) -> None:
        """Open the desk: the venue takes over what the ledger holds.

        Raises:
            ConfigError: The venue cannot take an open order over.
        """
        venue.restore(ledger.open_orders(), ledger.last_order_number(), ledger.last_execution_number())
        self._venue = venue
        self._ledger = ledger
        self._unreported: list[ExecutionReported] = []

    def handle(self, request: Request, now_ns: int) -> Reply:
        """Answer one request. Executions that it caused come out of the next `market` or `advance`."""
        match request:
            case SubmitOrder():
                return self._submit(request, now_ns)
            case CancelOrder():
                return self._cancel(request, now_ns)
            case QueryOrder():
                return self._query(request, now_ns)
            case ResendExecutions():
                return self._resend(request, now_ns)

    def market(self, message: Tick | Ticks | Trade) -> list[ExecutionReported]:
        """Pass a market message on.

        Returns:
            New execution reports, already durable, to be published in this order.

        Raises:
            ValueError: A batch is malformed; nothing of it was applied.
        """
        match message:
            case Tick():
                executions = self._venue.on_tick(message)
            case Ticks():
                executions = self._venue.on_ticks(message)
            case Trade():
                executions = self._venue.on_trade(message)
        return self._recorded(executions)

    def advance(self, now_ns: int) -> list[ExecutionReported]:
        """Let time pass when no market message is waiting; returns what `market` returns."""
        return self._recorded(self._venue.advance(now_ns))

    def next_due_ns(self) -> int | None:
        """When `advance` may next have something to do; 0 for at once, None when it waits for nothing."""
        return 0 if self._unreported else self._venue.next_due_ns()

    def _submit(self, request: SubmitOrder, now_ns: int) -> OrderAnswered:
        recorded = self._ledger.find(request.client_order_id)
        if recorded is None:
            answer = self._venue.submit(request, now_ns)
            self._ledger.record_submission(request, answer, now_ns)
            return answer
        self._ledger.record_repeat(request.client_order_id)
        if terms_key(recorded.terms) != terms_key(terms_of(request)):
            return _conflict(request, now_ns)
        return _answer_from(recorded, request, AnswerOutcome.EXISTS, now_ns)

    def _query(self, request: QueryOrder, now_ns: int) -> OrderAnswered:
        # Asked of the ledger, not of the venue: it alone remembers what is finished, and knows nothing that could
        # still be lost.
        recorded = self._ledger.find(request.client_order_id)
        if recorded is None:
            return make_answer(request, now_ns, AnswerOutcome.NOT_FOUND)
        if not _is_same_instrument(recorded, request):
            return _conflict(request, now_ns)
        return _answer_from(recorded, request, AnswerOutcome.ACCEPTED, now_ns)

    def _cancel(self, request: CancelOrder, now_ns: int) -> OrderAnswered:
        recorded = self._ledger.find(request.client_order_id)
        if recorded is None:
            return make_answer(request, now_ns, AnswerOutcome.NOT_FOUND)
        if not _is_same_instrument(recorded, request):
            return _conflict(request, now_ns)
        if recorded.is_open:
            recorded = self._cancel_at_venue(request, now_ns)
        # A repeat finds the order cancelled, which is what was asked for.
        is_done = recorded.status is OrderStatus.CANCELLED
        return _answer_from(recorded, request, AnswerOutcome.ACCEPTED if is_done else AnswerOutcome.REJECTED, now_ns)

    def _cancel_at_venue(self, request: CancelOrder, now_ns: int) -> RecordedOrder:
        self._venue.cancel(request, now_ns)
        # The order may have been filled in the same moment. What the ledger then says is true in either case.
        self._unreported = self._recorded(self._venue.advance(now_ns))
        recorded = self._ledger.find(request.client_order_id)
        if recorded is None or recorded.is_open:
            raise FatalError(
                f"order {request.client_order_id}: expected the venue to have ended it, the ledger says it is open; "
                f"restart to rebuild the venue from the ledger"
            )
        return recorded

    def _resend(self, request: ResendExecutions, now_ns: int) -> ExecutionsResent:
        last_number = self._ledger.last_execution_number()
        # Compared here, since a number from the wire may be larger than what SQLite can compare.
        is_due = request.from_number <= last_number
        return ExecutionsResent(
            **DRAFT,
            timestamp_ns=now_ns,
            request_id=request.request_id,
            last_number=last_number,
            executions=(self._ledger.executions_from(request.from_number, EXECUTIONS_PER_ANSWER_MAX) if is_due else []),
        )

    def _recorded(self, executions: list[ExecutionReported]) -> list[ExecutionReported]:
        if executions:
            self._ledger.record_executions(executions)
        if self._unreported:
            executions = self._unreported + executions
            self._unreported = []
        return executions


def _is_same_instrument(recorded: RecordedOrder, request: CancelOrder | QueryOrder) -> bool:
    return (recorded.terms.exchange, recorded.terms.symbol) == (request.exchange, request.symbol)


def _conflict(request: SubmitOrder | CancelOrder | QueryOrder, now_ns: int) -> OrderAnswered:
    return make_answer(
        request,
        now_ns,
        AnswerOutcome.CONFLICT,
        reason="TERMS_DIFFER",
        detail="this client_order_id was submitted before with other terms; nothing was done",
    )


def _answer_from(
    recorded: RecordedOrder, request: SubmitOrder | CancelOrder | QueryOrder, outcome: AnswerOutcome, now_ns: int
) -> OrderAnswered:
    reason = recorded.reason
    if outcome is AnswerOutcome.REJECTED:
        reason = f"ORDER_{recorded.status.upper()}"  # too late to cancel: ORDER_FILLED, ORDER_EXPIRED, ORDER_REJECTED
    return make_answer(
        request,
        now_ns,
        outcome,
        status=recorded.status,
        venue_order_id=recorded.venue_order_id,
        filled_quantity=recorded.filled_quantity,
        reason=reason,
    )
