"""`tickpulse store`: look into an event log, prove that it is whole, copy it, and keep it small."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeVar

import click
import msgspec

from common.clock import SystemClock
from common.command import Command, F, load_config, run_options
from common.errors import ExitCode, FatalError, InvalidValueError
from common.store.address import open_store
from common.store.config import StoreConfig
from common.store.contract import CannotVerifyError, Store, StoreConfigError, Verification
from common.store.json_messages import encode_messages
from common.store.of_run import address_of_run
from common.store.record import Record
from common.store.retention import Pruning, parse_policy
from common.store.selection import Selection, types_named
from common.store.times import format_time_ns, parse_time_ns
from common.store_keys_command import keys, migrate

T = TypeVar("T")
RECORDS_PER_STEP = 2_000
FOLLOW_NS = 200_000_000
COULD_NOT_CHECK = 2

EPILOG = """\b
ADDRESS is jsonl:PATH, sqlite:PATH or parquet:PATH, or the path alone of a store that is there. Without one it is the
store of the run's recorder.

\b
Examples:
  tickpulse store verify                                        is anything missing or changed?
  tickpulse store cat --type 'order_*' --from 2026-01-31        as JSON lines, for jq
  tickpulse store tail -f --symbol BTC/USDT                     what is recorded right now
  tickpulse store convert jsonl:run/log parquet:archive         any format into any other, then compared
  tickpulse store prune --type tick=7d --older-than 90d --dry-run
"""


def store_options(function: F) -> F:
    """Add [ADDRESS], --anchors, --anchor-key and the options that find a run."""
    for option in (
        run_options,
        click.option("--anchor-key", metavar="FILE", help="The key that signs the anchors.  [default: of the config]"),
        click.option("--anchors", metavar="DIR", help="Where the anchors are kept.  [default: PATH.anchors]"),
        click.argument("address", metavar="[ADDRESS]", required=False),
    ):
        function = option(function)
    return function


def filter_options(function: F) -> F:
    """Add --type, --exchange and --symbol."""
    for option in (
        click.option("--symbol", metavar="S", help="Only this instrument, such as BTC/USDT."),
        click.option("--exchange", metavar="X", help="Only this exchange."),
        click.option(
            "--type",
            "types",
            metavar="TYPE",
            multiple=True,
            help="Only this type or kind, * for any characters: tick, 'order_*'. May be repeated.",
        ),
    ):
        function = option(function)
    return function


@click.group(epilog=EPILOG)
def store() -> None:
    """Look into the event log: verify, stats, cat, tail, convert, prune, repair."""


store.add_command(keys)
store.add_command(migrate)


@store.command(cls=Command)
@store_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(*, as_json: bool, **options: Any) -> None:
    """Prove that nothing was changed, removed, swapped, inserted or cut.

    Exit 0 when the log is whole, 1 when it is damaged (the first bad place comes first), 2 when that could not be
    checked.
    """
    try:
        with _open(options) as opened:
            found = opened.verify()
    except (CannotVerifyError, StoreConfigError) as error:
        if as_json:
            _print_json({"result": "unknown", "why": str(error)})
        click.echo(f"could not check: {error}", err=True)
        sys.exit(COULD_NOT_CHECK)
    if as_json:
        _print_json({"result": "whole" if found.is_whole else "damaged", **msgspec.to_builtins(found)})
    else:
        _print_verification(found)
    if not found.is_whole:
        sys.exit(ExitCode.FAULT)


@store.command(cls=Command)
@store_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def stats(*, as_json: bool, **options: Any) -> None:
    """Show how much is in it, from when to when, and of which types."""
    with _open(options) as opened:
        found = opened.stats()
    if as_json:
        _print_json(found)
        return
    span = (
        "nothing"
        if found.first_ns is None or found.last_ns is None
        else (f"{format_time_ns(found.first_ns)} to {format_time_ns(found.last_ns)}")
    )
    click.echo(f"format   {found.format}\nrecords  {found.records}, ids {found.first_id} to {found.last_id}")
    click.echo(f"time     {span}\nsize     {found.size_bytes} bytes")
    for name, count in sorted(found.types.items(), key=lambda item: -item[1]):
        click.echo(f"{count:>12}  {name}")


@store.command(cls=Command)
@store_options
@filter_options
@click.option("--from", "begin", metavar="TIME", help="From this time on: ISO 8601, UTC unless it has an offset.")
@click.option("--to", "end", metavar="TIME", help="Up to, and without, this time.")
@click.option("--from-id", metavar="ID", type=click.IntRange(min=1), help="From this record on, in the order of ids.")
def cat(*, begin: str | None, end: str | None, from_id: int | None, **options: Any) -> None:
    """Print records as JSON, one a line, by their time."""
    selection = _selection(begin, end, options)
    with _open(options) as opened:
        if from_id is None:
            records = opened.read(selection)
        else:
            records = (record for record in opened.get_events(from_id) if selection.matches(record.message))
        _print_records(records)


@store.command(cls=Command)
@store_options
@filter_options
@click.option("-n", "count", metavar="N", default=10, show_default=True, type=click.IntRange(min=0), help="How many.")
@click.option("-f", "is_following", is_flag=True, help="Go on with what is recorded from now on, until Ctrl-C.")
def tail(*, count: int, is_following: bool, **options: Any) -> None:
    """Print the newest records as JSON, one a line, by their id."""
    selection = _selection(None, None, options)
    with _open(options) as opened:
        newest = opened.tail(count)
        _print_records(record for record in newest if selection.matches(record.message))
        if is_following:
            last_id = newest[-1].id if newest else opened.last_id
            for record in follow(opened, last_id + 1, lambda: SystemClock.sleep_ns(FOLLOW_NS)):
                if selection.matches(record.message):
                    _print_records(iter([record]))


@store.command(cls=Command)
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def convert(*, source: str, target: str) -> None:
    """Copy a log into another format, whole, and compare both.

    TO must be new. Ids and times stay what they are.
    """
    with open_store(source) as old, open_store(target, is_writer=True) as new:
        if new.last_id:
            raise StoreConfigError(f"store {target}: expected a new one, was one with records up to {new.last_id}")
        total = old.stats().records
        records = _with_progress(old.get_events(), total, "copying")
        while group := list(islice(records, RECORDS_PER_STEP)):
            new.append_records(group)
        new.flush()
        before, after = (digest_of(_with_progress(end.get_events(), total, "comparing")) for end in (old, new))
    if before != after:
        raise FatalError(
            f"convert: expected {before[0]} records with digest {before[1]}, was {after[0]} with {after[1]}: "
            f"{target} is no copy of {source}; remove it, and tell us"
        )
    click.echo(f"{after[0]} records from {source} to {target}; both read alike, digest {after[1]}")


@store.command(cls=Command)
@store_options
@click.option("--older-than", metavar="AGE", help="Records above this age, such as 30d.")
@click.option("--max-size", metavar="SIZE", help="The oldest, until the log is no larger: 10GB, 500MiB.")
@click.option("--type", "ages", metavar="TYPE=AGE", multiple=True, help="This type above an age of its own: tick=7d.")
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def prune(
    *, older_than: str | None, max_size: str | None, ages: tuple[str, ...], dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Remove old records; the log itself says what was removed, so it stays provably whole.

    The newest segment stays, and so do orders, executions, positions, risk and accounts, whatever their age, unless
    --type names them. No process may write the log meanwhile.
    """
    policy = _usage(lambda: parse_policy(older_than, max_size, ages))
    if policy.is_empty:
        raise click.UsageError("expected --older-than, --max-size or --type: nothing says what to remove")
    with _open(options, is_writer=not dry_run) as opened:
        found = opened.prune(policy, SystemClock().now_ns(), is_dry_run=dry_run)
    if as_json:
        _print_json({**msgspec.to_builtins(found), "is_dry_run": dry_run})
    else:
        _print_pruning(found, "would go" if dry_run else "removed")


@store.command(cls=Command)
@store_options
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of what was done.")
def repair(*, as_json: bool, **options: Any) -> None:
    """Move damaged parts into quarantine, and record in the log what it lacks from then on.

    Nothing is thrown away: see the folder quarantine, with a note beside each file.
    """
    with _open(options, is_writer=True) as opened:
        done = opened.repair(SystemClock().now_ns())
    if as_json:
        _print_json(done)
    else:
        click.echo("\n".join(done) or "nothing to repair")


def follow(opened: Store, from_id: int, wait: Callable[[], None]) -> Iterator[Record]:
    """Records from an id on, for ever; waits where there is none yet."""
    while True:
        record = None
        for record in opened.get_events(from_id):
            yield record
            from_id = record.id + 1
        if record is None:
            wait()


def digest_of(records: Iterator[Record]) -> tuple[int, str]:
    """How many records there are, and one digest over all that is in them."""
    encode = msgspec.msgpack.Encoder(decimal_format="string").encode
    digest, count = hashlib.blake2b(digest_size=16), 0
    for record in records:
        digest.update(b"%d %d " % (record.id, record.recorded_ns) + encode(record.message))
        count += 1
    return count, digest.hexdigest()


def _open(options: dict[str, Any], *, is_writer: bool = False) -> Store:
    loaded = load_config(options["config_path"], options["run_dir"], options["assignments"])
    config = loaded.section("store", StoreConfig)
    if options["anchors"]:
        config = msgspec.structs.replace(config, anchors=options["anchors"])
    if options["anchor_key"]:
        config = msgspec.structs.replace(config, anchor_key_file=options["anchor_key"])
    address = options["address"] or address_of_run(loaded)
    if not address:
        raise click.UsageError("expected an ADDRESS such as jsonl:PATH; this config names no store of a recorder")
    return open_store(address, config, is_writer=is_writer)


def _selection(begin: str | None, end: str | None, options: dict[str, Any]) -> Selection:
    def make() -> Selection:
        times = {}
        if begin is not None:
            times["from_ns"] = parse_time_ns(begin)
        if end is not None:
            times["to_ns"] = parse_time_ns(end)
        types = types_named(options["types"])
        return Selection(**times, types=types, exchange=options["exchange"], symbol=options["symbol"])

    return _usage(make)


def _usage(make: Callable[[], T]) -> T:
    try:
        return make()
    except (InvalidValueError, ValueError) as error:
        raise click.UsageError(str(error)) from error


def _with_progress(records: Iterator[Record], total: int, label: str) -> Iterator[Record]:
    """The same records, with a bar on a terminal."""
    if not sys.stderr.isatty():
        yield from records
        return
    with click.progressbar(length=total, label=label, file=sys.stderr) as bar:
        while group := list(islice(records, RECORDS_PER_STEP)):
            yield from group
            bar.update(len(group))


def _print_records(records: Iterator[Record]) -> None:
    out = sys.stdout.buffer
    while group := list(islice(records, RECORDS_PER_STEP)):
        bodies = encode_messages([record.message for record in group])
        for record, body in zip(group, bodies, strict=True):
            out.write(b'{"id":%d,"recorded_ns":%d,%b\n' % (record.id, record.recorded_ns, body[1:]))
    out.flush()


def _print_verification(found: Verification) -> None:
    for damage in found.damages:
        click.echo(f"{damage.place}: {damage.what}")
    for note in found.notes:
        click.echo(f"note: {note}")
    verdict = "whole" if found.is_whole else f"damaged in {len(found.damages)} places"
    click.echo(f"{verdict}: {found.records} records, up to id {found.last_id}")


def _print_pruning(found: Pruning, verb: str) -> None:
    for name, count in found.records_of_type.items():
        click.echo(f"{count:>12}  {name}")
    click.echo(f"{found.records} records {verb}, of {len(found.parts)} segments")


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))
