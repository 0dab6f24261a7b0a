"""The filled orders of a live session, out of the executor's history, beside those of a backtest."""

from decimal import Decimal
from pathlib import Path

import msgspec

from backtest.comparing import Comparison, FilledOrder, compare
from backtest.planning import Wish
from backtest.recording import Recording
from backtest.result import Finished
from common.errors import ConfigError
from common.events.trading import OrderEvent
from common.history import Recorded, open_history
from common.money import EXACT
from common.run_directory import RunDirectory

FACTS_PER_READ = 1_000


def compare_with_run(finished: Finished, run: Path, wish: Wish) -> Comparison:
    """Set the session of a run directory beside a backtest of the same strategy and time.

    Raises:
        ConfigError: The run has no executor's journal, or the strategy filled nothing in this time.
    """
    times = finished.curve.times
    from_ns, to_ns = max(wish.from_ns, int(times[0])), min(wish.to_ns, int(times[-1]) + 1)
    live = read_filled_orders(run, finished.result.strategy, from_ns, to_ns)
    if not live:
        raise ConfigError(
            f"run {run}: expected fills of strategy {finished.result.strategy} between {finished.result.first} and "
            f"{finished.result.last}, was none"
        )
    marks = {
        entry.name: Decimal(repr(mid))
        for entry in finished.recording.instruments
        if (mid := finished.recording.last_mid((entry.exchange, entry.symbol))) is not None
    }
    return compare(live, filled_orders_of(finished.recording), marks)


def read_filled_orders(run: Path, strategy: str, from_ns: int, to_ns: int) -> list[FilledOrder]:
    """What a strategy decided within a range, as far as it filled.

    Raises:
        ConfigError: There is no journal.
    """
    state = RunDirectory(str(run)).file("state", "journal.sqlite").parent
    if not any(state.glob("journal.sqlite")):
        raise ConfigError(f"run {run}: expected an executor's journal in {state}, was none")
    history = open_history("executor", state)
    orders: dict[str, FilledOrder] = {}
    decided: dict[str, int] = {}
    seq = 0
    try:
        while seq < history.last_seq():
            for fact in history.read(seq, FACTS_PER_READ):
                seq = fact.seq
                _take(fact, strategy, decided, orders)
    finally:
        history.close()
    return [order for order in orders.values() if from_ns <= order.decision_ns < to_ns]


def filled_orders_of(recording: Recording) -> list[FilledOrder]:
    """The filled orders of a backtest: the fills of one decision are one order."""
    orders: dict[tuple[int, int, int], FilledOrder] = {}
    for fill in recording.fills():
        instrument = recording.instruments[fill["instrument"]]
        quantity = int(fill["lots"]) * instrument.lot_size
        cost = EXACT.multiply(quantity, int(fill["price_ticks"]) * instrument.tick_size)
        place = int(fill["decision_ns"]), int(fill["instrument"]), int(fill["side"])
        orders[place] = _with_fill(
            orders.get(place),
            FilledOrder(
                instrument=instrument.name,
                side="buy" if fill["side"] > 0 else "sell",
                decision_ns=place[0],
                filled_ns=int(fill["time_ns"]),
                quantity=quantity,
                cost=cost,
                fee=Decimal(repr(float(fill["fee"]))),
            ),
        )
    return list(orders.values())


def _take(fact: Recorded, strategy: str, decided: dict[str, int], orders: dict[str, FilledOrder]) -> None:
    signal = fact.body.get("signal")
    if isinstance(signal, dict) and "timestamp_ns" in signal:
        decided[str(signal["signal_id"])] = int(signal["timestamp_ns"])
    for event in fact.events:
        if not (isinstance(event, OrderEvent) and event.strategy == strategy):
            continue
        if event.last_quantity is None or event.last_price is None:
            continue
        fill = FilledOrder(
            instrument=f"{event.exchange}.{event.symbol}",
            side=event.side,
            decision_ns=decided.get(event.signal_id, event.timestamp_ns),
            filled_ns=event.timestamp_ns,
            quantity=event.last_quantity,
            cost=EXACT.multiply(event.last_quantity, event.last_price),
            fee=event.fee or Decimal(0),
        )
        orders[event.client_order_id] = _with_fill(orders.get(event.client_order_id), fill)


def _with_fill(order: FilledOrder | None, fill: FilledOrder) -> FilledOrder:
    if order is None:
        return fill
    return msgspec.structs.replace(
        order,
        filled_ns=fill.filled_ns,
        quantity=EXACT.add(order.quantity, fill.quantity),
        cost=EXACT.add(order.cost, fill.cost),
        fee=EXACT.add(order.fee, fill.fee),
    )
