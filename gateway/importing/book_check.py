"""The book rebuilt from depth beside the venue's own best prices, wherever both speak of the same update. Pure."""

from typing import Any

import msgspec

from common.events.base import DRAFT
from common.events.market import BookDelta, BookSnapshot
from common.order_book import Level, OrderBook
from gateway.feeds.base import DepthSnapshot, DepthUpdate, QuoteUpdate

QUOTES_WAITING_MAX = 100_000
DIFFERENCES_KEPT = 5


class BookComparison(msgspec.Struct, frozen=True, kw_only=True):
    """How often both could be compared, and were equal; `gaps` are holes in the venue's update ids."""

    symbol: str
    comparable: int
    equal: int
    gaps: int
    differences: list[str]

    @property
    def is_equal(self) -> bool:
        """Tell whether they agreed wherever they could be compared."""
        return self.equal == self.comparable


class BookCheck:
    """Compares one instrument. Without a snapshot the book begins with the first delta."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._book = OrderBook(needs_snapshot=False)
        self._quotes: dict[int, QuoteUpdate] = {}  # by update id; ids only rise, so the oldest comes first
        self._comparable = 0
        self._equal = 0
        self._differences: list[str] = []

    def take(self, update: QuoteUpdate | DepthUpdate | DepthSnapshot) -> None:
        """Take the next update of the instrument."""
        if isinstance(update, QuoteUpdate):
            self._take_quote(update)
            return
        self._book.apply(_event(update))
        last_id = self._book.last_update_id or 0
        for update_id in list(self._quotes):
            if update_id > last_id:
                break
            quote = self._quotes.pop(update_id)
            if update_id == last_id:
                self._compare(quote, last_id)

    def result(self) -> BookComparison | None:
        """What was found; None where there was no depth."""
        if self._book.last_update_id is None:
            return None
        return BookComparison(
            symbol=self._symbol,
            comparable=self._comparable,
            equal=self._equal,
            gaps=self._book.gaps,
            differences=self._differences,
        )

    def _take_quote(self, quote: QuoteUpdate) -> None:
        if quote.update_id is None:
            return
        if quote.update_id == self._book.last_update_id:
            self._compare(quote, quote.update_id)
        elif quote.update_id > (self._book.last_update_id or 0):
            self._quotes[quote.update_id] = quote
            if len(self._quotes) > QUOTES_WAITING_MAX:
                del self._quotes[next(iter(self._quotes))]

    def _compare(self, quote: QuoteUpdate, update_id: int) -> None:
        expected: tuple[Level, Level] = (quote.bid, quote.bid_size), (quote.ask, quote.ask_size)
        was = self._book.best_bid(), self._book.best_ask()
        self._comparable += 1
        if was == expected:
            self._equal += 1
        elif len(self._differences) < DIFFERENCES_KEPT:
            self._differences.append(f"update {update_id}: expected {expected}, the book has {was}")


def _event(update: DepthUpdate | DepthSnapshot) -> BookDelta | BookSnapshot:
    common: dict[str, Any] = {
        **DRAFT,
        "timestamp_ns": update.local_timestamp_ns,
        "exchange": "",
        "symbol": "",
        "raw_symbol": update.raw_symbol,
        "local_timestamp_ns": update.local_timestamp_ns,
        "bids": update.bids,
        "asks": update.asks,
    }
    if isinstance(update, DepthSnapshot):
        return BookSnapshot(update_id=update.update_id, **common)
    return BookDelta(first_update_id=update.first_update_id, last_update_id=update.last_update_id, **common)
