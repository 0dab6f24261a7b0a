"""The columns of each message type, translated from its fields: no type is written down twice. Pure.

Times become UTC timestamps, amounts exact decimals with the number of decimals as they were written, enums text, lists
and maps and structs what they are. What columns cannot hold exactly (a number of 64 bits, a decimal of 24 digits)
stands as the wire's bytes in the column `frame`; every row is compared with its message before it is written.
"""

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from functools import cache
from inspect import signature
from operator import attrgetter
from typing import Any, NamedTuple

import pyarrow as pa
from msgspec import inspect

from common.events.base import Message
from common.money import DECIMALS_MAX, EXACT
from common.store.selection import TIME_NS_MAX, TIME_NS_MIN
from common.wire.codec import decode_body, encode_body

TIMESTAMP = pa.timestamp("ns", "UTC")
DECIMAL = pa.decimal128(38, DECIMALS_MAX)
# Said by the folder, so no column of the file.
PLACE_FIELDS = frozenset({"exchange", "symbol"})
Unpack = Callable[[Any], Any]


class _Column(NamedTuple):
    """One value as Arrow has it; None for a function that would return what it is given."""

    arrow: pa.DataType
    pack: Callable[[Any], Any] | None = None
    unpack: Unpack | None = None


class _Field(NamedTuple):
    name: str
    column: _Column
    is_decimal: bool


def _decimals(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError(f"amount: expected a number, was {amount}")  # noqa: TRY004  # NaN is a Decimal, and no number
    return -exponent


def _as_written(value: Decimal, decimals: int) -> Decimal:
    return value.quantize(Decimal((0, (1,), -decimals)), context=EXACT)


def _optional(column: _Column) -> _Column:
    pack, unpack = column.pack, column.unpack
    return _Column(
        column.arrow,
        None if pack is None else lambda value: None if value is None else pack(value),
        None if unpack is None else lambda value: None if value is None else unpack(value),
    )


def _column(kind: inspect.Type, name: str) -> _Column:  # noqa: C901, PLR0911  # one case for each kind of field
    match kind:
        case inspect.StrType() | inspect.LiteralType():
            return _Column(pa.string())
        case inspect.IntType():
            return _Column(TIMESTAMP if name.endswith("_ns") else pa.int64())
        case inspect.FloatType():
            return _Column(pa.float64())
        case inspect.BoolType():
            return _Column(pa.bool_())
        case inspect.BytesType():
            return _Column(pa.binary())
        case inspect.EnumType():
            return _enum(kind.cls)
        case inspect.DecimalType():
            return _Column(
                pa.struct([("value", DECIMAL), ("decimals", pa.int8())]),
                lambda value: {"value": value, "decimals": _decimals(value)},
                lambda pair: _as_written(pair["value"], pair["decimals"]),
            )
        case inspect.ListType():
            item = _column(kind.item_type, name)
            return _Column(pa.list_(item.arrow), _each(item.pack), _each(item.unpack))
        case inspect.TupleType():
            return _tuple([_column(item, name) for item in kind.item_types])
        case inspect.DictType():
            return _map(_column(kind.value_type, name))
        case inspect.StructType():
            return _struct(kind)
        case inspect.UnionType():
            (only,) = [other for other in kind.types if not isinstance(other, inspect.NoneType)]
            return _optional(_column(only, name))
    raise TypeError(f"field {name}: expected a kind that has a column, was {kind}")


def _enum(cls: type[enum.Enum]) -> _Column:
    return _Column(pa.string(), lambda value: value.value, cls)


def _each(function: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    return None if function is None else lambda values: [function(value) for value in values]


def _tuple(items: list[_Column]) -> _Column:
    names = [f"item_{index}" for index in range(len(items))]
    packs = [item.pack or _same for item in items]
    unpacks = [item.unpack or _same for item in items]
    return _Column(
        pa.struct([(name, item.arrow) for name, item in zip(names, items, strict=True)]),
        lambda values: {name: pack(value) for name, pack, value in zip(names, packs, values, strict=True)},
        lambda row: tuple(unpack(row[name]) for name, unpack in zip(names, unpacks, strict=True)),
    )


def _map(value: _Column) -> _Column:
    pack, unpack = value.pack or _same, value.unpack or _same
    return _Column(
        pa.map_(pa.string(), value.arrow),
        lambda entries: [(key, pack(item)) for key, item in entries.items()],
        lambda entries: {key: unpack(item) for key, item in entries},
    )


def _struct(kind: inspect.StructType) -> _Column:
    cls = kind.cls
    columns = {field.name: _column(field.type, field.name) for field in kind.fields}
    packs = {name: column.pack or _same for name, column in columns.items()}
    unpacks = {name: column.unpack or _same for name, column in columns.items()}
    return _Column(
        pa.struct([(name, column.arrow) for name, column in columns.items()]),
        lambda value: {name: pack(getattr(value, name)) for name, pack in packs.items()},
        lambda row: cls(**{name: unpack(row[name]) for name, unpack in unpacks.items()}),
    )


def _same(value: Any) -> Any:
    return value


def _with_numbers(kind: pa.DataType) -> pa.DataType:
    """The same type with times as ns: Arrow has no Python object for a time that fine."""
    if pa.types.is_timestamp(kind):
        return pa.int64()
    if pa.types.is_list(kind):
        return pa.list_(_with_numbers(kind.value_type))
    if pa.types.is_map(kind):
        return pa.map_(kind.key_type, _with_numbers(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _with_numbers(field.type)) for field in kind])
    return kind


def values_of(column: pa.ChunkedArray) -> Iterable[Any]:
    """The Python values of a column; times as ns, text without making the same text twice."""
    if pa.types.is_string(column.type):
        column = column.dictionary_encode().unify_dictionaries().combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = column.chunk(0)
        words: list[str | None] = column.dictionary.to_pylist()
        if len(words) == 1 and not column.null_count:
            return words * len(column)
        words.append(None)
        return [words[index] for index in column.indices.fill_null(len(words) - 1).to_pylist()]
    values: list[Any] = column.cast(_with_numbers(column.type)).to_pylist()
    return values


class TypeColumns:
    """One message type as a table: `id`, `recorded_ns`, its fields, `frame`."""

    def __init__(self, message_type: type[Message]) -> None:
        """Translate the fields of a type."""
        self.message_type = message_type
        parameters = signature(message_type).parameters.values()
        self._is_keyword_only = any(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)
        info = inspect.type_info(message_type)
        if not isinstance(info, inspect.StructType):
            raise TypeError(f"message type: expected a struct, was {message_type}")
        self.all_names = tuple(field.name for field in info.fields)
        self.fields = [self._field(field) for field in info.fields if field.name not in PLACE_FIELDS]
        columns: list[tuple[str, pa.DataType]] = [("id", pa.int64()), ("recorded_ns", TIMESTAMP)]
        for field in self.fields:
            columns.append((field.name, field.column.arrow))
            if field.is_decimal:
                columns.append((f"{field.name}_decimals", pa.int8()))
        self.schema = pa.schema([*columns, ("frame", pa.binary())])

    def table(self, ids: Sequence[int], recorded: Sequence[int], messages: Sequence[Message]) -> pa.Table:
        """Messages of one place as rows, each of which gives its message again to the byte."""
        try:
            table = self._columns(ids, recorded, messages, {})
            again = [*self.messages(table, *place_of(messages[0]))]
            odd = [row for row, message in enumerate(messages) if encode_body(again[row]) != encode_body(message)]
        except (pa.ArrowException, ArithmeticError, OverflowError, TypeError, ValueError):
            odd = self._odd_rows(messages)
        if odd:
            table = self._columns(ids, recorded, messages, {row: encode_body(messages[row]) for row in odd})
        return table

    def messages(self, table: pa.Table, exchange: str | None, symbol: str | None) -> Iterator[Message]:
        """The messages of rows."""
        columns: dict[str, Iterable[Any]] = {
            "exchange": [exchange] * table.num_rows,
            "symbol": [symbol] * table.num_rows,
        }
        frames = table["frame"]
        if frames.null_count < len(frames):
            yield from self._with_frames(table, exchange, symbol)
            return
        for field in self.fields:
            columns[field.name] = self._values(field, table)
        rows = zip(*(columns[name] for name in self.all_names), strict=True)
        if self._is_keyword_only:
            names = self.all_names
            yield from (self.message_type(**dict(zip(names, row, strict=True))) for row in rows)
        else:
            yield from (self.message_type(*row) for row in rows)

    def _with_frames(self, table: pa.Table, exchange: str | None, symbol: str | None) -> Iterator[Message]:
        plain = self.messages(table.filter(table["frame"].is_null()), exchange, symbol)
        for frame in table["frame"].to_pylist():
            yield next(plain) if frame is None else decode_body(frame)

    @staticmethod
    def _field(field: inspect.Field) -> _Field:
        kind = field.type
        kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
        if any(isinstance(other, inspect.DecimalType) for other in kinds):
            return _Field(field.name, _Column(DECIMAL), is_decimal=True)
        return _Field(field.name, _column(kind, field.name), is_decimal=False)

    @staticmethod
    def _values(field: _Field, table: pa.Table) -> Iterable[Any]:
        values = values_of(table[field.name])
        if field.is_decimal:
            decimals = table[f"{field.name}_decimals"].to_pylist()
            return [
                None if value is None else _as_written(value, count)
                for value, count in zip(values, decimals, strict=True)
            ]
        unpack = field.column.unpack
        return values if unpack is None else [unpack(value) for value in values]

    def _columns(
        self, ids: Sequence[int], recorded: Sequence[int], messages: Sequence[Message], frames: dict[int, bytes]
    ) -> pa.Table:
        columns: dict[str, Any] = {"id": ids, "recorded_ns": recorded}
        for field in self.fields:
            get = attrgetter(field.name)
            values = [None if row in frames else get(message) for row, message in enumerate(messages)]
            if field.name == "timestamp_ns":
                values = [min(max(message.timestamp_ns, TIME_NS_MIN), TIME_NS_MAX) for message in messages]
            if field.is_decimal:
                columns[f"{field.name}_decimals"] = [None if value is None else _decimals(value) for value in values]
            elif (pack := field.column.pack) is not None:
                values = [None if value is None else pack(value) for value in values]
            columns[field.name] = values
        columns["frame"] = [frames.get(row) for row in range(len(messages))]
        arrays = [pa.array(columns[column.name], column.type) for column in self.schema]
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def _odd_rows(self, messages: Sequence[Message]) -> list[int]:
        """Which of them columns cannot hold, one by one."""
        odd = []
        for row, message in enumerate(messages):
            try:
                table = self._columns([0], [0], [message], {})
                (again,) = self.messages(table, *place_of(message))
                is_odd = encode_body(again) != encode_body(message)
            except (pa.ArrowException, ArithmeticError, OverflowError, TypeError, ValueError):
                is_odd = True
            if is_odd:
                odd.append(row)
        return odd


def place_of(message: Message) -> tuple[str | None, str | None]:
    """Exchange and symbol of a message; None for what it has not."""
    return getattr(message, "exchange", None), getattr(message, "symbol", None)


@cache
def columns_of(message_type: type[Message]) -> TypeColumns:
    """The columns of a type."""
    return TypeColumns(message_type)
