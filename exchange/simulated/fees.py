"""What the venue charges for a trade."""

from decimal import Decimal

import msgspec

from common.events.trading import Liquidity
from common.money import EXACT


class FeeSchedule(msgspec.Struct, frozen=True):
    """Shares of the notional: the maker rested in the book, the taker came to it. Below 0 it is a rebate."""

    maker_rate: Decimal
    taker_rate: Decimal

    def fee(self, price: Decimal, quantity: Decimal, liquidity: Liquidity) -> Decimal:
        """The fee in quote units, exact: it is never rounded."""
        rate = self.maker_rate if liquidity == "maker" else self.taker_rate
        return EXACT.multiply(EXACT.multiply(price, quantity), rate)
