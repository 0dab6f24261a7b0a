"""What makes two signals the same decision."""

from typing import Any

import pytest
from support.executor_builders import NOW_NS, make_signal

from executor.digest import digest_of, digest_of_bytes


@pytest.mark.parametrize(
    ("name", "spellings"),
    [("quantity", ["1", "1.0", "1.00", "1E+0", "0.1E1"]), ("limit_price", ["100", "100.00", "1E+2", "1.0E2"])],
)
def test_other_spelling_of_an_amount_is_the_same_decision(name: str, spellings: list[str]) -> None:
    """A client may write 1.0 the first time and 1.00 the second."""
    digests = {digest_of(make_signal(**{name: spelling})) for spelling in spellings}

    assert len(digests) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "reversion"},
        {"exchange": "binance"},
        {"symbol": "ETH/USDT"},
        {"action": "sell"},
        {"order_type": "market", "limit_price": "100"},
        {"quantity": "1.01"},
        {"quantity": "10"},
        {"quantity": "NaN"},
        {"limit_price": "100.1"},
        {"limit_price": None},
        {"time_in_force": "ioc"},
        {"expires_ns": NOW_NS + 1},
        {"reduce_only": True},
    ],
)
def test_each_economic_field_makes_another_decision(changes: dict[str, Any]) -> None:
    """What would be traded, how, or until when has changed."""
    assert digest_of(make_signal(**changes)) != digest_of(make_signal())


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "momentum-host"},
        {"epoch": 7},
        {"seq": 12},
        {"timestamp_ns": NOW_NS + 1},
        {"confidence": 0.9},
        {"trigger_price": 99.5},
        {"trigger_timestamp_ns": NOW_NS - 1},
        {"cause_id": "gateway:1:tick.simulated.BTC/USDT:5"},
        {"correlation_id": "gateway:1:tick.simulated.BTC/USDT:5"},
    ],
)
def test_delivery_and_explanation_do_not_make_another_decision(changes: dict[str, Any]) -> None:
    """A signal that is sent again has another number and time, and is still the same wish."""
    assert digest_of(make_signal(**changes)) == digest_of(make_signal())


@pytest.mark.parametrize("quantity", ["NaN", "sNaN", "Infinity", "-Infinity", "1E+999999", "-0"])
def test_absurd_amount_has_a_digest(quantity: str) -> None:
    """It will be refused, and a repeat of it must be recognised like any other."""
    assert digest_of(make_signal(quantity=quantity)) == digest_of(make_signal(quantity=quantity))


def test_absurdly_large_amount_is_not_spelled_out() -> None:
    """1E+999999 in full would be a megabyte of zeros; its digest is as short as any."""
    assert len(digest_of(make_signal(quantity="1E+999999"))) == len(digest_of_bytes(b"")) == 32


def test_neighbouring_fields_cannot_run_into_each_other() -> None:
    """What one field gives up the next one may take: the pair is still another pair."""
    first = make_signal(exchange="sim", symbol="ulatedBTC")
    second = make_signal(exchange="simulated", symbol="BTC")

    assert digest_of(first) != digest_of(second)
