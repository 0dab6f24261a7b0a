"""When a program that crashes is paused, and for how long."""

from common.clock import NS_PER_MS, NS_PER_S
from watchdog.config import WatchdogConfig
from watchdog.crash_loops import CrashLoop, CrashLoops

CONFIG = WatchdogConfig(restarts_max=2, restart_window_ms=60_000, restart_pause_ms=5_000, restart_pause_ms_max=12_000)


def crash(loops: CrashLoops, *seconds: float, name: str = "momentum") -> CrashLoop | None:
    """Let a program crash at these times; gives back what is found after the last."""
    for second in seconds:
        loops.on_crash(name, int(second * NS_PER_S))
    return loops.find_loop(name)


def pause(loops: CrashLoops, *seconds: float) -> int:
    """Let a program crash until it is paused; gives back the pause in ms."""
    loop = crash(loops, *seconds)
    assert loop is not None
    loops.pause(loop, int(seconds[-1] * NS_PER_S))
    return loop.pause_ns // NS_PER_MS


def test_as_many_crashes_as_are_allowed_are_no_loop() -> None:
    """A restart helps against most troubles."""
    loops = CrashLoops(CONFIG)

    assert loops.find_loop("momentum") is None
    assert crash(loops, 0, 1) is None


def test_one_crash_too_many_within_the_window_is_a_loop() -> None:
    """The third within a minute; another program's crashes do not count."""
    loops = CrashLoops(CONFIG)
    crash(loops, 0, 1, name="gateway")

    found = crash(loops, 0, 30, 59.9)

    assert found == CrashLoop(name="momentum", crash_count=3, pause_ns=5 * NS_PER_S)
    assert loops.find_loop("gateway") is None


def test_crashes_that_lie_far_apart_are_no_loop() -> None:
    """One each 30 s never makes three within a minute."""
    assert crash(CrashLoops(CONFIG), *range(0, 3_000, 30)) is None


def test_paused_program_is_due_once_when_its_time_is_over() -> None:
    """And counts its crashes anew."""
    loops = CrashLoops(CONFIG)
    pause(loops, 0, 1, 2)

    assert loops.find_loop("momentum") is None
    assert loops.paused() == ["momentum"]
    assert loops.take_due(7 * NS_PER_S - 1) == []
    assert loops.take_due(7 * NS_PER_S) == ["momentum"]
    assert loops.take_due(100 * NS_PER_S) == []
    assert loops.paused() == []


def test_each_pause_is_twice_as_long_as_the_last_up_to_the_longest() -> None:
    """5, 10, 12, 12 s."""
    loops = CrashLoops(CONFIG)

    pauses_ms = [pause(loops, start, start + 1, start + 2) for start in (0, 10, 30, 50)]

    assert pauses_ms == [5_000, 10_000, 12_000, 12_000]


def test_program_that_ran_well_for_a_while_begins_with_the_short_pause() -> None:
    """What happens an hour later is another trouble."""
    loops = CrashLoops(CONFIG)
    pause(loops, 0, 1, 2)
    pause(loops, 10, 11, 12)

    assert pause(loops, 3_600, 3_601, 3_602) == 5_000


def test_program_that_somebody_started_is_not_started_again() -> None:
    """An operator was quicker."""
    loops = CrashLoops(CONFIG)
    pause(loops, 0, 1, 2)

    loops.end_pause("momentum")

    assert loops.take_due(100 * NS_PER_S) == []
