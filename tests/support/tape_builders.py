"""A strategy on stage whose engine is taped, with an event log of its market beside it."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from support.engine_builders import NAME, Stage
from support.message_builders import NOW_NS, make_tick

from common.events.base import Message
from common.events.market import Tick, Trade
from common.events.trading import OrderEvent, OrderStatus, PositionEvent
from common.instruments import Instrument
from common.log import get_log
from common.rules.measures import mid_price
from common.store.memory import MemoryStore
from strategy.base import Strategy
from strategy.config import StrategyConfig
from strategy.tape.diff import Diff, compare_tape
from strategy.tape.file import Tape, TapeFile, make_head, tape_path
from strategy.tape.notes import Head
from strategy.tape.taped_engine import TapedEngine

BYTES_MAX = StrategyConfig().tape_bytes_max


class Busy(Strategy):
    """Acts in every callback, on what it is given and on the time; remembers how often, over its lives."""

    class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How it differs."""

        ticks: Annotated[int, msgspec.Meta(ge=1)] = 3  # between two acts
        quantity: float = 1.0
        raises_at: int | None = None  # number of the tick in whose callback it raises

    parameters: Parameters

    def __init__(self, host: Any, parameters: Any) -> None:
        super().__init__(host, parameters)
        self.count = 0

    def save_state(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state(self, state: dict[str, Any]) -> None:
        self.count = state["count"]

    def on_tick(self, tick: Tick) -> None:
        self.see(tick, mid_price(tick) or 100.0)

    def see(self, tick: Any, price: float) -> None:
        """Buy, sell, amend or cancel by turns."""
        self.count += 1
        if self.count == self.parameters.raises_at:
            raise ZeroDivisionError(f"tick {self.count}")
        if self.count % self.parameters.ticks:
            return
        orders = self.open_orders(tick)
        match (self.count // self.parameters.ticks + self.now_ns // 1_000_000) % 5:
            case 0:
                self.buy(tick, self.parameters.quantity, limit_price=price, lifetime_ms=250)
            case 1:
                self.sell(tick, self.parameters.quantity + float(abs(self.position(tick).quantity)))
            case 2 if orders:
                self.cancel(orders[0].signal_id)
            case 3 if orders:
                self.amend(orders[-1].signal_id, limit_price=price + 1)
            case 4:
                signal_id = self.buy(tick, self.parameters.quantity, limit_price=price, confidence=0.5)
                self.cancel(signal_id)

    def on_trade(self, trade: Trade) -> None:
        if not self.pending_signals(trade):
            self.buy(trade, self.parameters.quantity)

    def on_order(self, event: OrderEvent) -> None:
        if event.status is OrderStatus.PARTIALLY_FILLED:
            self.cancel(event.signal_id)

    def on_position(self, event: PositionEvent) -> None:
        if event.quantity > 2:
            self.sell(event, event.quantity, reduce_only=True)

    def on_timer(self, now_ns: int) -> None:
        instrument = next(iter(self.instruments))
        if now_ns // 1_000_000_000 % 2:
            self.buy(instrument, 1)

    def on_stop(self) -> None:
        for order in self.open_orders():
            self.cancel(order.signal_id)


class BusyInBatches(Busy):
    """The same, with groups of ticks as arrays."""

    def on_ticks(self, instrument: Instrument, records: npt.NDArray[np.void]) -> None:
        for record in records:
            self.see(instrument, float(np.nan_to_num(record["bid"], nan=100.0)))


class TapedStage(Stage):
    """A stage whose market is recorded, and whose tape is written to a folder."""

    def __init__(
        self,
        folder: Path,
        strategy_type: type[Strategy] = Busy,
        *,
        log: MemoryStore | None = None,
        bytes_max: int = BYTES_MAX,
        change_head: Callable[[Head], Head] = lambda head: head,
        **options: Any,
    ) -> None:
        """Take the options of `Stage`; `log` is that of an earlier life."""
        self.log = MemoryStore() if log is None else log
        is_started = options.pop("is_started", True)
        super().__init__(strategy_type, engine_type=TapedEngine, is_started=False, **options)
        assert isinstance(self.engine, TapedEngine)
        self.path = tape_path(folder, NAME, self.engine.epoch)
        head = change_head(make_head(self.engine, self.config, self.strategy.parameters, NOW_NS))
        self.file = TapeFile(self.path, self.engine, head, bytes_max, get_log())
        if is_started:
            self.start()

    def market(self, *messages: Message) -> None:
        """As by `Stage`; they are in the log too."""
        self.log.append_batch(messages, self.now_ns)
        super().market(*messages)

    def tape(self, *, is_closed: bool = True) -> Tape:
        """What was noted, as whoever reads it later finds it."""
        if is_closed:
            self.file.close()
        else:
            self.file.write()
        return Tape(self.path)

    def diff(self, strategy_type: type[Strategy] | None = None, **given: object) -> Diff:
        """The session so far through the strategy's own code, or another, with these parameters changed."""
        return compare_tape(self.tape(), self.log, strategy_type or type(self.strategy), given)


def trade_a_while(stage: TapedStage, count: int = 30, first_seq: int = 1) -> None:
    """Ticks one by one, each with its decisions taken; some time passes with each."""
    for seq in range(first_seq, first_seq + count):
        stage.advance(ms=7)
        stage.market(make_tick(seq, timestamp_ns=stage.now_ns, bid=99.5 + seq % 7, ask=100.5 + seq % 7))
        stage.take()
