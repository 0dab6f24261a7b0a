"""Bounces and breakouts, told from a market with a support at 60,000 and a resistance at 60,100."""

from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategy_builders import BTC, ETH, FakeHost, feed_mids, make_tick, start_strategy, wander

from common.instruments import Instrument
from strategy.base import Order
from strategy.checkpoint import STATE_BYTES_MAX, encode_state
from strategy.strategies.support_resistance import SupportResistance

# Sixteen moves: three lows at 60,000 and four highs at 60,100, of a range of 100. So the tolerance is 3 quote units
# and the threshold 6.
RANGE = [60_000.0, 60_050.0, 60_100.0, 60_050.0] * 4
BOUNCE = [60_002.0, 60_006.0]
SHAPE = {"window_moves": 20, "relevel_moves": len(RANGE), "pivot_half_window_moves": 1, "touches_min": 3}


@pytest.mark.parametrize(
    ("mids", "side", "limit_price", "confidence"),
    [
        ([60_002.0, 60_006.0], "buy", "60006.01", 3 / 6),
        ([60_002.0, 59_994.0], "sell", None, 3 / 6),
        ([59_994.0], "sell", None, 3 / 6),
        ([60_098.0, 60_094.0], "sell", "60093.99", 4 / 7),
        ([60_098.0, 60_106.0], "buy", None, 4 / 7),
        ([60_106.0], "buy", None, 4 / 7),
    ],
    ids=["support holds", "gives", "is leapt through", "resistance holds", "gives", "is leapt through"],
)
def test_end_of_a_test_is_traded_at_once(
    mids: list[float], side: str, limit_price: str | None, confidence: float
) -> None:
    """A bounce at the touch, a breakout at the market; both immediate or cancelled, so that none rests forgotten."""
    host, strategy = start_at_levels()

    feed_mids(strategy, mids)

    (order,) = host.orders
    assert order.side == side
    assert order.limit_price == (None if limit_price is None else Decimal(limit_price))
    assert order.time_in_force == "ioc"
    assert order.confidence == pytest.approx(confidence)


@pytest.mark.parametrize(
    "mids",
    [[60_003.5, 60_006.0], [60_002.0, 60_005.5], [60_002.0, 59_994.5], [60_002.0, 59_999.0, 60_002.0]],
    ids=["not near enough", "not turned far enough", "not broken far enough", "undecided"],
)
def test_test_of_a_level_without_a_decision_is_not_traded(mids: list[float]) -> None:
    """Near the level nothing is known yet."""
    host, strategy = start_at_levels()

    feed_mids(strategy, mids)

    assert host.orders == []


def test_level_touched_too_seldom_is_not_traded() -> None:
    """The support has three touches only."""
    host, strategy = start_at_levels(touches_min=4)

    feed_mids(strategy, BOUNCE)

    assert host.orders == []


def test_range_within_the_noise_has_no_levels() -> None:
    """100 of 60,000 is a range of 17 basis points."""
    host, strategy = start_at_levels(range_bps_min=20.0)

    feed_mids(strategy, BOUNCE)

    assert host.orders == []


def test_support_that_broke_is_the_resistance_of_the_way_back() -> None:
    """The level stays, and the price now comes from below."""
    host, strategy = start_at_levels(cooldown_ms=0)

    feed_mids(strategy, [59_994.0, 59_980.0, 59_998.0, 59_990.0])

    assert [(order.side, order.limit_price) for order in host.orders] == [("sell", None), ("sell", Decimal("59989.99"))]


def test_new_levels_leave_the_test_under_way_as_it_began() -> None:
    """Sixteen moves within the test bring new levels; the end of the test is measured from the old one."""
    host, strategy = start_at_levels()

    feed_mids(strategy, [60_002.0, *[60_001.0, 60_002.0] * 8])
    count_undecided = len(host.orders)
    feed_mids(strategy, [60_006.0])

    assert count_undecided == 0
    assert [(order.side, order.confidence) for order in host.orders] == [("buy", 0.5)]


def test_mid_that_repeats_is_no_move() -> None:
    """Updates of a size push no move out of the window, so the levels outlive a quiet time."""
    host, strategy = start_at_levels()

    feed_mids(strategy, RANGE[-1:] * 100 + BOUNCE)

    assert [order.side for order in host.orders] == ["buy"]


def test_tick_without_bid_and_ask_counts_with_its_last_price() -> None:
    """Where no touch is known, the limit is the price that was seen."""
    host, strategy = start_at_levels()

    for last in [*BOUNCE[:1], None, *BOUNCE[1:]]:
        strategy.on_tick(make_tick(last=last))

    assert [order.limit_price for order in host.orders] == [Decimal(60_006)]


@pytest.mark.parametrize(
    ("instrument", "scale", "quantity"), [(BTC, 1.0, "0.00833"), (ETH, 0.05, "0.1666")], ids=["BTC", "ETH"]
)
def test_notional_becomes_a_quantity_on_the_lot_grid(instrument: Instrument, scale: float, quantity: str) -> None:
    """500 quote units buy 0.00833 BTC at 60,006, or 0.1666 ETH at 3,000.3; never more than was asked for."""
    host = FakeHost()
    strategy = start_strategy(SupportResistance, host, notional=500.0, **SHAPE)

    feed_mids(strategy, [mid * scale for mid in RANGE + BOUNCE], instrument=instrument)

    assert [order.quantity for order in host.orders] == [Decimal(quantity)]


@pytest.mark.parametrize(("elapsed_ms", "signal_count"), [(499, 1), (500, 2)])
def test_second_signal_waits_for_the_end_of_the_cooldown(elapsed_ms: int, signal_count: int) -> None:
    """What ends within the cooldown is not traded later either."""
    host, strategy = start_at_levels(cooldown_ms=500)
    feed_mids(strategy, BOUNCE)

    host.advance(ms=elapsed_ms)
    feed_mids(strategy, BOUNCE)

    assert len(host.orders) == signal_count


def test_cooldown_of_one_instrument_does_not_hold_another() -> None:
    """Each instrument has its own chart and its own clock."""
    host, strategy = start_at_levels()
    feed_mids(strategy, BOUNCE)

    feed_mids(strategy, RANGE + BOUNCE, instrument=ETH)

    assert [order.instrument for order in host.orders] == [BTC, ETH]


@pytest.mark.parametrize(
    ("held", "mids", "signal_count"),
    [
        ("0.02", [60_002.0, 60_006.0], 1),
        ("0.03", [60_002.0, 60_006.0], 0),
        ("0.03", [60_002.0, 59_994.0], 1),
        ("-0.03", [60_002.0, 59_994.0], 0),
    ],
    ids=["room to buy", "full when long", "reduces", "full when short"],
)
def test_signal_beyond_the_position_limit_is_not_emitted(held: str, mids: list[float], signal_count: int) -> None:
    """A position of 0.03 is worth 1,800 quote units: 500 more would pass the limit of 2,000."""
    host, strategy = start_at_levels(notional=500.0, position_notional_max=2_000.0)
    host.hold(BTC, held)

    feed_mids(strategy, mids)

    assert len(host.orders) == signal_count


def test_pending_signals_count_as_if_they_were_filled() -> None:
    """Two signals without an answer fill the limit; with their end there is room again."""
    host, strategy = start_at_levels(notional=500.0, position_notional_max=1_000.0, cooldown_ms=0)
    feed_mids(strategy, BOUNCE * 3)
    emitted_while_pending = len(host.orders)

    host.settle()
    feed_mids(strategy, BOUNCE)

    assert emitted_while_pending == 2
    assert len(host.orders) == 3


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"threshold_range_percent": 3.0}, "threshold_range_percent: expected more than .* was 3.0"),
        ({"window_moves": 20, "pivot_half_window_moves": 10}, "window_moves: expected more than twice .* was 20"),
        ({"position_notional_max": 400.0}, "position_notional_max: expected notional .* was 400.0"),
        ({"notional": float("nan")}, "notional"),
        ({"tolerance": 3.0}, "unknown field `tolerance`"),
    ],
    ids=["a test ends where it begins", "no room for a pivot", "no room for a signal", "not a number", "misspelt"],
)
def test_parameters_that_could_never_trade_are_refused(parameters: dict[str, object], message: str) -> None:
    """A strategy that is silent by mistake looks like one that waits."""
    with pytest.raises(msgspec.ValidationError, match=message):
        start_strategy(SupportResistance, FakeHost(), **parameters)


def revive(host: FakeHost, strategy: SupportResistance) -> SupportResistance:
    """The next life of a strategy, after its state has been to the disk and back."""
    encoded = encode_state(strategy.save_state())
    assert encoded is not None
    heir = SupportResistance(host, strategy.parameters)
    heir.load_state(msgspec.msgpack.decode(encoded))
    heir.on_start()
    return heir


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_strategy_that_is_restarted_again_and_again_decides_as_one_that_is_not(seed: int) -> None:
    """Windows, levels, tests under way and pauses: nothing is missing from its state."""
    hosts = FakeHost(), FakeHost()
    lasting, restarted = (start_strategy(SupportResistance, host) for host in hosts)

    for number, (mid, _) in enumerate(zip(wander(hosts[0], seed), wander(hosts[1], seed), strict=True)):
        feed_mids(lasting, [mid])
        feed_mids(restarted, [mid])
        if number % 50 == 0:
            restarted = revive(hosts[1], restarted)

    assert hosts[1].orders == hosts[0].orders != []


@pytest.mark.parametrize(("elapsed_ms", "signal_count"), [(60_000, 1), (60_001, 0)])
def test_chart_that_was_interrupted_for_long_begins_anew(elapsed_ms: int, signal_count: int) -> None:
    """Its levels are those of another market."""
    host = FakeHost()
    strategy = start_strategy(SupportResistance, host, **SHAPE)
    feed_mids(strategy, RANGE)
    saved = strategy.save_state()

    host.advance(ms=elapsed_ms)
    heir = SupportResistance(host, strategy.parameters)
    heir.load_state(msgspec.to_builtins(saved, builtin_types=(bytes,)))
    feed_mids(heir, BOUNCE)

    assert len(host.orders) == signal_count


def test_state_of_the_largest_windows_fits_a_checkpoint() -> None:
    """Where all of them are too much, the newest moves are kept."""
    host = FakeHost()
    strategy = start_strategy(SupportResistance, host, window_moves=100_000, relevel_moves=100_000)
    for instrument in (BTC, ETH):
        feed_mids(strategy, [60_000.0 + number % 2 for number in range(60_000)], instrument=instrument)

    encoded = encode_state(strategy.save_state())

    assert encoded is not None
    assert 2 * 8 * 50_000 < len(encoded) <= STATE_BYTES_MAX


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1_000_000))
def test_any_market_keeps_cooldown_and_position_limit(seed: int) -> None:
    """Whatever the price does and however late the answers come: time between signals, and a bounded worst case."""
    host = FakeHost()
    strategy = start_strategy(SupportResistance, host, relevel_moves=20, position_notional_max=1_000.0)

    emitted_ns = []
    for mid in wander(host, seed):
        count = len(host.orders)
        feed_mids(strategy, [mid])
        if len(host.orders) > count:
            emitted_ns.append(host.now_ns)
            # A pending signal was sized at the mid of its time, which stays within 1 % of this one.
            assert worst_notional(host, host.orders[-1], mid) <= 1_010.0

    assert emitted_ns
    assert all(later - earlier >= 500_000_000 for earlier, later in pairwise(emitted_ns))


def test_wandering_market_gives_bounces_and_breakouts_both_ways() -> None:
    """The defaults trade a plain market of about a minute; seed 1."""
    host = FakeHost()
    strategy = start_strategy(SupportResistance, host)

    for mid in wander(host, 1):
        feed_mids(strategy, [mid])

    kinds = {(order.side, "breakout" if order.limit_price is None else "bounce") for order in host.orders}
    assert kinds == {("buy", "breakout"), ("buy", "bounce"), ("sell", "breakout"), ("sell", "bounce")}
    assert 10 <= len(host.orders) <= 100


def start_at_levels(**parameters: object) -> tuple[FakeHost, SupportResistance]:
    """A strategy that has seen `RANGE` of BTC/USDT, and its host."""
    host = FakeHost()
    strategy = start_strategy(SupportResistance, host, **(SHAPE | parameters))
    feed_mids(strategy, RANGE)
    assert host.orders == []
    return host, strategy


def worst_notional(host: FakeHost, newest: Order, mid: float) -> float:
    """Value of the position if every pending signal fills in the direction of the newest one."""
    direction = 1 if newest.side == "buy" else -1
    pending = sum(order.quantity for order in host.pending_orders())
    return float(direction * host.portfolio.position(newest.instrument).quantity + pending) * mid
