import os
import pty
import termios
from collections.abc import Iterator
from typing import Any

import pytest
from support.replay_builders import CLOCK_NS, LOG_NS, make_player

from common.clock import NS_PER_S
from common.events.base import Message
from common.store.replay.keys import Keys, Terminal
from common.store.replay.player import Player
from common.store.times import format_time_ns

HOUR_NS = 3_600 * NS_PER_S


@pytest.fixture
def player() -> Player[Message]:
    """An hour of the log, an event each second, at its beginning."""
    return make_player(range(0, HOUR_NS, NS_PER_S), from_ns=LOG_NS, to_ns=LOG_NS + HOUR_NS)


@pytest.fixture
def terminal() -> Iterator[tuple[int, Any]]:
    """The ends of a terminal: what a person types into, and what a program has as stdin."""
    person, program = pty.openpty()
    with os.fdopen(program) as stream:
        yield person, stream
    os.close(person)


def test_space_pauses_and_resumes(player: Player[Message]) -> None:
    """One key for both."""
    keys = Keys(player)

    keys.press(" ", CLOCK_NS)
    is_paused = player.pacer.is_paused
    keys.press(" ", CLOCK_NS)

    assert is_paused
    assert not player.pacer.is_paused


def test_n_lets_one_event_through_while_paused(player: Player[Message]) -> None:
    """And says what to do where it runs."""
    keys = Keys(player)

    keys.press("n", CLOCK_NS)
    complaint = keys.complaint
    keys.press(" nn", CLOCK_NS)

    assert "pause it first" in complaint
    assert keys.complaint == ""
    assert len(player.take(CLOCK_NS, 10)) == 2


@pytest.mark.parametrize(("typed", "speed"), [("+", 2.0), ("++", 4.0), ("-", 0.5), ("+-", 1.0)])
def test_plus_and_minus_double_and_halve_the_speed(player: Player[Message], typed: str, speed: float) -> None:
    """Each press once."""
    Keys(player).press(typed, CLOCK_NS)

    assert player.pacer.speed == speed


def test_minus_slows_down_what_runs_as_fast_as_possible(player: Player[Message]) -> None:
    """There is no half of it: the original timing."""
    keys = Keys(player)
    player.pacer.set_speed(0, CLOCK_NS)

    keys.press("+", CLOCK_NS)
    speed = player.pacer.speed
    keys.press("-", CLOCK_NS)

    assert speed == 0
    assert player.pacer.speed == 1


@pytest.mark.parametrize(
    ("typed", "after_s"),
    [("\x1b[C", 10), ("\x1b[C\x1b[C", 20), ("\x1b[A\x1b[D", 50), ("\x1b[D", 0), ("\x1b[A\x1b[A\x1b[B", 60)],
)
def test_arrows_go_back_and_on_but_not_out_of_the_range(player: Player[Message], typed: str, after_s: int) -> None:
    """Ten seconds left and right, a minute up and down."""
    Keys(player).press(typed, CLOCK_NS)

    assert player.pacer.position_ns(CLOCK_NS) == LOG_NS + after_s * NS_PER_S


def test_typed_time_is_gone_to_with_enter(player: Player[Message]) -> None:
    """Corrected with backspace; keys that mean something else are text meanwhile."""
    keys = Keys(player)

    keys.press("g" + format_time_ns(LOG_NS + 90 * NS_PER_S) + "n", CLOCK_NS)
    typed = keys.typed
    keys.press("\x7f\r", CLOCK_NS)

    assert typed is not None
    assert typed.endswith("Zn")
    assert keys.typed is None
    assert player.pacer.position_ns(CLOCK_NS) == LOG_NS + 90 * NS_PER_S


@pytest.mark.parametrize(("typed", "complaint"), [("gno time\r", "ISO 8601"), ("g1999-01-01\r", "in the range")])
def test_typed_time_that_is_none_is_refused(player: Player[Message], typed: str, complaint: str) -> None:
    """Nothing moves, and the reason is shown."""
    keys = Keys(player)

    keys.press(typed, CLOCK_NS)

    assert complaint in keys.complaint
    assert player.pacer.position_ns(CLOCK_NS) == LOG_NS


def test_escape_ends_typing_and_q_the_replay(player: Player[Message]) -> None:
    """Q is text while a time is typed."""
    keys = Keys(player)

    keys.press("g20q", CLOCK_NS)
    while_typing = keys.is_quit
    keys.press("\x1b", CLOCK_NS)
    keys.press("q", CLOCK_NS)

    assert not while_typing
    assert keys.is_quit


def test_unknown_keys_do_nothing(player: Player[Message]) -> None:
    """Nor does half an arrow."""
    keys = Keys(player)

    keys.press("xyz\x1b[", CLOCK_NS)

    assert (keys.is_quit, keys.typed, keys.complaint, player.seeks) == (False, None, "", 0)


def test_terminal_that_is_not_ours_is_left_alone(terminal: tuple[int, Any]) -> None:
    """In the background a program must not touch it."""
    _, stream = terminal
    before = termios.tcgetattr(stream)

    with Terminal(stream) as keys:
        meanwhile = termios.tcgetattr(stream)
        assert keys.read() == ""

    assert not keys.is_used
    assert meanwhile == before


def test_file_is_no_terminal() -> None:
    """Such as in a script."""
    with open(os.devnull) as stream, Terminal(stream) as keys:  # noqa: PTH123
        assert not keys.is_used
        assert keys.read() == ""
