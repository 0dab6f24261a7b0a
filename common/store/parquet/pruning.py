"""What retention lets go, in whole files: a file is one type of one instrument and day, so little is left to thin."""

from operator import attrgetter
from pathlib import Path

from common.store.parquet.files import remove
from common.store.parquet.manifest import FileEntry, Manifest, Removed, State
from common.store.parquet.tables import count_types
from common.store.retention import Part, Policy, Pruning, plan


def choose(state: State, policy: Policy, now_ns: int) -> list[FileEntry]:
    """The files that go, oldest first; the newest one stays whatever the policy."""
    entries = sorted(state.files.values(), key=attrgetter("day", "first_id"))
    parts = [
        Part(
            name=entry.path,
            size_bytes=entry.size_bytes,
            first_ns=entry.first_ns,
            last_ns=entry.last_ns,
            records_of_type=entry.types,
        )
        for entry in entries
    ]
    return [state.files[cut.name] for cut in plan(parts, policy, now_ns) if cut.is_whole]


def pruning_of(entries: list[FileEntry]) -> Pruning:
    """What goes, as figures."""
    return Pruning(
        records_of_type=count_types(entry.types for entry in entries),
        parts=[entry.path for entry in entries],
        size_bytes=sum(entry.size_bytes for entry in entries),
    )


def take_out(root: Path, manifest: Manifest, entries: list[FileEntry], now_ns: int) -> None:
    """Remove files; the manifest keeps what they were."""
    paths = [entry.path for entry in entries]
    manifest.append(Removed(removed=paths, reason="retention", removed_ns=now_ns))
    remove(root, paths)
