"""Looks at the exchange's account, page by page, and books or tells what differs from ours."""

from common.events.risk import Severity, TradingState
from common.events.venue import AccountReported, VenueOrder
from common.ids import is_client_order_id
from executor import reconciliation
from executor.entries import OrderAdopted, OrderVanished, TradingStateMoved
from executor.facts import Facts
from executor.risk import Reason
from executor.trading_state import ALL, RECONCILIATION


class AccountWatch:
    """The pages of one look, and what the newest complete one has shown."""

    def __init__(self, facts: Facts) -> None:
        self.is_reconciled = False  # since the start of this life, once
        self.has_mismatch = False  # of positions or cash, at the newest look
        self._facts = facts
        self._book = facts.book
        self._open_orders: list[VenueOrder] = []
        self._last_number: int | None = None  # of the pages so far

    def take(self, report: AccountReported, now_ns: int) -> int:
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
        self._last_number = report.last_number
        self._open_orders += report.open_orders
        if not report.is_complete and report.open_orders:
            return report.open_orders[-1].arrival_number
        self._compare(report, now_ns)
        self._forget()
        return 0

    def adopt(self, entry: OrderAdopted) -> None:
        """Book an order that this journal never intended. One with an id of ours it has forgotten: everything halts.

        A strategy that was told nothing of that order may decide on it again, so a person has to look first.
        """
        order_id, now_ns = entry.client_order_id, entry.timestamp_ns
        moves: list[TradingStateMoved] = []
        if is_client_order_id(order_id):
            reason = f"the journal has forgotten order {order_id}: is it from a backup?"
            moves = self._book.kill_switch.tighten(
                ALL, TradingState.HALTED, by=RECONCILIATION, reason=reason, now_ns=now_ns
            )
        self._facts.counts["orders_adopted"] += 1
        self._facts.learn_all([entry, *moves])  # together: a crash in between must not leave it trading
        detail = "the exchange has an order that this journal never intended; it is booked under the strategy `adopted`"
        self._facts.alarm("ORDER_ADOPTED", Severity.CRITICAL, order_id, detail, now_ns)
        for move in moves:
            self._facts.alarm("TRADING_STOPPED", Severity.CRITICAL, ALL, f"{move.by}: {move.reason}", now_ns)

    def _compare(self, report: AccountReported, now_ns: int) -> None:
        self._facts.counts["reconciliations"] += 1
        self._book.exposure.take_balances(report.balances)
        differences = reconciliation.compare(report, self._open_orders, self._book)
        for theirs in differences.unknown:
            self.adopt(reconciliation.adopt_working(theirs, now_ns))
        for ours in differences.missing:
            self._facts.counts["orders_vanished"] += 1
            self._facts.learn(OrderVanished(now_ns, ours.client_order_id, Reason.MISSING_AT_EXCHANGE.value))
            detail = "the exchange had it, does not list it any more, and has reported no end of it"
            self._facts.alarm("ORDER_VANISHED", Severity.CRITICAL, ours.client_order_id, detail, now_ns)
        for code, mismatches in (("POSITION_MISMATCH", differences.positions), ("CASH_MISMATCH", differences.cash)):
            for mismatch in mismatches:
                self._facts.alarm(code, Severity.CRITICAL, mismatch.subject, str(mismatch), now_ns)
        self.has_mismatch = bool(differences.positions or differences.cash)
        self.is_reconciled = True

    def _forget(self) -> None:
        self._open_orders = []
        self._last_number = None
