"""One order for one id, whatever is repeated, lost or killed."""

from collections.abc import Callable, Sequence
from decimal import Decimal

import pytest
from support.exchange_builders import (
    NOW_NS,
    make_cancel,
    make_instrument,
    make_query,
    make_resend,
    make_submit,
    make_tick,
    make_ticks,
    make_trade,
    make_venue,
)

from common.errors import FatalError
from common.events.trading import OrderStatus
from common.events.venue import (
    AnswerOutcome,
    CancelOrder,
    ExecutionReported,
    ExecutionsResent,
    OrderAnswered,
    QueryOrder,
    SubmitOrder,
)
from exchange.desk import OrderDesk
from exchange.memory_ledger import MemoryLedger
from exchange.records import RecordedReplacement
from exchange.simulated.venue import SimulatedVenue


class DyingLedger(MemoryLedger):
    """A ledger whose disk fails when it is told to, before anything is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.is_dead = False

    def record_submission(self, request: SubmitOrder, answer: OrderAnswered, now_ns: int) -> bool:
        """Keep it, or die."""
        self._check_alive()
        return super().record_submission(request, answer, now_ns)

    def record_executions(
        self, executions: Sequence[ExecutionReported], replacement: RecordedReplacement | None = None
    ) -> None:
        """Keep them, or die."""
        self._check_alive()
        super().record_executions(executions, replacement)

    def _check_alive(self) -> None:
        if self.is_dead:
            raise FatalError("ledger: disk full")


def make_desk(ledger: MemoryLedger | None = None, venue: SimulatedVenue | None = None) -> OrderDesk:
    """A desk at a venue of 99 to 101 without latency."""
    venue = make_venue() if venue is None else venue
    venue.on_tick(make_tick())
    return OrderDesk(venue, MemoryLedger() if ledger is None else ledger)


def ask(desk: OrderDesk, request: SubmitOrder | CancelOrder | QueryOrder) -> OrderAnswered:
    """Make a request about one order."""
    answer = desk.handle(request, NOW_NS)
    assert isinstance(answer, OrderAnswered)
    return answer


def resend(desk: OrderDesk, from_number: int) -> ExecutionsResent:
    """Ask for executions."""
    answer = desk.handle(make_resend(from_number), NOW_NS)
    assert isinstance(answer, ExecutionsResent)
    return answer


def test_first_submission_is_accepted_and_in_the_ledger() -> None:
    """What was answered can be found again."""
    ledger = MemoryLedger()
    desk = make_desk(ledger)

    answer = ask(desk, make_submit())

    recorded = ledger.find("order-1")
    assert answer.outcome is AnswerOutcome.ACCEPTED
    assert recorded is not None
    assert recorded.venue_order_id == answer.venue_order_id


def test_repeat_places_nothing_and_tells_what_became_of_the_order() -> None:
    """The executor lost our answer and asks again; meanwhile the order was filled in part."""
    ledger = MemoryLedger()
    venue = make_venue()
    desk = make_desk(ledger, venue)
    ask(desk, make_submit(quantity="1"))
    desk.market(make_tick(ask=100.0, ask_size=0.4))

    answer = ask(desk, make_submit(quantity="1.00", request_id="again", expires_ns=1))

    assert (answer.outcome, answer.status) == (AnswerOutcome.EXISTS, OrderStatus.PARTIALLY_FILLED)
    assert (answer.venue_order_id, answer.filled_quantity) == ("sim-1", Decimal("0.4"))
    assert (answer.request_id, len(venue.open_orders())) == ("again", 1)
    recorded = ledger.find("order-1")
    assert recorded is not None
    assert recorded.submissions == 2


@pytest.mark.parametrize("quantity", ["1.001", "NaN"])
def test_repeat_of_a_rejected_order_gets_the_same_refusal(quantity: str) -> None:
    """Refused once is refused for ever: the reason is remembered, not found anew."""
    desk = make_desk()
    first = ask(desk, make_submit(quantity=quantity))

    answer = ask(desk, make_submit(quantity=quantity))

    assert (answer.outcome, answer.status) == (AnswerOutcome.EXISTS, OrderStatus.REJECTED)
    assert answer.reason == first.reason


@pytest.mark.parametrize(
    "changes",
    [{"quantity": "2"}, {"limit_price": "99"}, {"side": "sell"}, {"time_in_force": "ioc"}, {"symbol": "ETH/USDT"}],
)
def test_other_order_under_a_known_id_is_a_conflict(changes: dict[str, str]) -> None:
    """Neither order is changed or placed."""
    venue = make_venue(make_instrument(), make_instrument(symbol="ETH/USDT"))
    desk = make_desk(venue=venue)
    ask(desk, make_submit())

    answer = ask(desk, make_submit(**changes))

    assert (answer.outcome, answer.reason) == (AnswerOutcome.CONFLICT, "TERMS_DIFFER")
    assert len(venue.open_orders()) == 1


def test_query_tells_the_state_of_an_order() -> None:
    """Also of one that is finished, which the venue has forgotten."""
    desk = make_desk()
    ask(desk, make_submit(order_type="market", quantity="11"))
    desk.advance(NOW_NS)

    answer = ask(desk, make_query())

    assert (answer.outcome, answer.status) == (AnswerOutcome.ACCEPTED, OrderStatus.EXPIRED)
    assert (answer.filled_quantity, answer.reason) == (10, "NO_LIQUIDITY")


@pytest.mark.parametrize("make_request", [make_query, make_cancel])
def test_question_about_an_unknown_order_finds_nothing(make_request: Callable[..., CancelOrder | QueryOrder]) -> None:
    """NOT_FOUND is a promise: the order was never placed."""
    desk = make_desk()

    answer = ask(desk, make_request("order-9"))

    assert answer.outcome is AnswerOutcome.NOT_FOUND


@pytest.mark.parametrize("make_request", [make_query, make_cancel])
def test_question_about_a_known_order_with_another_symbol_is_a_conflict(
    make_request: Callable[..., CancelOrder | QueryOrder],
) -> None:
    """NOT_FOUND would be a lie, since the id is taken."""
    venue = make_venue()
    desk = make_desk(venue=venue)
    ask(desk, make_submit())

    answer = ask(desk, make_request(symbol="ETH/USDT"))

    assert answer.outcome is AnswerOutcome.CONFLICT
    assert len(venue.open_orders()) == 1


def test_cancel_is_in_the_ledger_when_it_is_answered_and_its_report_follows() -> None:
    """After the answer no restart can bring the order back."""
    ledger = MemoryLedger()
    desk = make_desk(ledger)
    ask(desk, make_submit())

    answer = ask(desk, make_cancel())
    open_orders = ledger.open_orders()
    due_ns = desk.next_due_ns()
    reports = desk.market(make_tick())

    assert (answer.outcome, answer.status) == (AnswerOutcome.ACCEPTED, OrderStatus.CANCELLED)
    assert open_orders == []
    assert due_ns == 0
    assert [report.execution_number for report in reports] == [1]
    assert desk.advance(NOW_NS) == []


def test_reports_of_several_cancels_come_in_order_before_newer_ones() -> None:
    """The order of publication is the order of the numbers."""
    desk = make_desk()
    for name in ("order-1", "order-2", "order-3"):
        ask(desk, make_submit(name))
    ask(desk, make_cancel("order-2"))
    ask(desk, make_cancel("order-1"))

    reports = desk.market(make_tick(ask=99.5))

    assert [report.execution_number for report in reports] == [1, 2, 3]
    assert [report.client_order_id for report in reports] == ["order-2", "order-1", "order-3"]


def test_repeated_cancel_is_answered_like_the_first() -> None:
    """Asking twice does no harm."""
    desk = make_desk()
    ask(desk, make_submit())
    first = ask(desk, make_cancel())

    second = ask(desk, make_cancel())

    assert second == first


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"limit_price": "101"}, "ORDER_FILLED"),
        ({"time_in_force": "ioc"}, "ORDER_EXPIRED"),
        ({"quantity": "0"}, "ORDER_REJECTED"),
    ],
)
def test_cancel_that_comes_too_late_is_rejected(order: dict[str, str], reason: str) -> None:
    """The order ended otherwise, perhaps in this very moment; the answer says how."""
    desk = make_desk()
    ask(desk, make_submit(**order))

    answer = ask(desk, make_cancel())

    assert (answer.outcome, answer.reason) == (AnswerOutcome.REJECTED, reason)


def test_market_messages_of_every_kind_reach_the_venue() -> None:
    """Ticks, batches and trades fill orders, and what they fill is in the ledger."""
    ledger = MemoryLedger()
    desk = make_desk(ledger)
    for name in ("order-1", "order-2", "order-3"):
        ask(desk, make_submit(name))
    desk.advance(NOW_NS)

    by_tick = desk.market(make_tick(ask=100.0, ask_size=1.0))
    by_batch = desk.market(make_ticks([make_tick(), make_tick(ask=100.0, ask_size=1.0)]))
    by_trade = desk.market(make_trade(price=99.9, quantity=1.0))

    assert [report.client_order_id for report in by_tick + by_batch + by_trade] == ["order-1", "order-2", "order-3"]
    assert ledger.executions_from(1, 10) == by_tick + by_batch + by_trade


def test_executions_are_resent_up_to_the_limit_of_one_answer() -> None:
    """The answer says what the newest number is, so the asker knows whether to ask again."""
    desk = make_desk(venue=make_venue(open_orders_max=1_000))
    for number in range(501):
        ask(desk, make_submit(f"order-{number}", time_in_force="ioc"))
    desk.advance(NOW_NS)

    first = resend(desk, 1)
    rest = resend(desk, 501)

    assert (first.last_number, len(first.executions)) == (501, 500)
    assert [execution.execution_number for execution in rest.executions] == [501]


@pytest.mark.parametrize("from_number", [2, (1 << 64) - 1])
def test_executions_after_the_newest_are_none(from_number: int) -> None:
    """Also for a number that no database could hold."""
    desk = make_desk()
    ask(desk, make_submit(time_in_force="ioc"))
    desk.advance(NOW_NS)

    answer = resend(desk, from_number)

    assert (answer.last_number, answer.executions) == (1, [])


def test_death_before_the_order_is_kept_leaves_no_trace_of_it() -> None:
    """Nobody was told, so the repeat after the restart is a first submission, under the same number."""
    ledger = DyingLedger()
    desk = make_desk(ledger)
    ledger.is_dead = True
    with pytest.raises(FatalError, match="disk full"):
        desk.handle(make_submit(), NOW_NS)
    ledger.is_dead = False

    answer = ask(make_desk(ledger), make_submit())

    assert (answer.outcome, answer.venue_order_id) == (AnswerOutcome.ACCEPTED, "sim-1")


def test_death_before_an_execution_is_kept_leaves_the_order_as_it_was() -> None:
    """The fill was never told; its number goes to what really happens next."""
    ledger = DyingLedger()
    desk = make_desk(ledger)
    ask(desk, make_submit())
    desk.advance(NOW_NS)
    ledger.is_dead = True
    with pytest.raises(FatalError, match="disk full"):
        desk.market(make_tick(ask=100.0))
    ledger.is_dead = False

    restarted = make_desk(ledger)
    restarted.advance(NOW_NS)
    [report] = restarted.market(make_tick(ask=99.5))

    assert (report.execution_number, report.price, report.filled_quantity) == (1, 100, 1)


def test_venue_that_does_not_end_a_cancelled_order_is_fatal() -> None:
    """Venue and ledger disagree; going on would answer with a guess."""
    venue = make_venue()
    desk = make_desk(venue=venue)
    ask(desk, make_submit())
    venue.cancel("order-1", NOW_NS)
    venue.advance(NOW_NS)

    with pytest.raises(FatalError, match="restart to rebuild"):
        ask(desk, make_cancel())


@pytest.mark.parametrize("late_ns", [0, 1])
def test_submission_that_has_expired_on_its_way_is_refused_for_ever(late_ns: int) -> None:
    """Nothing that is still on its way can surprise anyone, whatever the venue would say."""
    ledger = MemoryLedger()
    desk = make_desk(ledger)

    answer = desk.handle(make_submit(expires_ns=NOW_NS), NOW_NS + late_ns)
    repeat = ask(desk, make_submit())

    assert isinstance(answer, OrderAnswered)
    assert (answer.outcome, answer.reason) == (AnswerOutcome.REJECTED, "EXPIRED")
    assert (repeat.outcome, repeat.status) == (AnswerOutcome.EXISTS, OrderStatus.REJECTED)
    assert ledger.open_orders() == []


def test_order_is_in_the_ledger_before_the_venue_takes_it() -> None:
    """A death between the two leaves an order that the next life hands to the venue."""
    venue = make_venue()
    open_counts: list[int] = []

    class WatchingLedger(MemoryLedger):
        def record_submission(self, request: SubmitOrder, answer: OrderAnswered, now_ns: int) -> bool:
            open_counts.append(len(venue.open_orders()))
            return super().record_submission(request, answer, now_ns)

    ask(make_desk(WatchingLedger(), venue), make_submit())

    assert open_counts == [0]
    assert len(venue.open_orders()) == 1
