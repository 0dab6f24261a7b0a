"""What the market shows now, as far as the executor needs to know."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.executor_builders import EXCHANGE, NOW_NS, SYMBOL, make_signal

from common.events.base import DRAFT
from common.events.market import Quote
from executor import references
from executor.positions import Position
from executor.references import References


def make_quote(**changes: Any) -> Quote:
    """A market of 99.9 to 100.1."""
    fields = {"timestamp_ns": NOW_NS, "exchange": EXCHANGE, "symbol": SYMBOL, "bid": 99.9, "ask": 100.1, **changes}
    return Quote(**DRAFT, **fields)


def test_instrument_without_a_quote_has_no_reference() -> None:
    """Nothing is known, so nothing is guessed."""
    assert References().find(make_signal()) is None


def test_newest_quote_counts() -> None:
    """With its own time, by which its age is judged."""
    known = References()
    known.on_quote(make_quote(bid=1.0, ask=2.0))
    known.on_quote(make_quote(timestamp_ns=NOW_NS + 5))

    reference = known.find(make_signal())

    assert reference is not None
    assert (reference.bid, reference.ask, reference.last) == (Decimal("99.9"), Decimal("100.1"), None)
    assert reference.timestamp_ns == NOW_NS + 5


def test_quote_of_another_instrument_is_no_reference() -> None:
    """Neither another symbol of the exchange nor the same symbol of another one."""
    known = References()
    known.on_quote(make_quote(symbol="ETH/USDT"))
    known.on_quote(make_quote(exchange="binance"))

    assert known.find(make_signal()) is None


@pytest.mark.parametrize("price", [float("nan"), float("inf"), float("-inf"), -1.0, 0.0, 1.1e15])
def test_price_of_a_broken_feed_is_none(price: float) -> None:
    """A check would raise on NaN, and believe the others."""
    known = References()
    known.on_quote(make_quote(bid=price, ask=price, last=price))

    reference = known.find(make_signal())

    assert reference is not None
    assert (reference.bid, reference.ask, reference.last) == (None, None, None)


@pytest.mark.parametrize("price", [0.1, 1e-8, 61685.99, 0.30000000000000004, 1e15])
def test_float_price_becomes_the_decimal_that_it_is_written_as(price: float) -> None:
    """0.1 is 0.1, not 0.1000000000000000055."""
    known = References()
    known.on_quote(make_quote(last=price))

    reference = known.find(make_signal())

    assert reference is not None
    assert reference.last == Decimal(repr(price))


def test_empty_side_is_absent() -> None:
    """Venues send 0 for it, and 0 is no price to buy at."""
    known = References()
    known.on_quote(make_quote(bid=0.0, ask=0.0, last=0.0))

    reference = known.find(make_signal())

    assert reference is not None
    assert (reference.bid, reference.ask, reference.last) == (None, None, None)


@given(
    bid=st.floats(min_value=0, max_value=1e15),
    ask=st.none() | st.floats(min_value=0, max_value=1e15),
    last=st.none() | st.floats(min_value=0, max_value=1e15),
)
@example(bid=1e15, ask=5e-324, last=None)
@example(bid=0.0, ask=None, last=5e-324)
def test_any_prices_of_the_wire_can_mark_a_position(bid: float, ask: float | None, last: float | None) -> None:
    """A broken feed gives a broken valuation for a moment; it must not end the process that books a fill."""
    known = References()
    known.on_quote(make_quote(bid=bid, ask=ask, last=last))
    reference = known.find(make_signal())
    assert reference is not None
    position = Position().after_fill("buy", Decimal("1.23456789"), Decimal("100.01"), Decimal(0))

    profit = position.unrealised_pnl(reference.mark())

    assert profit.is_finite()


def test_flood_of_instruments_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known stays up to date, what lies beyond the bound is not remembered."""
    monkeypatch.setattr(references, "REFERENCES_MAX", 2)
    known = References()
    for symbol in ("A/USDT", SYMBOL, "B/USDT"):
        known.on_quote(make_quote(symbol=symbol))
    known.on_quote(make_quote(timestamp_ns=NOW_NS + 1))

    reference = known.find(make_signal())

    assert known.find(make_signal(symbol="B/USDT")) is None
    assert reference is not None
    assert reference.timestamp_ns == NOW_NS + 1
