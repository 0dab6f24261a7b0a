"""A book rebuilt from its events has what the venue has, or says that it does not know."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.events.base import DRAFT
from common.events.market import BookDelta, BookSnapshot
from common.order_book import BookGap, OrderBook

FIELDS: dict[str, Any] = {
    **DRAFT,
    "timestamp_ns": 1,
    "exchange": "binance",
    "symbol": "BTC/USDT",
    "raw_symbol": "BTCUSDT",
    "local_timestamp_ns": 1,
}
Levels = list[tuple[float, float]]
levels: st.SearchStrategy[Levels] = st.lists(
    st.tuples(st.integers(1, 30).map(float), st.integers(0, 3).map(float)), max_size=8
)


def make_snapshot(update_id: int, bids: Levels, asks: Levels) -> BookSnapshot:
    """A whole book."""
    return BookSnapshot(**FIELDS, update_id=update_id, bids=bids, asks=asks)


def make_delta(first: int, last: int, bids: Levels | None = None, asks: Levels | None = None) -> BookDelta:
    """A change of some levels."""
    return BookDelta(**FIELDS, first_update_id=first, last_update_id=last, bids=bids or [], asks=asks or [])


def make_book() -> OrderBook:
    """A book of two levels a side, at update 100."""
    book = OrderBook()
    book.apply(make_snapshot(100, [(99.0, 1.0), (98.0, 2.0)], [(101.0, 3.0), (102.0, 4.0)]))
    return book


def test_snapshot_gives_best_prices_and_depth() -> None:
    """Best first, on both sides."""
    book = make_book()

    assert (book.best_bid(), book.best_ask()) == ((99.0, 1.0), (101.0, 3.0))
    assert (book.bids(5), book.asks(1)) == ([(99.0, 1.0), (98.0, 2.0)], [(101.0, 3.0)])
    assert book.bids(0) == []
    assert book.level_counts() == (2, 2)
    assert book.is_complete


def test_delta_changes_adds_and_removes_levels() -> None:
    """Sizes are absolute; 0 takes a level away; taking away what is not there is nothing."""
    book = make_book()

    gap = book.apply(make_delta(101, 105, [(99.0, 0.0), (98.5, 7.0), (50.0, 0.0)], [(101.0, 9.0)]))

    assert gap is None
    assert book.bids(5) == [(98.5, 7.0), (98.0, 2.0)]
    assert book.best_ask() == (101.0, 9.0)
    assert book.last_update_id == 105


@pytest.mark.parametrize(("first", "last"), [(90, 101), (101, 101), (100, 140)])
def test_first_delta_may_reach_back_over_the_snapshot(first: int, last: int) -> None:
    """Binance's rule: it begins at most one above the snapshot, and ends above it."""
    book = make_book()

    assert book.apply(make_delta(first, last, [(99.0, 5.0)])) is None
    assert (book.best_bid(), book.last_update_id) == ((99.0, 5.0), last)


def test_delta_from_before_the_snapshot_is_passed_over_and_counted() -> None:
    """It waited in the socket while the snapshot was fetched."""
    book = make_book()

    assert book.apply(make_delta(95, 100, [(99.0, 5.0)])) is None
    assert (book.best_bid(), book.stale, book.last_update_id) == ((99.0, 1.0), 1, 100)


def test_missing_update_is_named_and_empties_the_book() -> None:
    """A book that lacks one update may be wrong in any level: it has none until a snapshot."""
    book = make_book()

    gap = book.apply(make_delta(103, 104, [(99.0, 5.0)]))
    later = book.apply(make_delta(105, 105, [(99.0, 6.0)]))

    assert gap == BookGap(101, 102)
    assert gap.missing_count == 2
    assert later is None
    assert (book.best_bid(), book.best_ask(), book.last_update_id, book.gaps) == (None, None, None, 1)
    book.apply(make_snapshot(110, [(97.0, 1.0)], []))
    assert (book.best_bid(), book.is_complete) == ((97.0, 1.0), True)


def test_delta_before_any_snapshot_is_passed_over() -> None:
    """What it changes is not known."""
    book = OrderBook()

    assert book.apply(make_delta(1, 2, [(99.0, 5.0)])) is None
    assert book.best_bid() is None


def test_book_that_needs_no_snapshot_begins_with_a_delta_and_again_behind_a_hole() -> None:
    """As a recording without snapshots can be used; it says that it is not complete."""
    book = OrderBook(needs_snapshot=False)

    book.apply(make_delta(1, 2, [(99.0, 5.0)], [(101.0, 1.0)]))
    gap = book.apply(make_delta(5, 6, [(98.0, 4.0)]))

    assert gap == BookGap(3, 4)
    assert (book.best_bid(), book.best_ask(), book.last_update_id) == ((98.0, 4.0), None, 6)
    assert not book.is_complete


@given(start=levels, changes=st.lists(levels, max_size=10))
def test_book_has_what_the_levels_say_in_order(start: Levels, changes: list[Levels]) -> None:
    """Against a plain dict, sorted when it is asked."""
    book = OrderBook()
    book.apply(make_snapshot(0, start, start))
    expected = {price: size for price, size in start if size}
    for number, change in enumerate(changes, start=1):
        book.apply(make_delta(number, number, change, change))
        expected.update(change)
        expected = {price: size for price, size in expected.items() if size}

    assert book.bids(100) == sorted(expected.items(), reverse=True)
    assert book.asks(100) == sorted(expected.items())
    assert book.best_bid() == (max(expected.items()) if expected else None)
