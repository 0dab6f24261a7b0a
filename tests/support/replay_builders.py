"""Stores, players and clocks for replays."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from support.message_builders import make_tick

from common.clock import VirtualClock
from common.events.base import Message
from common.store.config import StoreConfig
from common.store.contract import StoreDamagedError
from common.store.memory import MemoryStore
from common.store.record import Record
from common.store.replay.pacer import Pacer
from common.store.replay.player import Player, play_messages
from common.store.replay.transforms import Transform
from common.store.selection import EVERYTHING, Selection
from common.wire import codec

LOG_NS = 1_600_000_000_000_000_000
CLOCK_NS = 5_000_000_000


class DamagedStore(MemoryStore):
    """A store whose reading ends at a record."""

    def __init__(self, damaged_id: int) -> None:
        super().__init__()
        self.damaged_id = damaged_id

    def read(self, selection: Selection = EVERYTHING) -> Iterator[Record]:
        for record in super().read(selection):
            if record.id == self.damaged_id:
                raise StoreDamagedError(f"log.jsonl: line {record.id}: expected a record, was garbage")
            yield record


def make_store(times_ns: Iterable[int], store: MemoryStore | None = None) -> MemoryStore:
    """One tick for each time, counted from `LOG_NS`; its bid is its number."""
    store = store or MemoryStore()
    for number, time_ns in enumerate(times_ns, start=1):
        store.append(make_tick(number, timestamp_ns=LOG_NS + time_ns, bid=float(number)))
    return store


def make_player(
    times_ns: Iterable[int], speed: float = 1.0, *, transforms: Sequence[Transform] = (), **changes: Any
) -> Player[Message]:
    """A player of such a store that was started at `CLOCK_NS`."""
    store = changes.pop("store", None) or make_store(times_ns)
    player = play_messages(store, Selection(**changes), Pacer(speed), transforms)
    player.start(CLOCK_NS)
    return player


def play(player: Player[Message], clock_ns: int = CLOCK_NS, until_ns: int = 2**62) -> list[tuple[int, float]]:
    """Everything that comes up to a time of the clock: when it was due, counted from `CLOCK_NS`, and its number."""
    played = []
    while (due_ns := player.pacer.due_ns()) is not None and due_ns <= until_ns:
        clock_ns = max(clock_ns, due_ns)
        (tick,) = player.take(clock_ns, 1)
        played.append((clock_ns - CLOCK_NS, getattr(tick, "bid")))  # noqa: B009  # of any message
    return played


class SleepingClock(VirtualClock):
    """A virtual clock that moves when somebody sleeps on it."""

    async def sleep(self, duration_ns: int) -> None:
        """Let time pass."""
        self.advance_to(self.now_ns() + duration_ns)


def write_frames(path: Path, messages: Iterable[Message]) -> Path:
    """A file of the format `small`: what `open_store` reads."""
    frames = [codec.encode(message) for message in messages]
    path.write_bytes(b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames))
    return path


def open_store(path: Path, _config: StoreConfig, _is_writer: bool) -> MemoryStore:  # of the contract
    """Open such a file; a frame that cannot be read is a damage there."""
    content, store = path.read_bytes(), DamagedStore(0)
    while content:
        size = int.from_bytes(content[:4], "big")
        frame, content = content[4 : 4 + size], content[4 + size :]
        if frame == b"damaged":
            store.damaged_id = store.last_id + 1
            frame = codec.encode(make_tick(1, timestamp_ns=2**62))
        store.append(codec.decode(frame))
    return store
