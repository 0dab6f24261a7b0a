"""Follows a run: buys after so many rising ticks in a row, and leaves when as many fall, on time, or with its gain."""

from typing import Annotated, Any

import msgspec

from common.clock import NS_PER_MS, NS_PER_S
from common.events.market import Tick
from common.rules.measures import mid_price
from strategy.base import Host, Strategy
from strategy.portfolio import PositionView

Notional = Annotated[float, msgspec.Meta(gt=0, le=1e12)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=86_400_000)]
RUN_AGE_NS_MAX = 10 * NS_PER_S  # a run that was interrupted for longer is none


class Momentum(Strategy):
    """Long after a rising run, and short after a falling one where that is allowed; each instrument on its own."""

    class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """When to enter and when to leave; amounts in quote units."""

        rising_ticks: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 5  # a coin does it once in 32 tries
        profit_target_bps: Annotated[float, msgspec.Meta(gt=0, le=10_000)] = 5.0  # half a minute's range of BTC/USDT
        holding_ms_max: Milliseconds = 5_000  # a run that has not paid by then was noise
        notional: Notional = 500.0  # small beside the best size of a large pair, so that it fills at one price
        position_notional_max: Notional = 2_000.0  # four entries in a row
        cooldown_ms: Milliseconds = 500  # two signals a second at most, and time for a fill to be known
        allow_short: bool = False  # a spot account cannot sell what it has not

        def __post_init__(self) -> None:
            if self.position_notional_max < self.notional:
                raise ValueError(
                    f"position_notional_max: expected notional ({self.notional}) or more, "
                    f"was {self.position_notional_max}"
                )

    parameters: Parameters

    def __init__(self, host: Host, parameters: Parameters) -> None:
        super().__init__(host, parameters)
        self._runs: dict[tuple[str, str], Run] = {}

    def save_state(self) -> dict[str, Any]:
        """Each instrument's run, its pause and when to leave."""
        runs = [[*key, run.mid, run.length, run.quiet_until_ns, run.exit_ns] for key, run in sorted(self._runs.items())]
        return {"saved_ns": self.now_ns, "runs": runs}

    def load_state(self, state: dict[str, Any]) -> None:
        """Pauses and times to leave count on; a run only where hardly a tick is missing."""
        saved = msgspec.convert(state, _Saved)
        is_fresh = self.now_ns - saved.saved_ns <= RUN_AGE_NS_MAX
        for exchange, symbol, mid, length, quiet_until_ns, exit_ns in saved.runs:
            run = self._runs[exchange, symbol] = Run(mid)
            run.length = length if is_fresh else 0
            run.quiet_until_ns, run.exit_ns = quiet_until_ns, exit_ns

    def on_tick(self, tick: Tick) -> None:
        """Count the run, then leave or enter."""
        mid = mid_price(tick)
        if mid is None:
            return
        run = self._runs.get((tick.exchange, tick.symbol))
        if run is None:
            run = self._runs[tick.exchange, tick.symbol] = Run(mid)
        run.take(mid)
        if self.now_ns < run.quiet_until_ns:
            return
        held = self.position(tick)
        if held.quantity and self._is_over(run, held, mid):
            self._leave(run, tick, held)
        elif abs(run.length) >= self.parameters.rising_ticks:
            self._enter(run, tick, held, mid)

    def _is_over(self, run: "Run", held: PositionView, mid: float) -> bool:
        direction = 1 if held.quantity > 0 else -1
        if direction * run.length <= -self.parameters.rising_ticks:
            return True
        if run.exit_ns is None:  # held since before our start: its time counts from now
            run.exit_ns = self.now_ns + self.parameters.holding_ms_max * NS_PER_MS
        entry_price = float(held.entry_price or mid)
        target = entry_price * self.parameters.profit_target_bps / 10_000
        return self.now_ns >= run.exit_ns or direction * (mid - entry_price) >= target

    def _enter(self, run: "Run", tick: Tick, held: PositionView, mid: float) -> None:
        given, direction = self.parameters, 1 if run.length > 0 else -1
        exposure = direction * float(held.quantity) * mid + given.notional
        is_forbidden = direction < 0 and not given.allow_short
        if is_forbidden or exposure > given.position_notional_max or self._is_underway(tick):
            return
        act = self.buy if direction > 0 else self.sell
        act(tick, given.notional / mid)
        run.exit_ns = self.now_ns + given.holding_ms_max * NS_PER_MS
        self._rest(run)

    def _leave(self, run: "Run", tick: Tick, held: PositionView) -> None:
        if self._is_underway(tick):
            return
        act = self.sell if held.quantity > 0 else self.buy
        act(tick, abs(held.quantity), reduce_only=True)
        self._rest(run)

    def _is_underway(self, tick: Tick) -> bool:
        # Until the last order has ended the position is not known, and a second one could leave twice.
        return self.pending_signals(tick) > 0 or bool(self.open_orders(tick))

    def _rest(self, run: "Run") -> None:
        run.length = 0  # each signal needs a run of its own
        run.quiet_until_ns = self.now_ns + self.parameters.cooldown_ms * NS_PER_MS


class Run:
    """How many mids in a row moved the same way: above 0 up, below 0 down.

    An equal mid neither counts nor ends a run: 91 % of the book updates in a Binance capture change a size only.
    """

    __slots__ = ("exit_ns", "length", "mid", "quiet_until_ns")

    def __init__(self, mid: float) -> None:
        self.length = 0
        self.mid = mid
        self.quiet_until_ns = 0
        self.exit_ns: int | None = None

    def take(self, mid: float) -> None:
        """Add a mid."""
        if mid > self.mid:
            self.length = max(self.length, 0) + 1
        elif mid < self.mid:
            self.length = min(self.length, 0) - 1
        self.mid = mid


class _Saved(msgspec.Struct):
    saved_ns: int
    # Exchange, symbol, mid, length, quiet_until_ns and exit_ns of each.
    runs: list[tuple[str, str, float, int, int, int | None]]
