"""What the market shows, and what is left of it for our orders."""

from decimal import Decimal

import pytest
from support.exchange_builders import make_instrument

from exchange.simulated.book import NOTHING_SHOWN, BookSide, Touch


def make_side(price: float | None = 100.0, size: float | None = 10.0) -> BookSide:
    """A side that shows one quote."""
    side = BookSide(make_instrument())
    side.show(price, size)
    return side


def test_side_that_never_had_a_quote_shows_nothing() -> None:
    """Before the first tick there is nothing to trade with."""
    side = BookSide(make_instrument())

    touch = side.touch()

    assert touch == NOTHING_SHOWN


def test_quote_is_put_on_the_grid() -> None:
    """A price goes to the nearest tick, since floats are noisy; a size down to the lot: never more than was shown."""
    side = make_side(0.1 + 0.2, 1.239)

    touch = side.touch()

    assert touch == Touch(Decimal("0.3"), Decimal("1.23"))


@pytest.mark.parametrize(
    ("price", "size"),
    [(None, 10.0), (100.0, None), (float("nan"), 10.0), (100.0, float("nan")), (0.0, 10.0), (float("inf"), 10.0)],
)
def test_quote_without_a_usable_price_and_size_shows_nothing(price: float | None, size: float | None) -> None:
    """A side of unknown price or size fills nobody."""
    side = make_side(price, size)

    touch = side.touch()

    assert touch == NOTHING_SHOWN


def test_what_was_taken_stays_taken_while_the_quote_is_repeated() -> None:
    """The same price and size again may be the same shares."""
    side = make_side(100.0, 10.0)
    side.take(Decimal(4))

    side.show(100.0, 10.0)

    assert side.touch().available == 6
    assert side.is_consumed


@pytest.mark.parametrize(("price", "size"), [(100.1, 10.0), (100.0, 9.0)])
def test_new_quote_can_be_had_in_full(price: float, size: float) -> None:
    """Another price or another size is a new quote."""
    side = make_side(100.0, 10.0)
    side.take(Decimal(10))

    side.show(price, size)

    assert side.touch().available == Decimal(repr(size))
    assert not side.is_consumed
