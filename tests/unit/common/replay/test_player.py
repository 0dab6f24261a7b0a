import math
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.replay_builders import CLOCK_NS, LOG_NS, DamagedStore, make_player, make_store, play

from common.errors import InvalidValueError
from common.events.base import Message
from common.events.market import Tick
from common.store.contract import StoreDamagedError
from common.store.memory import MemoryStore
from common.store.record import Record
from common.store.replay.pacer import Pacer
from common.store.replay.player import READ_AHEAD, Player
from common.store.replay.transforms import TransformError
from common.store.selection import EVERYTHING, Selection

MS = 1_000_000


def bids_of(messages: object) -> list[float | None]:
    """The numbers of ticks."""
    assert isinstance(messages, list | tuple)
    return [message.bid for message in messages]


@given(times_ns=st.lists(st.integers(0, 10_000), max_size=30), speed=st.sampled_from([1.0, 10.0, 0.1, 7.0, 0.0]))
def test_every_event_comes_once_in_order_when_it_is_due(times_ns: list[int], speed: float) -> None:
    """In the order of time, those of one time by id; each exactly as far from the first as the speed says."""
    order = sorted(range(len(times_ns)), key=lambda index: (times_ns[index], index))

    played = play(make_player(times_ns, speed))

    first = min(times_ns, default=0)
    expected = [math.ceil((times_ns[index] - first) / Fraction(str(speed))) if speed else 0 for index in order]
    assert [number for _, number in played] == [index + 1 for index in order]
    assert [due_ns for due_ns, _ in played] == expected


def test_take_gives_at_most_what_was_asked_for_across_reads_ahead() -> None:
    """How it is cut changes nothing."""
    count = 2 * READ_AHEAD + 500
    player = make_player(range(count), 0)

    taken = [bids_of(player.take(CLOCK_NS, size)) for size in (1, READ_AHEAD, 1_400, 10)]
    rest = bids_of(player.take(CLOCK_NS, count))

    assert [len(part) for part in taken] == [1, READ_AHEAD, 1_400, 10]
    assert [bid for part in [*taken, rest] for bid in part] == [float(number) for number in range(1, count + 1)]
    assert player.is_ended
    assert player.count == count


def test_clock_that_goes_back_in_what_is_read_is_counted_and_never_waited_for() -> None:
    """Such as after a transform that moves times; the place in the log does not go back either."""

    def read(_: Selection) -> Iterator[int]:
        return iter([0, 5_000, 1_000, 4_000, 6_000])

    player = Player(read, lambda time_ns: LOG_NS + time_ns, EVERYTHING, Pacer(1))
    player.start(CLOCK_NS)
    dues, played = [], []
    while (due_ns := player.pacer.due_ns()) is not None:
        dues.append(due_ns - CLOCK_NS)
        played += player.take(due_ns, 1)

    assert played == [0, 5_000, 1_000, 4_000, 6_000]
    assert dues == [0, 5_000, 5_000, 5_000, 6_000]
    assert player.clock_went_back == 2


def test_clock_that_goes_back_between_two_reads_ahead_is_counted() -> None:
    """What was read before is remembered."""
    times_ns = [*range(READ_AHEAD), 10, 2_000]
    player = Player(lambda _: iter(times_ns), int, EVERYTHING, Pacer(0))
    player.start(CLOCK_NS)

    assert list(player.take(CLOCK_NS, 5_000)) == times_ns
    assert player.clock_went_back == 1


def test_pause_step_and_resume() -> None:
    """Held events come one by one, then in their own timing."""
    player = make_player([0, 10 * MS, 20 * MS, 30 * MS])
    clock_ns = CLOCK_NS + 5 * MS
    before = bids_of(player.take(clock_ns, 10))
    player.pacer.pause(clock_ns)
    held = bids_of(player.take(clock_ns + 900 * MS, 10))
    player.pacer.step()
    player.pacer.step()
    stepped = bids_of(player.take(clock_ns + 900 * MS, 10))
    player.pacer.resume(clock_ns + 1_000 * MS)

    rest = play(player)

    assert (before, held, stepped) == ([1.0], [], [2.0, 3.0])
    assert rest == [(5 * MS + 1_000 * MS + 10 * MS, 4.0)]


@pytest.mark.parametrize(("place_ns", "numbers"), [(0, [1, 2, 3, 4]), (11, [2, 3, 4]), (30, [3, 4]), (41, [])])
def test_seek_goes_to_the_first_event_of_that_time_or_later(place_ns: int, numbers: list[int]) -> None:
    """Forward and back; what comes then is due at once, and the rest as far after it as it was."""
    player = make_player([10, 20, 30, 40])
    player.take(CLOCK_NS + 15, 10)
    clock_ns = CLOCK_NS + 1_000

    player.seek(LOG_NS + place_ns, clock_ns)
    played = play(player, clock_ns)

    assert [number for _, number in played] == numbers
    assert [due_ns - 1_000 for due_ns, _ in played] == [10 * index for index in range(len(numbers))]


def test_seek_beyond_the_range_is_refused_and_changes_nothing() -> None:
    """A replay stays within what was asked for."""
    player = make_player([10, 20, 30, 40], from_ns=LOG_NS + 20, to_ns=LOG_NS + 40)

    for place_ns in (LOG_NS + 19, LOG_NS + 40):
        with pytest.raises(InvalidValueError, match="seek: expected a time in the range"):
            player.seek(place_ns, CLOCK_NS)

    assert [number for _, number in play(player)] == [2, 3]


def test_seek_while_paused_stays_paused() -> None:
    """The place is shown, nothing comes."""
    player = make_player([10, 20, 30])
    player.pacer.pause(CLOCK_NS)

    player.seek(LOG_NS + 25, CLOCK_NS + 5)

    assert list(player.take(CLOCK_NS + MS, 10)) == []
    assert player.pacer.position_ns(CLOCK_NS + MS) == LOG_NS + 30


def test_what_comes_before_a_damage_is_played_and_the_damage_told() -> None:
    """The good part is still usable."""
    player = make_player([], 0, store=make_store(range(10), DamagedStore(7)))

    played = player.take(CLOCK_NS, 100)

    assert bids_of(played) == [1, 2, 3, 4, 5, 6]
    assert player.is_ended
    assert isinstance(player.error, StoreDamagedError)
    assert "line 7" in str(player.error)


def test_empty_range_has_ended_when_it_begins() -> None:
    """Nothing is due, and nothing is wrong."""
    player = make_player([])

    assert player.is_ended
    assert player.pacer.due_ns() is None
    assert list(player.take(CLOCK_NS, 10)) == []
    assert player.error is None


def test_transforms_change_drop_and_multiply_in_turn() -> None:
    """One message, None, or a list; each transform sees what the one before it gave back."""

    def drop_odd(message: Message) -> Message | None:
        assert isinstance(message, Tick)
        return message if message.bid in {2, 4} else None

    def twice(message: Message) -> list[Message]:
        return [message, msgspec.structs.replace(message, ask=message.bid)]  # type: ignore[attr-defined,call-arg]

    player = make_player(range(5), 0, transforms=[drop_odd, twice])

    played = player.take(CLOCK_NS, 100)

    assert bids_of(played) == [2, 2, 4, 4]
    assert [getattr(message, "ask") for message in played] == [100.5, 2.0, 100.5, 4.0]  # noqa: B009


def divide(message: Message) -> Message:
    """Fails at the third tick."""
    assert isinstance(message, Tick)
    return msgspec.structs.replace(message, ask=1 / (message.bid - 3))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("transform", "what"),
    [(divide, "divide at record 3 .*ZeroDivisionError"), (lambda _: 7, "expected a message, None or a list of them")],
)
def test_transform_that_fails_is_named_with_its_place(transform: object, what: str) -> None:
    """Record, type and time; what came before it was played."""
    player = make_player(range(5), 0, transforms=[transform])  # type: ignore[list-item]

    played = player.take(CLOCK_NS, 100)

    assert isinstance(player.error, TransformError)
    assert len(played) == (2 if transform is divide else 0)
    with pytest.raises(TransformError, match=what):
        raise player.error


def test_memory_stays_that_of_what_is_read_ahead() -> None:
    """However long the range is."""
    count = 200_000

    def read(_: Selection) -> Iterator[tuple[int, bytes]]:
        return ((number, bytes(100)) for number in range(count))

    player = Player(read, lambda item: item[0], EVERYTHING, Pacer(0))
    tracemalloc.start()
    player.start(CLOCK_NS)
    played = 0
    while taken := player.take(CLOCK_NS, 1_000):
        played += len(taken)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert played == count
    assert peak_bytes < 2_000_000 < count * 100


@settings(deadline=None, max_examples=40)
@given(
    times_ns=st.lists(st.integers(0, 50), max_size=60),
    reads=st.lists(st.booleans(), min_size=60, max_size=60),
    speed=st.sampled_from([0.0, 1.0, 7.0]),
)
def test_reading_on_early_changes_nothing(times_ns: list[int], reads: list[bool], speed: float) -> None:
    """Wherever there is time for it: the same events at the same times, also where the clock of the log goes back."""
    with mock.patch("common.store.replay.player.READ_AHEAD", 7):
        plain, eager = (make_player([], speed, store=Backwards(times_ns)) for _ in range(2))
        expected, played = play(plain), []
        clock_ns = CLOCK_NS
        for is_reading in [*reads, True]:
            if is_reading:
                eager.read_on()
            due_ns = eager.pacer.due_ns()
            if due_ns is None:
                break
            clock_ns = max(clock_ns, due_ns)
            played += [(clock_ns - CLOCK_NS, getattr(tick, "bid", 0.0)) for tick in eager.take(clock_ns, 1)]

    assert played == expected
    assert (eager.count, eager.clock_went_back) == (plain.count, plain.clock_went_back)


class Backwards(MemoryStore):
    """A store that is read in the order in which it was written."""

    def __init__(self, times_ns: list[int]) -> None:
        super().__init__()
        make_store(times_ns, self)

    def read(self, selection: Selection = EVERYTHING) -> Iterator[Record]:
        return self.get_events()
