"""What an event log costs: appending, reading and replaying it, and finding a few seconds of one symbol in a large one.

Each format takes the same ticks of ten symbols in batches of 1,000, in a temporary folder. Appending counts until every
record is safe against the death of the process and every batch is where it stays: the final close is in the time. What
comes back is counted and compared with what went in, outside the measured time.
"""

import asyncio
import random
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from benchmarks.machine import Machine, describe_machine
from benchmarks.results import Check, Distribution, describe
from common.clock import NS_PER_S, SystemClock
from common.events.base import Event, Message
from common.events.market import Tick
from common.metrics import Latency
from common.replay_session import Session
from common.store.address import open_store
from common.store.contract import Store
from common.store.replay.pacer import Pacer
from common.store.replay.player import play_messages
from common.store.selection import EVERYTHING, Selection

FORMATS = ("jsonl", "sqlite", "parquet")
SYMBOLS = tuple(f"{base}/USDT" for base in ("BTC", "ETH", "SOL", "XRP", "ADA", "DOT", "LTC", "BNB", "AVAX", "LINK"))
BATCH_EVENTS = 1_000
TICK_NS = 100_000  # 10 k ticks/s
QUERY_NS = 10 * NS_PER_S
QUERIES = 20
BEGAN_NS = 1_700_000_000 * NS_PER_S
TARGETS = {"jsonl": 300_000, "sqlite": 150_000, "parquet": 500_000}  # appended events/s
READ_TARGET = 500_000
BATCH_MS_TARGET = 10.0
QUERY_MS_TARGET = 100.0


class ProcessorTime(msgspec.Struct, frozen=True):
    """µs of an event: in the process that appends, in one that it started, reading by time and by id."""

    append: float
    beside: float
    read: float
    get: float


class Taken(msgspec.Struct, frozen=True):
    """What was read: how many, the sum of their numbers, events/s, processor time and memory."""

    count: int
    number_sum: int
    rate: float
    processor_us: float
    grown_mib: int


class StoreRun(msgspec.Struct, frozen=True, kw_only=True):
    """One format. Rates in events/s of a second of time; `memory_mib` is the process's peak so far.

    `processor_us` is what an event takes of a processor, in user and system: on a machine that others use, rates tell
    less. `grown_mib` is by how much the peak rose between the first eighth of all that was read by time and its end.
    """

    format: str
    event_count: int
    size_bytes: int
    append_rate: float
    batch_write: Distribution
    read_rate: float
    replay_rate: float  # of `tickpulse replay --speed 0` to a handler
    get_rate: float
    query_ms: list[float]  # of each query, sorted
    query_records: float  # found by one, on average
    memory_mib: int
    grown_mib: int
    processor_us: ProcessorTime
    checks: list[Check]


class StoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """A whole benchmark; what `--json` writes."""

    benchmark: str = "store"
    machine: Machine
    runs: list[StoreRun]

    @property
    def is_sound(self) -> bool:
        """Tell whether all counts add up."""
        return all(check.is_met for run in self.runs for check in run.checks)


def run(
    formats: Sequence[str], event_count: int, tell: Callable[[str], object], folder: Path | None = None
) -> StoreReport:
    """Measure one format after the other; `tell` hears what is going on."""
    machine = describe_machine()
    runs = []
    for name in formats:
        place = Path(tempfile.mkdtemp(prefix="tickpulse-bench-", dir=folder))
        try:
            runs.append(measure(name, place / "log", event_count, tell))
        finally:
            shutil.rmtree(place)
    return StoreReport(machine=machine, runs=runs)


def measure(name: str, path: Path, event_count: int, tell: Callable[[str], object]) -> StoreRun:
    """Write, read and query one format."""
    tell(f"{name}: appending {event_count:,} events")
    append_rate, batch_write, append_us, beside_us = append(f"{name}:{path}", event_count)
    with open_store(f"{name}:{path}") as store:
        tell(f"{name}: reading")
        read = take((record.message for record in store.read()), event_count)
        get = take((record.message for record in store.get_events()), event_count)
        tell(f"{name}: replaying")
        replay_count, replay_sum, replay_rate = replay(store)
        tell(f"{name}: {QUERIES} queries")
        query_ms, found, wanted = query(store, event_count)
        stats = store.stats()
        tell(f"{name}: verifying")
        is_whole = store.verify().is_whole
    number_sum = event_count * (event_count + 1) // 2
    return StoreRun(
        format=name,
        event_count=event_count,
        size_bytes=stats.size_bytes,
        append_rate=append_rate,
        batch_write=describe(batch_write),
        read_rate=read.rate,
        replay_rate=replay_rate,
        get_rate=get.rate,
        query_ms=sorted(query_ms),
        query_records=found / QUERIES,
        memory_mib=_peak_mib(),
        grown_mib=read.grown_mib,
        processor_us=ProcessorTime(append_us, beside_us, read.processor_us, get.processor_us),
        checks=[
            Check(f"{name}: records", event_count, stats.records),
            Check(f"{name}: read by time", event_count, read.count),
            Check(f"{name}: read by id", event_count, get.count),
            Check(f"{name}: replayed", event_count, replay_count),
            Check(f"{name}: sum of numbers, replayed", number_sum, replay_sum),
            Check(f"{name}: sum of numbers, by time", number_sum, read.number_sum),
            Check(f"{name}: sum of numbers, by id", number_sum, get.number_sum),
            Check(f"{name}: found by queries", wanted, found),
            Check(f"{name}: verified whole", 1, int(is_whole)),
        ],
    )


def append(address: str, event_count: int) -> tuple[float, Latency, float, float]:
    """Write the ticks; gives the rate, the time of each batch, and µs of an event here and in processes beside."""
    clock = SystemClock()
    latency = Latency()
    writing_ns = 0
    making_s = 0.0
    began_s, beside_s = _processor_s(resource.RUSAGE_SELF), _processor_s(resource.RUSAGE_CHILDREN)
    with open_store(address, is_writer=True) as store:
        for first in range(1, event_count + 1, BATCH_EVENTS):
            making_s -= _processor_s(resource.RUSAGE_THREAD)
            batch = make_batch(first, min(BATCH_EVENTS, event_count + 1 - first))
            making_s += _processor_s(resource.RUSAGE_THREAD)
            began_ns = clock.monotonic_ns()
            store.append_batch(batch, batch[-1].timestamp_ns)
            took_ns = clock.monotonic_ns() - began_ns
            latency.record(took_ns)
            writing_ns += took_ns
        began_ns = clock.monotonic_ns()
    writing_ns += clock.monotonic_ns() - began_ns
    took_s = _processor_s(resource.RUSAGE_SELF) - began_s - making_s
    beside_s = _processor_s(resource.RUSAGE_CHILDREN) - beside_s
    return event_count * NS_PER_S / writing_ns, latency, took_s * 1e6 / event_count, beside_s * 1e6 / event_count


def _processor_s(whose: int) -> float:
    """User and system time of a process, a thread or the children that have ended."""
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def make_batch(first: int, count: int) -> list[Message]:
    """Ticks in turn over the symbols; a tick's `last` is its number, by which it is known again."""
    return [make_tick(number) for number in range(first, first + count)]


def make_tick(number: int) -> Tick:
    """The tick of this number."""
    symbol = SYMBOLS[number % len(SYMBOLS)]
    time_ns = BEGAN_NS + number * TICK_NS
    price = 60_000.0 + number % 977 / 100
    return Tick(
        "gateway",
        1,
        number // len(SYMBOLS) + 1,
        time_ns,
        "simulated",
        symbol,
        symbol.replace("/", ""),
        time_ns - 5_000,
        price,
        price + 0.5,
        1.25,
        0.75,
        float(number),
        0.01,
        time_ns - 900_000,
    )


def take(messages: Iterator[Message], expected: int) -> Taken:
    """Hand every message to a handler."""
    clock = SystemClock()
    count, total = 0, 0.0

    def handle(message: Message) -> None:
        nonlocal count, total
        count += 1
        total += message.last  # type: ignore[attr-defined]

    began_ns, began_s = clock.monotonic_ns(), _processor_s(resource.RUSAGE_SELF)
    for message in islice(messages, expected // 8):
        handle(message)
    early_mib = _peak_mib()
    for message in messages:
        handle(message)
    rate = count * NS_PER_S / max(1, clock.monotonic_ns() - began_ns)
    processor_us = (_processor_s(resource.RUSAGE_SELF) - began_s) * 1e6 / max(1, count)
    return Taken(count, round(total), rate, processor_us, _peak_mib() - early_mib)


def replay(store: Store) -> tuple[int, int, float]:
    """Play all of it to a handler without waiting; gives count, sum and rate as `take`."""
    clock = SystemClock()
    total = 0.0

    def handle(event: Event) -> None:
        nonlocal total
        total += event.last  # type: ignore[attr-defined]

    began_ns = clock.monotonic_ns()
    played = asyncio.run(Session(play_messages(store, EVERYTHING, Pacer(0)), {"handle": handle}).run()).played
    return played, round(total), played * NS_PER_S / max(1, clock.monotonic_ns() - began_ns)


def query(store: Store, event_count: int) -> tuple[list[float], int, int]:
    """Ten seconds of one symbol, at random places: ms of each, how many records were found, and how many there are."""
    seeded = random.Random(7)  # noqa: S311  # repeatable, not secret
    clock = SystemClock()
    took_ms: list[float] = []
    found = wanted = 0
    span = min(QUERY_NS // TICK_NS, event_count)
    for _ in range(QUERIES):
        first = seeded.randint(1, event_count - span + 1)
        place = seeded.randrange(len(SYMBOLS))
        from_ns = BEGAN_NS + first * TICK_NS
        selection = Selection(
            from_ns=from_ns, to_ns=from_ns + span * TICK_NS, symbol=SYMBOLS[place], types=frozenset({Tick})
        )
        began_ns = clock.monotonic_ns()
        records = list(store.read(selection))
        took_ms.append((clock.monotonic_ns() - began_ns) / 1e6)
        found += len(records)
        wanted += sum(number % len(SYMBOLS) == place for number in range(first, first + span))
    return took_ms, found, wanted
