"""Whether the venue takes an order: the same checks, in the same order, as a real venue's filters.

Checks accept what is inside a range, so that NaN passes none of them.
"""

from decimal import Decimal

from common import money
from common.events.venue import ReplaceOrder, SubmitOrder
from common.instruments import Instrument
from common.money import EXACT, ZERO
from exchange.refusals import Refusal
from exchange.simulated.reasons import Reason


def find_refusal(request: SubmitOrder, instrument: Instrument, touch_price: Decimal | None) -> Refusal | None:
    """The first rule that an order breaks, None when it breaks none.

    Args:
        request: The order.
        instrument: The one it names.
        touch_price: What the market asks for now, by which a market order's notional is judged; None when it shows
            nothing, and such an order is then bounded by its quantity alone.
    """
    return (
        _check_quantity(request.quantity, instrument)
        or _check_price(request, instrument)
        or _check_notional(
            request.quantity, touch_price if request.limit_price is None else request.limit_price, instrument
        )
    )


def find_replace_refusal(request: ReplaceOrder, instrument: Instrument) -> Refusal | None:
    """The first rule that the new terms of a limit order break."""
    return (
        _check_quantity(request.quantity, instrument)
        or _check_limit(request.limit_price, instrument)
        or _check_notional(request.quantity, request.limit_price, instrument)
    )


def _check_quantity(quantity: Decimal, instrument: Instrument) -> Refusal | None:
    if not (money.is_bounded(quantity) and quantity > ZERO):
        return Refusal(Reason.QUANTITY_INVALID, "quantity: expected a finite amount above 0, up to 15 decimals")
    if not money.is_multiple(quantity, instrument.lot_size):
        return _off_range(Reason.QUANTITY_OFF_LOT, quantity, f"a multiple of {instrument.lot_size}")
    if quantity < instrument.quantity_floor:
        return _off_range(Reason.QUANTITY_TOO_SMALL, quantity, f"at least {instrument.quantity_floor}")
    if quantity > instrument.max_quantity:
        return _off_range(Reason.QUANTITY_TOO_LARGE, quantity, f"at most {instrument.max_quantity}")
    return None


def _check_price(request: SubmitOrder, instrument: Instrument) -> Refusal | None:
    price = request.limit_price
    if request.order_type == "market":
        return None if price is None else Refusal(Reason.PRICE_UNEXPECTED, "a market order has no limit_price")
    if price is None:
        return Refusal(Reason.PRICE_MISSING, "a limit order needs a limit_price")
    return _check_limit(price, instrument)


def _check_limit(price: Decimal, instrument: Instrument) -> Refusal | None:
    if not (money.is_bounded(price) and price > ZERO):
        return Refusal(Reason.PRICE_INVALID, "limit_price: expected a finite amount above 0, up to 15 decimals")
    if not money.is_multiple(price, instrument.tick_size):
        return _off_range(Reason.PRICE_OFF_TICK, price, f"a multiple of {instrument.tick_size}")
    return None


def _check_notional(quantity: Decimal, price: Decimal | None, instrument: Instrument) -> Refusal | None:
    if price is None:
        return None
    notional = EXACT.multiply(price, quantity)
    if notional < instrument.min_notional:
        return _off_range(Reason.NOTIONAL_TOO_SMALL, notional, f"at least {instrument.min_notional}")
    if notional > instrument.max_notional:
        return _off_range(Reason.NOTIONAL_TOO_LARGE, notional, f"at most {instrument.max_notional}")
    return None


def _off_range(reason: Reason, amount: Decimal, expected: str) -> Refusal:
    return Refusal(reason, f"expected {expected}, was {money.plain(amount)}")
