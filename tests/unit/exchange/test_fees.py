"""Fees are exact shares of the notional."""

from decimal import Decimal

import msgspec
import pytest

from exchange.simulated.config import SimulatedVenueConfig
from exchange.simulated.fees import FeeSchedule


@pytest.mark.parametrize(("liquidity", "fee"), [("maker", "-0.0123456789"), ("taker", "0.0493827156")])
def test_fee_is_the_exact_share_of_the_notional(liquidity: str, fee: str) -> None:
    """No digit is rounded away, and a maker rate below 0 pays the maker."""
    schedule = FeeSchedule(maker_rate=Decimal("-0.0001"), taker_rate=Decimal("0.0004"))

    charged = schedule.fee(Decimal("123.456789"), Decimal(1), liquidity)  # type: ignore[arg-type]

    assert charged == Decimal(fee)


def test_largest_price_quantity_and_finest_rate_still_give_an_exact_fee() -> None:
    """The bounds of the config leave no product that would have to be rounded, which would be a fatal error."""
    schedule = FeeSchedule(maker_rate=Decimal(0), taker_rate=Decimal("0.09999999"))
    price = Decimal(repr(1234567890.1234567))
    quantity = Decimal("999999999999999.123456789012345")

    charged = schedule.fee(price, quantity, "taker")

    assert charged.is_finite()


@pytest.mark.parametrize("rate", ["0.2", "-0.2", "NaN", "Infinity", "0.000000001"])
def test_config_refuses_a_rate_that_is_no_fee(rate: str) -> None:
    """A typing error of a factor of 1000 is found at start, not in the profit of a backtest."""
    with pytest.raises(msgspec.ValidationError, match="taker_fee_rate: expected a share"):
        msgspec.convert({"taker_fee_rate": rate}, SimulatedVenueConfig)


def test_config_refuses_a_key_that_it_does_not_know() -> None:
    """A misspelt key is an error, not a default."""
    with pytest.raises(msgspec.ValidationError, match="latency"):
        msgspec.convert({"latency": 1}, SimulatedVenueConfig)
