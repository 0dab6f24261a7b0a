"""Parquet on disk: written under another name until whole, read by row groups, each error named."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple
from urllib.parse import quote

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common.clock import NS_PER_DAY, NS_PER_S
from common.store.contract import StoreConfigError, StoreDamagedError, StoreFullError
from common.store.parquet.columns import TIMESTAMP
from common.store.parquet.manifest import FileEntry
from common.store.parquet.sealing import decryption, encryption
from common.store.parquet.tables import Part, Place, times_of, type_counts
from common.store.parquet.ticks import numbers_of, starts_of
from common.store.parquet.wal import DISK_FULL

if TYPE_CHECKING:
    from common.store.keyring import KeyRing

VERSION = 1
ROWS_PER_GROUP = 32_768  # 4 MB of ticks: what a reader of one instrument holds
NOTHING = "__HIVE_DEFAULT_PARTITION__"  # what hive, duckdb and pyarrow read as NULL
RETIRED = ".replaced"
_NAME_BYTES_MAX = 200
_KEY = b"tickpulse"


class RowGroup(msgspec.Struct, frozen=True, array_like=True):
    """Rows of a file that are read together, the records in them, and the bytes: where they end, their SHA-256."""

    first_ns: int
    last_ns: int
    first_id: int
    last_id: int
    end: int
    sha256: str


class Footer(msgspec.Struct, frozen=True):
    """What a file says about itself."""

    version: int
    store_id: str
    type: str
    exchange: str | None
    symbol: str | None
    groups: list[RowGroup]


class OpenFile(NamedTuple):
    """A file whose footer was read, and is what was written."""

    entry: FileEntry
    footer: Footer
    file: pq.ParquetFile
    path: Path
    source: pa.OSFile

    def read(self, group: int, columns: list[str] | None = None) -> pa.Table:
        """The rows of a row group.

        Raises:
            StoreDamagedError: They are not what was written.
        """
        place = f"{self.path} row group {group}"
        start, end = self.footer.groups[group - 1].end if group else 0, self.footer.groups[group].end
        try:
            if _sha256(self.source.read_at(end - start, start)) != self.footer.groups[group].sha256:
                raise StoreDamagedError(f"{place}: its bytes are not those that were written")
            return self.file.read_row_group(group, columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise StoreDamagedError(f"{place}: {_first_line(error)}") from error


class _Sink:
    """A file that is written once: its size, its digest, and the digest since the last cut."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._whole, self._part = hashlib.sha256(), hashlib.sha256()
        self.size_bytes = 0

    def write(self, content: bytes) -> None:
        """Append."""
        self._file.write(content)
        self._whole.update(content)
        self._part.update(content)
        self.size_bytes += len(content)

    def flush(self) -> None:
        """Hand it over to the disk's cache."""
        self._file.flush()

    def tell(self) -> int:
        """Where it ends."""
        return self.size_bytes

    def close(self) -> None:
        """Leave it to who opened it."""

    def cut(self) -> tuple[int, str]:
        """Where it ends, and the SHA-256 of what came since the last call."""
        part, self._part = self._part, hashlib.sha256()
        return self.size_bytes, part.hexdigest()

    @property
    def sha256(self) -> str:
        """Of all of it."""
        return self._whole.hexdigest()


def folder_of(place: Place, day: int) -> str:
    """`date=…/exchange=…/type=…/symbol=…`, as duckdb and pyarrow read it."""
    date = datetime.fromtimestamp(day * (NS_PER_DAY // NS_PER_S), UTC).date().isoformat()
    return f"date={date}/exchange={_word(place.exchange)}/type={place.type}/symbol={_word(place.symbol)}"


def write_part(
    root: Path, part: Part, store_id: str, number: int, token: str, ring: "KeyRing | None" = None
) -> FileEntry:
    """Write a part as a draft; `publish` gives it its name, and it counts once the manifest names it.

    Args:
        root: Folder of the store.
        part: Sorted rows.
        store_id: Whose records these are.
        number: Number of the manifest entry that will name it: it makes the name unique, and tells what a crash left.
        token: A word of the writer's life, which no other life's drafts have in their names.
        ring: What it is sealed with, if it is.

    Raises:
        StoreFullError: The disk is full.
    """
    place, table = part.place, part.table
    times, ids = part.times(), numbers_of(table["id"])
    starts = starts_of(ids)
    cuts = _cuts(starts, len(ids))
    ranges = list(pairwise(cuts))
    first_id, last_id = int(ids.min()), int(ids.max())
    path = f"{folder_of(place, part.day)}/{first_id}-{last_id}.{number}.parquet"
    temporary = _draft_of(root / path, token)

    def footer_of(ends: list[tuple[int, str]]) -> Footer:
        groups = [
            RowGroup(
                int(times[start]), int(times[stop - 1]), int(ids[start:stop].min()), int(ids[start:stop].max()), *end
            )
            for (start, stop), end in zip(ranges, ends, strict=True)
        ]
        return Footer(VERSION, store_id, place.type, place.exchange, place.symbol, groups)

    try:
        temporary.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        sink, footer_at, footer_sha256 = _write(temporary, table, footer_of, ranges, encryption(ring))
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in DISK_FULL:
            raise StoreFullError(f"{root / path}: {error.strerror}; make room") from error
        raise
    return FileEntry(
        path=path,
        type=place.type,
        exchange=place.exchange,
        symbol=place.symbol,
        day=part.day,
        rows=table.num_rows,
        types=type_counts(place.type, table),
        first_id=first_id,
        last_id=last_id,
        first_ns=int(times[0]),
        last_ns=int(times[-1]),
        size_bytes=sink.size_bytes,
        sha256=sink.sha256,
        footer_at=footer_at,
        footer_sha256=footer_sha256,
    )


def publish(root: Path, entries: Iterable[FileEntry], token: str) -> None:
    """Give drafts the names that the manifest will name, safe against the loss of power."""
    paths = [root / entry.path for entry in entries]
    for path in paths:
        _draft_of(path, token).rename(path)
    for folder in {path.parent for path in paths}:
        _sync_folder(folder)


def _draft_of(path: Path, token: str) -> Path:
    return path.with_name(f"{path.name}.{token}.tmp")


def open_file(root: Path, entry: FileEntry, store_id: str, ring: "KeyRing | None" = None) -> OpenFile:
    """Open a file that the manifest names.

    Raises:
        StoreDamagedError: It is missing, no Parquet, cut, or of another store.
        StoreConfigError: It is of a newer version, or may not be read.
        MissingKeyError: It is sealed with a key that is not in the ring, or there is no ring.
    """
    path = root / entry.path
    try:
        source = pa.OSFile(str(path))
        if source.size() != entry.size_bytes:
            what = f"expected a whole Parquet file of {entry.size_bytes} bytes, was one of {source.size()}"
            raise StoreDamagedError(f"{path}: {what}")
        if _sha256(source.read_at(entry.size_bytes - entry.footer_at, entry.footer_at)) != entry.footer_sha256:
            raise StoreDamagedError(f"{path}: its footer is not what was written")
        file = pq.ParquetFile(source, decryption_properties=decryption(ring, path))
        footer = msgspec.json.decode((file.metadata.metadata or {}).get(_KEY, b""), type=Footer)
    except PermissionError as error:
        raise StoreConfigError(f"{path}: expected a readable file, {error.strerror}") from error
    except FileNotFoundError as error:
        raise StoreDamagedError(f"{path}: it is missing") from error
    except (pa.ArrowException, OSError) as error:
        raise StoreDamagedError(f"{path}: expected a whole Parquet file, {_first_line(error)}") from error
    except msgspec.DecodeError as error:
        raise StoreDamagedError(f"{path}: expected a file of this store, its footer has no {_KEY.decode()}") from error
    if footer.version > VERSION:
        raise StoreConfigError(f"{path}: version {footer.version}, this program reads up to {VERSION}; upgrade it")
    if footer.store_id != store_id:
        raise StoreDamagedError(f"{path}: expected a file of store {store_id}, was of {footer.store_id}")
    return OpenFile(entry, footer, file, path, source)


def place_of(entry: FileEntry) -> Place:
    """What a file holds."""
    return Place(entry.type, entry.exchange, entry.symbol)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sub_table(table: pa.Table, name: str, from_ns: int, to_ns: int) -> pa.Table:
    """Rows of records in a range of time; they are sorted by it."""
    start, end = np.searchsorted(times_of(name, table), [from_ns, to_ns], "left").tolist()
    return table if end - start == table.num_rows else table.slice(start, end - start)


def _write(
    path: Path,
    table: pa.Table,
    footer_of: Callable[[list[tuple[int, str]]], Footer],
    ranges: list[tuple[int, int]],
    sealing: object | None,
) -> tuple[_Sink, int, str]:
    """Write and sync; return what was written, where its footer begins, and the footer's SHA-256."""
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    # Numbers and times that rise step by step: half the size, and quicker, as differences.
    numbers = [field.name for field in table.schema if field.type in {pa.int64(), TIMESTAMP}]
    ends: list[tuple[int, str]] = []
    with path.open("wb") as file:
        sink = _Sink(file)
        with pq.ParquetWriter(
            sink,
            table.schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=texts,
            column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
            write_page_checksum=True,
            encryption_properties=sealing,
        ) as writer:
            for start, end in ranges:
                writer.write_table(table.slice(start, end - start), row_group_size=end - start)
                ends.append(sink.cut())
            # In the footer, since a reader that knows it whole knows by it that the row groups are.
            writer.add_key_value_metadata({_KEY: msgspec.json.encode(footer_of(ends))})
        file.flush()
        os.fsync(file.fileno())
    return sink, ends[-1][0], sink.cut()[1]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _cuts(starts: np.ndarray, rows: int) -> list[int]:
    """Where row groups begin and end: about `ROWS_PER_GROUP` apart, never within a group of ticks."""
    marks = np.searchsorted(starts, np.arange(ROWS_PER_GROUP, rows, ROWS_PER_GROUP))
    inner = {int(starts[mark]) for mark in marks if mark < len(starts)}
    return sorted({0, rows} | inner)


def _word(text: str | None) -> str:
    if text is None:
        return NOTHING
    if not text:
        return "__EMPTY__"
    word = quote(text, safe="")
    if len(word) > _NAME_BYTES_MAX:
        # The footer has the whole name.
        word = word[:_NAME_BYTES_MAX].rsplit("%", 1)[0] + hashlib.sha256(text.encode()).hexdigest()[:16]
    return word


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def retire(root: Path, paths: Iterable[str]) -> None:
    """Rename files that others replaced: readers that began before find them, and `*.parquet` no longer does."""
    for path in paths:
        (root / path).rename(root / f"{path}{RETIRED}")


def remove(root: Path, paths: Iterable[str]) -> None:
    """Delete files, retired or not, and folders that are empty then."""
    for path in paths:
        (root / path).unlink(missing_ok=True)
        (root / f"{path}{RETIRED}").unlink(missing_ok=True)
        for folder in list((root / path).parents)[:4]:
            try:
                folder.rmdir()
            except OSError:
                break


def leftovers(root: Path, number: int) -> Iterator[Path]:
    """What a crash left: temporary files, and files of an entry that was not written."""
    yield from root.glob("date=*/exchange=*/type=*/symbol=*/*.tmp")
    yield from root.glob(f"date=*/exchange=*/type=*/symbol=*/*.{number}.parquet")


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]
