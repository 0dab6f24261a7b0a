"""A capture line becomes an update, is ignored, or is malformed for a reason that one can read."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.feed_builders import (
    CAPTURED_NS,
    make_depth_line,
    make_line,
    make_quote_line,
    make_trade_line,
    make_unused_line,
)

from gateway.feeds.base import DepthSnapshot, DepthUpdate, QuoteUpdate, TradeUpdate, Update
from gateway.feeds.binance import LINE_BYTES_MAX, Ignored, Malformed, parse_line

QUOTE_PAYLOAD = {"s": "BTCUSDT", "b": "1", "B": "1", "a": "1", "A": "1"}


def reason_of(line: bytes) -> str:
    """Why a line is malformed; fails where it is not."""
    outcome = parse_line(line)
    assert isinstance(outcome, Malformed)
    return outcome.reason


def test_book_ticker_becomes_a_quote_without_venue_time() -> None:
    """Spot bookTicker carries no time of the venue."""
    outcome = parse_line(make_quote_line(CAPTURED_NS + 5, bid="61685.99000000", ask="61686.00000000"))

    assert outcome == QuoteUpdate("BTCUSDT", 61685.99, 61686.0, 2.0, 3.0, CAPTURED_NS + 5, None, update_id=1)


@pytest.mark.parametrize(("is_buyer_maker", "aggressor_side"), [(True, "sell"), (False, "buy")])
def test_trade_names_the_side_that_did_not_wait(is_buyer_maker: bool, aggressor_side: str) -> None:
    """Binance says whether the buyer was the maker; then the seller was the aggressor."""
    outcome = parse_line(make_trade_line(m=is_buyer_maker))

    assert isinstance(outcome, TradeUpdate)
    assert outcome.aggressor_side == aggressor_side


def test_trade_keeps_price_size_id_and_venue_time() -> None:
    """The venue's milliseconds become nanoseconds; a venue time after the local one is kept."""
    outcome = parse_line(make_trade_line(CAPTURED_NS))

    assert outcome == TradeUpdate(
        "BTCUSDT", 61685.99, 0.00017, CAPTURED_NS, 1_723_161_601_437_000_000, "sell", "3735693016"
    )


def test_depth_becomes_levels_with_their_update_ids() -> None:
    """Size 0 is kept: it takes a level away."""
    outcome = parse_line(make_depth_line(CAPTURED_NS))

    assert outcome == DepthUpdate(
        "BTCUSDT", 11, 13, [(99.5, 2.0), (98.0, 0.0)], [(100.5, 3.0)], CAPTURED_NS, 1_723_161_601_273_000_000
    )


def test_depth_of_futures_goes_on_with_the_update_it_names() -> None:
    """Ids of futures are shared by all symbols, so `U` does not follow `u` there; `pu` says what it follows."""
    outcome = parse_line(make_depth_line(U=15, u=19, pu=13))

    assert isinstance(outcome, DepthUpdate)
    assert (outcome.first_update_id, outcome.last_update_id) == (14, 19)


def test_snapshot_of_the_book_is_taken() -> None:
    """It is what Binance answers over REST, with the symbol beside it."""
    payload = {"s": "BTCUSDT", "lastUpdateId": 10, "bids": [["99.5", "2"]], "asks": [["100.5", "3"]]}

    outcome = parse_line(make_line("btcusdt@depthSnapshot", payload))

    assert outcome == DepthSnapshot("BTCUSDT", 10, [(99.5, 2.0)], [(100.5, 3.0)], CAPTURED_NS, None)


def test_windows_line_end_is_taken() -> None:
    """A capture may have been through another system."""
    outcome = parse_line(make_quote_line() + b"\r\n")

    assert isinstance(outcome, QuoteUpdate)


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        ("btcusdt@depth20@100ms", "depth"),
        ("btcusdt@depth5", "depth"),
        ("btcusdt@kline_1m", "kline"),
        ("btcusdt@aggTrade", "aggTrade"),
        ("!miniTicker@arr", "miniTicker"),
        ("btcusdt_perpetual@continuousKline_1m", "continuousKline"),
    ],
)
def test_other_streams_of_binance_are_ignored(stream: str, kind: str) -> None:
    """They are no damage: captures hold them beside what we read."""
    outcome = parse_line(make_line(stream, []))

    assert outcome == Ignored(kind)


def test_prices_are_handed_on_unchecked() -> None:
    """Refusing NaN and negative amounts is the normaliser's, which counts them."""
    outcome = parse_line(make_quote_line(bid="nan", ask="-1"))

    assert isinstance(outcome, QuoteUpdate)
    assert math.isnan(outcome.bid)
    assert outcome.ask == -1.0


@pytest.mark.parametrize(
    "stamp",
    [
        b"",
        b"0",
        b"-1723161600001658384",
        b"+1723161600001658384",
        b"1_723_161_600_001_658_384",
        b"1723161600.5",
        b"1723161600001",
        b"17231616000016583840",
        b"9" * 19,
        b"9" * 5000,
        b"yesterday",
        "١٧٢٣١٦١٦٠٠٠٠١٦٥٨٣٨٤".encode(),  # int() would take these digits
    ],
)
def test_receive_time_that_is_missing_or_absurd_is_malformed(stamp: bytes) -> None:
    """Only whole nanoseconds from 2000 to 2200 are taken."""
    message = make_quote_line().partition(b" ")[2]

    reason = reason_of(stamp + b" " + message)

    assert "receive time in ns from 2000 to 2200" in reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "receive time"),
        (b"%d" % CAPTURED_NS, "combined-stream JSON"),
        (make_quote_line()[:-20], "truncated"),
        (make_quote_line() + b"}", "trailing"),
        (b"%d []" % CAPTURED_NS, "Expected `object`"),
        (b'%d {"result":null,"id":1}' % CAPTURED_NS, "`stream`"),
        (make_line("btcusdt@unheardOf", {}), "'btcusdt@unheardOf'"),
        (make_line("bookTicker", QUOTE_PAYLOAD), "'bookTicker'"),
        (make_line("x" * 101, {}), "length <= 100"),
        (make_line("btcusdt@bookTicker", []), "Expected `object`"),
        (make_line("btcusdt@bookTicker", QUOTE_PAYLOAD | {"s": ""}), "$.s"),
        (make_line("btcusdt@bookTicker", QUOTE_PAYLOAD | {"s": "B" * 49}), "$.s"),
        (make_line("btcusdt@bookTicker", {"s": "BTCUSDT"}), "`b`"),
        (make_quote_line(bid=""), "$.b"),
        (make_quote_line(bid="12,5"), "$.b"),
        (make_quote_line(bid="1e999"), "$.b"),
        (make_trade_line(T=-1), "$.T"),
        (make_trade_line(T=10**18), "$.T"),
        (make_trade_line(t=-1), "$.t"),
        (make_trade_line(m=None), "$.m"),
        (make_depth_line(U=-1), "$.U"),
        (make_depth_line(b=[["1"]]), "$.b[0]"),
        (make_depth_line(a=[["1", "x"]]), "$.a[0][1]"),
        (make_quote_line().replace(b"BTCUSDT", b"BTC\xff\xfe"), "utf-8"),
        (make_line("btcusdt@depth", None).replace(b"null", b"[" * 100_000), "recursion"),
    ],
)
def test_unusable_message_is_malformed_with_its_reason(line: bytes, reason: str) -> None:
    """The reason says what was expected and where."""
    assert reason in reason_of(line)


def test_line_over_the_limit_is_malformed_without_being_read() -> None:
    """A limit stands on everything that comes from outside."""
    line = make_quote_line() + b" " * LINE_BYTES_MAX

    assert f"at most {LINE_BYTES_MAX} bytes" in reason_of(line)


@settings(deadline=None)
@given(line=st.binary(max_size=400))
@example(line=b"\x00")
@example(line=b"\x1f\x8b\x08\x00")
def test_any_bytes_have_an_outcome(line: bytes) -> None:
    """Garbage is an outcome, never an exception."""
    outcome = parse_line(line)

    assert isinstance(outcome, Update | Ignored | Malformed)


@settings(deadline=None)
@given(
    line=st.sampled_from([make_quote_line(), make_trade_line(), make_depth_line(), make_unused_line()]),
    position=st.integers(0, 300),
    removed=st.integers(0, 20),
    inserted=st.binary(max_size=8),
)
def test_damaged_message_has_an_outcome(line: bytes, position: int, removed: int, inserted: bytes) -> None:
    """The same for lines that were once good: these reach deeper into the parser than noise."""
    outcome = parse_line(line[:position] + inserted + line[position + removed :])

    assert isinstance(outcome, Update | Ignored | Malformed)


@settings(deadline=None)
@given(
    payload=st.dictionaries(
        st.sampled_from([*"sbBaApqTtmuUE", "pu", "bids", "asks", "lastUpdateId", "tickpulse"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
    ),
    stream=st.sampled_from(["btcusdt@bookTicker", "btcusdt@trade", "btcusdt@depth", "btcusdt@depthSnapshot"])
    | st.text(),
)
def test_any_json_has_an_outcome(payload: dict[str, object], stream: str) -> None:
    """Well-formed JSON of the wrong sort is refused as quietly."""
    outcome = parse_line(make_line(stream, payload))

    assert isinstance(outcome, Update | Ignored | Malformed)
