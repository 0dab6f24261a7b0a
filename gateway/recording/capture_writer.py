"""Writes capture files: plain or gzip, one after another by size, readable up to the last flush after kill -9.

A file that is there is never touched: behind a torn end nothing could be appended that a reader would find.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from common.errors import ConfigError, FatalError
from gateway.feeds.capture_file import GZIP_WINDOW_BITS


class CaptureWriter:
    """Files PATH, then PATH with -2, -3 and so on before its ending. A name that ends in .gz is compressed."""

    def __init__(self, path: Path, bytes_max: int = 0) -> None:
        """Make the first file.

        Args:
            path: Of the first file.
            bytes_max: After so many bytes on disk the next file begins; 0 for one file.

        Raises:
            ConfigError: It is there already, or cannot be made.
        """
        self.lines_written = 0
        self.bytes_written = 0  # on disk, of all files
        self.paths: list[Path] = []
        self._path = path
        self._bytes_max = bytes_max
        self._is_gzip = path.suffix == ".gz"
        self._open()

    def write(self, lines: Sequence[bytes]) -> None:
        """Append lines; they are certain with the next flush.

        Raises:
            FatalError: The disk refuses them.
        """
        if not lines:
            return
        content = b"\n".join(lines) + b"\n"
        self._write(self._deflater.compress(content) if self._deflater else content)
        self.lines_written += len(lines)

    def flush(self) -> None:
        """Make what was written readable whatever happens to this process; begin the next file where this one is full.

        Raises:
            FatalError: The disk refuses it.
            ConfigError: The next file is there already.
        """
        if self._deflater:
            self._write(self._deflater.flush(zlib.Z_SYNC_FLUSH))
        if self._bytes_max and self._file.tell() >= self._bytes_max:
            self.close()
            self._open()

    def close(self) -> None:
        """End the file in hand. Safe to repeat."""
        if not self._file.closed:
            if self._deflater:
                self._write(self._deflater.flush())
            self._file.close()

    def _open(self) -> None:
        number = len(self.paths) + 1
        stem, dot, ending = self._path.name.partition(".")
        path = self._path if number == 1 else self._path.with_name(f"{stem}-{number}{dot}{ending}")
        try:
            # Unbuffered: what write() has taken survives this process.
            self._file: BinaryIO = path.open("xb", buffering=0)
        except FileExistsError as error:
            raise ConfigError(
                f"capture file {path}: expected none, there is one; a recording never appends, choose another name"
            ) from error
        except OSError as error:
            raise ConfigError(f"capture file {path}: cannot be made, {error.strerror}") from error
        self.paths.append(path)
        self._deflater = zlib.compressobj(wbits=GZIP_WINDOW_BITS) if self._is_gzip else None

    def _write(self, content: bytes) -> None:
        try:
            while content:
                count = self._file.write(content)
                self.bytes_written += count
                content = content[count:]
        except OSError as error:
            raise FatalError(
                f"capture file {self.paths[-1]}: {error.strerror}; what was flushed is readable"
            ) from error
