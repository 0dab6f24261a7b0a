"""The parts of the bus one by one: what each refuses, and the edges of its rules."""

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.bus_builders import make_halt, make_report, make_trade
from support.message_builders import make_tick, make_ticks

from common.bus import (
    Category,
    HandlerTimeoutError,
    PoisonError,
    combined_filter,
    event_type_filter,
    exchange_filter,
    open_bus,
    partition_filter,
    symbol_filter,
    time_range_filter,
)
from common.bus.address import read_url
from common.bus.config import BreakerConfig, QueueConfig
from common.bus.dead_letters import DeadLetter, DeadLetters
from common.bus.failures import category_of
from common.bus.idempotency import LIVES_MAX, SeenNumbers, TopicNumbers
from common.bus.lanes import Carried, Lanes, event_of
from common.bus.letters import MemoryLetterBox, letter_for
from common.bus.selection import selector_for
from common.circuit_breaker import CircuitBreaker
from common.clock import NS_PER_MS
from common.errors import ConfigError, FatalError, InvalidValueError, WireError, WireFault
from common.events.base import Event, Priority
from common.events.market import Tick
from common.events.risk import CircuitState
from common.events.trading import OrderFilled


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (ConnectionResetError(), Category.TRANSIENT),
        (TimeoutError(), Category.TRANSIENT),
        (HandlerTimeoutError("late"), Category.TRANSIENT),
        (sqlite3.OperationalError("database is locked"), Category.TRANSIENT),
        (OSError(28, "No space left on device"), Category.TRANSIENT),
        (sqlite3.IntegrityError(), Category.PERMANENT),
        (KeyError("x"), Category.PERMANENT),
        (PoisonError("forged"), Category.POISON),
        (WireError(WireFault.GARBAGE, ""), Category.POISON),
        (msgspec.DecodeError(), Category.POISON),
    ],
)
def test_exception_has_its_category(error: Exception, category: Category) -> None:
    """Tried again, given up at once, or passed over."""
    assert category_of(error) is category


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("memory://", ("memory", None, [])),
        ("zmq://", ("zmq", None, [])),
        ("zmq://?publish=ipc:///run/a&subscribe=tcp://h:1&subscribe=b", ("zmq", "ipc:///run/a", ["tcp://h:1", "b"])),
    ],
)
def test_url_names_a_transport(url: str, parts: Any) -> None:
    """One word in code and config."""
    assert read_url(url) == parts


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("kafka://host", "expected memory:// or zmq://"),
        ("memory", "expected memory:// or zmq://"),
        ("memory://x", "expected nothing but a query"),
        ("memory://?publish=a", "expected nothing but a query"),
        ("zmq://?bind=a", "expected publish and subscribe, was bind"),
        ("zmq://?publish=a&publish=b", "expected one endpoint to publish at, was 2"),
    ],
)
def test_url_that_names_none_is_refused(url: str, text: str) -> None:
    """With what was expected."""
    with pytest.raises(ConfigError, match=text):
        open_bus(url)


@pytest.mark.parametrize(
    "make",
    [
        symbol_filter,
        exchange_filter,
        event_type_filter,
        combined_filter,
        lambda: symbol_filter(""),
        lambda: time_range_filter(5, 5),
        lambda: partition_filter(3, 3),
        lambda: partition_filter(-1, 3),
    ],
)
def test_filter_that_could_pass_nothing_is_refused(make: Any) -> None:
    """A mistake in its arguments would be silence for ever."""
    with pytest.raises(InvalidValueError, match="expected"):
        make()


def test_time_range_holds_its_start_and_not_its_end() -> None:
    """So that ranges in a row hold each event once."""
    early, late = make_tick(1), make_tick(2)

    assert [time_range_filter(early.timestamp_ns, late.timestamp_ns)(event) for event in (early, late)] == [True, False]
    assert [time_range_filter(late.timestamp_ns)(event) for event in (early, late)] == [False, True]
    assert [time_range_filter(None, late.timestamp_ns)(event) for event in (early, late)] == [True, False]


def test_symbol_belongs_to_exactly_one_part() -> None:
    """Those of all event types of one instrument to the same."""
    parts = [partition_filter(index, 3) for index in range(3)]

    for symbol in ("A", "B", "C", "D"):
        events = (make_tick(1, symbol=symbol), make_trade(1, symbol=symbol))
        assert [sum(part(event) for part in parts) for event in events] == [1, 1]
        assert [part(events[0]) for part in parts] == [part(events[1]) for part in parts]


def test_selection_of_a_base_class_covers_the_topics_below_it() -> None:
    """What is filtered far away must not miss any."""
    assert selector_for(Event).patterns == ("*",)
    assert selector_for(Tick).patterns == ("tick.*.*",)
    assert selector_for([OrderFilled, "tick.*.*", Tick]).patterns == ("order_filled.*.*", "tick.*.*")


def test_own_numbers_are_never_forgotten_however_many_others_publish_on_a_topic() -> None:
    """A number used twice would make the second event a repeat."""
    numbers = TopicNumbers(100)
    drafts = [make_tick(0, source="", epoch=0) for _ in range(2)]
    assert numbers.is_new(make_tick(5, source="me", epoch=1))
    numbers.number(drafts[0], "me", 1)

    for epoch in range(1, 3 * LIVES_MAX):
        assert numbers.is_new(make_tick(1, epoch=epoch))
    numbers.number(drafts[1], "me", 1)

    assert [draft.seq for draft in drafts] == [6, 7]


def test_first_event_of_a_life_may_be_a_batch() -> None:
    """Its first number is where we begin."""
    numbers = TopicNumbers(100)

    assert numbers.is_new(make_ticks(50, 10))
    assert not numbers.is_new(make_ticks(50, 10))
    assert numbers.is_new(make_tick(51))
    assert numbers.is_new(make_tick(40))
    assert numbers.repeats == 1


def test_early_numbers_are_bounded() -> None:
    """Memory is, whatever comes."""
    seen = SeenNumbers(1_000, window=10)
    seen.is_new(1_000)

    assert [number for number in range(999, 900, -1) if seen.is_new(number)] == list(range(999, 990, -1))


def test_conflation_looks_into_what_a_handler_has_published() -> None:
    """It is wrapped, and still a tick."""
    lanes = Lanes(QueueConfig(normal_events_max=8))
    for seq in range(1, 9):
        lanes.offer(Carried(make_tick(seq), 1) if seq % 2 else make_tick(seq), Priority.NORMAL)

    lanes.offer(make_trade(1), Priority.NORMAL)

    assert [event_of(item).seq for item in lanes.lanes[Priority.NORMAL].queue] == [8, 1]
    assert lanes.lanes[Priority.NORMAL].conflated == 7


def test_marks_stay_as_few_as_what_waits() -> None:
    """A handler that stands still must not collect them."""
    lanes = Lanes(QueueConfig(low_events_max=2))
    lane = lanes.lanes[Priority.LOW]

    for now_ns in range(1_000):
        lane.mark(now_ns)
        lanes.offer(make_report(now_ns + 1), Priority.LOW)

    assert len(lane.marks) == 3
    assert lane.oldest_ns() == 0
    assert (lane.dropped, lane.turned_away, lane.entered) == (998, 998, 2)


def test_age_of_the_oldest_is_known_without_a_mark() -> None:
    """Who looks now and then remembers what was there."""
    lanes = Lanes(QueueConfig())
    lane = lanes.lanes[Priority.CRITICAL]
    lane.look(1)
    assert lane.oldest_ns() is None
    lanes.offer(make_halt(1), Priority.CRITICAL)

    lane.look(5)
    lane.look(9)

    assert lane.oldest_ns() == 5


def test_breaker_opens_tries_one_and_waits_longer_each_time() -> None:
    """Exactly one probe while half open."""
    told: list[CircuitState] = []
    limits = BreakerConfig(failures_max=2, pause_ms=10, pause_ms_max=15)
    breaker = CircuitBreaker(limits, lambda state, _now_ns, _detail: told.append(state))
    breaker.on_failure(0)
    breaker.on_success(0)
    breaker.on_failure(0)
    assert breaker.may_pass(0)

    breaker.on_failure(0)
    assert not breaker.may_pass(9 * NS_PER_MS)
    assert [breaker.may_pass(10 * NS_PER_MS) for _ in range(2)] == [True, False]
    breaker.on_untried()
    assert breaker.may_pass(10 * NS_PER_MS)
    breaker.on_failure(10 * NS_PER_MS)
    assert breaker.next_change_ns() == 25 * NS_PER_MS
    assert breaker.may_pass(25 * NS_PER_MS)
    breaker.on_success(25 * NS_PER_MS)

    assert breaker.next_change_ns() is None
    states = [CircuitState.OPEN, CircuitState.HALF_OPEN]
    assert told == [*states, *states, CircuitState.CLOSED]


def make_letter(event: Event) -> DeadLetter:
    """A letter."""
    return letter_for(
        event, "x", category=Category.PERMANENT, reason="R", detail="d" * 900, attempts=1, times_ns=(1, 2)
    )


def test_letters_in_memory_are_the_newest_and_those_pushed_out_are_counted() -> None:
    """Nobody depends on them, but nothing is silent."""
    box = MemoryLetterBox(letters_max=2)

    numbers = [box.keep(make_letter(make_tick(seq))) for seq in (1, 2, 3)]

    assert numbers == [1, 2, 3]
    assert [letter.id for letter in box.letters] == [2, 3]
    assert box.forgotten == 1
    assert len(box.letters[0].detail) == 500


def test_file_of_dead_letters_survives_its_owner_and_makes_room_without_losing_what_is_urgent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thousandth letter looks; the least urgent go first."""
    monkeypatch.setattr("common.bus.dead_letters.LETTERS_MAX", 10)
    letters = DeadLetters(tmp_path / "a.sqlite")
    letters.keep(make_letter(make_halt(1)))
    for seq in range(1, 1_000):
        letters.keep(make_letter(make_tick(seq)))
    letters.close()

    again = DeadLetters(tmp_path / "a.sqlite")

    kept = again.read()
    assert again.count() == 10
    assert kept[0].event_id == make_halt(1).event_id()
    assert kept[-1].event_id == make_tick(999).event_id()
    again.close()


def test_file_of_another_program_or_version_is_refused(tmp_path: Path) -> None:
    """Nothing is written to it."""
    for name, statement in (("foreign", "CREATE TABLE t (a)"), ("newer", "PRAGMA user_version = 99")):
        if name == "newer":
            DeadLetters(tmp_path / name).close()
        connection = sqlite3.connect(tmp_path / name, isolation_level=None)
        connection.execute(statement)
        connection.close()
    (tmp_path / "torn").write_bytes(b"x" * 5_000)

    with pytest.raises(ConfigError, match="was another SQLite file"):
        DeadLetters(tmp_path / "foreign")
    with pytest.raises(ConfigError, match="expected schema version 1, was 99"):
        DeadLetters(tmp_path / "newer")
    with pytest.raises(FatalError, match="expected a readable SQLite file"):
        DeadLetters(tmp_path / "torn")


def test_endpoint_that_is_taken_is_told_and_leaves_no_socket_behind() -> None:
    """A context that nobody closes would hold up the end of the process."""
    with pytest.raises(ConfigError, match="expected a free address to bind"):
        open_bus("zmq://?publish=ipc:///nowhere/at/all")


def test_nobody_overtakes_who_waits_at_the_door() -> None:
    """Also when there is room again before the first of them has entered."""
    lanes = Lanes(QueueConfig(critical_events_max=1))
    lane, entered = lanes.lanes[Priority.CRITICAL], []
    lanes.offer(make_halt(1), Priority.CRITICAL)
    tickets = [lane.wait(make_halt(seq), lambda seq=seq: entered.append(seq)) for seq in (2, 3, 4)]

    lane.queue.popleft()
    assert not lanes.offer(make_halt(5), Priority.CRITICAL)
    assert lane.withdraw(tickets[1])
    lane.admit()
    lane.queue.popleft()
    lane.admit()

    assert entered == [2, 4]
    assert not lane.withdraw(tickets[0])
    lane.queue.popleft()
    assert lanes.offer(make_halt(5), Priority.CRITICAL)
