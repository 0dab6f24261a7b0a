"""What a handler may do wrong, what follows, and that nobody else is touched."""

import asyncio
import resource
import signal
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.bus_builders import (
    PATIENCE_S,
    Recorder,
    assert_balance,
    make_config,
    make_connection,
    make_halt,
    make_report,
    make_trade,
    open_transport,
    small_queues,
    until,
)
from support.message_builders import make_tick

from common.bus import (
    Bus,
    BusConfig,
    Filter,
    PoisonError,
    PublishRefusedError,
    TransientError,
    open_bus,
)
from common.bus.config import BreakerConfig, RetryConfig
from common.bus.dead_letters import DeadLetter, DeadLetters
from common.bus.groups import member_for
from common.bus.letters import MemoryLetterBox
from common.events.base import Event
from common.events.market import Tick, Trade
from common.events.risk import CircuitState, TradingStateChanged

Scenario = Callable[[Bus], Awaitable[None]]
QUICK = {"handler_timeout_ms": 40, "retry": RetryConfig(retries_max=0)}


def play(scenario: Scenario, config: BusConfig | None = None, **options: Any) -> None:
    """Run a scenario with a bus."""

    async def main() -> None:
        async with asyncio.timeout(2 * PATIENCE_S), open_bus("memory://", config or make_config(), **options) as bus:
            await scenario(bus)

    asyncio.run(main())


def reasons(bus: Bus) -> list[tuple[str, str]]:
    """Whose letters there are, and why."""
    assert isinstance(bus.letters, MemoryLetterBox)
    return [(letter.owner, letter.reason) for letter in bus.letters.letters]


class FullDisk:
    """A letter box that refuses until there is room."""

    def __init__(self) -> None:
        self.is_full = True
        self.refusals = 0
        self.letters: list[DeadLetter] = []

    def keep(self, letter: DeadLetter) -> int:
        """Keep it, or raise what SQLite raises."""
        if self.is_full:
            self.refusals += 1
            raise sqlite3.OperationalError("database or disk is full")
        self.letters.append(letter)
        return len(self.letters)


def test_handler_that_hangs_is_ended_after_its_timeout_and_goes_on_with_the_next_event() -> None:
    """`await` for ever: the event is a dead letter that names the handler."""

    async def scenario(bus: Bus) -> None:
        healthy, handled = Recorder(), []

        async def hanging(event: TradingStateChanged) -> None:
            if event.seq == 1:
                await asyncio.Event().wait()
            handled.append(event.seq)

        subscription = bus.subscribe(TradingStateChanged, hanging, name="hanging")
        bus.subscribe(TradingStateChanged, healthy)
        await bus.publish_batch([make_halt(1), make_halt(2)])
        assert await bus.drain(PATIENCE_S)

        assert handled == [2]
        assert healthy.seqs == [1, 2]
        assert reasons(bus) == [("hanging", "HANDLER_TIMEOUT_ERROR")]
        assert subscription.counts.timeouts == 1
        assert_balance(bus.snapshot().handlers["hanging"])

    play(scenario, make_config(**QUICK))


def test_handler_that_ignores_its_cancellation_is_left_alone() -> None:
    """Its subscription goes on without it; when it ends after all, nothing is counted twice."""

    async def scenario(bus: Bus) -> None:
        release, handled, ended = asyncio.Event(), [], []

        async def stubborn(event: TradingStateChanged) -> None:
            while event.seq == 1 and not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    ended.append("ignored")
            handled.append(event.seq)

        subscription = bus.subscribe(TradingStateChanged, stubborn, name="stubborn")
        await bus.publish_batch([make_halt(1), make_halt(2)])
        await until(lambda: handled == [2])
        release.set()
        await until(lambda: handled == [2, 1])
        await bus.publish(make_halt(3))
        assert await bus.drain(PATIENCE_S)

        assert handled == [2, 1, 3]
        assert ended == ["ignored"]
        assert subscription.counts.abandoned == 1
        assert subscription.counts.handled == 2
        assert reasons(bus) == [("stubborn", "HANDLER_TIMEOUT_ERROR")]
        assert_balance(bus.snapshot().handlers["stubborn"])

    play(scenario, make_config(**QUICK))


def test_handler_that_ends_its_own_way_when_cancelled_was_too_late_but_has_handled_the_event() -> None:
    """The next one that hangs is still ended in time."""

    async def scenario(bus: Bus) -> None:
        async def tidy(event: TradingStateChanged) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if event.seq > 1:
                    raise

        subscription = bus.subscribe(TradingStateChanged, tidy, name="tidy")
        await bus.publish_batch([make_halt(1), make_halt(2)])
        assert await bus.drain(PATIENCE_S)

        assert (subscription.counts.timeouts, subscription.counts.handled) == (2, 1)
        assert reasons(bus) == [("tidy", "HANDLER_TIMEOUT_ERROR")]

    play(scenario, make_config(**QUICK))


def test_handler_that_raises_cancelled_itself_has_failed_like_any_other() -> None:
    """A task of its own was cancelled; its subscription lives on."""

    async def scenario(bus: Bus) -> None:
        handled = []

        async def careless(event: Tick) -> None:
            if event.seq == 1:
                raise asyncio.CancelledError
            handled.append(event.seq)

        bus.subscribe(Tick, careless, name="careless")
        await bus.publish_batch([make_tick(1), make_tick(2)])
        assert await bus.drain(PATIENCE_S)

        assert handled == [2]
        assert reasons(bus) == [("careless", "CANCELLED_ERROR")]

    play(scenario)


def test_handler_that_blocks_the_loop_is_named_and_its_circuit_opens(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody can end it; it is kept from doing so again and again, and no innocent one is blamed."""

    async def scenario(bus: Bus) -> None:
        patient = asyncio.Event()

        async def waiting(_event: TradingStateChanged) -> None:
            await patient.wait()

        def blocking(_event: Trade) -> None:
            until_named = bus._watch.blocked_count + 1
            while bus._watch.blocked_count < until_named:
                threading.Event().wait(0.005)

        innocent = bus.subscribe(TradingStateChanged, waiting, name="innocent")
        subscription = bus.subscribe(Trade, blocking, name="blocking")
        await bus.publish(make_halt(1))
        await bus.publish_batch(make_trade(seq) for seq in range(1, 6))
        await until(lambda: subscription.breaker.state is CircuitState.OPEN)

        assert subscription.counts.blocked == 4
        assert subscription.counts.handled == 4
        assert innocent.counts.timeouts == 0
        patient.set()
        await bus.close(drain_s=0.01)

    breaker = BreakerConfig(failures_max=4, pause_ms=60_000)
    play(scenario, make_config(loop_blocked_ms_max=20, handler_timeout_ms=250, breaker=breaker))
    assert "handler=blocking" in capsys.readouterr().out


@pytest.mark.parametrize("is_async", [True, False])
def test_handlers_that_cause_each_other_for_ever_are_stopped(is_async: bool) -> None:
    """The 16th event of a chain goes to the dead letters of those whom it was for, which name who published it."""

    async def scenario(bus: Bus) -> None:
        count = 0

        async def echo(event: Tick) -> None:
            nonlocal count
            count += 1
            if is_async:
                await asyncio.sleep(0)
            await bus.publish(make_tick(event.seq + 1))

        subscription = bus.subscribe(Tick, echo, name="echo")
        await bus.publish(make_tick(1))
        assert await bus.drain(PATIENCE_S)

        assert count == 17
        assert reasons(bus) == [("echo", "PUBLISH_CIRCLE")]
        assert subscription.counts.handled == 17
        assert_balance(bus.snapshot().handlers["echo"])

    play(scenario)


def test_chain_that_began_before_does_not_count_for_the_next_event() -> None:
    """Hops belong to an event, not to its handler."""

    async def scenario(bus: Bus) -> None:
        traded = Recorder()

        async def tick_to_trade(event: Tick) -> None:
            await bus.publish(make_trade(event.seq))

        bus.subscribe(Tick, tick_to_trade)
        bus.subscribe(Trade, traded)
        await bus.publish_batch(make_tick(seq) for seq in range(1, 101))
        assert await bus.drain(PATIENCE_S)

        assert len(traded.events) == 100
        assert reasons(bus) == []

    play(scenario)


def test_handler_that_fills_its_own_queue_does_not_wait_for_itself() -> None:
    """What does not fit is a dead letter at once."""

    async def scenario(bus: Bus) -> None:
        async def eager(event: TradingStateChanged) -> None:
            if event.scope == "all":
                await bus.publish_batch(make_halt(seq, "strategy:a") for seq in range(1, 7))

        bus.subscribe(TradingStateChanged, eager, name="eager")
        await bus.publish(make_halt(1))
        assert await bus.drain(PATIENCE_S)

        assert reasons(bus) == [("eager", "PUBLISHED_TO_ITSELF")] * 2
        assert_balance(bus.snapshot().handlers["eager"])

    play(scenario, make_config(queue=small_queues(4), publish_wait_ms_max=600_000))


@pytest.mark.parametrize("is_topical", [True, False])
def test_filter_that_raises_is_its_handlers_failure(is_topical: bool) -> None:
    """Not the publisher's, and not that of anybody else."""

    async def scenario(bus: Bus) -> None:
        def broken(_event: Event) -> bool:
            raise KeyError("margin")

        healthy, never = Recorder(), Recorder()
        bus.subscribe(TradingStateChanged, never, name="filtered", filter=Filter(broken, is_topical=is_topical))
        bus.subscribe(TradingStateChanged, healthy)
        await bus.publish_batch([make_halt(1), make_halt(2)])
        assert await bus.drain(PATIENCE_S)

        assert healthy.seqs == [1, 2]
        assert never.events == []
        assert reasons(bus) == [("filtered", "KEY_ERROR")] * 2
        assert_balance(bus.snapshot().handlers["filtered"])

    play(scenario)


def test_subscriber_that_never_reads_costs_its_publishers_one_wait() -> None:
    """Then its critical events go to the dead letters at once, until it has caught up; others get theirs meanwhile."""

    async def scenario(bus: Bus) -> None:
        stuck, healthy = Recorder(is_gated=True), Recorder()
        subscription = bus.subscribe(TradingStateChanged, stuck, name="stuck")
        bus.subscribe(TradingStateChanged, healthy)
        for seq in range(1, 11):
            await bus.publish(make_halt(seq))
            await until(lambda seq=seq: len(healthy.events) == seq)  # type: ignore[misc]

        assert subscription.is_overrun
        assert subscription.counts.spilled == 5
        await until(lambda: bus.snapshot().handlers["stuck"].lanes["critical"].oldest_age_ms > 0)
        stuck.gate.set()
        assert await bus.drain(PATIENCE_S)
        assert stuck.seqs == [1, 2, 3, 4, 5]
        assert reasons(bus) == [("stuck", "QUEUE_FULL")] * 5
        assert_balance(bus.snapshot().handlers["stuck"])
        await until(lambda: not subscription.is_overrun)

    play(scenario, make_config(queue=small_queues(4), publish_wait_ms_max=30))


def test_publishers_that_wait_enter_in_the_order_in_which_they_came() -> None:
    """Nobody overtakes at the door, also not one that comes when there is room again."""

    async def scenario(bus: Bus) -> None:
        recorder = Recorder(is_gated=True)
        subscription = bus.subscribe(TradingStateChanged, recorder, name="slow")
        publishers = [asyncio.create_task(bus.publish(make_halt(seq))) for seq in range(1, 21)]
        await until(lambda: len(subscription.lanes.lanes[0].door) == 15)
        recorder.gate.set()
        await asyncio.gather(*publishers, bus.publish(make_halt(21)))
        assert await bus.drain(PATIENCE_S)

        assert recorder.seqs == list(range(1, 22))

    play(scenario, make_config(queue=small_queues(4), publish_wait_ms_max=600_000))


def test_publisher_that_is_cancelled_at_the_door_loses_no_critical_event() -> None:
    """It was accepted by others already, so this handler has it among its dead letters."""

    async def scenario(bus: Bus) -> None:
        stuck = Recorder(is_gated=True)
        bus.subscribe(TradingStateChanged, stuck, name="stuck")
        await bus.publish(make_halt(1))
        await until(stuck.began.is_set)
        await bus.publish_batch(make_halt(seq) for seq in range(2, 6))
        publisher = asyncio.create_task(bus.publish(make_halt(6)))
        await until(lambda: bus.snapshot().handlers["stuck"].lanes["critical"].waiting == 1)
        publisher.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publisher

        assert reasons(bus) == [("stuck", "QUEUE_FULL")]
        stuck.gate.set()
        assert await bus.drain(PATIENCE_S)
        assert stuck.seqs == [1, 2, 3, 4, 5]

    play(scenario, make_config(queue=small_queues(4), publish_wait_ms_max=600_000))


def test_full_disk_holds_a_critical_event_until_it_can_be_kept() -> None:
    """Its handler waits; others go on."""
    disk = FullDisk()

    async def scenario(bus: Bus) -> None:
        healthy = Recorder()

        def broken(_event: TradingStateChanged) -> None:
            raise ValueError("no")

        subscription = bus.subscribe(TradingStateChanged, broken, name="broken")
        bus.subscribe(TradingStateChanged, healthy)
        await bus.publish_batch([make_halt(1), make_halt(2)])
        await until(lambda: disk.refusals and len(healthy.events) == 2)
        assert subscription.counts.dead_letters == 0
        disk.is_full = False
        assert await bus.drain(PATIENCE_S)

        assert [letter.event_id for letter in disk.letters] == [make_halt(1).event_id(), make_halt(2).event_id()]
        assert subscription.counts.lost == 0

    play(scenario, letters=disk)


def test_full_disk_loses_market_data_counted() -> None:
    """There will be a newer tick."""
    disk = FullDisk()

    async def scenario(bus: Bus) -> None:
        def broken(_event: Tick) -> None:
            raise ValueError("no")

        subscription = bus.subscribe(Tick, broken, name="broken")
        await bus.publish_batch([make_tick(1), make_tick(2)])
        assert await bus.drain(PATIENCE_S)

        assert subscription.counts.lost == 2
        assert_balance(bus.snapshot().handlers["broken"])

    play(scenario, letters=disk)


def test_full_queue_and_full_disk_refuse_the_event_to_its_publisher_who_may_try_again() -> None:
    """The second time it reaches those alone that lack it, so everybody has it once."""
    disk = FullDisk()

    async def scenario(bus: Bus) -> None:
        stuck, healthy = Recorder(is_gated=True), Recorder()
        bus.subscribe(TradingStateChanged, stuck, name="stuck")
        bus.subscribe(TradingStateChanged, healthy)
        await bus.publish(make_halt(1))
        await until(stuck.began.is_set)
        await bus.publish_batch(make_halt(seq) for seq in range(2, 6))

        for _ in range(2):
            with pytest.raises(PublishRefusedError, match="for stuck: expected room"):
                await bus.publish(make_halt(6))
        stuck.gate.set()
        assert await bus.drain(PATIENCE_S)
        await bus.publish(make_halt(6))
        await bus.publish(make_halt(6))
        assert await bus.drain(PATIENCE_S)

        assert stuck.seqs == healthy.seqs == [1, 2, 3, 4, 5, 6]
        assert_balance(bus.snapshot().handlers["stuck"])

    play(scenario, make_config(queue=small_queues(4), publish_wait_ms_max=1), letters=disk)


def test_full_disk_at_the_end_is_told_with_the_event_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """The log is the last place that can have it."""
    disk = FullDisk()

    async def scenario(bus: Bus) -> None:
        stuck = Recorder(is_gated=True)
        subscription = bus.subscribe(TradingStateChanged, stuck, name="stuck")
        await bus.publish_batch([make_halt(1), make_halt(2)])
        await until(stuck.began.is_set)
        await bus.close(drain_s=0.01)
        assert subscription.counts.lost == 2

    play(scenario, make_config(**QUICK), letters=disk)
    assert capsys.readouterr().out.count("event_lost") == 2


def test_file_of_dead_letters_on_a_full_disk_raises_and_takes_letters_again_afterwards(tmp_path: Path) -> None:
    """A real file at its size limit, as on a full disk."""
    letters = DeadLetters(tmp_path / "a.sqlite")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    async def scenario(bus: Bus) -> None:
        healthy = Recorder()
        size = sum(path.stat().st_size for path in tmp_path.iterdir())  # noqa: ASYNC240
        resource.setrlimit(resource.RLIMIT_FSIZE, (min(size, 4096), limits[1]))
        try:
            subscription = bus.subscribe(TradingStateChanged, _refuse, name="broken")
            bus.subscribe(TradingStateChanged, healthy)
            await bus.publish(make_halt(1))
            await until(lambda: healthy.events)
            assert subscription.counts.dead_letters == 0
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert await bus.drain(PATIENCE_S)
        assert letters.count() == 1

    try:
        play(scenario, letters=letters)
    finally:
        signal.signal(signal.SIGXFSZ, handler)
        letters.close()


def _refuse(_event: Event) -> None:
    raise ValueError("no")


def test_circuit_lets_one_probe_through_and_poison_is_none() -> None:
    """A poison event at the wrong moment must not leave the circuit half open for ever."""

    async def scenario(bus: Bus) -> None:
        handled = []

        def flaky(event: Trade) -> None:
            if event.seq == 1:
                raise ValueError("broken")
            if event.seq == 2:
                raise PoisonError("forged")
            handled.append(event.seq)

        subscription = bus.subscribe(Trade, flaky, name="flaky", filter=lambda event: event.seq != 3)
        await bus.publish(make_trade(1))
        await until(lambda: subscription.breaker.state is CircuitState.OPEN)
        await bus.publish_batch(make_trade(seq) for seq in range(2, 6))
        assert await bus.drain(PATIENCE_S)

        assert handled == [4, 5]
        assert subscription.breaker.state is CircuitState.CLOSED
        assert_balance(bus.snapshot().handlers["flaky"])

    play(scenario, make_config(breaker=BreakerConfig(failures_max=1, pause_ms=5)))


def test_open_circuit_keeps_publishers_from_waiting() -> None:
    """What does not fit in the queue is a dead letter at once, with the reason."""

    async def scenario(bus: Bus) -> None:
        bus.subscribe(TradingStateChanged, _refuse, name="broken")
        await bus.publish(make_halt(1))
        await until(lambda: bus.snapshot().handlers["broken"].breaker is CircuitState.OPEN)
        await bus.publish_batch(make_halt(seq) for seq in range(2, 8))

        assert reasons(bus) == [("broken", "VALUE_ERROR"), *[("broken", "CIRCUIT_OPEN")] * 2]
        await bus.close(drain_s=0.01)
        assert reasons(bus)[3:] == [("broken", "BUS_CLOSED")] * 4
        assert_balance(bus.snapshot().handlers["broken"])

    breaker = BreakerConfig(failures_max=1, pause_ms=60_000)
    play(scenario, make_config(queue=small_queues(4), publish_wait_ms_max=600_000, breaker=breaker))


def test_bus_that_closes_does_not_wait_for_pauses_between_retries() -> None:
    """The event in hand gets its letter, what waits behind it too, and what is less urgent is counted."""

    async def scenario(bus: Bus) -> None:
        def failing(_event: Event) -> None:
            raise TransientError("no line")

        subscription = bus.subscribe("*", failing, name="failing")
        await bus.publish_batch([make_halt(1), make_connection(1), make_tick(1), make_report(1)])
        await until(lambda: subscription.counts.failed)
        await bus.close(drain_s=0.01)

        assert [reason for _, reason in reasons(bus)] == ["TRANSIENT_ERROR", "BUS_CLOSED"]
        assert subscription.counts.dropped == 2
        assert_balance(bus.snapshot().handlers["failing"])

    play(scenario, make_config(retry=RetryConfig(retries_max=3, pause_ms=600_000, pause_ms_max=600_000)))


@pytest.mark.parametrize("patience_s", [0.01, 1.0])
def test_bus_that_closes_ends_a_handler_that_hangs(patience_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its event is a dead letter, also where the handler ignores that, whoever is first to give it up."""
    monkeypatch.setattr("common.bus.subscription.CANCEL_S_MAX", patience_s)

    async def scenario(bus: Bus) -> None:
        release, ended = asyncio.Event(), asyncio.Event()

        async def hanging(_event: Event) -> None:
            await asyncio.Event().wait()

        async def stubborn(_event: Event) -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue
            ended.set()

        bus.subscribe("*", hanging, name="hanging")
        bus.subscribe("*", stubborn, name="stubborn")
        await bus.publish(make_halt(1))
        await bus.close(drain_s=0.01)

        assert sorted(reasons(bus)) == [("hanging", "HANDLER_TIMEOUT_ERROR"), ("stubborn", "HANDLER_TIMEOUT_ERROR")]
        for name in ("hanging", "stubborn"):
            assert_balance(bus.snapshot().handlers[name])
        release.set()
        await ended.wait()
        await asyncio.sleep(0)
        assert bus.snapshot().handlers["stubborn"].counts.handled == 0

    play(scenario, make_config(handler_timeout_ms=60, retry=RetryConfig(retries_max=0)))


def test_handler_may_unsubscribe_itself_and_close_its_bus() -> None:
    """It does not wait for itself."""

    async def scenario(bus: Bus) -> None:
        seen: list[int] = []

        async def once(event: Tick) -> None:
            seen.append(event.seq)
            await subscription.unsubscribe()

        async def last(_event: Trade) -> None:
            await bus.close(drain_s=PATIENCE_S)
            closed.set()

        closed = asyncio.Event()
        subscription = bus.subscribe(Tick, once)
        bus.subscribe(Trade, last)
        await bus.publish_batch([make_tick(1), make_tick(2)])
        assert await bus.drain(PATIENCE_S)
        await bus.publish(make_trade(1))
        await closed.wait()

        assert seen == [1]

    play(scenario)


def test_thread_that_hangs_is_left_behind_and_the_next_event_gets_another() -> None:
    """It cannot be ended, but it holds nobody up."""
    release = threading.Event()

    async def scenario(bus: Bus) -> None:
        handled: list[int] = []

        def blocking(event: Trade) -> None:
            if event.seq == 1:
                release.wait()
            if event.seq == 2:
                raise StopIteration
            handled.append(event.seq)

        bus.subscribe(Trade, blocking, name="blocking", in_thread=True)
        await bus.publish_batch([make_trade(1), make_trade(2), make_trade(3)])
        await until(lambda: handled == [3])

        assert reasons(bus) == [("blocking", "HANDLER_TIMEOUT_ERROR"), ("blocking", "RUNTIME_ERROR")]

    try:
        play(scenario, make_config(**QUICK))
    finally:
        release.set()


def test_member_that_joins_a_group_takes_over_what_waits_in_order() -> None:
    """Also behind the event that another member has in hand."""

    async def scenario(bus: Bus) -> None:
        order: dict[str, list[int]] = {}
        gate, began = asyncio.Event(), asyncio.Event()
        names = [f"worker-{index}" for index in range(3)]
        symbols = [f"S{index}" for index in range(20)]
        # What the first member has in hand is of a symbol that is another one's soon.
        symbols.sort(key=lambda symbol: member_for(f"simulated.{symbol}", names) == names[0])

        async def work(event: Trade) -> None:
            order.setdefault(event.symbol, []).append(event.seq)

        async def work_late(event: Trade) -> None:
            began.set()
            await gate.wait()
            await asyncio.sleep(0)
            await work(event)

        bus.subscribe(Trade, work_late, name=names[0], group="workers")
        await bus.publish_batch(make_trade(seq, symbol=symbol) for seq in (1, 2) for symbol in symbols)
        await began.wait()
        newcomers = [bus.subscribe(Trade, work, name=name, group="workers") for name in names[1:]]
        await bus.publish_batch(make_trade(3, symbol=symbol) for symbol in symbols)
        for _ in range(20):
            await asyncio.sleep(0)
        assert order == {}
        gate.set()
        await newcomers[0].unsubscribe()
        await bus.publish_batch(make_trade(4, symbol=symbol) for symbol in symbols)
        assert await bus.drain(PATIENCE_S)

        assert order == {symbol: [1, 2, 3, 4] for symbol in symbols}
        assert newcomers[1].counts.handled > 0
        for handler in bus.snapshot().handlers.values():
            assert_balance(handler)

    play(scenario)


def test_unknown_type_and_future_version_over_the_wire_are_dead_letters_of_the_channel() -> None:
    """Kept as they came, so that a newer version can read them."""

    async def main() -> None:
        async with asyncio.timeout(2 * PATIENCE_S), open_transport("zmq pair") as transport:
            recorder = Recorder()
            transport.subscriber.subscribe("tick.simulated.*", recorder)
            await transport.join()
            link = transport.publisher._link
            future = b"tick.simulated.X\0\x81\xa4type\xb7Market.Tick.Received.v9"
            link._offer(future)  # type: ignore[union-attr]
            link._offer(b"tick.simulated.X\0\xc1")  # type: ignore[union-attr]
            await transport.publisher.publish(make_tick(1))
            await transport.settle()

            assert recorder.seqs == [1]
            letters = transport.subscriber.letters.letters  # type: ignore[attr-defined]
            assert [letter.reason for letter in letters] == ["UNKNOWN_TYPE", "GARBAGE"]
            assert letters[0].frame == future
            assert letters[0].owner.startswith("channel:ipc://")

    asyncio.run(main())


def test_unsubscribed_handler_gets_no_event_behind_the_one_in_hand() -> None:
    """However many waited."""

    async def scenario(bus: Bus) -> None:
        stuck = Recorder(is_gated=True)
        subscription = bus.subscribe(Trade, stuck, name="stuck")
        await bus.publish_batch(make_trade(seq) for seq in range(1, 11))
        await stuck.began.wait()
        ending = asyncio.create_task(subscription.unsubscribe())
        await asyncio.sleep(0)
        stuck.gate.set()
        await ending

        assert stuck.seqs == [1]
        assert subscription.counts.moved == 9

    play(scenario)
