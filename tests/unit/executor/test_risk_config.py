"""The table `[executor.risk]`: what may stand in it, which limit holds for whom, and how it is told."""

from decimal import Decimal
from pathlib import Path

import pytest

from common import config
from common.errors import ConfigError
from executor.config import ExecutorConfig
from executor.limits import RiskLimits, ScopeLimits, SymbolLimits, describe_limits

FULL = """
[executor.risk]
order_notional_max = "1000"
price_collar = 0.05
prevents_self_trade = true

[executor.risk.each_strategy]
daily_loss_max = "100"
open_orders_max = 5

[executor.risk.strategies.momentum]
daily_loss_max = "50.50"

[executor.risk.symbols."simulated.BTC/USDT"]
position_quantity_max = 2
"""


def read(path: Path, text: str) -> RiskLimits:
    """The limits of a config file."""
    path.write_text(text, encoding="utf-8")
    return config.load(path, {}).section("executor", ExecutorConfig).risk


def test_every_table_is_read(tmp_path: Path) -> None:
    """Amounts as text or as numbers."""
    limits = read(tmp_path / "t.toml", FULL)

    assert (limits.order_notional_max, limits.price_collar) == (Decimal(1000), Decimal("0.05"))
    assert limits.symbols == {"simulated.BTC/USDT": SymbolLimits(position_quantity_max=Decimal(2))}


def test_strategy_has_its_own_limits_and_for_the_rest_those_of_each() -> None:
    """An override replaces one limit, not the table."""
    limits = RiskLimits(
        each_strategy=ScopeLimits(daily_loss_max=Decimal(100), open_orders_max=5),
        strategies={"momentum": ScopeLimits(daily_loss_max=Decimal(50))},
    )

    assert limits.of_strategy("momentum") == ScopeLimits(daily_loss_max=Decimal(50), open_orders_max=5)
    assert limits.of_strategy("other") == ScopeLimits(daily_loss_max=Decimal(100), open_orders_max=5)


def test_limits_that_are_on_are_told_by_their_key(tmp_path: Path) -> None:
    """What is off is not there; a person reads it in the status."""
    assert describe_limits(read(tmp_path / "t.toml", FULL)) == {
        "order_notional_max": "1000",
        "price_collar": "0.05",
        "prevents_self_trade": "on",
        "each_strategy.daily_loss_max": "100",
        "each_strategy.open_orders_max": "5",
        "strategies.momentum.daily_loss_max": "50.5",
        "symbols.simulated.BTC/USDT.position_quantity_max": "2",
    }
    assert describe_limits(RiskLimits()) == {}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[executor.risk]\nprice_collar = nan", "price_collar"),
        ('[executor.risk]\ngross_notional_max = "Infinity"', "gross_notional_max"),
        ('[executor.risk]\ndaily_loss_max = "-1"', "daily_loss_max"),
        ('[executor.risk]\nprice_collar = "1"', "price_collar"),
        ("[executor.risk]\nduplicate_window_ms = 10001", "duplicate_window_ms"),
        ("[executor.risk]\nopen_orders_max = -1", "open_orders_max"),
        ("[executor.risk]\nopen_order_max = 1", "open_orders_max"),
        ('[executor.risk.strategies.momentum]\ndrawdown_max = "NaN"', "strategies.momentum.drawdown_max"),
        ('[executor.risk.strategies.momentum]\nopen_orders_max = "x"', "open_orders_max"),
        (
            '[executor.risk.symbols."simulated.BTC/USDT"]\nprice_collar = "-0.1"',
            "symbols.simulated.BTC/USDT.price_collar",
        ),
    ],
)
def test_limit_that_is_none_is_an_error_that_names_its_key(text: str, key: str, tmp_path: Path) -> None:
    """A limit that were quietly dropped would be no limit."""
    with pytest.raises(ConfigError, match=key) as caught:
        read(tmp_path / "t.toml", text)

    assert "executor.risk" in str(caught.value)
