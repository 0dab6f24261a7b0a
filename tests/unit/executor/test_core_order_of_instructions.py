"""Instructions of one strategy are applied in the order in which they were emitted, whatever the network does."""

import pytest
from support.executor_builders import ExecutorHarness, make_state_request

from common.events.risk import AlarmRaised
from common.events.trading import StateReported
from executor.entries import OrderIntended


def intended(harness: ExecutorHarness) -> list[str]:
    """The signals that became orders, in the order in which they did."""
    return [entry.signal.signal_id for entry in harness.entries_of(OrderIntended)]


@pytest.mark.parametrize("arrival", [(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)])
def test_signals_apply_in_the_order_of_emission_however_they_arrive(arrival: tuple[int, ...]) -> None:
    """Each names the one before it."""
    harness = ExecutorHarness()

    for number in arrival:
        harness.signal(f"s-{number}", follows=f"s-{number - 1}" if number > 1 else None)

    assert intended(harness) == ["s-1", "s-2", "s-3"]


def test_denied_signal_lets_its_successor_pass() -> None:
    """A verdict is a verdict."""
    harness = ExecutorHarness()

    harness.signal("s-2", follows="s-1")
    harness.signal("s-1", quantity="0.001")

    assert harness.acknowledgements[0] == ("s-1", "denied", "OFF_LOT")
    assert intended(harness) == ["s-2"]


def test_other_strategies_do_not_wait() -> None:
    """One strategy's gap is no other's."""
    harness = ExecutorHarness()

    harness.signal("s-2", follows="s-1")
    harness.signal("o-2", strategy="other")

    assert intended(harness) == ["o-2"]


def test_cancel_waits_for_the_signal_that_it_cancels() -> None:
    """It overtook the signal: applied at once it would cancel nothing, and the order would work on."""
    harness = ExecutorHarness()

    harness.cancel("s-1", request_id="c-1", follows="s-1")
    assert harness.acknowledgements == []
    harness.signal("s-1")

    assert harness.order().is_cancel_wanted
    assert harness.acknowledgements == [("c-1", "accepted", None)]


def test_signal_whose_predecessor_never_comes_is_denied_in_time() -> None:
    """It is neither lost nor applied out of order, and what follows it goes on."""
    harness = ExecutorHarness(held_ms_max=1_000)
    harness.signal("s-2", follows="s-1")
    harness.signal("s-3", follows="s-2")

    harness.advance(ms=999)
    assert harness.acknowledgements == []
    harness.advance(ms=1)

    assert harness.acknowledgements == [("s-2", "denied", "PREDECESSOR_MISSING")]
    assert intended(harness) == ["s-3"]


def test_cancel_whose_predecessor_never_comes_is_done_all_the_same() -> None:
    """Taking risk away does no harm."""
    harness = ExecutorHarness(held_ms_max=1_000)
    harness.have_working()
    harness.cancel("s-1", request_id="c-1", follows="lost")

    harness.advance(ms=1_000)

    assert harness.acknowledgements == [("c-1", "accepted", None)]


def test_repeats_of_a_held_signal_are_one() -> None:
    """The strategy sends again while it waits."""
    harness = ExecutorHarness()

    for _ in range(3):
        harness.signal("s-2", follows="s-1")
    harness.signal("s-1")

    assert intended(harness) == ["s-1", "s-2"]


def test_held_instructions_are_bounded() -> None:
    """What finds no room is left to be sent again."""
    harness = ExecutorHarness(held_instructions_max=2)

    for number in (4, 3, 2):
        harness.signal(f"s-{number}", follows=f"s-{number - 1}")

    assert (harness.count("instructions_held"), harness.count("instructions_not_held")) == (2, 1)
    harness.signal("s-1")
    harness.signal("s-2", follows="s-1")
    assert intended(harness) == ["s-1", "s-2", "s-3", "s-4"]


def test_restart_forgets_what_was_held_and_loses_nothing() -> None:
    """It had no verdict, so its strategy still has it and sends it again."""
    harness = ExecutorHarness()
    harness.signal("s-2", follows="s-1")
    life = harness.restarted()

    life.signal("s-1")
    life.signal("s-2", follows="s-1")

    assert intended(life) == ["s-1", "s-2"]


@pytest.mark.parametrize(("last_id", "is_alarm"), [(None, True), ("s-1", True), ("s-2", False), ("s-3", False)])
def test_strategy_that_forgot_what_it_did_is_told_and_people_too(last_id: str | None, is_alarm: bool) -> None:
    """Nothing remembered: its state was lost. Less than we know of: it was restored from a backup."""
    harness = ExecutorHarness()
    harness.signal("s-1")
    harness.signal("s-2", follows="s-1")
    harness.trace.clear()

    harness.executor.on_state_request(make_state_request(last_id=last_id), harness.now_ns)

    assert [alarm.code for alarm in harness.events_of(AlarmRaised)] == ["STRATEGY_STATE_LOST"] * is_alarm
    assert [report.last_id for report in harness.events_of(StateReported)] == ["s-2"]


def test_cancel_of_nothing_is_denied_by_name_and_remembered() -> None:
    """A repeat gets the same answer."""
    harness = ExecutorHarness()

    harness.cancel("s-1", request_id="c-1")
    harness.cancel("s-1", request_id="c-1")

    assert harness.acknowledgements == [("c-1", "denied", "NO_WORKING_ORDER")] * 2


def test_second_cancel_of_an_order_is_acknowledged_without_asking_twice() -> None:
    """What it wants is under way."""
    harness = ExecutorHarness()
    harness.have_working()

    harness.cancel("s-1", request_id="c-1")
    harness.cancel("s-1", request_id="c-2")

    assert harness.acknowledgements == [("c-1", "accepted", None), ("c-2", "accepted", None)]
    assert len(harness.sent) == 1
