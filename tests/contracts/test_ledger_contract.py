"""What every ledger promises: the SQLite file and the fake in memory."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import force_setattr, replace
from support.exchange_builders import NOW_NS, make_answer, make_execution, make_replace, make_submit

from chaos.disk import VirtualFile, VirtualLedger
from chaos.facts import Facts
from common.errors import FatalError
from common.events.base import DRAFT
from common.events.trading import OrderStatus
from common.events.venue import AnswerOutcome, ExecutionReported, ExecutionType, terms_of
from exchange.ledger import Ledger
from exchange.memory_ledger import MemoryLedger
from exchange.ports import OrderLedger
from exchange.records import Halt, make_replacement, terms_key


@pytest.fixture(params=["file", "memory", "virtual"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OrderLedger]:
    """An empty ledger of each kind."""
    if request.param == "memory":
        yield MemoryLedger()
        return
    if request.param == "virtual":
        yield VirtualLedger(VirtualFile(is_synced=True), lambda _point: None, Facts([], reference_age_ns_max=0))
        return
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def record_order(ledger: OrderLedger, client_order_id: str = "order-1", number: int = 1) -> None:
    """Have an accepted order in the ledger."""
    request = make_submit(client_order_id)
    ledger.record_submission(request, make_answer(request, venue_order_id=f"sim-{number}"), NOW_NS)


def test_empty_ledger_knows_nothing(ledger: OrderLedger) -> None:
    """Before the first order there is nothing to find and both counts are 0."""
    assert ledger.find("order-1") is None
    assert ledger.open_orders() == []
    assert ledger.executions_from(1, 10) == []
    assert (ledger.last_order_number(), ledger.last_execution_number()) == (0, 0)


def test_accepted_order_is_found_with_its_terms_and_answer(ledger: OrderLedger) -> None:
    """Everything that a repeat, a query or a restart needs is kept."""
    request = make_submit(quantity="0.50", limit_price="100.10", time_in_force="fok")

    ledger.record_submission(request, make_answer(request), NOW_NS)

    found = ledger.find("order-1")
    assert found is not None
    assert found.terms == terms_of(request)
    assert (found.outcome, found.status) == (AnswerOutcome.ACCEPTED, OrderStatus.ACCEPTED)
    assert (found.arrival_number, found.venue_order_id, found.submissions) == (1, "sim-1", 1)
    assert (found.answered_ns, found.filled_quantity, found.reason) == (NOW_NS, 0, None)


def test_rejected_order_is_kept_but_not_open(ledger: OrderLedger) -> None:
    """A refusal is an answer like any other: a repeat must get it again."""
    request = make_submit()
    answer = make_answer(
        request,
        venue_order_id=None,
        outcome=AnswerOutcome.REJECTED,
        status=OrderStatus.REJECTED,
        reason="EXPIRED",
        filled_quantity=None,
    )

    ledger.record_submission(request, answer, NOW_NS)

    found = ledger.find("order-1")
    assert found is not None
    assert (found.status, found.reason, found.venue_order_id) == (OrderStatus.REJECTED, "EXPIRED", None)
    assert ledger.open_orders() == []
    assert ledger.last_order_number() == 1


@pytest.mark.parametrize("quantity", ["NaN", "sNaN", "Infinity", "1e99"])
def test_rejected_order_with_an_absurd_amount_can_still_be_compared(ledger: OrderLedger, quantity: str) -> None:
    """Whatever decimal a peer sends, the repeat of it is recognised as the same order."""
    request = make_submit(quantity=quantity)
    answer = make_answer(request, outcome=AnswerOutcome.REJECTED, status=OrderStatus.REJECTED, venue_order_id=None)

    ledger.record_submission(request, answer, NOW_NS)

    found = ledger.find("order-1")
    assert found is not None
    assert terms_key(found.terms) == terms_key(terms_of(request))


def test_market_order_is_kept_without_a_price(ledger: OrderLedger) -> None:
    """An absent price stays absent."""
    request = make_submit(order_type="market", time_in_force="ioc")

    ledger.record_submission(request, make_answer(request), NOW_NS)

    found = ledger.find("order-1")
    assert found is not None
    assert found.terms.limit_price is None


def test_second_submission_of_a_known_id_changes_nothing_and_uses_no_number(ledger: OrderLedger) -> None:
    """The ledger itself holds no two orders for one id, whatever the desk does, and says that it knew the first."""
    first, second = make_submit(), make_submit(quantity="2")

    was_new = ledger.record_submission(first, make_answer(first), NOW_NS)
    is_new = ledger.record_submission(second, make_answer(second, venue_order_id="sim-2"), NOW_NS + 1)
    record_order(ledger, "order-2", 2)

    found = ledger.find("order-1")
    assert (was_new, is_new) == (True, False)
    assert found is not None
    assert (found.quantity, found.venue_order_id, found.answered_ns) == (1, "sim-1", NOW_NS)
    assert ledger.last_order_number() == 2


def test_repeats_are_counted(ledger: OrderLedger) -> None:
    """The count says how often the executor asked."""
    record_order(ledger)

    ledger.record_repeat("order-1")
    ledger.record_repeat("order-1")

    found = ledger.find("order-1")
    assert found is not None
    assert found.submissions == 3


def test_partial_fill_leaves_the_order_open(ledger: OrderLedger) -> None:
    """The execution and what it makes of its order are kept together."""
    record_order(ledger)

    ledger.record_executions([make_execution()])

    [order] = ledger.open_orders()
    assert (order.status, order.filled_quantity) == (OrderStatus.PARTIALLY_FILLED, Decimal("0.4"))
    assert ledger.last_execution_number() == 1


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"filled_quantity": "1", "leaves_quantity": "0"}, OrderStatus.FILLED),
        ({"execution_type": ExecutionType.CANCELLED, "quantity": "0", "leaves_quantity": "0"}, OrderStatus.CANCELLED),
        ({"execution_type": ExecutionType.EXPIRED, "quantity": "0", "leaves_quantity": "0"}, OrderStatus.EXPIRED),
    ],
)
def test_last_execution_ends_the_order(ledger: OrderLedger, changes: dict[str, Any], status: OrderStatus) -> None:
    """Filled, cancelled and expired orders are not open any more; the reason of their end is kept."""
    record_order(ledger)

    ledger.record_executions([make_execution(reason="BECAUSE", **changes)])

    found = ledger.find("order-1")
    assert found is not None
    assert (found.status, found.reason) == (status, "BECAUSE")
    assert ledger.open_orders() == []


def test_executions_come_back_in_order_and_in_full(ledger: OrderLedger) -> None:
    """A subscriber that missed reports gets exactly what was published."""
    record_order(ledger)
    executions = [
        make_execution(1, fee="-0.0000001"),
        make_execution(2, filled_quantity="0.8", leaves_quantity="0.2", liquidity="maker"),
        make_execution(
            3,
            execution_type=ExecutionType.CANCELLED,
            quantity="0",
            price=None,
            fee=None,
            liquidity=None,
            leaves_quantity="0",
            reason="CANCEL_REQUESTED",
        ),
    ]

    ledger.record_executions(executions)

    assert ledger.executions_from(1, 10) == executions
    assert ledger.executions_from(0, 10) == executions
    assert ledger.executions_from(2, 1) == executions[1:2]
    assert ledger.executions_from(4, 10) == []


def test_executions_come_back_as_drafts_after_they_were_published(ledger: OrderLedger) -> None:
    """A publisher writes its identity into the report that it sends, which is not the ledger's business."""
    record_order(ledger)
    execution = make_execution()
    ledger.record_executions([execution])

    force_setattr(execution, "seq", 17)

    assert ledger.executions_from(1, 1)[0].seq == DRAFT["seq"]


@pytest.mark.parametrize("number", [1, 3])
def test_execution_number_that_does_not_follow_is_fatal_and_nothing_is_kept(ledger: OrderLedger, number: int) -> None:
    """Numbers are neither skipped nor used twice, and a batch is kept as a whole or not at all."""
    record_order(ledger)
    ledger.record_executions([make_execution(1)])

    with pytest.raises(FatalError, match="expected execution number 2"):
        ledger.record_executions([make_execution(number, filled_quantity="0.8")])

    assert ledger.last_execution_number() == 1
    assert ledger.open_orders()[0].filled_quantity == Decimal("0.4")


def test_execution_of_an_unknown_order_is_fatal_and_nothing_is_kept(ledger: OrderLedger) -> None:
    """An execution without its order would be a fill that nobody asked for."""
    record_order(ledger)

    with pytest.raises(FatalError, match="belongs to no order"):
        ledger.record_executions([make_execution(1), make_execution(2, client_order_id="order-9")])

    assert ledger.last_execution_number() == 0
    assert ledger.open_orders()[0].filled_quantity == 0
    ledger.record_executions([make_execution(1)])


def test_open_orders_come_in_order_of_arrival(ledger: OrderLedger) -> None:
    """A restart gives them the time priority that they had."""
    for number, client_order_id in enumerate(["zebra", "ant", "mole"], start=1):
        record_order(ledger, client_order_id, number)

    ledger.record_executions(
        [make_execution(1, client_order_id="ant", filled_quantity="1", leaves_quantity="0", venue_order_id="sim-2")]
    )

    assert [order.client_order_id for order in ledger.open_orders()] == ["zebra", "mole"]
    assert [order.arrival_number for order in ledger.open_orders()] == [1, 3]


def test_replacement_is_kept_with_its_report_and_gives_the_order_its_terms(ledger: OrderLedger) -> None:
    """The terms of the submission stay, so that a repeat of it is recognised."""
    record_order(ledger)
    replacement = make_replacement(make_replace(quantity="2.50"), AnswerOutcome.ACCEPTED, None, NOW_NS)
    report = make_replaced(order_quantity="2.5", limit_price="100")

    ledger.record_executions([report], replacement)

    found = ledger.find("order-1")
    assert found is not None
    assert (found.quantity, found.limit_price, found.terms.quantity) == (Decimal("2.5"), 100, 1)
    assert (found.status, found.priority_ns) == (OrderStatus.ACCEPTED, NOW_NS)
    assert ledger.find_replacement("replace-1") == replacement
    assert ledger.executions_from(1, 1) == [report]
    assert ledger.open_orders() == [found]


def test_smaller_order_keeps_its_priority(ledger: OrderLedger) -> None:
    """No new time stands in for the old one."""
    record_order(ledger)
    replacement = make_replacement(make_replace(quantity="0.5"), AnswerOutcome.ACCEPTED, None, NOW_NS)

    ledger.record_executions([make_replaced(order_quantity="0.5", limit_price="100")], replacement)

    found = ledger.find("order-1")
    assert found is not None
    assert (found.quantity, found.priority_ns) == (Decimal("0.5"), None)


@pytest.mark.parametrize("quantity", ["1", "NaN", "1e99"])
def test_refused_replacement_is_found_again(ledger: OrderLedger, quantity: str) -> None:
    """With the request that it belongs to, whatever decimal that holds."""
    request = make_replace(quantity=quantity)
    replacement = make_replacement(request, AnswerOutcome.REJECTED, "EXPIRED", NOW_NS)

    ledger.record_replacement(replacement)

    found = ledger.find_replacement("replace-1")
    assert found == replacement
    assert found.is_of(request)
    assert not found.is_of(make_replace(quantity="7"))
    assert ledger.find_replacement("replace-2") is None


@pytest.mark.parametrize(
    ("execution_type", "quantity", "status"),
    [(ExecutionType.TRADE_CANCEL, "0", OrderStatus.CANCELLED), (ExecutionType.TRADE_CORRECT, "1", OrderStatus.FILLED)],
)
def test_correction_of_the_trade_that_filled_an_order(
    ledger: OrderLedger, execution_type: ExecutionType, quantity: str, status: OrderStatus
) -> None:
    """What was never filled will not be filled: the order has ended all the same."""
    record_order(ledger)
    trade = make_execution(1, quantity="1", filled_quantity="1", leaves_quantity="0")
    correction = make_execution(
        2, execution_type=execution_type, quantity="1", filled_quantity=quantity, leaves_quantity="0", corrects=1
    )

    ledger.record_executions([trade, correction])

    found = ledger.find("order-1")
    assert found is not None
    assert (found.status, found.filled_quantity) == (status, Decimal(quantity))
    assert ledger.executions_from(2, 1) == [correction]


def test_orders_are_counted_by_source_and_found_by_page(ledger: OrderLedger) -> None:
    """An order remembers who placed it."""
    for number, source in enumerate(["executor", "other", "executor"], start=1):
        request = make_submit(f"order-{number}", source=source)
        ledger.record_submission(request, make_answer(request), NOW_NS)

    assert ledger.order_counts() == {"executor": 2, "other": 1}
    assert [order.source for order in ledger.open_orders()] == ["executor", "other", "executor"]
    assert [order.arrival_number for order in ledger.open_orders(1, 1)] == [2]


def test_newest_life_of_each_source_is_remembered(ledger: OrderLedger) -> None:
    """The one that was recorded last."""
    ledger.record_epoch("executor", 1)
    ledger.record_epoch("other", 7)
    ledger.record_epoch("executor", 2)

    assert ledger.epochs() == {"executor": 2, "other": 7}


def test_halt_is_remembered_with_its_end(ledger: OrderLedger) -> None:
    """A cleared one stays on record, and is not cleared a second time."""
    first = Halt(source="executor", order_count=1, counted=2, halted_ns=NOW_NS)
    second = Halt(source="executor", order_count=3, counted=5, halted_ns=NOW_NS + 1)

    ledger.record_halt(first)
    ledger.clear_halts(NOW_NS + 1)
    ledger.record_halt(second)
    halts = ledger.halts()
    ledger.clear_halts(NOW_NS + 2)

    assert halts == [replace(first, cleared_ns=NOW_NS + 1), second]
    assert [halt.cleared_ns for halt in ledger.halts()] == [NOW_NS + 1, NOW_NS + 2]


def make_replaced(**changes: Any) -> ExecutionReported:
    """The report of new terms for an order of which nothing is filled."""
    fields = {"quantity": "0", "price": None, "fee": None, "liquidity": None, "filled_quantity": "0"}
    left = changes["order_quantity"]
    what = {"execution_type": ExecutionType.REPLACED, "replace_id": "replace-1", "leaves_quantity": left}
    return make_execution(**{**fields, **what, **changes})
