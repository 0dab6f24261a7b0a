"""What every bus promises, whatever carries its events."""

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.bus_builders import (
    PATIENCE_S,
    TRANSPORTS,
    Recorder,
    Transport,
    assert_balance,
    draft_tick,
    make_config,
    make_connection,
    make_halt,
    make_report,
    make_trade,
    open_transport,
    priorities,
    small_queues,
    until,
)
from support.message_builders import make_tick, make_ticks

from common.bus import (
    Bus,
    BusClosedError,
    BusConfig,
    PoisonError,
    TransientError,
    exchange_filter,
    symbol_filter,
    time_range_filter,
)
from common.bus.letters import MemoryLetterBox
from common.errors import InvalidValueError
from common.events.base import Event
from common.events.market import Tick, Trade
from common.events.risk import TradingStateChanged
from common.events.venue import QueryAccount

Scenario = Callable[[Transport], Awaitable[None]]
Play = Callable[..., None]


@pytest.fixture(params=TRANSPORTS)
def play(request: pytest.FixtureRequest) -> Play:
    """Runs a scenario over a transport of each kind."""

    def run(scenario: Scenario, config: BusConfig | None = None, **options: Any) -> None:
        async def main() -> None:
            async with asyncio.timeout(2 * PATIENCE_S), open_transport(request.param, config, **options) as transport:
                await scenario(transport)

        asyncio.run(main())

    return run


def letters_of(bus: Bus) -> MemoryLetterBox:
    """Its dead letters."""
    assert isinstance(bus.letters, MemoryLetterBox)
    return bus.letters


def test_event_reaches_each_handler_that_asks_for_it_in_order(play: Play) -> None:
    """By class, by pattern, by several of them, or all."""

    async def scenario(transport: Transport) -> None:
        selections: list[Any] = [Tick, "tick.*.BTC/*", [Trade, "trading_state_*.*.*"], "*", Event]
        recorders = [Recorder() for _ in selections]
        for what, recorder in zip(selections, recorders, strict=True):
            transport.subscriber.subscribe(what, recorder)
        by_class, by_pattern, by_both, by_all, by_base = recorders
        await transport.join()

        await transport.publisher.publish_batch([make_tick(1), make_tick(1, symbol="ETH/USDT")])
        await transport.publisher.publish(make_trade(1))
        await transport.publisher.publish(make_halt(1))
        await transport.publisher.publish(make_tick(2))
        await transport.settle()

        mine = [event for event in by_class.events if event.exchange == "simulated"]
        assert [(event.symbol, event.seq) for event in mine] == [("BTC/USDT", 1), ("ETH/USDT", 1), ("BTC/USDT", 2)]
        assert by_pattern.seqs == [1, 2]
        assert {type(event) for event in by_both.events} == {Trade, TradingStateChanged}
        kinds = [type(event) for event in by_all.events if getattr(event, "exchange", "") != "probe"]
        assert sorted(kind.__name__ for kind in kinds) == ["Tick", "Tick", "Tick", "Trade", "TradingStateChanged"]
        assert len(by_base.events) == len(by_all.events)

    play(scenario)


def test_command_cannot_be_subscribed_to_or_published(play: Play) -> None:
    """What may be refused has its own channels."""

    async def scenario(transport: Transport) -> None:
        query: Any = QueryAccount
        with pytest.raises(InvalidValueError, match="expected an event class, was QueryAccount"):
            transport.subscriber.subscribe(query, Recorder())
        nothing: Any = {"type": "Market.Tick.Received.v1"}
        with pytest.raises(InvalidValueError, match="expected an event, was dict"):
            await transport.publisher.publish(nothing)
        with pytest.raises(InvalidValueError, match="topic pattern"):
            transport.subscriber.subscribe("tick", Recorder())
        with pytest.raises(InvalidValueError, match="at least one"):
            transport.subscriber.subscribe([], Recorder())
        transport.subscriber.subscribe(Tick, Recorder(), name="mine")
        with pytest.raises(InvalidValueError, match="'mine' is taken"):
            transport.subscriber.subscribe(Tick, Recorder(), name="mine")

    play(scenario)


def test_filters_compose(play: Play) -> None:
    """Those that look at the topic, those that look at each event, and any function."""

    async def scenario(transport: Transport) -> None:
        both, neither, late, odd = (Recorder() for _ in range(4))
        subscribe = transport.subscriber.subscribe
        subscribe(Tick, both, filter=symbol_filter("BTC/USDT") & exchange_filter("simulated"))
        subscribe(Tick, neither, filter=~(symbol_filter("BTC/USDT") | exchange_filter("probe")))
        subscribe(
            Tick, late, filter=exchange_filter("simulated") & time_range_filter(from_ns=make_tick(2).timestamp_ns)
        )
        subscription = subscribe("tick.simulated.*", odd, filter=lambda event: event.seq % 2 == 1)
        await transport.join()

        await transport.publisher.publish_batch([make_tick(1), make_tick(2), make_tick(3)])
        await transport.publisher.publish(make_tick(1, symbol="ETH/USDT"))
        await transport.settle()

        assert both.seqs == [1, 2, 3]
        assert [event.symbol for event in neither.events] == ["ETH/USDT"]
        assert late.seqs == [2, 3]
        assert odd.seqs == [1, 3, 1]
        assert subscription.counts.filtered == 1

    play(scenario)


def test_event_that_is_published_twice_is_handled_once(play: Play) -> None:
    """It is known by its id, in whatever order the numbers come."""

    async def scenario(transport: Transport) -> None:
        recorder = Recorder()
        transport.subscriber.subscribe("tick.simulated.*", recorder)
        await transport.join()

        for seq in (1, 2, 2, 1, 3):
            await transport.publisher.publish(make_tick(seq))
        await transport.publisher.publish(make_tick(1, epoch=make_tick().epoch + 1))
        await transport.settle()

        assert recorder.seqs == [1, 2, 3, 1]

    play(scenario)


def test_batch_of_ticks_is_one_event_with_many_numbers(play: Play) -> None:
    """Its last number is its own, and the next tick follows it."""

    async def scenario(transport: Transport) -> None:
        recorder = Recorder()
        transport.subscriber.subscribe("tick.simulated.*", recorder)
        await transport.join()

        for event in (make_ticks(3, 3), make_ticks(3, 3), make_tick(4), make_ticks(6, 2), make_tick(4)):
            await transport.publisher.publish(event)
        await transport.settle()

        assert recorder.seqs == [3, 4, 6]

    play(scenario)


def test_draft_gets_its_identity(play: Play) -> None:
    """Source and life of the bus, and the next number of its topic; a topic may be named after its source."""

    async def scenario(transport: Transport) -> None:
        recorder = Recorder()
        transport.subscriber.subscribe(["tick.simulated.*", "process.*.*"], recorder)
        await transport.join()

        await transport.publisher.publish_batch([draft_tick("A"), draft_tick("A"), draft_tick("B")])
        await transport.publisher.publish(make_report(0, source="", epoch=0))
        await transport.settle()

        ids = sorted((event.topic(), event.seq) for event in recorder.events)
        assert ids == [
            ("process.gateway.desk", 1),
            ("tick.simulated.A", 1),
            ("tick.simulated.A", 2),
            ("tick.simulated.B", 1),
        ]
        assert {event.source for event in recorder.events} == {"desk"}
        assert {event.epoch for event in recorder.events} == {7}

    play(scenario, source="desk", epoch=7)


def test_handlers_are_plain_or_async_and_run_beside_each_other(play: Play) -> None:
    """One that waits holds up nobody but itself."""

    async def scenario(transport: Transport) -> None:
        slow = Recorder(is_gated=True)
        quick: list[int] = []
        on_thread: list[int] = []
        transport.subscriber.subscribe("tick.simulated.*", slow)
        transport.subscriber.subscribe("tick.simulated.*", lambda event: quick.append(event.seq))
        transport.subscriber.subscribe(
            "tick.simulated.*", lambda event: on_thread.append(event.seq), name="blocking", in_thread=True
        )
        await transport.join()

        await transport.publisher.publish_batch([make_tick(1), make_tick(2), make_tick(3)])
        await until(lambda: len(quick) == len(on_thread) == 3)

        assert quick == on_thread == [1, 2, 3]
        assert slow.events == []
        slow.gate.set()
        await transport.settle()
        assert slow.seqs == [1, 2, 3]

    play(scenario)


def test_urgent_events_go_first_and_each_type_keeps_its_order(play: Play) -> None:
    """While a handler is at work the rest waits, by priority."""

    async def scenario(transport: Transport) -> None:
        recorder = Recorder(is_gated=True)
        selection: list[Any] = ["tick.simulated.*", "process.*.*", "connection.*.*", "trading_state_changed.*.*"]
        subscription = transport.subscriber.subscribe(selection, recorder)
        await transport.join()
        await transport.publisher.publish(make_tick(1))
        await until(recorder.began.is_set)

        for seq in (1, 2):
            for event in (make_report(seq), make_tick(seq + 1), make_connection(seq), make_halt(seq)):
                await transport.publisher.publish(event)
        await transport.arrive()
        assert len(subscription.lanes) == 8
        recorder.gate.set()
        await transport.settle()

        assert priorities(recorder.events[1:]) == [0, 0, 1, 1, 2, 2, 3, 3]
        assert recorder.seqs[1:] == [1, 2, 1, 2, 2, 3, 1, 2]

    play(scenario)


def test_failing_handler_leaves_its_events_and_nobody_elses_among_the_dead_letters(play: Play) -> None:
    """A permanent failure at once, a passing one after its retries, poison without a mark."""

    async def scenario(transport: Transport) -> None:
        healthy, tries = Recorder(), []

        def broken(event: Tick) -> None:
            tries.append(event.seq)
            raise {1: KeyError("price"), 2: TransientError("no line"), 3: PoisonError("forged")}[event.seq]

        subscription = transport.subscriber.subscribe("tick.simulated.*", broken, name="broken")
        transport.subscriber.subscribe("tick.simulated.*", healthy)
        await transport.join()

        await transport.publisher.publish_batch([make_tick(1), make_tick(2), make_tick(3)])
        await transport.settle()

        assert tries == [1, 2, 2, 2, 3]
        assert healthy.seqs == [1, 2, 3]
        letters = [
            (letter.event_id, letter.owner, letter.category, letter.attempts)
            for letter in letters_of(transport.subscriber).letters
        ]
        assert letters == [
            (make_tick(1).event_id(), "broken", "permanent", 1),
            (make_tick(2).event_id(), "broken", "transient", 3),
            (make_tick(3).event_id(), "broken", "poison", 1),
        ]
        assert (subscription.counts.failed, subscription.counts.retries, subscription.counts.poison) == (4, 2, 1)

    play(scenario)


def test_passing_failure_is_retried_before_the_next_event(play: Play) -> None:
    """So that the order of events stays what it was."""

    async def scenario(transport: Transport) -> None:
        handled: list[int] = []
        failures = [ConnectionError("gone"), TimeoutError()]

        async def handler(event: Tick) -> None:
            await asyncio.sleep(0)
            if failures:
                raise failures.pop()
            handled.append(event.seq)

        subscription = transport.subscriber.subscribe("tick.simulated.*", handler)
        await transport.join()

        await transport.publisher.publish_batch([make_tick(1), make_tick(2)])
        await transport.settle()

        assert handled == [1, 2]
        assert subscription.counts.retries == 2
        assert list(letters_of(transport.subscriber).letters) == []

    play(scenario)


def test_full_queue_drops_conflates_or_spills_as_its_priority_says_and_counts_it(play: Play) -> None:
    """The newest tick of each instrument stays; of trades the newest; what is urgent is among the dead letters."""

    async def scenario(transport: Transport) -> None:
        recorder = Recorder(is_gated=True)
        selection: list[Any] = ["tick.simulated.*", "trade.*.*", "process.*.*", "trading_state_changed.*.*"]
        subscription = transport.subscriber.subscribe(selection, recorder, name="slow")
        await transport.join()
        await transport.publisher.publish(make_halt(1))
        await until(recorder.began.is_set)

        for seq in range(1, 8):
            await transport.publisher.publish(make_tick(seq))
        for seq in range(1, 8):
            await transport.publisher.publish(make_trade(seq))
            await transport.publisher.publish(make_report(seq))
        for seq in range(2, 8):
            await transport.publisher.publish(make_halt(seq))
        await until(lambda: subscription.counts.spilled == 2)
        recorder.gate.set()
        await transport.settle()

        handled = {
            kind: [event.seq for event in recorder.events if type(event) is kind]
            for kind in (Tick, Trade, TradingStateChanged)
        }
        assert handled == {Tick: [], Trade: [4, 5, 6, 7], TradingStateChanged: [1, 2, 3, 4, 5]}
        assert [event.seq for event in recorder.events if event.kind == "process"] == [1, 2, 3, 4]
        assert [letter.reason for letter in letters_of(transport.subscriber).letters] == ["QUEUE_FULL"] * 2
        snapshot = transport.subscriber.snapshot().handlers["slow"]
        assert_balance(snapshot)
        assert snapshot.counts.conflated >= 3
        assert snapshot.lanes["low"].dropped == 3

    play(scenario, make_config(queue=small_queues(4)))


def test_group_shares_its_events(play: Play) -> None:
    """Each event to exactly one member, all of one instrument to the same, in order."""

    async def scenario(transport: Transport) -> None:
        members = [Recorder() for _ in range(3)]
        for index, member in enumerate(members):
            transport.subscriber.subscribe("tick.simulated.*", member, name=f"worker-{index}", group="workers")
        await transport.join()
        symbols = [f"S{index}" for index in range(30)]

        for seq in (1, 2):
            await transport.publisher.publish_batch(make_tick(seq, symbol=symbol) for symbol in symbols)
        await transport.settle()

        owners = [{event.symbol for event in member.events} for member in members]
        assert sorted(symbol for owner in owners for symbol in owner) == sorted(symbols)
        assert all(owners)
        for member in members:
            for symbol in {event.symbol for event in member.events}:
                assert [event.seq for event in member.events if event.symbol == symbol] == [1, 2]

    play(scenario)


def test_unsubscribed_handler_gets_nothing_more(play: Play) -> None:
    """Nor does it hold up the end."""

    async def scenario(transport: Transport) -> None:
        recorder, other = Recorder(), Recorder()
        subscription = transport.subscriber.subscribe("tick.simulated.*", recorder)
        transport.subscriber.subscribe("tick.simulated.*", other)
        await transport.join()
        await transport.publisher.publish(make_tick(1))
        await transport.settle()

        await subscription.unsubscribe()
        await subscription.unsubscribe()
        await transport.publisher.publish(make_tick(2))
        await transport.settle()

        assert recorder.seqs == [1]
        assert other.seqs == [1, 2]

    play(scenario)


def test_threads_publish_too(play: Play) -> None:
    """The future tells when the event was taken; the events of one thread keep their order."""

    async def scenario(transport: Transport) -> None:
        recorder = Recorder()
        transport.subscriber.subscribe("tick.simulated.*", recorder)
        await transport.join()

        def publish(symbol: str) -> None:
            futures = [transport.publisher.publish_threadsafe(make_tick(seq, symbol=symbol)) for seq in range(1, 51)]
            for future in futures:
                future.result(PATIENCE_S)

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            loop = asyncio.get_running_loop()
            await asyncio.gather(*(loop.run_in_executor(pool, publish, symbol) for symbol in "ABCD"))
        await transport.settle()

        for symbol in "ABCD":
            assert [event.seq for event in recorder.events if event.symbol == symbol] == list(range(1, 51))

    play(scenario)


def test_closed_bus_takes_nothing(play: Play) -> None:
    """What was taken before is handled first; what is published from its handlers meanwhile, too."""

    async def scenario(transport: Transport) -> None:
        bus = transport.publisher
        recorder, late = Recorder(), Recorder()

        async def echo(event: Tick) -> None:
            await asyncio.sleep(0)
            await bus.publish(make_trade(event.seq))
            recorder.events.append(event)

        bus.subscribe(Tick, echo)
        bus.subscribe(Trade, late)
        await bus.publish_batch([make_tick(1), make_tick(2)])

        await bus.close()

        assert recorder.seqs == late.seqs == [1, 2]
        with pytest.raises(BusClosedError, match="was a closed one"):
            await bus.publish(make_tick(3))
        with pytest.raises(BusClosedError, match="was a closed one"):
            await bus.publish_batch([make_tick(3)])
        with pytest.raises(BusClosedError, match="was a closed one"):
            bus.publish_threadsafe(make_tick(3))
        with pytest.raises(BusClosedError, match="was a closed one"):
            bus.subscribe(Tick, recorder)
        with pytest.raises(BusClosedError, match="opened before"):
            await bus.open()

    play(scenario)


def test_snapshot_counts_every_event_once(play: Play) -> None:
    """Rates, depths, latencies and states of every type and handler, and the sums are exact."""

    async def scenario(transport: Transport) -> None:
        def handler(event: Tick) -> None:
            if event.seq % 5 == 0:
                raise ValueError(event.seq)

        transport.subscriber.subscribe(
            "tick.simulated.*", handler, name="fifth", filter=lambda event: event.seq % 2 == 0
        )
        await transport.join()

        await transport.publisher.publish_batch(make_tick(seq) for seq in range(1, 101))
        await transport.settle()
        snapshot = transport.subscriber.snapshot()

        fifth = snapshot.handlers["fifth"]
        assert (fifth.received, fifth.counts.handled, fifth.counts.filtered, fifth.counts.dead_letters) == (
            100,
            40,
            50,
            10,
        )
        assert_balance(fifth)
        assert fifth.latency_us["p50"] is not None
        assert fifth.lanes["normal"].oldest_age_ms == 0
        assert snapshot.types["Market.Tick.Received.v1"].published >= 100

    play(scenario)
