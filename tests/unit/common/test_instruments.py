import decimal
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.message_builders import make_instrument, make_tick

from common.errors import ConfigError, InvalidValueError
from common.instruments import InstrumentTable, check_symbol, quote_currency

BTC = make_instrument("BTC/USDT")
ETH = make_instrument("ETH/USDT", exchange="binance")


@pytest.mark.parametrize(
    "changes",
    [
        {"tick_size": "0"},
        {"tick_size": "NaN"},
        {"tick_size": "-0.01"},
        {"lot_size": "Infinity"},
        {"lot_size": "0"},
        {"max_quantity": "NaN"},
        {"max_notional": "1e16"},
        {"min_notional": "-1"},
        {"min_notional": "NaN"},
        {"min_quantity": "NaN"},
        {"min_quantity": "-1"},
        {"min_quantity": "0"},
        {"exchange": "Binance"},
        {"exchange": "a.b"},
        {"symbol": ""},
        {"symbol": "BTC USDT"},
        {"symbol": "BTC/*"},
        {"raw_symbol": "BTC\n"},
    ],
)
def test_entry_that_no_order_could_be_checked_against_is_refused(changes: dict[str, Any]) -> None:
    """A limit that is not finite lets every order pass, or none, or breaks the check itself."""
    with pytest.raises(msgspec.ValidationError, match="expected"):
        make_instrument(**changes)


def test_smallest_quantity_is_one_lot_unless_stated() -> None:
    """Venues that ask for more say so in the table."""
    stated = make_instrument(min_quantity="0.05")

    assert (BTC.quantity_floor, stated.quantity_floor) == (Decimal("0.001"), Decimal("0.05"))


def test_float_is_rounded_by_its_shortest_spelling() -> None:
    """0.29 as a float lies below 0.29; a price that a person reads as on the grid stays where it is."""
    fine = make_instrument(tick_size="0.01", lot_size="0.01")

    assert fine.round_price(0.29, decimal.ROUND_FLOOR) == Decimal("0.29")
    assert fine.round_quantity(0.29) == Decimal("0.29")


def test_price_is_rounded_to_the_nearest_tick_unless_told() -> None:
    """Half to even, or as the strategy says."""
    coarse = make_instrument(tick_size="0.5")

    assert coarse.round_price(100.25) == Decimal("100.0")
    assert coarse.round_price(100.30) == Decimal("100.5")
    assert coarse.round_price(100.30, decimal.ROUND_FLOOR) == Decimal("100.0")


@given(st.floats(min_value=0, max_value=1e9))
def test_quantity_is_never_rounded_up(quantity: float) -> None:
    """Never more than was asked for."""
    assert BTC.round_quantity(quantity) <= Decimal(repr(quantity))


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), float("-inf"), Decimal("NaN"), Decimal("Infinity")])
def test_amount_that_is_not_finite_cannot_be_rounded(amount: float | Decimal) -> None:
    """A strategy whose arithmetic went wrong is told so, with the instrument's name."""
    with pytest.raises(InvalidValueError, match=r"simulated\.BTC/USDT price: expected a finite number"):
        BTC.round_price(amount)
    with pytest.raises(InvalidValueError, match=r"simulated\.BTC/USDT quantity: expected a finite number"):
        BTC.round_quantity(amount)


def test_table_finds_an_entry_by_what_is_listed_under_it() -> None:
    """A tick, a signal and an order all name exchange and symbol."""
    table = InstrumentTable([BTC, ETH])

    assert table.find(make_tick(symbol="BTC/USDT")) is BTC
    assert table.find(make_tick(symbol="ETH/USDT")) is None
    assert table.find_raw("binance", "ETHUSDT") is ETH
    assert table.find_raw("simulated", "ETHUSDT") is None


def test_table_keeps_the_order_of_the_config() -> None:
    """Iteration, length and selection by exchange."""
    table = InstrumentTable([ETH, BTC])

    assert list(table) == [ETH, BTC]
    assert len(table) == 2
    assert table.of_exchange("binance") == [ETH]


def test_entry_is_found_by_its_dotted_name() -> None:
    """The symbol is the rest and may contain dots."""
    dotted = make_instrument("BRK.B")
    table = InstrumentTable([BTC, dotted])

    assert table.named("simulated.BRK.B") is dotted


def test_unknown_name_is_answered_with_the_known_ones() -> None:
    """A person sees at once what they may have meant."""
    with pytest.raises(ConfigError, match=r"'simulated\.XRP/USDT' is not in the table; known: simulated\.BTC/USDT"):
        InstrumentTable([BTC]).named("simulated.XRP/USDT")
    with pytest.raises(ConfigError, match="known: none"):
        InstrumentTable([]).named("simulated.XRP/USDT")


def test_symbol_listed_twice_is_refused() -> None:
    """Two grids for one instrument would make half of its checks wrong."""
    with pytest.raises(ConfigError, match=r"simulated\.BTC/USDT is listed twice"):
        InstrumentTable([BTC, make_instrument("BTC/USDT", raw_symbol="XBT")])


def test_raw_symbol_listed_twice_on_one_exchange_is_refused() -> None:
    """The venue's prices could go to either of them."""
    with pytest.raises(ConfigError, match="raw symbol BTCUSDT of simulated is listed twice"):
        InstrumentTable([BTC, make_instrument("BTC/USDT:USDT", raw_symbol="BTCUSDT")])


@pytest.mark.parametrize("symbol", ["BTC/USDT", "BTC/USDT:USDT", "BRK.B", "x" * 48])
def test_symbol_that_may_stand_in_a_topic_is_given_back(symbol: str) -> None:
    """Slash, colon and dot are in use at venues."""
    assert check_symbol(symbol) == symbol


@pytest.mark.parametrize("symbol", ["", "x" * 49, "BTC USDT", "BTC*", "BTC\0", "BTC\n", "₿", "\x7f"])
def test_symbol_that_would_break_a_topic_is_refused(symbol: str) -> None:
    """A NUL ends a topic, a star is a pattern."""
    with pytest.raises(InvalidValueError, match="symbol: expected 1 to 48 printable ASCII characters"):
        check_symbol(symbol)


@pytest.mark.parametrize(
    ("symbol", "currency"),
    [("BTC/USDT", "USDT"), ("BTC/USDT:USDT", "USDT"), ("ETH/BTC", "BTC"), ("INDEX", "INDEX")],
)
def test_quote_currency_stands_after_the_slash(symbol: str, currency: str) -> None:
    """With or without a settlement currency; a symbol without a slash stands for itself."""
    assert quote_currency(symbol) == currency
