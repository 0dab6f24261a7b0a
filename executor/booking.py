"""Books what the exchange has and does. Its executions are the truth about money, also against its own word.

What contradicts itself is booked all the same, told, and halts its symbol until a person has looked; what cannot be
booked leaves only its number behind. Neither ends the process: the next life would meet the same report again.
"""

from decimal import Decimal

import msgspec

from common.events.risk import Severity, TradingState
from common.events.venue import ExecutionReported, ExecutionType, VenueOrder
from common.ids import is_client_order_id
from common.money import is_bounded
from executor.entries import (
    Entry,
    ExecutionTaken,
    OrderAbandoned,
    OrderAdopted,
    OrderReopened,
    TradingStateMoved,
)
from executor.facts import Facts
from executor.orders import CONTRADICTIONS, Move, Order, UnbookableError
from executor.reconciliation import adopt_reported
from executor.risk import Reason
from executor.trading_state import ALL, RECONCILIATION, symbol_scope

_MOVES = {
    ExecutionType.TRADE: Move.PARTIALLY_FILLED,  # one that fills it all is legal or not in the same states
    ExecutionType.CANCELLED: Move.CANCELLED,
    ExecutionType.EXPIRED: Move.EXPIRED,
    ExecutionType.REPLACED: Move.REPLACED,
}


class Booking:
    """Writes what the exchange tells, with the halt that it demands in the same transaction."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._book = facts.book

    def take(self, report: ExecutionReported, mark_price: Decimal | None, now_ns: int) -> None:
        """Book the next execution."""
        entry = ExecutionTaken(now_ns, report, mark_price)
        try:
            order = self._book.find_order(report.client_order_id)
            if order is None:
                order = self.adopt(adopt_reported(report, now_ns))
            contradiction = find_contradiction(order, report)
            if contradiction is None:
                self._facts.learn(entry)
            else:
                self._stop("ORDER_CONTRADICTED", entry, report, contradiction, now_ns)
        except UnbookableError as error:
            defect = str(error)
            self._stop("EXECUTION_NOT_BOOKED", msgspec.structs.replace(entry, defect=defect), report, defect, now_ns)

    def adopt(self, entry: OrderAdopted) -> Order:
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
        return self._book.order(order_id)

    def reopen(self, order: Order, theirs: VenueOrder, now_ns: int) -> None:
        """Take an order back that works at the exchange, though it was at its end here; the halt will cancel it."""
        detail = f"the exchange lists it as working, here it was {order.status}"
        self._stop("ORDER_CONTRADICTED", OrderReopened(now_ns, order.client_order_id), theirs, detail, now_ns)

    def give_up(self, order: Order, now_ns: int) -> None:
        """End an order that nobody can say anything about: it was sent once at most, and a person must look."""
        detail = (
            "no answer came, the exchange cannot tell whether it had it, and neither open orders nor executions show it"
        )
        entry = OrderAbandoned(now_ns, order.client_order_id, Reason.UNRESOLVED.value)
        self._stop("ORDER_UNRESOLVED", entry, order, detail, now_ns)

    def _stop(
        self, code: str, entry: Entry, source: ExecutionReported | VenueOrder | Order, detail: str, now_ns: int
    ) -> None:
        listed = source.signal if isinstance(source, Order) else source
        scope = symbol_scope(listed.exchange, listed.symbol)
        reason = f"{code}: {source.client_order_id}: {detail}"[:500]
        halt = self._book.kill_switch.tighten(
            scope, TradingState.HALTED, by=RECONCILIATION, reason=reason, now_ns=now_ns
        )
        self._facts.learn_all([entry, *halt])
        self._facts.alarm(code, Severity.CRITICAL, source.client_order_id, detail, now_ns)


def find_contradiction(order: Order, report: ExecutionReported) -> str | None:
    """What is wrong with an execution that is booked all the same; None when it may follow what is known."""
    kind = report.execution_type
    if (order.status, _MOVES.get(kind)) in CONTRADICTIONS:
        return f"the exchange reports {kind} of an order that was {order.status} here"
    is_overfill = (
        kind is ExecutionType.TRADE and is_bounded(report.quantity) and report.quantity > order.leaves_quantity
    )
    if is_overfill:
        return f"expected a fill up to {order.leaves_quantity}, was {report.quantity}"
    return None
