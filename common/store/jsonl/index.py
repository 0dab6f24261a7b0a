"""Where in a segment what lies: a block for each thousand records or so, so that a range read seeks and never scans.

The sidecar has a line a block, and a last one that sums them up once the segment is complete. All of it is derived:
every line carries a checksum, and whatever does not fit is built anew from the segment.
"""

import os
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from common.events.base import Message
from common.events.registry import type_name
from common.store.chain import next_link
from common.store.jsonl.lines import decode_head, decode_heads, split_line

BLOCK_RECORDS = 1_000
_PIECE_BYTES = 1 << 20
_CHECK_BYTES = 9  # a blank and the CRC-32 in hex


class Fault(msgspec.Struct, frozen=True, gc=False):
    """A line at which reading must stop, unless a hole explains it."""

    line: int
    id: int
    what: str


class Block(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True):
    """A run of lines: where they are, and what is in them. Times are ns UTC."""

    offset: int
    line: int  # number of its first line in the file
    previous: str  # where the chain stood before it
    length: int = 0
    records: int = 0
    first_id: int = 0
    last_id: int = 0
    first_ns: int = 0
    last_ns: int = 0
    crc: int = 0
    digest: str = ""
    topics: dict[str, int] = {}  # records by type, exchange and symbol, with a tab between them
    faults: list[Fault] = []

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.offset + self.length

    def add(self, data: bytes, first_id: int, last_id: int, times: Sequence[int], topics: Counter[str]) -> None:
        """Take in whole lines."""
        first_ns, last_ns = min(times), max(times)
        if not self.records:
            self.first_id, self.first_ns, self.last_ns = first_id, first_ns, last_ns
            self.topics = {}
        self.first_ns, self.last_ns = min(self.first_ns, first_ns), max(self.last_ns, last_ns)
        self.last_id = last_id
        self.records += len(times)
        self.length += len(data)
        self.crc = zlib.crc32(data, self.crc)
        for topic, count in topics.items():
            self.topics[topic] = self.topics.get(topic, 0) + count


class Summary(msgspec.Struct, kw_only=True, gc=False, tag="summary", tag_field="kind"):
    """All blocks of a segment in one, and how large it is."""

    size: int
    records: int
    first_id: int
    last_id: int
    first_ns: int
    last_ns: int
    digest: str
    topics: dict[str, int]


def topic_of(message: Message) -> tuple[type[Message], str | None, str | None]:
    """What `topics` counts a message under."""
    return type(message), getattr(message, "exchange", None), getattr(message, "symbol", None)


def topic_text(topic: tuple[type[Message], str | None, str | None]) -> str:
    """The same as text."""
    message_type, exchange, symbol = topic
    return f"{type_name(message_type)}\t{exchange or ''}\t{symbol or ''}"


def summarise(blocks: Sequence[Block], size: int, digest: str) -> Summary:
    """All blocks in one; `digest` stands for that of a segment without records."""
    topics: Counter[str] = Counter()
    for block in blocks:
        topics.update(block.topics)
    filled = [block for block in blocks if block.records]
    return Summary(
        size=size,
        records=sum(block.records for block in filled),
        first_id=filled[0].first_id if filled else 0,
        last_id=filled[-1].last_id if filled else 0,
        first_ns=min((block.first_ns for block in filled), default=0),
        last_ns=max((block.last_ns for block in filled), default=0),
        digest=filled[-1].digest if filled else digest,
        topics=dict(topics),
    )


def write_line(value: Block | Summary) -> bytes:
    """A line of the sidecar."""
    text = msgspec.json.encode(value)
    return b"%b %08x\n" % (text, zlib.crc32(text))


def read_blocks(path: Path) -> list[Block] | None:
    """The blocks of a sidecar; None where it is missing or damaged."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return None
    # The part after the last line end is a line that is being written.
    texts = [_checked(line) for line in lines[:-1]]
    if texts and texts[-1] is not None and texts[-1].startswith(b'{"kind"'):
        texts.pop()
    try:
        return [_block_decoder.decode(text or b"") for text in texts]
    except msgspec.DecodeError:
        return None


def read_summary(path: Path, size: int) -> Summary | None:
    """The last line of a sidecar, if it is of a segment of this size."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            tail_bytes = min(end, 1 << 16)
            file.seek(end - tail_bytes)
            tail = file.read().rstrip(b"\n")
    except OSError:
        return None
    text = _checked(tail[tail.rfind(b"\n") + 1 :])
    try:
        summary = _summary_decoder.decode(text or b"")
    except msgspec.DecodeError:
        return None
    return summary if summary.size == size else None


def scan(descriptor: int, start: Block, end: int) -> Iterator[Block]:
    """Build the blocks from where `start` begins up to `end`, which is the end of a line."""
    block, previous = start, bytes.fromhex(start.previous)
    for lines in read_pieces(descriptor, start.offset, end):
        for line in lines:
            previous = _scan_line(block, line, previous)
            if block.records >= BLOCK_RECORDS:
                yield block
                block = next_block(block)
    if block.length:
        yield block


def fits(block: Block, data: bytes) -> bool:
    """Tell whether a block says what is in its lines, so that nothing can hide from a range read."""
    try:
        heads = decode_heads(data)
    except msgspec.DecodeError:
        return True  # the lines are at fault, and that is told of them
    times = [head.timestamp_ns for head in heads]
    topics = Counter([(head.type, head.exchange, head.symbol) for head in heads])
    found = (len(heads), heads[0].id, heads[-1].id, min(times), max(times), zlib.crc32(data)) if heads else ()
    said = (block.records, block.first_id, block.last_id, block.first_ns, block.last_ns, block.crc)
    named = {f"{name}\t{exchange or ''}\t{symbol or ''}": count for (name, exchange, symbol), count in topics.items()}
    return found == said and named == block.topics


def next_block(block: Block) -> Block:
    """An empty one behind another."""
    lines = block.records + sum(fault.what == UNREADABLE for fault in block.faults)
    previous = block.digest or block.previous
    return Block(offset=block.end, line=block.line + lines, previous=previous, last_id=block.last_id)


def read_pieces(descriptor: int, offset: int, end: int) -> Iterator[list[bytes]]:
    """Lines without their ends, some at a time; what lies behind the last line end is not given."""
    rest = b""
    while offset < end:
        data = os.pread(descriptor, min(_PIECE_BYTES, end - offset), offset)
        if not data:
            return
        offset += len(data)
        *lines, rest = (rest + data).split(b"\n")
        yield lines


UNREADABLE = "expected a record, was something else"


def _scan_line(block: Block, line: bytes, previous: bytes) -> bytes:
    """Take one line into a block, and return where the chain stands."""
    parts = split_line(line)
    number = block.line + block.records + sum(fault.what == UNREADABLE for fault in block.faults)
    try:
        if parts is None:
            raise msgspec.DecodeError
        head = decode_head(line)
    except msgspec.DecodeError:
        block.faults = [*block.faults, Fault(number, block.last_id + 1, UNREADABLE)]
        data = line + b"\n"
        block.crc, block.length = zlib.crc32(data, block.crc), block.length + len(data)
        return b""
    if previous and next_link(previous, parts.content) != parts.digest:
        fault = Fault(number, parts.id, f"record {parts.id} does not follow the one before it, or was changed")
        block.faults = [*block.faults, fault]
    topic = f"{head.type}\t{head.exchange or ''}\t{head.symbol or ''}"
    block.add(line + b"\n", parts.id, parts.id, (head.timestamp_ns,), Counter((topic,)))
    block.digest = parts.digest.hex()
    return parts.digest


def _checked(line: bytes) -> bytes | None:
    text, check = line[:-_CHECK_BYTES], line[-_CHECK_BYTES:]
    return text if check == b" %08x" % zlib.crc32(text) else None


_block_decoder = msgspec.json.Decoder(Block)
_summary_decoder = msgspec.json.Decoder(Summary)
