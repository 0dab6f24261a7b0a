"""Whether a store is whole: every file against its digest, every entry and batch against its chain, and the anchors.

An anchor names the newest record and binds both chains: that of the records and that of the manifest. So neither a cut
tail, nor an older copy, nor a manifest that was written anew to fit a changed file, agrees with it.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.store.anchors import Anchor, Anchors
from common.store.chain import first_link, next_link
from common.store.contract import (
    CannotVerifyError,
    Damage,
    StoreConfigError,
    StoreDamagedError,
    Verification,
)
from common.store.parquet.files import digest_of, open_file
from common.store.parquet.manifest import NAME, FileEntry, Manifest, State
from common.store.parquet.tables import Ints
from common.store.parquet.ticks import numbers_of, starts_of
from common.store.parquet.wal import check_links, read_batches, wal_files
from common.store.sealing import MissingKeyError

if TYPE_CHECKING:
    from common.store.keyring import KeyRing

IDS_PER_STEP = 1 << 22


def verify(root: Path, anchors: Anchors, ring: "KeyRing | None" = None) -> Verification:
    """Read all of a store, the write-ahead part too.

    Raises:
        CannotVerifyError: A folder or file cannot be read, or is of a newer version.
    """
    manifest = Manifest(root, ring)
    notes: list[str] = []
    # Each may only be ahead of the one before it: an anchor is set after its batch, and a batch goes after its entry.
    seen, damages = anchors.examine()
    wal = _wal_contents(root)
    try:
        state = manifest.read()
    except StoreConfigError as error:
        raise CannotVerifyError(str(error)) from error
    except StoreDamagedError as error:
        state = manifest.state
        damages.append(_damage(error))
    torn = manifest.path.stat().st_size - state.size_bytes
    if torn and not damages:
        notes.append(f"{NAME}: {torn} bytes of a line that a crash has torn, or that is being written")
    sound = []
    for entry in sorted(state.files.values(), key=attrgetter("first_id")):
        found = _check_file(root, entry, manifest)
        damages += found
        if not found:
            sound.append(entry)
    damages += _unknown_files(root)
    if len(sound) == len(state.files):
        damages += _check_ids(root, sound, manifest, notes)
    points, last_id, count, found = _check_wal(wal, state, notes)
    damages += found
    damages += _check_anchors(state, points, last_id, seen)
    for removed, entries in state.removals:
        records = sum(entry.records for entry in entries)
        notes.append(f"{records} records of {len(entries)} files removed: {removed.reason}")
        if removed.lost is not None:
            notes.append(f"records {removed.lost[0]} to {removed.lost[1]}: damaged batches were taken out")
    records = sum(entry.records for entry in sound) + count
    return Verification(records=records, last_id=last_id, damages=damages, notes=notes)


def _damage(error: Exception, entry: FileEntry | None = None) -> Damage:
    place, _, what = str(error).partition(": ")
    if entry is None:
        return Damage(place=place, what=what)
    return Damage(place=place, what=what, first_id=entry.first_id, last_id=entry.last_id)


def _wal_contents(root: Path) -> list[tuple[Path, bytes]]:
    found = []
    for path in wal_files(root / "wal"):
        try:
            found.append((path, path.read_bytes()))
        except FileNotFoundError:
            continue  # converted this moment: the manifest has it
        except OSError as error:
            raise CannotVerifyError(f"{path}: expected a readable file, {error.strerror}") from error
    return found


def _check_file(root: Path, entry: FileEntry, manifest: Manifest) -> list[Damage]:
    path = root / entry.path
    try:
        if digest_of(path) == entry.sha256:
            return []
        # Something is wrong: the row group says where, if it can.
        file = open_file(root, entry, manifest.state.store_id, manifest.ring)
        for index in range(len(file.footer.groups)):
            file.read(index)
    except FileNotFoundError:
        return [_damage(StoreDamagedError(f"{path}: it was removed"), entry)]
    except StoreDamagedError as error:
        return [_damage(error, entry)]
    except MissingKeyError:
        pass  # its digest says enough
    except (OSError, StoreConfigError) as error:
        raise CannotVerifyError(f"{path}: expected a readable file, {error}") from error
    return [_damage(StoreDamagedError(f"{path}: its bytes are not those that were written"), entry)]


def _unknown_files(root: Path) -> Iterator[Damage]:
    if not os.access(root, os.R_OK | os.X_OK):
        raise CannotVerifyError(f"{root}: expected a readable folder")
    paths = sorted(root.glob("date=*/exchange=*/type=*/symbol=*/*.parquet"))
    # Read after the folders: a writer may have gone on meanwhile.
    manifest = Manifest(root)
    with contextlib.suppress(StoreDamagedError):
        manifest.read()
    known = manifest.state.files.keys() | frozenset(manifest.state.replaced)
    next_number = f".{len(manifest.state.links)}.parquet"
    for path in paths:
        # One that is being written has the number of the next entry; one that was replaced stays for its readers.
        name = path.relative_to(root).as_posix()
        if name not in known and path.exists() and not name.endswith(next_number):
            yield Damage(place=str(path), what="it was added: the manifest does not name it")


def _check_ids(root: Path, entries: Sequence[FileEntry], manifest: Manifest, notes: list[str]) -> list[Damage]:
    try:
        return [*_id_damages(root, entries, manifest)]
    except StoreDamagedError as error:
        return [_damage(error)]
    except MissingKeyError as error:
        notes.append(f"that each record is in one file was not looked at: {error}")
        return []


def _id_damages(root: Path, entries: Sequence[FileEntry], manifest: Manifest) -> Iterator[Damage]:
    """Each id of the store in exactly one file; holes only where something was removed by an entry."""
    state = manifest.state
    removed = [entry for _, gone in state.removals for entry in gone]
    at = min((first for first, _ in state.runs), default=0)
    while at <= state.last_id:
        end = min(at + IDS_PER_STEP, state.last_id + 1)
        counts = np.zeros(end - at, np.int32)
        for entry in entries:
            if entry.first_id < end and entry.last_id >= at:
                ids = _ids_of(root, entry, manifest)
                counts += np.bincount(ids[(ids >= at) & (ids < end)] - at, minlength=end - at).astype(np.int32)
        expected = np.zeros(end - at, np.bool_)
        for first, last in state.runs:
            expected[max(first - at, 0) : max(last + 1 - at, 0)] = True
        may_miss = np.zeros(end - at, np.bool_)
        for entry in removed:
            may_miss[max(entry.first_id - at, 0) : max(entry.last_id + 1 - at, 0)] = True
        for what, wrong in (
            ("twice or more", counts > 1),
            ("in no file", expected & (counts == 0) & ~may_miss),
            ("in a file, and the manifest knows none of this id", ~expected & (counts > 0)),
        ):
            found = np.flatnonzero(wrong) + at
            if len(found):
                yield Damage(
                    place=NAME, what=f"record {found[0]} is {what}", first_id=int(found[0]), last_id=int(found[-1])
                )
        at = end


def _ids_of(root: Path, entry: FileEntry, manifest: Manifest) -> Ints:
    file = open_file(root, entry, manifest.state.store_id, manifest.ring)
    ids = [numbers_of(file.read(index, ["id"])["id"]) for index in range(len(file.footer.groups))]
    return np.concatenate([part[starts_of(part)] for part in ids])


def _check_wal(
    wal: list[tuple[Path, bytes]], state: State, notes: list[str]
) -> tuple[dict[int, bytes], int, int, list[Damage]]:
    """The chain behind the files: where it stood after each batch, the last id, and records that are in no file."""
    points, digest, last_id, count = dict(state.points), state.digest, state.last_id, 0
    points[0] = first_link(state.store_id)
    damages: list[Damage] = []
    for path, content in wal:
        end = 0
        try:
            batches = list(read_batches(path, content, state.store_id))
            end = batches[-1].end if batches else 0
            fresh = [batch for batch in batches if batch.first_id > state.last_id]
            for batch in check_links(path, iter(fresh), digest):
                digest, last_id = batch.digest, batch.last_id
                points[last_id] = digest
                count += batch.messages
        except (StoreDamagedError, StoreConfigError) as error:
            damages.append(Damage(place=str(path), what=str(error).partition(": ")[2], first_id=last_id + 1))
            continue
        if end != len(content):
            notes.append(f"{path.name}: {len(content) - end} bytes of a batch that a crash has torn")
    return points, last_id, count, damages


def _check_anchors(state: State, points: dict[int, bytes], last_id: int, anchors: Sequence[Anchor]) -> Iterator[Damage]:
    link_index = 0
    lost = [(removed.lost, removed.removed_ns) for removed, _ in state.removals if removed.lost is not None]
    for anchor in anchors:
        if any(first <= anchor.last_id <= last and anchor.anchored_ns <= at_ns for (first, last), at_ns in lost):
            continue  # of records that were repaired; the manifest and a note say so
        if anchor.last_id > last_id:
            yield Damage(
                place=NAME,
                what=f"the log ends after record {last_id}, an anchor has seen record {anchor.last_id}: "
                "its tail was cut, or an older copy restored",
                first_id=last_id + 1,
                last_id=anchor.last_id,
            )
            return
        point = points.get(anchor.last_id)
        index = None if point is None else _find_link(state.links, link_index, point, anchor.digest)
        if index is None:
            yield Damage(
                place=NAME,
                what=f"after record {anchor.last_id} the log is not what an anchor has seen: "
                "it was written anew, or an older copy restored",
                last_id=anchor.last_id,
            )
            return
        link_index = index


def _find_link(links: Sequence[bytes], start: int, point: bytes, digest: str) -> int | None:
    """The entry of the manifest that was the newest one when the anchor was set."""
    for index in range(start, len(links)):
        if next_link(point, links[index]).hex() == digest:
            return index
    return None
