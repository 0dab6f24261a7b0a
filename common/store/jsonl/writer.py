"""Appending to a folder of segments: one writer, one write a batch, rotation, and the tail that a crash tore."""

import os
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from common.clock import NS_PER_DAY, SystemClock
from common.events.base import Message
from common.run_directory import Lock, replace_file
from common.store.anchors import Anchors, open_anchors
from common.store.chain import first_link, next_link
from common.store.config import StoreConfig
from common.store.contract import CannotVerifyError, StoreConfigError, StoreFullError
from common.store.json_messages import encode_messages
from common.store.jsonl.index import BLOCK_RECORDS, Block, next_block, summarise, topic_of, topic_text, write_line
from common.store.jsonl.lines import FORMAT, Header, encode_header, recorded_ns_of, split_line
from common.store.jsonl.reading import Reader
from common.store.jsonl.sealing import seal_message
from common.store.jsonl.segments import View, numbers_in, open_view, quarantine_of, segment_path, sidecar_of
from common.store.quarantine import keep_tail
from common.store.record import Record
from common.store.sealing import UNSEALED_TYPES
from common.store.writing import require_room, take_lock

if TYPE_CHECKING:
    from common.store.keyring import KeyRing

_LOCK_NAME = "writer.lock"


class _Chunk(NamedTuple):
    """Lines that go into one block."""

    data: bytes
    ids: Sequence[int]
    messages: Sequence[Message]
    digest: bytes


class Writer:
    """The one that writes to a store."""

    def __init__(self, folder: Path, config: StoreConfig, ring: "KeyRing | None" = None) -> None:
        """Open a store, or make one.

        Raises:
            StoreConfigError: Another process writes it, or the folder cannot be written or is of another kind.
        """
        self.folder = folder
        self._config = config
        self._ring = ring
        self._now_ns = SystemClock().now_ns
        self._file = self._sidecar = -1
        self._unsynced: list[int] = []
        self.store_id, self.number, self.last_id, self.digest = "", 0, 0, b""
        self._block = Block(offset=0, line=2, previous="")
        self._blocks: list[Block] = []
        self._begin_offset = 0
        self._day: int | None = None  # UTC, of the records in the segment
        self._lock = _lock(folder, self._now_ns())
        try:
            self._open()
        except OSError as error:
            self._give_back()
            raise StoreConfigError(
                f"store {folder}: expected a folder that this user can write, {error.strerror}"
            ) from error
        except BaseException:
            self._give_back()
            raise

    def write_batch(self, first_id: int, recorded_ns: int, messages: Sequence[Message]) -> None:
        """Append messages of one time under consecutive ids.

        Raises:
            StoreFullError: There is no room; nothing of it is recorded.
        """
        self._turn_page(recorded_ns)
        self._append(range(first_id, first_id + len(messages)), repeat(recorded_ns), messages)

    def write_records(self, records: Sequence[Record]) -> None:
        """Append records whose ids rise, each with its own time.

        Raises:
            StoreFullError: There is no room. What went into segments before the one that is full is recorded.
        """
        for part in _days(records):
            self._turn_page(part[0].recorded_ns)
            self._append(
                [record.id for record in part],
                (record.recorded_ns for record in part),
                [record.message for record in part],
            )

    def flush(self) -> None:
        """Make everything safe against the loss of power."""
        for descriptor in self._unsynced:
            os.fsync(descriptor)
            os.close(descriptor)
        if self._unsynced:
            _sync_folder(self.folder)
        self._unsynced.clear()
        os.fdatasync(self._file)
        self.anchors.sync()

    def begin_segment(self) -> None:
        """Complete the segment and begin the next one.

        Raises:
            StoreFullError: There is no room for it; the one before goes on.
        """
        number = self.number + 1
        try:
            descriptor, size = _create(self.folder, number, self.store_id, self.digest)
        except OSError as error:
            raise self._full(error) from error
        self._seal()
        self._unsynced.append(self._file)
        self._begin(descriptor, number, Block(offset=size, line=2, previous=self.digest.hex(), last_id=self.last_id))

    def close(self) -> None:
        """Flush and give the files back. Safe to repeat."""
        if self._file >= 0:
            self.flush()
        self._give_back()

    def _append(self, ids: Sequence[int], times: Iterator[int], messages: Sequence[Message]) -> None:
        require_room(self.folder, self.folder, self._config.clear_of_disk_bytes)
        chunks = list(self._encode(ids, times, messages))
        size = self._block.end
        data = chunks[0].data if len(chunks) == 1 else b"".join([chunk.data for chunk in chunks])
        try:
            _write_all(self._file, data)
            self.anchors.set(ids[-1], chunks[-1].digest, self._now_ns())
        except OSError as error:
            os.ftruncate(self._file, size)
            raise self._full(error) from error
        for chunk in chunks:
            self._enter(chunk)

    def _encode(self, ids: Sequence[int], times: Iterator[int], messages: Sequence[Message]) -> Iterator[_Chunk]:
        digest = self.digest
        for start in range(0, len(messages), BLOCK_RECORDS):
            part = messages[start : start + BLOCK_RECORDS]
            part_ids = ids[start : start + BLOCK_RECORDS]
            part_times = list(islice(times, len(part)))
            pieces: list[bytes] = []
            for record_id, recorded_ns, body in zip(
                part_ids, part_times, self._bodies(part_ids, part_times, part), strict=True
            ):
                content = b'{"id":%d,"recorded_ns":%d,%b' % (record_id, recorded_ns, body[1:-1])
                digest = next_link(digest, content)
                pieces += (content, b',"digest":"', digest.hex().encode(), b'"}\n')
            yield _Chunk(b"".join(pieces), part_ids, part, digest)

    def _bodies(self, ids: Sequence[int], times: Sequence[int], messages: Sequence[Message]) -> list[bytes]:
        bodies = encode_messages(messages)
        if self._ring is None:
            return bodies
        sealer, store_id = self._ring.sealer(), self.store_id
        return [
            body
            if type(message) in UNSEALED_TYPES
            else seal_message(sealer, store_id, record_id, recorded_ns, message, body)
            for record_id, recorded_ns, message, body in zip(ids, times, messages, bodies, strict=True)
        ]

    def _enter(self, chunk: _Chunk) -> None:
        """Count what was written; from here on nothing can fail but the sidecar, which can be built anew."""
        topics = Counter(map(topic_of, chunk.messages))
        self._block.add(
            chunk.data,
            chunk.ids[0],
            chunk.ids[-1],
            [message.timestamp_ns for message in chunk.messages],
            Counter({topic_text(topic): count for topic, count in topics.items()}),
        )
        self.digest, self.last_id = chunk.digest, chunk.ids[-1]
        self._block.digest = chunk.digest.hex()
        if self._block.records >= BLOCK_RECORDS:
            self._end_block()

    def _end_block(self) -> None:
        self._blocks.append(self._block)
        self._write_sidecar(write_line(self._block))
        self._block = next_block(self._block)

    def _seal(self) -> None:
        """Complete the sidecar."""
        if self._block.length:
            self._end_block()
        self._write_sidecar(write_line(summarise(self._blocks, self._block.end, self.digest.hex())))

    def _write_sidecar(self, data: bytes) -> None:
        try:
            _write_all(self._sidecar, data)
        except OSError:
            return  # readers scan what it does not tell

    def _turn_page(self, recorded_ns: int) -> None:
        """Begin a new segment at midnight UTC and where this one is full."""
        day = recorded_ns // NS_PER_DAY
        is_new_day = self._day is not None and day > self._day
        is_filled = self._block.end >= self._config.segment_bytes_max
        if (is_new_day or is_filled) and self._block.end > self._begin_offset:
            self.begin_segment()
            self._day = None
        if self._day is None or is_new_day:
            self._day = day

    def _full(self, error: OSError) -> StoreFullError:
        return StoreFullError(
            f"store {self.folder}: expected to write, {error.strerror}; nothing of the batch is recorded, make room"
        )

    # Opening.

    def _open(self) -> None:
        numbers = numbers_in(self.folder)
        while numbers and _is_unborn(segment_path(self.folder, numbers[-1])):
            segment_path(self.folder, numbers.pop()).unlink()
        if not numbers:
            self._create_store()
            return
        reader = Reader(self.folder)
        self.store_id = reader.store_id
        self.anchors = self._open_anchors()
        segments = reader.segments()
        filled = [segment.summary for segment in segments if segment.summary.records]
        self.last_id = max([self._anchored_id(), *(summary.last_id for summary in filled)])
        self.digest = bytes.fromhex(filled[-1].digest) if filled else first_link(self.store_id)
        last = segments[-1]
        if last.header.segment != numbers[-1] or (
            last.summary.records == 0 and last.header.digest != self.digest.hex()
        ):
            # The newest segment is damaged: go on behind it.
            descriptor, size = _create(self.folder, numbers[-1] + 1, self.store_id, self.digest)
            self._begin(
                descriptor,
                numbers[-1] + 1,
                Block(offset=size, line=2, previous=self.digest.hex(), last_id=self.last_id),
            )
            return
        view = open_view(last.path, last.header, is_last=True)
        day = _day_of_newest(view)
        self._go_on(view)
        self._day = day

    def _create_store(self) -> None:
        self.store_id = secrets.token_hex(16)
        self.digest = first_link(self.store_id)
        self.anchors = self._open_anchors()
        self.anchors.set(0, self.digest, self._now_ns())
        descriptor, size = _create(self.folder, 1, self.store_id, self.digest)
        self._begin(descriptor, 1, Block(offset=size, line=2, previous=self.digest.hex()))

    def _go_on(self, view: View) -> None:
        """Append to a segment; what a crash left behind its last whole line is kept apart."""
        self._file = os.open(view.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        end = view.blocks[-1].end if view.blocks else len(encode_header(view.header))
        keep_tail(quarantine_of(self.folder), view.path, self._file, end, self._now_ns())
        blocks = view.blocks
        if blocks and blocks[-1].records < BLOCK_RECORDS:
            block = blocks.pop()
        else:
            block = next_block(blocks[-1]) if blocks else Block(offset=end, line=2, previous=self.digest.hex())
        content = b"".join(map(write_line, blocks))
        replace_file(sidecar_of(view.path), content)
        self._begin(self._file, view.header.segment, block, blocks)

    def _begin(self, descriptor: int, number: int, block: Block, blocks: Sequence[Block] = ()) -> None:
        self._file, self.number, self._block, self._blocks = descriptor, number, block, list(blocks)
        self._begin_offset = blocks[0].offset if blocks else block.offset
        self._day = None
        sidecar = sidecar_of(segment_path(self.folder, number))
        if self._sidecar >= 0:
            os.close(self._sidecar)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._sidecar = os.open(sidecar, flags if blocks else flags | os.O_TRUNC, 0o600)

    def _open_anchors(self) -> Anchors:
        anchors = open_anchors(self.folder, self._config, self.store_id)
        try:
            anchors.keep_head()
        except CannotVerifyError as error:
            raise StoreConfigError(str(error)) from error
        return anchors

    def _anchored_id(self) -> int:
        """An id is never given twice, also where the log's end was lost."""
        return max((anchor.last_id for anchor in self.anchors.read()), default=0)

    def _give_back(self) -> None:
        for descriptor in (self._file, self._sidecar, *self._unsynced):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._sidecar = -1
        self._unsynced.clear()
        if hasattr(self, "anchors"):
            self.anchors.close()
        self._lock.release()


def _day_of_newest(view: View) -> int | None:
    """Without the message, which may be sealed."""
    for block in reversed(view.blocks):
        lines = os.pread(view.descriptor, block.length, block.offset).splitlines()
        parts = split_line(lines[-1]) if lines else None
        if parts is not None:
            return recorded_ns_of(parts.content) // NS_PER_DAY
    return None


def _days(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Cut records where a later day begins."""
    start, day = 0, records[0].recorded_ns // NS_PER_DAY if records else 0
    for index, record in enumerate(records):
        if record.recorded_ns // NS_PER_DAY > day:
            yield records[start:index]
            start, day = index, record.recorded_ns // NS_PER_DAY
    if records:
        yield records[start:]


def _lock(folder: Path, now_ns: int) -> Lock:
    if folder.exists() and not folder.is_dir():
        raise StoreConfigError(
            f"store {folder}: expected a folder of segments, was a file; a log in SQLite is sqlite:PATH"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreConfigError(
            f"store {folder}: expected a folder that this user can write, {error.strerror}"
        ) from error
    return take_lock(folder / _LOCK_NAME, folder, now_ns)


def _is_unborn(path: Path) -> bool:
    """Tell whether a crash left a segment without so much as a header."""
    return path.stat().st_size < 4096 and b"\n" not in path.read_bytes()


def _create(folder: Path, number: int, store_id: str, digest: bytes) -> tuple[int, int]:
    """Make a segment; its file and the size of its header."""
    line = encode_header(Header(format=FORMAT, store_id=store_id, segment=number, digest=digest.hex()))
    path = segment_path(folder, number)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _write_all(descriptor, line)
    except OSError:
        os.close(descriptor)
        path.unlink()
        raise
    return descriptor, len(line)


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, data[written:])


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
