"""An exchange that contradicts itself: what it executes is booked, told, and halts its symbol; no process ends."""

from decimal import Decimal
from random import Random
from typing import Any

import pytest
from support.executor_builders import ExecutorHarness, Killed, contents, make_venue_order, refold

from common.events.base import DRAFT
from common.events.risk import AlarmRaised, ControlAction, ControlRequested, TradingState
from common.events.trading import OrderStatus
from common.events.venue import AnswerOutcome, CancelOrder, ExecutionType, QueryAccount, QueryOrder, SubmitOrder
from executor.entries import ExecutionTaken, TradingStateMoved

SCOPE = "symbol:simulated.BTC/USDT"


def alarms(harness: ExecutorHarness) -> list[str]:
    """Codes of what people were told."""
    return [alarm.code for alarm in harness.events_of(AlarmRaised)]


def assert_stopped(harness: ExecutorHarness, code: str) -> None:
    """Told, halted, durable with the execution, and the next life knows the same."""
    assert alarms(harness) == [code]
    [moved] = harness.entries_of(TradingStateMoved)
    assert (moved.scope, moved.state, moved.by) == (SCOPE, TradingState.HALTED, "reconciliation")
    assert contents(harness.restarted().book) == contents(refold(harness.journal.entries)) == contents(harness.book)
    harness.signal("s-next")
    assert ("s-next", "denied", "TRADING_HALTED") in harness.acknowledgements


def resume(harness: ExecutorHarness) -> None:
    """A person has looked."""
    command = ControlRequested(
        **DRAFT, timestamp_ns=harness.now_ns, request_id="c-1", action=ControlAction.RESUME, scope=SCOPE, by="jane"
    )
    harness.executor.on_control(command, harness.now_ns)


def have_ended(status: OrderStatus) -> ExecutorHarness:
    """An order to buy 1 that is at its end."""
    harness = ExecutorHarness()
    harness.recover()
    if status is OrderStatus.DENIED:
        harness.signal("s-0")
        harness.signal()
        harness.cancel()
        harness.answer()
    elif status is OrderStatus.REJECTED:
        harness.signal()
        harness.reject("COUNT_MISMATCH")
    else:
        harness.have_working()
        if status is OrderStatus.FILLED:
            harness.fill(quantity="1", leaves_quantity="0")
        else:
            harness.end(execution_type=ExecutionType(status.value))
    assert harness.order().status is status
    harness.trace.clear()
    return harness


@pytest.mark.parametrize(
    "status", [OrderStatus.REJECTED, OrderStatus.DENIED, OrderStatus.CANCELLED, OrderStatus.EXPIRED]
)
@pytest.mark.parametrize(
    ("quantity", "leaves", "expected"),
    [("1", "0", OrderStatus.FILLED), ("0.4", "0.6", OrderStatus.PARTIALLY_FILLED), ("0.4", "0", None)],
)
def test_fill_after_the_end_is_booked_told_and_halts(
    status: OrderStatus, quantity: str, leaves: str, expected: OrderStatus | None
) -> None:
    """The order is where the exchange has it: filled, working again, or still at its end."""
    harness = have_ended(status)

    harness.fill(quantity=quantity, leaves_quantity=leaves)

    ended = OrderStatus.EXPIRED if status is OrderStatus.EXPIRED else OrderStatus.CANCELLED
    assert harness.order().status is (expected or ended)
    assert harness.position().quantity == Decimal(quantity)
    assert_stopped(harness, "ORDER_CONTRADICTED")


def test_order_that_works_again_is_cancelled_by_the_halt() -> None:
    """Nobody wants it any more."""
    harness = have_ended(OrderStatus.REJECTED)
    harness.fill(quantity="0.4", leaves_quantity="0.6")

    harness.advance(ms=250)

    assert isinstance(harness.in_flight, CancelOrder)
    assert harness.order().status is OrderStatus.PENDING_CANCEL


@pytest.mark.parametrize("kind", [ExecutionType.CANCELLED, ExecutionType.EXPIRED, ExecutionType.REPLACED])
@pytest.mark.parametrize("status", ["rejected", "denied", "cancelled", "expired", "filled", "accepted"])
def test_other_report_after_the_end_does_not_end_the_process(status: str, kind: ExecutionType) -> None:
    """Nor do terms that nobody asked for, while the order works."""
    harness = ExecutorHarness() if status == "accepted" else have_ended(OrderStatus(status))
    if status == "accepted":
        harness.have_working()
    terms = {"order_quantity": "3", "limit_price": Decimal(100)} if kind is ExecutionType.REPLACED else {}

    harness.end(execution_type=kind, **terms)

    is_usual = status == "accepted" and kind is not ExecutionType.REPLACED
    assert harness.book.last_execution_number == len(
        [e for e in harness.journal.entries if isinstance(e, ExecutionTaken)]
    )
    if is_usual:
        assert alarms(harness) == []
    else:
        assert_stopped(harness, "ORDER_CONTRADICTED")


def test_terms_that_overtake_the_first_answer_end_the_signal_as_accepted() -> None:
    """The exchange has the order, or it could not change it."""
    harness = ExecutorHarness()
    harness.signal()

    harness.replaced(order_quantity="3", limit_price=Decimal(101))

    assert harness.acknowledgements == [("s-1", "accepted", None)]
    assert (harness.order().status, harness.order().quantity) == (OrderStatus.ACCEPTED, 3)
    assert alarms(harness) == ["ORDER_CONTRADICTED"]


@pytest.mark.parametrize("earlier", ["0.4", "1"])
def test_fill_beyond_the_quantity_is_booked_told_and_halts(earlier: str) -> None:
    """The money has moved; while the order works, and after it was filled."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.fill(quantity=earlier, leaves_quantity="0.6")

    harness.fill(quantity="0.7", leaves_quantity="0")

    assert harness.order().status is OrderStatus.FILLED
    assert harness.position().quantity == Decimal(earlier) + Decimal("0.7")
    assert harness.book.exposure.total.open_orders == 0
    assert_stopped(harness, "ORDER_CONTRADICTED")


@pytest.mark.parametrize(
    "report",
    [
        {"quantity": "0"},
        {"quantity": "NaN"},
        {"quantity": "1e-16"},
        {"price": None},
        {"price": "NaN"},
        {"price": "Infinity"},
        {"price": "1e16"},
        {"fee": "NaN"},
        {"fee": "-Infinity"},
        {"execution_type": ExecutionType.TRADE_CANCEL, "corrects": 9},
        {"execution_type": ExecutionType.TRADE_CORRECT, "corrects": 1, "price": "NaN"},
        {"execution_type": ExecutionType.REPLACED},
        {"execution_type": ExecutionType.REPLACED, "order_quantity": "0.1", "limit_price": "100"},
        {"client_order_id": "theirs", "filled_quantity": "NaN"},
    ],
)
def test_execution_that_cannot_be_booked_leaves_its_number_and_halts(report: dict[str, Any]) -> None:
    """What follows it is booked; the account will show what is missing."""
    harness = ExecutorHarness()
    harness.recover()
    harness.have_working()
    harness.fill(quantity="0.4")
    before = (harness.order(), harness.position())

    harness.fill(**report)

    assert (harness.order(), harness.position()) == before
    assert harness.entries_of(ExecutionTaken)[-1].defect
    assert_stopped(harness, "EXECUTION_NOT_BOOKED")
    harness.fill(quantity="0.6", leaves_quantity="0")
    assert harness.position().quantity == 1


def test_order_at_its_end_that_the_exchange_lists_is_taken_back_and_cancelled() -> None:
    """Rejected here, working there: without a single execution only the account tells."""
    harness = have_ended(OrderStatus.REJECTED)
    harness.executor.on_time(harness.now_ns + 3_600_000_000_000)
    assert isinstance(harness.in_flight, QueryAccount)
    theirs = make_venue_order(harness.order().client_order_id)

    harness.report_account(open_orders=[theirs])
    assert harness.order().status is OrderStatus.ACCEPTED
    assert_stopped(harness, "ORDER_CONTRADICTED")
    harness.executor.on_time(harness.now_ns + 3_601_000_000_000)

    assert isinstance(harness.in_flight, CancelOrder)


def test_halt_and_execution_are_one_write() -> None:
    """A crash between them would leave a contradiction that nobody hears of."""
    harness = have_ended(OrderStatus.CANCELLED)
    harness.steps_left = 1  # the execution, but not the halt beside it

    with pytest.raises(Killed):
        harness.fill(quantity="1", leaves_quantity="0")

    life = harness.restarted()
    assert life.book.last_execution_number == 1
    life.fill(quantity="1", leaves_quantity="0")
    assert_stopped(life, "ORDER_CONTRADICTED")


@pytest.mark.parametrize("seed", range(40))
def test_no_history_of_executions_ends_the_process_and_the_money_is_what_was_booked(seed: int) -> None:
    """Reports of every kind in every status, in amounts that are none too; the journal folds to what is known."""
    random = Random(seed)
    harness = ExecutorHarness(reconcile_interval_ms=200)
    harness.recover()
    for number in range(80):
        act = random.choice(["signal", "answer", "execute", "execute", "execute", "cancel", "time"])
        if act == "signal":
            harness.signal(f"s-{number % 8}", action=random.choice(["buy", "sell"]))
        elif act == "answer" and isinstance(harness.in_flight, SubmitOrder | QueryOrder | CancelOrder):
            outcome = random.choice([AnswerOutcome.ACCEPTED, AnswerOutcome.REJECTED, AnswerOutcome.UNDECIDED])
            harness.answer(outcome, OrderStatus.ACCEPTED if outcome is AnswerOutcome.ACCEPTED else None)
        elif act == "execute":
            _execute_anything(harness, random)
        elif act == "cancel":
            harness.cancel(f"s-{random.randrange(8)}")
        else:
            harness.advance(ms=random.choice([10, 100, 250]))
            harness.report_account()
            resume(harness)

    trades: dict[int, Decimal] = {}
    for entry in harness.entries_of(ExecutionTaken):
        report = entry.report
        if entry.defect is None and report.execution_type is ExecutionType.TRADE:
            side = harness.book.orders[report.client_order_id].signal.action
            trades[report.execution_number] = report.quantity if side == "buy" else -report.quantity
        elif entry.defect is None and report.execution_type is ExecutionType.TRADE_CANCEL:
            del trades[report.corrects or 0]
    assert harness.book.net_quantities().get(("simulated", "BTC/USDT"), 0) == sum(trades.values())
    assert contents(harness.restarted().book) == contents(refold(harness.journal.entries)) == contents(harness.book)


def _execute_anything(harness: ExecutorHarness, random: Random) -> None:
    if not harness.book.orders:
        return
    kind = random.choice([*ExecutionType, ExecutionType.TRADE, ExecutionType.TRADE])
    trades = [entry.report for entry in harness.entries_of(ExecutionTaken) if entry.report.execution_type == "trade"]
    nonsense = [{"quantity": "NaN", "leaves_quantity": "NaN"}, {"price": None}, {"limit_price": "NaN"}]
    report = {
        "execution_type": kind,
        "client_order_id": random.choice(list(harness.book.orders)),
        "quantity": random.choice(["0.1", "0.4", "1", "5"]),
        "price": random.choice(["100", "101"]),
        "leaves_quantity": random.choice(["0", "0.6"]),
        "order_quantity": random.choice(["0.1", "3"]),
        "limit_price": "99",
        **(random.choice(nonsense) if random.random() < 0.2 else {}),
    }
    if kind in {ExecutionType.TRADE_CANCEL, ExecutionType.TRADE_CORRECT} and trades:
        corrected = random.choice(trades)
        report |= {"corrects": corrected.execution_number, "client_order_id": corrected.client_order_id}
    harness.fill(**report)
