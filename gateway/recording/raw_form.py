"""Messages of the market channel as lines of a Binance capture: the way back from events to a venue's own words. Pure.

`gateway.feeds.binance` reads the same updates out of them. What Binance's form has no place for stands under
`tickpulse` in the payload, where other readers pass it over.
"""

from collections import Counter, deque
from typing import Any

import msgspec

from common.clock import NS_PER_MS
from common.events.base import Message
from common.events.market import BookDelta, BookSnapshot, Tick, Ticks, Trade
from common.events.packing import unpack_ticks
from gateway.feeds.binance import SNAPSHOT_STREAM

WAITING_MAX = 10_000
TRADE_NUMBER_MAX = (1 << 63) - 1
_encode = msgspec.json.encode
Payload = dict[str, Any]
Book = BookDelta | BookSnapshot


class RawForm:
    """Puts events in order again, and tells quotes from trades: a trade's tick leaves no line of its own.

    Where ticks are packed, trades and the book come before the ticks that stood between them.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        # What waits for the next tick of its instrument, by raw symbol; with the round in which it came.
        self._waiting: dict[str, deque[tuple[int, Trade | Book]]] = {}
        self._round = 0

    def lines(self, message: Message) -> list[bytes]:
        """The capture lines that a message makes certain, without line feeds."""
        if isinstance(message, Trade | BookDelta | BookSnapshot):
            return self._keep(message)
        if isinstance(message, Tick):
            return self._take_tick(message)
        if isinstance(message, Ticks):
            return [line for tick in unpack_ticks(message) for line in self._take_tick(tick)]
        return []

    def settle(self) -> list[bytes]:
        """The lines of what has waited since before the last time, though no tick came."""
        lines = []
        for waiting in self._waiting.values():
            while waiting and waiting[0][0] < self._round:
                lines.append(self._pop(waiting))
        self._round += 1
        return lines

    def finish(self) -> list[bytes]:
        """The lines of all that waits."""
        self._round += 1
        return self.settle()

    def _keep(self, event: Trade | Book) -> list[bytes]:
        waiting = self._waiting.setdefault(event.raw_symbol, deque())
        waiting.append((self._round, event))
        return [self._pop(waiting)] if len(waiting) > WAITING_MAX else []

    def _take_tick(self, tick: Tick) -> list[bytes]:
        waiting = self._waiting.get(tick.raw_symbol)
        lines: list[bytes] = []
        while waiting:
            event = waiting[0][1]
            if isinstance(event, Trade) and _is_tick_of(tick, event):
                return [*lines, self._pop(waiting)]
            if tick.local_timestamp_ns <= event.local_timestamp_ns:
                break
            lines.append(self._pop(waiting))  # the book as it was before; or a trade whose tick was lost
        if tick.bid is None or tick.ask is None or tick.bid_size is None or tick.ask_size is None:
            self.counts["ticks_without_quote"] += 1
            return lines
        self.counts["quotes"] += 1
        return [*lines, _quote_line(tick, tick.bid, tick.ask, tick.bid_size, tick.ask_size)]

    def _pop(self, waiting: deque[tuple[int, Trade | Book]]) -> bytes:
        event = waiting.popleft()[1]
        if isinstance(event, Trade):
            self.counts["trades"] += 1
            return _trade_line(event)
        self.counts["books"] += 1
        return _delta_line(event) if isinstance(event, BookDelta) else _snapshot_line(event)


def _is_tick_of(tick: Tick, trade: Trade) -> bool:
    return (
        tick.local_timestamp_ns == trade.local_timestamp_ns
        and tick.last == trade.price
        and tick.volume == trade.quantity
        and tick.exchange_timestamp_ns == trade.exchange_timestamp_ns
    )


def _quote_line(tick: Tick, bid: float, ask: float, bid_size: float, ask_size: float) -> bytes:
    payload: Payload = {"s": tick.raw_symbol, "b": repr(bid), "B": repr(bid_size), "a": repr(ask), "A": repr(ask_size)}
    if tick.exchange_timestamp_ns is not None:
        payload["tickpulse"] = {"exchange_timestamp_ns": tick.exchange_timestamp_ns}
    return _line(tick, "bookTicker", payload)


def _trade_line(trade: Trade) -> bytes:
    beyond = _beyond(trade)
    number = trade.trade_id or ""
    is_number = number.isascii() and number.isdigit() and str(int(number)) == number and int(number) <= TRADE_NUMBER_MAX
    if not is_number:
        beyond["trade_id"] = trade.trade_id
    if trade.aggressor_side is None:
        beyond["aggressor_side"] = None
    if beyond:
        beyond["exchange_timestamp_ns"] = trade.exchange_timestamp_ns
    payload: Payload = {
        "e": "trade",
        "s": trade.raw_symbol,
        "t": int(number) if is_number else 0,
        "p": repr(trade.price),
        "q": repr(trade.quantity),
        "T": (trade.exchange_timestamp_ns or 0) // NS_PER_MS,
        "m": trade.aggressor_side == "sell",
    }
    return _line(trade, "trade", payload | ({"tickpulse": beyond} if beyond else {}))


def _delta_line(delta: BookDelta) -> bytes:
    payload = {
        "e": "depthUpdate",
        "U": delta.first_update_id,
        "u": delta.last_update_id,
        "b": _levels(delta.bids),
        "a": _levels(delta.asks),
    }
    return _line(delta, "depth", payload | _book_fields(delta))


def _snapshot_line(snapshot: BookSnapshot) -> bytes:
    payload = {
        "lastUpdateId": snapshot.update_id,
        "bids": _levels(snapshot.bids),
        "asks": _levels(snapshot.asks),
    }
    return _line(snapshot, SNAPSHOT_STREAM, payload | _book_fields(snapshot))


def _book_fields(event: BookDelta | BookSnapshot) -> Payload:
    fields: Payload = {"s": event.raw_symbol}
    if event.exchange_timestamp_ns is not None:
        fields["E"] = event.exchange_timestamp_ns // NS_PER_MS
    beyond = _beyond(event)
    return fields | ({"tickpulse": beyond} if beyond else {})


def _beyond(event: Trade | BookDelta | BookSnapshot) -> Payload:
    """Where there is no venue time, or one that milliseconds cannot hold."""
    venue_ns = event.exchange_timestamp_ns
    is_needed = venue_ns % NS_PER_MS != 0 if venue_ns is not None else isinstance(event, Trade)
    return {"exchange_timestamp_ns": venue_ns} if is_needed else {}


def _levels(levels: list[tuple[float, float]]) -> list[tuple[str, str]]:
    return [(repr(price), repr(size)) for price, size in levels]


def _line(event: Tick | Trade | BookDelta | BookSnapshot, stream: str, payload: Payload) -> bytes:
    # The stream's name may hold neither of these; the symbol itself stands in the payload.
    symbol = event.raw_symbol.lower().replace("@", "").replace("!", "")
    return b"%d %s" % (event.local_timestamp_ns, _encode({"stream": f"{symbol}@{stream}", "data": payload}))
