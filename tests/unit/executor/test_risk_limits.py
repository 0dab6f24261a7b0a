"""Each limit through the whole executor: the last order that it allows goes out, the next one is denied, nothing sent.

Orders under way count, whoever sent them; who is beyond a limit may go back.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.executor_builders import (
    EXCHANGE,
    NOW_NS,
    STRATEGY,
    SYMBOL,
    ExecutorHarness,
    make_instrument,
    make_intent,
    make_reference,
    make_signal,
)

from common.clock import NS_PER_MS
from common.errors import ConfigError
from common.events.trading import SignalAcknowledged
from common.events.venue import SubmitOrder
from executor.entries import OrderIntended, SignalDenied
from executor.limits import RiskLimits, ScopeLimits, SymbolLimits
from executor.risk import Reason

Story = Callable[[ExecutorHarness], None]
NAME = f"{EXCHANGE}.{SYMBOL}"
OTHER = "mean_reversion"
MARKET = {"order_type": "market", "time_in_force": "ioc"}
SELL = {"action": "sell"}


def limits_of(**fields: Any) -> RiskLimits:
    """Limits as a config file has them: amounts as text."""
    return msgspec.convert(fields, RiskLimits)


def of_symbol(**fields: Any) -> RiskLimits:
    """Limits of the one symbol."""
    return limits_of(symbols={NAME: fields})


# What has happened before the order


def nothing(harness: ExecutorHarness) -> None:
    """The first order."""


def then(*stories: Story) -> Story:
    """One after the other."""

    def tell(harness: ExecutorHarness) -> None:
        for story in stories:
            story(harness)

    return tell


def buy(price: str = "100", **changes: Any) -> Story:
    """Somebody has bought, and it is settled; 1 at 100 unless told."""
    return _fill("buy", price, **changes)


def sell(price: str = "100", **changes: Any) -> Story:
    """Somebody has sold, and it is settled."""
    return _fill("sell", price, **changes)


def _fill(side: str, price: str, quantity: str = "1", **changes: Any) -> Story:
    def tell(harness: ExecutorHarness) -> None:
        name = f"done-{len(harness.book.orders)}"
        harness.have_working(name, action=side, quantity=quantity, **changes)
        harness.fill(name, side=side, quantity=quantity, price=price, fee="0")

    return tell


def working(**changes: Any) -> Story:
    """Somebody's order works at the exchange."""
    return lambda harness: harness.have_working(f"open-{len(harness.book.orders)}", **changes)


def in_flight(**changes: Any) -> Story:
    """Nobody knows whether the exchange has somebody's order."""
    return lambda harness: harness.signal(f"flying-{len(harness.book.orders)}", **changes)


def after_ms(milliseconds: int) -> Story:
    """Time passes."""
    return lambda harness: harness.advance(ms=milliseconds)


def market_at(bid: str | None, ask: str | None, last: str | None = "100") -> Story:
    """The market moves."""

    def tell(harness: ExecutorHarness) -> None:
        harness.reference = make_reference(bid=bid, ask=ask, last=last)

    return tell


def balance(amount: str) -> Story:
    """The venue reports what is there."""
    return lambda harness: harness.book.exposure.take_balances({"USDT": Decimal(amount)})


# What all strategies hold and have under way: one long, one more bought by an order in flight, of two strategies.
LONG_AND_BUYING = then(buy(strategy=OTHER), in_flight())
LOST_10 = then(buy("110"), sell("100"))
LOST_10_01 = then(buy("110.01"), sell("100"))
WON_10 = then(buy("100"), sell("110"))
Attempt = tuple[Story, dict[str, Any]]

# Reason, limits, what passes, what does not. The market: 99.9 to 100.1.
BOUNDARIES: list[tuple[Reason, RiskLimits, Attempt, Attempt]] = [
    (
        Reason.ORDER_QUANTITY_LIMIT,
        of_symbol(order_quantity_max="2"),
        (nothing, {"quantity": "2"}),
        (nothing, {"quantity": "2.01"}),
    ),
    (
        Reason.ORDER_NOTIONAL_LIMIT,
        limits_of(order_notional_max="200"),
        (nothing, {"quantity": "2"}),
        (nothing, {"quantity": "2.01"}),
    ),
    # A sale with a low limit is worth what the market gives for it.
    (
        Reason.ORDER_NOTIONAL_LIMIT,
        limits_of(order_notional_max="199.8"),
        (nothing, {**SELL, "quantity": "2", "limit_price": "50"}),
        (nothing, {**SELL, "quantity": "2.01", "limit_price": "50"}),
    ),
    (
        Reason.ORDER_NOTIONAL_LIMIT,
        limits_of(strategies={STRATEGY: {"order_notional_max": "200"}}, each_strategy={"order_notional_max": "300"}),
        (nothing, {"quantity": "3", "strategy": OTHER}),
        (nothing, {"quantity": "3"}),
    ),
    (
        Reason.PRICE_COLLAR,
        limits_of(price_collar="0.05"),
        (nothing, {"limit_price": "105"}),
        (nothing, {"limit_price": "105.1"}),
    ),
    (
        Reason.PRICE_COLLAR,
        limits_of(price_collar="0.05"),
        (nothing, {**SELL, "limit_price": "95"}),
        (nothing, {**SELL, "limit_price": "94.9"}),
    ),
    (
        Reason.PRICE_COLLAR,
        limits_of(price_collar="0.05"),
        (market_at("95", "105"), MARKET),
        (market_at("94.9", "105.1"), MARKET),
    ),
    (
        Reason.PRICE_COLLAR,
        limits_of(price_collar="0.05"),
        (market_at("95", "105"), {**MARKET, **SELL}),
        (market_at("94.9", "105.1"), {**MARKET, **SELL}),
    ),
    (
        Reason.PRICE_COLLAR,
        limits_of(price_collar="0.5", symbols={NAME: {"price_collar": "0.01"}}),
        (nothing, {"limit_price": "101"}),
        (nothing, {"limit_price": "101.1"}),
    ),
    # Patience is no danger: only prices on the wrong side of the market are.
    (
        Reason.PRICE_COLLAR,
        limits_of(price_collar="0.05"),
        (nothing, {"limit_price": "50"}),
        (nothing, {**SELL, "limit_price": "50"}),
    ),
    (
        Reason.POSITION_QUANTITY_LIMIT,
        of_symbol(position_quantity_max="3"),
        (LONG_AND_BUYING, {"quantity": "1"}),
        (LONG_AND_BUYING, {"quantity": "1.01"}),
    ),
    (
        Reason.POSITION_QUANTITY_LIMIT,
        of_symbol(position_quantity_max="3"),
        (LONG_AND_BUYING, {**SELL, "quantity": "4"}),
        (LONG_AND_BUYING, {**SELL, "quantity": "4.01"}),
    ),
    (
        Reason.POSITION_NOTIONAL_LIMIT,
        limits_of(position_notional_max="300"),
        (LONG_AND_BUYING, {"quantity": "1"}),
        (LONG_AND_BUYING, {"quantity": "1.01"}),
    ),
    (
        Reason.POSITION_NOTIONAL_LIMIT,
        limits_of(position_notional_max="10", symbols={NAME: {"position_notional_max": "300"}}),
        (buy(), {**SELL, "quantity": "4"}),
        (buy(), {**SELL, "quantity": "4.01"}),
    ),
    (
        Reason.GROSS_NOTIONAL_LIMIT,
        limits_of(gross_notional_max="300"),
        (LONG_AND_BUYING, {"quantity": "1"}),
        (LONG_AND_BUYING, {"quantity": "1.01"}),
    ),
    # The position of the other strategy does not count.
    (
        Reason.GROSS_NOTIONAL_LIMIT,
        limits_of(each_strategy={"gross_notional_max": "200"}),
        (LONG_AND_BUYING, {"quantity": "1"}),
        (LONG_AND_BUYING, {"quantity": "1.01"}),
    ),
    # Priced at what the market shows now, not at what was paid.
    (
        Reason.GROSS_NOTIONAL_LIMIT,
        limits_of(gross_notional_max="300"),
        (then(buy(), market_at("149", "151")), {"quantity": "1"}),
        (then(buy(), market_at("149", "151.2")), {"quantity": "1"}),
    ),
    (
        Reason.NET_NOTIONAL_LIMIT,
        limits_of(net_notional_max="300"),
        (LONG_AND_BUYING, {"quantity": "1"}),
        (LONG_AND_BUYING, {"quantity": "1.01"}),
    ),
    (
        Reason.NET_NOTIONAL_LIMIT,
        limits_of(net_notional_max="300"),
        (LONG_AND_BUYING, {**SELL, "quantity": "4"}),
        (LONG_AND_BUYING, {**SELL, "quantity": "4.01"}),
    ),
    (
        Reason.OPEN_ORDERS_LIMIT,
        limits_of(open_orders_max=2),
        (in_flight(strategy=OTHER), {}),
        (then(working(), in_flight(strategy=OTHER)), {}),
    ),
    (
        Reason.OPEN_ORDERS_LIMIT,
        limits_of(each_strategy={"open_orders_max": 1}),
        (working(strategy=OTHER), {}),
        (working(), {}),
    ),
    (
        Reason.ORDER_RATE_LIMIT,
        limits_of(orders_per_second_max=2),
        (then(working(strategy=OTHER), working(), after_ms(1_000)), {}),
        (then(working(strategy=OTHER), working(), after_ms(999)), {}),
    ),
    (
        Reason.ORDER_RATE_LIMIT,
        limits_of(each_strategy={"orders_per_second_max": 5}, strategies={STRATEGY: {"orders_per_second_max": 1}}),
        (working(strategy=OTHER), {}),
        (working(), {}),
    ),
    (
        Reason.DUPLICATE_ORDER,
        limits_of(duplicate_window_ms=500),
        (then(working(), after_ms(500)), {}),
        (then(working(), after_ms(499)), {"quantity": "1.00"}),
    ),
    *[
        (Reason.DUPLICATE_ORDER, limits_of(duplicate_window_ms=500), (working(), changes), (working(), {}))
        for changes in ({"strategy": OTHER}, {"limit_price": "100.1"}, {"quantity": "1.01"}, SELL, MARKET)
    ],
    (
        Reason.SELF_TRADE,
        limits_of(prevents_self_trade=True),
        (working(**SELL, limit_price="100.1", strategy=OTHER), {"limit_price": "100"}),
        (working(**SELL, limit_price="100.1", strategy=OTHER), {"limit_price": "100.1"}),
    ),
    (
        Reason.SELF_TRADE,
        limits_of(prevents_self_trade=True),
        (then(working(limit_price="99"), in_flight(limit_price="98")), {**SELL, "limit_price": "99.1"}),
        (then(working(limit_price="99"), in_flight(limit_price="98")), {**SELL, "limit_price": "99"}),
    ),
    # A market order takes what is at the touch, and may slip as far as the collar.
    (
        Reason.SELF_TRADE,
        limits_of(prevents_self_trade=True),
        (working(**SELL, limit_price="100.2"), MARKET),
        (working(**SELL, limit_price="100.1"), MARKET),
    ),
    (
        Reason.SELF_TRADE,
        limits_of(prevents_self_trade=True, price_collar="0.05"),
        (working(limit_price="94.9"), {**MARKET, **SELL}),
        (working(limit_price="95"), {**MARKET, **SELL}),
    ),
    (Reason.DAILY_LOSS_LIMIT, limits_of(daily_loss_max="10"), (LOST_10, {}), (LOST_10_01, {})),
    (
        Reason.DAILY_LOSS_LIMIT,
        limits_of(each_strategy={"daily_loss_max": "10"}),
        (LOST_10_01, {"strategy": OTHER}),
        (LOST_10_01, {}),
    ),
    # Unrealised: bought at 110, worth 100.
    (Reason.DAILY_LOSS_LIMIT, limits_of(daily_loss_max="10"), (buy("110"), {}), (buy("110.01"), {})),
    (Reason.DRAWDOWN_LIMIT, limits_of(drawdown_max="10"), (then(WON_10, LOST_10), {}), (then(WON_10, LOST_10_01), {})),
    (
        Reason.DRAWDOWN_LIMIT,
        limits_of(each_strategy={"drawdown_max": "10"}),
        (then(WON_10, LOST_10_01), {"strategy": OTHER}),
        (then(WON_10, LOST_10_01), {}),
    ),
    (
        Reason.LOSS_STREAK_LIMIT,
        limits_of(loss_streak_max=1),
        (then(LOST_10, WON_10, LOST_10), {}),
        (then(LOST_10, LOST_10), {}),
    ),
    (
        Reason.INSUFFICIENT_BALANCE,
        limits_of(requires_balance=True),
        (then(balance("300"), in_flight()), {"quantity": "2"}),
        (then(balance("300"), in_flight()), {"quantity": "2.01"}),
    ),
    (
        Reason.INSUFFICIENT_BALANCE,
        limits_of(requires_balance=True),
        (then(balance("200"), buy()), SELL),
        (then(balance("200"), buy()), {"quantity": "1.01"}),
    ),
    (Reason.UNKNOWN_BALANCE, limits_of(requires_balance=True), (nothing, SELL), (nothing, {})),
    (Reason.UNKNOWN_BALANCE, limits_of(margin_rate="0.5"), (balance("100"), {}), (nothing, {})),
    # Equity of 100, half of what may be held.
    (
        Reason.INSUFFICIENT_MARGIN,
        limits_of(margin_rate="0.5"),
        (then(balance("100"), in_flight()), {"quantity": "1"}),
        (then(balance("100"), in_flight()), {"quantity": "1.01"}),
    ),
    (
        Reason.INSUFFICIENT_MARGIN,
        limits_of(margin_rate="0.5"),
        (then(balance("100"), buy()), {"quantity": "1"}),
        (then(balance("100"), buy("110")), {"quantity": "1"}),
    ),
    # Working orders count for who only wants to reduce: one long, 0.4 of it for sale.
    (
        Reason.REDUCE_ONLY,
        limits_of(),
        (then(buy(), in_flight(**SELL, quantity="0.4")), {**SELL, "reduce_only": True, "quantity": "0.6"}),
        (then(buy(), in_flight(**SELL, quantity="0.4")), {**SELL, "reduce_only": True, "quantity": "0.61"}),
    ),
]


def start(limits: RiskLimits, story: Story) -> ExecutorHarness:
    """An executor with a past; the limits come after it, by a reload, since they are not what it is about."""
    harness = ExecutorHarness()
    story(harness)
    harness.executor.set_limits(limits)
    harness.executor.gate.mark_all(harness.book.exposure, harness.now_ns)
    harness.trace.clear()
    return harness


@pytest.mark.parametrize(("reason", "limits", "inside", "outside"), BOUNDARIES)
def test_limit_lets_the_last_order_out_and_denies_the_next(
    reason: Reason, limits: RiskLimits, inside: Attempt, outside: Attempt
) -> None:
    """A denial is in the journal and on the events with its reason, and nothing was sent for it."""
    harness = start(limits, inside[0])
    harness.signal("new", **inside[1], expires_ns=NOW_NS + 10_000 * NS_PER_MS)
    assert [entry.signal.signal_id for entry in harness.entries_of(OrderIntended)] == ["new"]

    harness = start(limits, outside[0])
    harness.signal("new", **outside[1], expires_ns=NOW_NS + 10_000 * NS_PER_MS)
    [denial] = harness.entries
    assert isinstance(denial, SignalDenied)
    assert (denial.signal_id, denial.reason) == ("new", reason.value)
    assert "expected" in denial.detail or reason is Reason.UNKNOWN_BALANCE
    assert harness.acknowledgements == [("new", "denied", reason.value)]
    assert harness.sent == []


def test_every_reason_of_a_limit_is_fired() -> None:
    """A new limit needs its line in the table; MARGIN_CALL is no refusal, the kill switch is no limit."""
    reasons = list(Reason)
    of_limits = set(reasons[reasons.index(Reason.ORDER_QUANTITY_LIMIT) :]) - {Reason.MARGIN_CALL}

    assert {reason for reason, *_ in BOUNDARIES} >= of_limits


@pytest.mark.parametrize(
    "limits",
    [
        of_symbol(position_quantity_max="0.5"),
        of_symbol(position_notional_max="50"),
        limits_of(gross_notional_max="50"),
        limits_of(net_notional_max="50"),
        limits_of(daily_loss_max="0"),
        limits_of(drawdown_max="0"),
        limits_of(margin_rate="0.9"),
        limits_of(requires_balance=True),
    ],
)
def test_who_is_beyond_a_limit_may_go_back_but_not_on(limits: RiskLimits) -> None:
    """One was bought at 110 and is worth 100; limits that forbid it came later."""
    harness = start(limits, then(balance("100"), buy("110")))

    harness.signal("on")
    harness.signal("turn", **SELL, quantity="3")
    harness.signal("back", **SELL)

    assert [entry.signal.signal_id for entry in harness.entries_of(OrderIntended)][-1] == "back"
    assert harness.acknowledgements[0][:2] == ("on", "denied")


def test_loss_streak_lets_a_reducing_order_out() -> None:
    """Two lost trades, and a third that is open."""
    harness = start(limits_of(loss_streak_max=1), then(LOST_10, LOST_10, buy()))

    harness.signal("on")
    harness.signal("back", **SELL)

    assert [entry.signal.signal_id for entry in harness.entries_of(OrderIntended)] == ["back"]


def test_loss_of_yesterday_does_not_deny_orders_of_today() -> None:
    """At midnight UTC the count begins anew, without anything happening."""
    harness = start(limits_of(daily_loss_max="1"), LOST_10)

    harness.signal("today")
    harness.advance(ms=24 * 3600 * 1000)
    harness.signal("tomorrow", expires_ns=harness.now_ns + 1)

    assert [ack[:2] for ack in harness.acknowledgements] == [("today", "denied")]
    assert [entry.signal.signal_id for entry in harness.entries_of(OrderIntended)] == ["tomorrow"]


def test_orders_of_an_earlier_life_count() -> None:
    """The journal brings back what is in flight, and how many there were a moment ago."""
    harness = ExecutorHarness(risk=limits_of(gross_notional_max="250", orders_per_second_max=2))
    harness.signal("a")

    later = harness.restarted()
    later.signal("too-much", quantity="1.51")
    later.signal("b", quantity="1.5")
    later.signal("too-fast", quantity="0.1", **SELL)

    assert later.acknowledgements == [
        ("too-much", "denied", "GROSS_NOTIONAL_LIMIT"),
        ("too-fast", "denied", "ORDER_RATE_LIMIT"),
    ]


def test_amendments_count_for_the_order_rate() -> None:
    """To the venue each is a message like an order; a restart forgets none."""
    harness = ExecutorHarness(risk=limits_of(orders_per_second_max=2))
    harness.have_working()
    harness.amend()

    harness.restarted().signal("too-fast")
    harness.signal("too-fast")

    assert harness.acknowledgements == [("too-fast", "denied", "ORDER_RATE_LIMIT")]


@pytest.mark.parametrize("limits", [limits_of(gross_notional_max="1e9"), limits_of(net_notional_max="1e9")])
def test_sum_that_lacks_a_price_denies(limits: RiskLimits) -> None:
    """After a restart an order of another symbol is in flight whose market nobody has shown yet."""
    instruments = [make_instrument(), make_instrument(symbol="ETH/USDT", raw_symbol="ETHUSDT")]
    harness = ExecutorHarness(*instruments, entries=[make_intent("e", symbol="ETH/USDT")], risk=limits)

    harness.signal("b")

    assert harness.acknowledgements == [("b", "denied", "NO_REFERENCE")]
    [told] = harness.events_of(SignalAcknowledged)
    assert told.detail is not None
    assert "ETH/USDT" in told.detail


@pytest.mark.parametrize(
    "limits",
    [
        limits_of(price_collar="0.05"),
        limits_of(position_notional_max="1e9"),
        limits_of(gross_notional_max="1e9"),
        limits_of(net_notional_max="1e9"),
        limits_of(margin_rate="0.1"),
    ],
)
def test_market_with_one_side_and_no_trade_is_no_mark(limits: RiskLimits) -> None:
    """There is a price to buy at, but nothing to judge it by."""
    harness = start(limits, then(balance("1e9"), market_at(None, "100.1", last=None)))

    harness.signal("b")

    assert harness.acknowledgements == [("b", "denied", "NO_REFERENCE")]


def test_order_is_valued_at_what_the_market_shows_and_what_is_held_at_what_it_showed_last() -> None:
    """One held at 100 and one wanted at 150 make 250, until what is held is looked at again."""
    harness = start(limits_of(gross_notional_max="250"), buy())
    market_at("149.9", "150.1")(harness)

    harness.signal("a")
    harness.executor.gate.mark_all(harness.book.exposure, NOW_NS)
    harness.signal("b")

    assert harness.acknowledgements == [("b", "denied", "GROSS_NOTIONAL_LIMIT")]
    assert (
        harness.events_of(SignalAcknowledged)[0].detail
        == "gross notional of all strategies: expected up to 250, was 450"
    )


# Amending


def test_other_terms_of_an_order_do_not_count_the_order_twice() -> None:
    """Two are wanted instead of one, at most two may be held; a third more is too much."""
    limits = limits_of(
        gross_notional_max="200",
        open_orders_max=1,
        duplicate_window_ms=500,
        symbols={NAME: {"position_quantity_max": "2"}},
    )
    harness = start(limits, working())

    def reason(quantity: str) -> Reason | None:
        refusal = harness.executor.gate.find_refusal(
            make_signal("open-0", quantity=quantity),
            harness.book.exposure,
            waiting_count=0,
            now_ns=NOW_NS,
            replaced=harness.order("open-0"),
        )
        return None if refusal is None else refusal.reason

    assert [reason(quantity) for quantity in ("0.5", "1", "2")] == [None, None, None]
    assert reason("2.01") is Reason.POSITION_QUANTITY_LIMIT


# Settings


def test_limits_of_a_reload_hold_from_the_next_signal_on() -> None:
    """Without a restart, in both directions."""
    harness = ExecutorHarness(risk=limits_of(order_notional_max="100"))

    harness.signal("a", quantity="2")
    harness.executor.set_limits(RiskLimits())
    harness.signal("b", quantity="2")
    harness.executor.set_limits(limits_of(order_notional_max="100"))
    harness.signal("c", quantity="2")

    assert [ack[0] for ack in harness.acknowledgements] == ["a", "c"]


def test_limit_of_a_symbol_that_nobody_lists_is_an_error_and_the_old_limits_stay() -> None:
    """A misspelt symbol would go without its limit."""
    limits = limits_of(order_notional_max="100")
    harness = ExecutorHarness(risk=limits)

    with pytest.raises(ConfigError, match=r"simulated\.BTCUSDT.*known: simulated\.BTC/USDT"):
        harness.executor.set_limits(limits_of(symbols={"simulated.BTCUSDT": {"order_quantity_max": "1"}}))

    assert harness.executor.gate.limits is limits
    harness.signal("a", quantity="2")
    assert harness.acknowledgements == [("a", "denied", "ORDER_NOTIONAL_LIMIT")]


ALL_LIMITS = RiskLimits(
    order_notional_max=Decimal("1e9"),
    gross_notional_max=Decimal("1e9"),
    net_notional_max=Decimal("1e9"),
    open_orders_max=1_000,
    orders_per_second_max=100_000,
    daily_loss_max=Decimal(1_000_000),
    drawdown_max=Decimal(1_000_000),
    loss_streak_max=100,
    position_notional_max=Decimal("1e9"),
    price_collar=Decimal("0.05"),
    duplicate_window_ms=1,
    prevents_self_trade=True,
    requires_balance=True,
    margin_rate=Decimal("0.1"),
    each_strategy=ScopeLimits(
        order_notional_max=Decimal("1e9"),
        gross_notional_max=Decimal("1e9"),
        net_notional_max=Decimal("1e9"),
        open_orders_max=1_000,
        orders_per_second_max=100_000,
        daily_loss_max=Decimal(1_000_000),
        drawdown_max=Decimal(1_000_000),
        loss_streak_max=100,
    ),
    symbols={NAME: SymbolLimits(order_quantity_max=Decimal(50), position_quantity_max=Decimal(500))},
)


@given(
    quantity=st.decimals(allow_nan=True, allow_infinity=True),
    limit_price=st.none() | st.decimals(allow_nan=True, allow_infinity=True),
    side=st.sampled_from(["buy", "sell"]),
    bid=st.none() | st.floats(min_value=1e-9, max_value=1e15).map(lambda price: Decimal(repr(price))),
)
def test_whatever_the_amounts_are_no_limit_raises(
    quantity: Decimal, limit_price: Decimal | None, side: str, bid: Decimal | None
) -> None:
    """Every limit on, every amount a strategy or a feed can send: there is a verdict, and only finite orders leave."""
    harness = start(ALL_LIMITS, then(balance("1e9"), buy(), working(**SELL, limit_price="101")))
    harness.reference = make_reference(bid=bid)
    order_type = "market" if limit_price is None else "limit"

    harness.signal("x", action=side, quantity=quantity, limit_price=limit_price, order_type=order_type)

    for order in harness.sent:
        assert isinstance(order, SubmitOrder)
        assert 0 < order.quantity <= 50


def test_all_limits_at_once_let_an_ordinary_order_out() -> None:
    """The limits of the hostile amounts are no wall."""
    harness = start(ALL_LIMITS, balance("1e9"))

    harness.signal("x")

    assert len(harness.sent) == 1
