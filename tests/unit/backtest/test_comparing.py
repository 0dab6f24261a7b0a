from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.backtest_builders import START_NS, MessageSource, Taker, make_market, make_plan, run
from support.executor_builders import make_signal

from backtest import live
from backtest.comparing import Comparison, FilledOrder, compare
from backtest.live import filled_orders_of, read_filled_orders
from backtest.tables_comparison import explain, format_comparison
from common.clock import NS_PER_MS, NS_PER_S
from common.events.base import DRAFT
from common.events.trading import OrderFilled, OrderStatus
from common.history import Recorded

MARKS = {"simulated.BTC/USDT": Decimal(110)}


def make_order(after_ms: int = 0, **changes: Any) -> FilledOrder:
    """A purchase of 1 at 100, decided so many ms after the start."""
    decision_ns = START_NS + after_ms * NS_PER_MS
    fields: dict[str, Any] = {
        "instrument": "simulated.BTC/USDT",
        "side": "buy",
        "decision_ns": decision_ns,
        "filled_ns": decision_ns + 2 * NS_PER_MS,
        "quantity": Decimal(1),
        "cost": Decimal(100),
        "fee": Decimal("0.05"),
    }
    return FilledOrder(**{**fields, **changes})


def parts(given: Comparison) -> Decimal:
    """What the parts of the difference add up to."""
    return sum(
        (given.by_price, given.by_quantity, given.by_fees, given.by_only_live, given.by_only_backtest), Decimal(0)
    )


def test_equal_sessions_differ_in_nothing() -> None:
    """Every order has its counterpart, and every part of the difference is 0."""
    orders = [make_order(0), make_order(5_000, side="sell", cost=Decimal(108))]
    given = compare(orders, orders, MARKS)

    assert (given.pairs, given.only_live, given.only_backtest) == (2, 0, 0)
    assert given.profit_difference == parts(given) == 0
    assert given.price_difference_bps == 0


def test_difference_is_split_without_a_rest() -> None:
    """Live paid 1 more for the first, bought twice of the second, and alone has a third; the backtest a fourth."""
    live_orders = [
        make_order(3, cost=Decimal(101), fee=Decimal("0.06")),
        make_order(10_000, quantity=Decimal(2), cost=Decimal(200)),
        make_order(20_000),
    ]
    backtest_orders = [make_order(0), make_order(10_000), make_order(40_000, side="sell", cost=Decimal(105))]

    given = compare(live_orders, backtest_orders, MARKS)

    assert (given.pairs, given.only_live, given.only_backtest) == (2, 1, 1)
    assert given.by_price == -1
    assert given.by_quantity == 10
    assert given.by_fees == Decimal("-0.01")
    assert given.by_only_live == Decimal("9.95")
    assert given.by_only_backtest == Decimal("5.05")
    assert given.profit_difference == parts(given)
    assert given.decision_apart_ms == pytest.approx(1.5)
    assert given.price_difference_bps == pytest.approx(50)
    assert "2 of 3 live orders have a counterpart" in explain(given)[0]
    assert "filled orders" in format_comparison(given)


def test_orders_pair_with_the_nearest_within_a_second() -> None:
    """Not with one of the other side, nor with one of another second."""
    given = compare([make_order(0)], [make_order(400, side="sell"), make_order(900), make_order(5_000)], MARKS)

    assert (given.pairs, given.decision_apart_ms) == (1, -900)
    assert compare([make_order(0)], [make_order(1_001)], MARKS).pairs == 0


def test_fills_of_a_backtest_come_together_as_orders() -> None:
    """Their money is that of the recording, to the last digit."""
    recording = run(make_plan(Taker), MessageSource(make_market(1_000))).recording
    orders = filled_orders_of(recording)

    assert len(orders) == 20
    assert sum(order.cost for order in orders) == recording.turnover
    assert all(order.filled_ns > order.decision_ns for order in orders)


def test_live_orders_are_read_out_of_a_history(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fills of one order are added up; its time is that of the signal; other strategies and times are left out."""
    signal = make_signal("s-1", timestamp_ns=START_NS)
    facts = [
        Recorded(seq=1, timestamp_ns=START_NS, kind="intent", body={"signal": _plain(signal)}, events=[]),
        _fact(2, "s-1", "0.4", after_ms=3),
        _fact(3, "s-1", "0.6", after_ms=5),
        _fact(4, "other-1", "9", after_ms=6, strategy="other"),
        _fact(5, "s-9", "7", after_ms=60_000),
    ]
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "journal.sqlite").touch()
    monkeypatch.setattr(live, "open_history", lambda *_: _History(facts))

    [order] = read_filled_orders(tmp_path, "momentum", START_NS, START_NS + NS_PER_S)

    assert (order.quantity, order.cost, order.fee) == (Decimal("1.0"), Decimal("100.0"), Decimal("0.02"))
    assert (order.decision_ns, order.filled_ns) == (START_NS, START_NS + 5 * NS_PER_MS)


class _History:
    """A history of a few facts, two at a time."""

    def __init__(self, facts: list[Recorded]) -> None:
        self._facts = facts

    def last_seq(self) -> int:
        return self._facts[-1].seq

    def read(self, after_seq: int, _count_max: int) -> list[Recorded]:
        return [fact for fact in self._facts if fact.seq > after_seq][:2]

    def close(self) -> None:
        pass


def _plain(signal: Any) -> dict[str, Any]:
    return {"signal_id": signal.signal_id, "timestamp_ns": signal.timestamp_ns}


def _fact(seq: int, signal_id: str, quantity: str, *, after_ms: int, strategy: str = "momentum") -> Recorded:
    time_ns = START_NS + after_ms * NS_PER_MS
    event = OrderFilled(
        **DRAFT,
        timestamp_ns=time_ns,
        exchange="simulated",
        symbol="BTC/USDT",
        client_order_id=f"o-{signal_id}",
        signal_id=signal_id,
        strategy=strategy,
        status=OrderStatus.FILLED,
        side="buy",
        order_type="market",
        quantity=Decimal(1),
        time_in_force="ioc",
        filled_quantity=Decimal(quantity),
        last_quantity=Decimal(quantity),
        last_price=Decimal(100),
        fee=Decimal("0.01"),
    )
    return Recorded(seq=seq, timestamp_ns=time_ns, kind="execution", body={}, events=[event])
