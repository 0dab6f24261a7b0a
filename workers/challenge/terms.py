"""What a challenge asks for. Amounts are in its currency; days are UTC days on which something was traded."""

from decimal import Decimal
from typing import Annotated

import msgspec

from common.errors import ConfigError
from common.events.base import Currency, Id, Word

Positive = Annotated[int, msgspec.Meta(gt=0)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]


class PhaseTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One phase. It is passed when equity is `profit_target` above its beginning, after so many days of trading."""

    profit_target: Decimal
    trading_days_min: NotNegative = 0
    days_max: Positive | None = None  # calendar days; None for no end


class ChallengeTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[workers.options.challenge]`. Each phase begins with the equity that it finds.

    `daily_loss_max` counts from the equity at the beginning of the day, `total_loss_max` from the starting balance. A
    loss that reaches its limit fails the attempt, whatever it recovers later.
    """

    name: Word = "evaluation"
    user_id: Id = "trader"
    attempt_id: Id = "attempt-1"
    currency: Currency = "USDT"
    starting_balance: Decimal = Decimal(100_000)
    daily_loss_max: Decimal = Decimal(5_000)
    total_loss_max: Decimal = Decimal(10_000)
    phases: tuple[PhaseTerms, ...] = (
        PhaseTerms(profit_target=Decimal(10_000), trading_days_min=4),
        PhaseTerms(profit_target=Decimal(5_000), trading_days_min=4),
    )


def check_terms(terms: ChallengeTerms) -> ChallengeTerms:
    """Give terms back when they can be met.

    Raises:
        ConfigError: An amount is not above 0, or there is no phase.
    """
    amounts = {
        "starting_balance": terms.starting_balance,
        "daily_loss_max": terms.daily_loss_max,
        "total_loss_max": terms.total_loss_max,
        **{f"phases.{number}.profit_target": phase.profit_target for number, phase in enumerate(terms.phases, 1)},
    }
    for name, amount in amounts.items():
        if not (amount.is_finite() and amount > 0):
            raise ConfigError(f"challenge {name}: expected an amount above 0, was {amount}")
    if not terms.phases:
        raise ConfigError("challenge phases: expected at least one")
    return terms
