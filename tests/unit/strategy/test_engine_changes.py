"""Cancels and amendments: of what works, of what is on its way, and never twice without need."""

from decimal import Decimal
from typing import Any

import pytest
from support.engine_builders import Stage, make_acknowledgement, make_open_order, make_order_event
from support.message_builders import NOW_NS
from support.strategy_builders import BTC, ETH

from common.clock import NS_PER_MS
from common.errors import InvalidValueError
from common.events.base import DRAFT
from common.events.trading import AmendRequested, CancelRequested, OrderStatus
from strategy.outbox import OutboxFullError

# Cancels


def test_working_order_is_cancelled_by_the_id_of_its_signal() -> None:
    """The strategy knows no other id. The cancel has an id of its own, from the numbering of the signals."""
    stage = Stage()
    stage.event(make_order_event("mine-6-1", symbol="ETH/USDT"))

    stage.act_once(lambda: stage.strategy.cancel("mine-6-1"))

    assert stage.engine.has_new_outgoing
    assert stage.take() == [
        CancelRequested(
            **DRAFT,
            timestamp_ns=NOW_NS,
            exchange="simulated",
            symbol="ETH/USDT",
            signal_id="mine-6-1",
            strategy="mine",
            request_id="mine-7-1",
        )
    ]
    assert stage.count("cancels_emitted") == 1


def test_cancel_is_sent_again_until_it_is_acknowledged() -> None:
    """On a PUSH socket it may be lost like any signal."""
    stage = Stage()
    stage.event(make_order_event("mine-6-1"))
    stage.act_once(lambda: stage.strategy.cancel("mine-6-1"))

    first = stage.take()
    stage.advance(ms=250)
    second = stage.take()
    stage.event(make_acknowledgement("mine-7-1"))
    stage.advance(ms=10_000)

    assert first == second != []
    assert stage.take() == []
    assert (stage.count("cancels_acknowledged"), stage.count("signals_acknowledged")) == (1, 0)


def test_signal_on_its_way_can_be_cancelled() -> None:
    """Its acknowledgement may be lost while its order works: the strategy must not have to wait for it."""
    stage = Stage()
    ids: list[str] = []
    stage.act_once(lambda: ids.append(stage.strategy.buy(ETH, 1, limit_price=100)))

    stage.act_once(lambda: stage.strategy.cancel(ids[0]))

    _, cancel = stage.take()
    assert isinstance(cancel, CancelRequested)
    assert (cancel.signal_id, cancel.symbol, cancel.follows) == (ids[0], "ETH/USDT", ids[0])


@pytest.mark.parametrize(
    "status",
    [OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REJECTED, OrderStatus.DENIED],
)
def test_order_that_has_ended_is_not_cancelled(status: OrderStatus) -> None:
    """Nothing is left of it, and that it has just ended is no error of the strategy."""
    stage = Stage()
    signal_id = stage.emit(limit_price=100)
    stage.take()
    stage.event(make_order_event(signal_id), make_acknowledgement(signal_id), make_order_event(signal_id, status))

    stage.act_once(lambda: stage.strategy.cancel(signal_id))

    assert (stage.take(), stage.failures) == ([], [])
    assert stage.count("cancels_emitted") == 0


@pytest.mark.parametrize(
    "status",
    [
        OrderStatus.PENDING_NEW,
        OrderStatus.ACCEPTED,
        OrderStatus.PARTIALLY_FILLED,
        OrderStatus.UNKNOWN,
        OrderStatus.PENDING_REPLACE,
    ],
)
def test_order_that_may_still_trade_can_be_cancelled(status: OrderStatus) -> None:
    """Of an unknown order too: the executor finds out."""
    stage = Stage()
    stage.start(open_orders=[make_open_order("mine-6-3", status=status)])

    stage.act_once(lambda: stage.strategy.cancel("mine-6-3"))

    assert [message.signal_id for message in stage.take() if isinstance(message, CancelRequested)] == ["mine-6-3"]


def test_cancel_is_not_repeated_while_one_is_under_way() -> None:
    """A strategy that asks on each tick must not fill its outbox; once a cancel was refused it may ask again."""
    stage = Stage()
    stage.event(make_order_event("mine-6-1"))

    stage.act_once(lambda: stage.strategy.cancel("mine-6-1"))
    stage.act_once(lambda: stage.strategy.cancel("mine-6-1"))
    stage.event(make_order_event("mine-6-1", OrderStatus.PENDING_CANCEL), make_acknowledgement("mine-7-1"))
    stage.act_once(lambda: stage.strategy.cancel("mine-6-1"))
    emitted_before_refusal = stage.count("cancels_emitted")
    stage.event(make_order_event("mine-6-1", OrderStatus.ACCEPTED))
    stage.act_once(lambda: stage.strategy.cancel("mine-6-1"))

    assert (emitted_before_refusal, stage.count("cancels_emitted")) == (1, 2)


@pytest.mark.parametrize("signal_id", ["mine-7-99", "mine-8-1", "other-7-1", "what", "mine-7-x", "mine-07-1"])
def test_cancel_of_a_signal_that_was_never_emitted_is_an_error(signal_id: str) -> None:
    """A mistyped id must not look like a cancelled order."""
    stage = Stage()
    stage.emit()
    stage.take()

    stage.act_once(lambda: stage.strategy.cancel(signal_id))

    ((_, error),) = stage.failures
    assert isinstance(error, InvalidValueError)
    assert str(error) == f"cancel: expected the id of a signal of mine, was '{signal_id}'"
    assert stage.take() == []


# Amendments


def amend(stage: Stage, signal_id: str, **terms: Any) -> None:
    """Have the strategy amend an order in a callback."""
    stage.act_once(lambda: stage.strategy.amend(signal_id, **terms))


def test_working_order_is_amended_under_an_id_of_the_same_numbering() -> None:
    """It follows what was emitted before it, and expires like a signal."""
    stage = Stage(signal_lifetime_ms=2_000)
    first_id = stage.emit(limit_price=100)
    stage.take()
    stage.event(make_order_event(first_id), make_acknowledgement(first_id))

    amend(stage, first_id, quantity=2, limit_price=101)

    assert stage.engine.has_new_outgoing
    assert stage.take() == [
        AmendRequested(
            **DRAFT,
            timestamp_ns=NOW_NS,
            exchange="simulated",
            symbol="BTC/USDT",
            request_id="mine-7-2",
            signal_id=first_id,
            strategy="mine",
            quantity=Decimal(2),
            limit_price=Decimal(101),
            expires_ns=NOW_NS + 2_000 * NS_PER_MS,
            follows=first_id,
        )
    ]
    assert stage.count("amends_emitted") == 1


@pytest.mark.parametrize(("side", "expected"), [("buy", "100.01"), ("sell", "100.02")])
def test_amended_terms_are_rounded_as_those_of_the_order_were(side: str, expected: str) -> None:
    """The price by the order's side, the quantity down."""
    stage = Stage()
    stage.event(make_order_event("mine-6-1", side=side))

    amend(stage, "mine-6-1", quantity=0.123456789, limit_price=100.015)

    (message,) = stage.take()
    assert isinstance(message, AmendRequested)
    assert (message.quantity, message.limit_price) == (Decimal("0.12345"), Decimal(expected))


@pytest.mark.parametrize(
    ("terms", "expected"), [({"quantity": 2}, (Decimal(2), None)), ({"limit_price": 99}, (None, Decimal(99)))]
)
def test_term_that_is_not_named_stays_as_it_is(terms: dict[str, int], expected: tuple[Decimal | None, ...]) -> None:
    """Who moves a price does not mean to change the quantity, which may have been filled in part."""
    stage = Stage()
    stage.event(make_order_event("mine-6-1"))

    amend(stage, "mine-6-1", **terms)

    (message,) = stage.take()
    assert isinstance(message, AmendRequested)
    assert (message.quantity, message.limit_price) == expected


def test_signal_on_its_way_can_be_amended() -> None:
    """The executor applies both in the order in which they were emitted."""
    stage = Stage()
    signal_id = stage.emit(limit_price=100)

    amend(stage, signal_id, limit_price=99.999)

    _, message = stage.take()
    assert isinstance(message, AmendRequested)
    assert (message.signal_id, message.limit_price) == (signal_id, Decimal("99.99"))


@pytest.mark.parametrize(
    ("signal_id", "terms", "text"),
    [
        ("mine-6-9", {"quantity": 1}, "amend mine-6-9: expected a limit order that works or is on its way"),
        ("mine-6-2", {"quantity": 1}, "amend mine-6-2: expected a limit order that works or is on its way"),
        ("mine-6-1", {}, "amend mine-6-1: expected a quantity or a limit price"),
        ("mine-6-1", {"quantity": 0}, "simulated.BTC/USDT: expected a quantity of 0.00001 or more, was 0"),
        ("mine-6-1", {"limit_price": float("nan")}, "simulated.BTC/USDT price: expected a finite number, was nan"),
        ("mine-6-3", {"quantity": 1}, "simulated.XRP/USDT: not in the instrument table; add it to config"),
    ],
    ids=["no such order", "a market order", "nothing to change", "rounds to nothing", "not finite", "unlisted"],
)
def test_amendment_that_makes_no_sense_is_refused(signal_id: str, terms: dict[str, float], text: str) -> None:
    """At once, where the strategy can be told why."""
    stage = Stage()
    stage.event(
        make_order_event("mine-6-1"),
        make_order_event("mine-6-2", order_type="market", limit_price=None),
        make_order_event("mine-6-3", symbol="XRP/USDT"),
    )

    amend(stage, signal_id, **terms)

    ((_, error),) = stage.failures
    assert isinstance(error, InvalidValueError)
    assert str(error) == text
    assert stage.take() == []


@pytest.mark.parametrize("act", ["cancel", "amend"])
def test_change_that_does_not_fit_the_outbox_raises(act: str) -> None:
    """As `buy` does: what was not emitted must not look as if it were under way."""
    stage = Stage(outbox_signals_max=1)
    stage.event(make_order_event("mine-6-1"))
    stage.emit()

    options = {} if act == "cancel" else {"limit_price": 99}
    stage.act_once(lambda: getattr(stage.strategy, act)("mine-6-1", **options))

    ((_, error),) = stage.failures
    assert isinstance(error, OutboxFullError)
    assert stage.count("signals_refused_full") == 1


def test_terms_of_an_amended_order_are_those_of_its_events() -> None:
    """While it is pending the old ones hold; the event tells the new ones, or the old ones with a reason."""
    stage = Stage()
    stage.event(make_order_event("mine-6-1"), make_order_event("mine-6-1", OrderStatus.PENDING_REPLACE))
    (pending,) = stage.strategy.open_orders(BTC)

    stage.event(make_order_event("mine-6-1", quantity="3", limit_price="99.5"))

    (order,) = stage.strategy.open_orders(BTC)
    assert (pending.status, pending.quantity, pending.limit_price) == (OrderStatus.PENDING_REPLACE, 1, 100)
    assert (order.status, order.quantity, order.limit_price) == (OrderStatus.ACCEPTED, 3, Decimal("99.5"))
