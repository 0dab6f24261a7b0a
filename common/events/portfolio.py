"""Portfolio domain: what is held and what it is worth, in one currency at a time. Money is `Decimal`.

The worker `risk_monitor` values the portfolio; balances are for a service beside the pipeline.
"""

from decimal import Decimal
from typing import ClassVar

from common.events.base import Currency, Event, EventId, Priority, Scope, Word


class PortfolioValued(Event, frozen=True, kw_only=True, tag="Portfolio.Value.Updated.v1"):
    """What everything in one currency is worth now, of all strategies or of one; amounts in that currency.

    `equity` is cash plus what the positions would bring at their mark prices.
    """

    kind: ClassVar[str] = "portfolio_value"
    priority = Priority.HIGH
    emitters = ("workers",)

    scope: Scope
    currency: Currency
    equity: Decimal
    cash: Decimal
    gross_value: Decimal
    net_value: Decimal
    realised_pnl: Decimal
    unrealised_pnl: Decimal
    fees: Decimal
    cause_id: EventId | None = None
    correlation_id: EventId | None = None

    def topic(self) -> str:
        return f"{self.kind}.portfolio.{self.scope}"


class BalanceUpdated(Event, frozen=True, kw_only=True, tag="Portfolio.Balance.Updated.v1"):
    """What an account at an exchange holds of one currency; `total` is `available` plus `reserved`."""

    kind: ClassVar[str] = "balance_updated"
    priority = Priority.HIGH

    exchange: Word
    currency: Currency
    total: Decimal
    available: Decimal
    reserved: Decimal
    cause_id: EventId | None = None
    correlation_id: EventId | None = None

    def topic(self) -> str:
        return f"{self.kind}.{self.exchange}.{self.currency}"
