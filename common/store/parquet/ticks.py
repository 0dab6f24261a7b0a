"""Ticks and groups of ticks in one table, one row a tick, so that counting rows counts ticks. Pure.

A group is the rows of one id, `group_count` of them, oldest first; a single tick has none. An absent price is null.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.events.market import TICK_DTYPE, Tick, Ticks
from common.store.parquet.columns import TIMESTAMP, TypeColumns, columns_of, values_of
from common.store.parquet.shapes import Shaped

AMOUNTS = ("bid", "ask", "bid_size", "ask_size", "last", "volume")
# What packed ticks and their order are made from.
PACKED_COLUMNS = [
    "id",
    "timestamp_ns",
    "local_timestamp_ns",
    "exchange_timestamp_ns",
    *AMOUNTS,
    "raw_symbol",
    "group_count",
    "group_timestamp_ns",
]
_NAN_BITS = np.array(np.nan, "<f8").view("<i8")
_INT64_MAX = 2**63 - 1
_TICK: TypeColumns = columns_of(Tick)
SCHEMA = pa.schema([*_TICK.schema, ("group_count", pa.int32()), ("group_timestamp_ns", TIMESTAMP)])
Ints = npt.NDArray[np.int64]


def table_of_shaped(shape: Shaped, ids: Ints, recorded: Ints) -> pa.Table:
    """Single ticks of one shape."""
    return with_groups(shaped_table(columns_of(Tick).schema, shape, ids, recorded))


def shaped_table(schema: pa.Schema, shape: Shaped, ids: Ints, recorded: Ints) -> pa.Table:
    """Messages of one shape as rows of their type's columns."""
    columns: dict[str, pa.Array] = {"id": pa.array(ids), "recorded_ns": pa.array(recorded).view(TIMESTAMP)}
    for name, values in shape.arrays.items():
        columns[name] = _texts(values) if values.dtype == np.uint8 else pa.array(values)
    count = len(ids)
    arrays = []
    for field in schema:
        column = columns.get(field.name)
        if column is None:
            fixed = shape.fixed.get(field.name)
            column = pa.nulls(count, field.type) if fixed is None else pa.repeat(pa.scalar(fixed, field.type), count)
        elif column.type != field.type:
            column = column.view(field.type) if pa.types.is_timestamp(field.type) else column.cast(field.type)
        arrays.append(column)
    return pa.Table.from_arrays(arrays, schema=schema)


def with_groups(table: pa.Table) -> pa.Table:
    """Single ticks as they stand beside groups."""
    nulls = [pa.nulls(table.num_rows, field.type) for field in list(SCHEMA)[-2:]]
    return pa.Table.from_arrays([*table.columns, *nulls], schema=SCHEMA)


def fits(group: Ticks) -> bool:
    """Tell whether a group is rows that give it again; a malformed one is kept as it came."""
    return len(group.data) == group.count * TICK_DTYPE.itemsize and max(group.seq, group.epoch) <= _INT64_MAX


def table_of_groups(ids: Ints, recorded: Ints, groups: Sequence[Ticks]) -> pa.Table:
    """Groups of one instrument as rows."""
    records = np.frombuffer(b"".join([group.data for group in groups]), TICK_DTYPE)
    counts = np.array([group.count for group in groups])
    ends = np.cumsum(counts)
    within = np.arange(len(records)) - np.repeat(ends - counts, counts)
    first_seqs = np.array([group.seq - group.count + 1 for group in groups])

    def spread(values: Sequence[int] | Ints) -> pa.Array:
        return pa.array(np.repeat(np.asarray(values, np.int64), counts))

    columns: dict[str, pa.Array] = {
        "id": spread(ids),
        "recorded_ns": spread(recorded),
        "source": _spread_texts([group.source for group in groups], counts),
        "epoch": spread([group.epoch for group in groups]),
        "seq": pa.array(np.repeat(first_seqs, counts) + within),
        "raw_symbol": _spread_texts([group.raw_symbol for group in groups], counts),
        "timestamp_ns": pa.array(records["timestamp_ns"].copy()),
        "local_timestamp_ns": pa.array(records["local_timestamp_ns"].copy()),
        "group_count": spread(counts),
        "group_timestamp_ns": spread([group.timestamp_ns for group in groups]),
    }
    exchange_ns = records["exchange_timestamp_ns"].copy()
    columns["exchange_timestamp_ns"] = pa.array(exchange_ns, mask=exchange_ns == 0)
    for name in AMOUNTS:
        amounts = records[name].copy()
        columns[name] = pa.array(amounts, mask=amounts.view("<i8") == _NAN_BITS)
    columns["frame"] = pa.nulls(len(records), pa.binary())
    arrays = [
        columns[field.name].view(field.type)
        if pa.types.is_timestamp(field.type)
        else columns[field.name].cast(field.type)
        for field in SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def record_times(table: pa.Table) -> Ints:
    """The time of each row's record: its own, or its group's, int64."""
    times = numbers_of(table["timestamp_ns"])
    groups = table["group_timestamp_ns"]
    if groups.null_count == len(groups):
        return times
    return np.where(valid_of(groups), numbers_of(groups), times)


def numbers_of(column: pa.ChunkedArray) -> Ints:
    """A column of integers or times as int64; null as 0."""
    numbers = column.cast(pa.int64())
    if numbers.null_count:
        numbers = numbers.fill_null(0)
    values: Ints = numbers.to_numpy()
    return values


def valid_of(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Which rows have a value."""
    values: npt.NDArray[np.bool_] = column.is_valid().to_numpy()
    return values


def records_of(table: pa.Table) -> npt.NDArray[np.void]:
    """The rows as packed ticks: shape (rows,), dtype `TICK_DTYPE`."""
    records = np.empty(table.num_rows, TICK_DTYPE)
    for name in ("timestamp_ns", "local_timestamp_ns", "exchange_timestamp_ns"):
        records[name] = numbers_of(table[name])
    for name in AMOUNTS:
        records[name] = table[name].to_numpy()  # null is the NaN that stands for absent
    return records


def messages(table: pa.Table, exchange: str, symbol: str) -> Iterator[Tick | Ticks]:
    """The ticks and groups of rows; rows of one group are never apart."""
    counts = numbers_of(table["group_count"])
    if not counts.any():
        return _single_ticks(table, exchange, symbol)
    return _mixed(table, counts, exchange, symbol)


def _mixed(table: pa.Table, counts: Ints, exchange: str, symbol: str) -> Iterator[Tick | Ticks]:
    singles = _single_ticks(table.filter(table["group_count"].is_null()), exchange, symbol)
    starts = starts_of(numbers_of(table["id"]))
    heads = table.take(pa.array(starts + np.maximum(counts[starts], 1) - 1))
    size = TICK_DTYPE.itemsize
    packed = memoryview(records_of(table).tobytes())
    times = record_times(heads).tolist()
    rows = zip(
        starts.tolist(),
        counts[starts].tolist(),
        values_of(heads["source"]),
        heads["epoch"].to_pylist(),
        heads["seq"].to_pylist(),
        times,
        values_of(heads["raw_symbol"]),
        strict=True,
    )
    for start, count, source, epoch, seq, at_ns, raw_symbol in rows:
        if count == 0:
            yield next(singles)
            continue
        data = bytes(packed[start * size : (start + count) * size])
        yield Ticks(source, epoch, seq, at_ns, exchange, symbol, raw_symbol, count, data)


def starts_of(ids: Ints) -> Ints:
    """The first row of each record; rows of one record stand together."""
    starts: Ints = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1])))
    return starts


def _single_ticks(table: pa.Table, exchange: str, symbol: str) -> Iterator[Tick]:
    frames = table["frame"]
    if frames.null_count < len(frames):
        return cast("Iterator[Tick]", _TICK.messages(table, exchange, symbol))
    columns = {name: values_of(table[name]) for name in _TICK.all_names if name not in {"exchange", "symbol"}}
    constant: Mapping[str, repeat[str]] = {"exchange": repeat(exchange), "symbol": repeat(symbol)}
    return map(Tick, *[constant.get(name) or columns[name] for name in _TICK.all_names])


def _texts(values: npt.NDArray[np.generic]) -> pa.Array:
    count, size = values.shape
    offsets = pa.py_buffer((np.arange(count + 1) * size).astype("<i4"))
    return pa.StringArray.from_buffers(count, offsets, pa.py_buffer(values))


def _spread_texts(texts: Sequence[str], counts: Ints) -> pa.Array:
    words = list(dict.fromkeys(texts))
    if len(words) == 1:
        return pa.repeat(words[0], int(counts.sum()))
    index = {word: place for place, word in enumerate(words)}
    places = pa.array(np.repeat(np.array([index[text] for text in texts], np.int32), counts))
    return pa.DictionaryArray.from_arrays(places, pa.array(words)).cast(pa.string())
