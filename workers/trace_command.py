"""`tickpulse trace`: why an order was made and what became of it, step by step."""

import json
import sqlite3
from pathlib import Path

import click

from common.clock import NS_PER_MS, NS_PER_US
from common.command import Command, load_config, run_options
from common.errors import NotReadyError
from common.tables import format_table, format_time
from workers.audit import Audit
from workers.sqlite_model import position_of
from workers.tracing import Record, Step, chain_of

EPILOG = """\b
Examples:
  tickpulse trace tp-0123456789abcdef0123456789abcd   an order of ours
  tickpulse trace momentum-1700000000000-5            a signal
  tickpulse trace V-42                                an order, by the venue's id

`after` is the time since the step before, at the clock of whoever took it; `known after` is how much later the executor
knew of it. An answer has the time at which the executor took it, so a fill may overtake it: then `after` is negative.

Exit codes: 0 ok, 3 there is no audit yet or it does not know the id, 78 the config is wrong.
"""


@click.command(cls=Command, epilog=EPILOG)
@click.argument("identifier", metavar="ORDER_OR_SIGNAL_ID")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@run_options
def trace(
    config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...], *, identifier: str, as_json: bool
) -> None:
    """Show the causal chain of an order, from tick to fill, with the time between."""
    run_directory = load_config(config_path, run_dir, assignments).run_directory()
    with Audit.reading(run_directory.file("state", "")) as connection:
        records = find_records(connection, identifier)
        seq = position_of(connection).seq
    if not records:
        raise NotReadyError(
            f"{identifier}: expected the id of an order or a signal, the audit up to journal entry {seq} has none; "
            "see `tickpulse orders` or `tickpulse trades`"
        )
    steps = chain_of(records)
    click.echo(_json(identifier, steps) if as_json else _text(steps))


def find_records(connection: sqlite3.Connection, identifier: str) -> list[Record]:
    """All audit records of the order that an id of ours, of the strategy's or of the venue's belongs to."""
    row = connection.execute(
        "SELECT client_order_id, signal_id FROM records WHERE client_order_id = ? OR signal_id = ? "
        "ORDER BY client_order_id IS NULL LIMIT 1",
        [identifier, identifier],
    ).fetchone()
    if row is None:
        row = connection.execute("SELECT client_order_id, NULL FROM names WHERE name = ?", [identifier]).fetchone()
    if row is None:
        return []
    found = connection.execute(
        "SELECT seq, timestamp_ns, actor, action, body FROM records "
        "WHERE client_order_id = ? OR signal_id = ? ORDER BY seq",
        [row[0] or "", row[1] or ""],
    )
    return [Record(seq, at_ns, actor, action, json.loads(body)) for seq, at_ns, actor, action, body in found]


def _text(steps: list[Step]) -> str:
    rows = [
        {
            "time": format_time(step.timestamp_ns),
            "after": "" if before is None else format_duration(step.timestamp_ns - before.timestamp_ns),
            "known": "" if step.learned_ns is None else format_duration(step.learned_ns - step.timestamp_ns),
            "who": step.actor,
            "what": step.what,
            "detail": step.detail,
        }
        for before, step in zip([None, *steps], steps, strict=False)
    ]
    titles = {"time": "time (UTC)", "after": "after", "known": "known after", "who": "who", "what": "what",
              "detail": "detail"}  # fmt: skip
    columns = tuple((title, lambda row, key=key: row[key]) for key, title in titles.items())
    times_ns = [step.timestamp_ns for step in steps]
    whole = format_duration(max(times_ns) - min(times_ns))
    return f"{format_table(columns, rows)}\n\n{len(steps)} steps in {whole}"


def format_duration(duration_ns: int) -> str:
    """A duration as people read it: µs, ms or s, with its sign."""
    size = abs(duration_ns)
    if size < NS_PER_MS:
        return f"{duration_ns / NS_PER_US:.0f} µs"
    if size < 1_000 * NS_PER_MS:
        return f"{duration_ns / NS_PER_MS:.2f} ms"
    return f"{duration_ns / NS_PER_MS / 1_000:.3f} s"


def _json(identifier: str, steps: list[Step]) -> str:
    return json.dumps({"id": identifier, "steps": [step._asdict() for step in steps]}, indent=2)
