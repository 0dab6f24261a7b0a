"""What every strategy held at some moment of the event log: a projection of position events."""

import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from common.events.trading import PositionClosed, PositionEvent, PositionModified, PositionOpened
from common.money import plain
from common.store.address import open_store, parse_address
from common.store.config import StoreConfig
from common.store.projection import Rebuilt, Snapshots, rebuild
from common.store.record import Record
from common.tables import Row

SAVE_EVERY = 100_000  # records; a later question about nearly the same time then takes less than a second
_Events = list[PositionOpened | PositionModified | PositionClosed]
_decode = msgspec.msgpack.Decoder(_Events).decode
_pack = msgspec.msgpack.Encoder(decimal_format="string").encode


class HeldPositions:
    """The newest event of each position, by strategy, exchange and symbol."""

    name = "positions"
    version = 1

    def __init__(self) -> None:
        self.newest: dict[tuple[str, str, str], PositionEvent] = {}

    def apply(self, record: Record) -> None:
        """Take the next record; what is no position event changes nothing."""
        event = record.message
        if isinstance(event, PositionEvent):
            self.newest[event.strategy, event.exchange, event.symbol] = event

    def save(self) -> bytes:
        """Everything it knows."""
        return _pack(list(self.newest.values()))

    def load(self, state: bytes) -> None:
        """Know again what was saved."""
        events = _decode(state)
        self.newest = {(event.strategy, event.exchange, event.symbol): event for event in events}

    def rows(self) -> list[Row]:
        """As the read model of the workers has them, in its order."""
        return [_row(event) for _, event in sorted(self.newest.items())]


class AsOf(NamedTuple):
    """Which record an answer stands at."""

    last_id: int

    def text(self) -> str:
        """One line for people."""
        return f"as of record {self.last_id} of the event log" if self.last_id else "before the first record of the log"


def read_positions(address: str, as_of_ns: int, config: StoreConfig) -> tuple[list[Row], AsOf]:
    """Positions as the log told of them by a time, ns UTC.

    Raises:
        StoreConfigError: There is no such store.
        CannotRebuildError: What the answer needs was removed from the log.
        StoreDamagedError: It cannot be read.
    """
    folder = Path(f"{parse_address(address).path}.snapshots")
    may_save = os.access(folder if folder.is_dir() else folder.parent, os.W_OK)
    with open_store(address, config) as store:
        rebuilt: Rebuilt[HeldPositions] = rebuild(
            store, HeldPositions, Snapshots(folder), as_of_ns=as_of_ns, save_every=SAVE_EVERY if may_save else 0
        )
    return rebuilt.projection.rows(), AsOf(rebuilt.last_id)


def _row(event: PositionEvent) -> Row:
    return {
        "strategy": event.strategy,
        "exchange": event.exchange,
        "symbol": event.symbol,
        "quantity": plain(event.quantity),
        "entry_price": None if event.entry_price is None else plain(event.entry_price),
        "mark_price": None if event.mark_price is None else plain(event.mark_price),
        "realised_pnl": plain(event.realised_pnl),
        "unrealised_pnl": plain(event.unrealised_pnl),
        "fees": plain(event.fees),
        "updated_ns": event.timestamp_ns,
    }
