"""The whole pipeline in one thread, from one seed."""

from collections import Counter, defaultdict
from decimal import Decimal

import pytest
from support.simulation import Pipeline

from common.clock import NS_PER_S
from common.instruments import Instrument
from executor.entries import OrderIntended, SignalDenied
from strategy.strategies.momentum import Momentum
from strategy.strategies.support_resistance import SupportResistance

pytestmark = pytest.mark.unmeasured
DURATION_NS = 5 * NS_PER_S


def make_instrument(symbol: str) -> Instrument:
    """An instrument of the synthetic market."""
    return Instrument(
        exchange="simulated",
        symbol=symbol,
        raw_symbol=symbol.replace("/", ""),
        tick_size=Decimal("0.01"),
        lot_size=Decimal("0.0001"),
    )


def run_pipeline(seed: int) -> Pipeline:
    """Trade two instruments with both strategies that come with tickpulse."""
    instruments = [make_instrument("BTC/USDT"), make_instrument("ETH/USDT")]
    pipeline = Pipeline(instruments, {"momentum": Momentum, "levels": SupportResistance}, seed=seed)
    pipeline.run(DURATION_NS)
    return pipeline


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """One run that several tests look at."""
    return run_pipeline(seed=7)


def test_two_runs_from_one_seed_send_the_same_frames_at_the_same_times(pipeline: Pipeline) -> None:
    """One seed decides everything: that is what makes a replay or a failure repeatable."""
    again = run_pipeline(seed=7)

    assert again.network.fingerprint() == pipeline.network.fingerprint()
    assert again.network.frames == pipeline.network.frames


def test_another_seed_gives_another_run(pipeline: Pipeline) -> None:
    """The fingerprint would be worth nothing if it were always the same."""
    other = run_pipeline(seed=8)

    assert other.network.fingerprint() != pipeline.network.fingerprint()


def test_ticks_become_signals_orders_and_fills(pipeline: Pipeline) -> None:
    """The run is about something: every stage was passed by more than a few messages."""
    counters = pipeline.executor.counters()

    assert counters["signals_received"] >= 10
    assert counters["orders_accepted"] >= 10
    assert counters["fills"] >= 10


def test_every_signal_has_one_end_and_at_most_one_order(pipeline: Pipeline) -> None:
    """No duplicate, no loss: the invariants of the order path."""
    ends = Counter(
        entry.subject for entry in pipeline.journal.replay() if isinstance(entry, OrderIntended | SignalDenied)
    )
    emitted = sum(engine.counters()["signals_emitted"] for engine in pipeline.engines.values())

    assert set(ends.values()) == {1}
    assert len(ends) == emitted
    assert all(len(engine.outbox) == 0 for engine in pipeline.engines.values())
    assert all(record.outcome is not None for record in pipeline.executor.book.signals.values())


def test_journal_and_ledger_and_strategies_agree_to_the_last_digit(pipeline: Pipeline) -> None:
    """Executor, exchange and strategies each kept their own books from their own messages."""
    at_venue: dict[str, Decimal] = defaultdict(Decimal)
    for execution in pipeline.ledger.executions_from(1, 100_000):
        at_venue[execution.symbol] += execution.quantity if execution.side == "buy" else -execution.quantity

    held: dict[str, Decimal] = defaultdict(Decimal)
    for (strategy, _, symbol), position in pipeline.executor.book.positions.items():
        held[symbol] += position.quantity
        seen = pipeline.engines[strategy].portfolio.position(make_instrument(symbol))
        assert (seen.quantity, seen.realised_pnl, seen.fees) == (
            position.quantity,
            position.realised_pnl,
            position.fees,
        )

    assert held == at_venue
