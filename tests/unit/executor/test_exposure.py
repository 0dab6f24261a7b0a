"""What is at stake, kept as sums: equal to what one would compute from the book, to the last digit."""

from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.executor_builders import (
    EXCHANGE,
    NOW_NS,
    STRATEGY,
    SYMBOL,
    make_ending,
    make_intent,
    make_order,
    make_report,
    make_signal,
    refold,
)

from common.clock import NS_PER_MS, NS_PER_S
from common.ids import make_client_order_id
from common.money import EXACT, ZERO
from executor.book import Book
from executor.entries import Entry, ExecutionTaken, OrderUnanswered
from executor.exposure import DUPLICATE_MEMORY_NS, NS_PER_DAY, Exposure, InstrumentKey, Scope, currency_of, make_holding
from executor.orders import Order
from executor.positions import Position

KEY = InstrumentKey(EXCHANGE, SYMBOL)
POSITION_KEY = (STRATEGY, EXCHANGE, SYMBOL)
MIDNIGHT_NS = (NOW_NS // NS_PER_DAY + 1) * NS_PER_DAY


class Told:
    """An exposure that is told of fills of one position."""

    def __init__(self, strategy: str = STRATEGY) -> None:
        self.exposure = Exposure()
        self.position = Position()
        self.key = (strategy, EXCHANGE, SYMBOL)

    @property
    def scope(self) -> Scope:
        """The sums of the strategy."""
        return self.exposure.strategy(self.key[0])

    def fill(
        self, side: Any, quantity: str, price: str, fee: str = "0", mark: str | None = None, at_ns: int = NOW_NS
    ) -> None:
        """A fill, marked at its own price unless told."""
        before = self.position
        self.position = before.after_fill(side, Decimal(quantity), Decimal(price), Decimal(fee))
        self.exposure.on_position(self.key, before, self.position, Decimal(mark or price), at_ns)

    def round_trip(self, result: str) -> None:
        """Buy one and sell it again, and win or lose this much."""
        self.fill("buy", "1", "100")
        self.fill("sell", "1", str(100 + Decimal(result)))


# Loss, drawdown, streak


def test_equity_is_realised_and_unrealised_less_fees() -> None:
    """Two bought at 100, one sold at 110, the other now worth 90, fees of 3: 10 - 10 - 3."""
    told = Told()

    told.fill("buy", "2", "100", fee="2")
    told.fill("sell", "1", "110", fee="1", mark="90")

    assert told.scope.equity == told.exposure.total.equity == Decimal(-3)


def test_loss_of_today_counts_from_midnight_utc_also_for_what_was_held_then() -> None:
    """10 were lost before midnight on what is still held; afterwards the price falls by 5 more."""
    told = Told()
    told.fill("buy", "1", "100", at_ns=MIDNIGHT_NS - 2)

    told.exposure.mark(KEY, Decimal(90), MIDNIGHT_NS - 1)
    assert told.scope.loss_today(MIDNIGHT_NS - 1) == 10
    assert told.scope.loss_today(MIDNIGHT_NS) == 0

    told.exposure.mark(KEY, Decimal(85), MIDNIGHT_NS)
    assert told.scope.loss_today(MIDNIGHT_NS) == told.exposure.total.loss_today(MIDNIGHT_NS) == 5


def test_fill_right_after_midnight_begins_the_day_before_it_is_booked() -> None:
    """Its fee is a loss of the new day."""
    told = Told()
    told.fill("buy", "1", "100", fee="3", at_ns=MIDNIGHT_NS - 1)

    told.fill("sell", "1", "100", fee="4", at_ns=MIDNIGHT_NS)

    assert told.scope.loss_today(MIDNIGHT_NS) == 4


def test_clock_that_is_set_back_over_midnight_begins_no_day() -> None:
    """The losses of the day stay counted."""
    told = Told()
    told.fill("buy", "1", "100", fee="3", at_ns=MIDNIGHT_NS)

    told.fill("sell", "1", "100", fee="4", at_ns=MIDNIGHT_NS - 1)

    assert told.scope.loss_today(MIDNIGHT_NS) == 7


def test_drawdown_is_measured_from_the_highest_equity_not_from_the_last() -> None:
    """Up 20, down 5, up 3: 2 below the top."""
    told = Told()
    told.fill("buy", "1", "100")

    for price in ("120", "115", "118"):
        told.exposure.mark(KEY, Decimal(price), NOW_NS)

    assert told.scope.drawdown == told.exposure.total.drawdown == 2


def test_losing_round_trips_in_a_row_are_counted_and_a_winning_one_ends_the_row() -> None:
    """Per strategy, and for all of them in the order in which they ended."""
    told = Told()

    for result in ("-1", "-0.01"):
        told.round_trip(result)
    assert told.scope.loss_streak == told.exposure.total.loss_streak == 2

    told.round_trip("1")
    assert told.scope.loss_streak == told.exposure.total.loss_streak == 0


@pytest.mark.parametrize(("result", "fee", "streak"), [("0", "0", 0), ("0.5", "0.5", 1), ("1", "0.5", 0)])
def test_round_trip_is_judged_with_its_fees(result: str, fee: str, streak: int) -> None:
    """What the price won, two fees may lose; no loss is no loss."""
    told = Told()

    told.fill("buy", "1", "100", fee=fee)
    told.fill("sell", "1", str(100 + Decimal(result)), fee=fee)

    assert told.scope.loss_streak == streak


def test_round_trip_ends_when_the_position_is_flat_or_turns() -> None:
    """A part that is closed at a loss is no trade yet; a turn ends one trade and begins the next."""
    told = Told()
    told.fill("buy", "2", "100")

    told.fill("sell", "1", "90")
    assert told.scope.loss_streak == 0

    told.fill("sell", "3", "90")
    assert told.scope.loss_streak == 1

    told.fill("buy", "2", "80")
    assert told.scope.loss_streak == 0


def test_lifted_halt_counts_losses_anew() -> None:
    """Or the first look after it would halt again."""
    told, other = Told(), "other"
    told.round_trip("-10")
    told.exposure.on_position((other, EXCHANGE, SYMBOL), Position(), Position(fees=Decimal(5)), Decimal(100), NOW_NS)

    told.exposure.count_anew(f"strategy:{STRATEGY}", NOW_NS)

    assert (told.scope.drawdown, told.scope.loss_today(NOW_NS), told.scope.loss_streak) == (0, 0, 0)
    assert told.exposure.total.drawdown == 15

    told.exposure.count_anew("all", NOW_NS)

    assert told.exposure.total.drawdown == told.exposure.strategy(other).drawdown == 0


# Orders


def test_order_counts_with_what_may_still_fill_whatever_its_state() -> None:
    """In flight, unknown, accepted, partly filled; nothing once it is at its end."""
    book = Book()

    book.apply(make_intent("a", quantity="3"))
    assert book.exposure.total.holdings[KEY] == make_holding(ZERO, Decimal(3), ZERO)

    book.apply(OrderUnanswered(NOW_NS, make_client_order_id("a")))
    assert book.exposure.total.holdings[KEY] == make_holding(ZERO, Decimal(3), ZERO)
    assert book.exposure.total.open_orders == 1

    book.apply(ExecutionTaken(NOW_NS, make_report(1, "a", quantity="1"), Decimal(100)))
    assert book.exposure.total.holdings[KEY] == make_holding(Decimal(1), Decimal(3), Decimal(1))

    book.apply(ExecutionTaken(NOW_NS, make_ending(2, "a"), Decimal(100)))
    assert book.exposure.total.holdings[KEY] == make_holding(Decimal(1), Decimal(1), Decimal(1))
    assert book.exposure.total.open_orders == 0


def test_order_of_an_unpriced_instrument_is_noted_until_it_is_priced_or_gone() -> None:
    """Sums without it would be too small."""
    exposure = Exposure()
    order = make_order("a")

    exposure.on_order(None, order)
    assert exposure.unmarked == {KEY}

    exposure.mark(KEY, Decimal(100), NOW_NS)
    assert (exposure.unmarked, exposure.total.gross_value) == (set(), 100)

    other = Exposure()
    other.on_order(None, order)
    other.on_order(order, make_order("a", status="denied"))
    assert other.unmarked == set()


def test_newest_prices_are_asked_for_what_is_at_stake_only() -> None:
    """An instrument without position and orders costs nothing."""
    exposure = Exposure()
    held, gone = make_order("a"), make_order("b", signal={"symbol": "ETH/USDT"})
    for order in (held, gone):
        exposure.on_order(None, order)
    exposure.on_order(gone, make_order("b", signal={"symbol": "ETH/USDT"}, status="denied"))
    asked: list[str] = []

    exposure.mark_all(lambda key: asked.append(key.symbol), NOW_NS)

    assert asked == [SYMBOL]


def test_opposite_positions_of_two_strategies_are_valued_though_they_are_nothing_together() -> None:
    """One is long, the other short: one wins what the other loses."""
    exposure = Exposure()
    for strategy, quantity in (("long", Decimal(1)), ("short", Decimal(-1))):
        held = Position(quantity=quantity, cost=quantity * 100)
        exposure.on_position((strategy, EXCHANGE, SYMBOL), Position(), held, Decimal(100), NOW_NS)

    exposure.mark_all(lambda _: Decimal(110), NOW_NS)

    assert exposure.strategy("long").equity == 10
    assert exposure.strategy("short").equity == -10
    assert exposure.total.equity == 0


@pytest.mark.parametrize("price", [None, *map(Decimal, ("NaN", "sNaN", "Infinity", "-Infinity", "0", "-1", "1E+16"))])
def test_price_that_is_none_changes_nothing(price: Decimal | None) -> None:
    """The last good one stays."""
    told = Told()
    told.fill("buy", "1", "100")

    told.exposure.mark(KEY, price, NOW_NS)

    assert told.exposure.marks[KEY] == 100


def test_orders_of_the_last_second_are_counted_and_older_ones_forgotten() -> None:
    """The window slides with the nanosecond."""
    exposure = Exposure()
    exposure.on_intent(make_signal("a"), NOW_NS)
    exposure.on_intent(make_signal("b"), NOW_NS + 1)

    assert exposure.total.orders_within(NOW_NS + NS_PER_S - 1) == 2
    assert exposure.total.orders_within(NOW_NS + NS_PER_S) == 1
    assert exposure.strategy(STRATEGY).orders_within(NOW_NS + NS_PER_S + 1) == 0


def test_clock_that_is_set_back_does_not_deny_orders_until_it_has_caught_up() -> None:
    """What lies ahead of now is not of the last second."""
    exposure = Exposure()
    exposure.on_intent(make_signal("a"), NOW_NS)

    assert exposure.total.orders_within(NOW_NS - 3600 * NS_PER_S) == 0


def test_terms_of_an_order_are_remembered_for_a_while_and_no_longer() -> None:
    """The memory is bounded by time; the newest order with the terms is the one that counts."""
    exposure = Exposure()
    exposure.on_intent(make_signal("a"), NOW_NS)
    exposure.on_intent(make_signal("b"), NOW_NS + NS_PER_MS)

    exposure.on_intent(make_signal("c", quantity="2"), NOW_NS + DUPLICATE_MEMORY_NS + 1)
    assert exposure.intended_ns(make_signal("d", quantity="1.00")) == NOW_NS + NS_PER_MS

    exposure.on_intent(make_signal("e", quantity="2"), NOW_NS + NS_PER_MS + DUPLICATE_MEMORY_NS + 1)
    assert exposure.intended_ns(make_signal("f")) is None


# Account


def test_balance_moves_with_the_fills_since_the_report() -> None:
    """A report is old with the next fill: bought for 100 with a fee of 1, of the 1,000 that were there."""
    told = Told()
    told.fill("buy", "1", "100", fee="1")
    told.exposure.take_balances({"USDT": Decimal(1_000), "EUR": Decimal("NaN")})

    told.fill("buy", "1", "100", fee="1")

    assert told.exposure.balance("USDT") == 899
    assert told.exposure.balance("EUR") is None


@pytest.mark.parametrize(
    ("symbol", "currency"), [("BTC/USDT", "USDT"), ("BTC/USD:BTC", "BTC"), ("BTC/USDT:USDT", "USDT"), ("AAPL", "")]
)
def test_currency_is_what_the_symbol_is_paid_in(symbol: str, currency: str) -> None:
    """The settlement currency where there is one, as ccxt writes it."""
    assert currency_of(symbol) == currency


# The fold

STRATEGIES, SYMBOLS = ("even", "odd"), ("BTC/USDT", "ETH/EUR")
quantities = st.integers(1, 400).map(lambda lots: Decimal(lots).scaleb(-2))
prices = st.integers(1, 3_000).map(lambda ticks: Decimal(ticks).scaleb(-1))
steps = st.one_of(
    st.tuples(
        st.just("intend"),
        st.sampled_from(STRATEGIES),
        st.sampled_from(SYMBOLS),
        st.sampled_from(["buy", "sell"]),
        quantities,
        st.none() | prices,
    ),
    st.tuples(st.just("fill"), st.integers(0, 50), quantities, prices, prices | st.none()),
    st.tuples(st.just("end"), st.integers(0, 50)),
    st.tuples(st.just("lose"), st.integers(0, 50)),
    st.tuples(st.just("mark"), st.sampled_from(SYMBOLS), prices),
    st.tuples(st.just("wait"), st.integers(1, NS_PER_DAY)),
)


class Ledger:
    """The same history, with nothing but the book, the prices, and a plain memory of what was seen."""

    def __init__(self) -> None:
        self.book = Book()
        self.entries: list[Entry] = []
        self.now_ns = NOW_NS
        self.marks: dict[InstrumentKey, Decimal] = {}
        self.peaks: dict[str, Decimal] = defaultdict(lambda: ZERO)
        self.day_equities: dict[str, Decimal] = defaultdict(lambda: ZERO)
        self.day = NOW_NS // NS_PER_DAY
        self.are_marks_journaled = True

    def take(self, entry: Entry) -> None:
        """Apply an entry to the book."""
        self.entries.append(entry)
        self.book.apply(entry)
        self.observe()

    def intend(self, strategy: str, symbol: str, side: str, quantity: Decimal, price: Decimal | None) -> None:
        """A new order."""
        terms = {"order_type": "market"} if price is None else {"limit_price": price}
        name = f"s-{len(self.book.orders)}"
        changes = {"strategy": strategy, "symbol": symbol, "action": side, "quantity": quantity, **terms}
        self.take(make_intent(name, **changes))

    def fill(self, place: int, quantity: Decimal, price: Decimal, mark: Decimal | None) -> None:
        """A working order is filled, in part or in full."""
        order = self.working(place)
        if order is None:
            return
        key = InstrumentKey(EXCHANGE, order.signal.symbol)
        self.mark(key.symbol, mark or price, is_journaled=True)
        fee = EXACT.multiply(price, Decimal("0.001"))
        report = make_report(
            self.book.last_execution_number + 1,
            order.signal.signal_id,
            quantity=min(quantity, order.leaves_quantity),
            price=price,
            fee=fee,
        )
        self.take(ExecutionTaken(self.now_ns, report, mark))

    def end(self, place: int) -> None:
        """A working order is cancelled by the venue."""
        order = self.working(place)
        if order is not None:
            report = make_ending(self.book.last_execution_number + 1, order.signal.signal_id)
            self.take(ExecutionTaken(self.now_ns, report))

    def lose(self, place: int) -> None:
        """No answer comes for an order."""
        order = self.working(place)
        if order is not None and order.status.value == "pending_new":
            self.take(OrderUnanswered(self.now_ns, order.client_order_id))

    def mark(self, symbol: str, price: Decimal, *, is_journaled: bool = False) -> None:
        """The market moves; with a fill the book tells the exposure itself."""
        key = InstrumentKey(EXCHANGE, symbol)
        self.marks[key] = price
        self.observe()
        if not is_journaled:
            self.are_marks_journaled = False
            self.book.exposure.mark(key, price, self.now_ns)

    def wait(self, time_ns: int) -> None:
        """Time passes."""
        self.now_ns += time_ns
        day = self.now_ns // NS_PER_DAY
        if day > self.day:
            self.day = day
            for name in self.scopes():
                self.day_equities[name] = self.equity(name)

    def working(self, place: int) -> Order | None:
        """One of the working orders."""
        orders = self.book.working_orders()
        return orders[place % len(orders)] if orders else None

    # From scratch

    def scopes(self) -> dict[str, Scope]:
        """What the exposure keeps, by name."""
        exposure = self.book.exposure
        return {"all": exposure.total, **exposure.strategies, **exposure.currencies}

    def belongs(self, name: str, strategy: str, symbol: str) -> bool:
        """Tell whether a scope contains it."""
        return name in {"all", strategy, currency_of(symbol)}

    def equity(self, name: str) -> Decimal:
        """Over all positions: realised and unrealised, less fees."""
        total = ZERO
        for (strategy, exchange, symbol), held in self.book.positions.items():
            if self.belongs(name, strategy, symbol):
                unrealised = held.unrealised_pnl(self.marks[InstrumentKey(exchange, symbol)])
                total += held.realised_pnl + unrealised - held.fees
        return total

    def observe(self) -> None:
        """Remember the highest equity of each scope."""
        for name in ("all", *STRATEGIES, *map(currency_of, SYMBOLS)):
            self.peaks[name] = max(self.peaks[name], self.equity(name))

    def sums(self, name: str) -> tuple[Decimal, Decimal, Decimal, Decimal, int]:
        """Value now, if all buys fill, if all sells fill, the gross of the worse, and working orders."""
        held: dict[InstrumentKey, list[Decimal]] = defaultdict(lambda: [ZERO, ZERO, ZERO])
        for (strategy, exchange, symbol), position in self.book.positions.items():
            if self.belongs(name, strategy, symbol):
                held[InstrumentKey(exchange, symbol)][0] += position.quantity
        own = [
            order
            for order in self.book.working_orders()
            if self.belongs(name, order.signal.strategy, order.signal.symbol)
        ]
        for order in own:
            place = 1 if order.signal.action == "buy" else 2
            held[InstrumentKey(EXCHANGE, order.signal.symbol)][place] += order.leaves_quantity
        value = long = short = gross = ZERO
        for key, (quantity, buys, sells) in held.items():
            mark = self.marks.get(key, ZERO)
            value += quantity * mark
            long += (quantity + buys) * mark
            short += (quantity - sells) * mark
            gross += max(abs(quantity + buys), abs(quantity - sells)) * mark
        return value, long, short, gross, len(own)

    def best_price(self, symbol: str, side: str) -> Decimal | None:
        """Of our working limit orders, the one that would be met first."""
        found = [
            order.signal.limit_price
            for order in self.book.working_orders()
            if (order.signal.symbol, order.signal.action) == (symbol, side) and order.signal.limit_price is not None
        ]
        if not found:
            return None
        return max(found) if side == "buy" else min(found)

    def check(self) -> None:
        """What is kept is what would be computed."""
        for name, scope in self.scopes().items():
            kept = (scope.value, scope.long_value, scope.short_value, scope.gross_value, scope.open_orders)
            assert kept == self.sums(name), name
            assert scope.equity == self.equity(name), name
            assert scope.peak_equity == self.peaks[name], name
            assert scope.loss_today(self.now_ns) == self.day_equities[name] - self.equity(name), name
        for symbol in SYMBOLS:
            for side in ("buy", "sell"):
                key = InstrumentKey(EXCHANGE, symbol)
                assert self.book.exposure.best_price(key, side) == self.best_price(symbol, side)


@given(st.lists(steps, max_size=40))
def test_kept_sums_equal_sums_from_scratch(history: list[tuple[Any, ...]]) -> None:
    """After every step of any history; and the journal alone rebuilds them where fills alone told the prices."""
    ledger = Ledger()

    for name, *arguments in history:
        getattr(ledger, name)(*arguments)
        ledger.check()

    if ledger.are_marks_journaled:
        assert refold(ledger.entries).exposure.__dict__ == ledger.book.exposure.__dict__
