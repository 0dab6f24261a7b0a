"""Looks at the exchange's account, page by page, and books or tells what differs from ours."""

from collections.abc import Callable

from common.events.risk import Severity
from common.events.trading import OrderStatus
from common.events.venue import AccountReported, AnswerOutcome, QueryAccount, VenueOrder
from executor import reconciliation
from executor.booking import Booking
from executor.entries import OrderAnswerTaken, OrderVanished
from executor.facts import Facts
from executor.risk import Reason


class AccountWatch:
    """The pages of one look, and what the newest complete one has shown."""

    def __init__(self, facts: Facts, booking: Booking, on_found: Callable[[str, int], None]) -> None:
        """Prepare to look; `on_found` hears the id of an order that had no answer and works at the exchange."""
        self.is_reconciled = False  # since the start of this life, once
        self.has_mismatch = False  # of positions or cash, at the newest look
        # Orders without an answer that the exchange says it cannot find: only a look can tell where they are.
        self.undecided: set[str] = set()
        self._facts = facts
        self._book = facts.book
        self._booking = booking
        self._on_found = on_found
        self._open_orders: list[VenueOrder] = []
        self._last_number: int | None = None  # of the pages so far
        self._asked_ns = 0

    def take(self, request: QueryAccount, report: AccountReported, now_ns: int) -> int:
        """Take a page; compare once all are there.

        Returns:
            The arrival number behind which the next page begins; 0 when this look is over, or has to begin anew.
        """
        is_first = self._last_number is None
        is_current = report.last_number == self._book.last_execution_number
        if not is_current or not (is_first or self._last_number == report.last_number):
            # Executions are on their way in one direction or the other: what is compared would be of two moments.
            self._forget()
            return 0
        if is_first:
            self._asked_ns = request.timestamp_ns
        self._last_number = report.last_number
        self._open_orders += report.open_orders
        if not report.is_complete and report.open_orders:
            return report.open_orders[-1].arrival_number
        self._compare(report, now_ns)
        self._forget()
        return 0

    def _compare(self, report: AccountReported, now_ns: int) -> None:
        self._facts.counts["reconciliations"] += 1
        self._book.exposure.take_balances(report.balances)
        differences = reconciliation.compare(report, self._open_orders, self._book)
        for theirs in differences.unknown:
            self._booking.adopt(reconciliation.adopt_working(theirs, now_ns))
        for theirs in differences.ended:
            self._booking.reopen(self._book.order(theirs.client_order_id), theirs, now_ns)
        for ours in differences.missing:
            self._facts.counts["orders_vanished"] += 1
            self._facts.learn(OrderVanished(now_ns, ours.client_order_id, Reason.MISSING_AT_EXCHANGE.value))
            detail = "the exchange had it, does not list it any more, and has reported no end of it"
            self._facts.alarm("ORDER_VANISHED", Severity.CRITICAL, ours.client_order_id, detail, now_ns)
        for code, mismatches in (("POSITION_MISMATCH", differences.positions), ("CASH_MISMATCH", differences.cash)):
            for mismatch in mismatches:
                self._facts.alarm(code, Severity.CRITICAL, mismatch.subject, str(mismatch), now_ns)
        self._decide(now_ns)
        self.has_mismatch = bool(differences.positions or differences.cash)
        self.is_reconciled = True

    def _decide(self, now_ns: int) -> None:
        """Settle what no query can: it works, or executions have told of it; or its time was over before this look."""
        listed = {order.client_order_id: order for order in self._open_orders}
        for order_id in sorted(self.undecided):
            order, theirs = self._book.order(order_id), listed.get(order_id)
            if order.is_unanswered and theirs is not None:
                self._facts.learn(
                    OrderAnswerTaken(
                        timestamp_ns=now_ns,
                        client_order_id=order_id,
                        outcome=AnswerOutcome.EXISTS,
                        status=OrderStatus.ACCEPTED,
                        venue_order_id=theirs.venue_order_id,
                    )
                )
                self._on_found(order_id, now_ns)
            elif order.is_unanswered and self._asked_ns >= order.signal.expires_ns:
                # Looked at after the expiry, when nothing of it can be accepted any more.
                self._facts.counts["orders_unresolved"] += 1
                self._booking.give_up(order, now_ns)
            elif order.is_unanswered:
                continue
            self.undecided.discard(order_id)

    def _forget(self) -> None:
        self._open_orders = []
        self._last_number = None
