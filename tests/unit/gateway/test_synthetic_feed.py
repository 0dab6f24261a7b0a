"""The seeded market: its schedule, its grid, its shapes and its limits."""

from collections import Counter
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.feed_builders import FOREVER_NS, START_NS, drain, make_instrument, make_synthetic_feed

from common.errors import ConfigError
from common.money import is_multiple
from gateway.feeds.base import QuoteBatch, QuoteUpdate, TradeUpdate, Update
from gateway.feeds.synthetic import SyntheticFeed
from gateway.feeds.synthetic_market import BLOCK_UPDATES

# More than a block, and no multiple of one.
MANY = 2 * BLOCK_UPDATES + 777


def read_all(feed: SyntheticFeed) -> list[Update]:
    """Start a feed that ends, and read it out."""
    feed.start(START_NS)
    return drain(feed)


def mids_of(updates: list[Update]) -> npt.NDArray[np.float64]:
    """Mid price of every quote, relative to the first: shape (quotes,) float64."""
    mids = np.array([(update.bid + update.ask) / 2 for update in updates if isinstance(update, QuoteUpdate)])
    relative: npt.NDArray[np.float64] = mids / mids[0]
    return relative


def quotes_of(batch: QuoteBatch) -> list[Update]:
    """Turn a batch into what `read` would give."""
    fields = ("bid", "ask", "bid_size", "ask_size", "local_timestamp_ns", "exchange_timestamp_ns")
    return [QuoteUpdate(batch.raw_symbol, *row) for row in batch.records[list(fields)].tolist()]


def test_same_seed_gives_the_same_updates() -> None:
    """Runs can be repeated."""
    first = read_all(make_synthetic_feed(seed=7, tick_count_max=MANY))

    second = read_all(make_synthetic_feed(seed=7, tick_count_max=MANY))

    assert first == second


def test_another_seed_gives_another_market() -> None:
    """The seed is used."""
    first = read_all(make_synthetic_feed(seed=7, tick_count_max=100))

    second = read_all(make_synthetic_feed(seed=8, tick_count_max=100))

    assert first != second


@settings(deadline=None)
@given(
    reads=st.lists(st.tuples(st.integers(0, 10_000_000_000), st.integers(1, 5_000)), max_size=20),
    rate=st.sampled_from([0.3, 997.0, 50_000.0]),
)
def test_updates_and_their_times_do_not_depend_on_how_they_are_read(reads: list[tuple[int, int]], rate: float) -> None:
    """Blocks are an inner matter: neither their borders nor a late reader show."""
    feed = make_synthetic_feed(rate=rate, tick_count_max=MANY)
    feed.start(START_NS)

    now_ns = START_NS
    updates: list[Update] = []
    for advance_ns, count_max in reads:
        now_ns += advance_ns
        updates += feed.read(now_ns, count_max)
    updates += drain(feed)

    assert updates == read_all(make_synthetic_feed(rate=rate, tick_count_max=MANY))


def test_update_number_n_is_due_n_intervals_after_the_start() -> None:
    """The schedule is an open loop with even spacing; the venue's time lies 200 µs before ours."""
    updates = read_all(make_synthetic_feed(rate=4_000.0, tick_count_max=MANY))

    local_times = [update.local_timestamp_ns for update in updates]
    assert local_times == [START_NS + number * 250_000 for number in range(MANY)]
    assert [update.exchange_timestamp_ns for update in updates] == [time_ns - 200_000 for time_ns in local_times]


def test_next_due_time_is_the_local_time_of_the_next_update() -> None:
    """Also where the interval is no whole number of nanoseconds, on both sides of a block's border."""
    feed = make_synthetic_feed(rate=7_777.7)
    feed.start(START_NS)

    announced, stamped = [], []
    for _ in range(MANY):
        due_ns = feed.next_due_ns()
        assert due_ns is not None
        announced.append(due_ns)
        stamped += [update.local_timestamp_ns for update in feed.read(due_ns, 10)]

    assert stamped == announced


def test_late_reader_gets_all_that_was_missed_with_its_due_times() -> None:
    """A stalled gateway is seen as latency, not as a gentler market."""
    feed = make_synthetic_feed(rate=1_000.0)
    feed.start(START_NS)

    updates = feed.read(START_NS + 5_000_000_000, 100_000)

    assert len(updates) == 5_001
    assert updates[0].local_timestamp_ns == START_NS


def test_rate_zero_stamps_an_update_when_it_is_read() -> None:
    """As fast as possible has no schedule that a time could come from."""
    feed = make_synthetic_feed(rate=0.0)
    feed.start(START_NS)
    feed.read(START_NS, BLOCK_UPDATES - 1)

    updates = feed.read(START_NS + 5, 3)

    assert [update.local_timestamp_ns for update in updates] == [START_NS + 5] * 3
    assert feed.next_due_ns() == START_NS


def test_rate_zero_gives_nothing_before_the_start() -> None:
    """Due at once means at the start."""
    feed = make_synthetic_feed(rate=0.0)
    feed.start(START_NS)

    updates = feed.read(START_NS - 1, 10)

    assert list(updates) == []


@pytest.mark.parametrize("rate", [1e-300, 1e-9, 1e12, float("inf")])
def test_extreme_rate_keeps_its_times_inside_64_bits(rate: float) -> None:
    """A config may ask for any rate."""
    updates = read_all(make_synthetic_feed(rate=rate, tick_count_max=3))

    assert all(START_NS <= update.local_timestamp_ns < 1 << 63 for update in updates)
    assert len(updates) == 3


@pytest.mark.parametrize("tick_count_max", [1, BLOCK_UPDATES, MANY])
def test_count_limit_ends_the_feed_exactly(tick_count_max: int) -> None:
    """On a block's border and off it."""
    feed = make_synthetic_feed(rate=0.0, tick_count_max=tick_count_max)

    updates = read_all(feed)

    assert len(updates) == tick_count_max
    assert feed.next_due_ns() is None
    assert feed.counters() == {"feed_updates": tick_count_max}


@pytest.mark.parametrize(
    ("tick_size", "lot_size"),
    [("0.01", "0.00001"), ("0.5", "1"), ("0.1", "0.001"), ("0.00000001", "1"), ("5", "0.1"), ("0.025", "0.25")],
)
def test_prices_and_sizes_lie_on_their_grids(tick_size: str, lot_size: str) -> None:
    """As decimals, not only nearly: the executor refuses what is off the grid."""
    instrument = make_instrument("X/USDT", tick_size=tick_size, lot_size=lot_size)

    updates = read_all(make_synthetic_feed(instrument, tick_count_max=2_000))

    quotes = [update for update in updates if isinstance(update, QuoteUpdate)]
    trades = [update for update in updates if isinstance(update, TradeUpdate)]
    prices = {price for quote in quotes for price in (quote.bid, quote.ask)} | {trade.price for trade in trades}
    sizes = {size for quote in quotes for size in (quote.bid_size, quote.ask_size)} | {
        trade.quantity for trade in trades
    }
    assert all(is_multiple(Decimal(repr(price)), instrument.tick_size) for price in prices)
    assert all(is_multiple(Decimal(repr(size)), instrument.lot_size) for size in sizes)
    assert min(prices) > 0
    assert min(sizes) > 0
    assert all(Decimal(repr(q.ask)) - Decimal(repr(q.bid)) >= instrument.tick_size for q in quotes)


@pytest.mark.parametrize("trade_share", [0.15, 0.9])
def test_trades_happen_at_the_last_quote_of_their_instrument(trade_share: float) -> None:
    """Whoever buys at once pays the ask, whoever sells gets the bid; the first update of an instrument is a quote."""
    instruments = [make_instrument("BTC/USDT"), make_instrument("ETH/USDT"), make_instrument("SOL/USDT")]

    updates = read_all(make_synthetic_feed(*instruments, trade_share=trade_share, tick_count_max=40_000))

    last_quotes: dict[str, QuoteUpdate] = {}
    expected, traded = [], []
    for update in updates:
        if isinstance(update, QuoteUpdate):
            last_quotes[update.raw_symbol] = update
        else:
            quote = last_quotes[update.raw_symbol]
            expected.append(quote.ask if update.aggressor_side == "buy" else quote.bid)
            traded.append(update.price)
    assert traded == expected


@pytest.mark.parametrize("trade_share", [0.0, 0.15, 0.5])
def test_trades_have_their_share_of_the_updates(trade_share: float) -> None:
    """As the config asks."""
    updates = read_all(make_synthetic_feed(trade_share=trade_share, tick_count_max=20_000))

    trade_count = sum(isinstance(update, TradeUpdate) for update in updates)
    assert trade_count / len(updates) == pytest.approx(trade_share, abs=0.01)


def test_trades_are_of_both_sides_and_have_ids_of_their_own() -> None:
    """An id never comes twice."""
    updates = read_all(make_synthetic_feed(tick_count_max=20_000))

    trades = [update for update in updates if isinstance(update, TradeUpdate)]
    sides = Counter(trade.aggressor_side for trade in trades)
    assert sides.keys() == {"buy", "sell"}
    assert len({trade.trade_id for trade in trades}) == len(trades)


@pytest.mark.parametrize("instrument_count", [1, 3, 100, BLOCK_UPDATES + 1])
def test_updates_go_round_all_instruments(instrument_count: int) -> None:
    """Every instrument gets its share, also when there are more of them than updates in a block."""
    instruments = [make_instrument(f"S{number}/USDT") for number in range(instrument_count)]

    updates = read_all(make_synthetic_feed(*instruments, tick_count_max=3 * instrument_count))

    counts = Counter(update.raw_symbol for update in updates)
    assert counts == {instrument.raw_symbol: 3 for instrument in instruments}


@pytest.mark.parametrize(("symbol", "price"), [("BTC/USDT", 60_000), ("ETH/USDT", 3_000), ("SOL/USDT", 100)])
def test_market_opens_near_the_usual_price(symbol: str, price: float) -> None:
    """Amounts look familiar to whoever reads a log."""
    updates = read_all(make_synthetic_feed(make_instrument(symbol), tick_count_max=1))

    assert isinstance(updates[0], QuoteUpdate)
    assert updates[0].bid == pytest.approx(price, rel=0.01)


def test_price_stays_in_its_band_however_long_the_market_lives() -> None:
    """Half to one and a half of the opening price, and the range above it."""
    mids = mids_of(read_all(make_synthetic_feed(rate=0.0, tick_count_max=300_000)))

    assert mids.min() > 0.49
    assert mids.max() < 1.51


def test_market_has_ranges_that_bounce_and_trends_that_break_out() -> None:
    """A strategy of support and resistance and one of momentum both find something to do."""
    mids = mids_of(read_all(make_synthetic_feed(rate=0.0, tick_count_max=100_000)))

    windows = mids[: len(mids) // 800 * 800].reshape(-1, 800)
    heights = windows.max(axis=1) - windows.min(axis=1)
    moves = np.abs(windows[:, -1] - windows[:, 0])
    # A range is 20 steps of 1e-4 high and is crossed in about 400 quotes; a trend moves 240 steps in a window.
    assert np.count_nonzero(heights < 0.0030) > 10
    assert np.count_nonzero(moves > 0.0100) > 10


def test_instruments_of_other_exchanges_are_left_out() -> None:
    """A feed belongs to one exchange."""
    ours, other = make_instrument("BTC/USDT"), make_instrument("ETH/USDT", exchange="binance")

    updates = read_all(make_synthetic_feed(ours, other, tick_count_max=10))

    assert {update.raw_symbol for update in updates} == {"BTCUSDT"}


def test_exchange_without_instruments_is_refused_at_the_start() -> None:
    """The message names the exchange."""
    feed = make_synthetic_feed(make_instrument(exchange="binance"))

    with pytest.raises(ConfigError, match="at least one instrument of exchange 'simulated'"):
        feed.start(START_NS)


def test_negative_seed_is_refused_at_the_start() -> None:
    """Numpy has no generator for it."""
    feed = make_synthetic_feed(seed=-1)

    with pytest.raises(ConfigError, match="seed of 0 or more, was -1"):
        feed.start(START_NS)


@pytest.mark.parametrize("step", ["0.1234567", "123456789"])
def test_step_too_long_for_exact_floats_is_refused_at_the_start(step: str) -> None:
    """Rather than prices that are nearly on the grid."""
    feed = make_synthetic_feed(make_instrument(tick_size=step))

    with pytest.raises(ConfigError, match="tick_size of at most six digits"):
        feed.start(START_NS)


def test_endless_feed_goes_on() -> None:
    """A count limit of 0 is none."""
    feed = make_synthetic_feed(rate=0.0)
    feed.start(START_NS)

    updates = feed.read(FOREVER_NS, MANY)

    assert len(updates) == MANY
    assert feed.next_due_ns() is not None


@settings(deadline=None)
@given(
    reads=st.lists(
        st.tuples(st.booleans(), st.integers(0, 10_000_000_000), st.integers(0, 5_000)), min_size=1, max_size=20
    ),
    rate=st.sampled_from([0.0, 997.0]),
    instrument_count=st.integers(1, 5),
)
def test_packed_quotes_are_those_that_read_gives(
    reads: list[tuple[bool, int, int]], rate: float, instrument_count: int
) -> None:
    """In order within each instrument, also when packed and single reads take turns."""
    instruments = [make_instrument(f"S{number}/USDT") for number in range(instrument_count)]
    mixed = make_synthetic_feed(*instruments, rate=rate, trade_share=0.0)
    single = make_synthetic_feed(*instruments, rate=rate, trade_share=0.0)
    mixed.start(START_NS)
    single.start(START_NS)

    now_ns = START_NS
    updates: list[Update] = []
    expected: list[Update] = []
    for is_packed, advance_ns, count_max in reads:
        now_ns += advance_ns
        expected += single.read(now_ns, count_max)
        if is_packed:
            updates += [quote for batch in mixed.read_packed(now_ns, count_max) for quote in quotes_of(batch)]
        else:
            updates += mixed.read(now_ns, count_max)

    assert mixed.counters() == single.counters()
    assert mixed.next_due_ns() == single.next_due_ns()
    for instrument in instruments:
        packed = [update for update in updates if update.raw_symbol == instrument.raw_symbol]
        assert packed == [update for update in expected if update.raw_symbol == instrument.raw_symbol]


def test_packed_records_may_be_seen_as_plain_numbers_and_written() -> None:
    """The normaliser checks a batch as one array and fills in its own fields."""
    feed = make_synthetic_feed(make_instrument("BTC/USDT"), make_instrument("ETH/USDT"), rate=0.0, trade_share=0.0)
    feed.start(START_NS)

    batches = feed.read_packed(START_NS, 100)

    assert [batch.raw_symbol for batch in batches] == ["BTCUSDT", "ETHUSDT"]
    assert all(batch.records.view("<f8").shape == (50 * 9,) for batch in batches)
    assert all(batch.records.flags.writeable for batch in batches)


def test_market_with_trades_is_not_read_packed() -> None:
    """A trade has no place in an array of quotes: the caller is at fault."""
    feed = make_synthetic_feed(trade_share=0.1)
    feed.start(START_NS)

    assert not feed.has_only_quotes
    with pytest.raises(RuntimeError, match="call read"):
        feed.read_packed(START_NS, 10)
