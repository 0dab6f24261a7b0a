"""Which files a store consists of, as a chained log of changes: `manifest.jsonl`, appended to, never rewritten.

A line is an entry and the link that chains it to all before it. What was replaced or removed stays named, so removal
leaves its proof.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from common.store.chain import first_link, next_link
from common.store.contract import StoreConfigError, StoreDamagedError, StoreFullError
from common.store.parquet.wal import DISK_FULL

if TYPE_CHECKING:
    from common.store.keyring import KeyRing

NAME = "manifest.jsonl"
VERSION = 1


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A Parquet file: where it is, what it holds, and what its bytes are. Times are of records, ns UTC.

    Its footer, from byte `footer_at` on, has the digests of what lies before: so whoever reads a part reads no change.
    """

    path: str
    type: str
    exchange: str | None
    symbol: str | None
    day: int
    rows: int
    # Records of each type by name: groups of ticks are filed with the single ones.
    types: dict[str, int]
    first_id: int
    last_id: int
    first_ns: int
    last_ns: int
    size_bytes: int
    sha256: str
    footer_at: int
    footer_sha256: str

    @property
    def records(self) -> int:
        """Records in it."""
        return sum(self.types.values())


class Began(msgspec.Struct, frozen=True, kw_only=True, tag="began"):
    """The first line: which store this is."""

    version: int
    store_id: str


class Converted(msgspec.Struct, frozen=True, kw_only=True, tag="converted"):
    """A part of the write-ahead log became these files.

    `digest` is where the chain stood after its last record; `points` where it stood at others that anchors name.
    `runs` are the ids: pairs of first and last.
    """

    files: list[FileEntry]
    last_id: int
    digest: str
    runs: list[tuple[int, int]]
    points: list[tuple[int, str]]


class Replaced(msgspec.Struct, frozen=True, kw_only=True, tag="replaced"):
    """The same records stand in other files now."""

    files: list[FileEntry]
    replaced: list[str]


class Removed(msgspec.Struct, frozen=True, kw_only=True, tag="removed"):
    """Records that are gone: by retention, or because they were damaged and moved to quarantine.

    `lost` are the ids that were in no file yet, first and last: what anchors say of them holds no more.
    """

    removed: list[str]
    reason: str
    removed_ns: int
    lost: tuple[int, int] | None = None


Entry = Began | Converted | Replaced | Removed


class _Line(msgspec.Struct):
    entry: msgspec.Raw
    link: str


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_entry = msgspec.json.Decoder(Entry).decode
_encode = msgspec.json.Encoder().encode


class State:
    """What the entries amount to."""

    def __init__(self) -> None:
        self.store_id = ""
        self.files: dict[str, FileEntry] = {}
        self.replaced: list[str] = []  # their records are in others; readers may still have them open
        self.removals: list[tuple[Removed, list[FileEntry]]] = []
        self.runs: list[tuple[int, int]] = []
        self.last_id = 0
        self.digest = b""
        self.points: dict[int, bytes] = {}
        self.links: list[bytes] = []
        self.size_bytes = 0  # of the whole lines that were read

    @property
    def link(self) -> bytes:
        """Where the chain of entries stands."""
        return self.links[-1] if self.links else first_link("manifest")

    def learn(self, entry: Entry) -> None:
        """Take in the next entry."""
        match entry:
            case Began():
                self.store_id = entry.store_id
                self.digest = first_link(entry.store_id)
            case Converted():
                self._add(entry.files)
                self.last_id, self.digest = entry.last_id, bytes.fromhex(entry.digest)
                self.points.update({record_id: bytes.fromhex(digest) for record_id, digest in entry.points})
                self.points[entry.last_id] = self.digest
                for first, last in entry.runs:
                    self._add_run(first, last)
            case Replaced():
                self._drop(entry.replaced)
                self.replaced += entry.replaced
                self._add(entry.files)
            case Removed():
                self.removals.append((entry, self._drop(entry.removed)))

    def _add(self, files: list[FileEntry]) -> None:
        self.files.update({file.path: file for file in files})

    def _drop(self, paths: list[str]) -> list[FileEntry]:
        return [self.files.pop(path) for path in paths if path in self.files]

    def _add_run(self, first: int, last: int) -> None:
        if self.runs and self.runs[-1][1] == first - 1:
            first = self.runs.pop()[0]
        self.runs.append((first, last))


class Manifest:
    """The file of one store. Any number of readers follow it; one writer appends."""

    def __init__(self, folder: Path, ring: "KeyRing | None" = None) -> None:
        """Prepare; nothing is read yet. `ring` is what its files are sealed with."""
        self.ring = ring
        self.path = folder / NAME
        self.state = State()

    def read(self) -> State:
        """The newest state; only what was appended since the last call is read.

        Raises:
            StoreConfigError: There is no manifest, it may not be read, or is of a newer version.
            StoreDamagedError: A line was changed, removed or swapped.
        """
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self.state.size_bytes:
                    raise StoreDamagedError(f"{self.path}: it was longer before; restore it or take a copy")
                file.seek(self.state.size_bytes)
                content = file.read()
        except FileNotFoundError:
            raise StoreConfigError(f"{self.path}: there is no Parquet store here; a writer makes one") from None
        except OSError as error:
            raise StoreConfigError(f"{self.path}: expected a readable file, {error.strerror}") from error
        for entry, link, size in self._entries(content):
            if isinstance(entry, Began) and entry.version > VERSION:
                raise StoreConfigError(
                    f"{self.path}: version {entry.version}, this program reads up to {VERSION}; upgrade it"
                )
            self.state.learn(entry)
            self.state.links.append(link)
            self.state.size_bytes += size
        return self.state

    def append(self, entry: Entry) -> None:
        """Add an entry, safe against the loss of power when this returns.

        Raises:
            StoreFullError: The disk is full; nothing was added.
        """
        content = _encode(entry)
        link = next_link(self.state.link, content)
        line = b'{"entry":%b,"link":"%b"}\n' % (content, link.hex().encode())
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, self.state.size_bytes)  # what a crash has torn
            written = os.write(descriptor, line)
            while written < len(line):
                written += os.write(descriptor, line[written:])
            os.fsync(descriptor)
        except OSError as error:
            os.ftruncate(descriptor, self.state.size_bytes)
            if error.errno in DISK_FULL:
                raise StoreFullError(f"{self.path}: {error.strerror}; make room") from error
            raise
        finally:
            os.close(descriptor)
        self.state.learn(entry)
        self.state.links.append(link)
        self.state.size_bytes += len(line)

    def _entries(self, content: bytes) -> Iterator[tuple[Entry, bytes, int]]:
        link, number = self.state.link, len(self.state.links)
        for line in content.splitlines(keepends=True):
            number += 1
            if not line.endswith(b"\n"):
                return  # being written, or torn by a crash
            try:
                parsed = _decode_line(line)
                link = next_link(link, bytes(parsed.entry))
                if link.hex() != parsed.link:
                    raise StoreDamagedError(
                        f"{self.path} line {number}: it does not follow on the lines before it: "
                        "something was changed, removed, swapped or inserted; get_events gives what they name, "
                        "and other tools read the Parquet files"
                    )
                entry = _decode_entry(parsed.entry)
            except msgspec.DecodeError as error:
                raise StoreDamagedError(f"{self.path} line {number}: {error}") from error
            yield entry, link, len(line)
