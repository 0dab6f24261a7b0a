"""State that is folded from the log, as of any record or time: a snapshot, and the records behind it.

Every point is a beginning of the log: all records up to an id, or all before the first that was recorded after a time.
So the same question has the same answer for ever, and what was filled in later shows from when it was known.

A snapshot is never the truth. The records are; whatever is wrong with a snapshot, it is passed over and counted, and an
older one or the whole log gives the same state.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec

from common.errors import TickpulseError
from common.run_directory import replace_file
from common.store.contract import Store
from common.store.record import Record
from common.store.selection import TIME_NS_MAX, TIME_NS_MIN
from common.wire.codec import encode_body

KEPT_MAX = 8  # of one projection; as of before the oldest of them, the log is folded from its beginning
DIGEST_BYTES = 16


class Projection(Protocol):
    """A fold over records. Whatever it is told twice in the same order gives the same state."""

    name: str  # of its snapshots' folder
    version: int  # to be raised whenever the same records give another state: older snapshots are passed over then

    def apply(self, record: Record) -> None:
        """Take the next record."""
        ...

    def save(self) -> bytes:
        """Everything it knows."""
        ...

    def load(self, state: bytes) -> None:
        """Know again what was saved, and nothing else.

        Raises:
            ValueError: These bytes are no state.
        """
        ...


P = TypeVar("P", bound=Projection)


class CannotRebuildError(TickpulseError):
    """The log no longer begins at its beginning, and no snapshot holds what was removed."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A state after the record `last_id`. `place` is a digest of that record: in another log it is another one.

    `newest_ns` is the newest time of recording in it; `checksum` is over all the rest.
    """

    name: str
    version: int
    last_id: int
    newest_ns: int
    place: bytes
    state: bytes
    checksum: bytes = b""


class Rebuilt(NamedTuple, Generic[P]):
    """A projection as of a point: its last record (0 for none), that of the snapshot it began from, records applied."""

    projection: P
    last_id: int
    snapshot_id: int
    applied: int


class Snapshots:
    """The snapshots of one store: `FOLDER/NAME/ID.snapshot`, the newest few of each projection."""

    def __init__(self, folder: Path) -> None:
        """Prepare; the folder is made with the first of them."""
        self.unusable = 0
        self._folder = folder

    def save(self, snapshot: Snapshot) -> None:
        """Keep one, and forget the oldest.

        Raises:
            OSError: It cannot be written; those that are there stay.
        """
        folder = self._folder / snapshot.name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        sealed = msgspec.structs.replace(snapshot, checksum=_checksum(snapshot))
        replace_file(folder / f"{snapshot.last_id:020}.snapshot", msgspec.msgpack.encode(sealed))
        for path in self._paths(snapshot.name)[KEPT_MAX:]:
            path.unlink(missing_ok=True)

    def usable(self, name: str, version: int) -> Iterator[Snapshot]:
        """Those that are whole and of this version, newest first; the others are counted."""
        for path in self._paths(name):
            snapshot = _read(path)
            if snapshot is None or (snapshot.name, snapshot.version) != (name, version):
                self.unusable += 1
            else:
                yield snapshot

    def needed_from(self) -> int | None:
        """The first record that retention must keep: behind the newest whole snapshot of every projection.

        With it and these snapshots each projection can be brought up to now. None where there are no snapshots.
        """
        names = [path.name for path in sorted(self._folder.iterdir())] if self._folder.is_dir() else []
        newest = [next((found for path in self._paths(name) if (found := _read(path))), None) for name in names]
        ids = [snapshot.last_id + 1 for snapshot in newest if snapshot is not None]
        return min(ids, default=None)

    def _paths(self, name: str) -> list[Path]:
        return sorted((self._folder / name).glob("*.snapshot"), reverse=True)


def rebuild(
    store: Store,
    make: Callable[[], P],
    snapshots: Snapshots | None = None,
    *,
    as_of_id: int | None = None,
    as_of_ns: int | None = None,
    save_every: int = 0,
) -> Rebuilt[P]:
    """A projection as of a point of the log; of its end, where none is given.

    Args:
        store: The log.
        make: Makes the projection, knowing nothing.
        snapshots: Where to begin from.
        as_of_id: With this record and none after it.
        as_of_ns: Before the first record that was recorded after this time, ns UTC.
        save_every: Save a snapshot after so many applied records, and at the end; 0 for none.

    Raises:
        CannotRebuildError: Records from the beginning were removed, and no snapshot has them.
        StoreDamagedError: A record that it needs cannot be read.
    """
    id_max = TIME_NS_MAX if as_of_id is None else as_of_id
    ns_max = TIME_NS_MAX if as_of_ns is None else as_of_ns
    projection = make()
    begin = _begin(store, projection, snapshots, id_max, ns_max)
    if begin is None:
        projection = make()  # whatever an unusable snapshot left in it
        _check_beginning(store)
    last_id, newest_ns = (begin.last_id, begin.newest_ns) if begin else (0, TIME_NS_MIN)
    applied, last = 0, None
    for record in store.get_events(last_id + 1):
        if record.id > id_max or record.recorded_ns > ns_max:
            break
        projection.apply(record)
        applied, last, newest_ns = applied + 1, record, max(newest_ns, record.recorded_ns)
        if snapshots is not None and save_every and applied % save_every == 0:
            snapshots.save(_take(projection, record, newest_ns))
    if snapshots is not None and save_every and last is not None and applied % save_every:
        snapshots.save(_take(projection, last, newest_ns))
    return Rebuilt(projection, last.id if last else last_id, begin.last_id if begin else 0, applied)


def _begin(
    store: Store, projection: Projection, snapshots: Snapshots | None, id_max: int, ns_max: int
) -> Snapshot | None:
    """Load the newest usable snapshot that is not beyond the point."""
    for snapshot in snapshots.usable(projection.name, projection.version) if snapshots else ():
        if snapshot.last_id > id_max or snapshot.newest_ns > ns_max:
            continue
        if _is_of(snapshot, store):
            try:
                projection.load(snapshot.state)
            except ValueError:
                pass
            else:
                return snapshot
        if snapshots is not None:
            snapshots.unusable += 1
    return None


def _is_of(snapshot: Snapshot, store: Store) -> bool:
    """Tell whether the log has the record that the snapshot stands behind, or begins right after it."""
    if snapshot.last_id > store.last_id:
        return False  # a log that was cut, or restored from an older copy
    record = next(store.get_events(snapshot.last_id), None)
    if record is None or record.id > snapshot.last_id:
        return snapshot.last_id + 1 == (store.last_id + 1 if record is None else record.id)
    return _place(record) == snapshot.place


def _check_beginning(store: Store) -> None:
    first = next(store.get_events(), None)
    if first is not None and first.id > 1:
        raise CannotRebuildError(
            f"projection: expected a log from record 1 on, or a snapshot of what was removed; it begins at record "
            f"{first.id}; restore the snapshots, or an older copy of the log"
        )


def _take(projection: Projection, record: Record, newest_ns: int) -> Snapshot:
    return Snapshot(
        name=projection.name,
        version=projection.version,
        last_id=record.id,
        newest_ns=newest_ns,
        place=_place(record),
        state=projection.save(),
    )


def _place(record: Record) -> bytes:
    content = b"%d %d " % (record.id, record.recorded_ns) + encode_body(record.message)
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def _read(path: Path) -> Snapshot | None:
    try:
        snapshot = msgspec.msgpack.decode(path.read_bytes(), type=Snapshot)
    except (OSError, msgspec.DecodeError):
        return None
    return snapshot if snapshot.checksum == _checksum(snapshot) else None


def _checksum(snapshot: Snapshot) -> bytes:
    content = msgspec.msgpack.encode(msgspec.structs.replace(snapshot, checksum=b""))
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
