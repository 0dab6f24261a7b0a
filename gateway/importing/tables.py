"""The rows of a CSV file, plain or gzip, and of a Parquet file, read piece by piece."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from common.errors import ConfigError
from gateway.feeds.capture_file import GZIP_MAGIC

PARQUET_MAGIC = b"PAR1"
PARQUET_BATCH_ROWS = 65_536
FIELD_CHARACTERS_MAX = 10_000
UNREADABLE = (csv.Error, OSError, EOFError, zlib.error)
Row = tuple[int, Sequence[Any]]


class Table(Protocol):
    """A header, and numbered rows. `damage` says why the end could not be read."""

    header: list[str]
    units: Mapping[str, str]  # of time columns that say it themselves: `arrow` for ns as whole numbers
    damage: str | None

    def rows(self) -> Iterator[Row]:
        """Number of the line or row, and its values in the order of the header; None for a row that is cut."""
        ...

    def close(self) -> None:
        """Give the file back."""
        ...


class CsvTable:
    """Comma, semicolon or tab, told by the header."""

    def __init__(self, path: Path) -> None:
        """Open the file and read its header.

        Raises:
            ConfigError: It has none.
        """
        self.units: Mapping[str, str] = {}
        self.damage: str | None = None
        self._raw = path.open("rb")
        is_gzip = self._raw.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC)
        self._binary = gzip.GzipFile(fileobj=self._raw) if is_gzip else self._raw
        # utf-8-sig: spreadsheets write a mark at the beginning. A byte that is no UTF-8 stays visible in its value.
        self._text = io.TextIOWrapper(self._binary, encoding="utf-8-sig", errors="backslashreplace", newline="")
        try:
            first = self._text.readline(FIELD_CHARACTERS_MAX)
            self._reader = csv.reader(chain([first], self._text), delimiter=max(",;\t", key=first.count))
            self.header = [name.strip() for name in next(self._reader, [])]
        except UNREADABLE as error:
            self.close()
            raise ConfigError(f"{path}: expected a header line with the columns' names, {error}") from error
        if not any(self.header):
            self.close()
            raise ConfigError(f"{path}: expected a header line with the columns' names, was none")

    def rows(self) -> Iterator[Row]:
        while True:
            try:
                row = next(self._reader)
            except StopIteration:
                return
            except UNREADABLE as error:
                self.damage = f"line {self._reader.line_num + 1}: cannot be read on: {error}"
                return
            if row:
                yield self._reader.line_num, row

    def close(self) -> None:
        self._text.close()
        self._binary.close()
        self._raw.close()


class ParquetTable:
    """Only the columns that are asked for are read, one row group after another."""

    def __init__(self, path: Path, wanted: Sequence[str]) -> None:
        """Open the file.

        Raises:
            ConfigError: pyarrow is missing, or it is no Parquet file.
        """
        try:
            import pyarrow as pa  # noqa: PLC0415  # an extra that the core install does not have
            from pyarrow import parquet  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError("Parquet needs pyarrow; install it with `pip install tickpulse[store]`") from error
        self.damage: str | None = None
        self._errors = (pa.ArrowException, OSError)
        self._nanoseconds, self._integer = pa.timestamp("ns"), pa.int64()
        try:
            self._file = parquet.ParquetFile(path)
        except self._errors as error:
            raise ConfigError(f"{path}: expected a Parquet file, {error}") from error
        schema = self._file.schema_arrow
        # All names, where none that is wanted is there: the reader then says which there are.
        self._columns = [name for name in schema.names if name in wanted]
        self.header = self._columns or list(schema.names)
        self.units: Mapping[str, str] = {
            name: "arrow" for name in self._columns if pa.types.is_timestamp(schema.field(name).type)
        }

    def rows(self) -> Iterator[Row]:
        number = 0
        batches = self._file.iter_batches(batch_size=PARQUET_BATCH_ROWS, columns=self.header)
        while True:
            try:
                batch = next(batches)
                columns = [self._values(batch.column(name), name) for name in self.header]
            except StopIteration:
                return
            except self._errors as error:
                self.damage = f"behind row {number}: cannot be read on: {error}"
                return
            for row in zip(*columns, strict=True):
                number += 1
                yield number, row

    def close(self) -> None:
        self._file.close()

    def _values(self, column: Any, name: str) -> list[Any]:
        if name in self.units:
            column = column.cast(self._nanoseconds).cast(self._integer)
        values: list[Any] = column.to_pylist()
        return values
