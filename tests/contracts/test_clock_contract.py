"""What every clock promises: the machine's and the virtual one."""

import pytest

from common.clock import NS_PER_S, Clock, SystemClock, VirtualClock

YEAR_2020_NS = 1_577_836_800 * NS_PER_S


@pytest.fixture(params=[SystemClock, VirtualClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    """A clock of each kind."""
    made: Clock = request.param()
    return made


def test_wall_time_is_a_whole_number_of_nanoseconds_since_1970(clock: Clock) -> None:
    """Seconds, milliseconds or a float would pass as a number and be wrong by a factor of a thousand or more."""
    now_ns = clock.now_ns()

    assert type(now_ns) is int
    assert YEAR_2020_NS < now_ns < 10 * YEAR_2020_NS


def test_monotonic_time_never_goes_back(clock: Clock) -> None:
    """Durations are measured with it."""
    readings = [clock.monotonic_ns() for _ in range(100)]

    assert all(type(reading) is int for reading in readings)
    assert readings == sorted(readings)
