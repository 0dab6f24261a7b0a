"""The lines of a capture file, plain or gzip, read piece by piece; a damaged file gives what can still be read."""

import contextlib
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

from common.errors import ConfigError

PIECE_BYTES = 16_384  # some 500 lines of a capture; at most 16 MiB, when gzip holds the same byte throughout
GZIP_MAGIC = b"\x1f\x8b"
GZIP_WINDOW_BITS = 31  # zlib's code for gzip framing with any window


class CaptureFile:
    """One opened file. `damage` says why its end could not be read; None while nothing is wrong."""

    def __init__(self, path: str, line_bytes_max: int) -> None:
        """Open the file.

        Args:
            path: A regular file; gzip is told by its first bytes, not by its name.
            line_bytes_max: A longer line is cut after one byte more, so that its reader sees that it is too long.

        Raises:
            ConfigError: It is missing, not a regular file, empty, or may not be read.
        """
        self.damage: str | None = None
        self._line_bytes_max = line_bytes_max
        self._file = _open(path)

    def lines(self) -> Iterator[bytes]:
        """Read the lines, each without its line feed; the file is given back after the last."""
        rest = b""
        for piece in self._content():
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
            rest = rest[: self._line_bytes_max + 1]
        if rest:
            yield rest
        self.close()

    def close(self) -> None:
        """Give the file back. Safe to repeat."""
        self._file.close()

    def _content(self) -> Iterator[bytes]:
        is_gzip = self._file.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
        return self._inflate() if is_gzip else self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        try:
            while piece := self._file.read(PIECE_BYTES):
                yield piece
        except OSError as error:
            self.damage = f"expected to read the file to its end, was stopped by: {error}"

    def _inflate(self) -> Iterator[bytes]:
        member: _GzipMember | None = None
        for piece in self._pieces():
            rest = piece
            while rest:
                member = member or _GzipMember()
                yield member.inflate(rest)
                if member.fault:
                    self.damage = f"expected gzip to its end, was corrupt: {member.fault}"
                    return
                rest = member.following
                member = None if member.is_complete else member
        if member and not self.damage:
            self.damage = "expected the end of the gzip stream, the file stops before it: it was truncated"


class _GzipMember:
    """One compressed stream; files joined with `cat` hold several, one after another."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(GZIP_WINDOW_BITS)
        self.fault: str | None = None

    @property
    def is_complete(self) -> bool:
        return self._inflater.eof

    @property
    def following(self) -> bytes:
        """What the last piece holds of the next member."""
        return self._inflater.unused_data

    def inflate(self, piece: bytes) -> bytes:
        """Content of the piece; where it is corrupt, the content before the fault."""
        content = bytearray()
        # A failing call gives nothing of what it has read, so the piece is then taken again, byte by byte, from a copy.
        before = self._inflater.copy()
        try:
            return self._inflater.decompress(piece)
        except zlib.error as error:
            self.fault = str(error)
        with contextlib.suppress(zlib.error):
            for byte in piece:
                content += before.decompress(bytes((byte,)))
        return bytes(content)


def _open(path: str) -> io.BufferedReader:
    try:
        fault = _find_fault(Path(path))
        if fault is None:
            return Path(path).open("rb")
    except OSError as error:
        fault = f"one that cannot be opened ({error.strerror})"
    raise ConfigError(
        f"capture file {path!r}: expected a readable file, was {fault}; correct the path or the file's permissions"
    )


def _find_fault(path: Path) -> str | None:
    if not path.exists():
        return "missing"
    if path.is_dir():
        return "a directory"
    # A pipe or a device may wait or go on for ever.
    if not path.is_file():
        return "no regular file"
    return None if path.stat().st_size else "empty"
