"""Where batches become files, and many files few: drafts are made here or beside us, then named, then they count.

The order of steps is what a crash cannot break: drafts, their own names, then the manifest's entry, which makes them
count. Whoever starts next removes files that no entry names, and goes on.
"""

from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from common.store.parquet.drafting import FromBatches, FromFiles, Task, draft
from common.store.parquet.drafting_process import DraftingProcess
from common.store.parquet.files import publish, retire
from common.store.parquet.manifest import FileEntry, Manifest

# Up to here it is quicker to do it in the writer's process, for 10 ms, than to start one that does it.
BATCH_BYTES_MAX = 4 << 20
FILE_BYTES_MAX = 1 << 20


class Workshop:
    """The one place from which files come into the manifest; for one thread."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        """Prepare; nothing is started yet."""
        self.root = root.absolute()
        self.manifest = manifest
        self._token = uuid4().hex[:8]
        self._process = DraftingProcess()

    def convert(self, path: Path, anchored: Iterable[int]) -> None:
        """Make one write-ahead file part of the manifest; it is left to the caller to remove.

        Args:
            path: The write-ahead file.
            anchored: Ids after which an anchor stands: what the chain was there is kept.

        Raises:
            StoreFullError: The disk is full; the write-ahead file still has everything.
            StoreDamagedError: The write-ahead file was changed.
        """
        after_id = self.manifest.state.last_id
        newer = sorted({record_id for record_id in anchored if record_id > after_id})
        work = FromBatches(path=str(path), after_id=after_id, anchored=newer)
        self._make(work, is_small=path.stat().st_size <= BATCH_BYTES_MAX)

    def merge(self, files: list[FileEntry]) -> None:
        """Make one file of several of one place and day.

        Raises:
            StoreDamagedError: A file is not what was written; nothing was changed.
            StoreFullError: The disk is full.
        """
        self._make(FromFiles(files=files), is_small=sum(entry.size_bytes for entry in files) <= FILE_BYTES_MAX)
        retire(self.root, [entry.path for entry in files])

    def close(self) -> None:
        """End what was started."""
        self._process.close()

    def _make(self, work: FromBatches | FromFiles, *, is_small: bool) -> None:
        manifest = self.manifest
        task = Task(
            root=str(self.root),
            store_id=manifest.state.store_id,
            number=len(manifest.state.links),
            token=self._token,
            key_ring="" if manifest.ring is None else str(manifest.ring.path),
            work=work,
        )
        change = draft(task, manifest.ring) if is_small else self._process.draft(task)
        if change is not None:
            publish(self.root, change.files, self._token)
            manifest.append(change)
