"""What is at stake: positions, orders under way, profit and loss, as sums that are kept and never computed anew.

A fold fed by the book whenever an order is kept or a position changes, so the journal rebuilds it. Only the market's
newest prices and the venue's balances come from elsewhere: after a restart they are those of the last fills until the
market has shown newer ones, and the highest equity is the highest that a fill or a newer price has shown.

Each change moves three scopes: all together, the strategy, and the currency that the symbol is paid in. Orders count
at their worst: all working buys fill and no sell does, or the other way round.
"""

import bisect
import functools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

import msgspec

from common.clock import NS_PER_MS, NS_PER_S
from common.events.trading import Side, Signal
from common.money import AMOUNT_MAX, EXACT, ZERO
from executor.limits import DUPLICATE_WINDOW_MS_MAX
from executor.orders import Order
from executor.positions import Position

RATE_WINDOW_NS = NS_PER_S
DUPLICATE_MEMORY_NS = DUPLICATE_WINDOW_MS_MAX * NS_PER_MS
NS_PER_DAY = 86_400 * NS_PER_S

PositionKey = tuple[str, str, str]  # strategy, exchange, symbol
OrderTerms = tuple[str, str, str, str, Decimal, Decimal | None]


class InstrumentKey(NamedTuple):
    """What names an instrument."""

    exchange: str
    symbol: str


class Holding(msgspec.Struct, frozen=True):
    """One instrument in one scope: what is held, long above 0, and what it may become by working orders."""

    quantity: Decimal = ZERO
    longest: Decimal = ZERO  # if every working buy fills and no sell
    shortest: Decimal = ZERO  # if every working sell fills and no buy
    largest: Decimal = ZERO  # the size in the worse of the two cases

    def after_order(self, side: Side, quantity: Decimal) -> "Holding":
        """The holding with one more working order; below 0, with one less."""
        if side == "buy":
            return make_holding(self.quantity, EXACT.add(self.longest, quantity), self.shortest)
        return make_holding(self.quantity, self.longest, EXACT.subtract(self.shortest, quantity))

    def after_fill(self, signed: Decimal) -> "Holding":
        """The holding with more, or less, of what is held."""
        return make_holding(*(EXACT.add(amount, signed) for amount in (self.quantity, self.longest, self.shortest)))

    def reducible(self, side: Side) -> Decimal:
        """How much an order of this side may take from the position, less what working orders may take already."""
        return self.shortest if side == "sell" else self.longest.copy_negate()

    def size_after(self, side: Side, quantity: Decimal) -> Decimal:
        """The size of the position if one more order and every working one of its side fill."""
        return EXACT.add(quantity, self.longest) if side == "buy" else EXACT.subtract(quantity, self.shortest)


def make_holding(quantity: Decimal, longest: Decimal, shortest: Decimal) -> Holding:
    """A holding with its worse case."""
    return Holding(quantity, longest, shortest, max(longest, shortest.copy_negate()))


NOTHING_HELD = Holding()


class Scope(msgspec.Struct):
    """The sums of one strategy, one currency, or all together, in quote units at the newest prices."""

    holdings: dict[InstrumentKey, Holding] = msgspec.field(default_factory=dict)
    open_orders: int = 0
    order_times_ns: deque[int] = msgspec.field(default_factory=deque)
    equity: Decimal = ZERO  # everything won and lost so far: realised, unrealised, less fees
    value: Decimal = ZERO  # of what is held
    long_value: Decimal = ZERO  # the same if every working buy fills and no sell
    short_value: Decimal = ZERO  # the same if every working sell fills and no buy
    gross_value: Decimal = ZERO  # sizes of positions in their worse case
    peak_equity: Decimal = ZERO
    day_number: int = 0  # since 1970, UTC
    day_equity: Decimal = ZERO  # when that day began
    loss_streak: int = 0

    @property
    def cash(self) -> Decimal:
        """What fills brought in, less what they cost and their fees."""
        return EXACT.subtract(self.equity, self.value)

    @property
    def drawdown(self) -> Decimal:
        """How far the equity has fallen from its highest."""
        return EXACT.subtract(self.peak_equity, self.equity)

    def loss_today(self, now_ns: int) -> Decimal:
        """What was lost since midnight UTC; below 0 for a profit."""
        # Every change begins the day that it is of, so since an older day nothing has changed.
        return ZERO if now_ns // NS_PER_DAY > self.day_number else EXACT.subtract(self.day_equity, self.equity)

    def orders_within(self, now_ns: int) -> int:
        """How many orders were intended in the last second."""
        times = self.order_times_ns
        # A time ahead of now is of a clock that was set back: it must not deny orders until that time comes again.
        while times and not now_ns - RATE_WINDOW_NS < times[0] <= now_ns:
            times.popleft()
        return len(times)

    def begin_day(self, now_ns: int) -> None:
        """Count anew from midnight UTC on."""
        day_number = now_ns // NS_PER_DAY
        if day_number > self.day_number:
            self.day_number, self.day_equity = day_number, self.equity

    def move(self, key: InstrumentKey, after: Holding, mark: Decimal) -> None:
        """Replace a holding."""
        before = self.holdings.get(key, NOTHING_HELD)
        self.holdings[key] = after
        subtract = EXACT.subtract
        self._add_values(
            mark,
            subtract(after.quantity, before.quantity),
            subtract(after.longest, before.longest),
            subtract(after.shortest, before.shortest),
            subtract(after.largest, before.largest),
        )

    def revalue(self, key: InstrumentKey, price_change: Decimal, now_ns: int) -> None:
        """Value a holding at another price."""
        self.begin_day(now_ns)
        held = self.holdings[key]
        self._add_values(price_change, held.quantity, held.longest, held.shortest, held.largest)
        self.peak_equity = max(self.peak_equity, self.equity)

    def _add_values(
        self, price: Decimal, quantity: Decimal, longest: Decimal, shortest: Decimal, largest: Decimal
    ) -> None:
        add, multiply = EXACT.add, EXACT.multiply
        # Most orders change two of the four.
        if quantity:
            value = multiply(quantity, price)
            self.value, self.equity = add(self.value, value), add(self.equity, value)
        if longest:
            self.long_value = add(self.long_value, multiply(longest, price))
        if shortest:
            self.short_value = add(self.short_value, multiply(shortest, price))
        if largest:
            self.gross_value = add(self.gross_value, multiply(largest, price))

    def book_result(self, cash: Decimal, result: Decimal | None, now_ns: int) -> None:
        """Book what a fill brought in and, where it ended a round trip, the result of that."""
        self.begin_day(now_ns)
        self.equity = EXACT.add(self.equity, cash)
        if result is not None:
            self.loss_streak = self.loss_streak + 1 if result < 0 else 0

    def count_anew(self, now_ns: int) -> None:
        """Forgive what was lost so far."""
        self.begin_day(now_ns)
        self.peak_equity = self.day_equity = self.equity
        self.loss_streak = 0


NO_SCOPE = Scope()


class ExposureState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of an exposure but the venue's balances, which are asked for anew at each start."""

    total: Scope
    strategies: dict[str, Scope]
    currencies: dict[str, Scope]
    marks: dict[InstrumentKey, Decimal]
    unmarked: list[InstrumentKey]
    prices: list[tuple[InstrumentKey, Side, list[Decimal]]]
    intents: list[tuple[int, OrderTerms]]
    flat_results: dict[PositionKey, Decimal]


class Exposure:
    """All scopes, and what else the checks look at."""

    def __init__(self) -> None:
        self.total = Scope()
        self.strategies: dict[str, Scope] = {}
        self.currencies: dict[str, Scope] = {}
        self.marks: dict[InstrumentKey, Decimal] = {}
        self.unmarked: set[InstrumentKey] = set()  # at stake, and nobody knows at what price
        self._scopes_of: dict[InstrumentKey, list[Scope]] = {}
        self._balances: dict[str, Decimal] = {}  # as reported, less the cash that fills had brought in by then
        self._prices: dict[tuple[InstrumentKey, Side], list[Decimal]] = {}  # of working limit orders, lowest first
        self._intended_ns: dict[OrderTerms, int] = {}
        self._intents: deque[tuple[int, OrderTerms]] = deque()
        self._flat_results: dict[PositionKey, Decimal] = {}  # of a position when it was last flat

    # What outlives a process

    def state(self) -> ExposureState:
        """What a snapshot keeps. It shares what it is made of: to be written down at once."""
        return ExposureState(
            total=self.total,
            strategies=self.strategies,
            currencies=self.currencies,
            marks=self.marks,
            unmarked=sorted(self.unmarked),
            prices=[(key, side, prices) for (key, side), prices in self._prices.items()],
            intents=list(self._intents),
            flat_results=self._flat_results,
        )

    def restore(self, state: ExposureState) -> None:
        """Become what a state says, which nobody else may use from here on."""
        self.total, self.strategies, self.currencies = state.total, state.strategies, state.currencies
        self.marks, self.unmarked = state.marks, set(state.unmarked)
        scopes = (self.total, *self.strategies.values(), *self.currencies.values())
        self._scopes_of = {key: [scope for scope in scopes if key in scope.holdings] for key in self.total.holdings}
        self._prices = {(key, side): prices for key, side, prices in state.prices}
        self._intents = deque(state.intents)
        self._intended_ns = {terms: then_ns for then_ns, terms in state.intents}
        self._flat_results = state.flat_results

    # What the checks read

    def strategy(self, name: str) -> Scope:
        """The sums of one strategy."""
        return self.strategies.get(name, NO_SCOPE)

    def balance(self, currency: str) -> Decimal | None:
        """What is there to pay with, fills since the venue's report included; None before the first report."""
        balance = self._balances.get(currency)
        return None if balance is None else EXACT.add(balance, self.currencies.get(currency, NO_SCOPE).cash)

    def account_equity(self, currency: str) -> Decimal | None:
        """The balance of a currency and the value of what was bought with it; None before the first report."""
        balance = self._balances.get(currency)
        return None if balance is None else EXACT.add(balance, self.currencies.get(currency, NO_SCOPE).equity)

    def best_price(self, key: InstrumentKey, side: Side) -> Decimal | None:
        """The price of our working limit order of this side that would be met first; None where there is none."""
        prices = self._prices.get((key, side))
        if not prices:
            return None
        return prices[-1] if side == "buy" else prices[0]

    def intended_ns(self, signal: Signal) -> int | None:
        """When an order with the same terms was intended last; None if that is long ago."""
        return self._intended_ns.get(_terms_of(signal))

    # What the book tells

    def on_intent(self, signal: Signal, now_ns: int) -> None:
        """An order may be sent from now on."""
        self.on_order_message(signal.strategy, now_ns)
        terms = _terms_of(signal)
        self._intended_ns[terms] = now_ns
        self._intents.append((now_ns, terms))
        while not now_ns - DUPLICATE_MEMORY_NS <= self._intents[0][0] <= now_ns:
            then_ns, old = self._intents.popleft()
            if self._intended_ns.get(old) == then_ns:
                del self._intended_ns[old]

    def on_order_message(self, strategy: str, now_ns: int) -> None:
        """An order, or other terms of one, may be sent from now on: both count for the order rate."""
        for scope in (self.total, self._strategy(strategy)):
            scope.order_times_ns.append(now_ns)
            scope.orders_within(now_ns)

    def on_order(self, before: Order | None, after: Order) -> None:
        """An order is kept; `before` is what it was until now."""
        signal = after.signal
        leaves_before = ZERO if before is None or before.is_final else before.exposed_quantity
        leaves = ZERO if after.is_final else after.exposed_quantity
        self._move_price(before, after)
        count = (not after.is_final) - (before is not None and not before.is_final)
        change = EXACT.subtract(leaves, leaves_before)
        if not change and not count:
            return
        key = InstrumentKey(signal.exchange, signal.symbol)
        mark = self._mark_or_note(key)
        for scope in self._scopes(signal.strategy, key):
            scope.open_orders += count
            scope.move(key, scope.holdings.get(key, NOTHING_HELD).after_order(signal.action, change), mark)
        if self.total.holdings[key] == NOTHING_HELD:
            self.unmarked.discard(key)

    def on_position(
        self, key: PositionKey, before: Position, after: Position, mark_price: Decimal, now_ns: int
    ) -> None:
        """A position changed; `key` is strategy, exchange, symbol."""
        instrument = InstrumentKey(key[1], key[2])
        self.mark(instrument, mark_price, now_ns)
        mark, cash = self._mark_or_note(instrument), EXACT.subtract(_cash_of(after), _cash_of(before))
        result = self._round_trip_result(key, before, after)
        change = EXACT.subtract(after.quantity, before.quantity)
        for scope in self._scopes(key[0], instrument):
            scope.book_result(cash, result, now_ns)
            held = scope.holdings.get(instrument, NOTHING_HELD)
            scope.move(instrument, held.after_fill(change), mark)
            scope.peak_equity = max(scope.peak_equity, scope.equity)

    def count_anew(self, scope: str, now_ns: int) -> None:
        """A named person lifts the kill switch of `all` or `strategy:NAME`: losses count from now on."""
        kind, _, name = scope.partition(":")
        if kind == "strategy":
            self._strategy(name).count_anew(now_ns)
        elif kind == "all":
            for each in (self.total, *self.strategies.values()):
                each.count_anew(now_ns)

    # What the market and the venue tell

    def mark(self, key: InstrumentKey, price: Decimal | None, now_ns: int) -> None:
        """Value an instrument at the newest price; what is no price changes nothing."""
        before = self.marks.get(key, ZERO)
        if price is None or not price.is_finite() or not 0 < price <= AMOUNT_MAX or price == before:
            return
        self.marks[key] = price
        self.unmarked.discard(key)
        change = EXACT.subtract(price, before)
        for scope in self._scopes_of.get(key, ()):
            scope.revalue(key, change, now_ns)

    def mark_all(self, find_mark: Callable[[InstrumentKey], Decimal | None], now_ns: int) -> None:
        """Value everything at stake at the newest prices."""
        for key, scopes in self._scopes_of.items():
            # Two strategies that hold the opposite of each other hold nothing together, and still win and lose.
            if any(scope.holdings[key] != NOTHING_HELD for scope in scopes):
                self.mark(key, find_mark(key), now_ns)

    def take_balances(self, balances: Mapping[str, Decimal]) -> None:
        """Take what the venue has reported, once every fill contained in it is booked."""
        for currency, balance in balances.items():
            if balance.is_finite() and balance.copy_abs() <= AMOUNT_MAX:
                self._balances[currency] = EXACT.subtract(balance, self.currencies.get(currency, NO_SCOPE).cash)

    # Keeping

    def _strategy(self, name: str) -> Scope:
        return self.strategies.setdefault(name, Scope())

    def _scopes(self, strategy: str, key: InstrumentKey) -> Iterable[Scope]:
        """The scopes that an instrument of a strategy belongs to; from now on its price moves them."""
        scopes = (self.total, self._strategy(strategy), self.currencies.setdefault(currency_of(key.symbol), Scope()))
        known = self._scopes_of.setdefault(key, [])
        known += [scope for scope in scopes if key not in scope.holdings]
        return scopes

    def _mark_or_note(self, key: InstrumentKey) -> Decimal:
        mark = self.marks.get(key)
        if mark is None:
            self.unmarked.add(key)
        return mark or ZERO

    def _move_price(self, before: Order | None, after: Order) -> None:
        old = None if before is None or before.is_final else before.exposed_limit_price
        new = None if after.is_final else after.exposed_limit_price
        if old == new:
            return
        signal = after.signal
        prices = self._prices.setdefault((InstrumentKey(signal.exchange, signal.symbol), signal.action), [])
        if old is not None:
            del prices[bisect.bisect_left(prices, old)]
        if new is not None:
            bisect.insort(prices, new)

    def _round_trip_result(self, key: PositionKey, before: Position, after: Position) -> Decimal | None:
        """What a round trip brought, fees included, if this change ended one."""
        is_ended = before.quantity and (not after.quantity or (before.quantity > 0) != (after.quantity > 0))
        if not is_ended:
            return None
        result = EXACT.subtract(after.realised_pnl, after.fees)
        since = self._flat_results.get(key, ZERO)
        self._flat_results[key] = result
        return EXACT.subtract(result, since)


@functools.lru_cache
def currency_of(symbol: str) -> str:
    """What a symbol is paid in: USDT for BTC/USDT and for BTC/USDT:USDT."""
    return symbol.partition("/")[2].rpartition(":")[2]


def _cash_of(position: Position) -> Decimal:
    return EXACT.subtract(EXACT.subtract(position.realised_pnl, position.cost), position.fees)


def _terms_of(signal: Signal) -> OrderTerms:
    return (signal.strategy, signal.exchange, signal.symbol, signal.action, signal.quantity, signal.limit_price)
