"""What a strategy knows of its orders and positions, folded from the executor's events and reports."""

from decimal import Decimal

import pytest
from support.engine_builders import (
    Diary,
    Stage,
    make_acknowledgement,
    make_held_position,
    make_open_order,
    make_order_event,
    make_position_event,
    make_state,
)
from support.message_builders import make_heartbeat, make_tick
from support.strategy_builders import BTC, ETH

from common.events.base import Message
from common.events.trading import OrderEvent, OrderStatus


def test_event_is_known_before_its_callback() -> None:
    """A strategy that asks for its position in `on_position` gets the new one."""
    stage = Stage()
    seen: list[object] = []
    stage.act("on_order", lambda event: seen.append(stage.strategy.open_orders(event)[0].signal_id))
    stage.act("on_position", lambda event: seen.append(stage.strategy.position(event).quantity))

    stage.event(make_order_event("mine-7-1"), make_position_event("0.5"))

    assert seen == ["mine-7-1", Decimal("0.5")]


@pytest.mark.parametrize(
    "message",
    [
        make_order_event(strategy="other"),
        make_position_event(strategy="other"),
        make_acknowledgement("mine-7-1", strategy="other"),
        make_state("7-2", strategy="other", positions=[make_held_position("5")]),
        make_heartbeat(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_event_of_another_strategy_passes_by(message: Message) -> None:
    """All strategies listen to one channel; each sees its own."""
    stage = Stage()
    stage.emit()
    stage.engine.request_state(stage.now_ns)
    names_before = stage.strategy.names()

    stage.event(message)

    strategy = stage.strategy
    assert strategy.names() == names_before
    assert (strategy.position(BTC).quantity, strategy.open_orders(), strategy.pending_signals()) == (0, [], 1)


def test_event_without_a_callback_of_its_own_is_no_failure() -> None:
    """A strategy overrides what it needs."""
    stage = Stage()

    stage.event(make_acknowledgement("mine-7-5"))

    assert (stage.strategy.names(), stage.failures) == (["on_start"], [])


def test_strategy_starts_with_what_it_holds() -> None:
    """An earlier life left a position and an order: `on_start` sees both."""
    seen: list[tuple[Decimal, str]] = []

    class Heir(Diary):
        def on_start(self) -> None:
            seen.append((self.position(BTC).quantity, self.open_orders(BTC)[0].signal_id))

    stage = Stage(Heir, is_started=False)
    stage.start(positions=[make_held_position("0.25")], open_orders=[make_open_order("mine-6-8")])

    assert seen == [(Decimal("0.25"), "mine-6-8")]


def test_report_replaces_what_was_known() -> None:
    """Events were lost: what the executor does not name any more is gone."""
    stage = Stage()
    stage.event(make_order_event("mine-7-1"), make_position_event("1"))

    stage.start(
        positions=[make_held_position("-2", symbol="ETH/USDT")],
        open_orders=[make_open_order("mine-7-2", symbol="ETH/USDT")],
    )

    strategy = stage.strategy
    assert (strategy.position(BTC).quantity, strategy.position(ETH).quantity) == (0, -2)
    assert [order.signal_id for order in strategy.open_orders()] == ["mine-7-2"]


def test_report_leaves_signals_pending() -> None:
    """The executor may not have seen them yet; their end is told by their acknowledgement."""
    stage = Stage()
    stage.emit()

    stage.start()

    assert stage.strategy.pending_signals() == 1


def test_only_the_answer_to_the_newest_question_counts() -> None:
    """An older one may lie before events that were seen since."""
    stage = Stage(is_started=False)
    old, new = (stage.engine.request_state(stage.now_ns) for _ in range(2))

    stage.event(make_state(old.request_id, positions=[make_held_position("1")]))
    is_started_by_old = stage.engine.is_started
    stage.event(make_state(new.request_id, positions=[make_held_position("2")]))
    stage.event(make_state(old.request_id, positions=[make_held_position("3")]))

    assert (is_started_by_old, stage.engine.is_started) == (False, True)
    assert stage.strategy.position(BTC).quantity == 2


def test_state_is_unknown_from_the_question_to_its_answer() -> None:
    """So that the service asks again when the answer is lost."""
    stage = Stage()
    known = [stage.engine.is_state_known]

    request = stage.engine.request_state(stage.now_ns)
    known.append(stage.engine.is_state_known)
    stage.event(make_state(request.request_id))
    known.append(stage.engine.is_state_known)

    assert known == [True, False, True]


def test_strategy_trades_on_while_its_state_is_asked_for_again() -> None:
    """A lost event is corrected; it is no reason to be blind meanwhile."""
    stage = Stage()

    stage.engine.request_state(stage.now_ns)
    stage.market(make_tick())

    assert stage.strategy.names() == ["on_start", "on_tick"]


def test_partial_fills_and_the_last_one_reach_the_strategy_in_order() -> None:
    """Each event says where the order stands; the last one takes it away."""
    stage = Stage()
    filled = [
        make_order_event("mine-7-1", OrderStatus.PARTIALLY_FILLED, filled_quantity="0.4"),
        make_order_event("mine-7-1", OrderStatus.FILLED, filled_quantity="1"),
    ]
    seen: list[tuple[Decimal, int]] = []

    def look(event: OrderEvent) -> None:
        seen.append((event.filled_quantity, len(stage.strategy.open_orders(BTC))))

    stage.act("on_order", look)
    stage.event(*filled)

    assert seen == [(Decimal("0.4"), 1), (Decimal(1), 0)]
