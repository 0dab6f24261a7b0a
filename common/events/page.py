"""EVENTS.md, written from the types: the catalogue of all messages for people."""

from collections.abc import Iterable, Iterator, Sequence

from common.events.base import ListedMessage, Message
from common.events.catalogue import Entry, FieldEntry, describe, domains, fields_of, nested_types, types_of_domain
from common.events.other_names import OTHER_NAMES
from common.events.registry import RETIRED_TYPES_BY_NAME

INTRODUCTION = """\
# Events

Every message type on the wire. Written from the types by `tickpulse events page --output EVENTS.md`; do not edit.
`tickpulse events show NAME` tells the same of one, with an example; `tickpulse events schema` writes JSON Schemas.

An **event** tells what happened. A **command** asks for something that may be refused, with an UPPER_CASE `reason`. A
**query** asks what is. A **reply** answers one command or query. No type is two of these. What *others* send is for
services beside the pipeline: none of its own processes does yet.

An event has a priority, which decides what goes first where several wait:

| priority | of |
|---|---|
| 0 critical | fills, broken limits, margin calls, halts |
| 1 high | changes of orders, positions and balances, signals, faults |
| 2 normal | market data, and what nobody waits for |
| 3 low | metrics, heartbeats, progress |

The name is `{Domain}.{Entity}.{Action}.v{N}`. A new optional field keeps the version. A changed meaning gets a new one;
the old stays readable, see *Retired versions*. A version that a reader does not know is refused as `UNKNOWN_TYPE`.

A frame is `topic`, one NUL byte, and one MessagePack map, whose first key is `type`. The types of fields:

| type | is |
|---|---|
| decimal | an exact amount, written as text: whatever moves money |
| float | market data and figures, 64 bit; never NaN or infinite |
| id | 1 to 64 of `A-Z a-z 0-9 . _ : -` |
| word | lower-case, `a-z 0-9 _`, begins with a letter, up to 32 |
| code | UPPER_CASE, `A-Z 0-9 _`, begins with a letter, up to 64 |
| currency | 1 to 16 of `A-Z a-z 0-9` |
| scope | up to 64 characters without a space |
| text | up to so many characters |

A field behind `?` may be absent.

Every message has these fields:
"""


def write_page() -> str:
    """The whole page, in Markdown."""
    return "\n".join(line.rstrip() for line in _lines()) + "\n"


def emitters_of(entry: Entry) -> str:
    """The processes of ours that send it, in words; empty where none does."""
    return ", ".join(entry.emitters).replace("every", "every process")


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    yield from _field_table(fields_of(Message))
    yield "And one about an instrument has these; it is on the topic `{kind}.{exchange}.{symbol}`:"
    yield ""
    yield from _field_table(fields_of(ListedMessage)[len(fields_of(Message)) :])
    for domain in domains():
        yield from _domain(domain)
    yield from _parts()
    yield from _retired()
    yield from _other_names()


def _domain(domain: str) -> Iterator[str]:
    entries = [describe(message_type) for message_type in types_of_domain(domain)]
    yield f"## {domain}"
    yield ""
    yield from _table(
        ("type", "class", "is", "topic", "sent by", "when"),
        (
            (
                f"`{entry.type}`",
                entry.name,
                f"event, {entry.priority.lower()}" if entry.priority else entry.nature,
                f"`{entry.topic}`",
                emitters_of(entry) or "others",
                entry.summary + (f" Answered by `{entry.answer}`." if entry.answer else ""),
            )
            for entry in entries
        ),
    )
    groups: dict[tuple[FieldEntry, ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_own_fields(entry), []).append(entry)
    for fields, members in groups.items():
        yield f"**{', '.join(entry.name for entry in members)}**"
        yield ""
        for note in dict.fromkeys(note for entry in members for note in entry.notes):
            yield note
            yield ""
        yield from _field_table(fields)


def _own_fields(entry: Entry) -> tuple[FieldEntry, ...]:
    """Without those that every message has."""
    common = {field.name for field in fields_of(Message)}
    if entry.topic.endswith(".{exchange}.{symbol}"):
        common |= {"exchange", "symbol"}
    return tuple(field for field in entry.fields if field.name not in common)


def _parts() -> Iterator[str]:
    yield "## Parts of messages"
    yield ""
    for struct_type in nested_types():
        yield f"**{struct_type.__name__}**: {' '.join((struct_type.__doc__ or '').split())}"
        yield ""
        yield from _field_table(fields_of(struct_type))


def _retired() -> Iterator[str]:
    yield "## Retired versions"
    yield ""
    yield "Sent no more, but read for ever, as the newest version of their type."
    yield ""
    entries = map(describe, RETIRED_TYPES_BY_NAME.values())
    yield from _table(
        ("version", "read as", "why"), ((f"`{entry.type}`", f"`{entry.read_as}`", entry.summary) for entry in entries)
    )


def _other_names() -> Iterator[str]:
    yield "## Names elsewhere"
    yield ""
    yield "What other designs call them."
    yield ""
    yield from _table(
        ("there", "here", "remark"),
        (
            (
                ", ".join(f"`{name}`" for name in other.names),
                ", ".join(message_type.__name__ for message_type in other.types),
                other.remark,
            )
            for other in OTHER_NAMES
        ),
    )


def _field_table(fields: Sequence[FieldEntry]) -> Iterator[str]:
    yield from _table(
        ("field", "type", "meaning"),
        ((f"{'' if field.is_required else '?'}`{field.name}`", field.type, field.meaning) for field in fields),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |"
    yield ""
