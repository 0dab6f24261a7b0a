"""The receiving process of the ZeroMQ run: `python -m benchmarks.bus_subscriber ENDPOINT COUNT DIRECTORY`."""

import asyncio
import sys
from pathlib import Path

import msgspec

from common.bus import BusConfig, open_bus
from common.bus.config import QueueConfig
from common.clock import NS_PER_S, SystemClock
from common.config import SocketsConfig
from common.events.market import Trade

UNLIMITED = SocketsConfig(queue_messages_max=0)
TIMEOUT_S = 120.0


class Received(msgspec.Struct):
    """What came, and how fast."""

    count: int
    lost: int
    per_s: float


async def receive(endpoint: str, count: int, directory: Path) -> None:
    """Count trades until all are there; say when the first probe was."""
    times: list[int] = [0, 0]
    received = 0
    done = asyncio.Event()

    async def on_trade(_event: Trade) -> None:
        nonlocal received
        received += 1
        if received == 1:
            times[0] = SystemClock.monotonic_ns()
        if received == count:
            times[1] = SystemClock.monotonic_ns()
            done.set()

    def on_probe(_event: Trade) -> None:
        (directory / "joined").touch()

    config = BusConfig(queue=QueueConfig(normal_events_max=count))
    async with open_bus(f"zmq://?subscribe={endpoint}", config, sockets=UNLIMITED) as bus:
        bus.subscribe("trade.bench.*", on_trade)
        bus.subscribe("trade.probe.*", on_probe)
        try:
            await asyncio.wait_for(done.wait(), TIMEOUT_S)
        except TimeoutError:
            times[1] = SystemClock.monotonic_ns()
        gaps = sum(bus.snapshot().gaps.values())
    per_s = received * NS_PER_S / max(times[1] - times[0], 1)
    path = directory / "received"
    path.with_suffix(".new").write_bytes(msgspec.json.encode(Received(received, gaps, per_s)))
    path.with_suffix(".new").replace(path)


if __name__ == "__main__":
    asyncio.run(receive(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
