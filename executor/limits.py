"""The limits that a risk officer sets: the table `[executor.risk]`. An absent limit is off; a maximum itself passes.

Money is in quote units; all quote currencies are added as if they were worth the same, except where a balance is asked
for. Each limit of a scope holds for all strategies together where it stands in `[executor.risk]`, for each strategy
alone in `[executor.risk.each_strategy]`, and for one of them, instead of that, in `[executor.risk.strategies.NAME]`.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated

import msgspec

from common.money import is_bounded, plain

# The fold remembers each order this long: 2,000 orders/s make 20,000 of them.
DUPLICATE_WINDOW_MS_MAX = 10_000

Count = Annotated[int, msgspec.Meta(ge=0)]


class ScopeLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one strategy, or all together, may have and lose. Orders under way count as if they filled."""

    order_notional_max: Decimal | None = None
    gross_notional_max: Decimal | None = None  # the sum over symbols, long and short alike
    net_notional_max: Decimal | None = None  # long less short
    open_orders_max: Count | None = None
    orders_per_second_max: Count | None = None
    daily_loss_max: Decimal | None = None  # realised and unrealised, less fees, since midnight UTC
    drawdown_max: Decimal | None = None  # from the highest equity so far
    loss_streak_max: Count | None = None  # round trips in a row, from flat to flat, that lost money


class SymbolLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all strategies together may do in one symbol; quantities in base units."""

    order_quantity_max: Decimal | None = None
    position_quantity_max: Decimal | None = None
    position_notional_max: Decimal | None = None  # instead of that of every symbol
    price_collar: Decimal | None = None  # instead of that of every symbol


class RiskLimits(ScopeLimits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All limits of the executor. The limits of the scope are those of all strategies together."""

    position_notional_max: Decimal | None = None  # of each symbol
    price_collar: Decimal | None = None  # how far an order may reach beyond the mark, such as 0.05 of it
    duplicate_window_ms: Annotated[int, msgspec.Meta(gt=0, le=DUPLICATE_WINDOW_MS_MAX)] | None = None
    prevents_self_trade: bool = False  # off: some strategies quote both sides, and the venue may have its own rule
    requires_balance: bool = False  # a cash account: a buy needs its cost in the quote currency
    margin_rate: Decimal | None = None  # a margin account: this share of the gross notional must be there as equity
    each_strategy: ScopeLimits = ScopeLimits()
    strategies: dict[str, ScopeLimits] = {}
    symbols: dict[str, SymbolLimits] = {}  # by `{exchange}.{symbol}`

    def __post_init__(self) -> None:
        for key, limit in _entries(self):
            if isinstance(limit, Decimal) and not (is_bounded(limit) and limit >= 0):
                raise ValueError(f"{key}: expected a finite amount of 0 or more, was {limit}")
            if key.endswith("price_collar") and isinstance(limit, Decimal) and limit >= 1:
                raise ValueError(f"{key}: expected a share below 1, such as 0.05, was {limit}")

    def of_strategy(self, strategy: str) -> ScopeLimits:
        """What holds for one strategy: its own limits, and those of each strategy where it has none."""
        own = self.strategies.get(strategy)
        if own is None:
            return self.each_strategy
        return msgspec.structs.replace(self.each_strategy, **dict(_own_entries(own)))

    def of_symbol(self, name: str) -> SymbolLimits:
        """What holds for one symbol, called `{exchange}.{symbol}`."""
        every = SymbolLimits(position_notional_max=self.position_notional_max, price_collar=self.price_collar)
        own = self.symbols.get(name)
        return every if own is None else msgspec.structs.replace(every, **dict(_own_entries(own)))


def describe_limits(limits: RiskLimits) -> dict[str, str]:
    """Every limit that is on, by its key under `[executor.risk]`."""
    return {key: _text(limit) for key, limit in _entries(limits) if limit is not False}


def _entries(limits: RiskLimits) -> Iterator[tuple[str, object]]:
    yield from _own_entries(limits)
    yield from ((f"each_strategy.{key}", limit) for key, limit in _own_entries(limits.each_strategy))
    for name, scope in limits.strategies.items():
        yield from ((f"strategies.{name}.{key}", limit) for key, limit in _own_entries(scope))
    for name, symbol in limits.symbols.items():
        yield from ((f"symbols.{name}.{key}", limit) for key, limit in _own_entries(symbol))


def _own_entries(table: msgspec.Struct) -> Iterator[tuple[str, object]]:
    """The limits of one table that are given; not those of the tables in it."""
    for key in table.__struct_fields__:
        limit = getattr(table, key)
        if limit is not None and not isinstance(limit, dict | ScopeLimits):
            yield key, limit


def _text(limit: object) -> str:
    if isinstance(limit, bool):
        return "on"
    return plain(limit) if isinstance(limit, Decimal) else str(limit)
