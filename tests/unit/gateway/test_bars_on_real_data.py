"""Bars of five minutes of BTCUSDT: what the gateway sends, what arrays give, and what the trades themselves say."""

import contextlib
import math

import numpy as np
import pytest
from support.feed_builders import START_NS, drain, make_recorded_feed
from support.gateway_builders import Broadcast
from support.real_data import real_capture

from common.bars import BarBuilder
from common.clock import NS_PER_S
from common.events.market import Bar
from gateway.feeds.base import TradeUpdate

pytestmark = pytest.mark.unmeasured


@pytest.fixture(scope="module")
def trades() -> list[TradeUpdate]:
    """All 10,147 of them."""
    with contextlib.closing(make_recorded_feed(real_capture(), speed=0.0)) as feed:
        feed.start(START_NS)
        return [update for update in drain(feed) if isinstance(update, TradeUpdate)]


@pytest.mark.parametrize("interval", ["1m", "100t", "5v"])
def test_bars_of_the_gateway_are_those_of_arrays(trades: list[TradeUpdate], interval: str) -> None:
    """Sent one by one while the feed runs, or built from the whole recording at once: field by field the same."""
    broadcast = Broadcast(bars=[interval])
    for trade in trades:
        broadcast.publish(trade, now_ns=trade.local_timestamp_ns)
    sent = [message for message in broadcast.take() if isinstance(message, Bar)]

    built = BarBuilder(interval, exchange="simulated", symbol="BTC/USDT").add_many(
        np.array([trade.local_timestamp_ns for trade in trades]),
        np.array([trade.price for trade in trades]),
        np.array([trade.quantity for trade in trades]),
    )

    assert len(built) > 3
    assert [contents_of(bar) for bar in sent] == [contents_of(bar) for bar in built]


def test_minutes_hold_the_trades_of_their_minute(trades: list[TradeUpdate]) -> None:
    """Recomputed from the trades, which are in order of time."""
    builder = BarBuilder("1m", exchange="simulated", symbol="BTC/USDT")
    bars = [
        bar
        for trade in trades
        if (bar := builder.add(trade.local_timestamp_ns, trade.price, trade.quantity)) is not None
    ]

    assert [bar.open_timestamp_ns % (60 * NS_PER_S) for bar in bars] == [0] * 5
    for bar in bars:
        inside = [t for t in trades if bar.open_timestamp_ns <= t.local_timestamp_ns < bar.close_timestamp_ns]
        prices = [trade.price for trade in inside]
        assert (bar.open, bar.high, bar.low, bar.close) == (prices[0], max(prices), min(prices), prices[-1])
        assert bar.trade_count == len(inside)
        assert math.isclose(bar.volume, math.fsum(trade.quantity for trade in inside), rel_tol=1e-12)


def contents_of(bar: Bar) -> tuple[object, ...]:
    """Everything but who sent it and under which number."""
    return tuple(getattr(bar, name) for name in bar.__struct_fields__ if name not in {"source", "epoch", "seq"})
