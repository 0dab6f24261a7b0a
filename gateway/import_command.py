"""`tickpulse import`: foreign market data into a store."""

import sys
import tomllib
from pathlib import Path
from typing import Any, cast

import click
import msgspec

from common.command import Command, load_config, run_options
from common.errors import ConfigError, ExitCode
from common.instruments import InstrumentTable
from common.store.address import open_store
from common.store.contract import Store
from gateway.importing.book_check import BookComparison
from gateway.importing.importer import Importer, ImportReport
from gateway.importing.mapping import FIELDS, Kind, MappingFile, TableMapping, make_mapping, split_options
from gateway.importing.rows import parse_instrument
from gateway.importing.sources import Format, find_format, import_capture, import_table

EPILOG = """\b
Examples:
  tickpulse import capture.gz jsonl:data/day --exchange binance
  tickpulse import ticks.csv sqlite:day.db --exchange binance --symbol BTC/USDT \\
      --map timestamp=ts:ms --map bid=best_bid --map ask=best_ask
  tickpulse import trades.parquet parquet:data/day --kind trades --mapping binance.toml
A mapping file has kind, exchange, symbol and a table [map]; options go before it.

\b
Times are s, ms, us, ns or iso, as in --map timestamp=ts:ms; without a unit ns, or ISO 8601 where it is no number.
Fields of ticks:  timestamp exchange_timestamp exchange symbol bid ask bid_size ask_size last volume
Fields of trades: timestamp exchange_timestamp exchange symbol price quantity aggressor_side is_buyer_maker trade_id

\b
Exit codes: 0 all of it was imported, 1 the store failed, 2 usage, 3 lines were refused, the file is damaged or the book
differs from the venue's own (the rest was imported), 78 wrong file, mapping, instrument or store, 130 interrupted.
"""


@click.command(name="import", cls=Command, epilog=EPILOG)
@click.argument("path", metavar="SOURCE", type=click.Path(path_type=Path))
@click.argument("address", metavar="ADDRESS")
@click.option(
    "--format", "format_name", type=click.Choice(["capture", "csv", "parquet"]), help="Told by the file's content else."
)
@click.option("--kind", type=click.Choice(list(FIELDS)), help="What the rows of a table are.  [default: ticks]")
@click.option("--exchange", metavar="NAME", help="Of every row.  [default for captures: binance]")
@click.option("--symbol", metavar="SYMBOL", help="Of every row, as BTC/USDT or BTCUSDT; of a capture only this one.")
@click.option("--map", "maps", metavar="FIELD=COLUMN[:UNIT]", multiple=True, help="Where a field is. May be repeated.")
@click.option("--mapping", "mapping_path", metavar="FILE", type=click.Path(path_type=Path), help="The same, as TOML.")
@click.option("--instrument", "instruments", metavar="KEY=VALUE,...", multiple=True, help="One more for the table.")
@click.option("--strict", is_flag=True, help="End at the first line that is refused or whose time goes back.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@run_options
def import_file(
    path: Path,
    address: str,
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Import ticks, trades and order books from SOURCE into the store at ADDRESS.

    SOURCE is a raw Binance capture (a receive time in ns and combined-stream JSON a line), CSV, both plain or gzip, or
    Parquet. Events are what the gateway would have sent, from the source `import`. They are added to what is there.
    """
    config = load_config(config_path, run_dir, assignments)
    table = InstrumentTable([*config.instruments(), *map(parse_instrument, options["instruments"])])
    found = find_format(path)  # also where it is given: the file is looked at before the store is made
    format_name: Format = options["format_name"] or found
    mapping = _read_mapping(options)
    with open_store(address, is_writer=True) as store:
        report = _run(store, table, path, format_name, mapping, is_strict=options["strict"])
    click.echo(msgspec.json.encode(report) if as_json else _describe(report))
    sys.exit(ExitCode.OK if report.is_whole else ExitCode.CHECKS_FAILED)


def _run(
    store: Store, table: InstrumentTable, path: Path, format_name: Format, mapping: TableMapping, *, is_strict: bool
) -> ImportReport:
    is_terminal = sys.stderr.isatty()
    importer = Importer(
        store, table, str(path), is_strict=is_strict, on_progress=_show_progress if is_terminal else None
    )
    try:
        if format_name == "capture":
            return import_capture(importer, path, mapping.exchange or "binance", mapping.symbol)
        return import_table(importer, path, mapping, format_name)
    finally:
        if is_terminal:
            click.echo("\r\x1b[K", err=True, nl=False)
        if sys.exc_info()[0] is not None:
            click.echo(f"{importer.lines_read:,} lines read, {importer.events.total():,} events stored", err=True)


def _show_progress(importer: Importer) -> None:
    click.echo(f"\r{importer.lines_read:,} lines, {importer.events.total():,} events stored", err=True, nl=False)


def _read_mapping(options: dict[str, Any]) -> TableMapping:
    file = _read_file(options["mapping_path"]) if options["mapping_path"] else MappingFile()
    return make_mapping(
        cast("Kind", options["kind"] or file.kind or "ticks"),
        file.map | split_options(options["maps"]),
        options["exchange"] or file.exchange,
        options["symbol"] or file.symbol,
    )


def _read_file(path: Path) -> MappingFile:
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), MappingFile)
    except OSError as error:
        raise ConfigError(f"--mapping {path}: expected a readable TOML file, {error.strerror}") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise ConfigError(f"--mapping {path}: expected kind, exchange, symbol and a table [map], {error}") from error


def _describe(report: ImportReport) -> str:
    read, refused, ignored = report.lines_read, report.lines_refused, report.lines_ignored
    lines = [
        f"{report.source}: {read:,} lines, {refused:,} refused, {ignored:,} of other streams or symbols",
        *(f"  {name:36} {count:>12,}" for name, count in sorted(report.events.items())),
        *map(_describe_book, report.books),
        *(f"    {difference}" for book in report.books for difference in book.differences),
        *(f"  refused: {count:,} x {reason}" for reason, count in report.refusals.items()),
        *(f"    {place}" for place in report.refused),
    ]
    if report.time_went_back:
        lines += [
            f"  time goes back: {report.time_went_back:,} lines",
            *(f"    {place}" for place in report.went_back),
        ]
    if report.damage:
        lines.append(f"  the file is damaged: {report.damage}")
    if report.events:
        lines.append(f"stored as records {report.first_id:,} to {report.last_id:,}")
    return "\n".join(lines)


def _describe_book(book: BookComparison) -> str:
    return (
        f"  book of {book.symbol}: equals the venue's own best prices in {book.equal:,} of {book.comparable:,} "
        f"comparable places, {book.gaps:,} gaps"
    )
