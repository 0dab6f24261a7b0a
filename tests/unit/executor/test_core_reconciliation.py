"""The exchange's account against ours: what differs is booked or told, never passed over."""

from decimal import Decimal

import pytest
from support.executor_builders import ExecutorHarness, make_account, make_report, make_venue_order

from common.errors import FatalError
from common.events.base import DRAFT
from common.events.risk import AlarmRaised, TradingState
from common.events.trading import OrderStatus
from common.events.venue import (
    AnswerOutcome,
    ExecutionType,
    QueryAccount,
    QueryOrder,
    RequestRefused,
    ResendExecutions,
    SubmitOrder,
    VenuePosition,
)
from common.ids import make_client_order_id


def alarms(harness: ExecutorHarness) -> list[str]:
    """Codes of what people were told."""
    return [alarm.code for alarm in harness.events_of(AlarmRaised)]


def have_asked() -> ExecutorHarness:
    """An executor that has one working order and asks for the account."""
    harness = ExecutorHarness(reconcile_interval_ms=1_000)
    harness.recover()
    harness.have_working()
    harness.advance(ms=1_000)
    assert isinstance(harness.in_flight, QueryAccount)
    return harness


def test_start_is_not_over_before_the_accounts_agree() -> None:
    """The readiness gate: no new order on a state that was never compared."""
    harness = ExecutorHarness()

    harness.executor.recover(harness.now_ns)
    harness.resend()
    assert not harness.executor.is_recovered
    harness.report_account()

    assert harness.executor.is_recovered
    assert alarms(harness) == []


def test_account_of_a_later_execution_asks_for_it_first() -> None:
    """Numbers are compared at the same execution only."""
    harness = ExecutorHarness()
    harness.executor.recover(harness.now_ns)
    harness.resend()

    harness.report_account(last_number=1)
    assert isinstance(harness.in_flight, ResendExecutions)
    harness.resend(make_report(1, client_order_id="theirs"))
    harness.report_account()

    assert harness.executor.is_recovered


def test_agreeing_account_is_looked_at_again_and_again_while_the_line_is_idle() -> None:
    """It is the sign of life at the exchange too."""
    harness = have_asked()

    for _ in range(2):
        harness.report_account()
        harness.advance(ms=1_000)

    assert harness.count("reconciliations") == 3
    assert alarms(harness) == []


def test_order_that_only_the_exchange_has_is_adopted() -> None:
    """From the next look on it is one of ours, and can be cancelled like one."""
    harness = have_asked()
    request = harness.in_flight
    assert isinstance(request, QueryAccount)
    ours = make_account(request, harness.book).open_orders

    harness.report_account(open_orders=[*ours, make_venue_order("theirs", arrival_number=9)])
    harness.advance(ms=1_000)
    harness.report_account()

    assert alarms(harness) == ["ORDER_ADOPTED"]
    assert harness.book.orders["theirs"].status is OrderStatus.ACCEPTED
    assert {order.client_order_id for order in harness.restarted().book.working_orders()} >= {"theirs"}


FORGOTTEN = make_client_order_id("s-9")


def learn_of_forgotten_order(harness: ExecutorHarness, where: str) -> None:
    """The journal is from a backup: the exchange has an order under an id that only an executor can have made."""
    if where == "execution":
        harness.execute(make_report(1, "s-9"))
    else:
        harness.report_account(open_orders=[make_venue_order(FORGOTTEN, arrival_number=9)])


@pytest.mark.parametrize("where", ["execution", "open order"])
def test_own_order_that_the_journal_forgot_halts_everything(where: str) -> None:
    """Its strategy may decide on it again. It is durable with the adoption, and a person may lift it."""
    harness = ExecutorHarness()
    harness.executor.recover(harness.now_ns)
    harness.resend()

    learn_of_forgotten_order(harness, where)

    assert alarms(harness) == ["ORDER_ADOPTED", "TRADING_STOPPED"]
    for life in (harness, harness.restarted()):
        scope = life.book.kill_switch.scopes()[0]
        assert (scope.state, scope.by) == (TradingState.HALTED, "reconciliation")
        assert FORGOTTEN in scope.reason


def test_adoption_and_halt_are_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash in between must not leave it trading."""
    harness = ExecutorHarness()
    writes: list[list[str]] = []
    monkeypatch.setattr(
        harness.journal, "append", lambda batch: writes.append([type(entry).__name__ for entry in batch])
    )

    learn_of_forgotten_order(harness, "execution")

    assert writes == [["OrderAdopted", "TradingStateMoved"], ["ExecutionTaken"]]


def test_signal_whose_order_was_adopted_is_denied_and_sends_nothing() -> None:
    """Its strategy sends it again, since it never heard of its end; the order and its fills stay with `adopted`."""
    harness = ExecutorHarness()
    learn_of_forgotten_order(harness, "execution")
    adopted = harness.book.orders[FORGOTTEN]
    sent = len(harness.sent)

    harness.signal("s-9")

    assert harness.acknowledgements[-1] == ("s-9", "denied", "ORDER_ADOPTED")
    assert len(harness.sent) == sent
    assert harness.book.orders == {FORGOTTEN: adopted}


def test_order_that_the_exchange_has_no_more_is_ended_and_told() -> None:
    """A venue that forgets an order without a word of its end must not leave it working here for ever."""
    harness = have_asked()

    harness.report_account(open_orders=[])

    assert alarms(harness) == ["ORDER_VANISHED"]
    assert (harness.order().status, harness.order().reason) == (OrderStatus.CANCELLED, "MISSING_AT_EXCHANGE")


def test_order_without_an_answer_is_not_missed() -> None:
    """The exchange may not have it yet; the query will tell."""
    harness = ExecutorHarness(reconcile_interval_ms=1_000)
    harness.recover()
    harness.signal()
    harness.advance(ms=1_000)
    harness.advance(ms=100)

    assert isinstance(harness.in_flight, QueryOrder)
    assert harness.order().status is OrderStatus.UNKNOWN


def test_other_position_or_cash_is_told() -> None:
    """To the last digit."""
    harness = have_asked()

    harness.report_account(
        positions=[VenuePosition(exchange="simulated", symbol="BTC/USDT", quantity=Decimal("0.000001"))],
        cash={"USDT": Decimal("-0.01")},
    )

    assert alarms(harness) == ["POSITION_MISMATCH", "CASH_MISMATCH"]


def test_account_comes_in_pages() -> None:
    """An answer has room for so many orders; the next page begins behind the last one."""
    harness = have_asked()

    harness.report_account(open_orders=[make_venue_order("theirs", arrival_number=7)], is_complete=False)
    request = harness.in_flight
    assert isinstance(request, QueryAccount)
    assert request.after_arrival_number == 7
    harness.report_account()

    assert alarms(harness) == ["ORDER_ADOPTED"]


def test_answer_to_an_older_life_ends_the_process() -> None:
    """A newer executor has taken over: this one must not send another byte."""
    harness = ExecutorHarness()
    harness.signal()

    with pytest.raises(FatalError, match="a newer executor has taken over"):
        harness.answer(AnswerOutcome.FENCED, None)


def test_refusal_of_an_older_life_ends_the_process_too() -> None:
    """Questions that are not about an order are answered so."""
    harness = ExecutorHarness()
    harness.executor.recover(harness.now_ns)
    assert harness.in_flight is not None
    refusal = RequestRefused(
        **DRAFT,
        timestamp_ns=harness.now_ns,
        request_id=harness.in_flight.request_id,
        reason="FENCED",
        detail="epoch 1 is over",
    )

    with pytest.raises(FatalError, match="a newer executor has taken over"):
        harness.executor.on_answer(refusal, harness.now_ns)


def test_refusal_of_a_request_of_an_earlier_life_is_none_of_ours() -> None:
    """It was on its way for long, and was fenced because of us."""
    harness = ExecutorHarness(epoch=2)
    harness.executor.recover(harness.now_ns)
    refusal = RequestRefused(
        **DRAFT, timestamp_ns=harness.now_ns, request_id="1-1", reason="FENCED", detail="epoch 1 is over"
    )

    harness.executor.on_answer(refusal, harness.now_ns)
    harness.resend()
    harness.report_account()

    assert harness.executor.is_recovered


def test_requests_bear_the_life_of_their_executor_and_orders_their_count() -> None:
    """What the exchange fences and counts by."""
    harness = ExecutorHarness(epoch=7)
    harness.have_working("s-1")
    harness.signal("s-2")

    request = harness.in_flight
    assert isinstance(request, SubmitOrder)
    assert (request.source, request.epoch, request.order_count) == ("executor", 7, 2)


def test_throttled_order_is_asked_about_after_a_pause() -> None:
    """It was not taken, so it may be sent again; a query first, as after silence, costs nothing."""
    harness = ExecutorHarness()
    harness.signal()

    harness.answer(AnswerOutcome.THROTTLED, None)
    assert len(harness.sent) == 1
    harness.advance(ms=100)
    harness.find_nothing()

    assert [type(request).__name__ for request in harness.sent] == ["SubmitOrder", "QueryOrder", "SubmitOrder"]


def test_cancelled_trade_is_undone_to_the_last_digit() -> None:
    """Order, position and cash are as if it had not been; the quantity will not fill again."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.fill(quantity="0.4", price="100", fee="0.02")

    correction = {"execution_type": ExecutionType.TRADE_CANCEL, "corrects": 1, "filled_quantity": "0"}
    harness.fill(**correction, quantity="0.4", leaves_quantity="0.6")

    position = harness.position()
    assert (position.quantity, position.realised_pnl, position.fees) == (0, 0, 0)
    assert harness.book.cash() == {"USDT": 0}
    assert (harness.order().filled_quantity, str(harness.order().leaves_quantity)) == (0, "0.6")
    assert harness.order().status is OrderStatus.ACCEPTED


def test_cancelled_trade_of_a_filled_order_leaves_it_cancelled() -> None:
    """It is at its end, and was not filled."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.fill(quantity="1", leaves_quantity="0", filled_quantity="1")

    correction = {"execution_type": ExecutionType.TRADE_CANCEL, "corrects": 1, "filled_quantity": "0"}
    harness.fill(**correction, quantity="1", leaves_quantity="0")

    assert (harness.order().status, harness.order().filled_quantity) == (OrderStatus.CANCELLED, 0)
    assert harness.position().quantity == 0


def test_corrected_trade_has_its_new_price_and_fee() -> None:
    """What was booked before is undone first."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.fill(quantity="1", price="100", fee="0.02", leaves_quantity="0", filled_quantity="1")

    correction = {"execution_type": ExecutionType.TRADE_CORRECT, "corrects": 1}
    harness.fill(**correction, quantity="1", price="101", fee="0.03", leaves_quantity="0", filled_quantity="1")

    assert harness.order().status is OrderStatus.FILLED
    assert str(harness.order().average_price) == "101.000000000000"
    assert {currency: str(amount) for currency, amount in harness.book.cash().items()} == {"USDT": "-101.03"}
