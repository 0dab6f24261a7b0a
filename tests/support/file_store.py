"""The shortest event log that survives kill -9: frames with lengths in one file, for tests of whoever uses a store."""

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.events.base import Message
from common.store.config import StoreConfig
from common.store.contract import StoreFullError
from common.store.memory import MemoryStore
from common.wire.codec import decode_body, encode_body

HEAD = struct.Struct("<IQq")  # length of the body, id, recorded_ns


class FileStore(MemoryStore):
    """Everything in memory as well. A file named `full` beside it stands for a disk that is full."""

    format = "file"

    def __init__(self, path: Path) -> None:
        super().__init__()
        path.mkdir(parents=True, exist_ok=True)
        self._full_path = path / "full"
        self._file = (path / "log").open("a+b", buffering=0)
        self._file.seek(0)
        whole = 0
        for record_id, recorded_ns, body in read_frames(self._file.read()):
            super()._write(record_id, recorded_ns, [decode_body(body)])
            whole += HEAD.size + len(body)
        self._file.truncate(whole)

    def _write(self, first_id: int, recorded_ns: int, messages: Sequence[Message]) -> None:
        if self._full_path.exists():
            raise StoreFullError("disk: expected room, there is none")
        bodies = [encode_body(message) for message in messages]
        self._file.write(
            b"".join(HEAD.pack(len(body), first_id + place, recorded_ns) + body for place, body in enumerate(bodies))
        )
        super()._write(first_id, recorded_ns, messages)

    def flush(self) -> None:
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read_frames(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Id, time and body of each whole record."""
    place = 0
    while place + HEAD.size <= len(content):
        length, record_id, recorded_ns = HEAD.unpack_from(content, place)
        body = content[place + HEAD.size : place + HEAD.size + length]
        if len(body) < length:
            return
        yield record_id, recorded_ns, body
        place += HEAD.size + length


def open_store(path: Path, _config: StoreConfig, _is_writer: bool) -> FileStore:  # as each format has it
    """Open it as `common.store.address` does."""
    return FileStore(path)
