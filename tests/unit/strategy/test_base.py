"""What a quant calls, what he is told when it cannot be, and the strategy that README.md shows."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from support.engine_builders import NAME, Stage, make_acknowledgement, make_open_order, make_position_event
from support.message_builders import make_tick
from support.strategy_builders import BTC, ETH, FakeHost
from support.strategy_builders import make_tick as make_eth_tick

from common.errors import InvalidValueError
from strategy.base import NoParameters, Strategy
from strategy.loader import load_strategy
from strategy.portfolio import FLAT

README = Path(__file__).parents[3] / "README.md"


def make_strategy() -> tuple[FakeHost, Strategy]:
    """The base class itself, on a host that records its orders."""
    host = FakeHost()
    return host, Strategy(host, NoParameters())


def test_quantity_that_rounds_to_nothing_is_refused_with_the_lot_size() -> None:
    """An order of nothing is never what was meant."""
    host, strategy = make_strategy()

    with pytest.raises(
        InvalidValueError, match=r"^simulated.BTC/USDT: expected a quantity of 0.00001 or more, was 9.9e-06$"
    ):
        strategy.buy(BTC, 0.0000099)

    assert host.orders == []


@pytest.mark.parametrize("quantity", [0, -1, Decimal(-1), float("nan"), float("inf"), Decimal("NaN")])
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_quantity_that_is_no_amount_is_refused(side: str, quantity: float | Decimal) -> None:
    """A negative quantity is no sale, and NaN passes no check."""
    host, strategy = make_strategy()

    with pytest.raises(InvalidValueError, match=r"simulated.BTC/USDT.*expected a"):
        getattr(strategy, side)(BTC, quantity)

    assert host.orders == []


@pytest.mark.parametrize("limit_price", [float("nan"), float("inf"), Decimal("NaN")])
def test_limit_price_that_is_not_finite_is_refused(limit_price: float | Decimal) -> None:
    """It comes from a division that went wrong."""
    host, strategy = make_strategy()

    with pytest.raises(InvalidValueError, match=r"simulated.BTC/USDT price: expected a finite number"):
        strategy.sell(BTC, 1, limit_price=limit_price)

    assert host.orders == []


def test_unknown_instrument_is_refused_by_name() -> None:
    """Without its grid nothing can be rounded."""
    host, strategy = make_strategy()

    with pytest.raises(InvalidValueError, match=r"^simulated.XRP/USDT: not in the instrument table; add it to config$"):
        strategy.buy(make_tick(symbol="XRP/USDT"), 1)

    assert host.orders == []


def test_unknown_option_is_refused() -> None:
    """A misspelt option must not become another order."""
    host, strategy = make_strategy()

    with pytest.raises(TypeError, match="limitprice"):
        strategy.buy(BTC, 1, limitprice=100)

    assert host.orders == []


def test_order_may_be_named_by_whatever_is_listed() -> None:
    """The instrument itself, or a tick of it."""
    host, strategy = make_strategy()

    ids = [strategy.buy(ETH, 1), strategy.sell(make_eth_tick(100.0, instrument=ETH), 1)]

    assert [order.instrument for order in host.orders] == [ETH, ETH]
    assert len(set(ids)) == 2


def test_strategy_sees_what_its_host_knows() -> None:
    """Instruments, time, positions, orders and signals on their way; by instrument or all."""
    stage = Stage()
    stage.start(open_orders=[make_open_order("mine-7-1")])
    stage.event(make_position_event("0.5"))
    stage.emit()

    strategy = stage.strategy

    assert list(strategy.instruments) == [BTC, ETH]
    assert strategy.now_ns == stage.now_ns
    assert (strategy.position(BTC).quantity, strategy.position(ETH)) == (Decimal("0.5"), FLAT)
    assert [len(strategy.open_orders(which)) for which in (None, BTC, ETH)] == [1, 1, 0]
    assert [strategy.pending_signals(which) for which in (None, BTC, ETH)] == [1, 1, 0]


def test_strategy_without_callbacks_of_its_own_does_nothing() -> None:
    """Every callback is there to be left out."""
    stage = Stage(Strategy)

    stage.market(make_tick())
    stage.event(make_position_event())
    stage.advance(ms=1_000)
    stage.engine.stop(stage.now_ns)

    assert (stage.take(), stage.failures) == ([], [])


# README


def readme_strategy(folder: Path) -> type[Strategy]:
    """Do what README says: save its first strategy as `mine.py`, and name it `mine:Mine`."""
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    (folder / "mine.py").write_text(next(block for block in blocks if "class Mine" in block))
    return load_strategy("mine:Mine")


def quote(stage: Stage, bid: float) -> None:
    """A new best bid, and an ask a cent above it."""
    stage.market(make_tick(bid=bid, ask=bid + 0.01))


def test_strategy_of_the_readme_buys_a_dip_and_sells_the_recovery(module_folder: Path) -> None:
    """The first thing that a quant tries must work, and do what is said of it."""
    stage = Stage(readme_strategy(module_folder), parameters={"dip": 0.0005})

    for bid in (100.0, 100.0, 99.97):
        quote(stage, bid)
    before_the_dip = stage.take_signals()
    quote(stage, 99.9)
    quote(stage, 99.9)
    (entry,) = stage.take_signals()
    stage.event(make_acknowledgement(entry.signal_id), make_position_event("0.001"))
    quote(stage, 99.9)
    while_it_is_low = stage.take_signals()
    quote(stage, 100.1)
    (exit_signal,) = stage.take_signals()

    assert (before_the_dip, while_it_is_low, stage.failures) == ([], [], [])
    assert (entry.strategy, entry.action, entry.quantity, entry.reduce_only) == (NAME, "buy", Decimal("0.001"), False)
    assert (exit_signal.action, exit_signal.quantity, exit_signal.reduce_only) == ("sell", Decimal("0.001"), True)


def test_strategy_of_the_readme_passes_over_a_one_sided_market(module_folder: Path) -> None:
    """A tick may lack a side; its average waits."""
    stage = Stage(readme_strategy(module_folder))

    stage.market(make_tick(bid=None), make_tick(ask=None))

    assert (stage.take(), stage.failures, stage.strategy.average) == ([], [], {})
