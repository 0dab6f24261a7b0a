"""An example of every message type, made from its fields."""

from typing import Any

import msgspec

from common.events.base import Message
from common.events.glossary import field_of


def make_example(message_type: type[Message], *, is_full: bool = True) -> Message:
    """A message with every field, or with the required ones only."""
    return msgspec.convert(_example_of(message_type, is_full=is_full), message_type)


def _example_of(struct_type: type[msgspec.Struct], *, is_full: bool) -> dict[str, Any]:
    tag = struct_type.__struct_config__.tag
    return {
        **({} if tag is None else {"type": tag}),
        **{
            field.name: _nested_example(field.type, is_full=is_full)
            or field_of(struct_type.__name__, field.name).example
            for field in msgspec.structs.fields(struct_type)
            if is_full or field.required
        },
    }


def _nested_example(field_type: Any, *, is_full: bool) -> Any:
    """An example of a struct, or a list of one; None for anything else."""
    if hasattr(field_type, "__metadata__"):
        return _nested_example(field_type.__origin__, is_full=is_full)
    for part in (field_type, *getattr(field_type, "__args__", ())):
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            example = _example_of(part, is_full=is_full)
            return [example] if getattr(field_type, "__origin__", None) is list else example
    return None
