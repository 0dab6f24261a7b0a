"""The same work on the buses of other trading systems, where they are installed: publish, and count in a handler."""

from collections.abc import Callable
from typing import Any

from common.clock import NS_PER_S, SystemClock

Peer = Callable[[int], float]


def measure_peers(count: int) -> dict[str, float]:
    """Events/s of each peer that is installed."""
    rates = {}
    for name, measure in {"vn.py EventEngine": _vnpy, "NautilusTrader MessageBus": _nautilus}.items():
        try:
            rates[name] = measure(count)
        except ImportError:
            continue
    return rates


class _Counter:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _event: Any) -> None:
        self.count += 1


def _vnpy(count: int) -> float:
    """A queue and a thread that calls plain handlers."""
    from vnpy.event import Event, EventEngine  # noqa: PLC0415  # not everybody has it

    counter, engine = _Counter(), EventEngine(interval=3600)
    engine.register("tick", counter)
    engine.start()
    started_ns = SystemClock.monotonic_ns()
    for _ in range(count):
        engine.put(Event("tick", None))
    while counter.count < count:
        SystemClock.sleep_ns(1_000_000)
    elapsed_ns = SystemClock.monotonic_ns() - started_ns
    engine.stop()
    return count * NS_PER_S / elapsed_ns


def _nautilus(count: int) -> float:
    """A direct call of each handler, without a queue."""
    from nautilus_trader.common.component import MessageBus, TestClock  # noqa: PLC0415  # not everybody has it
    from nautilus_trader.model.identifiers import TraderId  # noqa: PLC0415

    counter = _Counter()
    bus = MessageBus(trader_id=TraderId("BENCH-001"), clock=TestClock())
    bus.subscribe("data.tick", counter)
    started_ns = SystemClock.monotonic_ns()
    for _ in range(count):
        bus.publish("data.tick", counter)
    return count * NS_PER_S / (SystemClock.monotonic_ns() - started_ns)
