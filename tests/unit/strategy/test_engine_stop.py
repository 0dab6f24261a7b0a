"""The end of a strategy: its last word, the gate that closes behind it, and what becomes of working orders."""

from collections.abc import Callable

import pytest
from support.engine_builders import Stage, make_acknowledgement, make_order_event
from support.strategy_builders import BTC

from common.events.trading import CancelRequested, OrderStatus, Signal
from strategy.base import Strategy
from strategy.engine import OrderGateClosedError


def cancelled(stage: Stage) -> list[str]:
    """The signals whose orders are to be cancelled, by what is sent now."""
    return [message.signal_id for message in stage.take() if isinstance(message, CancelRequested)]


@pytest.mark.parametrize(
    "act",
    [
        lambda strategy: strategy.buy(BTC, 1),
        lambda strategy: strategy.sell(BTC, 1),
        lambda strategy: strategy.amend("mine-6-1", quantity=2),
    ],
    ids=["buy", "sell", "amend"],
)
def test_stopped_strategy_cannot_order_any_more(act: Callable[[Strategy], object]) -> None:
    """A fill may still come and wake it: what it would send then nobody would look after."""
    stage = Stage()
    stage.event(make_order_event("mine-6-1"))
    stage.act("on_order", lambda _: act(stage.strategy))

    stage.engine.stop(stage.now_ns)
    stage.event(make_order_event("mine-6-1", OrderStatus.PARTIALLY_FILLED))

    ((name, error),) = stage.failures
    assert name == "on_order"
    assert isinstance(error, OrderGateClosedError)
    assert stage.take() == []


def test_stopped_strategy_can_still_cancel() -> None:
    """Less is always allowed."""
    stage = Stage()
    stage.event(make_order_event("mine-6-1"))
    stage.act("on_order", lambda event: stage.strategy.cancel(event.signal_id))

    stage.engine.stop(stage.now_ns)
    stage.event(make_order_event("mine-6-1", OrderStatus.PARTIALLY_FILLED))

    assert (cancelled(stage), stage.failures) == (["mine-6-1"], [])


def test_orders_are_left_unless_told_otherwise() -> None:
    """They rest at the exchange, and the next life finds them."""
    stage = Stage()
    stage.event(make_order_event("mine-6-1"))

    stage.engine.stop(stage.now_ns)

    assert stage.take() == []
    assert stage.engine.is_settled


def test_working_orders_are_cancelled_after_the_last_word() -> None:
    """What `on_stop` emits goes first, and is no working order yet."""
    stage = Stage(on_stop_orders="cancel")
    stage.event(make_order_event("mine-6-1"), make_order_event("mine-6-2", symbol="ETH/USDT"))
    stage.act("on_stop", lambda: stage.strategy.sell(BTC, 1, reduce_only=True))

    stage.engine.stop(stage.now_ns)
    sent = stage.take()

    assert [type(message) for message in sent] == [Signal, CancelRequested, CancelRequested]
    assert [message.signal_id for message in sent if isinstance(message, CancelRequested)] == ["mine-6-1", "mine-6-2"]


def test_order_that_comes_to_work_after_the_stop_is_cancelled_once() -> None:
    """Its signal was on its way; one whose cancel is refused is not asked for again and again."""
    stage = Stage(on_stop_orders="cancel")
    stage.act("on_stop", lambda: stage.strategy.buy(BTC, 1, limit_price=100))
    stage.engine.stop(stage.now_ns)
    stage.take()

    stage.event(make_order_event("mine-7-1", OrderStatus.PENDING_NEW))
    stage.advance(ms=5)
    while_it_is_new = cancelled(stage)
    stage.event(make_order_event("mine-7-1"), make_acknowledgement("mine-7-1"))
    stage.advance(ms=5)
    when_it_works = cancelled(stage)
    stage.event(make_acknowledgement("mine-7-2"), make_order_event("mine-7-1"))
    stage.advance(ms=5)

    assert (while_it_is_new, when_it_works, cancelled(stage)) == ([], ["mine-7-1"], [])


def test_cancels_of_a_stop_wait_for_room_in_the_outbox() -> None:
    """The executor is slow: that is no reason to leave an order behind, nor to fail."""
    stage = Stage(on_stop_orders="cancel", outbox_signals_max=1)
    signal_id = stage.emit()
    stage.take()
    stage.event(make_order_event("mine-6-1"))

    stage.engine.stop(stage.now_ns)
    while_full = cancelled(stage)
    stage.event(make_acknowledgement(signal_id))
    stage.advance(ms=5)

    assert (while_full, cancelled(stage)) == ([], ["mine-6-1"])


def test_stop_is_settled_when_everything_has_its_end() -> None:
    """The cancel is acknowledged, the order has ended, and the store knows it."""
    stage = Stage(on_stop_orders="cancel")
    stage.event(make_order_event("mine-6-1"))
    stage.engine.stop(stage.now_ns)
    stage.take()

    settled = [stage.engine.is_settled]
    stage.event(make_acknowledgement("mine-7-1"))
    stage.advance(ms=5)
    settled.append(stage.engine.is_settled)
    stage.event(make_order_event("mine-6-1", OrderStatus.CANCELLED))
    settled.append(stage.engine.is_settled)

    assert settled == [False, False, True]


def test_order_that_fills_before_its_cancel_is_settled_too() -> None:
    """The venue decides; nothing works any more."""
    stage = Stage(on_stop_orders="cancel")
    stage.event(make_order_event("mine-6-1"))
    stage.engine.stop(stage.now_ns)
    stage.take()

    stage.event(make_order_event("mine-6-1", OrderStatus.FILLED), make_acknowledgement("mine-7-1"))
    stage.advance(ms=5)

    assert stage.engine.is_settled
