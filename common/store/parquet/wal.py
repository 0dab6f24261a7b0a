"""The write-ahead part: batches as they came, until they are columns. One file holds some seconds to a minute.

    file    a line with version and store, then batches
    batch   head (mark, checksum, digest, first id, recorded_ns, counts, sizes), flat messages, others, others' places

The digest chains each batch to all before it (`chain`), through the files; the checksum tells a torn end from a change.
A chained batch counts by its SHA-256, which processors compute twice as fast as the chain's own digest.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import msgspec
import numpy as np
import numpy.typing as npt

from common.events.base import Message
from common.events.registry import AnyMessage
from common.store.chain import DIGEST_BYTES, next_link
from common.store.contract import StoreConfigError, StoreDamagedError, StoreFullError
from common.store.parquet.shapes import SHAPED_TYPES
from common.store.record import Record
from common.store.sealing import unseal
from common.wire.codec import encode_body

if TYPE_CHECKING:
    from common.store.keyring import KeyRing, Sealer

VERSION = 1
_MARK = b"TPB1"
_SEALED_MARK = b"TPB2"  # behind its head: length and name of a key, and what that key sealed
_SEALED_BYTES = 40
# mark, checksum of all that follows | digest | first id, recorded_ns, messages, others, bytes of flat, bytes of others
_CHECK = Struct("<4sI")
_BODY = Struct("<QqIIII")
_HEAD_BYTES = _CHECK.size + DIGEST_BYTES + _BODY.size
decode_list: Callable[[bytes | memoryview], list[Message]] = msgspec.msgpack.Decoder(list[AnyMessage]).decode
_encode_list: Callable[[Sequence[Message]], bytes] = encode_body
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Batch(NamedTuple):
    """Messages of consecutive ids, recorded at one time. `flat` are those of `SHAPED_TYPES`, `others` the rest."""

    first_id: int
    recorded_ns: int
    messages: int
    flat: bytes | memoryview
    others: bytes | memoryview
    # Where the others stand among all: uint32.
    places: npt.NDArray[np.uint32]
    digest: bytes
    end: int
    # What is chained: counts and sizes, and all that follows.
    raw: memoryview
    # The key that sealed it, and its bytes; empty where it is not sealed.
    key_id: str = ""
    sealed: bytes = b""

    @property
    def last_id(self) -> int:
        """Id of the last message."""
        return self.first_id + self.messages - 1

    def other_messages(self) -> list[Message]:
        """The messages that are not flat, in their order."""
        return decode_list(self.others) if self.others else []

    def flat_places(self) -> npt.NDArray[np.int64]:
        """Where the flat ones stand among all."""
        is_flat = np.ones(self.messages, np.bool_)
        is_flat[self.places] = False
        return np.flatnonzero(is_flat)

    def records(self) -> list[Record]:
        """All of it, in the order of ids."""
        messages: list[Message | None] = [None] * self.messages
        flat = decode_list(self.flat) if self.flat else []
        for place, message in zip(self.flat_places().tolist(), flat, strict=True):
            messages[place] = message
        for place, message in zip(self.places.tolist(), self.other_messages(), strict=True):
            messages[place] = message
        return [
            Record(record_id, self.recorded_ns, message)
            for record_id, message in enumerate(messages, start=self.first_id)
            if message is not None
        ]


def unsealed(batch: Batch, ring: "KeyRing | None", store_id: str) -> Batch:
    """The same batch with its messages.

    Raises:
        MissingKeyError: The key is not in the ring, or there is none.
        StoreDamagedError: It is not what the key sealed.
    """
    if not batch.key_id:
        return batch
    content = unseal(ring, batch.key_id, batch.sealed, store_id.encode() + bytes(batch.raw[: _BODY.size]))
    *_, flat_bytes, others_bytes = _BODY.unpack_from(batch.raw)
    end = flat_bytes + others_bytes
    places = np.frombuffer(content, "<u4", -1, end) if end < len(content) else batch.places
    return batch._replace(flat=content[:flat_bytes], others=content[flat_bytes:end], places=places)


def encode_batch(
    previous: bytes,
    first_id: int,
    recorded_ns: int,
    messages: Sequence[Message],
    sealer: "Sealer | None" = None,
    store_id: str = "",
) -> tuple[list[bytes], bytes]:
    """Write a batch: its bytes in pieces, and its digest.

    Raises:
        ValueError: A message is none that the wire carries, or its time has more than 63 bits.
    """
    try:
        flat, others, places = _encode_messages(messages)
    except OverflowError as error:
        raise ValueError(f"messages: expected numbers of 64 bits, {error}") from error
    body = _BODY.pack(first_id, recorded_ns, len(messages), len(places) // 4, len(flat), len(others))
    if sealer is None:
        return _chained(_MARK, previous, [body, flat, others, places])
    sealed = sealer.seal(b"".join((flat, others, places)), store_id.encode() + body)
    key = sealer.key_id.encode()
    return _chained(_SEALED_MARK, previous, [body, bytes([len(key)]), key, sealed])


def _chained(mark: bytes, previous: bytes, pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    """Checksum and digest before what they are of; joined nowhere, since copies cost as much as the digest."""
    whole = hashlib.sha256()
    for piece in pieces:
        whole.update(piece)
    digest = next_link(previous, whole.digest())
    checksum = crc32(digest)
    for piece in pieces:
        checksum = crc32(piece, checksum)
    return [_CHECK.pack(mark, checksum), digest, *pieces], digest


def _encode_messages(messages: Sequence[Message]) -> tuple[bytes, bytes, bytes]:
    """The flat ones, the others, and where those stand."""
    if set(map(type, messages)) <= SHAPED_TYPES:
        return _encode_list(messages), b"", b""
    flat = [message for message in messages if type(message) in SHAPED_TYPES]
    places = [place for place, message in enumerate(messages) if type(message) not in SHAPED_TYPES]
    others = _encode_list([messages[place] for place in places])
    decode_list(others)  # what cannot be read again must not stop everything behind it
    return _encode_list(flat) if flat else b"", others, np.array(places, "<u4").tobytes()


class WalWriter:
    """One file of the write-ahead part, open at its end."""

    def __init__(self, path: Path, store_id: str) -> None:
        """Begin a new file."""
        self.path = path
        self.size_bytes = 0
        self.records = 0
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self.write([heading(store_id)], 0)
        except BaseException:
            os.close(self._descriptor)
            path.unlink()
            raise

    def write(self, pieces: list[bytes], records: int) -> None:
        """Append; all or nothing.

        Raises:
            StoreFullError: The disk is full.
        """
        size_bytes = sum(map(len, pieces))
        try:
            written = os.writev(self._descriptor, pieces)
            if written < size_bytes:
                content = b"".join(pieces)
                while written < size_bytes:
                    written += os.write(self._descriptor, memoryview(content)[written:])
        except OSError as error:
            os.ftruncate(self._descriptor, self.size_bytes)
            if error.errno in DISK_FULL:
                raise StoreFullError(f"{self.path}: {error.strerror}; nothing of the batch was recorded") from error
            raise
        self.size_bytes += size_bytes
        self.records += records

    def sync(self) -> None:
        """Make it safe against the loss of power."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Sync and give it back."""
        self.sync()
        os.close(self._descriptor)


def heading(store_id: str) -> bytes:
    """The first line of a file."""
    return f"TPWAL {VERSION} {store_id}\n".encode()


def wal_files(folder: Path) -> list[Path]:
    """The files, oldest first."""
    return sorted(folder.glob("*.frames"))


def read_batches(path: Path, content: bytes, store_id: str) -> Iterator[Batch]:
    """The whole batches of a file; a torn end is passed over, see `Batch.end`.

    Raises:
        StoreConfigError: It is of a newer version.
        StoreDamagedError: It is of another store, or something before its end was changed.
    """
    expected = heading(store_id)
    if not content.startswith(expected):
        if expected.startswith(content):
            return  # killed while it began
        first = content[:60].split(b"\n", 1)[0]
        parts = first.split(b" ")
        if len(parts) == 3 and parts[0] == b"TPWAL" and parts[1].isdigit() and int(parts[1]) > VERSION:
            raise StoreConfigError(f"{path}: version {int(parts[1])}, this program reads up to {VERSION}; upgrade it")
        raise StoreDamagedError(f"{path}: expected the heading {expected.strip()!r}, was {first!r}")
    at = len(expected)
    while at < len(content):
        batch = _batch_at(content, at)
        if batch is None:
            if _has_batch_after(content, at):
                raise StoreDamagedError(f"{path}: the batch at byte {at} was changed")
            return
        yield batch
        at = batch.end


def check_links(path: Path, batches: Iterator[Batch], digest: bytes) -> Iterator[Batch]:
    """The same batches, each compared with the chain that ends in `digest` before the first.

    Raises:
        StoreDamagedError: One does not follow on the one before it.
    """
    for batch in batches:
        if next_link(digest, hashlib.sha256(batch.raw).digest()) != batch.digest:
            raise StoreDamagedError(
                f"{path}: the batch of record {batch.first_id} does not follow on the one before it: "
                "something was changed, removed, swapped or inserted"
            )
        digest = batch.digest
        yield batch


def _batch_at(content: bytes, at: int) -> Batch | None:
    if at + _HEAD_BYTES > len(content):
        return None
    mark, checksum = _CHECK.unpack_from(content, at)
    body_at = at + _CHECK.size + DIGEST_BYTES
    first_id, recorded_ns, count, other_count, flat_bytes, others_bytes = _BODY.unpack_from(content, body_at)
    flat_at = at + _HEAD_BYTES
    others_at = flat_at + flat_bytes
    places_at = others_at + others_bytes
    end = places_at + 4 * other_count
    key_bytes = content[flat_at] if mark == _SEALED_MARK and flat_at < len(content) else 0
    if mark == _SEALED_MARK:
        end += 1 + key_bytes + _SEALED_BYTES
    if mark not in {_MARK, _SEALED_MARK} or end > len(content):
        return None
    digest = content[at + _CHECK.size : body_at]
    raw = memoryview(content)[body_at:end]
    if crc32(raw, crc32(digest)) != checksum:
        return None
    batch = Batch(first_id, recorded_ns, count, b"", b"", np.empty(0, np.uint32), digest, end, raw)
    if mark == _SEALED_MARK:
        key_id = content[flat_at + 1 : flat_at + 1 + key_bytes].decode(errors="replace")
        return batch._replace(key_id=key_id, sealed=content[flat_at + 1 + key_bytes : end])
    places = np.frombuffer(content, "<u4", other_count, places_at)
    flat, others = raw[flat_at - body_at : others_at - body_at], raw[others_at - body_at : places_at - body_at]
    return batch._replace(flat=flat, others=others, places=places)


def good_batches(content: bytes) -> Iterator[Batch]:
    """Every batch that a damaged file still has whole, wherever it stands."""
    at = _next_mark(content, 0)
    while at >= 0:
        batch = _batch_at(content, at)
        if batch is not None:
            yield batch
        at = _next_mark(content, at + 1 if batch is None else batch.end)


def chain_anew(previous: bytes, batch: Batch) -> tuple[bytes, bytes]:
    """A batch as it stands behind another one: its bytes and its digest."""
    pieces, digest = _chained(_SEALED_MARK if batch.key_id else _MARK, previous, [bytes(batch.raw)])
    return b"".join(pieces), digest


def _has_batch_after(content: bytes, at: int) -> bool:
    """Tell a change in the middle from a torn end."""
    at = _next_mark(content, at + 1)
    while at >= 0:
        if _batch_at(content, at) is not None:
            return True
        at = _next_mark(content, at + 1)
    return False


def _next_mark(content: bytes, start: int) -> int:
    """Where the next batch may begin; -1 for nowhere."""
    found = [at for mark in (_MARK, _SEALED_MARK) if (at := content.find(mark, start)) >= 0]
    return min(found, default=-1)
