"""Limits that are broken by what happened, not by an order: each demands that the kill switch is moved."""

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from common.money import EXACT, plain
from executor.exposure import Exposure, Scope
from executor.limits import RiskLimits, ScopeLimits
from executor.risk import Reason


class MarginShortage(msgspec.Struct, frozen=True):
    """The equity of a currency, and the higher amount that positions and orders need."""

    currency: str
    balance: Decimal
    required: Decimal


class Breach(msgspec.Struct, frozen=True):
    """A broken limit; `scope` is `all` or `strategy:NAME`. `margin` is there for a MARGIN_CALL only."""

    code: Reason
    scope: str
    detail: str
    margin: MarginShortage | None = None


def find_breaches(exposure: Exposure, limits: RiskLimits, now_ns: int) -> list[Breach]:
    """Every limit of losses and margin that is broken now."""
    found = list(_breaches_of("all", exposure.total, limits, now_ns))
    if limits.strategies or limits.each_strategy != ScopeLimits():
        for name, scope in exposure.strategies.items():
            found += _breaches_of(f"strategy:{name}", scope, limits.of_strategy(name), now_ns)
    if limits.margin_rate is not None:
        found += _margin_calls(exposure, limits.margin_rate)
    return found


def _breaches_of(name: str, scope: Scope, limits: ScopeLimits, now_ns: int) -> Iterator[Breach]:
    if limits.daily_loss_max is not None and (loss := scope.loss_today(now_ns)) > limits.daily_loss_max:
        detail = f"loss since midnight UTC: expected up to {plain(limits.daily_loss_max)}, was {plain(loss)}"
        yield Breach(Reason.DAILY_LOSS_LIMIT, name, detail)
    if limits.drawdown_max is not None and scope.drawdown > limits.drawdown_max:
        detail = f"drawdown: expected up to {plain(limits.drawdown_max)}, was {plain(scope.drawdown)}"
        yield Breach(Reason.DRAWDOWN_LIMIT, name, detail)
    if limits.loss_streak_max is not None and scope.loss_streak > limits.loss_streak_max:
        detail = f"losing trades in a row: expected up to {limits.loss_streak_max}, was {scope.loss_streak}"
        yield Breach(Reason.LOSS_STREAK_LIMIT, name, detail)


def _margin_calls(exposure: Exposure, rate: Decimal) -> Iterator[Breach]:
    for currency, scope in exposure.currencies.items():
        equity, required = exposure.account_equity(currency), EXACT.multiply(scope.gross_value, rate)
        if equity is not None and equity < required:
            detail = f"{currency} margin: expected {plain(required)} or more, was {plain(equity)}"
            yield Breach(Reason.MARGIN_CALL, "all", detail, MarginShortage(currency, equity, required))
