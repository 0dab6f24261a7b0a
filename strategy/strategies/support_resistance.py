"""Trades at prices where the market turned before: with the bounce when they hold, with the breakout when they give.

`strategy.indicators.find_levels` shows how levels are found. How a test of one ends, for a price that came from above:

    ─────────────── level + threshold    back up here: it held, a bounce, buy
    - - - - - - - - level + tolerance    down to here: the test begins
    ═══════════════ level
    ─────────────── level - threshold    down here: it gave, a breakout, sell

From below it is the same, upside down. Both ends are equally far away, so neither is favoured.
"""

from bisect import bisect_right
from math import inf
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np

from common.clock import NS_PER_MS, NS_PER_S
from common.events.market import Tick
from common.instruments import Listed
from common.rules.measures import mid_price
from strategy.base import Host, Strategy
from strategy.indicators import Level, Ring, find_levels

Percent = Annotated[float, msgspec.Meta(gt=0, le=100)]
Notional = Annotated[float, msgspec.Meta(gt=0, le=1e12)]
CHART_AGE_NS_MAX = 60 * NS_PER_S  # after a longer interruption its levels are those of another market
SAVED_MOVES_MAX = 100_000  # of all windows together, 800 kB: a state may have 1 MiB


class SupportResistance(Strategy):
    """Bounces and breakouts, each instrument on its own."""

    class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """What counts as a level, how its test ends, and what is staked on that; amounts in quote units.

        A move is a mid that differs from the one before: 91 % of the book updates in a Binance capture are none, they
        change a size only. Distances are shares of the range of the window, so that they fit calm and wild markets.
        """

        window_moves: Annotated[int, msgspec.Meta(ge=20, le=100_000)] = 1_000  # about a minute of BTC/USDT
        # Finding levels takes 80 to 130 µs, any other move 0.5 µs; a tenth of the window changes them little.
        relevel_moves: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 100
        pivot_half_window_moves: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 2  # the fractal of five bars
        touches_min: Annotated[int, msgspec.Meta(ge=2, le=1_000)] = 3  # two turns at one price are still chance
        tolerance_range_percent: Percent = 3.0  # 10 levels in a capture's window; half or twice it: 10, 8
        threshold_range_percent: Percent = 6.0  # twice the tolerance, so that a turn is at least one
        range_bps_min: Annotated[float, msgspec.Meta(ge=0, le=10_000)] = 2.0  # a smaller one is the noise of the spread
        notional: Notional = 500.0  # small beside the best size of a large pair, so that it fills at one price
        position_notional_max: Notional = 2_000.0  # four signals in a row the same way
        cooldown_ms: Annotated[int, msgspec.Meta(ge=0, le=86_400_000)] = 500  # two signals a second at most

        def __post_init__(self) -> None:
            if self.window_moves <= 2 * self.pivot_half_window_moves:
                raise ValueError(
                    f"window_moves: expected more than twice pivot_half_window_moves "
                    f"({self.pivot_half_window_moves}), was {self.window_moves}"
                )
            if self.threshold_range_percent <= self.tolerance_range_percent:
                raise ValueError(
                    f"threshold_range_percent: expected more than tolerance_range_percent "
                    f"({self.tolerance_range_percent}), was {self.threshold_range_percent}"
                )
            if self.position_notional_max < self.notional:
                raise ValueError(
                    f"position_notional_max: expected notional ({self.notional}) or more, "
                    f"was {self.position_notional_max}"
                )

    parameters: Parameters

    def __init__(self, host: Host, parameters: Parameters) -> None:
        super().__init__(host, parameters)
        self._charts: dict[tuple[str, str], Chart] = {}

    def save_state(self) -> dict[str, Any]:
        """Each instrument's window, levels, test under way and pause."""
        moves_max = SAVED_MOVES_MAX // max(1, len(self._charts))
        charts = [[*key, chart.save(moves_max)] for key, chart in sorted(self._charts.items())]
        return {"saved_ns": self.now_ns, "charts": charts}

    def load_state(self, state: dict[str, Any]) -> None:
        """Pauses count on; a chart only where hardly a tick is missing."""
        saved = msgspec.convert(state, _Saved)
        is_fresh = self.now_ns - saved.saved_ns <= CHART_AGE_NS_MAX
        for exchange, symbol, saved_chart in saved.charts:
            chart = self._charts[exchange, symbol] = Chart(self.parameters)
            chart.quiet_until_ns = saved_chart.quiet_until_ns
            if is_fresh:
                chart.load(saved_chart)

    def on_tick(self, tick: Tick) -> None:
        """Follow the mid, and trade when a test of a level ends."""
        mid = mid_price(tick)
        if mid is None:
            return
        chart = self._charts.get((tick.exchange, tick.symbol))
        if chart is None:
            chart = self._charts[tick.exchange, tick.symbol] = Chart(self.parameters)
        outcome = chart.take(mid)
        if outcome is not None and self.now_ns >= chart.quiet_until_ns:
            self._trade(chart, outcome, tick, mid)

    def _trade(self, chart: "Chart", outcome: "Outcome", tick: Tick, mid: float) -> None:
        if not self._has_room(tick, outcome.direction, mid):
            return
        act, touch = (self.buy, tick.ask) if outcome.direction > 0 else (self.sell, tick.bid)
        # Neither order may rest. A breakout runs away, so it takes what it gets; a bounce is only worth the price seen.
        limit_price = None if outcome.kind == "breakout" else touch or mid
        confidence = self._confidence(outcome.level)
        act(tick, self.parameters.notional / mid, limit_price=limit_price, time_in_force="ioc", confidence=confidence)
        chart.quiet_until_ns = self.now_ns + self.parameters.cooldown_ms * NS_PER_MS

    def _has_room(self, listed: Listed, direction: int, mid: float) -> bool:
        """Tell whether the position stays within its limit, even when all that is under way fills in this direction."""
        held = direction * float(self.position(listed).quantity) * mid
        # A signal under way counts with the notional it was sized for; an order that is working and not yet
        # acknowledged counts twice, which errs on the side of less.
        underway = self.pending_signals(listed) + len(self.open_orders(listed))
        return held + (underway + 1) * self.parameters.notional <= self.parameters.position_notional_max

    def _confidence(self, level: Level) -> float:
        """One half at the fewest touches that make a level, towards 1 with each more."""
        return level.touches / (level.touches + self.parameters.touches_min)


class Outcome(NamedTuple):
    """How the test of a level ended; direction is +1 for up and -1 for down."""

    kind: Literal["bounce", "breakout"]
    direction: int
    level: Level


class Chart:
    """One instrument: its window of moves, its levels, and the test under way."""

    def __init__(self, parameters: SupportResistance.Parameters) -> None:
        self.quiet_until_ns = 0
        self._parameters = parameters
        self._window = Ring(parameters.window_moves)
        self._moves_left = parameters.relevel_moves
        self._mid = 0.0
        self._test = LevelTest()

    def take(self, mid: float) -> Outcome | None:
        """Add a mid, and tell when it ends the test of a level."""
        if mid == self._mid:
            return None
        self._mid = mid
        self._window.push(mid)
        self._moves_left -= 1
        if self._moves_left == 0:
            self._relevel(mid)
        test = self._test
        return None if test.low < mid < test.high else test.step(mid)

    def save(self, moves_max: int) -> dict[str, Any]:
        """What `load` takes, with at most so many moves of the window, the newest."""
        prices = self._window.window()[-moves_max:]
        return {
            "quiet_until_ns": self.quiet_until_ns,
            "window": prices.astype("<f8").tobytes(),
            "moves_left": self._moves_left,
            "mid": self._mid,
            "test": self._test.save(),
        }

    def load(self, saved: "_SavedChart") -> None:
        """Go on from an earlier life's chart; its window may have had another size."""
        for price in np.frombuffer(saved.window, dtype="<f8").tolist():
            self._window.push(price)
        self._moves_left = min(saved.moves_left, self._parameters.relevel_moves)
        self._mid = saved.mid
        self._test.load(saved.test, saved.mid)

    def _relevel(self, mid: float) -> None:
        given, prices = self._parameters, self._window.window()
        self._moves_left = given.relevel_moves
        price_range = float(prices.max() - prices.min())
        tolerance = price_range * given.tolerance_range_percent / 100
        levels: tuple[Level, ...] = ()
        if price_range >= mid * given.range_bps_min / 10_000:
            levels = find_levels(
                prices,
                half_window=given.pivot_half_window_moves,
                tolerance=tolerance,
                touches_min=given.touches_min,
            )
        self._test.place(levels, tolerance, price_range * given.threshold_range_percent / 100, mid)


class LevelTest:
    """Follows a price through tests of levels, one at a time. Nothing happens while `low < price < high`."""

    def __init__(self) -> None:
        self.low, self.high = -inf, inf
        self._levels: tuple[Level, ...] = ()
        self._tolerance = self._threshold = 0.0
        self._around: list[tuple[Level, int]] = []  # nearest levels, with the side of each that the price is on
        self._tested: tuple[Level, int] | None = None

    def place(self, levels: tuple[Level, ...], tolerance: float, threshold: float, price: float) -> None:
        """Take new levels, by rising price, and distances in quote units. A test under way ends as it began."""
        self._levels, self._tolerance, self._threshold = levels, tolerance, threshold
        if self._tested is None:
            self._rest(price)

    def save(self) -> dict[str, Any]:
        """What `load` takes."""
        tested = None if self._tested is None else [*msgspec.structs.astuple(self._tested[0]), self._tested[1]]
        return {
            "levels": [msgspec.structs.astuple(level) for level in self._levels],
            "tolerance": self._tolerance,
            "threshold": self._threshold,
            "tested": tested,
            "span": [self.low, self.high],
        }

    def load(self, saved: "_SavedTest", price: float) -> None:
        """Go on from an earlier life's tests; a test under way ends at the distances at which it began."""
        levels = tuple(Level(level_price, touches) for level_price, touches in saved.levels)
        self.place(levels, saved.tolerance, saved.threshold, price)
        if saved.tested is not None:
            level_price, touches, side = saved.tested
            self._tested = (Level(level_price, touches), side)
            self.low, self.high = saved.span

    def step(self, price: float) -> Outcome | None:
        """Take a price that is not between `low` and `high`: it begins a test or ends one, or leaps through both."""
        tested, side = self._tested or self._begin(price)
        if self.low < price < self.high:
            return None
        direction = 1 if price >= self.high else -1
        self._tested = None
        self._rest(price)
        return Outcome("bounce" if direction == side else "breakout", direction, tested)

    def _begin(self, price: float) -> tuple[Level, int]:
        tested = self._tested = min(self._around, key=lambda near: abs(near[0].price - price))
        self.low, self.high = tested[0].price - self._threshold, tested[0].price + self._threshold
        return tested

    def _rest(self, price: float) -> None:
        index = bisect_right(self._levels, price, key=lambda level: level.price)
        below, above = self._levels[max(0, index - 1) : index], self._levels[index : index + 1]
        self._around = [(level, 1) for level in below] + [(level, -1) for level in above]
        self.low = below[0].price + self._tolerance if below else -inf
        self.high = above[0].price - self._tolerance if above else inf


class _SavedTest(msgspec.Struct):
    levels: list[tuple[float, int]]
    tolerance: float
    threshold: float
    tested: tuple[float, int, int] | None
    span: tuple[float, float]


class _SavedChart(msgspec.Struct):
    quiet_until_ns: int
    window: bytes
    moves_left: Annotated[int, msgspec.Meta(ge=1)]
    mid: float
    test: _SavedTest


class _Saved(msgspec.Struct):
    saved_ns: int
    charts: list[tuple[str, str, _SavedChart]]
