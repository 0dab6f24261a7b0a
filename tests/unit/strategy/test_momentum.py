"""Runs, entries and exits of the momentum strategy."""

from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategy_builders import BTC, ETH, FakeHost, feed_mids, make_tick, start_strategy, wander

from strategy.checkpoint import encode_state
from strategy.strategies.momentum import Momentum

START = 60_000.0
RISE = [START + step for step in range(6)]  # five rising ticks
FALL = [START - step for step in range(6)]


def test_run_of_rising_ticks_is_bought_at_the_market() -> None:
    """The fifth rise decides; 500 quote units are 0.00833 BTC."""
    host = FakeHost()
    strategy = start_strategy(Momentum, host, rising_ticks=5, notional=500.0)

    feed_mids(strategy, RISE[:-1])
    count_before = len(host.orders)
    feed_mids(strategy, RISE[-1:])

    (order,) = host.orders
    assert count_before == 0
    assert (order.side, order.quantity, order.limit_price, order.time_in_force) == (
        "buy",
        Decimal("0.00833"),
        None,
        "ioc",
    )


@pytest.mark.parametrize(
    ("steps", "signal_count"),
    [([1, 1, 1, 1, -1, 1], 0), ([1, 1, 0, 0, 1, 0, 1, 1], 1), ([-1, 1, 1, 1, 1, 1], 1)],
    ids=["a fall ends the run", "an equal mid neither counts nor ends it", "a run may begin after a fall"],
)
def test_run_is_counted_over_moves_of_the_mid(steps: list[int], signal_count: int) -> None:
    """Most updates of a book change a size only: they say nothing about the direction."""
    host = FakeHost()
    strategy = start_strategy(Momentum, host, rising_ticks=5)

    feed_mids(strategy, walk(steps))

    assert len(host.orders) == signal_count


def test_tick_without_any_price_is_passed_over() -> None:
    """It neither counts nor ends the run; a last price alone counts."""
    host = FakeHost()
    strategy = start_strategy(Momentum, host, rising_ticks=5)

    for last in [*RISE[:3], None, *RISE[3:]]:
        strategy.on_tick(make_tick(last=last))

    assert [order.side for order in host.orders] == ["buy"]


def test_runs_of_two_instruments_are_apart() -> None:
    """Three rises here and two there are no run of five."""
    host = FakeHost()
    strategy = start_strategy(Momentum, host, rising_ticks=5)

    feed_mids(strategy, RISE[:4])
    feed_mids(strategy, RISE[:3], instrument=ETH)

    assert host.orders == []


def test_run_of_falling_ticks_closes_the_whole_position() -> None:
    """The exit may only reduce: an entry that failed unseen must not become a short position."""
    host, strategy = start_long("0.0166")

    feed_mids(strategy, FALL)

    (order,) = host.orders
    assert (order.side, order.quantity, order.reduce_only) == ("sell", Decimal("0.0166"), True)


@pytest.mark.parametrize(("mid", "signal_count"), [(60_029.0, 0), (60_030.0, 1)])
def test_profit_target_closes_the_position(mid: float, signal_count: int) -> None:
    """5 basis points of 60,000 are 30."""
    host, strategy = start_long("0.00833", profit_target_bps=5.0)

    feed_mids(strategy, [mid])

    assert len(host.orders) == signal_count


@pytest.mark.parametrize(("elapsed_ms", "signal_count"), [(4_999, 0), (5_000, 1)])
def test_position_of_an_earlier_life_is_held_for_the_full_time(elapsed_ms: int, signal_count: int) -> None:
    """Its entry was not seen, so its time counts from the first tick; the mid need not move at the end of it."""
    host, strategy = start_long("0.00833", holding_ms_max=5_000)
    feed_mids(strategy, [START])

    host.advance(ms=elapsed_ms)
    feed_mids(strategy, [START])

    assert len(host.orders) == signal_count


def test_holding_time_counts_from_the_newest_entry() -> None:
    """A second run within the time is a reason to stay."""
    host = FakeHost()
    strategy = start_strategy(Momentum, host, holding_ms_max=5_000, profit_target_bps=1_000.0)
    for _ in range(2):
        feed_mids(strategy, RISE)
        host.fill_pending("60005")
        host.advance(ms=3_000)

    feed_mids(strategy, RISE[:1])
    count_after_6_s = len(host.orders)
    host.advance(ms=2_000)
    feed_mids(strategy, RISE[:1])

    assert count_after_6_s == 2
    assert [order.reduce_only for order in host.orders] == [False, False, True]


@pytest.mark.parametrize(("allow_short", "sides"), [(False, []), (True, ["sell"])])
def test_falling_run_without_a_position_is_sold_only_where_allowed(*, allow_short: bool, sides: list[str]) -> None:
    """Long only unless the parameters say otherwise."""
    host = FakeHost()
    strategy = start_strategy(Momentum, host, allow_short=allow_short)

    feed_mids(strategy, FALL)

    assert [order.side for order in host.orders] == sides


def test_rising_run_closes_a_short_position() -> None:
    """The mirror image of leaving a long one."""
    host = FakeHost()
    strategy = start_strategy(Momentum, host, allow_short=True)
    host.hold(BTC, "-0.0083", "60000")

    feed_mids(strategy, RISE)

    (order,) = host.orders
    assert (order.side, order.quantity, order.reduce_only) == ("buy", Decimal("0.0083"), True)


def test_entry_beyond_the_position_limit_is_not_emitted() -> None:
    """A position of 0.03 is worth 1,800 quote units: 500 more would pass the limit of 2,000."""
    host, strategy = start_long("0.03", notional=500.0, position_notional_max=2_000.0)

    feed_mids(strategy, RISE)

    assert host.orders == []


@pytest.mark.parametrize(("held", "run"), [("0", RISE), ("0.00833", FALL)], ids=["entry", "exit"])
def test_nothing_is_emitted_while_an_order_is_under_way(held: str, run: list[float]) -> None:
    """Until its end is known the position is not: a second exit could sell the position twice."""
    host, strategy = start_long(held)
    feed_mids(strategy, run)

    host.advance(ms=600)
    feed_mids(strategy, run)
    count_while_pending = len(host.orders)
    host.settle()
    feed_mids(strategy, run)

    assert count_while_pending == 1
    assert len(host.orders) == 2


def test_run_that_goes_on_after_an_entry_must_earn_the_next_one() -> None:
    """Five rises for each entry, not one more rise once the cooldown has passed."""
    host = FakeHost()
    strategy = start_strategy(Momentum, host, rising_ticks=5, profit_target_bps=1_000.0)
    feed_mids(strategy, walk([1] * 5))
    host.fill_pending("60005")
    host.advance(ms=600)

    feed_mids(strategy, walk([1] * 9)[6:])
    count_after_nine = len(host.orders)
    feed_mids(strategy, [START + 10])

    assert count_after_nine == 1
    assert len(host.orders) == 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"position_notional_max": 400.0}, "position_notional_max: expected notional .* was 400.0"),
        ({"rising_ticks": 0}, "rising_ticks"),
        ({"rising_tick": 5}, "unknown field `rising_tick`"),
    ],
    ids=["no room for an entry", "out of range", "misspelt"],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, object], message: str) -> None:
    """A misspelt key must not leave a default in place, nor a limit forbid every entry."""
    with pytest.raises(msgspec.ValidationError, match=message):
        start_strategy(Momentum, FakeHost(), **parameters)


def revive(host: FakeHost, strategy: Momentum) -> Momentum:
    """The next life of a strategy, after its state has been to the disk and back."""
    encoded = encode_state(strategy.save_state())
    assert encoded is not None
    heir = Momentum(host, strategy.parameters)
    heir.load_state(msgspec.msgpack.decode(encoded))
    heir.on_start()
    return heir


def test_restarted_strategy_goes_on_with_its_run() -> None:
    """Three rises before the restart and two after it are five."""
    host = FakeHost()
    strategy = start_strategy(Momentum, host, rising_ticks=5)
    feed_mids(strategy, RISE[:4])

    heir = revive(host, strategy)
    feed_mids(heir, RISE[4:])

    assert [order.side for order in host.orders] == ["buy"]


@pytest.mark.parametrize(("elapsed_ms", "signal_count"), [(10_000, 1), (10_001, 0)])
def test_run_that_was_interrupted_for_long_begins_anew(elapsed_ms: int, signal_count: int) -> None:
    """Nobody knows what the price did meanwhile."""
    host = FakeHost()
    strategy = start_strategy(Momentum, host, rising_ticks=5)
    feed_mids(strategy, RISE[:4])
    saved = strategy.save_state()

    host.advance(ms=elapsed_ms)
    heir = Momentum(host, strategy.parameters)
    heir.load_state(saved)
    feed_mids(heir, RISE[4:])

    assert len(host.orders) == signal_count


def test_restarted_strategy_keeps_its_cooldown_and_its_time_to_leave() -> None:
    """A crash is no way around them."""
    host = FakeHost()
    strategy = start_strategy(Momentum, host, holding_ms_max=5_000, profit_target_bps=1_000.0, cooldown_ms=500)
    feed_mids(strategy, RISE)
    host.fill_pending("60005")

    heir = revive(host, strategy)
    host.advance(ms=499)
    feed_mids(heir, FALL)
    in_cooldown = len(host.orders)
    host.advance(ms=4_501)
    feed_mids(heir, FALL[-1:])

    assert in_cooldown == 1
    assert [order.reduce_only for order in host.orders] == [False, True]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1_000_000), allow_short=st.booleans())
def test_any_market_keeps_cooldown_and_position_limit(seed: int, *, allow_short: bool) -> None:
    """Whatever the price does and however late the answers come: time between signals, a bounded, allowed position."""
    host = FakeHost()
    strategy = start_strategy(Momentum, host, position_notional_max=1_000.0, allow_short=allow_short)

    emitted_ns = []
    for mid in wander(host, seed):
        count = len(host.orders)
        feed_mids(strategy, [mid])
        emitted_ns += [host.now_ns] * (len(host.orders) - count)
        # The price stays within 1 % of where the position was opened.
        held = float(host.portfolio.position(BTC).quantity) * mid
        assert -1_010.0 * allow_short <= held <= 1_010.0

    assert emitted_ns
    assert all(later - earlier >= 500_000_000 for earlier, later in pairwise(emitted_ns))


def start_long(quantity: str, **parameters: object) -> tuple[FakeHost, Momentum]:
    """A strategy that holds BTC bought at 60,000, and its host."""
    host = FakeHost()
    strategy = start_strategy(Momentum, host, **parameters)
    host.hold(BTC, quantity, "60000")
    return host, strategy


def walk(steps: list[int]) -> list[float]:
    """Mids from `START` on."""
    mids = [START]
    for step in steps:
        mids.append(mids[-1] + step)
    return mids
