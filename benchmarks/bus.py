"""The event bus: how many events a second, how late, and in how much memory; and with handlers that misbehave."""

import asyncio
import gc
import resource
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.bus_peers import measure_peers
from benchmarks.bus_subscriber import TIMEOUT_S, UNLIMITED, Received
from benchmarks.machine import Machine, describe_machine
from benchmarks.stage import Stage
from common.bus import Bus, BusConfig, PoisonError, open_bus
from common.bus.config import QueueConfig, RetryConfig
from common.clock import NS_PER_S, SystemClock
from common.events.base import DRAFT
from common.events.market import TICK_DTYPE, TICKS_PER_BATCH_MAX, Ticks, Trade
from common.metrics import Latency

LATENCY_RATE = 100_000
JOIN_S_MAX = 30.0
HANG_EVERY = 250_000
MIB = 1 << 20

Tell = Callable[[str], None]


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """How many events a second: of the clock's, and of the processor's, which others do not slow."""

    per_s: float
    per_cpu_s: float


class FaultyRun(msgspec.Struct, frozen=True, kw_only=True):
    """Three handlers of the same events: one fails at each, one hangs now and then, one is healthy."""

    published: int
    healthy_handled: int
    healthy_per_s: float
    hanging_timeouts: int
    hanging_dropped: int
    poisoned_dead_letters: int
    poisoned_dropped: int
    is_balanced: bool  # every event of each handler has exactly one end


class BusReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was measured."""

    machine: Machine
    count: int
    batched: Speed
    single: Speed
    latency_us: dict[str, float | None]  # from when an event was due to its handler, at 100 k/s
    queued_mib: float  # `count` events in a handler's queue, with the events
    packed_mib: float  # `count` ticks in batches
    zmq: Received
    peers: dict[str, float]
    faulty: FaultyRun | None
    is_sound: bool  # no event is missing


def run(count: int, tell: Tell, *, is_faulty: bool) -> BusReport:
    """Measure everything, the memory first: later on it would be reused."""
    machine = describe_machine()
    tell("memory")
    packed_mib = asyncio.run(measure_packed(count))
    queued_mib = asyncio.run(measure_queued(count))
    tell("events/s")
    batched, are_all_batched = asyncio.run(measure_speed(count, is_batched=True))
    single, are_all_single = asyncio.run(measure_speed(count, is_batched=False))
    tell("latency")
    latency = asyncio.run(measure_latency(count))
    tell("zmq")
    received = measure_zmq(count)
    tell("peers")
    peers = measure_peers(count)
    tell("faulty handlers" if is_faulty else "done")
    faulty = asyncio.run(measure_faulty(count)) if is_faulty else None
    is_sound = are_all_batched and are_all_single and latency.count == count and received.count == count
    return BusReport(
        machine=machine,
        count=count,
        batched=batched,
        single=single,
        latency_us=latency.summary_us(),
        queued_mib=queued_mib,
        packed_mib=packed_mib,
        zmq=received,
        peers=peers,
        faulty=faulty,
        is_sound=is_sound and (faulty is None or (faulty.is_balanced and faulty.healthy_handled == count)),
    )


def make_trade(seq: int, **changes: Any) -> Trade:
    """One event."""
    fields: dict[str, Any] = {"exchange": "bench", "symbol": "BTC/USDT", "raw_symbol": "BTCUSDT"}
    fields |= {"source": "bench", "epoch": 1, "timestamp_ns": seq, "local_timestamp_ns": seq}
    return Trade(seq=seq, price=1.5, quantity=2.0, **{**fields, **changes})


def roomy(count: int) -> BusConfig:
    """All policies on, and room for everything."""
    return BusConfig(queue=QueueConfig(normal_events_max=count))


async def measure_speed(count: int, *, is_batched: bool) -> tuple[Speed, bool]:
    """Publish as fast as it goes to one async handler; tells whether all were handled."""
    handled = 0

    async def on_trade(_event: Trade) -> None:
        nonlocal handled
        handled += 1

    events = [make_trade(seq) for seq in range(1, count + 1)]
    async with open_bus("memory://", roomy(count)) as bus:
        bus.subscribe(Trade, on_trade)
        started_ns, cpu_started_s = SystemClock.monotonic_ns(), cpu_s()
        if is_batched:
            await bus.publish_batch(events)
        else:
            publish = bus.publish
            for event in events:
                await publish(event)
        await bus.drain()
        elapsed_ns, used_s = SystemClock.monotonic_ns() - started_ns, cpu_s() - cpu_started_s
    return Speed(per_s=count * NS_PER_S / elapsed_ns, per_cpu_s=count / max(used_s, 1e-9)), handled == count


async def measure_latency(count: int, rate: int = LATENCY_RATE) -> Latency:
    """Publish on schedule, whatever the handler does; each event counts from when it was due."""
    interval_ns = NS_PER_S // rate
    late = array("q")
    start_ns = 0

    async def on_trade(event: Trade) -> None:
        late.append(SystemClock.monotonic_ns() - start_ns - event.timestamp_ns)

    events = [make_trade(seq, timestamp_ns=(seq - 1) * interval_ns) for seq in range(1, count + 1)]
    async with open_bus("memory://", roomy(count)) as bus:
        bus.subscribe(Trade, on_trade)
        start_ns = SystemClock.monotonic_ns()
        for event in events:
            while SystemClock.monotonic_ns() - start_ns < event.timestamp_ns:  # noqa: ASYNC110  # the schedule is time
                await asyncio.sleep(0)
            await bus.publish(event)
        await bus.drain()
    latency = Latency()
    for duration_ns in late:
        latency.record(duration_ns)
    return latency


async def measure_queued(count: int) -> float:
    """MiB of memory that so many waiting events take, themselves included."""
    gate = asyncio.Event()

    async def on_trade(_event: Trade) -> None:
        await gate.wait()

    async with open_bus("memory://", roomy(count)) as bus:
        bus.subscribe(Trade, on_trade)
        before = resident_bytes()
        await bus.publish_batch(make_trade(seq) for seq in range(1, count + 1))
        used = resident_bytes() - before
        gate.set()
    return round(used / MIB, 1)


async def measure_packed(count: int) -> float:
    """MiB of memory that so many ticks take in batches of up to 4,096."""
    gate = asyncio.Event()

    async def on_ticks(_event: Ticks) -> None:
        await gate.wait()

    async with open_bus("memory://", roomy(count)) as bus:
        bus.subscribe(Ticks, on_ticks)
        before = resident_bytes()
        for start in range(0, count, TICKS_PER_BATCH_MAX):
            size = min(TICKS_PER_BATCH_MAX, count - start)
            data = np.full(size * TICK_DTYPE.itemsize // 8, 1.5).tobytes()
            batch = Ticks(**DRAFT, timestamp_ns=1, exchange="bench", symbol="A", raw_symbol="A", count=size, data=data)
            await bus.publish(batch)
        used = resident_bytes() - before
        gate.set()
    return round(used / MIB, 1)


def measure_zmq(count: int) -> Received:
    """From one process to another, until all have arrived."""
    with Stage() as stage:
        endpoint = f"ipc://{stage.directory}/bus"
        stage.start("subscriber", "benchmarks.bus_subscriber", endpoint, str(count), str(stage.directory))
        asyncio.run(_publish_to(endpoint, count, stage))
        return msgspec.json.decode((stage.directory / "received").read_bytes(), type=Received)


async def _publish_to(endpoint: str, count: int, stage: Stage) -> None:
    async with open_bus(f"zmq://?publish={endpoint}", sockets=UNLIMITED, source="bench") as bus:
        deadline_ns = SystemClock.monotonic_ns() + int(JOIN_S_MAX * NS_PER_S)
        probe = 0
        while not _exists(stage.directory / "joined") and SystemClock.monotonic_ns() < deadline_ns:
            probe += 1
            await bus.publish(make_trade(probe, exchange="probe"))
            await asyncio.sleep(0.01)
        await bus.publish_batch(make_trade(seq) for seq in range(1, count + 1))
        await asyncio.to_thread(
            stage.wait, lambda: _exists(stage.directory / "received"), "the subscriber's count", TIMEOUT_S + 10
        )


def _exists(path: Path) -> bool:
    return path.exists()


async def measure_faulty(count: int) -> FaultyRun:
    """One handler raises at each event, one hangs at every 250,000th; the third must not notice."""
    healthy = 0

    async def on_healthy(_event: Trade) -> None:
        nonlocal healthy
        healthy += 1

    async def on_hanging(event: Trade) -> None:
        if event.seq % HANG_EVERY == 1:
            await asyncio.Event().wait()

    def on_poisoned(event: Trade) -> None:
        raise PoisonError(f"trade {event.seq}")

    config = BusConfig(handler_timeout_ms=200, retry=RetryConfig(retries_max=0))
    async with open_bus("memory://", config) as bus:
        bus.subscribe(Trade, on_hanging, name="hanging")
        bus.subscribe(Trade, on_poisoned, name="poisoned")
        bus.subscribe(Trade, on_healthy, name="healthy")
        started_ns = SystemClock.monotonic_ns()
        await bus.publish_batch(make_trade(seq) for seq in range(1, count + 1))
        await bus.drain(TIMEOUT_S)
        elapsed_ns = SystemClock.monotonic_ns() - started_ns
        return _faulty_run(bus, count, healthy, elapsed_ns)


def _faulty_run(bus: Bus, count: int, healthy: int, elapsed_ns: int) -> FaultyRun:
    handlers = bus.snapshot().handlers
    hanging, poisoned = handlers["hanging"].counts, handlers["poisoned"].counts
    ends = [
        counts.handled + counts.dead_letters + counts.dropped + counts.conflated + counts.lost + counts.spilled
        for counts in (handler.counts for handler in handlers.values())
    ]
    return FaultyRun(
        published=count,
        healthy_handled=healthy,
        healthy_per_s=healthy * NS_PER_S / elapsed_ns,
        hanging_timeouts=hanging.timeouts,
        hanging_dropped=hanging.dropped,
        poisoned_dead_letters=poisoned.dead_letters,
        poisoned_dropped=poisoned.dropped,
        is_balanced=ends == [count] * len(ends),
    )


def cpu_s() -> float:
    """Processor time of this process, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_bytes() -> int:
    """What this process holds in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def format_bus(report: BusReport) -> str:
    """For people."""
    count = f"{report.count:,}"
    rows = [
        (
            "batched, one async handler",
            f"{report.batched.per_s:,.0f}/s",
            f"{report.batched.per_cpu_s:,.0f} per CPU second",
        ),
        ("one by one", f"{report.single.per_s:,.0f}/s", f"{report.single.per_cpu_s:,.0f} per CPU second"),
        (
            "ZeroMQ, two processes",
            f"{report.zmq.per_s:,.0f}/s",
            f"{report.zmq.count:,} of {count}, {report.zmq.lost} lost",
        ),
        (f"latency at {LATENCY_RATE:,}/s, p99", f"{report.latency_us['p99']} µs", f"p50 {report.latency_us['p50']} µs"),
        (f"{count} events that wait", f"{report.queued_mib} MiB", ""),
        (f"{count} ticks in batches", f"{report.packed_mib} MiB", ""),
        *((name, f"{rate:,.0f}/s", "plain handler, no policies") for name, rate in report.peers.items()),
    ]
    lines = [*report.machine.lines(), "", *(f"{name:<34} {value:>16}  {note}".rstrip() for name, value, note in rows)]
    if report.faulty is not None:
        faulty = report.faulty
        verdict = "every event has one end" if faulty.is_balanced else "THE COUNTS DO NOT ADD UP"
        lines += [
            "",
            "with a poisoned and a hanging handler beside it:",
            f"healthy: {faulty.healthy_handled:,} of {count}, {faulty.healthy_per_s:,.0f}/s",
            f"hanging: {faulty.hanging_timeouts} timeouts, {faulty.hanging_dropped:,} dropped",
            f"poisoned: {faulty.poisoned_dead_letters:,} dead letters, {faulty.poisoned_dropped:,} dropped",
            verdict,
        ]
    return "\n".join([*lines, "", "all events counted" if report.is_sound else "EVENTS ARE MISSING"])
