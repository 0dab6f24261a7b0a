"""What there is to know about a message type, read from the type itself: what it is, who sends it, its fields.

`tickpulse events` and EVENTS.md show nothing else, so that they cannot be wrong about it.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import msgspec.inspect as inspected

from common.errors import InvalidValueError
from common.events import base
from common.events.base import Command, Event, ListedMessage, Message, Query, Reply
from common.events.examples import make_example
from common.events.glossary import field_of
from common.events.registry import MESSAGE_TYPES, RETIRED_TYPES_BY_NAME, TYPES_BY_NAME, AnyMessage, type_name
from common.events.upcasting import upcast

NATURES: tuple[type[Message], ...] = (Event, Command, Query, Reply)
ALPHABETS: dict[str, Any] = {
    "id": base.Id,
    "word": base.Word,
    "code": base.Code,
    "currency": base.Currency,
    "scope": base.Scope,
}
SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class FieldEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One field: its type and bounds in words, and what it means, with its unit."""

    name: str
    type: str
    is_required: bool
    meaning: str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One message type."""

    type: str
    name: str
    domain: str
    nature: str  # event, command, query or reply
    topic: str
    priority: str | None  # of an event
    emitters: tuple[str, ...]
    answer: str | None  # of a command or query: kind of what answers it
    summary: str
    notes: tuple[str, ...]
    read_as: str | None  # of a version that is sent no more
    fields: tuple[FieldEntry, ...]
    example: Message


def describe(message_type: type[Message]) -> Entry:
    """Everything about a type."""
    versioned = type_name(message_type)
    summary, *notes = _paragraphs(message_type)
    (nature,) = (nature for nature in NATURES if issubclass(message_type, nature))
    parents = [parent for parent in message_type.__mro__[1:] if parent not in {*NATURES, ListedMessage}]
    shared = [text for parent in parents if issubclass(parent, Event) for text in _paragraphs(parent)]
    is_retired = versioned in RETIRED_TYPES_BY_NAME
    example = make_example(message_type)
    return Entry(
        type=versioned,
        name=message_type.__name__,
        domain=domain_of(message_type),
        nature=nature.__name__.lower(),
        topic=_topic_of(message_type),
        priority=message_type.priority.name if issubclass(message_type, Event) else None,
        emitters=message_type.emitters,
        answer=message_type.answer if issubclass(message_type, Command | Query) else None,
        summary=summary,
        notes=(*notes, *shared),
        read_as=type_name(type(upcast(example))) if is_retired else None,
        fields=fields_of(message_type),
        example=example,
    )


def domain_of(message_type: type[Message]) -> str:
    """The first part of the versioned name."""
    return type_name(message_type).partition(".")[0]


def domains() -> list[str]:
    """Every domain, in the order of the registry."""
    return list(dict.fromkeys(map(domain_of, MESSAGE_TYPES)))


def types_of_domain(name: str) -> list[type[Message]]:
    """The types of one domain, whatever the case of its name.

    Raises:
        InvalidValueError: There is no such domain.
    """
    found = [message_type for message_type in MESSAGE_TYPES if domain_of(message_type).lower() == name.lower()]
    if not found:
        raise InvalidValueError(f"domain: expected one of {', '.join(domains())}, was {name!r}")
    return found


def find_types(name: str) -> list[type[Message]]:
    """The types that a name stands for: a versioned name, a class name, or the kind that topics begin with.

    Raises:
        InvalidValueError: There is none; the message names what is spelt alike.
    """
    by_name = {**TYPES_BY_NAME, **RETIRED_TYPES_BY_NAME}
    if name in by_name:
        return [by_name[name]]
    found = [message_type for message_type in MESSAGE_TYPES if name in {message_type.__name__, message_type.kind}]
    if not found:
        known = [word for versioned, known in by_name.items() for word in (versioned, known.__name__, known.kind)]
        raise InvalidValueError(
            f"type: expected a versioned name, a class name or a kind, was {name[:80]!r}"
            f"{_suggestion(name, known)}; `tickpulse events list` shows them all"
        )
    return found


def schema_of(message_type: type[Message] | None = None) -> dict[str, Any]:
    """JSON Schema of a type, or of all that there are, with the meaning of each field.

    It describes JSON, and MessagePack just as well but for bytes, which are base64 in JSON.
    """
    schema = msgspec.json.schema(AnyMessage if message_type is None else message_type)
    for name, definition in schema["$defs"].items():
        definition["description"] = inspect.cleandoc(definition.get("description", ""))
        for field_name, properties in definition.get("properties", {}).items():
            if field_name != "type":
                properties["description"] = field_of(name, field_name).meaning
    return {"$schema": SCHEMA_DIALECT, **schema}


def fields_of(struct_type: type[msgspec.Struct]) -> tuple[FieldEntry, ...]:
    """The fields of a message, or of a struct in one, in the order of the wire."""
    info: Any = inspected.type_info(struct_type)
    return tuple(
        FieldEntry(
            name=field.name,
            type=_words_for(_without_none(field.type)),
            is_required=field.required,
            meaning=field_of(struct_type.__name__, field.name).meaning,
        )
        for field in info.fields
    )


def nested_types() -> list[type[msgspec.Struct]]:
    """Structs that messages hold and that are no messages themselves, by name."""
    found = {
        part
        for message_type in MESSAGE_TYPES
        for field in msgspec.structs.fields(message_type)
        for bare in [field.type.__origin__ if hasattr(field.type, "__metadata__") else field.type]
        for part in (bare, *getattr(bare, "__args__", ()))
        if isinstance(part, type) and issubclass(part, msgspec.Struct) and not issubclass(part, Message)
    }
    return sorted(found, key=lambda struct_type: struct_type.__name__)


def _paragraphs(documented: type) -> list[str]:
    return [" ".join(text.split()) for text in inspect.cleandoc(documented.__doc__ or "").split("\n\n")]


def _topic_of(message_type: type[Message]) -> str:
    """The topic with the names of fields where their values stand."""
    # A struct that is built rather than read takes any value.
    places: dict[str, Any] = {name: f"{{{name}}}" for name in message_type.__struct_fields__}
    return message_type(**places).topic()


def _suggestion(name: str, known: Iterable[str]) -> str:
    by_lower = {word.lower(): word for word in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(by_lower[word] for word in close)}?" if close else ""


def _without_none(info: inspected.Type) -> inspected.Type:
    if not isinstance(info, inspected.UnionType):
        return info
    parts = [part for part in info.types if not isinstance(part, inspected.NoneType)]
    return parts[0] if len(parts) == 1 else inspected.UnionType(types=tuple(parts))


def _words_for(info: inspected.Type) -> str:
    return WORDS_FOR[type(info)](info)


def _range(info: inspected.IntType | inspected.FloatType) -> str:
    if info.le == 2**63 - 1:
        return " of 64 bits"
    if info.ge is not None and info.le is not None:
        return f" {info.ge:g} to {info.le:g}"
    return "" if info.ge is None else f" from {info.ge:g}"


def _up_to(length: int | None, unit: str = "") -> str:
    return "" if length is None else f", up to {length}{unit}"


def _words_for_text(info: inspected.StrType) -> str:
    alphabets = [name for name, alias in ALPHABETS.items() if inspected.type_info(alias) == info]
    return alphabets[0] if alphabets else f"text{_up_to(info.max_length)}"


WORDS_FOR: dict[type[inspected.Type], Callable[[Any], str]] = {
    inspected.BoolType: lambda _: "bool",
    inspected.IntType: lambda info: f"int{_range(info)}",
    inspected.FloatType: lambda info: f"float{_range(info)}",
    inspected.DecimalType: lambda _: "decimal",
    inspected.BytesType: lambda info: f"bytes{_up_to(info.max_length)}",
    inspected.StrType: _words_for_text,
    inspected.LiteralType: lambda info: " / ".join(info.values),
    inspected.EnumType: lambda info: " / ".join(member.value for member in info.cls),
    inspected.ListType: lambda info: f"list of {_words_for(info.item_type)}{_up_to(info.max_length, ' items')}",
    inspected.TupleType: lambda info: f"({', '.join(map(_words_for, info.item_types))})",
    inspected.DictType: lambda info: (
        f"map of {_words_for(info.key_type)} to {_words_for(info.value_type)}{_up_to(info.max_length, ' items')}"
    ),
    inspected.StructType: lambda info: info.cls.__name__,
    inspected.UnionType: lambda info: " or ".join(map(_words_for, info.types)),
}
