"""A book as bytes, and back: a start folds only the entries behind the newest one.

A snapshot is never the truth. The entries are, and stay; whatever is wrong with a snapshot, it is passed over. It has
what is open and the sums; what has ended is in the archive. Prices that the market has shown and no entry tells, such
as the highest equity, are in it too: a start from it knows what the last life knew.
"""

from collections import deque
from typing import Any

import msgspec

from common.errors import TickpulseError
from common.events.risk import ScopeState
from executor.archive import Archive
from executor.book import Book
from executor.digest import digest_of_bytes
from executor.events import PositionKey
from executor.exposure import ExposureState
from executor.memory import MemoryState
from executor.positions import Position

# To be raised whenever the same entries give another book: older snapshots are passed over then.
VERSION = 1


class SnapshotError(TickpulseError):
    """A snapshot cannot be used; an older one or the whole journal can."""


class Snapshot(msgspec.Struct, frozen=True):
    """A book after the entry `seq`; `checksum` is of that number and the body."""

    seq: int
    body: bytes
    checksum: str


class BookState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in the body."""

    version: int
    memory: MemoryState
    exposure: ExposureState
    scopes: list[ScopeState]
    positions: dict[PositionKey, Position]
    last_ids: dict[str, str]
    last_execution_number: int
    orders_intended: int
    orders_adopted: int


class _Version(msgspec.Struct):
    version: int


def _to_list(value: object) -> list[Any]:
    if isinstance(value, deque):
        return list(value)
    raise NotImplementedError(f"expected what MessagePack has, or a deque, was {type(value).__name__}")


_encode = msgspec.msgpack.Encoder(enc_hook=_to_list).encode
_decode = msgspec.msgpack.Decoder(BookState, dec_hook=lambda _, items: deque(items)).decode
_decode_version = msgspec.msgpack.Decoder(_Version).decode


def take_snapshot(book: Book) -> Snapshot:
    """Write a book down."""
    body = _encode(
        BookState(
            version=VERSION,
            memory=book.memory.state(),
            exposure=book.exposure.state(),
            scopes=book.kill_switch.scopes(),
            positions=book.positions,
            last_ids=book.last_ids,
            last_execution_number=book.last_execution_number,
            orders_intended=book.orders_intended,
            orders_adopted=book.orders_adopted,
        )
    )
    return Snapshot(book.memory.last_seq, body, _checksum(book.memory.last_seq, body))


def restore_book(snapshot: Snapshot, archive: Archive | None = None) -> Book:
    """The book that was written down; it takes the entries behind `snapshot.seq` next.

    Args:
        snapshot: As `take_snapshot` gave it.
        archive: Has the entries up to there.

    Raises:
        SnapshotError: It is damaged, or of another version.
    """
    if _checksum(snapshot.seq, snapshot.body) != snapshot.checksum:
        raise SnapshotError(f"snapshot {snapshot.seq}: expected the body that its checksum is of, was a damaged one")
    try:
        version = _decode_version(snapshot.body).version
        if version != VERSION:
            raise SnapshotError(f"snapshot {snapshot.seq}: expected version {VERSION}, was {version}")
        state = _decode(snapshot.body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise SnapshotError(f"snapshot {snapshot.seq}: expected the state of a book, {error}") from error
    if state.memory.last_seq != snapshot.seq:
        raise SnapshotError(f"snapshot {snapshot.seq}: expected a book after that entry, was {state.memory.last_seq}")
    book = Book(archive)
    book.memory.restore(state.memory)
    book.exposure.restore(state.exposure)
    book.kill_switch.restore(state.scopes)
    book.positions.update(state.positions)
    book.last_ids.update(state.last_ids)
    book.last_execution_number = state.last_execution_number
    book.orders_intended = state.orders_intended
    book.orders_adopted = state.orders_adopted
    return book


def _checksum(seq: int, body: bytes) -> str:
    return digest_of_bytes(b"%d\0%b" % (seq, body))
