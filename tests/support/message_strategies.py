"""Any message that its type allows, for Hypothesis: derived from the fields and their bounds."""

from collections.abc import Callable
from typing import Any

import msgspec.inspect as inspected
from hypothesis import strategies

from common.events.base import Message
from common.money import AMOUNT_MAX

INT_MAX = 2**63 - 1
ITEMS_MAX = 3  # longer lists cost time and show nothing more
Values = strategies.SearchStrategy[Any]


def messages(message_type: type[Message]) -> strategies.SearchStrategy[Message]:
    """Messages of a type with any value in every field."""
    return _of(inspected.type_info(message_type))


def _of(info: inspected.Type) -> Values:
    return STRATEGY_OF[type(info)](info)


def _integers(info: inspected.IntType) -> Values:
    return strategies.integers(-INT_MAX if info.ge is None else info.ge, INT_MAX if info.le is None else info.le)


def _text(info: inspected.StrType) -> Values:
    if info.pattern is not None:
        return strategies.from_regex(info.pattern, fullmatch=True)
    return strategies.text(strategies.characters(codec="utf-8"), min_size=info.min_length or 0, max_size=48)


STRATEGY_OF: dict[type[inspected.Type], Callable[[Any], Values]] = {
    inspected.StructType: lambda info: strategies.builds(
        info.cls, **{field.name: _of(field.type) for field in info.fields}
    ),
    inspected.UnionType: lambda info: strategies.one_of([_of(part) for part in info.types]),
    inspected.LiteralType: lambda info: strategies.sampled_from(info.values),
    inspected.EnumType: lambda info: strategies.sampled_from(info.cls),
    inspected.ListType: lambda info: strategies.lists(_of(info.item_type), max_size=ITEMS_MAX),
    inspected.TupleType: lambda info: strategies.tuples(*map(_of, info.item_types)),
    inspected.DictType: lambda info: strategies.dictionaries(
        _of(info.key_type), _of(info.value_type), max_size=ITEMS_MAX
    ),
    inspected.NoneType: lambda _: strategies.none(),
    inspected.BoolType: lambda _: strategies.booleans(),
    inspected.IntType: _integers,
    inspected.FloatType: lambda info: strategies.floats(info.ge, info.le, allow_nan=False, allow_infinity=False),
    inspected.DecimalType: lambda _: strategies.decimals(-AMOUNT_MAX, AMOUNT_MAX, places=12),
    inspected.BytesType: lambda info: strategies.binary(max_size=info.max_length or 64),
    inspected.StrType: _text,
}
