"""Files that are not the store's yet: made from batches or from other files, here or in a process of its own.

Only the writer's process names files in the manifest. A draft stands under a name that no reader looks at, with a word
of its writer's life in it, so whatever a killed process goes on doing for a moment touches nothing of the next one.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from common.store.parquet.files import open_file, place_of, write_part
from common.store.parquet.manifest import Converted, FileEntry, Replaced
from common.store.parquet.tables import Part, Tables, sorted_by_time
from common.store.parquet.wal import Batch, read_batches, unsealed

if TYPE_CHECKING:
    from common.store.keyring import KeyRing

_BYTES_PER_STEP = 4 << 20
Change = Converted | Replaced


class FromBatches(msgspec.Struct, frozen=True, kw_only=True, tag="batches"):
    """Convert a write-ahead file: its batches behind record `after_id`. `anchored` are ids with an anchor."""

    path: str
    after_id: int
    anchored: list[int]


class FromFiles(msgspec.Struct, frozen=True, kw_only=True, tag="files"):
    """Merge files of one place and day."""

    files: list[FileEntry]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to make; `number` is the manifest entry's that will name the files, `token` is in the drafts' names."""

    root: str
    store_id: str
    number: int
    token: str
    key_ring: str
    work: FromBatches | FromFiles


def draft(task: Task, ring: "KeyRing | None") -> Change | None:
    """Write the files of a task; the entry that will name them, or None where there is nothing new.

    Raises:
        StoreFullError: The disk is full; nothing was lost.
        StoreDamagedError: What it is made from is not what was written.
    """
    if isinstance(task.work, FromBatches):
        return _from_batches(task, task.work, ring)
    return _from_files(task, task.work.files, ring)


def _from_batches(task: Task, work: FromBatches, ring: "KeyRing | None") -> Converted | None:
    path, anchored = Path(work.path), frozenset(work.anchored)
    tables, step, step_bytes = Tables(), [], 0
    runs: list[tuple[int, int]] = []
    points: list[tuple[int, str]] = []
    last: Batch | None = None
    for batch in read_batches(path, path.read_bytes(), task.store_id):
        if batch.first_id <= work.after_id:
            continue
        last = batch
        first_id = runs.pop()[0] if runs and runs[-1][1] == batch.first_id - 1 else batch.first_id
        runs.append((first_id, batch.last_id))
        if batch.last_id in anchored:
            points.append((batch.last_id, batch.digest.hex()))
        step.append(unsealed(batch, ring, task.store_id))
        step_bytes += len(batch.raw)
        if step_bytes >= _BYTES_PER_STEP:
            tables.add(step)
            step, step_bytes = [], 0
    if last is None:
        return None
    tables.add(step)
    files = [_write(task, part, ring) for part in tables.parts()]
    return Converted(files=files, last_id=last.last_id, digest=last.digest.hex(), runs=runs, points=points)


def _from_files(task: Task, files: list[FileEntry], ring: "KeyRing | None") -> Replaced:
    tables = []
    for entry in files:
        file = open_file(Path(task.root), entry, task.store_id, ring)
        tables += [file.read(index).replace_schema_metadata() for index in range(len(file.footer.groups))]
    place = place_of(files[0])
    merged = Part(place, files[0].day, sorted_by_time(place.type, pa.concat_tables(tables)))
    return Replaced(files=[_write(task, merged, ring)], replaced=[entry.path for entry in files])


def _write(task: Task, part: Part, ring: "KeyRing | None") -> FileEntry:
    return write_part(Path(task.root), part, task.store_id, task.number, task.token, ring)
