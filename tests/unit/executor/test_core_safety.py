"""What stops trading, and what it takes back: by command, by a broken limit, by silence, by a differing account."""

from decimal import Decimal
from typing import Any

import pytest
from support.executor_builders import ExecutorHarness, make_report

from common.errors import ConfigError
from common.events.base import DRAFT
from common.events.risk import (
    AlarmRaised,
    CircuitState,
    ControlAction,
    ControlAnswered,
    ControlRequested,
    LimitBreached,
    MarginCalled,
    TradingHalted,
    TradingState,
    TradingStateChanged,
)
from common.events.trading import OrderStatus
from common.events.venue import CancelAllOrders, CancelOrder, OrdersCancelled, QueryOrder, SubmitOrder, VenuePosition
from executor.entries import CancelIntended, OrderIntended, TradingStateMoved
from executor.limits import RiskLimits, ScopeLimits, SymbolLimits


def command(harness: ExecutorHarness, action: str, **changes: Any) -> ControlAnswered:
    """An operator's command, obeyed or refused."""
    fields: dict[str, Any] = {"scope": "all", "by": "jane", "reason": "prices look odd", **changes}
    request = ControlRequested(
        **DRAFT, timestamp_ns=harness.now_ns, request_id="control-1", action=ControlAction(action), **fields
    )
    return harness.executor.on_control(request, harness.now_ns)


def requests_of(harness: ExecutorHarness, request_type: type[Any]) -> list[Any]:
    """What the exchange was asked, of one kind."""
    return [request for request in harness.sent if isinstance(request, request_type)]


def have_two_working(**config: Any) -> ExecutorHarness:
    """Two orders at the exchange, of two strategies."""
    harness = ExecutorHarness(**config)
    harness.recover()
    harness.have_working("s-1")
    harness.have_working("o-1", strategy="other")
    return harness


def test_halt_is_durable_and_told_before_orders_are_taken_back() -> None:
    """A crash in between finishes it at the next start."""
    harness = have_two_working()

    answer = command(harness, "halt")

    assert harness.story[:3] == ["TradingStateMoved", "TradingStateChanged", "TradingHalted"]
    assert [type(request) for request in harness.sent] == [CancelAllOrders]
    assert len(harness.entries_of(CancelIntended)) == 2
    assert (answer.is_done, answer.orders_cancelling, answer.scopes[0].state) == (True, 2, TradingState.HALTED)


def test_halted_executor_denies_every_order_and_passes_every_cancel() -> None:
    """Until a person lifts it, after any number of restarts."""
    harness = have_two_working()
    command(harness, "halt")
    life = harness.restarted()
    life.recover()

    life.signal("s-2")

    assert ("s-2", "denied", "TRADING_HALTED") in life.acknowledgements
    assert requests_of(life, SubmitOrder) == []
    assert len(requests_of(life, CancelOrder)) == 1  # the first of two: one question at a time


def test_resumed_executor_trades_again() -> None:
    """By a named person."""
    harness = ExecutorHarness()
    command(harness, "halt")

    assert command(harness, "resume", by="limit:SELF").is_done is False
    assert command(harness, "resume").is_done
    harness.signal()

    assert len(harness.entries_of(OrderIntended)) == 1


def test_halt_of_a_strategy_leaves_the_others_alone() -> None:
    """Only its orders are taken back, one by one."""
    harness = have_two_working()

    command(harness, "halt", scope="strategy:other")
    harness.signal("o-2", strategy="other")
    harness.signal("s-2")

    assert [order.client_order_id for order in requests_of(harness, CancelOrder)] == [
        harness.order("o-1").client_order_id
    ]
    assert [entry.signal.signal_id for entry in harness.entries_of(OrderIntended)] == ["s-2"]


def test_order_whose_answer_is_missing_is_cancelled_once_it_comes() -> None:
    """A halt must not pass over what is on its way."""
    harness = ExecutorHarness()
    harness.signal()

    command(harness, "halt")
    harness.answer()

    assert isinstance(harness.in_flight, CancelOrder)


def test_order_that_still_waits_to_be_sent_is_let_go() -> None:
    """It never left, so nothing can come of it."""
    harness = ExecutorHarness()
    harness.signal("s-1")
    harness.signal("s-2")

    command(harness, "halt")
    harness.answer()

    assert harness.order("s-2").status is OrderStatus.DENIED
    assert ("s-2", "denied", "CANCELLED_BEFORE_SENT") in harness.acknowledgements


def test_halted_order_that_the_exchange_does_not_know_is_made_impossible() -> None:
    """It may still be on its way: a submission that has expired uses its id up, so that nothing can come of it."""
    harness = ExecutorHarness()
    harness.signal()
    command(harness, "halt")
    harness.advance(ms=1_000)
    harness.advance(ms=100)
    assert isinstance(harness.in_flight, QueryOrder)

    harness.find_nothing()
    request = harness.in_flight
    assert isinstance(request, SubmitOrder)
    assert request.expires_ns < harness.now_ns
    harness.reject("EXPIRED")

    assert harness.acknowledgements == [("s-1", "rejected", "EXPIRED")]


def test_cancel_all_takes_everything_back_and_goes_on_trading() -> None:
    """It is no halt."""
    harness = have_two_working()

    answer = command(harness, "cancel_all")
    request = requests_of(harness, CancelAllOrders)[0]
    harness.executor.on_answer(
        OrdersCancelled(**DRAFT, timestamp_ns=harness.now_ns, request_id=request.request_id, count=2), harness.now_ns
    )
    harness.signal("s-2")

    assert answer.orders_cancelling == 2
    assert isinstance(harness.in_flight, SubmitOrder)


def test_reducing_lets_only_smaller_positions_pass() -> None:
    """The way out of a position stays open."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.fill(quantity="1", leaves_quantity="0")
    command(harness, "reduce")

    harness.signal("s-2")
    harness.signal("s-3", action="sell")

    assert ("s-2", "denied", "TRADING_REDUCING") in harness.acknowledgements
    assert isinstance(harness.in_flight, SubmitOrder)


def test_loss_beyond_its_limit_halts_its_strategy_and_takes_its_orders_back() -> None:
    """A limit that only denied the next order would leave the others working."""
    harness = ExecutorHarness(risk=RiskLimits(each_strategy=ScopeLimits(daily_loss_max=Decimal(5))))
    harness.recover()
    harness.have_working("s-1")
    harness.fill("s-1", quantity="1", price="100", leaves_quantity="0")
    harness.have_working("s-2")
    harness.have_working("s-3", action="sell", limit_price="90")

    harness.fill("s-3", side="sell", quantity="1", price="90", leaves_quantity="0")
    harness.advance(ms=250)

    moved = harness.entries_of(TradingStateMoved)
    assert [(entry.scope, entry.state, entry.by) for entry in moved] == [
        ("strategy:momentum", TradingState.HALTED, "limit:DAILY_LOSS_LIMIT")
    ]
    assert harness.order("s-2").is_cancel_wanted
    assert [alarm.code for alarm in harness.events_of(AlarmRaised)] == ["TRADING_STOPPED"]
    [breach], [halt] = harness.events_of(LimitBreached), harness.events_of(TradingHalted)
    assert (breach.scope, breach.code, breach.state) == ("strategy:momentum", "DAILY_LOSS_LIMIT", TradingState.HALTED)
    assert breach.detail == halt.reason == "loss since midnight UTC: expected up to 5, was 10.04"
    assert (halt.scope, halt.by) == ("strategy:momentum", "limit:DAILY_LOSS_LIMIT")


def test_margin_call_reduces_and_is_told_once() -> None:
    """What is held needs more than there is: only the way out is open."""
    harness = ExecutorHarness(risk=RiskLimits(margin_rate=Decimal("0.5")))
    harness.executor.recover(harness.now_ns)
    harness.resend()
    harness.report_account(balances={"USDT": Decimal(100)})
    harness.executor.on_execution(
        make_report(1, client_order_id="theirs", quantity="10", filled_quantity="10", leaves_quantity="0"),
        harness.now_ns,
    )

    harness.advance(ms=250)
    harness.advance(ms=250)

    # 100 to begin with, 1,000 spent on what is worth 1,000, 0.02 of fees: half of 1,000 must be there.
    calls = [(call.currency, call.balance) for call in harness.events_of(MarginCalled)]
    assert calls == [("USDT", Decimal("99.98"))]
    assert [event.state for event in harness.events_of(TradingStateChanged)] == [TradingState.REDUCING]
    assert [breach.code for breach in harness.events_of(LimitBreached)] == ["MARGIN_CALL"]
    assert harness.events_of(TradingHalted) == []


def test_each_move_of_the_switch_tells_what_it_means() -> None:
    """Reducing is neither a halt nor the end of one; a person's halt breaks no limit."""
    harness = ExecutorHarness()
    harness.recover()

    for action in ("reduce", "halt", "resume"):
        command(harness, action, scope="strategy:momentum")

    told = [event for event in harness.events if type(event).__module__ == "common.events.risk"]
    assert [type(event).__name__ for event in told] == [
        "TradingStateChanged",
        "TradingStateChanged",
        "TradingHalted",
        "TradingStateChanged",
        "TradingResumed",
    ]
    assert {event.topic().partition(".executor.")[2] for event in told} == {"strategy:momentum"}


def test_account_that_differs_halts_everything() -> None:
    """Orders on a state that is not true are guesses."""
    harness = ExecutorHarness(reconcile_interval_ms=1_000)
    harness.recover()
    harness.advance(ms=1_000)

    harness.report_account(
        positions=[VenuePosition(exchange="simulated", symbol="BTC/USDT", quantity=Decimal("0.5"))], cash={}
    )
    harness.advance(ms=250)

    assert [(entry.scope, entry.by) for entry in harness.entries_of(TradingStateMoved)] == [("all", "reconciliation")]


def test_exchange_that_is_silent_for_too_long_halts_everything() -> None:
    """Nobody knows any more where orders stand; a person looks before it goes on."""
    harness = ExecutorHarness(contact_lost_ms_max=3_000)
    harness.have_working()
    harness.signal("s-2")

    for _ in range(40):
        harness.advance(ms=100)

    assert [entry.by for entry in harness.entries_of(TradingStateMoved)] == ["contact:exchange"]


def test_circuit_opens_after_silence_denies_meanwhile_and_closes_on_one_probe() -> None:
    """Every signal has an explicit end; a dead gateway is asked now and then, not without pause."""
    harness = ExecutorHarness(request_timeout_ms=100, retry_pause_ms=10, retry_pause_ms_max=10)
    harness.signal("s-1")
    for _ in range(40):
        harness.advance(ms=10)
    assert harness.executor.dialogue.circuit.state is CircuitState.OPEN

    harness.signal("s-2")
    count = len(harness.sent)
    for _ in range(20):
        harness.advance(ms=10)
    probes = len(harness.sent) - count
    harness.answer()
    harness.signal("s-3")
    harness.answer()

    assert probes == 1
    assert ("s-2", "denied", "CIRCUIT_OPEN") in harness.acknowledgements
    assert ("s-3", "accepted", None) in harness.acknowledgements
    assert [alarm.code for alarm in harness.events_of(AlarmRaised)] == [
        "CIRCUIT_OPEN",
        "CIRCUIT_HALF_OPEN",
        "CIRCUIT_CLOSED",
    ]


def test_other_limits_hold_from_the_next_signal_on() -> None:
    """Without a restart."""
    harness = ExecutorHarness()
    harness.signal("s-1")
    harness.answer()

    harness.executor.set_limits(RiskLimits(order_notional_max=Decimal(50)))
    harness.signal("s-2")

    assert harness.acknowledgements[-1] == ("s-2", "denied", "ORDER_NOTIONAL_LIMIT")
    assert command(harness, "status").limits == {"order_notional_max": "50"}


def test_limits_of_a_misspelt_symbol_are_refused_and_the_old_ones_stay() -> None:
    """They would limit nothing."""
    harness = ExecutorHarness(risk=RiskLimits(order_notional_max=Decimal(50)))

    with pytest.raises(ConfigError, match="BTC/UST"):
        harness.executor.set_limits(RiskLimits(symbols={"simulated.BTC/UST": SymbolLimits()}))

    assert command(harness, "status").limits == {"order_notional_max": "50"}


def test_command_that_cannot_be_obeyed_says_why() -> None:
    """And changes nothing."""
    harness = ExecutorHarness()

    answer = command(harness, "halt", scope="strategies")

    assert (answer.is_done, answer.reason) == (False, "INVALID_SCOPE")
    assert harness.entries == []
