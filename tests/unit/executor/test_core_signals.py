"""From a signal to an order or a refusal, and to one answer that never changes."""

import pytest
from support.executor_builders import (
    NOW_NS,
    STRATEGY,
    ExecutorHarness,
    contents,
    make_intent,
    make_reference,
    make_signal,
    make_state_request,
    refold,
)

from common.errors import FatalError
from common.events.trading import OrderStatus, OrderSubmitted, SignalAcknowledged, StateReported
from common.events.venue import SubmitOrder
from common.ids import make_client_order_id
from executor.entries import OrderIntended, SignalConflicted, SignalDenied
from executor.intake import UnreadableSignal


def make_unreadable(signal_id: str = "s-1", digest: str = "d" * 32) -> UnreadableSignal:
    """A body that calls itself a signal and is none."""
    return UnreadableSignal(signal_id, STRATEGY, "simulated", "BTC/USDT", digest, "$.action: expected buy or sell")


def test_intent_is_durable_before_the_order_leaves_and_told_after() -> None:
    """Write-ahead: whatever dies, no order is at the exchange that the journal does not know."""
    harness = ExecutorHarness()

    harness.signal()

    assert harness.story == ["OrderIntended", "SubmitOrder", "OrderSubmitted"]


def test_order_says_what_the_signal_said_under_an_id_derived_from_it() -> None:
    """Nothing is rounded or filled in, and the same signal can only ever have this order."""
    harness = ExecutorHarness()

    harness.signal("momentum-1-7", action="sell", quantity="0.50", limit_price="100.10", time_in_force="fok")

    [order] = harness.sent
    assert isinstance(order, SubmitOrder)
    assert order.client_order_id == make_client_order_id("momentum-1-7")
    assert (order.side, str(order.quantity), str(order.limit_price)) == ("sell", "0.50", "100.10")
    assert (order.time_in_force, order.expires_ns) == ("fok", make_signal().expires_ns)


def test_cause_of_a_signal_stays_with_its_order_and_events() -> None:
    """So a tick can be followed to its fill."""
    harness = ExecutorHarness()

    harness.signal(cause_id="gateway:1:tick:5", correlation_id="gateway:1:tick:4")

    [order, event] = [*harness.sent, *harness.events_of(OrderSubmitted)]
    for message in (order, event):
        assert (message.cause_id, message.correlation_id) == ("gateway:1:tick:5", "gateway:1:tick:4")


def test_journal_that_cannot_be_written_lets_nothing_out() -> None:
    """Fail closed: no order, no event, no answer without a durable entry."""
    harness = ExecutorHarness()
    harness.journal.is_broken = True

    with pytest.raises(FatalError):
        harness.signal()
    with pytest.raises(FatalError):
        harness.signal("s-2", quantity="0.001")
    with pytest.raises(FatalError):
        harness.executor.on_unreadable_signal(make_unreadable("s-3"), NOW_NS)

    assert harness.trace == []


def test_same_signal_five_times_is_one_order() -> None:
    """Until the exchange has answered there is nothing to tell; a repeat changes nothing."""
    harness = ExecutorHarness()

    for seq in range(5):
        harness.signal(seq=seq)

    assert len(harness.sent) == 1
    assert len(harness.entries_of(OrderIntended)) == 1
    assert harness.acknowledgements == []
    assert harness.count("signals_repeated") == 4


def test_repeated_signal_gets_the_recorded_answer_each_time() -> None:
    """The strategy did not hear the first one; the answer is the same, and nothing new is written."""
    harness = ExecutorHarness()
    harness.have_working()

    for seq in range(4):
        harness.signal(seq=seq, quantity="1.0")

    assert harness.acknowledgements == [("s-1", "accepted", None)] * 4
    assert (harness.sent, harness.entries) == ([], [])


def test_another_body_under_a_known_id_is_a_conflict_and_nothing_is_sent() -> None:
    """The first body stands; the conflict is on record."""
    harness = ExecutorHarness()
    harness.have_working()

    harness.signal(quantity="2")

    assert harness.story == ["SignalConflicted", "SignalAcknowledged"]
    assert harness.acknowledgements == [("s-1", "conflict", "CONFLICT")]
    assert harness.order().signal.quantity == 1


def test_conflict_does_not_replace_the_recorded_answer() -> None:
    """Who repeats the first body hears what became of it."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.signal(quantity="2")

    harness.signal()

    assert harness.acknowledgements[-1] == ("s-1", "accepted", None)


def test_conflict_is_told_to_who_caused_it() -> None:
    """Isolation: a strategy that uses another one's id must not end the other one's signal."""
    harness = ExecutorHarness()
    harness.signal("s-1", strategy="victim")

    harness.signal("s-1", strategy="thief")

    [conflict] = harness.events_of(SignalAcknowledged)
    assert (conflict.strategy, conflict.outcome.value) == ("thief", "conflict")
    harness.answer()
    assert [event.strategy for event in harness.events_of(SignalAcknowledged)] == ["thief", "victim"]


def test_conflict_before_the_answer_leaves_the_order_on_its_way() -> None:
    """The order of the first body is neither doubled nor dropped."""
    harness = ExecutorHarness()
    harness.signal()
    harness.signal(action="sell")

    harness.answer()

    assert len(harness.sent) == 1
    assert harness.acknowledgements == [("s-1", "conflict", "CONFLICT"), ("s-1", "accepted", None)]


def test_refused_signal_is_recorded_then_answered() -> None:
    """The end of a signal is durable before it is told; the reason says why."""
    harness = ExecutorHarness()

    harness.signal(quantity="1.001")

    assert harness.story == ["SignalDenied", "SignalAcknowledged"]
    assert harness.acknowledgements == [("s-1", "denied", "OFF_LOT")]
    assert harness.count("denied_off_lot") == 1


def test_refused_signal_that_would_pass_now_stays_refused() -> None:
    """One signal, one end: the market came back, the answer did not change."""
    harness = ExecutorHarness()
    harness.reference = None
    harness.signal()
    harness.reference = make_reference()

    harness.signal()

    assert harness.acknowledgements == [("s-1", "denied", "NO_REFERENCE")] * 2
    assert harness.sent == []
    assert len(harness.entries_of(SignalDenied)) == 1


def test_other_body_under_a_refused_id_is_a_conflict() -> None:
    """An id is used once, also for a refusal."""
    harness = ExecutorHarness()
    harness.signal(quantity="1.001")

    harness.signal(quantity="1")

    assert harness.acknowledgements[-1] == ("s-1", "conflict", "CONFLICT")
    assert harness.sent == []


def test_instrument_that_is_not_in_the_table_is_refused() -> None:
    """Nothing is known of its grid and limits."""
    harness = ExecutorHarness()

    harness.signal(symbol="DOGE/USDT")

    assert harness.acknowledgements == [("s-1", "denied", "UNKNOWN_INSTRUMENT")]


def test_refused_signal_is_answered_on_its_own_topic() -> None:
    """The strategy listens there, whatever it asked for."""
    harness = ExecutorHarness()

    harness.signal(symbol="DOGE/USDT")

    [answer] = harness.events_of(SignalAcknowledged)
    assert answer.topic() == "signal_acknowledged.simulated.DOGE/USDT"


def test_unreadable_signal_is_refused_by_name() -> None:
    """It is as final as any refusal: recorded, answered, repeated on request."""
    harness = ExecutorHarness()

    for _ in range(2):
        harness.executor.on_unreadable_signal(make_unreadable(), NOW_NS)

    assert harness.acknowledgements == [("s-1", "denied", "MALFORMED")] * 2
    assert len(harness.entries_of(SignalDenied)) == 1
    assert harness.count("denied_malformed") == 1


def test_readable_signal_under_the_id_of_an_unreadable_one_is_a_conflict() -> None:
    """The id has had its end."""
    harness = ExecutorHarness()
    harness.executor.on_unreadable_signal(make_unreadable(), NOW_NS)

    harness.signal()

    assert harness.acknowledgements[-1] == ("s-1", "conflict", "CONFLICT")
    assert harness.sent == []


def test_unreadable_body_under_the_id_of_an_order_is_a_conflict() -> None:
    """And changes nothing about the order."""
    harness = ExecutorHarness()
    harness.have_working()

    harness.executor.on_unreadable_signal(make_unreadable(), NOW_NS)

    assert harness.acknowledgements == [("s-1", "conflict", "CONFLICT")]
    assert len(harness.entries_of(SignalConflicted)) == 1
    assert harness.order().status is OrderStatus.ACCEPTED


def test_signals_leave_in_the_order_in_which_they_came() -> None:
    """Strictly one in flight: the second order waits for the answer to the first."""
    harness = ExecutorHarness()
    for name in ("s-1", "s-2", "s-3"):
        harness.signal(name)
    assert len(harness.sent) == 1

    harness.answer()
    harness.answer()

    assert [order.client_order_id for order in harness.sent if isinstance(order, SubmitOrder)] == [
        make_client_order_id(name) for name in ("s-1", "s-2", "s-3")
    ]


def test_queue_behind_a_silent_exchange_is_bounded() -> None:
    """Two may wait; the third is refused at once instead of aging unseen."""
    harness = ExecutorHarness(orders_waiting_max=2)
    for name in ("s-1", "s-2", "s-3"):
        harness.signal(name)

    assert harness.acknowledgements == [("s-3", "denied", "QUEUE_FULL")]
    assert harness.count("requests_waiting") == 2


def test_signal_that_expires_while_it_waits_is_never_sent() -> None:
    """The strategy wanted the price of two seconds ago, not this one."""
    harness = ExecutorHarness(request_timeout_ms=10_000)
    harness.signal("s-1")
    harness.signal("s-2", expires_ns=NOW_NS + 2_000_000_000)
    harness.signal("s-3")
    harness.advance(ms=2_000)

    harness.answer()

    assert [make_client_order_id(name) for name in ("s-1", "s-3")] == [
        order.client_order_id for order in harness.sent if isinstance(order, SubmitOrder)
    ]
    assert ("s-2", "denied", "EXPIRED") in harness.acknowledgements
    assert harness.order("s-2").status is OrderStatus.DENIED


def test_strategy_that_asks_is_told_its_orders_and_positions_and_no_others() -> None:
    """A strategy that starts, or missed events, begins from here."""
    harness = ExecutorHarness()
    harness.have_working("s-1", quantity="3")
    harness.fill("s-1", quantity="1", price="100")
    harness.have_working("s-2", strategy="reversion")

    harness.executor.on_state_request(make_state_request(), NOW_NS)

    [state] = harness.events_of(StateReported)
    assert (state.strategy, state.request_id) == (STRATEGY, "state-1")
    [order] = state.open_orders
    assert (order.signal_id, order.status, order.filled_quantity) == ("s-1", OrderStatus.PARTIALLY_FILLED, 1)
    [position] = state.positions
    assert (position.quantity, position.entry_price, str(position.fees)) == (1, 100, "0.02")


def test_unknown_strategy_that_asks_has_nothing() -> None:
    """An empty answer is an answer."""
    harness = ExecutorHarness()

    harness.executor.on_state_request(make_state_request("stranger"), NOW_NS)

    [state] = harness.events_of(StateReported)
    assert (state.strategy, state.open_orders, state.positions) == ("stranger", [], [])


def test_book_is_what_the_journal_says_after_every_kind_of_signal() -> None:
    """Live state and its fold are the same thing."""
    harness = ExecutorHarness()
    harness.signal("s-1")
    harness.signal("s-2", quantity="0.001")
    harness.signal("s-2", quantity="0.002")
    harness.executor.on_unreadable_signal(make_unreadable("s-3"), NOW_NS)
    harness.answer()

    assert contents(refold(harness.journal.entries)) == contents(harness.book)


def test_latencies_are_measured_from_the_times_in_the_signal() -> None:
    """Tick to signal, signal to executor, and back from the exchange."""
    harness = ExecutorHarness()
    harness.signal(timestamp_ns=NOW_NS - 2_000_000, trigger_timestamp_ns=NOW_NS - 3_000_000)
    harness.advance(ms=4)

    harness.answer()

    medians_ms = {name: round(part.value_ns_at(50) / 1e6) for name, part in harness.executor.latencies.items()}
    assert medians_ms == {"tick_to_signal": 1, "signal_to_executor": 2, "executor_to_ack": 4, "tick_to_ack": 7}


def test_known_intent_of_an_earlier_life_makes_a_repeat_of_its_signal() -> None:
    """A restart does not make a signal new."""
    harness = ExecutorHarness(entries=[make_intent()])

    harness.signal()

    assert harness.sent == []
    assert harness.count("signals_repeated") == 1
