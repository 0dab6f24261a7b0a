"""Few files from many: small ones of one place and day become one, while readers go on with the old ones."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from operator import attrgetter

from common.store.parquet.files import place_of, remove
from common.store.parquet.manifest import FileEntry, State
from common.store.parquet.tables import Place
from common.store.parquet.workshop import Workshop

ROWS_MAX = 1 << 21  # of a file: 200 MB of ticks while they are merged


def compact(workshop: Workshop, files_min: int = 2, bytes_max: int = 256 << 20) -> int:
    """Merge files wherever `files_min` or more small ones lie side by side; return how many were replaced.

    Files that were replaced by the compaction before are deleted now: no reader needs them any longer.

    Raises:
        StoreDamagedError: A file is not what was written; nothing of its place was changed.
        StoreFullError: The disk is full.
    """
    state = workshop.manifest.state
    remove(workshop.root, state.replaced)
    groups = [*_groups(state.files.values(), files_min, bytes_max)]
    for group in groups:
        workshop.merge(group)
    return sum(map(len, groups))


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
