"""The newest prices for the checks that need one."""

from decimal import Decimal
from typing import Any

import pytest
from support.executor_builders import NOW_NS, make_instrument, make_signal

from common.events.base import DRAFT
from common.events.market import Quote
from executor import references
from executor.references import References
from executor.risk import Reference


def make_quote(**changes: Any) -> Quote:
    """Prices of the instrument that the other builders speak of."""
    fields: dict[str, Any] = {
        "timestamp_ns": NOW_NS,
        "exchange": "simulated",
        "symbol": "BTC/USDT",
        "bid": 99.5,
        "ask": 100.5,
        "last": 100.0,
    }
    return Quote(**DRAFT, **{**fields, **changes})


def test_instrument_without_a_quote_has_no_reference() -> None:
    """The risk checks then refuse: no price is better than a guessed one."""
    assert References().find(make_instrument()) is None


def test_newest_quote_counts() -> None:
    """With its own time: how old is too old is for others to say."""
    found = References()

    found.on_quote(make_quote(bid=1.0))
    found.on_quote(make_quote(bid=2.0, timestamp_ns=NOW_NS + 5))

    assert found.find(make_signal()) == Reference(Decimal(2), Decimal("100.5"), Decimal(100), NOW_NS + 5)


def test_prices_are_those_that_the_venue_wrote() -> None:
    """0.1 becomes 0.1, not 0.1000000000000000055."""
    found = References()

    found.on_quote(make_quote(bid=0.1, ask=1e-08, last=61685.99))

    assert found.find(make_instrument()) == Reference(
        Decimal("0.1"), Decimal("0.00000001"), Decimal("61685.99"), NOW_NS
    )


@pytest.mark.parametrize("empty", [None, 0.0, -0.0])
@pytest.mark.parametrize("side", ["bid", "ask", "last"])
def test_empty_side_has_no_price(side: str, empty: float | None) -> None:
    """Venues send 0 for it, and an order at 0 would pass every limit."""
    found = References()

    found.on_quote(make_quote(**{side: empty}))

    reference = found.find(make_instrument())
    assert reference is not None
    assert getattr(reference, side) is None
    assert sum(price is None for price in (reference.bid, reference.ask, reference.last)) == 1


def test_instruments_are_apart() -> None:
    """By exchange and by symbol."""
    found = References()

    found.on_quote(make_quote(bid=1.0))
    found.on_quote(make_quote(bid=2.0, symbol="ETH/USDT"))
    found.on_quote(make_quote(bid=3.0, exchange="binance"))

    references_found = [
        found.find(make_instrument(**which)) for which in ({}, {"symbol": "ETH/USDT"}, {"exchange": "binance"})
    ]
    assert [reference and reference.bid for reference in references_found] == [1, 2, 3]


def test_quotes_beyond_the_bound_are_passed_over_and_known_ones_still_renewed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A gateway gone wild must not fill the memory, nor blind the executor for what it trades."""
    monkeypatch.setattr(references, "REFERENCES_MAX", 1)
    found = References()

    found.on_quote(make_quote(bid=1.0))
    found.on_quote(make_quote(symbol="ETH/USDT"))
    found.on_quote(make_quote(bid=2.0))

    reference = found.find(make_instrument())
    assert reference is not None
    assert reference.bid == 2
    assert found.find(make_instrument(symbol="ETH/USDT")) is None
