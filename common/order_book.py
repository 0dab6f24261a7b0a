"""An order book rebuilt from the events that tell of it: a snapshot, then deltas without a hole. Pure.

Sizes are absolute, so a delta that overlaps what is known may be applied; one that leaves updates out may not.

Source:
    Binance, "How to manage a local order book correctly": the first delta after a snapshot has
    `first_update_id <= update_id + 1 <= last_update_id`, each later one follows directly.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import NamedTuple

from common.events.market import BookDelta, BookSnapshot

Level = tuple[float, float]  # price, size


class BookGap(NamedTuple):
    """Updates that were never seen: from `first_update_id` to `last_update_id`, both among them."""

    first_update_id: int
    last_update_id: int

    @property
    def missing_count(self) -> int:
        """How many updates are missing."""
        return self.last_update_id - self.first_update_id + 1


class _Side:
    """The levels of one side. Keys are prices whose sign puts the best last, where most changes are: 0.5 µs each."""

    __slots__ = ("_keys", "_sign", "_sizes")

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._keys: list[float] = []
        self._sizes: dict[float, float] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def replace(self, levels: Iterable[Level]) -> None:
        self._sizes = {price * self._sign: size for price, size in levels if size}
        self._keys = sorted(self._sizes)

    def change(self, levels: Iterable[Level]) -> None:
        keys, sizes, sign = self._keys, self._sizes, self._sign
        for price, size in levels:
            key = price * sign
            if size:
                if key not in sizes:
                    insort(keys, key)
                sizes[key] = size
            elif key in sizes:
                del sizes[key]
                del keys[bisect_left(keys, key)]

    def best(self) -> Level | None:
        if not self._keys:
            return None
        key = self._keys[-1]
        return key * self._sign, self._sizes[key]

    def top(self, count: int) -> list[Level]:
        keys = self._keys[: -count - 1 : -1] if count > 0 else []
        return [(key * self._sign, self._sizes[key]) for key in keys]


class OrderBook:
    """The book of one instrument. `stale` counts deltas that said nothing new, `gaps` the holes."""

    def __init__(self, *, needs_snapshot: bool = True) -> None:
        """Begin with an empty book.

        Args:
            needs_snapshot: Pass deltas over until there is a snapshot. Otherwise the first delta, and the one behind
                a hole, begins a book of its own: right for a recording without snapshots. What lies far from the best
                prices is then unknown, and `is_complete` is False.
        """
        self.last_update_id: int | None = None  # None: not in step with the venue
        self.is_complete = False
        self.stale = 0
        self.gaps = 0
        self._needs_snapshot = needs_snapshot
        self._bids, self._asks = _Side(1), _Side(-1)

    def apply(self, event: BookSnapshot | BookDelta) -> BookGap | None:
        """Take the next event of the instrument; give the hole that it shows, if any.

        Behind a hole the book is empty, and `last_update_id` None, until a snapshot.
        """
        if isinstance(event, BookSnapshot):
            self._bids.replace(event.bids)
            self._asks.replace(event.asks)
            self.last_update_id, self.is_complete = event.update_id, True
            return None
        return self._apply_delta(event)

    def best_bid(self) -> Level | None:
        """Highest bid, price and size; None where there is none."""
        return self._bids.best()

    def best_ask(self) -> Level | None:
        """Lowest ask, price and size; None where there is none."""
        return self._asks.best()

    def bids(self, count: int) -> list[Level]:
        """Up to `count` levels, highest price first."""
        return self._bids.top(count)

    def asks(self, count: int) -> list[Level]:
        """Up to `count` levels, lowest price first."""
        return self._asks.top(count)

    def level_counts(self) -> tuple[int, int]:
        """How many bids and asks are known."""
        return len(self._bids), len(self._asks)

    def _apply_delta(self, delta: BookDelta) -> BookGap | None:
        gap = None
        if self.last_update_id is not None:
            if delta.last_update_id <= self.last_update_id:
                self.stale += 1
                return None
            if delta.first_update_id > self.last_update_id + 1:
                gap = BookGap(self.last_update_id + 1, delta.first_update_id - 1)
                self._forget()
                self.gaps += 1
        if self.last_update_id is None and self._needs_snapshot:
            return gap
        self._bids.change(delta.bids)
        self._asks.change(delta.asks)
        self.last_update_id = delta.last_update_id
        return gap

    def _forget(self) -> None:
        self._bids.replace(())
        self._asks.replace(())
        self.last_update_id, self.is_complete = None, False
