"""Execution reports: written and numbered in the order in which things happen, kept until they are taken."""

from decimal import Decimal

from msgspec.structs import replace

from common.events.base import DRAFT
from common.events.trading import Liquidity
from common.events.venue import ExecutionReported, ExecutionType
from common.money import EXACT, ZERO
from exchange.simulated.faults import FaultName, FaultPlan
from exchange.simulated.fees import FeeSchedule
from exchange.simulated.orders import VenueOrder
from exchange.simulated.reasons import Reason


class ReportWriter:
    """Gives every execution the next number of the venue's whole life."""

    def __init__(self, fees: FeeSchedule, faults: FaultPlan | None = None) -> None:
        self._faults = faults
        self.last_number = 0
        self._fees = fees
        self._reports: list[ExecutionReported] = []

    def take(self) -> list[ExecutionReported]:
        """The reports since the last call."""
        if not self._reports:
            return []
        reports, self._reports = self._reports, []
        return reports

    def write_trade(
        self, order: VenueOrder, quantity: Decimal, price: Decimal, liquidity: Liquidity, now_ns: int
    ) -> None:
        """Report a fill that the order already contains."""
        self.last_number += 1
        report = ExecutionReported(
            **DRAFT,
            timestamp_ns=now_ns,
            exchange=order.instrument.exchange,
            symbol=order.instrument.symbol,
            execution_number=self.last_number,
            execution_type=ExecutionType.TRADE,
            client_order_id=order.client_order_id,
            venue_order_id=order.venue_order_id,
            side=order.side,
            quantity=quantity,
            price=price,
            fee=self._fees.fee(price, quantity, liquidity),
            liquidity=liquidity,
            filled_quantity=order.filled_quantity,
            leaves_quantity=order.leaves_quantity,
        )
        self._reports.append(report)
        if self._faults is not None:
            self._correct(report, order, self._faults)

    def _correct(self, trade: ExecutionReported, order: VenueOrder, faults: FaultPlan) -> None:
        # Only a trade that ends its order is cancelled: how much of an order still works is never in dispute.
        if trade.leaves_quantity == ZERO and faults.occurs(FaultName.TRADE_CANCELLED):
            correction = replace(
                trade,
                execution_type=ExecutionType.TRADE_CANCEL,
                filled_quantity=EXACT.subtract(trade.filled_quantity, trade.quantity),
                reason=Reason.TRADE_CANCELLED,
            )
        elif faults.occurs(FaultName.EXECUTION_CORRECTED) and trade.liquidity is not None:
            price = EXACT.add(trade.price or ZERO, order.instrument.tick_size)
            correction = replace(
                trade,
                execution_type=ExecutionType.TRADE_CORRECT,
                price=price,
                fee=self._fees.fee(price, trade.quantity, trade.liquidity),
            )
        else:
            return
        self.last_number += 1
        self._reports.append(replace(correction, execution_number=self.last_number, corrects=trade.execution_number))

    def write_replaced(self, order: VenueOrder, replace_id: str, now_ns: int) -> None:
        """Report that an order has other terms."""
        self.last_number += 1
        report = ExecutionReported(
            **DRAFT,
            timestamp_ns=now_ns,
            exchange=order.instrument.exchange,
            symbol=order.instrument.symbol,
            execution_number=self.last_number,
            execution_type=ExecutionType.REPLACED,
            client_order_id=order.client_order_id,
            venue_order_id=order.venue_order_id,
            side=order.side,
            quantity=ZERO,
            filled_quantity=order.filled_quantity,
            leaves_quantity=order.leaves_quantity,
            order_quantity=order.quantity,
            limit_price=order.limit_price,
            replace_id=replace_id,
        )
        self._reports.append(report)

    def write_end(self, order: VenueOrder, execution_type: ExecutionType, reason: str, now_ns: int) -> None:
        """Report that the rest of an order will not trade.

        Its `quantity` is 0, so that the quantities of an order's reports add up to what was filled; nothing is left
        to work, so `leaves_quantity` is 0 too, as in FIX.
        """
        self.last_number += 1
        report = ExecutionReported(
            **DRAFT,
            timestamp_ns=now_ns,
            exchange=order.instrument.exchange,
            symbol=order.instrument.symbol,
            execution_number=self.last_number,
            execution_type=execution_type,
            client_order_id=order.client_order_id,
            venue_order_id=order.venue_order_id,
            side=order.side,
            quantity=ZERO,
            filled_quantity=order.filled_quantity,
            leaves_quantity=ZERO,
            reason=reason,
        )
        self._reports.append(report)
