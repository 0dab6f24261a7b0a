"""A seeded market: blocks of quotes and trades of several instruments, made with numpy.

An instrument lives in phases. In a range its price bounces between two levels; in a trend the two levels move, so the
price breaks out of the old ones. Both are random walks folded back into a band: a walk of any length stays inside,
and a whole block of it is one cumulative sum instead of one Python step per update.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from common.errors import ConfigError
from common.instruments import Instrument

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# Making a block takes 0.2 ms, so a loop of 50 k updates/s is never held up for long; a small one costs more per update.
BLOCK_UPDATES = 2048

# All in units of one step, the standard deviation of a quote's move: the strategies look at shapes, not at amounts.
STEP_OF_PRICE = 1e-4
STEP_TICKS_MIN = 0.5
RANGE_STEPS = 20.0  # distance of the two levels; crossed in about 400 quotes
PHASE_CHANCE = 1 / 800  # per quote, so a trend carries 800 x 0.3 steps on average: twelve times the range
PHASE_DRIFTS = np.array([0.0, 0.0, 0.0, 0.3, -0.3])
PHASE_SPREADS = np.array([1.0, 1.0, 2.0, 2.0, 2.0])  # ticks

BASE_PRICES = {"BTC": 60_000.0, "ETH": 3_000.0}
BASE_PRICE = 100.0
BASE_TICKS_MIN = 1_000
BASE_TICKS_MAX = 1_000_000_000
NOTIONAL_MEAN = 10_000.0  # of the size at one side of a quote, and of a trade
LOTS_MEAN_MIN = 10
LOTS_MEAN_MAX = 100_000_000
# Ticks times numerator must stay an exact float64: 1.5e9 x 1e6 is below 2**53.
GRID_NUMERATOR_MAX = 1_000_000

SIDES = np.array([None, "buy", "sell"], dtype=object)


class MarketBlock(NamedTuple):
    """Updates as columns of shape (steps, instruments): read row by row, they are oldest first.

    One with a side is a trade at the bid or the ask of its place, its quantity in `bid_sizes`; any other is a quote.
    """

    bids: FloatArray
    asks: FloatArray
    bid_sizes: FloatArray
    ask_sizes: FloatArray
    sides: npt.NDArray[np.int8]  # index into SIDES


class Grid(NamedTuple):
    """A price or size step per instrument, as a fraction; each array is one row per block step, float64.

    One division of exact numbers gives the float nearest to the decimal, so 61685.99 is written 61685.99. A product
    with 0.01 would be 61685.990000000005, off the tick grid.
    """

    numerators: FloatArray
    denominators: FloatArray

    def amounts(self, multiples: FloatArray) -> FloatArray:
        """Turn (steps, instruments) whole numbers into amounts."""
        return multiples * self.numerators / self.denominators


class SyntheticMarket:
    """The state of every instrument between two blocks. Updates go round the instruments in the order of the table."""

    def __init__(self, instruments: Sequence[Instrument], seed: int, trade_share: float) -> None:
        steps = max(1, BLOCK_UPDATES // len(instruments))
        self._shape = (steps, len(instruments))
        self._trade_share = trade_share
        self._rng = np.random.default_rng(seed)
        self._prices = _make_grid([_split_step(instrument, "tick_size") for instrument in instruments], steps)
        self._sizes = _make_grid([_split_step(instrument, "lot_size") for instrument in instruments], steps)
        self._lots_mean = _repeat([_lots_mean(instrument) for instrument in instruments], steps)
        base_ticks = _repeat([_base_ticks(instrument) for instrument in instruments], steps)
        self._step_ticks = np.maximum(base_ticks * STEP_OF_PRICE, STEP_TICKS_MIN)
        # The lower level wanders over one base price, from half of it to one and a half.
        self._low_ticks = np.floor(base_ticks / 2)
        self._band_steps = base_ticks / self._step_ticks
        self._level = self._band_steps[-1] / 2 - RANGE_STEPS / 2
        self._swing = np.full(len(instruments), RANGE_STEPS / 2)
        self._phase = np.zeros(len(instruments), dtype=np.intp)
        self._has_quotes = False

    @property
    def block_count(self) -> int:
        """How many updates every block has: whole rounds over all instruments."""
        return self._shape[0] * self._shape[1]

    def next_block(self) -> MarketBlock:
        """Let the market live on for a block."""
        is_trade = self._draw_trades()
        bid_ticks, ask_ticks = self._move(~is_trade)
        return MarketBlock(
            bids=self._prices.amounts(bid_ticks),
            asks=self._prices.amounts(ask_ticks),
            bid_sizes=self._draw_sizes(),
            ask_sizes=self._draw_sizes(),
            sides=self._rng.integers(1, 3, self._shape, dtype=np.int8) * is_trade,
        )

    def _draw_trades(self) -> BoolArray:
        is_trade = self._rng.random(self._shape, dtype=np.float32) < self._trade_share
        if not self._has_quotes:
            # A trade happens at the last quote of its instrument, so the first round has none.
            is_trade[0] = False
            self._has_quotes = True
        return is_trade

    def _draw_sizes(self) -> FloatArray:
        lots = self._rng.standard_exponential(self._shape, dtype=np.float32) * self._lots_mean
        return self._sizes.amounts(np.floor(lots) + 1)

    def _move(self, is_quote: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Bid and ask in ticks after every update, each (steps, instruments); trades leave them where they are."""
        phase = self._draw_phases(is_quote)
        level = self._level + np.cumsum(PHASE_DRIFTS[phase] * is_quote, axis=0)
        swing = self._swing + np.cumsum(self._rng.standard_normal(self._shape) * is_quote, axis=0)
        # Folding is periodic: keeping the remainder keeps the digits, however long the market lives.
        self._level = level[-1] % (2 * self._band_steps[-1])
        self._swing = swing[-1] % (2 * RANGE_STEPS)
        steps = _fold(level, self._band_steps) + _fold(swing, RANGE_STEPS)
        bid_ticks: FloatArray = self._low_ticks + np.floor(steps * self._step_ticks)
        return bid_ticks, bid_ticks + PHASE_SPREADS[phase]

    def _draw_phases(self, is_quote: BoolArray) -> npt.NDArray[np.intp]:
        """Phase of every update, (steps, instruments): the newest that began; row 0 stands for the last block's."""
        drawn = np.vstack([self._phase, self._rng.integers(0, len(PHASE_DRIFTS), self._shape)])
        begins = (self._rng.random(self._shape, dtype=np.float32) < PHASE_CHANCE) & is_quote
        row_numbers = np.arange(1, self._shape[0] + 1)[:, np.newaxis]
        newest_row = np.maximum.accumulate(np.where(begins, row_numbers, 0), axis=0)
        phase: npt.NDArray[np.intp] = np.take_along_axis(drawn, newest_row, axis=0)
        self._phase = phase[-1]
        return phase


def _fold(walk: FloatArray, height: float | FloatArray) -> FloatArray:
    """Reflect a free walk at 0 and at `height`: up and down the band with a period of twice its height."""
    period = 2 * height
    # Half the time of the % operator, which took 7 ns per element.
    lap = walk - period * np.floor(walk / period)
    folded: FloatArray = height - np.abs(lap - height)
    return folded


def _repeat(values: Sequence[float], steps: int) -> FloatArray:
    """One row per step. Broadcasting a row of two or three instruments took three times as long per element."""
    return np.tile(np.array(values, dtype=np.float64), (steps, 1))


def _make_grid(fractions: Sequence[tuple[int, int]], steps: int) -> Grid:
    numerators, denominators = zip(*fractions, strict=True)
    return Grid(_repeat(numerators, steps), _repeat(denominators, steps))


def _split_step(instrument: Instrument, field: Literal["tick_size", "lot_size"]) -> tuple[int, int]:
    step = getattr(instrument, field)
    numerator, denominator = step.as_integer_ratio()
    if numerator > GRID_NUMERATOR_MAX:
        raise ConfigError(
            f"synthetic feed: {instrument.name}: expected a {field} of at most six digits and at most "
            f"{GRID_NUMERATOR_MAX}, was {step}; change it in the instrument table or leave the instrument out"
        )
    return numerator, denominator


def _base_ticks(instrument: Instrument) -> int:
    base_currency = instrument.symbol.partition("/")[0]
    ticks = BASE_PRICES.get(base_currency, BASE_PRICE) / float(instrument.tick_size)
    return round(min(max(ticks, BASE_TICKS_MIN), BASE_TICKS_MAX))


def _lots_mean(instrument: Instrument) -> float:
    price = _base_ticks(instrument) * float(instrument.tick_size)
    lots = NOTIONAL_MEAN / price / float(instrument.lot_size)
    return min(max(lots, LOTS_MEAN_MIN), LOTS_MEAN_MAX)
