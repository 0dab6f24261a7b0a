"""Stores, players and clocks for replays."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from support.message_builders import make_tick

from common.clock import VirtualClock
from common.events.base import Message
from common.store.address import open_store
from common.store.contract import StoreDamagedError
from common.store.memory import MemoryStore
from common.store.record import Record
from common.store.replay.pacer import Pacer
from common.store.replay.player import Player, play_messages
from common.store.replay.transforms import Transform
from common.store.selection import EVERYTHING, Selection

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


def write_log(path: Path, messages: Iterable[Message]) -> Path:
    """A new event log of the format `jsonl`, instead of one that is there."""
    shutil.rmtree(path, ignore_errors=True)
    with open_store(f"jsonl:{path}", is_writer=True) as store:
        store.append_batch(list(messages))
    return path


def damage_record(path: Path, number: int) -> None:
    """Change one digit of a record in such a log."""
    (segment,) = path.glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[number] = lines[number].replace(b'"seq":', b'"seq":9', 1)  # line 0 is the header
    segment.write_bytes(b"".join(lines))
