"""Tapes on disk: `state/tapes/NAME-EPOCH.tape` of a run directory, written by the strategy's process, read by anyone.

What was written survives the death of the process. A tape that cannot be written ends there; trading goes on.
"""

import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from common.errors import ExitCode
from common.ids import parse_signal_id
from common.log import Log
from common.wire.codec import encode_body
from strategy.base import Strategy
from strategy.config import StrategyConfig
from strategy.tape.notes import (
    BLOCK_HEAD_BYTES,
    CLOSED,
    FULL,
    MAGIC,
    AnyNote,
    Ended,
    Head,
    MarketCall,
    TapeDecoder,
    TapeEncoder,
    TapeError,
    block_length,
    decode_head,
    encode_block,
    encode_head,
    is_whole,
)
from strategy.tape.taped_engine import TapedEngine

FOLDER = "tapes"
SUFFIX = ".tape"
ITEMS_DUE = 128  # 64 messages: 20 µs to encode and 3 µs to write


class TapeUnreadableError(TapeError):
    """There is no such tape, or it cannot be read at all: nothing can be compared."""

    exit_code = ExitCode.USAGE


class TapeFile:
    """The tape of a running strategy."""

    def __init__(self, path: Path, engine: TapedEngine, head: Head, bytes_max: int, log: Log) -> None:
        """Begin the file; nobody else may have it."""
        self.bytes_written = 0
        self.is_ended = False
        self._path = path
        self._engine = engine
        self._bytes_max = bytes_max
        self._log = log
        self._encoder = TapeEncoder()
        self._file: BinaryIO | None = None
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            # Unbuffered: what a write has returned for is in the kernel, where kill -9 does not reach it.
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            self._end(f"cannot be written: {error.strerror}")
            return
        self._write(encode_head(head))

    @property
    def is_due(self) -> bool:
        """Tell whether so much was noted that writing all of it later would hold up a tick."""
        return len(self._engine.noted) >= ITEMS_DUE

    def write(self) -> None:
        """Put down what the engine noted since the last time. Between two of its calls, never within one."""
        noted = self._engine.noted
        if not noted:
            return
        if self._file is not None:
            try:
                self._write(self._encoder.block(noted))
            except (msgspec.MsgspecError, OverflowError) as error:
                self._end(f"cannot be written: {error}")
            if self.bytes_written >= self._bytes_max:
                self._end(FULL)
        noted.clear()

    def close(self) -> None:
        """Write the rest and the mark of a whole tape. Safe to repeat."""
        self.write()
        self._end(CLOSED)

    def _write(self, block: bytes) -> None:
        if self._file is None:
            return
        try:
            written = self._file.write(block)
            if written != len(block):
                raise OSError(0, f"{written} of {len(block)} bytes were taken; is the disk full?")
        except OSError as error:
            # Half a block at the end would hide the mark behind it.
            self._cut(self.bytes_written)
            self._end(f"cannot be written: {error.strerror}")
        else:
            self.bytes_written += len(block)

    def _cut(self, size: int) -> None:
        if self._file is not None:
            try:
                self._file.truncate(size)
                self._file.seek(size)
            except OSError as error:
                self._log.warning("tape_not_cut", path=str(self._path), error=error.strerror)

    def _end(self, reason: str) -> None:
        if self.is_ended:
            return
        self.is_ended = True
        if reason != CLOSED:
            self._log.error("tape_ended", path=str(self._path), reason=reason, bytes=self.bytes_written)
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            with file:
                file.write(encode_block([Ended(reason)]))
        except OSError as error:
            self._log.warning("tape_without_mark", path=str(self._path), error=error.strerror)


def make_head(engine: TapedEngine, config: StrategyConfig, parameters: msgspec.Struct, now_ns: int) -> Head:
    """What an engine was built from, for whoever builds it again."""
    strategy_type = type(engine.strategy)
    kept = engine.kept
    return Head(
        name=engine.name,
        epoch=engine.epoch,
        created_ns=now_ns,
        reference=f"{strategy_type.__module__}:{strategy_type.__qualname__}",
        source_digest=digest_source(strategy_type),
        parameters=plain_parameters(parameters),
        config=config,
        instruments=list(engine.instruments),
        kept=[encode_body(instruction) for instruction in kept.instructions],
        last_id=kept.last_id,
        checkpoint=kept.checkpoint,
    )


def plain_parameters(parameters: msgspec.Struct) -> dict[str, Any]:
    """Parameters as a config file would have them."""
    plain: dict[str, Any] = msgspec.to_builtins(parameters)
    return plain


def digest_source(strategy_type: type[Strategy]) -> str:
    """SHA-256 of the file that a strategy is in; empty where there is none."""
    try:
        path = inspect.getsourcefile(strategy_type)
        return "" if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return ""


def tape_path(state_directory: Path, name: str, epoch: int) -> Path:
    """Where the tape of one life is."""
    return state_directory / FOLDER / f"{name}-{epoch}{SUFFIX}"


def find_all_tapes(state_directory: Path) -> list[Path]:
    """The tapes of all strategies: by name, then oldest first."""
    paths = (state_directory / FOLDER).glob(f"*-*{SUFFIX}")
    names = sorted({path.stem.rpartition("-")[0] for path in paths})
    return [path for name in names for path in find_tapes(state_directory, name)]


def find_tapes(state_directory: Path, name: str) -> list[Path]:
    """The tapes of a strategy, oldest first."""
    epochs = {}
    for path in (state_directory / FOLDER).glob(f"{name}-*{SUFFIX}"):
        place = parse_signal_id(f"{path.stem}-0", name)
        if place is not None:
            epochs[place.epoch] = path
    return [epochs[epoch] for epoch in sorted(epochs)]


def remove_old_tapes(state_directory: Path, name: str, kept_max: int, log: Log) -> None:
    """Make room for a new tape, so that there are at most so many."""
    for path in find_tapes(state_directory, name)[: -(kept_max - 1) or None]:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("tape_not_removed", path=str(path), error=error.strerror)


class Tape:
    """A tape on disk, as long as it is now, to be read from the beginning as often as needed."""

    def __init__(self, path: Path) -> None:
        """Read the head.

        Raises:
            TapeUnreadableError: It is no tape, or its head is not whole.
        """
        self.path = path
        self._damage = ""
        try:
            with path.open("rb") as file:
                self.head = self._read_head(file)
                self._start = file.tell()
                self._size = path.stat().st_size
        except OSError as error:
            raise TapeUnreadableError(f"tape {path}: expected a readable file, {error.strerror}") from error

    @property
    def damage(self) -> str:
        """Where and how the last reading ended before the end of the file; empty when it did not."""
        return self._damage

    def notes(self) -> Iterator[AnyNote | MarketCall]:
        """Everything on it, as far as it is whole.

        Raises:
            TapeUnreadableError: The file went away.
        """
        self._damage = ""
        decoder = TapeDecoder()
        try:
            with self.path.open("rb") as file:
                file.seek(self._start)
                while file.tell() < self._size and (content := self._read_block(file)):
                    yield from decoder.notes(content)
        except TapeError as error:
            self._damage = str(error)
        except OSError as error:
            raise TapeUnreadableError(f"tape {self.path}: expected a readable file, {error.strerror}") from error

    def _read_head(self, file: BinaryIO) -> Head:
        magic = file.read(len(MAGIC))
        if magic[:-1] != MAGIC[:-1]:
            raise TapeUnreadableError(f"tape {self.path}: expected a tickpulse tape, was another kind of file")
        if magic != MAGIC:
            raise TapeUnreadableError(
                f"tape {self.path}: expected version {MAGIC[-1]}, was {magic[-1]}; use the tickpulse that wrote it"
            )
        content = self._read_block(file)
        if not content:
            raise TapeUnreadableError(
                f"tape {self.path}: expected its head, {self._damage or 'the file ends before it'}"
            )
        try:
            return decode_head(content)
        except TapeError as error:
            raise TapeUnreadableError(f"{self.path}: {error}") from error

    def _read_block(self, file: BinaryIO) -> bytes:
        """The content of the next block; empty at the end of the file, or of what is whole."""
        position = file.tell()
        frame = file.read(BLOCK_HEAD_BYTES)
        if not frame:
            return b""
        length = block_length(frame)
        content = file.read(length)
        if length and is_whole(frame, content):
            return content
        what = "is cut" if len(content) < length or len(frame) < BLOCK_HEAD_BYTES else "is not as it was written"
        self._damage = f"the block at byte {position} {what}"
        return b""
