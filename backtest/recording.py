"""What is kept of a run while it goes on: fills and round trips as compact rows, sampled prices, exact positions.

A fill takes 66 bytes, so a million of them take 66 MB; whatever else is kept does not grow with the range.
"""

import math
import struct
from array import array
from bisect import bisect_right
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from backtest.plan import Plan
from backtest.tape import Tape
from common.events.trading import Signal
from common.events.venue import ExecutionReported, ExecutionType, SubmitOrder
from common.ids import make_client_order_id
from common.instruments import Instrument
from common.money import EXACT, ZERO
from executor.positions import Position

# Quantities in lots and prices in ticks are exact; fees and mids are for display. `side` is 1 for buy, -1 for sell.
FILL_DTYPE = np.dtype(
    [
        ("time_ns", "<i8"),
        ("strategy", "<i2"),
        ("instrument", "<i2"),
        ("side", "<i2"),
        ("is_maker", "<i2"),
        ("lots", "<i8"),
        ("price_ticks", "<i8"),
        ("fee", "<f8"),
        ("decision_mid", "<f8"),
        ("arrival_mid", "<f8"),
        ("decision_ns", "<i8"),
        ("position_lots", "<i8"),
    ]
)
_FILL = struct.Struct("<q4h2q3d2q")
# From flat to flat, or to the other side. `profit` is after fees, quote units.
ROUND_TRIP_DTYPE = np.dtype(
    [
        ("opened_ns", "<i8"),
        ("closed_ns", "<i8"),
        ("strategy", "<i2"),
        ("instrument", "<i2"),
        ("side", "<i2"),
        ("profit", "<f8"),
    ]
)
_ROUND_TRIP = struct.Struct("<2q3hd")
Key = tuple[str, str]


class _Underway(NamedTuple):
    """An order that may still fill: who wanted it, when, and what the market was like."""

    strategy: str
    decision_ns: int
    decision_mid: float
    arrival_mid: float


class Recording:
    """Hears of every signal, arrival and execution."""

    def __init__(self, plan: Plan) -> None:
        self.instruments: list[Instrument] = list(plan.instruments)
        self.strategies = list(plan.strategies)
        self.is_begun = False
        self.positions: dict[tuple[str, Key], Position] = {}
        self.turnover = ZERO
        self.orders = 0
        self.sample_times = array("q")
        self._sample_ns = plan.sample_ns
        self._next_sample_ns = 0
        self._mids = {entry.name: array("d") for entry in self.instruments}
        self._fills = bytearray()
        self._round_trips = bytearray()
        self._number = {(entry.exchange, entry.symbol): number for number, entry in enumerate(self.instruments)}
        self._underway: dict[str, _Underway] = {}
        self._opened: dict[tuple[str, Key], tuple[int, Decimal]] = {}

    # While it runs

    def begin(self, first_ns: int) -> None:
        """Take samples from here on."""
        self.is_begun = True
        self._next_sample_ns = first_ns // self._sample_ns * self._sample_ns + self._sample_ns
        self._add_sample(first_ns, None)

    def sample(self, tape: Tape) -> None:
        """Take the samples that lie in what is loaded."""
        if not len(tape.times):
            return
        until_ns = min(tape.horizon_ns, int(tape.times[-1]) + 1)
        while self._next_sample_ns < until_ns:
            self._add_sample(self._next_sample_ns, tape)
            # Where nothing happens for long, nothing is sampled.
            following = bisect_right(tape.times, self._next_sample_ns)
            next_ns = int(tape.times[following]) if following < len(tape.times) else self._next_sample_ns
            steps = max(1, -(-(next_ns - self._next_sample_ns) // self._sample_ns))
            self._next_sample_ns += steps * self._sample_ns

    def end(self, tape: Tape) -> None:
        """Take the last sample: what everything held is worth at the end."""
        if len(tape.times):
            self._add_sample(max(int(tape.times[-1]), self.sample_times[-1] if self.sample_times else 0), tape)

    def on_signal(self, signal: Signal, mid: float | None) -> None:
        """A strategy has decided, with this mid price before its eyes."""
        decided = _Underway(signal.strategy, signal.timestamp_ns, math.nan if mid is None else mid, math.nan)
        self._underway[make_client_order_id(signal.signal_id)] = decided

    def on_arrival(self, request: SubmitOrder, mid: float | None) -> None:
        """An order has reached the exchange."""
        self.orders += 1
        underway = self._underway.get(request.client_order_id)
        if underway is not None and mid is not None:
            self._underway[request.client_order_id] = underway._replace(arrival_mid=mid)

    def on_execution(self, report: ExecutionReported) -> None:
        """The venue has filled or ended an order."""
        underway = self._underway.get(report.client_order_id)
        if underway is not None and report.execution_type is ExecutionType.TRADE and report.price is not None:
            self._on_trade(report, report.price, report.fee or ZERO, underway)

    def on_end(self, client_order_id: str) -> None:
        """Nothing more will come of an order."""
        self._underway.pop(client_order_id, None)

    def _on_trade(self, report: ExecutionReported, price: Decimal, fee: Decimal, underway: _Underway) -> None:
        key = underway.strategy, (report.exchange, report.symbol)
        before = self.positions.get(key, Position())
        after = self.positions[key] = before.after_fill(report.side, report.quantity, price, fee)
        self.turnover = EXACT.add(self.turnover, EXACT.multiply(price, report.quantity))
        number = self._number[key[1]]
        instrument = self.instruments[number]
        self._fills += _FILL.pack(
            report.timestamp_ns,
            self.strategies.index(underway.strategy),
            number,
            1 if report.side == "buy" else -1,
            report.liquidity == "maker",
            _steps(report.quantity, instrument.lot_size),
            _steps(price, instrument.tick_size),
            float(fee),
            underway.decision_mid,
            underway.arrival_mid,
            underway.decision_ns,
            _steps(after.quantity, instrument.lot_size),
        )
        self._on_position(key, before, after, report.timestamp_ns, number)

    def _on_position(self, key: tuple[str, Key], before: Position, after: Position, now_ns: int, number: int) -> None:
        if not before.quantity:
            self._opened[key] = now_ns, EXACT.subtract(before.realised_pnl, before.fees)
        elif not after.quantity or (before.quantity > 0) != (after.quantity > 0):
            opened_ns, result_then = self._opened[key]
            result = EXACT.subtract(after.realised_pnl, after.fees)
            profit = EXACT.subtract(result, result_then)
            side = 1 if before.quantity > 0 else -1
            strategy = self.strategies.index(key[0])
            self._round_trips += _ROUND_TRIP.pack(opened_ns, now_ns, strategy, number, side, float(profit))
            self._opened[key] = now_ns, result

    def _add_sample(self, time_ns: int, tape: Tape | None) -> None:
        self.sample_times.append(time_ns)
        for key, number in self._number.items():
            tick = None if tape is None else tape.newest(key, time_ns)
            if tick is None:
                mid = None
            else:
                mid = tick.last if tick.bid is None or tick.ask is None else (tick.bid + tick.ask) / 2
            self._mids[self.instruments[number].name].append(math.nan if mid is None else mid)

    # What was recorded

    def fills(self) -> npt.NDArray[np.void]:
        """Every fill, in the order of the venue's numbers: shape (count,), dtype `FILL_DTYPE`."""
        return np.frombuffer(bytes(self._fills), dtype=FILL_DTYPE)

    def round_trips(self) -> npt.NDArray[np.void]:
        """Every round trip, by its end: shape (count,), dtype `ROUND_TRIP_DTYPE`."""
        return np.frombuffer(bytes(self._round_trips), dtype=ROUND_TRIP_DTYPE)

    def mids(self, name: str) -> npt.NDArray[np.float64]:
        """Sampled mid prices of an instrument, NaN before its first: shape (samples,)."""
        return np.array(self._mids[name], dtype=np.float64)

    def has_market(self, name: str) -> bool:
        """Tell whether an instrument had a price."""
        return any(not math.isnan(mid) for mid in self._mids[name])

    def last_mid(self, key: Key) -> float | None:
        """The newest sampled mid price."""
        mids: Any = self._mids[self.instruments[self._number[key]].name]
        return mids[-1] if len(mids) and not math.isnan(mids[-1]) else None


def _steps(amount: Decimal, step: Decimal) -> int:
    return int(EXACT.divide(amount, step))
