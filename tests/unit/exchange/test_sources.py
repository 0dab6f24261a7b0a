"""Who may ask: the newest life of an executor, that has not lost count of its orders and is still there."""

from collections.abc import Callable
from typing import Any

import pytest
from support.exchange_builders import (
    NOW_NS,
    make_cancel,
    make_cancel_all,
    make_query,
    make_query_account,
    make_replace,
    make_resend,
    make_submit,
    make_tick,
    make_venue,
)

from common.events.venue import AnswerOutcome, ExecutionType, OrderAnswered, OrdersCancelled, RequestRefused
from exchange.desk import Alarm, OrderDesk, Reply
from exchange.memory_ledger import MemoryLedger

SILENCE_NS_MAX = 10_000_000_000


class World:
    """A desk that can be started again, and the alarms that it gave."""

    def __init__(self, **options: Any) -> None:
        self.ledger = MemoryLedger()
        self.alarms: list[Alarm] = []
        self._options = options
        self.restart()

    def restart(self) -> None:
        """A new life with nothing but the ledger."""
        venue = make_venue()
        venue.on_tick(make_tick())
        self.desk = OrderDesk(venue, self.ledger, on_alarm=self.alarms.append, **self._options)

    def submit(self, name: str = "order-1", **changes: Any) -> OrderAnswered:
        """Place an order for the executor's first life, unless told otherwise."""
        answer = self.desk.handle(make_submit(name, **{"source": "executor", "epoch": 1, **changes}), NOW_NS)
        assert isinstance(answer, OrderAnswered)
        return answer

    def open_names(self) -> list[str]:
        """The working orders."""
        return [order.client_order_id for order in self.ledger.open_orders()]


# Fencing


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("make_request", [make_submit, make_replace, make_cancel, make_query])
def test_request_of_an_older_life_is_fenced_and_does_nothing(
    make_request: Callable[..., Any], *, is_restarted: bool
) -> None:
    """A paused executor wakes after its successor has begun, perhaps after the exchange was started again, too."""
    world = World()
    world.submit("order-1", epoch=2)
    if is_restarted:
        world.restart()

    answer = world.desk.handle(make_request("order-1", source="executor", epoch=1), NOW_NS)

    assert isinstance(answer, OrderAnswered)
    assert (answer.outcome, answer.reason) == (AnswerOutcome.FENCED, "FENCED")
    recorded = world.ledger.find("order-1")
    assert recorded is not None
    assert (recorded.submissions, recorded.is_open) == (1, True)


@pytest.mark.parametrize("make_request", [make_cancel_all, make_query_account, make_resend])
def test_request_without_an_order_of_an_older_life_is_refused(make_request: Callable[..., Any]) -> None:
    """It has no client_order_id to answer with, but its own request id."""
    world = World()
    world.submit(epoch=2)
    request = make_request(source="executor", epoch=1)

    answer = world.desk.handle(request, NOW_NS)

    assert isinstance(answer, RequestRefused)
    assert (answer.reason, answer.request_id) == ("FENCED", request.request_id)
    assert world.open_names() == ["order-1"]


def test_newer_life_is_durable_before_anything_is_done_for_it() -> None:
    """Even a question fences the lives before."""
    world = World()
    world.submit(epoch=1)

    world.desk.handle(make_query(source="executor", epoch=2), NOW_NS)

    assert world.ledger.epochs() == {"executor": 2}
    assert world.submit("order-2", epoch=1).outcome is AnswerOutcome.FENCED


def test_life_that_no_ledger_could_hold_is_fenced() -> None:
    """A number from the wire must not end the process."""
    world = World()

    assert world.submit(epoch=1 << 63).outcome is AnswerOutcome.FENCED
    assert world.ledger.epochs() == {}


def test_plain_client_is_never_fenced_and_never_remembered() -> None:
    """Epoch 0 says that there are no lives to tell apart; another source has lives of its own."""
    world = World()
    world.submit("order-1", epoch=5)

    assert world.submit("order-2", epoch=0).outcome is AnswerOutcome.ACCEPTED
    assert world.submit("order-3", source="other", epoch=1).outcome is AnswerOutcome.ACCEPTED
    assert world.ledger.epochs() == {"executor": 5, "other": 1}


# The count of orders


def test_more_orders_than_intended_halt_the_gateway_and_end_what_works() -> None:
    """The executor says this is its first, but there is one already: its journal is not the one that placed it."""
    world = World()
    world.submit("order-1", order_count=1)

    answer = world.submit("order-2", order_count=1)
    later = world.submit("order-3", order_count=9)
    reports = world.desk.advance(NOW_NS)

    assert (answer.outcome, answer.reason) == (AnswerOutcome.REJECTED, "COUNT_MISMATCH")
    assert (later.outcome, later.reason) == (AnswerOutcome.REJECTED, "COUNT_MISMATCH")
    assert [(report.client_order_id, report.reason) for report in reports] == [("order-1", "COUNT_MISMATCH")]
    assert world.open_names() == []
    assert world.desk.counters()["is_halted"] == 1
    assert [alarm.event for alarm in world.alarms] == ["exchange_halted"]


@pytest.mark.parametrize("order_count", [None, 2, 7])
def test_as_many_orders_as_intended_or_fewer_are_placed(order_count: int | None) -> None:
    """An order that was intended but never arrived is no reason to halt."""
    world = World()
    world.submit("order-1")

    assert world.submit("order-2", order_count=order_count).outcome is AnswerOutcome.ACCEPTED


def test_repeat_is_not_counted_twice() -> None:
    """It carries the count of its own time, perhaps, while more orders have come since."""
    world = World()
    world.submit("order-1", order_count=1)
    world.submit("order-2", order_count=2)

    answer = world.submit("order-1", order_count=1)

    assert answer.outcome is AnswerOutcome.EXISTS
    assert world.desk.counters()["is_halted"] == 0


def test_orders_of_other_sources_do_not_count() -> None:
    """Each is compared with its own."""
    world = World()
    world.submit("order-1", source="other", order_count=1)

    assert world.submit("order-2", order_count=1).outcome is AnswerOutcome.ACCEPTED


def test_halt_survives_a_restart_and_is_told_again() -> None:
    """Only a person lifts it."""
    world = World()
    world.submit("order-1")
    world.submit("order-2", order_count=1)

    world.restart()

    assert world.submit("order-3", order_count=9).reason == "COUNT_MISMATCH"
    assert len(world.alarms) == 2


def test_lifted_halt_accepts_the_difference_that_was_found_and_no_more() -> None:
    """Otherwise the very next order would halt again, or nothing ever."""
    world = World()
    world.submit("order-1")
    world.submit("order-2", order_count=1)
    world.ledger.clear_halts(NOW_NS)
    world.restart()

    accepted = world.submit("order-3", order_count=2)
    halted = world.submit("order-4", order_count=2)

    assert (accepted.outcome, halted.reason) == (AnswerOutcome.ACCEPTED, "COUNT_MISMATCH")


def test_halted_gateway_still_cancels_answers_and_shrinks() -> None:
    """Whatever takes risk away passes, and nothing that adds any."""
    world = World()
    world.submit("order-3", quantity="5")
    world.desk._sources.stop(make_submit(source="executor", order_count=1), NOW_NS)  # halted, with an order that works

    grown = world.desk.handle(make_replace("order-3", replace_id="grow", quantity="6"), NOW_NS)
    shrunk = world.desk.handle(make_replace("order-3", replace_id="shrink", quantity="4"), NOW_NS)
    asked = world.desk.handle(make_query("order-3"), NOW_NS)
    cancelled = world.desk.handle(make_cancel("order-3"), NOW_NS)

    assert [outcome_of(reply) for reply in (grown, shrunk, asked, cancelled)] == [
        (AnswerOutcome.REJECTED, "COUNT_MISMATCH"),
        (AnswerOutcome.ACCEPTED, None),
        (AnswerOutcome.ACCEPTED, None),
        (AnswerOutcome.ACCEPTED, "CANCEL_REQUESTED"),
    ]


def outcome_of(reply: Reply) -> tuple[AnswerOutcome, str | None]:
    """What an answer about one order says."""
    assert isinstance(reply, OrderAnswered)
    return reply.outcome, reply.reason


# Mass cancel


def test_mass_cancel_ends_every_working_order_and_reports_each() -> None:
    """Of every source and instrument."""
    world = World()
    world.submit("order-1")
    world.submit("order-2", source="other")
    world.desk.advance(NOW_NS)

    answer = world.desk.handle(make_cancel_all(), NOW_NS)
    reports = world.desk.advance(NOW_NS)

    assert isinstance(answer, OrdersCancelled)
    assert answer.count == 2
    assert [report.execution_type for report in reports] == [ExecutionType.CANCELLED] * 2
    assert world.open_names() == []


def test_mass_cancel_of_one_instrument_leaves_the_others() -> None:
    """Nothing of ETH/USDT works, so nothing is cancelled."""
    world = World()
    world.submit()

    answer = world.desk.handle(make_cancel_all(exchange="simulated", symbol="ETH/USDT"), NOW_NS)

    assert isinstance(answer, OrdersCancelled)
    assert (answer.count, world.open_names()) == (0, ["order-1"])


def test_mass_cancel_with_half_an_instrument_is_refused() -> None:
    """Neither guess, all or some, would be safe."""
    answer = World().desk.handle(make_cancel_all(symbol="BTC/USDT"), NOW_NS)

    assert isinstance(answer, RequestRefused)
    assert answer.reason == "INSTRUMENT_INCOMPLETE"


# The dead-man's switch


def test_orders_of_a_silent_executor_are_cancelled_once_after_the_limit() -> None:
    """Not a moment before; and it is told to a person."""
    world = World(silence_ns_max=SILENCE_NS_MAX)
    world.submit()
    world.desk.advance(NOW_NS)
    assert world.desk.check_silence(NOW_NS, 0) == []

    early = world.desk.check_silence(NOW_NS, SILENCE_NS_MAX - 1)
    [report] = world.desk.check_silence(NOW_NS, SILENCE_NS_MAX)
    again = world.desk.check_silence(NOW_NS, 3 * SILENCE_NS_MAX)

    assert (early, again) == ([], [])
    assert (report.execution_type, report.reason) == (ExecutionType.CANCELLED, "EXECUTOR_SILENT")
    assert world.desk.counters()["executors_silent"] == 1
    assert [alarm.event for alarm in world.alarms] == ["executor_silent"]


def test_any_request_is_a_sign_of_life() -> None:
    """The question for the account is what an idle executor sends."""
    world = World(silence_ns_max=SILENCE_NS_MAX)
    world.submit()
    world.desk.check_silence(NOW_NS, 0)

    world.desk.handle(make_query_account(source="executor", epoch=1), NOW_NS)
    world.desk.check_silence(NOW_NS, SILENCE_NS_MAX)

    assert world.open_names() == ["order-1"]


def test_fenced_request_is_no_sign_of_life() -> None:
    """The old life says nothing about the new one."""
    world = World(silence_ns_max=SILENCE_NS_MAX)
    world.submit(epoch=2)
    world.desk.check_silence(NOW_NS, 0)

    world.submit("order-2", epoch=1)
    world.desk.check_silence(NOW_NS, SILENCE_NS_MAX)

    assert world.open_names() == []


def test_executor_that_is_still_silent_after_a_restart_of_the_exchange_is_noticed() -> None:
    """The limit begins anew, but it does begin."""
    world = World(silence_ns_max=SILENCE_NS_MAX)
    world.submit()
    world.restart()

    world.desk.check_silence(NOW_NS, 5)
    world.desk.check_silence(NOW_NS, SILENCE_NS_MAX + 5)

    assert world.open_names() == []


@pytest.mark.parametrize(
    ("options", "epoch", "alarm_count"),
    [
        ({"silence_ns_max": 0}, 1, 0),
        ({"silence_ns_max": SILENCE_NS_MAX}, 0, 0),
        ({"silence_ns_max": SILENCE_NS_MAX, "on_silence": "leave"}, 1, 1),
    ],
)
def test_orders_are_left_alone_when_told_so_and_for_a_plain_client(
    options: dict[str, Any], epoch: int, alarm_count: int
) -> None:
    """Switched off, nobody is watched; a client without lives promises no sign of life; `leave` only tells."""
    world = World(**options)
    world.submit(epoch=epoch)

    world.desk.check_silence(NOW_NS, 0)
    world.desk.check_silence(NOW_NS, 2 * SILENCE_NS_MAX)

    assert world.open_names() == ["order-1"]
    assert len(world.alarms) == alarm_count


def test_silent_executor_without_orders_is_no_alarm() -> None:
    """Nothing of it is at risk."""
    world = World(silence_ns_max=SILENCE_NS_MAX)
    world.submit(quantity="0")
    world.desk.check_silence(NOW_NS, 0)

    world.desk.check_silence(NOW_NS, SILENCE_NS_MAX)

    assert world.alarms == []
