"""`tickpulse events`: every message type, what it means, and its schema for other languages."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from common.command import Command
from common.errors import InvalidValueError
from common.events.base import Message
from common.events.catalogue import Entry, describe, find_types, schema_of, types_of_domain
from common.events.page import emitters_of, write_page
from common.events.registry import MESSAGE_TYPES, type_name

SUMMARY_FIELDS = ("type", "name", "domain", "nature", "priority", "topic", "emitters", "answer", "summary")


def _find(_context: click.Context, _parameter: click.Parameter, name: str | None) -> list[type[Message]] | None:
    try:
        return None if name is None else find_types(name)
    except InvalidValueError as error:
        raise click.BadParameter(str(error)) from error


def _find_domain(_context: click.Context, _parameter: click.Parameter, name: str | None) -> Sequence[type[Message]]:
    try:
        return MESSAGE_TYPES if name is None else types_of_domain(name)
    except InvalidValueError as error:
        raise click.BadParameter(str(error)) from error


@click.group()
def events() -> None:
    """Show every event, command, query and reply: fields, units, priority, schema."""


@events.command(name="list", cls=Command)
@click.option("--domain", "found", metavar="D", callback=_find_domain, help="Only this one, such as Trading or risk.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array for programs.")
def list_types(found: Sequence[type[Message]], as_json: bool) -> None:  # click hands flags over by name
    """List the types: what each is, how urgent, on which topic."""
    entries = [describe(message_type) for message_type in found]
    if as_json:
        _print_json([{name: getattr(entry, name) for name in SUMMARY_FIELDS} for entry in entries])
        return
    rows = [(entry.type, entry.nature, (entry.priority or "-").lower(), entry.topic) for entry in entries]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)))


@events.command(cls=Command)
@click.argument("found", metavar="TYPE", callback=_find)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of one object for each type of this name.")
@click.option("--schema", "as_schema", is_flag=True, help="Print the JSON Schema instead.")
def show(found: list[type[Message]], as_json: bool, as_schema: bool) -> None:  # click hands flags over by name
    """Explain a type: its fields with units, who sends it, an example.

    TYPE is a versioned name (Trading.Order.Filled.v1), a class (OrderFilled) or the kind that its topics begin with
    (order_filled). A kind may have several types.
    """
    if as_json and as_schema:
        raise click.UsageError("--json, --schema: expected one of them, were both")
    if as_schema:
        for message_type in found:
            _print_json(schema_of(message_type))
    elif as_json:
        _print_json([describe(message_type) for message_type in found])
    else:
        click.echo("\n\n".join(_explain(describe(message_type)) for message_type in found))


@events.command(cls=Command)
@click.argument("found", metavar="[TYPE]", required=False, callback=_find)
@click.option(
    "--output",
    "directory",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write one file per type, TYPE.schema.json, into this directory.",
)
def schema(found: list[type[Message]] | None, directory: Path | None) -> None:
    """Write JSON Schemas, for clients in other languages.

    Without --output it prints the schema of TYPE, or one of any message. A MessagePack body fits it as JSON does, but
    for bytes, which JSON has as base64.
    """
    if directory is None:
        for document in [schema_of()] if found is None else map(schema_of, found):
            _print_json(document)
        return
    types = found or MESSAGE_TYPES
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for message_type in types:
            path = directory / f"{type_name(message_type)}.schema.json"
            path.write_bytes(_json(schema_of(message_type)))
    except OSError as error:
        raise click.ClickException(f"--output {directory}: cannot be written: {error.strerror}") from error
    click.echo(f"{len(types)} schemas in {directory}")


@events.command(cls=Command)
@click.option(
    "--output", "path", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file."
)
def page(path: Path | None) -> None:
    """Print the catalogue as a Markdown page, which is EVENTS.md."""
    text = write_page()
    if path is None:
        click.echo(text, nl=False)
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise click.ClickException(f"--output {path}: cannot be written: {error.strerror}") from error


def _explain(entry: Entry) -> str:
    width = max(len(field.name) for field in entry.fields) + 1
    type_width = min(40, max(len(field.type) for field in entry.fields))
    senders = emitters_of(entry) or ("services beside the pipeline" if entry.read_as is None else "nobody any more")
    facts = {
        "class": entry.name,
        "is": f"{entry.nature}, {entry.priority.lower()} priority" if entry.priority else entry.nature,
        "topic": entry.topic,
        "sent by": senders,
        "answer": entry.answer,
        "read as": entry.read_as,
    }
    return "\n".join(
        [
            entry.type,
            *(f"  {name:8} {fact}" for name, fact in facts.items() if fact is not None),
            "",
            *(text for text in (entry.summary, *entry.notes)),
            "",
            "Fields (? may be absent):",
            *(
                f"  {field.name + ('' if field.is_required else '?'):{width}} {field.type:{type_width}} {field.meaning}"
                for field in entry.fields
            ),
            "",
            "Example:",
            msgspec.json.format(msgspec.json.encode(entry.example), indent=2).decode(),
        ]
    )


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _print_json(value: Any) -> None:
    click.echo(_json(value), nl=False)
