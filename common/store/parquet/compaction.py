"""Few files from many: small ones of one place and day become one, while readers go on with the old ones."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from operator import attrgetter
from pathlib import Path

import pyarrow as pa

from common.store.parquet.files import open_file, place_of, remove, write_part
from common.store.parquet.manifest import FileEntry, Manifest, Replaced, State
from common.store.parquet.tables import Part, Place, sorted_by_time

ROWS_MAX = 1 << 21  # of a file: 200 MB of ticks while they are merged


def compact(root: Path, manifest: Manifest, files_min: int = 2, bytes_max: int = 256 << 20) -> int:
    """Merge files wherever `files_min` or more small ones lie side by side; return how many were replaced.

    Files that were replaced by the compaction before are deleted now: no reader needs them any longer.

    Raises:
        StoreDamagedError: A file is not what was written; nothing of its place was changed.
        StoreFullError: The disk is full.
    """
    remove(root, manifest.state.replaced)
    count = 0
    for group in _groups(manifest.state.files.values(), files_min, bytes_max):
        tables = []
        for entry in group:
            file = open_file(root, entry, manifest.state.store_id, manifest.ring)
            tables += [file.read(index).replace_schema_metadata() for index in range(len(file.footer.groups))]
        place = place_of(group[0])
        table = sorted_by_time(place.type, pa.concat_tables(tables))
        number = len(manifest.state.links)
        merged = write_part(root, Part(place, group[0].day, table), manifest.state.store_id, number, manifest.ring)
        manifest.append(Replaced(files=[merged], replaced=[entry.path for entry in group]))
        count += len(group)
    return count


def is_due(state: State, files_max: int) -> bool:
    """Tell whether some place has more files of a day than that."""
    counts = Counter((place_of(entry), entry.day) for entry in state.files.values())
    return max(counts.values(), default=0) > files_max


def _groups(entries: Iterable[FileEntry], files_min: int, bytes_max: int) -> Iterator[list[FileEntry]]:
    """Files of one place and day, in the order of time, that together are not too large."""
    by_folder: dict[tuple[Place, int], list[FileEntry]] = defaultdict(list)
    for entry in sorted(entries, key=attrgetter("first_ns", "first_id")):
        by_folder[place_of(entry), entry.day].append(entry)
    for found in by_folder.values():
        group: list[FileEntry] = []
        for entry in found:
            rows, size_bytes = (sum(getattr(other, name) for other in group) for name in ("rows", "size_bytes"))
            if group and (rows + entry.rows > ROWS_MAX or size_bytes + entry.size_bytes > bytes_max):
                if len(group) >= files_min:
                    yield group
                group = []
            group.append(entry)
        if len(group) >= files_min:
            yield group
