"""Ticks as packed arrays, straight from the columns: for who takes groups and wants no message of each."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from common.store.arrays import TickArray
from common.store.parquet.columns import values_of
from common.store.parquet.merge import Rows
from common.store.parquet.ticks import records_of, starts_of


def tick_arrays(steps: Iterator[list[Rows]], count_max: int) -> Iterator[TickArray]:
    """Merged rows of ticks as arrays of one instrument each, in the order of time."""
    for step in steps:
        raw_symbols = [rows.table["raw_symbol"].unique().to_pylist() for rows in step]
        if len(step) == 1 and len(raw_symbols[0]) == 1:
            yield from _cut(step[0], raw_symbols[0][0], records_of(step[0].table), count_max)
        else:
            yield from _interleaved(step, count_max)


def _interleaved(step: list[Rows], count_max: int) -> Iterator[TickArray]:
    """Several instruments: cut wherever the instrument changes."""
    names: list[tuple[Rows, str]] = []
    index: list[npt.NDArray[np.int64]] = []
    for rows in step:
        texts = values_of(rows.table["raw_symbol"])
        words = {word: len(names) + place for place, word in enumerate(dict.fromkeys(texts))}
        names += [(rows, word) for word in words]
        index.append(np.array([words[text] for text in texts]))
    owners = np.concatenate(index)
    ids, times = (np.concatenate([getattr(rows, name) for rows in step]) for name in ("ids", "times"))
    order = np.lexsort((ids, times))
    records = np.concatenate([records_of(rows.table) for rows in step])[order]
    owners = owners[order]
    starts = [*starts_of(owners).tolist(), len(owners)]
    for start, end in pairwise(starts):
        rows, raw_symbol = names[owners[start]]
        yield from _cut(rows, raw_symbol, records[start:end], count_max)


def _cut(rows: Rows, raw_symbol: str, records: npt.NDArray[np.void], count_max: int) -> Iterator[TickArray]:
    for start in range(0, len(records), count_max):
        yield TickArray(
            rows.place.exchange or "", rows.place.symbol or "", raw_symbol, records[start : start + count_max]
        )
