"""What every feed promises to the gateway, whatever its source."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.feed_builders import (
    CAPTURED_NS,
    FOREVER_NS,
    START_NS,
    drain,
    make_instrument,
    make_quote_line,
    make_recorded_feed,
    make_store_feed,
    make_synthetic_feed,
    make_trade_line,
    make_unused_line,
    write_capture,
)
from support.gateway_builders import Broadcast, make_quote, make_trade
from support.replay_builders import write_log

from gateway.feeds.base import Feed, Update

UPDATE_COUNT = 40
SPACING_NS = 1_000_000

Slices = list[tuple[int, int]]
slices_of_reads: st.SearchStrategy[Slices] = st.lists(
    st.tuples(st.integers(0, 8 * SPACING_NS), st.integers(1, 2 * UPDATE_COUNT)), max_size=30
)


def write_small_capture(directory: Path) -> Path:
    """Forty updates, a millisecond apart, between lines of the other sorts; one has a time that goes back."""
    lines = [b"no message", make_unused_line()]
    for number in range(UPDATE_COUNT):
        local_ns = CAPTURED_NS + (number - 2 * (number == UPDATE_COUNT // 2)) * SPACING_NS
        lines.append(make_trade_line(local_ns) if number % 4 == 0 else make_quote_line(local_ns))
    return write_capture(directory / "capture.txt", [*lines, make_unused_line(), b"no message"])


def write_small_log(directory: Path) -> Path:
    """The same forty updates in an event log, as a gateway broadcast them: single ticks, groups and trades."""
    broadcast = Broadcast()
    for number in range(0, UPDATE_COUNT, 4):
        now_ns = CAPTURED_NS + number * SPACING_NS
        broadcast.publish(make_trade(), make_quote(), make_quote(bid=99.0), now_ns=now_ns)
        broadcast.publish(make_quote(ask=101.0), now_ns=now_ns + SPACING_NS)
    return write_log(directory / "log", broadcast.take())


@pytest.fixture(
    scope="module",
    params=[
        "synthetic",
        "synthetic without waiting",
        "recorded",
        "recorded without waiting",
        "store",
        "store without waiting",
    ],
)
def make_feed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Feed]:
    """Make feeds of forty updates that are not started."""
    instruments = [make_instrument("BTC/USDT"), make_instrument("ETH/USDT"), make_instrument("SOL/USDT")]
    path = write_small_capture(tmp_path_factory.mktemp("feed"))
    log = write_small_log(tmp_path_factory.mktemp("log"))
    makers: dict[str, Callable[[], Feed]] = {
        "synthetic": lambda: make_synthetic_feed(*instruments, rate=1_000.0, tick_count_max=UPDATE_COUNT),
        "synthetic without waiting": lambda: make_synthetic_feed(*instruments, rate=0.0, tick_count_max=UPDATE_COUNT),
        "recorded": lambda: make_recorded_feed(path),
        "recorded without waiting": lambda: make_recorded_feed(path, speed=0.0),
        "store": lambda: make_store_feed(log),
        "store without waiting": lambda: make_store_feed(log, speed=0.0),
    }
    return makers[request.param]


@pytest.fixture
def feed(make_feed: Callable[[], Feed]) -> Iterator[Feed]:
    """Start a feed at START_NS."""
    feed = make_feed()
    feed.start(START_NS)
    yield feed
    feed.close()


def without_times(updates: Sequence[Update]) -> list[Update]:
    """Content only: a feed that does not wait stamps an update when it is read."""
    return [msgspec.structs.replace(update, local_timestamp_ns=0, exchange_timestamp_ns=None) for update in updates]


def step_from_due_to_due(feed: Feed) -> Iterator[tuple[int, Sequence[Update]]]:
    """Ask for one update after another, each at the very time at which it is due."""
    while (due_ns := feed.next_due_ns()) is not None:
        yield due_ns, feed.read(due_ns, 1)


def test_feed_that_was_not_started_has_nothing(make_feed: Callable[[], Feed]) -> None:
    """Asking too early is harmless."""
    feed = make_feed()

    updates = feed.read(FOREVER_NS, 10)

    assert list(updates) == []
    assert feed.next_due_ns() is None


def test_first_update_is_due_at_the_start(feed: Feed) -> None:
    """The schedule counts from the time given to start()."""
    due_ns = feed.next_due_ns()

    assert due_ns == START_NS


@pytest.mark.parametrize("count_max", [0, 1, 7, UPDATE_COUNT, 10 * UPDATE_COUNT])
def test_read_returns_at_most_what_was_asked_for(feed: Feed, count_max: int) -> None:
    """The gateway bounds its work per round with count_max."""
    updates = feed.read(FOREVER_NS, count_max)

    assert len(updates) == min(count_max, UPDATE_COUNT)


def test_read_before_the_due_time_returns_nothing(feed: Feed) -> None:
    """An update is never early, not by one nanosecond."""
    early: list[Update] = []

    while (due_ns := feed.next_due_ns()) is not None:
        early += feed.read(due_ns - 1, 10)
        feed.read(due_ns, 1)

    assert early == []


def test_update_can_be_read_at_the_time_it_is_due(feed: Feed) -> None:
    """next_due_ns() is exact: a service that waits until then does not wait twice."""
    counts = [len(updates) for _, updates in step_from_due_to_due(feed)]

    assert counts == [1] * UPDATE_COUNT


def test_due_times_never_go_back(feed: Feed) -> None:
    """Updates come in due order."""
    due_times = [due_ns for due_ns, _ in step_from_due_to_due(feed)]

    assert due_times == sorted(due_times)


def test_feed_has_ended_exactly_after_its_last_update(feed: Feed) -> None:
    """None means that nothing will come any more, and it is not said too early."""
    feed.read(FOREVER_NS, UPDATE_COUNT - 1)
    due_before_the_last = feed.next_due_ns()

    last = feed.read(FOREVER_NS, 10)

    assert due_before_the_last is not None
    assert len(last) == 1
    assert feed.next_due_ns() is None
    assert list(feed.read(FOREVER_NS, 10)) == []


@settings(deadline=None)
@given(slices=slices_of_reads)
def test_sequence_does_not_depend_on_how_it_is_read(make_feed: Callable[[], Feed], slices: Slices) -> None:
    """Small or large reads, early or late: the same updates in the same order."""
    whole, sliced = make_feed(), make_feed()
    whole.start(START_NS)
    sliced.start(START_NS)
    expected = whole.read(FOREVER_NS, UPDATE_COUNT)

    now_ns = START_NS
    updates: list[Update] = []
    for advance_ns, count_max in slices:
        now_ns += advance_ns
        updates += sliced.read(now_ns, count_max)
    updates += drain(sliced)

    assert len(expected) == UPDATE_COUNT
    assert without_times(updates) == without_times(expected)


def test_second_start_gives_the_same_again(feed: Feed) -> None:
    """A feed may be played again from its beginning."""
    first = drain(feed)

    feed.start(START_NS)

    assert drain(feed) == first


def test_counters_are_whole_numbers_that_never_fall(feed: Feed) -> None:
    """They are totals since the start."""
    before = feed.counters()

    feed.read(FOREVER_NS, 10)

    after = feed.counters()
    assert before.keys() == after.keys()
    assert all(0 <= before[name] <= after[name] for name in before)


def test_closed_feed_has_ended(feed: Feed) -> None:
    """Closing in the middle ends the feed."""
    feed.read(FOREVER_NS, 5)

    feed.close()

    assert feed.next_due_ns() is None
    assert list(feed.read(FOREVER_NS, 10)) == []


def test_close_may_be_repeated(make_feed: Callable[[], Feed]) -> None:
    """Also before the start, and by a service that stops twice."""
    feed = make_feed()
    feed.close()
    feed.start(START_NS)

    feed.close()
    feed.close()

    assert feed.next_due_ns() is None
