"""The virtual clock; what both clocks promise is in the contract suite."""

import pytest

from common.clock import SystemClock, VirtualClock


def test_virtual_clock_stands_still_until_it_is_told_to_move() -> None:
    """A simulation decides when time passes."""
    clock = VirtualClock(now_ns=1_000)

    readings = {clock.now_ns(), clock.now_ns(), clock.monotonic_ns()}
    clock.advance_to(2_500)

    assert readings == {1_000}
    assert (clock.now_ns(), clock.monotonic_ns()) == (2_500, 2_500)


def test_virtual_clock_may_be_told_the_time_it_has() -> None:
    """Two events at one instant are no error."""
    clock = VirtualClock(now_ns=1_000)

    clock.advance_to(1_000)

    assert clock.now_ns() == 1_000


def test_virtual_clock_refuses_to_go_back() -> None:
    """A schedule that is out of order is a bug of its maker, and is told so."""
    clock = VirtualClock(now_ns=1_000)

    with pytest.raises(ValueError, match="expected a time from 1000, was 999"):
        clock.advance_to(999)

    assert clock.now_ns() == 1_000


def test_sleeping_for_no_time_or_less_returns() -> None:
    """A deadline that has passed is no error of the one who waits for it."""
    SystemClock.sleep_ns(0)
    SystemClock.sleep_ns(-5)
    SystemClock.sleep_ns(1)
