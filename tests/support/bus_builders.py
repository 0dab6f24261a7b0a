"""A bus of each transport, events of each priority, and handlers that remember, wait or break."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
from support.message_builders import EPOCH, NOW_NS, make_tick

from common.bus import Bus, BusConfig, open_bus
from common.bus.config import BreakerConfig, QueueConfig, RetryConfig
from common.bus.snapshot import HandlerSnapshot
from common.events.base import DRAFT, Event
from common.events.market import Tick, Trade
from common.events.risk import TradingState, TradingStateChanged
from common.events.system import ConnectionChanged, ConnectionState, ProcessReported, ProcessState

PATIENCE_S = 20.0  # a busy machine may take that long; nothing is expected to
TRANSPORTS = ("memory", "zmq", "zmq pair")


def make_halt(seq: int = 1, scope: str = "all", **changes: Any) -> TradingStateChanged:
    """A critical event."""
    fields: dict[str, Any] = {"source": "executor", "epoch": EPOCH, "timestamp_ns": NOW_NS + seq, "by": "jane"}
    fields |= {"scope": scope, "state": TradingState.HALTED, "reason": "a test"}
    return TradingStateChanged(seq=seq, **{**fields, **changes})


def make_connection(seq: int = 1, **changes: Any) -> ConnectionChanged:
    """An event of high priority."""
    fields: dict[str, Any] = {"source": "gateway", "epoch": EPOCH, "timestamp_ns": NOW_NS + seq, "exchange": "binance"}
    fields |= {"peer": "feed", "state": ConnectionState.CONNECTED, "detail": ""}
    return ConnectionChanged(seq=seq, **{**fields, **changes})


def make_report(seq: int = 1, **changes: Any) -> ProcessReported:
    """An event of low priority."""
    fields: dict[str, Any] = {"source": "gateway", "epoch": EPOCH, "timestamp_ns": NOW_NS + seq, "role": "gateway"}
    fields |= {"pid": 1, "state": ProcessState.READY, "detail": "", "started_ns": 1, "turns": 1, "counters": {}}
    return ProcessReported(seq=seq, **{**fields, **changes})


def make_trade(seq: int = 1, **changes: Any) -> Trade:
    """Market data of which each one counts: never conflated."""
    fields: dict[str, Any] = {"source": "gateway", "epoch": EPOCH, "timestamp_ns": NOW_NS, "exchange": "simulated"}
    fields |= {"symbol": "BTC/USDT", "raw_symbol": "BTCUSDT", "local_timestamp_ns": NOW_NS, "trade_id": str(seq)}
    fields |= {"price": 1.0, "quantity": 1.0, "aggressor_side": "buy"}
    return Trade(seq=seq, **{**fields, **changes})


def make_config(**changes: Any) -> BusConfig:
    """Little patience, so that no test waits long; small queues where a test asks for them."""
    fields: dict[str, Any] = {
        "retry": RetryConfig(retries_max=2, pause_ms=1, pause_ms_max=4),
        "breaker": BreakerConfig(failures_max=1_000, pause_ms=20),
        "handler_timeout_ms": 5_000,
        "publish_wait_ms_max": 50,
        "loop_blocked_ms_max": 60_000,
    }
    return BusConfig(**{**fields, **changes})


def small_queues(size: int = 4) -> QueueConfig:
    """Room for so many of each priority."""
    return QueueConfig(
        critical_events_max=size, high_events_max=size, normal_events_max=size, low_events_max=size
    )  # fmt: skip


class Recorder:
    """A handler that remembers what it got; closed by its gate, if it has one."""

    def __init__(self, *, is_gated: bool = False) -> None:
        self.events: list[Any] = []
        self.gate = asyncio.Event()
        self.began = asyncio.Event()
        if not is_gated:
            self.gate.set()

    async def __call__(self, event: Any) -> None:
        """Remember, once the gate is open."""
        self.began.set()
        await self.gate.wait()
        self.events.append(event)

    @property
    def seqs(self) -> list[int]:
        """The numbers of the events."""
        return [event.seq for event in self.events]


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Let the loop turn until something is true.

    Raises:
        AssertionError: It is not, within any patience.
    """
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110  # the condition is anything
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE_S:g} s: {what or condition}") from None


def assert_balance(snapshot: HandlerSnapshot) -> None:
    """Every event that was meant for a handler has exactly one end, or waits."""
    ends = msgspec.structs.asdict(snapshot.counts)
    ended = sum(
        ends[name]
        for name in ("handled", "filtered", "dead_letters", "spilled", "dropped", "conflated", "moved", "lost")
    )
    waits = snapshot.in_hand + sum(lane.depth + lane.waiting for lane in snapshot.lanes.values())
    assert snapshot.received == ended + waits


class Transport:
    """Where a test publishes, and where it subscribes: the same bus, or two that are connected."""

    def __init__(self, publisher: Bus, subscriber: Bus) -> None:
        self.publisher = publisher
        self.subscriber = subscriber
        self._probes = 0

    async def join(self) -> None:
        """Wait until everything that was subscribed to is on its way: subscriptions arrive in their order."""
        await self._echo()

    async def arrive(self) -> None:
        """Wait until everything that was published has arrived: one connection keeps the order."""
        await self._echo()

    async def settle(self) -> None:
        """Wait until everything that was published has been handled."""
        await self.arrive()
        assert await self.subscriber.drain(PATIENCE_S)

    async def _echo(self) -> None:
        if self.publisher is self.subscriber:
            return
        self._probes += 1
        recorder = Recorder()
        probe = self.subscriber.subscribe(f"tick.probe.{self._probes}", recorder)
        while not recorder.events:
            await self.publisher.publish(make_tick(0, source="", epoch=0, exchange="probe", symbol=str(self._probes)))
            await asyncio.sleep(0.002)
        await probe.unsubscribe()


@contextlib.asynccontextmanager
async def open_transport(kind: str, config: BusConfig | None = None, **options: Any) -> AsyncIterator[Transport]:
    """Buses of one transport; nothing of them stays behind."""
    config = config or make_config()
    if kind == "memory":
        async with open_bus("memory://", config, **options) as bus:
            yield Transport(bus, bus)
        return
    directory = Path(tempfile.mkdtemp(prefix="bus"))  # a Unix socket's path has at most 107 bytes
    endpoint = f"ipc://{directory}/a"
    try:
        async with open_bus(f"zmq://?publish={endpoint}", config, **options) as bus:
            if kind == "zmq":
                yield Transport(bus, bus)
                return
            async with open_bus(f"zmq://?subscribe={endpoint}", config, **options) as other:
                yield Transport(bus, other)
    finally:
        shutil.rmtree(directory)


def draft_tick(symbol: str = "BTC/USDT", **changes: Any) -> Tick:
    """A tick without an identity."""
    return make_tick(**{**DRAFT, "symbol": symbol, **changes})


def priorities(events: list[Event]) -> list[int]:
    """How urgent each of them is."""
    return [int(event.priority) for event in events]
