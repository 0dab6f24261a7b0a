"""Ticks as packed arrays, straight from the columns: for who takes groups and wants no message of each."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from common.store.arrays import TickArray
from common.store.parquet.merge import Rows
from common.store.parquet.ticks import records_of, starts_of


def tick_arrays(steps: Iterator[list[Rows]], count_max: int) -> Iterator[TickArray]:
    """Merged rows of ticks as arrays of one instrument each, in the order of time."""
    for step in steps:
        raw_symbols = [rows.table["raw_symbol"].unique().to_pylist() for rows in step]
        if len(step) == 1 and len(raw_symbols[0]) == 1:
            place = step[0].place
            instrument = (place.exchange or "", place.symbol or "", raw_symbols[0][0])
            yield from _cut(instrument, records_of(step[0].table), count_max)
        else:
            yield from _interleaved(step, count_max)


def _interleaved(step: list[Rows], count_max: int) -> Iterator[TickArray]:
    """Several files or instruments: cut wherever the instrument changes."""
    names: dict[tuple[str, str, str], int] = {}
    owners_of: list[npt.NDArray[np.int64]] = []
    for rows in step:
        column = rows.table["raw_symbol"].combine_chunks().dictionary_encode()
        exchange, symbol = rows.place.exchange or "", rows.place.symbol or ""
        words = [names.setdefault((exchange, symbol, word), len(names)) for word in column.dictionary.to_pylist()]
        owners_of.append(np.array(words)[column.indices.to_numpy()])
    ids, times = (np.concatenate([getattr(rows, name) for rows in step]) for name in ("ids", "times"))
    order = np.lexsort((ids, times))
    records = np.concatenate([records_of(rows.table) for rows in step])[order]
    owners = np.concatenate(owners_of)[order]
    instruments = list(names)
    starts = starts_of(owners)
    for owner, (start, end) in zip(owners[starts].tolist(), pairwise([*starts.tolist(), len(owners)]), strict=True):
        if end - start <= count_max:
            exchange, symbol, raw_symbol = instruments[owner]
            yield TickArray(exchange, symbol, raw_symbol, records[start:end])
        else:
            yield from _cut(instruments[owner], records[start:end], count_max)


def _cut(instrument: tuple[str, str, str], records: npt.NDArray[np.void], count_max: int) -> Iterator[TickArray]:
    for start in range(0, len(records), count_max):
        yield TickArray(*instrument, records[start : start + count_max])
