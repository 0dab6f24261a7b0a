"""An engine on a stage: its time, its market and the executor's answers are what a test says."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from support.message_builders import NOW_NS, make_tick
from support.strategy_builders import BTC, ETH

from chaos.memory_outbox_store import MemoryOutboxStore
from common.clock import NS_PER_MS
from common.events.base import Message
from common.events.market import Tick, Ticks, Trade
from common.events.packing import pack_tick
from common.events.trading import (
    Acknowledgement,
    HeldPosition,
    OpenOrder,
    OrderAccepted,
    OrderEvent,
    OrderStatus,
    PositionEvent,
    PositionOpened,
    Signal,
    SignalAcknowledged,
    StateReported,
)
from common.instruments import Instrument, InstrumentTable
from strategy.base import Strategy
from strategy.checkpoint import Mark
from strategy.config import StrategyConfig
from strategy.engine import Engine
from strategy.outbox import OutboxStore

NAME = "mine"
EPOCH = 7
_LISTED = {"exchange": "simulated", "symbol": "BTC/USDT"}
_AMOUNTS = ("quantity", "limit_price", "filled_quantity", "entry_price", "realised_pnl", "unrealised_pnl", "fees")


class Diary(Strategy):
    """Notes each callback, then does in it what a test has told it to do."""

    def __init__(self, host: Any, parameters: Any) -> None:
        super().__init__(host, parameters)
        self.notes: list[tuple[Any, ...]] = []
        self.acts: dict[str, Callable[..., object]] = {}

    def names(self) -> list[str]:
        """The callbacks so far."""
        return [name for name, *_ in self.notes]

    def arguments(self, name: str) -> list[Any]:
        """What a callback was called with: an argument for each call, or a tuple where it takes several."""
        return [rest[0] if len(rest) == 1 else tuple(rest) for noted, *rest in self.notes if noted == name]

    def note(self, name: str, *arguments: Any) -> None:
        """Write it down, then act."""
        self.notes.append((name, *arguments))
        if name in self.acts:
            self.acts[name](*arguments)

    def on_start(self) -> None:
        self.note("on_start")

    def on_tick(self, tick: Tick) -> None:
        self.note("on_tick", tick)

    def on_trade(self, trade: Trade) -> None:
        self.note("on_trade", trade)

    def on_order(self, event: OrderEvent) -> None:
        self.note("on_order", event)

    def on_position(self, event: PositionEvent) -> None:
        self.note("on_position", event)

    def on_timer(self, now_ns: int) -> None:
        self.note("on_timer", now_ns)

    def on_stop(self) -> None:
        self.note("on_stop")


class BatchDiary(Diary):
    """Takes groups of ticks as arrays."""

    def on_ticks(self, instrument: Instrument, records: npt.NDArray[np.void]) -> None:
        self.note("on_ticks", instrument, records)


class UnpackingDiary(Diary):
    """Looks at a group as an array, then lets the base class hand over its ticks."""

    def on_ticks(self, instrument: Instrument, records: npt.NDArray[np.void]) -> None:
        self.note("on_ticks", instrument, records)
        super().on_ticks(instrument, records)


class Stage:
    """An engine with everything around it. It has started unless told otherwise, and its market is fresh."""

    def __init__(
        self,
        strategy_type: type[Strategy] = Diary,
        *,
        is_started: bool = True,
        store: OutboxStore | None = None,
        epoch: int = EPOCH,
        engine_type: type[Engine] = Engine,
        **config: Any,
    ) -> None:
        """Build the engine; `store` is what an earlier life has left, `config` are keys of its table."""
        self.now_ns = NOW_NS
        self.failures: list[tuple[str, Exception]] = []
        self.warnings: list[tuple[str, dict[str, Any]]] = []
        self.marks: dict[str, Mark] = {}
        section = self.config = msgspec.convert(config, StrategyConfig)
        self.engine = engine_type(
            name=NAME,
            epoch=epoch,
            config=section,
            instruments=InstrumentTable([BTC, ETH]),
            strategy_type=strategy_type,
            parameters=msgspec.convert(section.parameters, strategy_type.Parameters),
            store=MemoryOutboxStore() if store is None else store,
            market_position=self.marks.copy,
            on_failure=lambda name, error: self.failures.append((name, error)),
            on_warning=lambda event, **fields: self.warnings.append((event, fields)),
        )
        self.strategy: Any = self.engine.strategy
        if is_started:
            self.start()

    def start(self, **state: Any) -> None:
        """Ask for the state and be told."""
        request = self.engine.request_state(self.now_ns)
        self.event(make_state(request.request_id, **state))

    def market(self, *messages: Message) -> None:
        """Messages come from the gateway."""
        for message in messages:
            self.marks[message.topic()] = (message.source, message.epoch, message.seq)
            self.engine.on_market(message, self.now_ns)

    def snapshot(self, *ticks: Tick) -> None:
        """The gateway's last values come, as they do after a start."""
        for tick in ticks:
            self.marks[tick.topic()] = (tick.source, tick.epoch, tick.seq)
            self.engine.on_snapshot(tick, self.now_ns)

    def event(self, *messages: Message) -> None:
        """Messages come from the executor."""
        for message in messages:
            self.engine.on_event(message, self.now_ns)

    def advance(self, *, ms: int) -> None:
        """Let time pass."""
        self.now_ns += ms * NS_PER_MS
        self.engine.on_time(self.now_ns)

    def act(self, name: str, action: Callable[..., object]) -> None:
        """Say what the strategy does in a callback."""
        self.strategy.acts[name] = action

    def act_once(self, action: Callable[[], object]) -> None:
        """Have the strategy do something in a callback that a tick brings about."""
        acts = self.strategy.acts
        acts["on_tick"] = lambda _: action()
        # Of a gateway that was restarted with the strategy: never a tick that an earlier life has seen.
        self.market(make_tick(epoch=self.engine.epoch))
        del acts["on_tick"]

    def emit(self, **options: Any) -> str:
        """Have the strategy buy one BTC, and give the signal's id."""
        ids: list[str] = []
        self.act_once(lambda: ids.append(self.strategy.buy(BTC, 1, **options)))
        return ids[0]

    def take(self) -> list[Message]:
        """What the service would send now."""
        return self.engine.take_outgoing(self.now_ns)

    def take_signals(self) -> list[Signal]:
        """The signals among it."""
        return [message for message in self.take() if isinstance(message, Signal)]

    def count(self, name: str) -> int:
        """One of the engine's counters."""
        return self.engine.counters().get(name, 0)


def make_batch(*ticks: Tick, **changes: Any) -> Ticks:
    """One message with these ticks, under the number and time of the last."""
    last = ticks[-1]
    fields: dict[str, Any] = {
        "source": last.source,
        "epoch": last.epoch,
        "seq": last.seq,
        "timestamp_ns": last.timestamp_ns,
        "exchange": last.exchange,
        "symbol": last.symbol,
        "raw_symbol": last.raw_symbol,
        "count": len(ticks),
        "data": b"".join(pack_tick(tick).tobytes() for tick in ticks),
    }
    return Ticks(**{**fields, **changes})


def make_trade(price: float = 100.25, seq: int = 1, **changes: Any) -> Trade:
    """A public trade of BTC."""
    fields: dict[str, Any] = {
        **_LISTED,
        "source": "gateway",
        "epoch": EPOCH,
        "seq": seq,
        "timestamp_ns": NOW_NS,
        "raw_symbol": "BTCUSDT",
        "local_timestamp_ns": NOW_NS,
        "price": price,
        "quantity": 0.5,
    }
    return Trade(**{**fields, **changes})


def make_acknowledgement(
    signal_id: str, outcome: Acknowledgement = Acknowledgement.ACCEPTED, **changes: Any
) -> SignalAcknowledged:
    """The end of a signal of the strategy on stage."""
    fields = {**_executor_fields(), **_LISTED, "signal_id": signal_id, "strategy": NAME, "outcome": outcome}
    return SignalAcknowledged(**{**fields, **changes})


def make_order_event(
    signal_id: str = "mine-7-1", status: OrderStatus = OrderStatus.ACCEPTED, **changes: Any
) -> OrderEvent:
    """An order of the strategy on stage, in any state; amounts may be given as text."""
    fields: dict[str, Any] = {
        **_executor_fields(),
        **_LISTED,
        "client_order_id": f"order-of-{signal_id}",
        "signal_id": signal_id,
        "strategy": NAME,
        "status": status,
        "side": "buy",
        "order_type": "limit",
        "quantity": "1",
        "limit_price": "100",
        "time_in_force": "gtc",
        "filled_quantity": "0",
        **changes,
    }
    return OrderAccepted(**_with_decimals(fields))


def make_position_event(quantity: str = "1", **changes: Any) -> PositionEvent:
    """A position of the strategy on stage; amounts may be given as text."""
    fields: dict[str, Any] = {
        **_executor_fields(),
        **_LISTED,
        "strategy": NAME,
        "quantity": quantity,
        "entry_price": "100",
        "realised_pnl": "0",
        "unrealised_pnl": "0",
        "fees": "0",
        **changes,
    }
    return PositionOpened(**_with_decimals(fields))


def make_open_order(signal_id: str = "mine-7-1", **changes: Any) -> OpenOrder:
    """A working order, as the executor reports it."""
    fields: dict[str, Any] = {
        **_LISTED,
        "client_order_id": f"order-of-{signal_id}",
        "signal_id": signal_id,
        "status": OrderStatus.ACCEPTED,
        "side": "buy",
        "order_type": "limit",
        "quantity": "1",
        "filled_quantity": "0",
        **changes,
    }
    return OpenOrder(**_with_decimals(fields))


def make_held_position(quantity: str = "1", **changes: Any) -> HeldPosition:
    """A position, as the executor reports it."""
    fields: dict[str, Any] = {**_LISTED, "quantity": quantity, "realised_pnl": "0", "fees": "0", **changes}
    return HeldPosition(**_with_decimals(fields))


def make_state(request_id: str, **changes: Any) -> StateReported:
    """The executor's answer: flat and without orders unless told."""
    fields: dict[str, Any] = {"strategy": NAME, "request_id": request_id, "open_orders": [], "positions": []}
    return StateReported(**{**_executor_fields(), **fields, **changes})


def _executor_fields() -> dict[str, Any]:
    return {"source": "executor", "epoch": 3, "seq": 1, "timestamp_ns": NOW_NS}


def _with_decimals(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: Decimal(value) if name in _AMOUNTS and isinstance(value, str) else value for name, value in fields.items()
    }
