"""Parquet on disk: written under another name until whole, read by row groups, each error named."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common.clock import NS_PER_DAY, NS_PER_S
from common.store.contract import StoreConfigError, StoreDamagedError, StoreFullError
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
_NAME_BYTES_MAX = 200
_KEY = b"tickpulse"


class RowGroup(msgspec.Struct, frozen=True, array_like=True):
    """Rows of a file that are read together, and the records in them."""

    first_ns: int
    last_ns: int
    first_id: int
    last_id: int


class Footer(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says about itself."""

    version: int
    store_id: str
    type: str
    exchange: str | None
    symbol: str | None
    groups: list[RowGroup]


class OpenFile(NamedTuple):
    """A file whose footer was read."""

    entry: FileEntry
    footer: Footer
    file: pq.ParquetFile
    path: Path

    def read(self, group: int, columns: list[str] | None = None) -> pa.Table:
        """The rows of a row group.

        Raises:
            StoreDamagedError: They are not what was written.
        """
        try:
            return self.file.read_row_group(group, columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise StoreDamagedError(f"{self.path} row group {group}: {_first_line(error)}") from error


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
    groups = [
        RowGroup(int(times[start]), int(times[end - 1]), int(ids[start:end].min()), int(ids[start:end].max()))
        for start, end in ranges
    ]
    footer = Footer(
        version=VERSION, store_id=store_id, type=place.type, exchange=place.exchange, symbol=place.symbol, groups=groups
    )
    first_id, last_id = int(ids.min()), int(ids.max())
    path = f"{folder_of(place, part.day)}/{first_id}-{last_id}.{number}.parquet"
    temporary = _draft_of(root / path, token)
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        size_bytes, sha256 = _write(temporary, table, footer, ranges, encryption(ring))
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
        size_bytes=size_bytes,
        sha256=sha256,
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
        file = pq.ParquetFile(path, page_checksum_verification=True, decryption_properties=decryption(ring, path))
        metadata = (file.schema_arrow.metadata or {}).get(_KEY, b"")
        footer = msgspec.json.decode(metadata, type=Footer)
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
    return OpenFile(entry, footer, file, path)


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
    path: Path, table: pa.Table, footer: Footer, ranges: list[tuple[int, int]], sealing: object | None
) -> tuple[int, str]:
    """Write and sync; return size and SHA-256."""
    schema = table.schema.with_metadata({_KEY: msgspec.json.encode(footer)})
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    with path.open("wb") as file:
        with pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=texts,
            write_page_checksum=True,
            encryption_properties=sealing,
        ) as writer:
            for start, end in ranges:
                writer.write_table(table.slice(start, end - start).cast(schema), row_group_size=end - start)
        file.flush()
        os.fsync(file.fileno())
        size_bytes = file.tell() if not file.closed else path.stat().st_size
    return size_bytes, digest_of(path)


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


def remove(root: Path, paths: list[str]) -> None:
    """Delete files, and folders that are empty then."""
    for path in paths:
        (root / path).unlink(missing_ok=True)
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
