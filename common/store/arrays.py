"""Ticks of a store as packed arrays, for backtests: a format that has columns gives them without making messages."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from common.store.selection import EVERYTHING, Selection

TICKS_PER_ARRAY = 4_096


class TickArray(NamedTuple):
    """Ticks of one instrument, oldest first; `records` has shape (count,) and dtype `TICK_DTYPE`."""

    exchange: str
    symbol: str
    raw_symbol: str
    records: npt.NDArray[np.void]


@runtime_checkable
class ArrayStore(Protocol):
    """A store that can give its ticks as arrays."""

    def read_tick_arrays(
        self, selection: Selection = EVERYTHING, count_max: int = TICKS_PER_ARRAY
    ) -> Iterator[TickArray]:
        """The selected ticks, single ones and those of groups, in the order of `Store.read`.

        Arrays follow each other in the order of time: a new one begins wherever the instrument changes, and after
        `count_max` ticks. Types of the selection other than ticks are passed over.

        Raises:
            StoreDamagedError: As of `Store.read`.
        """
        ...
