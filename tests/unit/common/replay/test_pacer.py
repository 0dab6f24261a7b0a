import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clock import NS_PER_DAY, NS_PER_MS, NS_PER_S
from common.errors import InvalidValueError
from common.store.replay.pacer import Pacer
from common.store.selection import TIME_NS_MIN

LOG_NS = 1_600_000_000 * NS_PER_S
CLOCK_NS = 7 * NS_PER_S


def started(speed: float = 1.0, waiting_ns: int | None = None) -> Pacer:
    """A pacer that begins at LOG_NS when the clock shows CLOCK_NS; an event waits."""
    pacer = Pacer(speed)
    pacer.start(LOG_NS, CLOCK_NS)
    pacer.wait_for(waiting_ns)
    return pacer


@pytest.mark.parametrize(("speed", "after_ns"), [(1, NS_PER_S), (10, NS_PER_S // 10), (0.1, 10 * NS_PER_S), (0, 0)])
def test_event_is_due_after_its_time_divided_by_the_speed(speed: float, after_ns: int) -> None:
    """A second of the log lasts a second, a tenth of one, ten, or nothing."""
    pacer = started(speed, LOG_NS + NS_PER_S)

    assert pacer.due_ns() == CLOCK_NS + after_ns


@given(
    speed=st.sampled_from([1.0, 10.0, 0.1, 3.0, 0.7, 1e-6, 1e9]),
    offsets_ns=st.lists(st.integers(0, 400 * NS_PER_DAY), min_size=1).map(sorted),
)
def test_nothing_drifts_however_many_events_and_days_there_are(speed: float, offsets_ns: list[int]) -> None:
    """The due time of an event depends on its own time alone, and is exact: due then, and not a nanosecond before."""
    pacer = started(speed)

    for offset_ns in offsets_ns:
        pacer.wait_for(LOG_NS + offset_ns)
        due_ns = pacer.due_ns()
        assert due_ns is not None
        assert pacer.due_until_ns(due_ns) >= LOG_NS + offset_ns
        assert due_ns == CLOCK_NS or pacer.due_until_ns(due_ns - 1) < LOG_NS + offset_ns
        if speed == 1:
            assert due_ns == CLOCK_NS + offset_ns
        pacer.wait_for(None)


def test_older_event_is_due_at_once() -> None:
    """A clock that went back within the log makes nobody wait."""
    pacer = started(1, LOG_NS + NS_PER_S)
    pacer.hand_out(LOG_NS + NS_PER_S, 1)

    pacer.wait_for(LOG_NS + NS_PER_MS)

    assert pacer.due_ns() == CLOCK_NS + NS_PER_S
    assert pacer.due_until_ns(CLOCK_NS + NS_PER_S) >= LOG_NS + NS_PER_MS


def test_pause_takes_its_time_out_of_the_replay() -> None:
    """After five seconds of pause the rest is still as far away as it was."""
    pacer = started(1, LOG_NS + 3 * NS_PER_S)

    pacer.pause(CLOCK_NS + NS_PER_S)
    held = (pacer.due_ns(), pacer.due_until_ns(CLOCK_NS + 60 * NS_PER_S), pacer.position_ns(CLOCK_NS + 5 * NS_PER_S))
    pacer.resume(CLOCK_NS + 6 * NS_PER_S)

    assert held == (None, TIME_NS_MIN, LOG_NS + NS_PER_S)
    assert pacer.due_ns() == CLOCK_NS + 8 * NS_PER_S


def test_pause_and_resume_may_be_repeated() -> None:
    """Twice is once."""
    pacer = started(1, LOG_NS + 3 * NS_PER_S)

    for clock_ns in (NS_PER_S, 2 * NS_PER_S):
        pacer.pause(CLOCK_NS + clock_ns)
    for clock_ns in (4 * NS_PER_S, 5 * NS_PER_S):
        pacer.resume(CLOCK_NS + clock_ns)

    assert pacer.due_ns() == CLOCK_NS + 6 * NS_PER_S


def test_step_lets_one_event_through_and_goes_on_from_it() -> None:
    """The next one is as far away as it was in the log."""
    pacer = started(1, LOG_NS + 10 * NS_PER_S)
    pacer.pause(CLOCK_NS)

    pacer.step()
    assert pacer.due_ns() == CLOCK_NS
    pacer.hand_out(LOG_NS + 10 * NS_PER_S, 1)
    pacer.wait_for(LOG_NS + 12 * NS_PER_S)
    assert pacer.due_ns() is None
    pacer.resume(CLOCK_NS + NS_PER_S)

    assert pacer.due_ns() == CLOCK_NS + 3 * NS_PER_S


def test_step_is_refused_while_it_runs() -> None:
    """There is no next one to wait for."""
    with pytest.raises(InvalidValueError, match="pause it first"):
        started().step()


def test_speed_changes_from_where_it_is() -> None:
    """Two seconds at 1, then the four that are left at 2."""
    pacer = started(1, LOG_NS + 6 * NS_PER_S)

    pacer.set_speed(2, CLOCK_NS + 2 * NS_PER_S)

    assert pacer.due_ns() == CLOCK_NS + 4 * NS_PER_S


def test_replay_that_cannot_follow_slows_down_from_where_it_really_is() -> None:
    """At 1000 the clock is far ahead of what was handed out: at 1 the next two seconds take two seconds."""
    pacer = started(1_000, LOG_NS + NS_PER_S)
    late_ns = CLOCK_NS + 60 * NS_PER_S
    pacer.hand_out(LOG_NS + NS_PER_S, 1)
    pacer.wait_for(LOG_NS + 2 * NS_PER_S)

    pacer.set_speed(1, late_ns)
    at_once_ns = pacer.due_ns()
    pacer.wait_for(LOG_NS + 4 * NS_PER_S)

    assert at_once_ns == late_ns
    assert pacer.due_ns() == late_ns + 2 * NS_PER_S


def test_change_from_as_fast_as_possible_begins_at_the_newest_event() -> None:
    """It has no other place."""
    pacer = started(0, LOG_NS + NS_PER_S)
    pacer.hand_out(LOG_NS + 5 * NS_PER_S, 3)
    pacer.wait_for(LOG_NS + 6 * NS_PER_S)

    pacer.set_speed(1, CLOCK_NS + 100)

    assert pacer.due_ns() == CLOCK_NS + 100 + NS_PER_S


@pytest.mark.parametrize("speed", [-1.0, float("nan"), float("inf"), 1e-9, 1e10])
def test_speed_that_makes_no_sense_is_refused_and_changes_nothing(speed: float) -> None:
    """At the start and while it runs."""
    pacer = started(2)

    with pytest.raises(InvalidValueError, match="speed: expected 0"):
        Pacer(speed)
    with pytest.raises(InvalidValueError, match="speed: expected 0"):
        pacer.set_speed(speed, CLOCK_NS)

    assert pacer.speed == 2


def test_clock_that_goes_back_makes_nothing_due() -> None:
    """A wall clock may be set while a gateway replays."""
    pacer = started(0, LOG_NS)

    assert pacer.due_until_ns(CLOCK_NS - 1) == TIME_NS_MIN
