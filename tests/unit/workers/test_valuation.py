"""What a portfolio is worth, and how much of its limits it uses."""

from decimal import Decimal

from support.worker_builders import START_NS, make_quote

from common.clock import NS_PER_DAY, NS_PER_S
from workers.valuation import (
    Holding,
    RiskLimits,
    begin_risk,
    follow_risk,
    mark_of,
    shares_used,
    value,
)

BTC = ("simulated", "BTC/USDT")


def holding(quantity: str, entry: str | None = "100", **changes: str) -> Holding:
    """A position in BTC; `changes` are amounts."""
    amounts = {"mark_price": "100", "realised_pnl": "0", "fees": "0"} | changes
    return Holding(
        "momentum", *BTC, Decimal(quantity), None if entry is None else Decimal(entry), Decimal(amounts["mark_price"]),
        Decimal(amounts["realised_pnl"]), Decimal(amounts["fees"]),
    )  # fmt: skip


def test_equity_is_start_and_profits_without_fees() -> None:
    """Realised, unrealised and fees each count once."""
    found = value([holding("2", realised_pnl="7", fees="1")], {BTC: Decimal(110)}, Decimal(1_000))

    assert found.equity == 1_000 + 7 + 2 * 10 - 1
    assert found.cash == found.equity - 220
    assert (found.gross_value, found.net_value, found.unrealised_pnl) == (220, 220, 20)


def test_short_position_wins_when_the_price_falls() -> None:
    """Its value is negative, its exposure is not."""
    found = value([holding("-3")], {BTC: Decimal(90)}, Decimal(1_000))

    assert (found.net_value, found.gross_value, found.unrealised_pnl) == (-270, 270, 30)


def test_position_without_a_quote_is_marked_at_its_last_fill() -> None:
    """Nothing is worth nothing only because nobody quotes it."""
    assert value([holding("1", mark_price="95")], {}, Decimal(0)).unrealised_pnl == -5


def test_flat_position_keeps_what_it_won() -> None:
    """It has no entry price, and needs none."""
    found = value([holding("0", None, realised_pnl="12", fees="2")], {BTC: Decimal(1)}, Decimal(100))

    assert (found.equity, found.gross_value) == (110, 0)


def test_quote_marks_at_the_middle() -> None:
    """Neither side of the book is what a position is worth."""
    assert mark_of(make_quote(100.0)) == Decimal("100.00")


def test_peak_and_beginning_of_the_day_are_remembered() -> None:
    """A drawdown counts from the peak, a daily loss from the first valuation of the day."""
    state = begin_risk(Decimal(100), START_NS)
    for equity, later_ns in ((120, NS_PER_S), (105, 2 * NS_PER_S)):
        state = follow_risk(state, Decimal(equity), START_NS + later_ns)

    assert (state.drawdown(Decimal(105)), state.daily_loss(Decimal(95))) == (15, 5)

    next_day = follow_risk(state, Decimal(90), START_NS + NS_PER_DAY)

    assert next_day.daily_loss(Decimal(85)) == 5
    assert next_day.drawdown(Decimal(85)) == 35


def test_shares_are_of_the_limits_that_there_are() -> None:
    """No limit, no share."""
    valuation = value([holding("2")], {BTC: Decimal(100)}, Decimal(1_000))
    state = begin_risk(Decimal(1_050), START_NS)

    used = shares_used(valuation, state, RiskLimits(gross_value_max=Decimal(400), drawdown_max=Decimal(100)))

    assert used == {"gross_value": 50, "drawdown": 50}
