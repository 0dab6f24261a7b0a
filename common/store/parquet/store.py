"""The event log as Parquet files: the contract, over a write-ahead part, a manifest and a thread between them."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from common.clock import NS_PER_S, Clock, SystemClock
from common.errors import TickpulseError
from common.events.base import Message
from common.events.market import Tick, Ticks
from common.log import get_log
from common.run_directory import Lock
from common.store.anchors import open_anchors
from common.store.arrays import TICKS_PER_ARRAY, TickArray
from common.store.chain import next_link
from common.store.config import StoreConfig
from common.store.contract import (
    CannotVerifyError,
    Stats,
    Store,
    StoreConfigError,
    StoreDamagedError,
    StoreFullError,
    Verification,
)
from common.store.parquet import compaction, pruning, recovery
from common.store.parquet.arrays import tick_arrays
from common.store.parquet.converter import Converter
from common.store.parquet.manifest import Manifest
from common.store.parquet.merge import batch_records, merge, records_by_id, records_by_time, sources
from common.store.parquet.snapshot import Snapshot, stats_of, take_snapshot
from common.store.parquet.tables import count_types
from common.store.parquet.ticks import PACKED_COLUMNS
from common.store.parquet.verification import verify
from common.store.parquet.wal import DISK_FULL, WalWriter, encode_batch
from common.store.parquet.workshop import Workshop
from common.store.record import Record
from common.store.retention import Policy, Pruning, markers_of
from common.store.sealing import open_key_ring
from common.store.selection import EVERYTHING, Selection

if TYPE_CHECKING:
    from common.store.keyring import KeyRing

T = TypeVar("T")
# A write-ahead file becomes Parquet when it is as large, or as old: 50 s at 5 k ticks/s, half a second at 500 k/s.
WAL_BYTES_MAX = 64 << 20
WAL_RECORDS_MAX = 262_144
WAL_AGE_NS_MAX = 60 * NS_PER_S
_FILES_PER_PLACE_MAX = 32  # of small ones; then they are merged


def open_store(path: Path, config: StoreConfig, is_writer: bool) -> "ParquetStore":  # as `address` calls
    """Open a store; a writer makes it where there is none.

    Raises:
        StoreConfigError: There is none, it may not be read or written, is of a newer version, or is written already.
        StoreDamagedError: Its manifest or its write-ahead part was changed.
    """
    return ParquetStore(path, config, SystemClock(), is_writer=is_writer)


class ParquetStore(Store):
    """A folder of Parquet files and what has not become one yet."""

    format = "parquet"

    def __init__(self, root: Path, config: StoreConfig, clock: Clock, *, is_writer: bool) -> None:
        """Open it; as of `open_store`."""
        self.root = root
        self._config = config
        self._clock = clock
        self._ring = open_key_ring(config)
        self._seen = Manifest(root, self._ring)
        self._writer: _Writer | None = None
        if is_writer:
            self._writer = _Writer(root, config, clock, self._ring)
        else:
            # Who verifies, or reads what lies around the damage, must get in.
            with contextlib.suppress(StoreDamagedError):
                self._snapshot()

    @property
    def last_id(self) -> int:
        if self._writer is not None:
            return self._writer.last_id
        snapshot = self._snapshot()
        return max((batch.last_id for batch in snapshot.batches()), default=snapshot.converted_id)

    def _write(self, first_id: int, recorded_ns: int, messages: Sequence[Message]) -> None:
        self._writing().write(first_id, recorded_ns, messages)

    def read(self, selection: Selection = EVERYTHING) -> Iterator[Record]:
        return records_by_time(merge(sources(self._snapshot(), selection)))

    def read_tick_arrays(
        self, selection: Selection = EVERYTHING, count_max: int = TICKS_PER_ARRAY
    ) -> Iterator[TickArray]:
        """As of `ArrayStore`."""
        ticks: frozenset[type[Message]] = frozenset({Tick, Ticks})
        types = selection.types & ticks if selection.types else ticks
        if not types:
            return iter(())
        only_ticks = Selection(
            from_ns=selection.from_ns,
            to_ns=selection.to_ns,
            types=types,
            exchange=selection.exchange,
            symbol=selection.symbol,
        )
        return tick_arrays(merge(sources(self._snapshot(), only_ticks, PACKED_COLUMNS)), count_max)

    def get_events(self, from_id: int = 1) -> Iterator[Record]:
        try:
            snapshot = self._snapshot()
        except StoreDamagedError as error:
            return self._before_damage(from_id, error)
        return records_by_id(snapshot, from_id)

    def tail(self, count: int) -> list[Record]:
        if count <= 0:
            return []
        snapshot = self._snapshot()
        newest = deque(batch_records(snapshot, snapshot.converted_id + 1), maxlen=count)
        from_id = snapshot.converted_id + 1
        step = count
        while len(newest) < count and from_id > 1:
            # Ids that retention removed leave holes, so this may take more than one step back.
            from_id, step = max(from_id - step, 1), step * 2
            newest = deque(records_by_id(snapshot, from_id), maxlen=count)
        return list(newest)

    def flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def settle(self) -> None:
        """Make Parquet files of everything that was appended, for who opens them with other tools.

        Raises:
            StoreFullError: The disk is full; what was appended is still safe.
        """
        self._writing().settle()

    def compact(self) -> int:
        """Merge the small files of each day, exchange, type and symbol; return how many were replaced.

        Raises:
            StoreDamagedError, StoreFullError: As of `compaction.compact`.
        """
        writer = self._writing()
        return writer.call(partial(compaction.compact, writer.workshop, bytes_max=self._config.segment_bytes_max))

    def prune(self, policy: Policy, now_ns: int, *, is_dry_run: bool = False) -> Pruning:
        if is_dry_run:
            return pruning.pruning_of(pruning.choose(self._seen.read(), policy, now_ns))
        writer = self._writing()
        writer.settle()
        entries = pruning.choose(writer.manifest.state, policy, now_ns)
        found = pruning.pruning_of(entries)
        if entries:
            # The log says first what goes, then it goes; what a crash leaves undone, the next pruning finds again.
            writer.tell("retention", found.records_of_type, f"{len(entries)} files", now_ns)
            writer.call(partial(pruning.take_out, self.root, writer.manifest, entries, now_ns))
        return found

    def repair(self, now_ns: int) -> list[str]:
        return self._writing().repair(now_ns)

    def verify(self) -> Verification:
        try:
            store_id = self._seen.read().store_id
        except StoreConfigError as error:
            raise CannotVerifyError(str(error)) from error
        except StoreDamagedError:
            store_id = self._seen.state.store_id  # its first lines may still tell
        return verify(self.root, open_anchors(self.root, self._config, store_id), self._ring)

    def stats(self) -> Stats:
        return stats_of(self._snapshot())

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _before_damage(self, from_id: int, error: StoreDamagedError) -> Iterator[Record]:
        """What the whole lines of a damaged manifest name, and then the error."""
        state = self._seen.state
        named = Snapshot(self.root, state, list(state.files.values()), state.last_id, [], self._ring)
        yield from records_by_id(named, from_id)
        raise error

    def _snapshot(self) -> Snapshot:
        return take_snapshot(self.root, self._seen)

    def _writing(self) -> "_Writer":
        if self._writer is None:
            raise StoreConfigError(f"store parquet:{self.root}: it was opened for reading; open it for writing")
        return self._writer


class _Writer:
    """The one process that appends."""

    def __init__(self, root: Path, config: StoreConfig, clock: Clock, ring: "KeyRing | None") -> None:
        self._root = root
        self._config = config
        self._clock = clock
        try:
            (root / "wal").mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = Lock(root / "lock")
            is_mine = self._lock.acquire(clock.now_ns())
        except OSError as error:
            raise StoreConfigError(f"store parquet:{root}: expected a folder to write, {error.strerror}") from error
        if not is_mine:
            holder = self._lock.holder()
            raise StoreConfigError(
                f"store parquet:{root}: process {holder.pid if holder else '?'} writes it already; end it first"
            )
        self.manifest = Manifest(root, ring)
        self.workshop = Workshop(root, self.manifest)
        self.last_id, self._digest = 0, b""
        self._damage: StoreDamagedError | None = None
        try:
            pending = self._recover()
        except BaseException:
            self._lock.release()
            raise
        self._wal: WalWriter | None = None
        self._full: list[WalWriter] = []  # handed over, and not safe against the loss of power yet
        self._wal_end_ns = 0
        self._is_closed = False
        self._guard = threading.RLock()
        self._converter = Converter(self._roll_if_old)
        self._converter.submit([partial(self._convert, path) for path in pending])
        self._converter.start()

    def write(self, first_id: int, recorded_ns: int, messages: Sequence[Message]) -> None:
        """Append a batch, durable against the death of the process."""
        if self._damage is not None:
            raise StoreDamagedError(f"{self._damage}; `tickpulse store repair` takes it out") from self._damage
        with self._guard:
            ring, store_id = self.manifest.ring, self.manifest.state.store_id
            sealer = None if ring is None else ring.sealer()
            pieces, digest = encode_batch(self._digest, first_id, recorded_ns, messages, sealer, store_id)
            self._check_room(sum(map(len, pieces)))
            wal = self._wal or self._begin(first_id)
            wal.write(pieces, len(messages))
            self._digest, self.last_id = digest, first_id + len(messages) - 1
            self._anchor()
            if wal.size_bytes >= WAL_BYTES_MAX or wal.records >= WAL_RECORDS_MAX:
                self._roll()

    def flush(self) -> None:
        """Make it safe against the loss of power."""
        with self._guard:
            for wal in [*self._full, self._wal]:
                if wal is not None:
                    wal.sync()
            self._anchors.sync()

    def settle(self) -> None:
        """Convert everything and wait for it."""
        with self._guard:
            self._roll()
        self._converter.settle()
        if self._converter.failure is not None:
            raise self._converter.failure

    def call(self, function: Callable[[], T]) -> T:
        """Run something that changes the manifest in the thread that does so, and wait for it."""
        outcome: Future[T] = Future()

        def run() -> None:
            try:
                outcome.set_result(function())
            except BaseException as error:  # noqa: BLE001  # the caller gets it
                outcome.set_exception(error)
            self._anchor()

        self.settle()
        self._converter.submit([run])
        return outcome.result()

    def tell(self, cause: str, records_of_type: Mapping[str, int], detail: str, now_ns: int) -> None:
        """Record in the log what was taken out of it."""
        store_id = self.manifest.state.store_id
        events = list(markers_of([], records_of_type, store_id=store_id, cause=cause, detail=detail, now_ns=now_ns))
        self.write(self.last_id + 1, now_ns, events)

    def repair(self, now_ns: int) -> list[str]:
        """Take damaged batches and files out; they are kept in quarantine."""
        done = []
        if self._damage is not None:
            done.append(str(self._damage))
            newest_id = max((anchor.last_id for anchor in self._anchors.read()), default=0)
            kept, lost_id = recovery.repair_wal(self._root, self.manifest, newest_id, now_ns)
            pending = self._recover()
            self.last_id = max(self.last_id, lost_id)  # no id is given twice
            self._converter.submit([partial(self._convert, path) for path in pending])
            done.append(f"{kept} batches after record {self.manifest.state.last_id} were kept")
            self.tell("quarantine", {}, done[0], now_ns)
        damaged = self.call(partial(recovery.quarantine, self._root, self.manifest, now_ns))
        done += [f"{entry.path}: {entry.records} records moved to {recovery.QUARANTINE}" for entry in damaged]
        if damaged:
            counts = count_types(entry.types for entry in damaged)
            self.tell("quarantine", counts, ", ".join(entry.path for entry in damaged), now_ns)
        return done

    def close(self) -> None:
        """Convert what there is and give everything back; what the disk refuses stays where it is, and is safe."""
        if self._is_closed:
            return
        self._is_closed = True
        with self._guard:
            self._roll()
        self._converter.settle()
        self._converter.end()
        for wal in self._full:
            wal.close()
        self.workshop.close()
        self._anchors.sync()
        self._anchors.close()
        self._lock.release()

    def _recover(self) -> list[Path]:
        """Find where the log goes on; with damage in its write-ahead part it does not, until it is repaired."""
        self._damage = None
        recovery.begin(self.manifest)
        self._anchors = open_anchors(self._root, self._config, self.manifest.state.store_id)
        try:
            self._anchors.keep_head()
            self.last_id, self._digest, pending = recovery.recover(self._root, self.manifest)
        except StoreDamagedError as error:
            state = self.manifest.state
            self.last_id, self._digest, self._damage, pending = state.last_id, state.digest, error, []
        except CannotVerifyError as error:
            raise StoreConfigError(str(error)) from error
        except OSError as error:
            raise StoreConfigError(f"store parquet:{self._root}: {error.strerror}: {error.filename}") from error
        return pending

    def _begin(self, first_id: int) -> WalWriter:
        path = self._root / "wal" / f"{first_id:020}.frames"
        try:
            self._wal = WalWriter(path, self.manifest.state.store_id)
        except OSError as error:
            if error.errno in DISK_FULL:
                raise StoreFullError(f"{path}: {error.strerror}; nothing of the batch was recorded") from error
            raise
        self._wal_end_ns = self._clock.monotonic_ns() + WAL_AGE_NS_MAX
        return self._wal

    def _check_room(self, size_bytes: int) -> None:
        keep = self._config.clear_of_disk_bytes
        if not keep:
            return
        disk = os.statvfs(self._root)
        if disk.f_bavail * disk.f_frsize - size_bytes < keep:
            raise StoreFullError(f"store parquet:{self._root}: less than {keep} bytes of the disk are free; make room")

    def _anchor(self) -> None:
        """Say where both chains stand. The log may be ahead of its anchor, so a disk that refuses it does no harm."""
        if self._damage is not None:
            return
        with self._guard:
            digest = next_link(self._digest, self.manifest.state.link)
            try:
                self._anchors.set(self.last_id, digest, self._clock.now_ns())
            except OSError as error:
                get_log(part="store").warning("anchor_not_set", error=str(error))

    def _roll(self) -> None:
        """Hand the write-ahead file over; the next batch begins another one."""
        wal, self._wal = self._wal, None
        if wal is not None:
            self._full.append(wal)
            self._converter.submit([partial(self._finish, wal)])

    def _finish(self, wal: WalWriter) -> None:
        """Sync first and without the guard: for a full file that takes some 50 ms, which no batch should wait for."""
        if wal in self._full:
            wal.sync()
            with self._guard:
                self._full.remove(wal)
                wal.close()
        self._convert(wal.path)

    def _roll_if_old(self) -> None:
        with self._guard:
            if self._wal is not None and self._clock.monotonic_ns() >= self._wal_end_ns:
                self._roll()

    def _convert(self, path: Path) -> None:
        self.workshop.convert(path, [anchor.last_id for anchor in self._anchors.read()])
        self._anchor()
        path.unlink(missing_ok=True)
        if not compaction.is_due(self.manifest.state, _FILES_PER_PLACE_MAX):
            return
        try:
            compaction.compact(self.workshop, _FILES_PER_PLACE_MAX, self._config.segment_bytes_max)
            self._anchor()
        except TickpulseError as error:
            # The files stay as many as they are; whoever verifies or reads meets the damage and its name.
            get_log(part="store").warning("compaction_failed", error=str(error))
