import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
import pytest
from support.message_builders import make_tick
from support.message_samples import sample_message
from support.replay_builders import CLOCK_NS, LOG_NS, SleepingClock, make_store

from common.events.base import DRAFT, Event, Message
from common.events.registry import MESSAGE_TYPES
from common.events.system import ReplayAction, ReplayControlRequested
from common.replay_delivery import Handler, Outcome
from common.replay_session import BATCH_EVENTS, Session
from common.store.memory import MemoryStore
from common.store.replay.control import obey
from common.store.replay.pacer import Pacer
from common.store.replay.player import Player, play_messages
from common.store.selection import EVERYTHING

MS = 1_000_000


class Rehearsal:
    """A session on a virtual clock; at given times of it something is told to the player."""

    def __init__(self, store: MemoryStore, speed: float = 1.0, **options: Any) -> None:
        self.clock = SleepingClock(CLOCK_NS)
        self.player: Player[Message] = play_messages(store, EVERYTHING, Pacer(speed))
        self.seen: list[tuple[int, float]] = []
        self._script: list[tuple[int, ReplayAction, dict[str, Any]]] = []
        self._options = options

    def on_event(self, event: Event) -> None:
        """When it came, counted from the start, and its number."""
        self.seen.append((self.clock.now_ns() - CLOCK_NS, getattr(event, "bid", 0.0)))

    def at(self, after_ns: int, action: ReplayAction, **values: Any) -> None:
        """Tell the player something once so much time has passed."""
        self._script.append((CLOCK_NS + after_ns, action, values))

    def look(self, clock_ns: int) -> None:
        """Follow the script."""
        while self._script and self._script[0][0] <= clock_ns:
            _, action, values = self._script.pop(0)
            obey(self.player, make_request(action, **values), clock_ns)

    def run(self, handlers: dict[str, Handler] | None = None) -> Outcome:
        """Play to the end."""
        session = Session(
            self.player,
            {"seen": self.on_event, **(handlers or {})},
            watchers=[self],
            clock=self.clock,
            sleep=self.clock.sleep,
            **self._options,
        )
        return asyncio.run(session.run())


def make_request(action: ReplayAction, **values: Any) -> ReplayControlRequested:
    """As a program sends it."""
    return ReplayControlRequested(**DRAFT, timestamp_ns=0, request_id="r-1", action=action, **values)


def test_handlers_get_events_to_the_nanosecond_when_they_are_due() -> None:
    """On a clock without noise: at speed 1 as far apart as they were."""
    times_ns = [0, 1, 5 * MS, 700 * MS, 700 * MS + 3]

    rehearsal = Rehearsal(make_store(times_ns))
    outcome = rehearsal.run()

    assert [after_ns for after_ns, _ in rehearsal.seen] == times_ns
    assert outcome.played == 5
    assert outcome.events == {"Market.Tick.Received.v1": 5}


def test_lateness_is_told_where_something_was_waited_for() -> None:
    """On a clock without noise nothing is late; a handler that takes 7 ms makes what is due meanwhile late."""
    times_ns = [0, 10 * MS, 12 * MS, 40 * MS]
    punctual, slow, at_once = (Rehearsal(make_store(times_ns), speed) for speed in (1, 1, 0))

    outcome = slow.run({"slow": lambda _: slow.clock.advance_to(slow.clock.now_ns() + 7 * MS)})

    assert (punctual.run().late_us["max"] or 0) < 1
    assert outcome.late_us["max"] == pytest.approx(5_000, rel=0.01)
    assert at_once.run().late_us["max"] is None


@pytest.mark.parametrize("uses_bus", [False, True])
def test_a_batch_may_be_larger_than_a_queue_of_the_bus_and_nothing_is_lost(uses_bus: bool) -> None:
    """At speed 0 the handlers hold the replay up; none of their events is dropped or conflated."""
    count = 70 * BATCH_EVENTS + 7

    rehearsal = Rehearsal(make_store(range(count)), 0, uses_bus=uses_bus)
    outcome = rehearsal.run()

    assert [number for _, number in rehearsal.seen] == [float(number) for number in range(1, count + 1)]
    assert (outcome.played, outcome.repeats, outcome.not_events, outcome.failed) == (count, 0, 0, 0)


@pytest.mark.parametrize("uses_bus", [False, True])
def test_seek_back_plays_the_same_events_again(uses_bus: bool) -> None:
    """An event id is delivered once by one bus; a seek is a new beginning."""
    rehearsal = Rehearsal(make_store([0, 10 * MS, 20 * MS, 30 * MS]), uses_bus=uses_bus)
    rehearsal.at(15 * MS, ReplayAction.SEEK, seek_ns=LOG_NS)

    outcome = rehearsal.run()

    assert [number for _, number in rehearsal.seen] == [1, 2, 3, 1, 2, 3, 4]
    assert outcome.played == 7
    assert outcome.repeats == 0


def test_commands_pause_step_speed_and_resume_a_running_session() -> None:
    """As a program or the keys tell it."""
    rehearsal = Rehearsal(make_store([0, 100 * MS, 200 * MS, 400 * MS]))
    rehearsal.at(50 * MS, ReplayAction.PAUSE)
    rehearsal.at(500 * MS, ReplayAction.STEP)
    rehearsal.at(600 * MS, ReplayAction.SPEED, speed=10)
    rehearsal.at(700 * MS, ReplayAction.RESUME)

    rehearsal.run()

    # Whoever listens does so every 20 ms while nothing is due.
    (first, second, third, fourth) = [after_ns for after_ns, _ in rehearsal.seen]
    assert first == 0
    assert 500 * MS <= second <= 520 * MS
    assert 710 * MS <= third <= 730 * MS
    assert fourth - third == 20 * MS


def test_same_event_twice_in_a_store_is_delivered_once_by_a_bus_and_counted() -> None:
    """It knows it by its id; without one a handler gets what the log has."""
    store = MemoryStore()
    store.append_batch([make_tick(1), make_tick(1), make_tick(2)], recorded_ns=1)

    over_bus, called = Rehearsal(store, 0, uses_bus=True).run(), Rehearsal(store, 0).run()

    assert (over_bus.played, over_bus.repeats) == (2, 1)
    assert (called.played, called.repeats) == (3, 0)
    assert called.events == {"Market.Tick.Received.v1": 3}


def test_every_kind_of_message_is_played_or_counted() -> None:
    """A bus carries events; commands, queries and replies of the log are passed over, and said so."""
    store = MemoryStore()
    store.append_batch([sample_message(message_type) for message_type in MESSAGE_TYPES], recorded_ns=1)
    events = [message_type for message_type in MESSAGE_TYPES if issubclass(message_type, Event)]

    outcome = Rehearsal(store, 0).run()

    assert outcome.played + outcome.repeats == len(events)
    assert outcome.not_events == len(MESSAGE_TYPES) - len(events)


def failing(numbers: Iterable[float]) -> Callable[[Event], None]:
    """A handler that raises at these ticks."""
    wanted = set(numbers)

    def fail(event: Event) -> None:
        if getattr(event, "bid", None) in wanted:
            raise RuntimeError("no such thing")

    return fail


@pytest.mark.parametrize("uses_bus", [False, True])
def test_handler_that_raises_is_counted_and_named_and_the_rest_goes_on(uses_bus: bool) -> None:
    """It is not asked again about the same event, and the other handlers miss nothing."""
    rehearsal = Rehearsal(make_store(range(50)), 0, uses_bus=uses_bus)

    outcome = rehearsal.run({"study:on_tick": failing(range(3, 33))})

    assert len(rehearsal.seen) == 50
    assert outcome.failed == 30
    assert len(outcome.failures) == 10
    assert outcome.failures[0].startswith("study:on_tick at gateway:")
    assert outcome.failures[0].endswith("RuntimeError: no such thing")


@pytest.mark.parametrize("uses_bus", [False, True])
def test_session_that_stops_on_errors_stops_at_the_first(uses_bus: bool) -> None:
    """No event after it reaches anybody."""
    rehearsal = Rehearsal(make_store(range(50)), 0, stops_on_error=True, uses_bus=uses_bus)

    outcome = rehearsal.run({"bad": failing([7, 9])})

    assert [number for _, number in rehearsal.seen] == [1, 2, 3, 4, 5, 6, 7]
    assert (outcome.played, outcome.failed, outcome.is_stopped) == (7, 1, True)


@pytest.mark.parametrize("uses_bus", [False, True])
def test_coroutine_handlers_are_awaited_in_order(uses_bus: bool) -> None:
    """One event is finished by all before the next one begins."""
    order: list[tuple[str, float]] = []

    def handler(name: str) -> Callable[[Event], Awaitable[None]]:
        async def handle(event: Event) -> None:
            await asyncio.sleep(0)
            order.append((name, getattr(event, "bid", 0.0)))
            if event.seq == 2:
                raise ValueError("two")

        return handle

    outcome = Rehearsal(make_store(range(3)), 0, uses_bus=uses_bus).run({"a": handler("a"), "b": handler("b")})

    assert order == [(name, number) for number in (1, 2, 3) for name in "ab"]
    assert outcome.failed == 2


def test_what_came_before_a_damage_was_played() -> None:
    """The error stays with the player, for who started it."""
    store = make_store(range(5))
    rehearsal = Rehearsal(store, 0)
    rehearsal.player = play_messages(store, EVERYTHING, Pacer(0), [broken_at_four])

    outcome = rehearsal.run()

    assert outcome.played == 3
    assert "record 4" in str(rehearsal.player.error)


def broken_at_four(message: Message) -> Message:
    """A transform with a mistake."""
    return msgspec.structs.replace(message, seq=1 // (message.seq - 4) + message.seq)


@pytest.mark.parametrize("speed", [0.0, 1.0])
def test_stopped_session_plays_no_more(speed: float) -> None:
    """Such as by the key q."""
    store = make_store(range(0, 100 * MS, MS))
    clock = SleepingClock(CLOCK_NS)
    player = play_messages(store, EVERYTHING, Pacer(speed))
    seen: list[int] = []

    def stop_at_ten(event: Event) -> None:
        seen.append(event.seq)
        if event.seq == 10:
            session.stop()

    session = Session(player, {"ten": stop_at_ten}, clock=clock, sleep=clock.sleep)
    outcome = asyncio.run(session.run())

    assert seen == list(range(1, 11))
    assert outcome.played == 10
