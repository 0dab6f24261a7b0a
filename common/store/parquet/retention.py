"""What may go: whole files, by age, by size of the store and by type; the manifest keeps what they were."""

from operator import attrgetter
from pathlib import Path
from typing import Annotated

import msgspec

from common.clock import NS_PER_DAY
from common.store.parquet.files import remove
from common.store.parquet.manifest import FileEntry, Manifest, Removed

Days = Annotated[int, msgspec.Meta(ge=1)]


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long what is kept. The newest day with records stays whatever is said here: it is the restore point."""

    days_max: Days | None = None
    size_bytes_max: Annotated[int, msgspec.Meta(ge=1)] | None = None
    # Days by type name, instead of `days_max`.
    types: dict[str, Days] = {}


def prune(root: Path, manifest: Manifest, policy: Retention, now_ns: int) -> list[FileEntry]:
    """Remove what the policy lets go, and return what that was."""
    state = manifest.state
    newest_day = max((entry.day for entry in state.files.values()), default=0)
    candidates = [entry for entry in state.files.values() if entry.day < newest_day]
    today = now_ns // NS_PER_DAY
    gone = []
    for entry in candidates:
        days = policy.types.get(entry.type, policy.days_max)
        if days is not None and entry.day <= today - days:
            gone.append(entry)
    if policy.size_bytes_max is not None:
        size_bytes = sum(entry.size_bytes for entry in state.files.values()) - sum(entry.size_bytes for entry in gone)
        for entry in sorted((entry for entry in candidates if entry not in gone), key=attrgetter("day", "first_id")):
            if size_bytes <= policy.size_bytes_max:
                break
            gone.append(entry)
            size_bytes -= entry.size_bytes
    if gone:
        paths = [entry.path for entry in gone]
        manifest.append(Removed(removed=paths, reason="retention", removed_ns=now_ns))
        remove(root, paths)
    return gone
