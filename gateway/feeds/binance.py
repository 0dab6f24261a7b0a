"""One line of a Binance capture, turned into an update: `<local receive time, ns> <combined-stream JSON>`.

Whatever bytes come in, the outcome is an update, a message that we do not use, or the reason why it is no message.
Prices and sizes are handed on as they are, also negative ones or NaN: the normaliser refuses those.

Source:
    Binance "WebSocket Streams", spot: combined stream events have the form {"stream": name, "data": payload}.
"""

import functools
import re
from typing import Annotated

import msgspec

from common.clock import NS_PER_MS, NS_PER_S
from gateway.feeds.base import QuoteUpdate, TradeUpdate, Update

LINE_BYTES_MAX = 1 << 20  # a full depth snapshot has about 300 kB
# From 2000 to 2200: a time in seconds, ms or µs, or with a digit too many, lies outside.
LOCAL_NS_MIN = 946_684_800 * NS_PER_S
LOCAL_NS_MAX = 7_258_118_400 * NS_PER_S
LOCAL_DIGITS_MAX = 19

# What Binance sends beside what we read; letters only, so depth20 is depth and kline_1m is kline.
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
_find_kind = re.compile(r"[^@!]*[@!]([A-Za-z]+)").match

# The bound keeps the product with 1,000,000 inside 64 bits.
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=LOCAL_NS_MAX // NS_PER_MS)]
StreamName = Annotated[str, msgspec.Meta(max_length=100)]
RawSymbol = Annotated[str, msgspec.Meta(min_length=1, max_length=48)]
TradeNumber = Annotated[int, msgspec.Meta(ge=0)]


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


class _BookTicker(
    msgspec.Struct,
    gc=False,
    rename={"raw_symbol": "s", "bid": "b", "ask": "a", "bid_size": "B", "ask_size": "A"},
):
    raw_symbol: RawSymbol
    bid: float
    ask: float
    bid_size: float
    ask_size: float


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
    trade_number: TradeNumber
    trade_time_ms: Milliseconds
    is_buyer_maker: bool


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
# Not strict: Binance writes prices and sizes as strings.
_decode_book_ticker = msgspec.json.Decoder(_BookTicker, strict=False).decode
_decode_trade = msgspec.json.Decoder(_Trade, strict=False).decode


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
    if kind in IGNORED_KINDS:
        return Ignored(kind)
    return Malformed(f"expected a Binance stream such as btcusdt@trade, was {envelope.stream!r}")


@functools.lru_cache(maxsize=4096)
def _kind_of(stream: str) -> str:
    """`trade` of btcusdt@trade, `ticker` of !ticker@arr; empty where the name has no such form."""
    match = _find_kind(stream)
    return match[1] if match else ""


def _make_quote(book: _BookTicker, local_ns: int) -> QuoteUpdate:
    return QuoteUpdate(book.raw_symbol, book.bid, book.ask, book.bid_size, book.ask_size, local_ns)


def _make_trade(trade: _Trade, local_ns: int) -> TradeUpdate:
    return TradeUpdate(
        trade.raw_symbol,
        trade.price,
        trade.quantity,
        local_ns,
        trade.trade_time_ms * NS_PER_MS,
        "sell" if trade.is_buyer_maker else "buy",
        str(trade.trade_number),
    )
