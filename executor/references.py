"""What the market shows now, for the checks that need a price: the newest quote of each instrument.

The gateway samples quotes 20 times a second. Reading every tick instead would cost the executor a tenth of a core at
50 k ticks/s, for prices that it never looks at.
"""

from decimal import Decimal

from common.events.market import Quote
from common.instruments import Listed
from common.money import AMOUNT_MAX
from executor.risk import Reference

QUOTE_PATTERN = f"{Quote.kind}.*.*"
REFERENCES_MAX = 100_000
PRICE_MAX = float(AMOUNT_MAX)


class References:
    """The newest known prices, however old; their age is judged by who asks."""

    def __init__(self) -> None:
        self._quotes: dict[tuple[str, str], Quote] = {}

    def on_quote(self, quote: Quote) -> None:
        """Take the newest prices of an instrument."""
        key = (quote.exchange, quote.symbol)
        if key in self._quotes or len(self._quotes) < REFERENCES_MAX:
            self._quotes[key] = quote

    def find(self, listed: Listed) -> Reference | None:
        """The newest known prices of an instrument; None before its first quote."""
        quote = self._quotes.get((listed.exchange, listed.symbol))
        if quote is None:
            return None
        prices = (_to_decimal(quote.bid), _to_decimal(quote.ask), _to_decimal(quote.last))
        return Reference(*prices, quote.timestamp_ns)


def _to_decimal(price: float | None) -> Decimal | None:
    # Venues send 0 for an empty side. What is no amount, such as NaN, is no price either.
    return Decimal(repr(price)) if price is not None and 0 < price <= PRICE_MAX else None
