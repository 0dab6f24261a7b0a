"""Signals that must not become orders: each is refused with its reason, and reaches no exchange."""

import time
from typing import Any

import pytest
from support.pipeline import Pipeline
from support.plain_client import NS_PER_S, PlainClient, make_signal, signal_frame

from common.ids import make_client_order_id

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]

LIMIT = {"order_type": "limit", "time_in_force": "gtc", "limit_price": "60000"}

# Situation, what it changes in a good signal to buy 0.01 BTC/USDT at the market, the reason of the refusal.
BAD_SIGNALS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("quantity-nan", {"quantity": "NaN"}, "INVALID_QUANTITY"),
    ("quantity-snan", {"quantity": "sNaN"}, "INVALID_QUANTITY"),
    ("quantity-infinite", {"quantity": "Infinity"}, "INVALID_QUANTITY"),
    ("quantity-minus-infinite", {"quantity": "-inf"}, "INVALID_QUANTITY"),
    ("quantity-negative", {"quantity": "-0.01"}, "INVALID_QUANTITY"),
    ("quantity-zero", {"quantity": "0"}, "INVALID_QUANTITY"),
    ("quantity-huge", {"quantity": "1e999999"}, "INVALID_QUANTITY"),
    ("quantity-tiny", {"quantity": "1e-999999"}, "INVALID_QUANTITY"),
    ("quantity-off-lot", {"quantity": "0.01005"}, "OFF_LOT"),
    ("quantity-beyond-instrument", {"quantity": "2000000"}, "ABOVE_MAX_QUANTITY"),
    ("notional-too-large", {"quantity": "10"}, "ABOVE_MAX_NOTIONAL"),
    ("notional-too-small", {**LIMIT, "limit_price": "0.01"}, "BELOW_MIN_NOTIONAL"),
    ("quantity-float", {"quantity": 0.01}, "MALFORMED"),
    ("quantity-float-nan", {"quantity": float("nan")}, "MALFORMED"),
    ("quantity-integer", {"quantity": 1}, "MALFORMED"),
    ("quantity-no-number", {"quantity": "much"}, "MALFORMED"),
    ("quantity-empty", {"quantity": ""}, "MALFORMED"),
    ("quantity-list", {"quantity": ["0.01"]}, "MALFORMED"),
    ("quantity-missing", {"quantity": None}, "MALFORMED"),
    ("price-off-tick", {**LIMIT, "limit_price": "60000.001"}, "OFF_TICK"),
    ("price-nan", {**LIMIT, "limit_price": "NaN"}, "INVALID_LIMIT_PRICE"),
    ("price-infinite", {**LIMIT, "limit_price": "inf"}, "INVALID_LIMIT_PRICE"),
    ("price-negative", {**LIMIT, "limit_price": "-60000"}, "INVALID_LIMIT_PRICE"),
    ("price-float", {**LIMIT, "limit_price": 60000.0}, "MALFORMED"),
    ("price-missing", {"order_type": "limit"}, "MISSING_LIMIT_PRICE"),
    ("price-with-market-order", {"limit_price": "60000"}, "UNEXPECTED_LIMIT_PRICE"),
    ("expired", {"expires_ns": time.time_ns() - NS_PER_S}, "EXPIRED"),
    ("expiry-zero", {"expires_ns": 0}, "EXPIRED"),
    ("expiry-text", {"expires_ns": "tomorrow"}, "MALFORMED"),
    ("instrument-unknown", {"symbol": "DOGE/USDT"}, "UNKNOWN_INSTRUMENT"),
    ("exchange-unknown", {"exchange": "elsewhere"}, "UNKNOWN_INSTRUMENT"),
    ("action-unknown", {"action": "short"}, "MALFORMED"),
    ("action-upper-case", {"action": "BUY"}, "MALFORMED"),
    ("order-type-unknown", {"order_type": "stop"}, "MALFORMED"),
    ("time-in-force-unknown", {"time_in_force": "day"}, "MALFORMED"),
    ("confidence-above-one", {"confidence": 1.5}, "MALFORMED"),
    ("confidence-nan", {"confidence": float("nan")}, "MALFORMED"),
    ("reduces-nothing", {"reduce_only": True, "action": "sell", "strategy": "owns-nothing"}, "REDUCE_ONLY"),
)


@pytest.fixture(scope="module")
def refusals(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """The answer to each bad signal, by situation."""
    with PlainClient(pipeline.endpoint) as client:
        events = client.listen("events", b"signal_acknowledged.")
        client.push(*[signal_frame(f"bad-{name}", **changes) for name, changes, _ in BAD_SIGNALS])
        answers = [events.find(lambda body: body["signal_id"].startswith("bad-")) for _ in BAD_SIGNALS]
    return {answer["signal_id"].removeprefix("bad-"): answer for answer in answers}


@pytest.mark.parametrize(("name", "reason"), [(name, reason) for name, _, reason in BAD_SIGNALS])
def test_bad_signal_is_denied_on_events_with_its_reason(
    refusals: dict[str, dict[str, Any]], name: str, reason: str
) -> None:
    """Its strategy is told by id what was wrong; in words too."""
    answer = refusals[name]

    assert (answer["outcome"], answer["reason"]) == ("denied", reason)
    assert answer["detail"]
    assert "client_order_id" not in answer


@pytest.mark.usefixtures("refusals")
def test_every_refusal_is_in_the_journal(pipeline: Pipeline) -> None:
    """The executor's own record says denied, with the reason and without an order."""
    recorded = {signal["signal_id"]: signal for signal in pipeline.journal()["signals"]}

    told = {name: recorded[f"bad-{name}"] for name, _, _ in BAD_SIGNALS}

    assert {name: signal["reason"] for name, signal in told.items()} == {name: why for name, _, why in BAD_SIGNALS}
    assert {(signal["outcome"], signal["client_order_id"]) for signal in told.values()} == {("denied", None)}


@pytest.mark.usefixtures("refusals")
def test_no_refused_signal_reaches_the_exchange(pipeline: Pipeline) -> None:
    """The exchange's own record has no order under any id that they would have had."""
    placed = {order["client_order_id"] for order in pipeline.ledger()["orders"]}

    assert not placed & {make_client_order_id(f"bad-{name}") for name, _, _ in BAD_SIGNALS}


@pytest.mark.usefixtures("refusals")
def test_refused_signal_stays_refused(client: PlainClient) -> None:
    """The same signal again gets the recorded answer, with its reason, although the market may have changed."""
    events = client.listen("events", b"signal_acknowledged.simulated.BTC/USDT\0")
    expired = make_signal("late", expires_ns=time.time_ns() - NS_PER_S)

    client.push(signal_frame(**expired))
    first = events.acknowledgement("late")
    client.push(signal_frame(**expired))
    second = events.acknowledgement("late")

    assert (first["outcome"], first["reason"]) == (second["outcome"], second["reason"]) == ("denied", "EXPIRED")


@pytest.mark.usefixtures("refusals")
def test_good_signal_after_bad_ones_is_accepted(client: PlainClient) -> None:
    """Whatever came before, the executor works."""
    events = client.listen("events", b"signal_acknowledged.simulated.BTC/USDT\0")

    client.push(signal_frame("good-after-bad"))

    assert events.acknowledgement("good-after-bad")["outcome"] == "accepted"
