"""A file into an importer: which format it has, and its lines or rows one by one."""

from pathlib import Path
from typing import Literal

import msgspec

from common.events.market import Tick
from gateway.feeds.base import DepthSnapshot, DepthUpdate, QuoteUpdate
from gateway.feeds.binance import LINE_BYTES_MAX, Ignored, Malformed, parse_line
from gateway.feeds.capture_file import CaptureFile
from gateway.importing.book_check import BookCheck
from gateway.importing.importer import Importer, ImportReport
from gateway.importing.mapping import FIELDS, TIME_FIELDS, Column, TableMapping
from gateway.importing.rows import Refusal, RowReader, find_instrument
from gateway.importing.tables import PARQUET_MAGIC, CsvTable, ParquetTable, Row, Table

Format = Literal["capture", "csv", "parquet"]


def find_format(path: Path) -> Format:
    """Tell a format by a file's first bytes.

    Raises:
        ConfigError: It cannot be read, or is empty.
    """
    file = CaptureFile(str(path), LINE_BYTES_MAX)
    try:
        first = next(file.lines(), b"")
    finally:
        file.close()
    if first.startswith(PARQUET_MAGIC):
        return "parquet"
    stamp, _, rest = first.partition(b" ")
    return "capture" if stamp.isdigit() and rest.startswith(b"{") else "csv"


def import_capture(importer: Importer, path: Path, exchange: str, symbol: str | None) -> ImportReport:
    """Import raw Binance lines: all instruments of the file, or one of them.

    Raises:
        ConfigError: The file cannot be read, or an instrument is not in the table.
        NotReadyError: The import is strict and a line was refused.
    """
    only = find_instrument(importer.instruments, exchange, symbol).raw_symbol if symbol else None
    checks: dict[str, BookCheck] = {}
    file = CaptureFile(str(path), LINE_BYTES_MAX)
    try:
        for number, line in enumerate(file.lines(), start=1):
            importer.count_line()
            update = parse_line(line)
            if isinstance(update, Malformed):
                importer.refuse(f"line {number}", update.reason)
                continue
            if isinstance(update, Ignored) or only not in {None, update.raw_symbol}:
                importer.lines_ignored += 1
                continue
            check = checks.get(update.raw_symbol)
            if check is None:
                instrument = find_instrument(importer.instruments, exchange, update.raw_symbol)
                check = checks[update.raw_symbol] = BookCheck(instrument.name)
            importer.check_time(f"line {number}", update.local_timestamp_ns)
            if (reason := importer.publish(exchange, update)) is not None:
                importer.refuse(f"line {number}", reason)
            elif isinstance(update, QuoteUpdate | DepthUpdate | DepthSnapshot):
                check.take(update)
    finally:
        file.close()
        importer.flush()
    results = [check.result() for check in checks.values()]
    return importer.report("capture", file.damage, [result for result in results if result is not None])


def import_table(importer: Importer, path: Path, mapping: TableMapping, format_name: Format) -> ImportReport:
    """Import the rows of a CSV or Parquet file.

    Raises:
        ConfigError: A column or an instrument is unknown, or the file cannot be read.
        NotReadyError: The import is strict and a row was refused.
    """
    table: Table = (
        CsvTable(path)
        if format_name == "csv"
        else ParquetTable(path, [column.name for column in _wanted(mapping).values()])
    )
    place = "line" if format_name == "csv" else "row"
    try:
        places = mapping.places(table.header, str(path))
        units = {
            field: Column(table.header[places[field]], "arrow")
            for field in TIME_FIELDS
            if field in places and table.header[places[field]] in table.units
        }
        mapping = msgspec.structs.replace(mapping, columns=mapping.columns | units)
        if mapping.exchange and mapping.symbol and not {"exchange", "symbol"} & places.keys():
            find_instrument(importer.instruments, mapping.exchange, mapping.symbol)
        reader = RowReader(mapping, places, importer.instruments)
        for row in table.rows():
            importer.count_line()
            _import_row(importer, reader, row, table.header, f"{place} {row[0]}")
    finally:
        table.close()
        importer.flush()
    return importer.report(format_name, table.damage)


def _wanted(mapping: TableMapping) -> dict[str, Column]:
    return {field: mapping.columns.get(field, Column(field)) for field in FIELDS[mapping.kind]}


def _import_row(importer: Importer, reader: RowReader, row: Row, header: list[str], place: str) -> None:
    values = row[1]
    if len(values) != len(header):
        importer.refuse(place, f"expected {len(header)} columns", len(values))
        return
    try:
        found = reader.read(values)
    except Refusal as refusal:
        column = reader.column_of(refusal.field, header)
        was = values[header.index(column)] if column in header else "absent"
        importer.refuse(f"{place}, column {column}", str(refusal), was)
        return
    if isinstance(found, Tick):
        importer.check_time(place, found.timestamp_ns)
        importer.publish_tick(found)
        return
    exchange, trade = found
    importer.check_time(place, trade.local_timestamp_ns)
    if (reason := importer.publish(exchange, trade)) is not None:
        importer.refuse(place, reason)
