"""What a reader sees: the files of the manifest and the batches that are not in files yet, each record once."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from common.events.registry import type_name
from common.store.contract import Stats, StoreConfigError, StoreDamagedError
from common.store.parquet.files import RETIRED, OpenFile, open_file
from common.store.parquet.manifest import FileEntry, Manifest, State
from common.store.parquet.wal import Batch, read_batches, unsealed, wal_files

if TYPE_CHECKING:
    from common.store.keyring import KeyRing


class Snapshot(NamedTuple):
    """A store at one moment."""

    root: Path
    state: State
    files: list[FileEntry]
    converted_id: int
    wal: list[tuple[Path, bytes]]
    ring: "KeyRing | None" = None

    def batches(self) -> Iterator[Batch]:
        """Batches that are not in files yet, oldest first.

        Raises:
            StoreDamagedError: One was changed.
        """
        for path, content in self.wal:
            for batch in read_batches(path, content, self.state.store_id):
                if batch.first_id > self.converted_id:
                    yield unsealed(batch, self.ring, self.state.store_id)


def open_in(snapshot: Snapshot, entry: FileEntry) -> OpenFile:
    """As of `open_file`; what was taken away since the snapshot is told from what is missing."""
    try:
        return open_file(snapshot.root, entry, snapshot.state.store_id, snapshot.ring)
    except StoreDamagedError:
        path = snapshot.root / entry.path
        if path.exists():
            raise
        state = Manifest(snapshot.root, snapshot.ring).read()
        reasons = [removed.reason for removed, _ in state.removals if entry.path in removed.removed]
        if entry.path in state.replaced:
            reasons.append("compaction")
            if path.with_name(f"{path.name}{RETIRED}").exists():
                retired = structs.replace(entry, path=f"{entry.path}{RETIRED}")
                return open_file(snapshot.root, retired, snapshot.state.store_id, snapshot.ring)
        if not reasons:
            raise
        raise StoreDamagedError(f"{path}: taken out while it was read, by {reasons[0]}; read again") from None


def take_snapshot(root: Path, manifest: Manifest) -> Snapshot:
    """Look at a store, also while another process writes it.

    Raises:
        StoreConfigError, StoreDamagedError: As of `Manifest.read`.
    """
    while True:
        # First the batches and then the manifest: what has become a file meanwhile is in the manifest by then.
        wal, is_stable = [], True
        for path in wal_files(root / "wal"):
            try:
                wal.append((path, path.read_bytes()))
            except FileNotFoundError:
                is_stable = False
                break
            except OSError as error:
                raise StoreConfigError(f"{path}: expected a readable file, {error.strerror}") from error
        if is_stable:
            state = manifest.read()
            return Snapshot(root, state, list(state.files.values()), state.last_id, wal, manifest.ring)


def stats_of(snapshot: Snapshot) -> Stats:
    """What is in a store. Only batches that are not in files yet are read."""
    types: Counter[str] = Counter()
    ids: list[int] = []
    times: list[int] = []
    for entry in snapshot.files:
        types.update(entry.types)
        ids += (entry.first_id, entry.last_id)
        times += (entry.first_ns, entry.last_ns)
    for batch in snapshot.batches():
        records = batch.records()
        types.update(type_name(type(record.message)) for record in records)
        ids += (batch.first_id, batch.last_id)
        found = [record.message.timestamp_ns for record in records]
        times += (min(found), max(found))
    return Stats(
        format="parquet",
        records=types.total(),
        first_id=min(ids, default=0),
        last_id=max(ids, default=0),
        first_ns=min(times, default=None),
        last_ns=max(times, default=None),
        size_bytes=sum(entry.size_bytes for entry in snapshot.files) + sum(len(content) for _, content in snapshot.wal),
        types=dict(types),
    )
