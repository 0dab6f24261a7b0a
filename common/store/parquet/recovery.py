"""What a writer does before it goes on: clears what a crash left half done, and finds where the chain stands."""

import os
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from common.store.contract import StoreDamagedError
from common.store.parquet.files import digest_of, leftovers, remove
from common.store.parquet.manifest import VERSION, Began, FileEntry, Manifest, Removed
from common.store.parquet.wal import chain_anew, check_links, good_batches, heading, read_batches, wal_files

QUARANTINE = "quarantine"


class Position(NamedTuple):
    """Where a log goes on, and the write-ahead files that are not converted yet."""

    last_id: int
    digest: bytes
    pending: list[Path]


def begin(manifest: Manifest) -> None:
    """Make a store where there is none, and read its manifest.

    Raises:
        StoreConfigError: As of `Manifest.read`.
        StoreDamagedError: As of `Manifest.read`: without its list of files nothing can be told from anything.
    """
    if not manifest.path.exists() or not manifest.read().links:  # none, or killed while it wrote its first line
        manifest.append(Began(version=VERSION, store_id=uuid4().hex))


def recover(root: Path, manifest: Manifest) -> Position:
    """Make a store fit for a writer.

    Raises:
        StoreDamagedError: The write-ahead part was changed.
    """
    state = manifest.state
    for path in leftovers(root, len(state.links)):
        path.unlink()
    remove(root, state.replaced)
    digest, last_id, pending = state.digest, state.last_id, []
    for path in wal_files(root / "wal"):
        content = path.read_bytes()
        batches = list(read_batches(path, content, state.store_id))
        _cut_torn_end(root, path, content, batches[-1].end if batches else 0)
        if not batches or batches[-1].last_id <= state.last_id:
            path.unlink()
            continue
        if batches[0].first_id <= last_id:
            raise StoreDamagedError(f"{path}: expected records after {last_id}, was {batches[0].first_id}")
        for batch in check_links(path, iter(batches), digest):
            digest, last_id = batch.digest, batch.last_id
        pending.append(path)
    return Position(last_id, digest, pending)


def _cut_torn_end(root: Path, path: Path, content: bytes, end: int) -> None:
    """Cut what a crash left of a batch that was never acknowledged; it is kept, since nobody knows who asks."""
    if end == len(content) or not end:
        return
    folder = root / QUARANTINE
    folder.mkdir(exist_ok=True, mode=0o700)
    (folder / f"{path.name}.{end}.torn").write_bytes(content[end:])
    os.truncate(path, end)


def quarantine(root: Path, manifest: Manifest, now_ns: int) -> list[FileEntry]:
    """Move files that are not what was written aside, and say in the manifest that their records are gone."""
    state = manifest.state
    damaged = [entry for entry in state.files.values() if not _is_sound(root / entry.path, entry)]
    if damaged:
        manifest.append(Removed(removed=[entry.path for entry in damaged], reason=QUARANTINE, removed_ns=now_ns))
    for entry in damaged:
        # Not `.parquet`: who reads all files below the store's folder must not meet it.
        path, kept = root / entry.path, root / QUARANTINE / f"{entry.path}.damaged"
        if path.exists():
            kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.rename(kept)
    return damaged


def repair_wal(root: Path, manifest: Manifest, last_id: int, now_ns: int) -> tuple[int, int]:
    """Take damaged batches out of the write-ahead part; the good ones are chained anew, the old files kept.

    Args:
        root: Folder of the store.
        manifest: Its manifest.
        last_id: The newest record that anchors know.
        now_ns: The time, ns UTC.

    Returns:
        Batches that were kept, and the id up to which records may be lost.
    """
    state = manifest.state
    paths = wal_files(root / "wal")
    good = {batch.first_id: batch for path in paths for batch in good_batches(path.read_bytes())}
    digest, end_id, content = state.digest, state.last_id, [heading(state.store_id)]
    kept = 0
    for batch in sorted(good.values(), key=attrgetter("first_id")):
        if batch.first_id > end_id:
            part, digest = chain_anew(digest, batch)
            content.append(part)
            end_id = batch.last_id
            kept += 1
    lost_id = max(end_id, last_id)
    draft = root / "wal" / "draft"
    with draft.open("wb") as file:
        file.write(b"".join(content))
        file.flush()
        os.fsync(file.fileno())
    manifest.append(Removed(removed=[], reason=QUARANTINE, removed_ns=now_ns, lost=(state.last_id + 1, lost_id)))
    folder = root / QUARANTINE / str(now_ns)
    folder.mkdir(parents=True, mode=0o700)
    for path in paths:
        path.rename(folder / path.name)
    draft.rename(root / "wal" / f"{state.last_id + 1:020}.frames")
    return kept, lost_id


def _is_sound(path: Path, entry: FileEntry) -> bool:
    return path.exists() and digest_of(path) == entry.sha256
