"""What holds for any events, handlers, failures and queues: against models that are too simple to be wrong."""

import asyncio
import fnmatch
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bus_builders import (
    PATIENCE_S,
    Recorder,
    assert_balance,
    make_config,
    make_connection,
    make_halt,
    make_report,
    make_trade,
)
from support.message_builders import make_tick

from common.bus import (
    Filter,
    PermanentError,
    PoisonError,
    TransientError,
    event_type_filter,
    exchange_filter,
    open_bus,
    symbol_filter,
)
from common.bus.config import BreakerConfig, QueueConfig, RetryConfig
from common.bus.groups import member_for, part_for
from common.bus.idempotency import SeenNumbers
from common.bus.lanes import Lanes, event_of
from common.bus.letters import MemoryLetterBox
from common.events.base import Event, Priority
from common.events.market import Tick, Trade

BUILDERS: dict[Priority, Callable[[int], Event]] = {
    Priority.CRITICAL: make_halt,
    Priority.HIGH: make_connection,
    Priority.NORMAL: make_trade,
    Priority.LOW: make_report,
}
some_priorities = st.lists(st.sampled_from(list(Priority)), max_size=60)
EXCHANGES, SYMBOLS = ("binance", "simulated"), ("BTC/USDT", "ETH/USDT", "BTC/USD")
some_events = st.lists(
    st.tuples(st.sampled_from([make_tick, make_trade]), st.sampled_from(EXCHANGES), st.sampled_from(SYMBOLS)),
    max_size=30,
)
patterns = st.sampled_from(["*", "tick.*.*", "t*.binance.*", "trade.*.BTC/*", "*.*.BTC/USD", "tick.simulated.ETH/USDT"])
MODELS: dict[str, tuple[Filter, Callable[[Any], bool]]] = {
    "symbol": (symbol_filter("BTC/USDT", "BTC/USD"), lambda event: event.symbol in {"BTC/USDT", "BTC/USD"}),
    "exchange": (exchange_filter("binance"), lambda event: event.exchange == "binance"),
    "type": (event_type_filter(Trade), lambda event: type(event) is Trade),
    "odd": (Filter(lambda event: event.seq % 2 == 1), lambda event: event.seq % 2 == 1),
}
Tree = tuple[Filter, Callable[[Any], bool]]
trees: st.SearchStrategy[Tree] = st.recursive(
    st.sampled_from(list(MODELS.values())),
    lambda inner: st.one_of(
        inner.map(lambda pair: (~pair[0], lambda event: not pair[1](event))),
        st.tuples(inner, inner).map(
            lambda two: (two[0][0] & two[1][0], lambda event: two[0][1](event) and two[1][1](event))
        ),
        st.tuples(inner, inner).map(
            lambda two: (two[0][0] | two[1][0], lambda event: two[0][1](event) or two[1][1](event))
        ),
    ),
    max_leaves=5,
)


def numbered(kinds: list[Any]) -> list[Any]:
    """One event of each kind in turn, with the next number of its topic."""
    counts: Counter[str] = Counter()
    events = []
    for make, exchange, symbol in kinds:
        topic = make(1, exchange=exchange, symbol=symbol).topic()
        counts[topic] += 1
        events.append(make(counts[topic], exchange=exchange, symbol=symbol))
    return events


@given(some_priorities)
def test_higher_priority_leaves_first_and_each_type_in_its_order(kinds: list[Priority]) -> None:
    """Except for the turn that a flood above must give to those below: here nothing is that long."""
    lanes = Lanes(QueueConfig())
    counts: Counter[Priority] = Counter()
    for priority in kinds:
        counts[priority] += 1
        lanes.offer(BUILDERS[priority](counts[priority]), priority)

    left: list[Event] = []
    while (lane := lanes.next_lane()) is not None:
        while lane.queue:
            left.append(event_of(lane.queue.popleft()))

    assert [event.priority for event in left] == sorted(kinds)
    for priority in Priority:
        assert [event.seq for event in left if event.priority == priority] == list(range(1, counts[priority] + 1))


@given(st.sets(st.sampled_from(list(Priority)), min_size=2))
def test_flood_above_starves_nobody_below(kinds: set[Priority]) -> None:
    """Each one that waits has a turn within a bounded number of turns, whatever comes above."""
    lanes = Lanes(QueueConfig())
    for priority in kinds:
        for seq in range(1, 200):
            lanes.offer(BUILDERS[priority](seq), priority)

    turns = Counter()
    for _ in range(8 * 3 * 2):
        lane = lanes.next_lane()
        assert lane is not None
        turns[lanes.lanes.index(lane)] += 1
        lane.queue.popleft()

    assert set(turns) == {int(priority) for priority in kinds}
    assert turns[min(kinds)] >= 40


@given(some_events, st.lists(st.tuples(patterns, trees), min_size=1, max_size=4))
@settings(max_examples=60)
def test_exactly_the_matching_subscribers_get_an_event(kinds: list[Any], asks: list[tuple[str, Tree]]) -> None:
    """As a search through all patterns and filters says."""
    events = numbered(kinds)

    async def main() -> list[list[Event]]:
        recorders = [Recorder() for _ in asks]
        async with asyncio.timeout(PATIENCE_S), open_bus("memory://", make_config()) as bus:
            for (pattern, (test, _)), recorder in zip(asks, recorders, strict=True):
                bus.subscribe(pattern, recorder, filter=test)
            await bus.publish_batch(events)
            await bus.drain()
        return [recorder.events for recorder in recorders]

    got = asyncio.run(main())

    wanted = [
        [event for event in events if fnmatch.fnmatchcase(event.topic(), pattern) and model(event)]
        for pattern, (_, model) in asks
    ]
    assert got == wanted


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Priority)), st.sampled_from(["ok", "permanent", "transient", "poison"])),
        max_size=60,
    ),
    st.integers(1, 6),
    st.booleans(),
    st.integers(0, 3),
)
@settings(max_examples=80)
def test_every_event_has_exactly_one_end(plan: list[Any], size: int, is_async: bool, waits: int) -> None:
    """Whatever fails and whatever is full: handled, dropped, conflated, spilled, lost or a dead letter, and counted."""
    failures = {"permanent": PermanentError, "transient": TransientError, "poison": PoisonError}
    counts: Counter[Priority] = Counter()
    events, fates = [], {}
    for priority, fate in plan:
        counts[priority] += 1
        event = BUILDERS[priority](counts[priority])
        events.append(event)
        fates[event.event_id()] = fate
    queue = QueueConfig(critical_events_max=size, high_events_max=size, normal_events_max=size, low_events_max=size)
    config = make_config(
        queue=queue,
        publish_wait_ms_max=waits,
        retry=RetryConfig(retries_max=1, pause_ms=1, pause_ms_max=1),
        breaker=BreakerConfig(failures_max=4, pause_ms=1, pause_ms_max=1),
    )

    async def main() -> None:
        handled: Counter[str] = Counter()

        def judge(event: Event) -> None:
            if fates[event.event_id()] != "ok":
                raise failures[fates[event.event_id()]]
            handled[event.event_id()] += 1

        async def slow(event: Event) -> None:
            await asyncio.sleep(0)
            judge(event)

        async with asyncio.timeout(PATIENCE_S), open_bus("memory://", config) as bus:
            bus.subscribe("*", slow if is_async else judge, name="judge")
            healthy = Recorder()
            bus.subscribe("trading_state_changed.*.*", healthy, name="healthy")
            for event in events:
                await bus.publish(event)
                await bus.publish(event)
            await bus.drain()
            snapshot = bus.snapshot().handlers["judge"]

        assert_balance(snapshot)
        assert snapshot.received == len(events)
        assert snapshot.counts.handled == sum(handled.values())
        assert set(handled.values()) <= {1}
        assert isinstance(bus.letters, MemoryLetterBox)
        letters = Counter(letter.event_id for letter in bus.letters.letters if letter.owner == "judge")
        assert set(letters.values()) <= {1}
        urgent = {event.event_id() for event in events if event.priority <= Priority.HIGH}
        assert urgent <= handled.keys() | letters.keys()
        assert not handled.keys() & letters.keys()

    asyncio.run(main())


@given(st.lists(st.integers(1, 40), max_size=120), st.integers(1, 40))
def test_number_is_new_once(numbers: list[int], first: int) -> None:
    """In any order, as long as the window holds them."""
    seen = SeenNumbers(first, window=100)
    known: set[int] = set()

    for number in numbers:
        assert seen.is_new(number) is (number not in known)
        known.add(number)


@given(st.lists(st.integers(1, 10_000), max_size=200))
def test_number_is_never_new_twice_even_outside_the_window(numbers: list[int]) -> None:
    """What is too old to tell counts as a repeat."""
    seen = SeenNumbers(1, window=8)

    news = [number for number in numbers if seen.is_new(number)]

    assert len(news) == len(set(news))


@given(st.sets(st.text("abc", min_size=1, max_size=3), min_size=2, max_size=6), st.lists(st.text(max_size=8)))
def test_only_the_keys_of_who_leaves_change_hands(members: set[str], keys: list[str]) -> None:
    """So that a change of one member leaves the order of all others alone."""
    gone = min(members)

    for key in keys:
        owner = member_for(key, members)
        assert owner in members
        if owner != gone:
            assert member_for(key, members - {gone}) == owner
        assert 0 <= part_for(key, 3) < 3


@pytest.mark.parametrize("name", MODELS)
def test_filter_says_what_it_is(name: str) -> None:
    """In logs and at a prompt."""
    assert repr(MODELS[name][0]).startswith("Filter(")
    assert MODELS[name][0](make_tick(1)) is MODELS[name][1](make_tick(1))
    assert issubclass(Tick, Event)
