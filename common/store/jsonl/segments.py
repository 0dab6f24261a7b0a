"""The segments of a folder as a reader sees them, also while another process writes to the last one."""

import os
import weakref
import zlib
from collections.abc import Callable, Iterable
from itertools import repeat
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from common.errors import InvalidValueError
from common.events.registry import RETIRED_TYPES_BY_NAME
from common.run_directory import replace_file
from common.store.contract import StoreConfigError, StoreDamagedError
from common.store.json_messages import decode_messages
from common.store.jsonl.index import (
    BLOCK_RECORDS,
    Block,
    Summary,
    next_block,
    read_blocks,
    read_pieces,
    read_summary,
    scan,
    summarise,
    write_line,
)
from common.store.jsonl.lines import FORMAT, Header, decode_places, encode_header, split_line
from common.store.jsonl.sealing import unseal_lines
from common.store.record import Record
from common.store.selection import Selection, names_of

if TYPE_CHECKING:
    from common.store.keyring import KeyRing

HEADER_BYTES_MAX = 4096
_SCANNED_BLOCKS_MAX = 4  # more than that is read from the sidecar sooner than scanned


class View:
    """A segment as it was at one moment: an open file and its blocks. What is removed meanwhile stays readable."""

    def __init__(self, path: Path, header: Header, descriptor: int, blocks: list[Block], size: int) -> None:
        self.path = path
        self.header = header
        self.descriptor = descriptor
        self.blocks = blocks
        self.summary = summarise(blocks, size, header.digest)
        weakref.finalize(self, os.close, descriptor)


class Listed(NamedTuple):
    """A segment in the folder: its file, its header, and what is in it."""

    path: Path
    header: Header
    summary: Summary


def segment_path(folder: Path, number: int) -> Path:
    """Where a segment lies."""
    return folder / f"{number:08}.jsonl"


def sidecar_of(path: Path) -> Path:
    """The index of a segment."""
    return path.with_suffix(".index")


def quarantine_of(folder: Path) -> Path:
    """Where what is damaged is kept."""
    return folder / "quarantine"


def numbers_in(folder: Path) -> list[int]:
    """The numbers of the segments of a folder, lowest first.

    Raises:
        StoreConfigError: It cannot be read, or is no store.
    """
    try:
        names = [path.name for path in os.scandir(folder)]
    except OSError as error:
        raise StoreConfigError(
            f"store {folder}: expected a folder of segments that this user can read, {error.strerror}"
        ) from error
    return sorted(int(name[:8]) for name in names if len(name) == 14 and name.endswith(".jsonl") and name[:8].isdigit())


def read_header(path: Path) -> Header | None:
    """The header of a segment; None while it has none yet.

    Raises:
        StoreConfigError: It cannot be read, or is of a newer version.
        StoreDamagedError: Its first line is no header.
    """
    try:
        with path.open("rb") as file:
            line = file.readline(HEADER_BYTES_MAX)
    except OSError as error:
        raise StoreConfigError(f"{path}: expected a file that this user can read, {error.strerror}") from error
    if not line.endswith(b"\n") and len(line) < HEADER_BYTES_MAX:
        return None
    try:
        version = msgspec.json.decode(line, type=_Version)
        if version.format > FORMAT:
            raise StoreConfigError(
                f"{path}: expected format {FORMAT} or lower, was {version.format}: "
                "a newer tickpulse wrote it, use that one"
            )
        header = msgspec.json.decode(line, type=Header)
    except msgspec.DecodeError as error:
        raise StoreDamagedError(f"{path}:1: expected the header of a segment, was {line[:40]!r}") from error
    if encode_header(header) != line:
        raise StoreDamagedError(f"{path}:1: the header is not what was written")
    return header


class _Version(msgspec.Struct, tag_field="type", tag="Store.Segment.Opened.v1"):
    format: int


def open_view(path: Path, header: Header, *, is_last: bool, older: View | None = None) -> View:
    """Open a segment with its blocks; builds its index anew where that does not fit.

    Raises:
        FileNotFoundError: It was removed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        start = Block(offset=len(encode_header(header)), line=2, previous=header.digest)
        blocks = _known_blocks(path, start, status, older)
        known = len(blocks)
        if blocks and blocks[-1].records < BLOCK_RECORDS and blocks[-1].end < status.st_size:
            start = blocks.pop()
            start = Block(
                offset=start.offset,
                line=start.line,
                previous=start.previous,
                last_id=blocks[-1].last_id if blocks else 0,
            )
        elif blocks:
            start = next_block(blocks[-1])
        blocks += scan(descriptor, start, status.st_size)
        view = View(path, header, descriptor, blocks, status.st_size)
    except BaseException:
        os.close(descriptor)
        raise
    if not is_last and (known != len(blocks) or read_summary(sidecar_of(path), status.st_size) is None):
        write_sidecar(view)
    return view


def write_sidecar(view: View) -> None:
    """Write the whole index of a complete segment; who may not write here reads without it."""
    content = b"".join(map(write_line, view.blocks)) + write_line(view.summary)
    try:
        replace_file(sidecar_of(view.path), content)
    except OSError:
        return


def _known_blocks(path: Path, start: Block, status: os.stat_result, older: View | None) -> list[Block]:
    if older is not None:
        before = os.fstat(older.descriptor)
        grown = status.st_size - older.summary.size
        if before.st_ino == status.st_ino and 0 <= grown < _SCANNED_BLOCKS_MAX * BLOCK_RECORDS * 400:
            return list(older.blocks)
    blocks = read_blocks(sidecar_of(path)) or []
    offset = start.offset
    for block in blocks:
        if block.offset != offset:
            return []
        offset = block.end
    is_ours = bool(blocks) and blocks[0].previous == start.previous and offset <= status.st_size
    return blocks if is_ours else []


# Records of blocks.


class Filter:
    """A selection as blocks and lines have it."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        # A retired version may be read as a type that is asked for.
        self._names = names_of(selection) | RETIRED_TYPES_BY_NAME.keys() if selection.types else frozenset()
        self._symbol = b'"symbol":' + msgspec.json.encode(selection.symbol)
        self._exchange = b'"exchange":' + msgspec.json.encode(selection.exchange)
        self.is_all = not self._names and selection.symbol is None and selection.exchange is None

    def overlaps(self, part: Block | Summary) -> bool:
        """Tell whether a part may hold something that is asked for."""
        if part.last_ns < self.selection.from_ns or part.first_ns >= self.selection.to_ns:
            return False
        return self.is_all or any(map(self._is_topic, part.topics))

    def needles(self, topics: Iterable[str]) -> list[bytes]:
        """What the lines that may be asked for have in common, of a part with these topics; nothing where all may be.

        The rest is sorted out when they are decoded: one look at the text is far cheaper than that, but so are few.
        """
        parts = [topic.split("\t") for topic in topics]
        if self.selection.symbol is not None:
            return [self._symbol] if any(part[2] != self.selection.symbol for part in parts) else []
        if self._names:
            found = {part[0] for part in parts}
            return [b'"type":"%b"' % name.encode() for name in found & self._names] if found - self._names else []
        if self.selection.exchange is not None:
            return [self._exchange] if any(part[1] != self.selection.exchange for part in parts) else []
        return []

    def matches(self, record: Record) -> bool:
        """Tell whether a record is asked for."""
        return self.selection.matches(record.message)

    def _is_topic(self, topic: str) -> bool:
        name, _, rest = topic.partition("\t")
        exchange, symbol = self.selection.exchange, self.selection.symbol
        return (
            (not self._names or name in self._names)
            and (exchange is None or rest.startswith(f"{exchange}\t"))
            and (symbol is None or rest.endswith(f"\t{symbol}"))
        )


_ID, _RECORDED_NS = attrgetter("id"), attrgetter("recorded_ns")
IsExplained = Callable[[int], bool]


def load(
    view: View, block: Block, chosen: Filter | None, from_id: int, is_explained: IsExplained, ring: "KeyRing | None"
) -> tuple[list[Record], StoreDamagedError | None]:
    """The records of a block from an id on, and why they end before its end, if they do."""
    data = os.pread(view.descriptor, block.length, block.offset)
    if block.faults or zlib.crc32(data) != block.crc:
        return _load_carefully(view, block, chosen, from_id, is_explained, ring)
    try:
        if chosen is not None and (needles := chosen.needles(block.topics)):
            data = b"\n".join(_lines_with(data, needles))
        data = unseal_lines(data, ring, view.header.store_id)
        messages = decode_messages(data)
        places = decode_places(data)
    except (msgspec.DecodeError, InvalidValueError, StoreDamagedError):
        return _load_carefully(view, block, chosen, from_id, is_explained, ring)
    # Half of what it takes to call `Record` for each.
    fields = zip(map(_ID, places), map(_RECORDED_NS, places), messages, strict=True)
    records = list(map(tuple.__new__, repeat(Record), fields))
    if block.first_id < from_id:
        records = [record for record in records if record.id >= from_id]
    return _selected(block, records, chosen), None


def _lines_with(data: bytes, needles: list[bytes]) -> list[bytes]:
    """The lines in which one of them occurs, in their order; the others are not even cut out."""
    places: dict[int, int] = {}
    for needle in needles:
        at = data.find(needle)
        while at >= 0:
            end = data.index(b"\n", at)
            places[data.rfind(b"\n", 0, at) + 1] = end
            at = data.find(needle, end)
    return [data[start : places[start]] for start in sorted(places)]


def _selected(block: Block, records: list[Record], chosen: Filter | None) -> list[Record]:
    if chosen is None:
        return records
    selection = chosen.selection
    if chosen.is_all and selection.from_ns <= block.first_ns and block.last_ns < selection.to_ns:
        return records
    return [record for record in records if selection.matches(record.message)]


def _load_carefully(
    view: View, block: Block, chosen: Filter | None, from_id: int, is_explained: IsExplained, ring: "KeyRing | None"
) -> tuple[list[Record], StoreDamagedError | None]:
    """Line by line, up to the first that is not what was written."""
    start = Block(offset=block.offset, line=block.line, previous=block.previous, last_id=max(0, block.first_id - 1))
    faults = {}
    for part in scan(view.descriptor, start, block.end):
        faults.update({fault.line: fault for fault in part.faults})
    needles = [] if chosen is None else chosen.needles(block.topics)
    records: list[Record] = []
    line_number = block.line - 1
    for lines in read_pieces(view.descriptor, block.offset, block.end):
        for line in lines:
            line_number += 1
            fault, parts = faults.get(line_number), split_line(line)
            if (parts.id if parts else fault.id if fault else 0) < from_id:
                continue
            if fault is not None and not is_explained(fault.id):
                return records, damaged(f"{view.path}:{line_number}", fault.what)
            if needles and not any(needle in line for needle in needles):
                continue
            try:
                text = unseal_lines(line, ring, view.header.store_id)
                (message,), (place,) = decode_messages(text), decode_places(text)
            except (msgspec.DecodeError, ValueError):
                what = "expected a message type that this version knows; a newer tickpulse may read it"
                return records, damaged(f"{view.path}:{line_number}", what)
            except StoreDamagedError as error:
                return records, damaged(f"{view.path}:{line_number}", str(error))
            record = Record(place.id, place.recorded_ns, message)
            if chosen is None or chosen.matches(record):
                records.append(record)
    return records, None


def damaged(place: str, what: str) -> StoreDamagedError:
    """The error that names a damaged place and what to do about it."""
    return StoreDamagedError(
        f"{place}: {what}; what lies around it is readable. `tickpulse store verify` names all damages, "
        "`tickpulse store repair` takes them out"
    )


def types_in(topics: dict[str, int]) -> dict[str, int]:
    """Records by type name, from records by topic."""
    counts: dict[str, int] = {}
    for topic, count in topics.items():
        name = topic.partition("\t")[0]
        counts[name] = counts.get(name, 0) + count
    return dict(sorted(counts.items()))
