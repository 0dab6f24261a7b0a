"""Limits that are broken by what happened: each is found once, with its scope, as long as it is broken."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from support.executor_builders import EXCHANGE, NOW_NS, STRATEGY, SYMBOL, ExecutorHarness, make_signal

from common.events.risk import TradingState
from executor.breaches import MarginShortage, find_breaches
from executor.exposure import NS_PER_DAY, Exposure, InstrumentKey
from executor.limits import RiskLimits
from executor.positions import Position
from executor.risk import Reason

KEY = InstrumentKey(EXCHANGE, SYMBOL)


def found(exposure: Exposure, now_ns: int = NOW_NS, **limits: Any) -> list[tuple[Reason, str]]:
    """Codes and scopes of what is broken."""
    breaches = find_breaches(exposure, msgspec.convert(limits, RiskLimits), now_ns)
    return [(breach.code, breach.scope) for breach in breaches]


def make_loss(amount: str, *strategies: str) -> Exposure:
    """Each of the strategies, or that of `make_signal`, has lost this much in one round trip."""
    exposure = Exposure()
    for strategy in strategies or (STRATEGY,):
        key = (strategy, EXCHANGE, SYMBOL)
        held = Position().after_fill("buy", Decimal(1), Decimal(100), Decimal(0))
        exposure.on_position(key, Position(), held, Decimal(100), NOW_NS)
        price = Decimal(100) - Decimal(amount)
        exposure.on_position(key, held, held.after_fill("sell", Decimal(1), price, Decimal(0)), price, NOW_NS)
    return exposure


@pytest.mark.parametrize(
    ("key", "limit", "code"),
    [
        ("daily_loss_max", "10", Reason.DAILY_LOSS_LIMIT),
        ("drawdown_max", "10", Reason.DRAWDOWN_LIMIT),
    ],
)
def test_loss_beyond_its_limit_is_a_breach(key: str, limit: str, code: Reason) -> None:
    """For all together or the strategy alone; at the limit it is none."""
    at_limit, beyond = make_loss("10"), make_loss("10.01")

    assert found(at_limit, **{key: limit}) == []
    assert found(beyond, **{key: limit}) == [(code, "all")]
    assert found(beyond, each_strategy={key: limit}) == [(code, f"strategy:{STRATEGY}")]


def test_streak_beyond_its_limit_is_a_breach() -> None:
    """Two strategies lost one trade each: two in a row for all, one for each."""
    exposure = make_loss("1", "even", "odd")

    assert found(exposure, loss_streak_max=2) == []
    assert found(exposure, loss_streak_max=1) == [(Reason.LOSS_STREAK_LIMIT, "all")]
    assert found(exposure, strategies={"odd": {"loss_streak_max": 0}}) == [(Reason.LOSS_STREAK_LIMIT, "strategy:odd")]


def test_own_limit_of_a_strategy_stands_instead_of_that_of_each() -> None:
    """Two lost the same; one of them may."""
    exposure = make_loss("10", "even", "odd")

    breaches = found(exposure, each_strategy={"daily_loss_max": "9"}, strategies={"odd": {"daily_loss_max": "10"}})

    assert breaches == [(Reason.DAILY_LOSS_LIMIT, "strategy:even")]


def test_unrealised_loss_is_a_breach_without_any_fill() -> None:
    """The market moves, and time passes: the caller looks again."""
    exposure = Exposure()
    key = (STRATEGY, EXCHANGE, SYMBOL)
    held = Position().after_fill("buy", Decimal(1), Decimal(100), Decimal(0))
    exposure.on_position(key, Position(), held, Decimal(100), NOW_NS)

    exposure.mark(KEY, Decimal("89.9"), NOW_NS)

    assert found(exposure, daily_loss_max="10") == [(Reason.DAILY_LOSS_LIMIT, "all")]


def test_loss_of_yesterday_is_no_breach_of_today_but_a_drawdown_is() -> None:
    """One begins anew at midnight UTC, the other when a person says so."""
    exposure, limits = make_loss("10"), {"daily_loss_max": "1", "drawdown_max": "1"}

    assert found(exposure, NOW_NS + NS_PER_DAY, **limits) == [(Reason.DRAWDOWN_LIMIT, "all")]

    exposure.count_anew("all", NOW_NS)
    assert found(exposure, **limits) == []


def test_detail_says_what_was_expected_and_what_was_there() -> None:
    """It becomes the reason of the halt that a person reads."""
    [breach] = find_breaches(make_loss("10.01"), RiskLimits(daily_loss_max=Decimal(10)), NOW_NS)

    assert breach.detail == "loss since midnight UTC: expected up to 10, was 10.01"


def test_margin_call_tells_what_is_there_and_what_is_needed() -> None:
    """100 were there; one was bought at 100. At 60 the equity is 60 and the need 30; at a rate above 1 it is short."""
    exposure = Exposure()
    key = (STRATEGY, EXCHANGE, SYMBOL)
    limits = RiskLimits(margin_rate=Decimal("0.5"))
    held = Position().after_fill("buy", Decimal(4), Decimal(100), Decimal(0))
    exposure.on_position(key, Position(), held, Decimal(100), NOW_NS)
    assert find_breaches(exposure, limits, NOW_NS) == []

    exposure.take_balances({"USDT": Decimal(-200)})  # 200 of 400 were borrowed
    assert find_breaches(exposure, limits, NOW_NS) == []

    exposure.mark(KEY, Decimal(99), NOW_NS)
    [breach] = find_breaches(exposure, limits, NOW_NS)
    assert (breach.code, breach.scope) == (Reason.MARGIN_CALL, "all")
    assert breach.margin == MarginShortage("USDT", Decimal(196), Decimal(198))


def test_no_limit_no_breach() -> None:
    """Whatever was lost."""
    assert found(make_loss("99")) == []


def test_margin_counts_orders_under_way() -> None:
    """Long two with an order for two more: the need is that of four."""
    harness = ExecutorHarness()
    harness.have_working("a", quantity="2")
    harness.fill("a", quantity="2", fee="0")
    harness.book.exposure.take_balances({"USDT": Decimal(-1)})
    assert found(harness.book.exposure, margin_rate="0.75") == []

    harness.signal("b", quantity="2")

    assert found(harness.book.exposure, margin_rate="0.75") == [(Reason.MARGIN_CALL, "all")]


@pytest.mark.parametrize(
    ("state", "side", "reason"),
    [
        (TradingState.ACTIVE, "buy", None),
        (TradingState.REDUCING, "buy", Reason.TRADING_REDUCING),
        (TradingState.REDUCING, "sell", None),
        (TradingState.HALTED, "sell", Reason.TRADING_HALTED),
    ],
)
def test_gate_asks_the_kill_switch(state: TradingState, side: str, reason: Reason | None) -> None:
    """One long, nothing under way."""
    harness = ExecutorHarness()
    harness.have_working("a")
    harness.fill("a", quantity="1")

    refusal = harness.executor.gate.find_refusal(
        make_signal("b", action=side), harness.book.exposure, waiting_count=0, now_ns=NOW_NS, trading_state=state
    )

    assert (None if refusal is None else refusal.reason) is reason


def test_reducing_counts_orders_that_reduce_already_and_none_that_may_not_fill() -> None:
    """One long, 0.4 of it for sale and one more wanted: 0.6 may still be sold."""
    harness = ExecutorHarness()
    harness.have_working("a")
    harness.fill("a", quantity="1")
    harness.have_working("b", action="sell", quantity="0.4")
    harness.have_working("c")

    def reason(quantity: str) -> Reason | None:
        refusal = harness.executor.gate.find_refusal(
            make_signal("d", action="sell", quantity=quantity),
            harness.book.exposure,
            waiting_count=0,
            now_ns=NOW_NS,
            trading_state=TradingState.REDUCING,
        )
        return None if refusal is None else refusal.reason

    assert (reason("0.6"), reason("0.61")) == (None, Reason.TRADING_REDUCING)
