"""Events for rules: trades that stand for a letter, ticks, fills and positions, all at a time in seconds."""

from typing import Any

import msgspec
from support.engine_builders import make_order_event, make_position_event, make_trade
from support.message_builders import make_tick

from common.clock import NS_PER_S
from common.events.market import Tick, Trade
from common.events.trading import OrderEvent, OrderFilled, PositionEvent
from common.rules import RuleEngine

START_NS = 1_700_000_000 * NS_PER_S


def at(seconds: float) -> int:
    """Event time, ns."""
    return START_NS + round(seconds * NS_PER_S)


def letter(name: str, seconds: float = 0.0, symbol: str = "BTC/USDT") -> Trade:
    """An event that is only a letter and a time."""
    return make_trade(timestamp_ns=at(seconds), trade_id=name, symbol=symbol)


def tick(mid: float, seconds: float = 0.0, *, spread: float = 0.02, **changes: Any) -> Tick:
    """A tick around this mid."""
    return make_tick(timestamp_ns=at(seconds), bid=mid - spread / 2, ask=mid + spread / 2, **changes)


def fill(seconds: float = 0.0, **changes: Any) -> OrderEvent:
    """An order that was filled."""
    event = make_order_event(timestamp_ns=at(seconds), **{"last_quantity": "1", "last_price": "100", **changes})
    return msgspec.convert(msgspec.to_builtins(event) | {"type": "Trading.Order.Filled.v1"}, OrderFilled)


def position(seconds: float = 0.0, **changes: Any) -> PositionEvent:
    """A position that has changed."""
    return make_position_event(timestamp_ns=at(seconds), **changes)


def through_a_file(rules: RuleEngine, into: RuleEngine) -> RuleEngine:
    """What a restart does: the state of one engine, as bytes, in another."""
    into.load_state(msgspec.msgpack.decode(msgspec.msgpack.encode(rules.save_state())))
    return into
