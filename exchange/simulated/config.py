"""How the simulated venue behaves."""

from decimal import Decimal
from typing import Annotated

import msgspec

from common import money

LatencyMicroseconds = Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]  # up to 10 s: more is an outage, not a latency

FEE_RATE_MAX = Decimal("0.1")
# With it a fee has at most 17 (market price) + 30 (quantity) + 8 digits, which EXACT holds without rounding.
FEE_RATE_DECIMALS_MAX = 8


class SimulatedVenueConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Latencies, fees and limits. Rates are shares of the notional."""

    order_entry_latency_us: LatencyMicroseconds = 1_000  # a host in the venue's own cloud region reaches it in 1 ms
    response_latency_us: LatencyMicroseconds = 0  # delays answers only; 0, so that what is measured is our own time
    maker_fee_rate: Decimal = Decimal("0.0002")  # entry tier of large USDT futures venues; below 0 it is a rebate
    taker_fee_rate: Decimal = Decimal("0.0005")  # of the same price list
    # What the account holds at the venue's beginning, per currency; empty: no account is kept, nothing runs out.
    balances: dict[str, Decimal] = {}
    # Five times what Binance allows for one symbol. Restart time and the search for a cancelled order grow with it.
    open_orders_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1_000

    def __post_init__(self) -> None:
        for currency, balance in self.balances.items():
            if not money.is_bounded(balance):
                raise ValueError(f"balances.{currency}: expected a finite decimal up to 1e15, was {str(balance)[:40]}")
        for field in ("maker_fee_rate", "taker_fee_rate"):
            rate = getattr(self, field)
            is_fit = rate.is_finite() and abs(rate) <= FEE_RATE_MAX
            if not (is_fit and money.is_multiple(rate, Decimal((0, (1,), -FEE_RATE_DECIMALS_MAX)))):
                raise ValueError(
                    f"{field}: expected a share from -{FEE_RATE_MAX} to {FEE_RATE_MAX} with up to "
                    f"{FEE_RATE_DECIMALS_MAX} decimals, was {rate}"
                )
