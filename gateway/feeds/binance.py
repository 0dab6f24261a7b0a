"""One line of a Binance capture, turned into an update: `<local receive time, ns> <combined-stream JSON>`.

Whatever bytes come in, the outcome is an update, a message that we do not use, or the reason why it is no message.
Prices and sizes are handed on as they are, also negative ones or NaN: the normaliser refuses those.

Source:
    Binance "WebSocket Streams", spot: combined stream events have the form {"stream": name, "data": payload}.
    A snapshot of the book, which Binance gives over REST, stands in a capture as `{symbol}@depthSnapshot`, with the
    raw symbol as `s` in its payload. Under `tickpulse` a payload may hold what Binance's form has no place for;
    `tickpulse record` writes both.
"""

import functools
import re
from typing import Annotated, Literal

import msgspec

from common.clock import NS_PER_MS, NS_PER_S
from gateway.feeds.base import DepthSnapshot, DepthUpdate, QuoteUpdate, TradeUpdate, Update

LINE_BYTES_MAX = 1 << 20  # a full depth snapshot has about 300 kB
# From 2000 to 2200: a time in seconds, ms or µs, or with a digit too many, lies outside.
LOCAL_NS_MIN = 946_684_800 * NS_PER_S
LOCAL_NS_MAX = 7_258_118_400 * NS_PER_S
LOCAL_DIGITS_MAX = 19

SNAPSHOT_STREAM = "depthSnapshot"
# What Binance sends beside what we read; letters only, so kline_1m is kline. depth with digits, such as depth20, is the
# top of the book again and again: deltas cannot follow it.
IGNORED_KINDS = frozenset(
    {
        "aggTrade",
        "assetIndex",
        "avgPrice",
        "compositeIndex",
        "continuousKline",
        "contractInfo",
        "depth",
        "forceOrder",
        "kline",
        "markPrice",
        "miniTicker",
        "rpiDepth",
        "ticker",
    }
)
_find_kind = re.compile(r"[^@!]*[@!]([A-Za-z]+)(\d*)").match

# The bound keeps the product with 1,000,000 inside 64 bits.
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=LOCAL_NS_MAX // NS_PER_MS)]
StreamName = Annotated[str, msgspec.Meta(max_length=100)]
RawSymbol = Annotated[str, msgspec.Meta(min_length=1, max_length=48)]
Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
RawLevels = list[tuple[float, float]]


class Ignored(msgspec.Struct, frozen=True, gc=False):
    """A message of a kind that carries neither quotes nor trades as we use them."""

    kind: str


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """A line that is no message, and why."""

    reason: str


Outcome = Update | Ignored | Malformed


class _Envelope(msgspec.Struct, gc=False):
    stream: StreamName
    data: msgspec.Raw


class _Beyond(msgspec.Struct, gc=False):
    """What Binance's own form has no place for."""

    exchange_timestamp_ns: Annotated[int, msgspec.Meta(ge=LOCAL_NS_MIN, le=LOCAL_NS_MAX)] | None = None
    trade_id: Annotated[str, msgspec.Meta(max_length=64)] | msgspec.UnsetType | None = msgspec.UNSET
    aggressor_side: Literal["buy", "sell"] | msgspec.UnsetType | None = msgspec.UNSET


class _BookTicker(
    msgspec.Struct,
    gc=False,
    rename={"raw_symbol": "s", "bid": "b", "ask": "a", "bid_size": "B", "ask_size": "A", "update_id": "u"},
):
    raw_symbol: RawSymbol
    bid: float
    ask: float
    bid_size: float
    ask_size: float
    update_id: Number | None = None
    tickpulse: _Beyond | None = None


class _Trade(
    msgspec.Struct,
    gc=False,
    rename={
        "raw_symbol": "s",
        "price": "p",
        "quantity": "q",
        "trade_number": "t",
        "trade_time_ms": "T",
        "is_buyer_maker": "m",
    },
):
    raw_symbol: RawSymbol
    price: float
    quantity: float
    trade_number: Number
    trade_time_ms: Milliseconds
    is_buyer_maker: bool
    tickpulse: _Beyond | None = None


class _DepthUpdate(
    msgspec.Struct,
    gc=False,
    rename={
        "raw_symbol": "s",
        "event_time_ms": "E",
        "first_update_id": "U",
        "last_update_id": "u",
        "previous_update_id": "pu",
        "bids": "b",
        "asks": "a",
    },
):
    raw_symbol: RawSymbol
    first_update_id: Number
    last_update_id: Number
    bids: RawLevels
    asks: RawLevels
    event_time_ms: Milliseconds | None = None
    previous_update_id: Number | None = None  # futures, whose ids are shared by all symbols, say what they follow
    tickpulse: _Beyond | None = None


class _DepthSnapshot(
    msgspec.Struct, gc=False, rename={"raw_symbol": "s", "update_id": "lastUpdateId", "event_time_ms": "E"}
):
    raw_symbol: RawSymbol
    update_id: Number
    bids: RawLevels
    asks: RawLevels
    event_time_ms: Milliseconds | None = None
    tickpulse: _Beyond | None = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
# Not strict: Binance writes prices and sizes as strings.
_decode_book_ticker = msgspec.json.Decoder(_BookTicker, strict=False).decode
_decode_trade = msgspec.json.Decoder(_Trade, strict=False).decode
_decode_depth_update = msgspec.json.Decoder(_DepthUpdate, strict=False).decode
_decode_depth_snapshot = msgspec.json.Decoder(_DepthSnapshot, strict=False).decode
_NOTHING_BEYOND = _Beyond()


def parse_line(line: bytes) -> Outcome:
    """Read one line of a capture, with or without its line end. Never raises."""
    if len(line) > LINE_BYTES_MAX:
        return Malformed(f"expected at most {LINE_BYTES_MAX} bytes, the line is longer")
    stamp, _, message = line.partition(b" ")
    local_ns = _parse_local_ns(stamp)
    if local_ns is None:
        return Malformed(f"expected a receive time in ns from 2000 to 2200 and a blank, was {stamp[:40]!r}")
    try:
        return _parse_message(message, local_ns)
    # Python's own errors stand for text that is not UTF-8 and for brackets nested thousands deep.
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Malformed(f"expected combined-stream JSON: {error}")


def _parse_local_ns(stamp: bytes) -> int | None:
    # isdigit() first: int() would also take signs, underscores and blanks.
    if len(stamp) > LOCAL_DIGITS_MAX or not stamp.isdigit():
        return None
    local_ns = int(stamp)
    return local_ns if LOCAL_NS_MIN <= local_ns <= LOCAL_NS_MAX else None


def _parse_message(message: bytes, local_ns: int) -> Outcome:
    envelope = _decode_envelope(message)
    kind = _kind_of(envelope.stream)
    if kind == "bookTicker":
        return _make_quote(_decode_book_ticker(envelope.data), local_ns)
    if kind == "trade":
        return _make_trade(_decode_trade(envelope.data), local_ns)
    if kind == "depth":
        return _make_depth_update(_decode_depth_update(envelope.data), local_ns)
    if kind == SNAPSHOT_STREAM:
        return _make_depth_snapshot(_decode_depth_snapshot(envelope.data), local_ns)
    kind = kind.rstrip("0123456789")
    if kind in IGNORED_KINDS:
        return Ignored(kind)
    return Malformed(f"expected a Binance stream such as btcusdt@trade, was {envelope.stream!r}")


@functools.lru_cache(maxsize=4096)
def _kind_of(stream: str) -> str:
    """`trade` of btcusdt@trade, `ticker` of !ticker@arr, `depth20` of btcusdt@depth20; empty for another form."""
    match = _find_kind(stream)
    return match[1] + match[2] if match else ""


def _make_quote(book: _BookTicker, local_ns: int) -> QuoteUpdate:
    exchange_ns = book.tickpulse.exchange_timestamp_ns if book.tickpulse else None
    return QuoteUpdate(
        book.raw_symbol, book.bid, book.ask, book.bid_size, book.ask_size, local_ns, exchange_ns, book.update_id
    )


def _make_trade(trade: _Trade, local_ns: int) -> TradeUpdate:
    beyond = trade.tickpulse or _NOTHING_BEYOND
    side: Literal["buy", "sell"] = "sell" if trade.is_buyer_maker else "buy"
    return TradeUpdate(
        trade.raw_symbol,
        trade.price,
        trade.quantity,
        local_ns,
        _exchange_ns(trade.trade_time_ms, trade.tickpulse),
        side if beyond.aggressor_side is msgspec.UNSET else beyond.aggressor_side,
        str(trade.trade_number) if beyond.trade_id is msgspec.UNSET else beyond.trade_id,
    )


def _make_depth_update(depth: _DepthUpdate, local_ns: int) -> DepthUpdate:
    previous_id = depth.previous_update_id
    return DepthUpdate(
        depth.raw_symbol,
        depth.first_update_id if previous_id is None else previous_id + 1,
        depth.last_update_id,
        depth.bids,
        depth.asks,
        local_ns,
        _exchange_ns(depth.event_time_ms, depth.tickpulse),
    )


def _make_depth_snapshot(depth: _DepthSnapshot, local_ns: int) -> DepthSnapshot:
    exchange_ns = _exchange_ns(depth.event_time_ms, depth.tickpulse)
    return DepthSnapshot(depth.raw_symbol, depth.update_id, depth.bids, depth.asks, local_ns, exchange_ns)


def _exchange_ns(time_ms: int | None, beyond: _Beyond | None) -> int | None:
    if beyond is not None:
        return beyond.exchange_timestamp_ns
    return None if time_ms is None else time_ms * NS_PER_MS
