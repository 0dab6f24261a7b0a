"""The checks of the limits that are on. Those that are off are not there, and cost nothing.

An order that only makes smaller what a limit is about passes it: who is beyond a limit can go back.
"""

from collections.abc import Callable
from decimal import Decimal
from functools import partial

from common.clock import NS_PER_MS
from common.events.trading import Side
from common.instruments import InstrumentTable
from common.money import EXACT, ROUNDING, ZERO, plain
from executor.exposure import NO_SCOPE, NOTHING_HELD, InstrumentKey, Scope, currency_of
from executor.limits import RiskLimits, ScopeLimits, SymbolLimits
from executor.risk import Case, Check, Reason, Refusal

SymbolTable = dict[InstrumentKey, SymbolLimits]
FindScope = Callable[[Case], Scope]
OPPOSITE: dict[Side, Side] = {"buy": "sell", "sell": "buy"}
ONE = Decimal(1)


def make_checks(limits: RiskLimits, strategy: str, instruments: InstrumentTable) -> tuple[Check, ...]:
    """The checks of a strategy's signals, in a fixed order: symbol, order, strategy, all together, balance."""
    symbols = {InstrumentKey(each.exchange, each.symbol): limits.of_symbol(each.name) for each in instruments}
    checks: list[Check] = [
        partial(check, symbols)
        for key, check in SYMBOL_CHECKS.items()
        if any(getattr(symbol, key) is not None for symbol in symbols.values())
    ]
    if limits.duplicate_window_ms is not None:
        checks.append(partial(check_duplicate, limits.duplicate_window_ms))
    if limits.prevents_self_trade:
        checks.append(partial(check_self_trade, symbols))
    scopes: list[tuple[ScopeLimits, FindScope, str]] = [
        (limits.of_strategy(strategy), _strategy_of, "of the strategy"),
        (limits, _total_of, "of all strategies"),
    ]
    for scope_limits, find_scope, whose in scopes:
        checks += [
            partial(check, getattr(scope_limits, key), find_scope, whose)
            for key, check in SCOPE_CHECKS.items()
            if getattr(scope_limits, key) is not None
        ]
    if limits.requires_balance:
        checks.append(check_balance)
    if limits.margin_rate is not None:
        checks.append(partial(check_margin, limits.margin_rate))
    return tuple(checks)


# A symbol, all strategies together


def check_order_quantity(symbols: SymbolTable, case: Case) -> Refusal | None:
    """One order's quantity in its symbol."""
    maximum = symbols[case.key].order_quantity_max
    if maximum is None or case.signal.quantity <= maximum:
        return None
    return _refusal(Reason.ORDER_QUANTITY_LIMIT, "quantity of an order", maximum, case.signal.quantity)


def check_price_collar(symbols: SymbolTable, case: Case) -> Refusal | None:
    """Neither the limit price nor, for a market order, what it would meet is far on the wrong side of the mark."""
    collar = symbols[case.key].price_collar
    if collar is None:
        return None
    mark, price = case.mark, _reach(case)
    if mark is None or price is None:
        return _unpriced(case)
    is_buy = case.signal.action == "buy"
    bound = ROUNDING.multiply(mark, ONE + collar if is_buy else ONE - collar)
    if price <= bound if is_buy else price >= bound:
        return None
    expected = f"{'up to' if is_buy else 'at least'} {plain(bound)}, {plain(collar)} from the mark {plain(mark)}"
    return Refusal(Reason.PRICE_COLLAR, f"price to {case.signal.action} at: expected {expected}, was {plain(price)}")


def check_position_quantity(symbols: SymbolTable, case: Case) -> Refusal | None:
    """The position in a symbol if every working order of this side fills."""
    maximum = symbols[case.key].position_quantity_max
    size = _position_after(case)
    if maximum is None or case.growth <= 0 or size <= maximum:
        return None
    return _refusal(Reason.POSITION_QUANTITY_LIMIT, f"position in {case.instrument.name}", maximum, size)


def check_position_notional(symbols: SymbolTable, case: Case) -> Refusal | None:
    """The same, at the mark."""
    maximum = symbols[case.key].position_notional_max
    if maximum is None or case.growth <= 0:
        return None
    if case.mark is None:
        return _unpriced(case)
    notional = EXACT.multiply(_position_after(case), case.mark)
    if notional <= maximum:
        return None
    return _refusal(Reason.POSITION_NOTIONAL_LIMIT, f"value of {case.instrument.name}", maximum, notional)


# Repeats and ourselves


def check_duplicate(window_ms: int, case: Case) -> Refusal | None:
    """Not the same order of the same strategy a moment ago."""
    intended_ns = case.exposure.intended_ns(case.signal)
    if intended_ns is None or case.replaced is not None:
        return None
    age_ns = case.now_ns - intended_ns
    # An age below 0 is of a clock that was set back: nobody knows how long ago it was.
    if not 0 <= age_ns < window_ms * NS_PER_MS:
        return None
    age_ms = age_ns // NS_PER_MS
    return Refusal(Reason.DUPLICATE_ORDER, f"same order: expected {window_ms} ms or more ago, was {age_ms} ms ago")


def check_self_trade(symbols: SymbolTable, case: Case) -> Refusal | None:
    """Crosses no working order of ours. A market order may go as far as the collar lets it, or else to the touch."""
    side = case.signal.action
    own = case.exposure.best_price(case.key, OPPOSITE[side])
    if own is None:
        return None
    price = _reach(case)
    if price is not None and case.signal.limit_price is None:
        collar = symbols[case.key].price_collar or ZERO
        price = ROUNDING.multiply(price, ONE + collar if side == "buy" else ONE - collar)
    if price is not None and not (price >= own if side == "buy" else price <= own):
        return None
    expected = f"a price {'below' if side == 'buy' else 'above'} our own order at {plain(own)}"
    was = "a market order without a price" if price is None else plain(price)
    return Refusal(Reason.SELF_TRADE, f"{side}: expected {expected}, was {was}")


# A scope: the strategy, or all together


def check_order_notional(maximum: Decimal, _: FindScope, whose: str, case: Case) -> Refusal | None:
    """One order at the worst of its limit price and what the market shows."""
    price = _worth(case)
    if price is None:
        return _unpriced(case)
    notional = EXACT.multiply(case.signal.quantity, price)
    if notional <= maximum:
        return None
    return _refusal(Reason.ORDER_NOTIONAL_LIMIT, f"notional of an order {whose}", maximum, notional)


def check_gross_notional(maximum: Decimal, find_scope: FindScope, whose: str, case: Case) -> Refusal | None:
    """The sizes of all positions, each in its worse case."""
    scope = find_scope(case)
    growth = _size_growth(scope, case)
    if not growth:
        return None
    if case.mark is None or case.exposure.unmarked:
        return _unpriced(case)
    gross = EXACT.add(scope.gross_value, EXACT.multiply(growth, case.mark))
    return (
        None if gross <= maximum else _refusal(Reason.GROSS_NOTIONAL_LIMIT, f"gross notional {whose}", maximum, gross)
    )


def check_net_notional(maximum: Decimal, find_scope: FindScope, whose: str, case: Case) -> Refusal | None:
    """Long less short, if every working order of this side fills and none of the other."""
    if case.growth <= 0:
        return None
    if case.mark is None or case.exposure.unmarked:
        return _unpriced(case)
    scope, added = find_scope(case), EXACT.multiply(case.growth, case.mark)
    is_buy = case.signal.action == "buy"
    net = EXACT.add(scope.long_value if is_buy else scope.short_value.copy_negate(), added)
    return None if net <= maximum else _refusal(Reason.NET_NOTIONAL_LIMIT, f"net notional {whose}", maximum, net)


def check_open_orders(maximum: int, find_scope: FindScope, whose: str, case: Case) -> Refusal | None:
    """Working orders, this one included."""
    count = find_scope(case).open_orders + 1
    if count <= maximum or case.replaced is not None:
        return None
    return _refusal(Reason.OPEN_ORDERS_LIMIT, f"working orders {whose}", maximum, count)


def check_order_rate(maximum: int, find_scope: FindScope, whose: str, case: Case) -> Refusal | None:
    """Orders and amendments in the last second, this one included."""
    count = find_scope(case).orders_within(case.now_ns) + 1
    return None if count <= maximum else _refusal(Reason.ORDER_RATE_LIMIT, f"orders/s {whose}", maximum, count)


def check_daily_loss(maximum: Decimal, find_scope: FindScope, whose: str, case: Case) -> Refusal | None:
    """Not more was lost since midnight UTC; an order that reduces the position may still go out."""
    loss = find_scope(case).loss_today(case.now_ns)
    if loss <= maximum or case.is_reducing:
        return None
    return _refusal(Reason.DAILY_LOSS_LIMIT, f"loss {whose} since midnight UTC", maximum, loss)


def check_drawdown(maximum: Decimal, find_scope: FindScope, whose: str, case: Case) -> Refusal | None:
    """The equity is not further below its highest; an order that reduces the position may still go out."""
    drawdown = find_scope(case).drawdown
    if drawdown <= maximum or case.is_reducing:
        return None
    return _refusal(Reason.DRAWDOWN_LIMIT, f"drawdown {whose}", maximum, drawdown)


def check_loss_streak(maximum: int, find_scope: FindScope, whose: str, case: Case) -> Refusal | None:
    """Not more round trips in a row lost money; an order that reduces the position may still go out."""
    streak = find_scope(case).loss_streak
    if streak <= maximum or case.is_reducing:
        return None
    return _refusal(Reason.LOSS_STREAK_LIMIT, f"losing trades in a row {whose}", maximum, streak)


# The account


def check_balance(case: Case) -> Refusal | None:
    """What all working buys and this one may cost is there."""
    if case.signal.action != "buy" or case.growth <= 0:
        return None
    currency, price = currency_of(case.signal.symbol), _reach(case)
    balance = case.exposure.balance(currency)
    if balance is None:
        return _unknown_balance(currency)
    if price is None or case.exposure.unmarked:
        return _unpriced(case)
    scope = case.exposure.currencies.get(currency, NO_SCOPE)
    bought = EXACT.subtract(scope.long_value, scope.value)
    cost = EXACT.add(bought, EXACT.multiply(case.growth, price))
    if cost <= balance:
        return None
    return _refusal(Reason.INSUFFICIENT_BALANCE, f"{currency} to buy for", balance, cost)


def check_margin(rate: Decimal, case: Case) -> Refusal | None:
    """The equity of the currency covers the margin of everything held, under way and wanted."""
    currency = currency_of(case.signal.symbol)
    scope = case.exposure.currencies.get(currency, NO_SCOPE)
    growth = _size_growth(scope, case)
    if not growth:
        return None
    equity = case.exposure.account_equity(currency)
    if equity is None:
        return _unknown_balance(currency)
    if case.mark is None or case.exposure.unmarked:
        return _unpriced(case)
    gross = EXACT.add(scope.gross_value, EXACT.multiply(growth, case.mark))
    margin = EXACT.multiply(gross, rate)
    return None if margin <= equity else _refusal(Reason.INSUFFICIENT_MARGIN, f"{currency} margin", equity, margin)


SYMBOL_CHECKS: dict[str, Callable[[SymbolTable, Case], Refusal | None]] = {
    "order_quantity_max": check_order_quantity,
    "price_collar": check_price_collar,
    "position_quantity_max": check_position_quantity,
    "position_notional_max": check_position_notional,
}
SCOPE_CHECKS: dict[str, Callable[..., Refusal | None]] = {
    "order_notional_max": check_order_notional,
    "gross_notional_max": check_gross_notional,
    "net_notional_max": check_net_notional,
    "open_orders_max": check_open_orders,
    "orders_per_second_max": check_order_rate,
    "daily_loss_max": check_daily_loss,
    "drawdown_max": check_drawdown,
    "loss_streak_max": check_loss_streak,
}


def _strategy_of(case: Case) -> Scope:
    return case.exposure.strategy(case.signal.strategy)


def _total_of(case: Case) -> Scope:
    return case.exposure.total


def _reach(case: Case) -> Decimal | None:
    """The worst price that the order admits to: its limit, or what a market order would meet."""
    if case.signal.limit_price is not None:
        return case.signal.limit_price
    return None if case.reference is None else case.reference.price(case.signal.action)


def _worth(case: Case) -> Decimal | None:
    """The highest price at which it may trade: a sale with a low limit still gets what the market gives."""
    reach, reference = _reach(case), case.reference
    touch = None if reference is None or case.signal.action == "buy" else reference.price("sell")
    return reach if reach is None or touch is None else max(reach, touch)


def _position_after(case: Case) -> Decimal:
    """The size of the position of all strategies if this order and every working one of its side fill."""
    held = case.exposure.total.holdings.get(case.key, NOTHING_HELD)
    return held.size_after(case.signal.action, case.growth)


def _size_growth(scope: Scope, case: Case) -> Decimal:
    """By how much the order raises the size of the position in its worse case."""
    held = scope.holdings.get(case.key, NOTHING_HELD)
    size = held.size_after(case.signal.action, case.growth)
    return EXACT.subtract(size, held.largest) if case.growth > 0 and size > held.largest else ZERO


def _refusal(reason: Reason, what: str, maximum: Decimal | int, was: Decimal | int) -> Refusal:
    texts = [plain(amount) if isinstance(amount, Decimal) else str(amount) for amount in (maximum, was)]
    return Refusal(reason, f"{what}: expected up to {texts[0]}, was {texts[1]}")


def _unpriced(case: Case) -> Refusal:
    key = min(case.exposure.unmarked, default=case.key)
    return Refusal(Reason.NO_REFERENCE, f"no market price of {key.exchange}.{key.symbol} to value it with")


def _unknown_balance(currency: str) -> Refusal:
    return Refusal(Reason.UNKNOWN_BALANCE, f"{currency or 'quote currency'}: the venue has told no balance yet")
