"""Comparing what we know with what the exchange says, at the same execution number: nothing is on its way between."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from common.events.base import DRAFT
from common.events.trading import Signal
from common.events.venue import AccountReported, ExecutionReported, VenueOrder
from common.money import EXACT, ZERO, is_bounded
from executor.book import Book
from executor.digest import digest_of_bytes
from executor.entries import OrderAdopted
from executor.orders import Order, UnbookableError

# Whose orders and positions are those that nobody here has asked for.
ADOPTER = "adopted"
NEVER_NS = (1 << 63) - 1


class Mismatch(msgspec.Struct, frozen=True):
    """An amount that differs: ours, and the exchange's."""

    subject: str
    ours: Decimal
    theirs: Decimal

    def __str__(self) -> str:
        return f"{self.subject}: expected {self.ours}, the exchange has {self.theirs}"


class Differences(msgspec.Struct, frozen=True):
    """What the exchange has and we do not know, or hold for ended, what it should have and does not, and amounts."""

    unknown: list[VenueOrder]
    ended: list[VenueOrder]
    missing: list[Order]
    positions: list[Mismatch]
    cash: list[Mismatch]


def compare(report: AccountReported, open_orders: Sequence[VenueOrder], book: Book) -> Differences:
    """Find what differs.

    Args:
        report: The last page of the account, of the execution number that the book has.
        open_orders: Those of all pages.
        book: What we know.
    """
    theirs = {order.client_order_id for order in open_orders}
    return Differences(
        unknown=[order for order in open_orders if book.find_order(order.client_order_id) is None],
        ended=[
            order
            for order in open_orders
            if (ours := book.find_order(order.client_order_id)) is not None and ours.is_final
        ],
        missing=[
            order for order in book.working_orders() if not order.is_unanswered and order.client_order_id not in theirs
        ],
        positions=_mismatches(
            {f"{exchange}.{symbol}": quantity for (exchange, symbol), quantity in book.net_quantities().items()},
            {f"{position.exchange}.{position.symbol}": position.quantity for position in report.positions},
        ),
        cash=_mismatches(book.cash(), report.cash),
    )


def adopt_reported(report: ExecutionReported, now_ns: int) -> OrderAdopted:
    """An order that is first heard of by an execution: its terms are what the execution tells.

    Raises:
        UnbookableError: Its amounts are none.
    """
    if not all(map(is_bounded, (report.quantity, report.filled_quantity, report.leaves_quantity))):
        raise UnbookableError(
            f"execution {report.execution_number}: expected finite quantities, was {report.quantity}, with "
            f"{report.filled_quantity} filled and {report.leaves_quantity} left"
        )
    filled_before = EXACT.subtract(report.filled_quantity, report.quantity if report.price is not None else ZERO)
    return OrderAdopted(
        now_ns,
        report.client_order_id,
        _adopted_signal(report, EXACT.add(report.filled_quantity, report.leaves_quantity), now_ns),
        filled_before,
        report.venue_order_id,
    )


def adopt_working(order: VenueOrder, now_ns: int) -> OrderAdopted:
    """An order that works at the exchange and that we have not heard of."""
    signal = msgspec.structs.replace(
        _adopted_signal(order, order.quantity, now_ns),
        order_type=order.order_type,
        limit_price=order.limit_price,
        time_in_force=order.time_in_force,
    )
    return OrderAdopted(now_ns, order.client_order_id, signal, order.filled_quantity, order.venue_order_id)


def _adopted_signal(source: ExecutionReported | VenueOrder, quantity: Decimal, now_ns: int) -> Signal:
    return Signal(
        **DRAFT,
        timestamp_ns=now_ns,
        exchange=source.exchange,
        symbol=source.symbol,
        signal_id=f"{ADOPTER}-{digest_of_bytes(source.client_order_id.encode())}",
        strategy=ADOPTER,
        action=source.side,
        order_type="market",
        quantity=quantity,
        time_in_force="gtc",
        expires_ns=NEVER_NS,
    )


def _mismatches(ours: dict[str, Decimal], theirs: dict[str, Decimal]) -> list[Mismatch]:
    return [
        Mismatch(subject, ours.get(subject, ZERO), theirs.get(subject, ZERO))
        for subject in sorted(ours.keys() | theirs.keys())
        if ours.get(subject, ZERO) != theirs.get(subject, ZERO)
    ]
