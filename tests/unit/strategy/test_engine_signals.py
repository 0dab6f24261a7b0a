"""From a strategy's decision to a signal: its id, its numbers, what caused it, and how its end is known."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from support.engine_builders import (
    BatchDiary,
    Stage,
    make_acknowledgement,
    make_order_event,
    make_position_event,
    make_state,
    make_trade,
)
from support.message_builders import NOW_NS, make_tick, make_ticks
from support.strategy_builders import BTC, ETH

from common.clock import NS_PER_MS
from common.events.trading import Acknowledgement, Signal
from common.wire import codec
from strategy.outbox import OutboxFullError

# Ids


def test_signal_ids_are_name_life_and_a_rising_number() -> None:
    """Unique for ever: a life's number is never used again."""
    stage = Stage()

    ids = [stage.emit() for _ in range(3)]

    assert ids == ["mine-7-1", "mine-7-2", "mine-7-3"]
    assert [signal.signal_id for signal in stage.take_signals()] == ids
    assert stage.count("signals_emitted") == 3


def test_signal_that_did_not_fit_the_outbox_was_not_emitted() -> None:
    """The strategy is told by an exception; a hole in the numbers would read as a lost signal."""
    stage = Stage(outbox_signals_max=1)
    stage.emit()

    stage.act_once(lambda: stage.strategy.buy(BTC, 1))
    stage.event(make_acknowledgement("mine-7-1"))
    next_id = stage.emit()

    ((_, error),) = stage.failures
    assert isinstance(error, OutboxFullError)
    assert next_id == "mine-7-2"
    assert (stage.count("signals_emitted"), stage.strategy.pending_signals()) == (2, 1)


def test_full_outbox_is_told_once_until_half_of_it_is_free_again() -> None:
    """Refusals are counted; a line in the log whenever one more is acknowledged would fill the disk."""
    stage = Stage(outbox_signals_max=4)

    def fill_up() -> None:
        stage.act_once(lambda: [stage.strategy.buy(BTC, 1) for _ in range(5)])

    fill_up()
    fill_up()
    stage.event(make_acknowledgement("mine-7-1"))
    fill_up()
    warnings_while_busy = len(stage.warnings)
    stage.event(*(make_acknowledgement(f"mine-7-{number}") for number in (2, 3)))
    fill_up()

    assert (warnings_while_busy, [event for event, _ in stage.warnings]) == (1, ["outbox_full", "outbox_full"])
    assert stage.count("signals_refused_full") == 4
    assert "is the executor running?" in stage.warnings[0][1]["error"]


def test_number_of_an_ended_signal_is_not_used_again() -> None:
    """Whatever its end was: the executor would answer with the old one's."""
    stage = Stage()
    first_id = stage.emit()

    stage.event(make_acknowledgement(first_id, Acknowledgement.DENIED))

    assert stage.emit() == "mine-7-2"


# Numbers


@pytest.mark.parametrize(
    ("side", "limit_price", "expected"),
    [
        ("buy", 100.019, "100.01"),
        ("buy", 100.01, "100.01"),
        ("sell", 100.011, "100.02"),
        ("sell", Decimal("100.02"), "100.02"),
    ],
)
def test_limit_price_is_rounded_to_the_tick_in_favour_of_the_strategy(
    side: str, limit_price: float | Decimal, expected: str
) -> None:
    """Never a worse price than it asked for, and none that the executor would refuse."""
    stage = Stage()

    stage.act_once(lambda: getattr(stage.strategy, side)(BTC, 1, limit_price=limit_price))

    (signal,) = stage.take_signals()
    assert (signal.action, signal.order_type, signal.limit_price) == (side, "limit", Decimal(expected))


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize(
    ("quantity", "expected"), [(0.123456789, "0.12345"), (0.1, "0.1"), (Decimal("2.000019"), "2.00001"), (3, "3")]
)
def test_quantity_is_rounded_down_to_the_lot(side: str, quantity: float | Decimal, expected: str) -> None:
    """Never more than was asked for."""
    stage = Stage()

    stage.act_once(lambda: getattr(stage.strategy, side)(BTC, quantity))

    (signal,) = stage.take_signals()
    assert (signal.quantity, signal.order_type, signal.limit_price) == (Decimal(expected), "market", None)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "ioc"),
        ({"limit_price": 100}, "gtc"),
        ({"limit_price": 100, "time_in_force": "fok"}, "fok"),
        ({"time_in_force": "gtc"}, "gtc"),
    ],
)
def test_market_order_is_ioc_and_limit_order_gtc_unless_stated(options: dict[str, Any], expected: str) -> None:
    """What is left of a market order must not lie in wait for another market."""
    stage = Stage()

    stage.emit(**options)

    assert [signal.time_in_force for signal in stage.take_signals()] == [expected]


@pytest.mark.parametrize(("lifetime_ms", "expected_ms"), [(None, 5_000), (250, 250), (0, 0)])
def test_signal_expires_after_its_lifetime(lifetime_ms: int | None, expected_ms: int) -> None:
    """That of the config unless stated; a lifetime of nothing is no wish for the default."""
    stage = Stage()

    stage.emit(lifetime_ms=lifetime_ms)

    (signal,) = stage.take_signals()
    assert signal.expires_ns == NOW_NS + expected_ms * NS_PER_MS
    assert signal.timestamp_ns == NOW_NS


def test_options_of_a_signal_are_those_of_the_call() -> None:
    """What the executor and an audit read."""
    stage = Stage()

    stage.act_once(lambda: stage.strategy.sell(ETH, 1, confidence=0.75, reduce_only=True))

    (signal,) = stage.take_signals()
    assert (signal.strategy, signal.exchange, signal.symbol) == ("mine", "simulated", "ETH/USDT")
    assert (signal.confidence, signal.reduce_only) == (0.75, True)


def test_signal_made_of_numbers_from_an_array_can_be_sent() -> None:
    """What comes out of numpy is not what the wire writes, and that would end the process."""
    stage = Stage(BatchDiary)
    options = {
        "limit_price": np.float64(100.5),
        "lifetime_ms": np.int64(250),
        "confidence": np.float32(0.5),
        "reduce_only": np.True_,
    }
    stage.act("on_ticks", lambda instrument, _: stage.strategy.sell(instrument, np.float64(0.5), **options))

    stage.market(make_ticks())

    (signal,) = stage.take_signals()
    decoded = codec.decode(codec.encode(signal))
    assert isinstance(decoded, Signal)
    assert (decoded.quantity, decoded.limit_price) == (Decimal("0.5"), Decimal("100.5"))
    assert (decoded.expires_ns, decoded.confidence, decoded.reduce_only) == (NOW_NS + 250 * NS_PER_MS, 0.5, True)


# Causes


def test_signal_of_a_tick_carries_where_it_came_from() -> None:
    """From the tick to the fill every event can be traced; the price is the middle that the strategy saw."""
    stage = Stage()
    tick = make_tick(9, bid=99.5, ask=100.0, last=98.0)
    stage.act("on_tick", lambda tick: stage.strategy.buy(tick, 1))

    stage.market(tick)

    (signal,) = stage.take_signals()
    assert (signal.cause_id, signal.correlation_id) == (tick.event_id(), tick.event_id())
    assert (signal.trigger_price, signal.trigger_timestamp_ns) == (99.75, tick.timestamp_ns)


@pytest.mark.parametrize("absent", [{"bid": None}, {"ask": None}])
@pytest.mark.parametrize("last", [98.5, None])
def test_trigger_price_of_a_one_sided_tick_is_its_last_price(absent: dict[str, None], last: float | None) -> None:
    """There is no middle of one side."""
    stage = Stage()
    stage.act("on_tick", lambda tick: stage.strategy.buy(tick, 1))

    stage.market(make_tick(**absent, last=last))

    assert [signal.trigger_price for signal in stage.take_signals()] == [last]


def test_signal_of_a_trade_carries_its_price_and_time() -> None:
    """A trade is a cause as a tick is."""
    stage = Stage()
    trade = make_trade(101.25)
    stage.act("on_trade", lambda trade: stage.strategy.buy(trade, 1))

    stage.market(trade)

    (signal,) = stage.take_signals()
    assert (signal.cause_id, signal.trigger_price) == (trade.event_id(), 101.25)
    assert signal.trigger_timestamp_ns == trade.timestamp_ns


@pytest.mark.parametrize(
    ("callback", "event"),
    [("on_order", make_order_event("mine-7-9")), ("on_position", make_position_event()), ("on_start", None)],
)
def test_signal_of_an_event_is_traced_to_it_without_a_tick_to_measure_from(callback: str, event: Any) -> None:
    """Latency is counted from ticks, and the last one decided nothing here."""
    stage = Stage(is_started=False)
    stage.act(callback, lambda *_: stage.strategy.buy(BTC, 1))
    request = stage.engine.request_state(stage.now_ns)
    report = make_state(request.request_id)

    stage.market(make_tick())
    stage.event(report)
    if event is not None:
        stage.market(make_tick())
        stage.event(event)

    (signal,) = stage.take_signals()
    assert signal.cause_id == (event or report).event_id()
    assert (signal.trigger_price, signal.trigger_timestamp_ns) == (None, None)


@pytest.mark.parametrize("callback", ["on_timer", "on_stop"])
def test_signal_of_passing_time_has_no_cause(callback: str) -> None:
    """Even where a tick came just before: it did not decide this."""
    stage = Stage()
    stage.act(callback, lambda *_: stage.strategy.buy(BTC, 1))

    stage.market(make_tick())
    stage.advance(ms=1_000)
    stage.engine.stop(stage.now_ns)

    (signal,) = stage.take_signals()
    assert (signal.cause_id, signal.correlation_id) == (None, None)
    assert (signal.trigger_price, signal.trigger_timestamp_ns) == (None, None)


# Out, and the end of a signal


def test_signal_is_sent_once_and_again_only_after_its_pause() -> None:
    """A repeat is counted; what was emitted in the meantime is sent at once."""
    stage = Stage(resend_ms=250)

    first_id = stage.emit()
    sent = [stage.take_signals()]
    stage.advance(ms=249)
    second_id = stage.emit()
    sent.append(stage.take_signals())
    stage.advance(ms=1)
    sent.append(stage.take_signals())

    assert [[signal.signal_id for signal in signals] for signals in sent] == [[first_id], [second_id], [first_id]]
    assert stage.count("signals_resent") == 1


def test_engine_tells_when_there_is_something_new_to_send() -> None:
    """So that the service need not look after each tick."""
    stage = Stage()
    told = [stage.engine.has_new_outgoing]

    stage.emit()
    told.append(stage.engine.has_new_outgoing)
    stage.take()
    told.append(stage.engine.has_new_outgoing)

    assert told == [False, True, False]


@pytest.mark.parametrize("outcome", list(Acknowledgement))
def test_acknowledgement_ends_a_signal_whatever_its_outcome(outcome: Acknowledgement) -> None:
    """It is not sent again, no longer pending, and counted."""
    stage = Stage()
    signal_id = stage.emit()
    pending_before = stage.strategy.pending_signals(BTC)

    stage.event(make_acknowledgement(signal_id, outcome))
    stage.advance(ms=10_000)

    assert (pending_before, stage.strategy.pending_signals(BTC)) == (1, 0)
    assert stage.take() == []
    assert (stage.count("signals_acknowledged"), stage.count(f"signals_{outcome.value}")) == (1, 1)
    assert stage.count("signals_pending") == 0


@pytest.mark.parametrize("changes", [{"signal_id": "mine-6-1"}, {"strategy": "other"}], ids=["unknown", "another's"])
def test_acknowledgement_that_nobody_waits_for_changes_nothing(changes: dict[str, str]) -> None:
    """One of an earlier life, or of another strategy."""
    stage = Stage()
    signal_id = stage.emit()

    stage.event(make_acknowledgement(**{"signal_id": signal_id, **changes}))

    assert stage.strategy.pending_signals() == 1
    assert stage.count("signals_acknowledged") == 0


def test_repeated_acknowledgement_counts_once() -> None:
    """The executor answers each repeat of a signal."""
    stage = Stage()
    signal_id = stage.emit()

    stage.event(make_acknowledgement(signal_id), make_acknowledgement(signal_id))

    assert (stage.count("signals_acknowledged"), stage.count("signals_accepted")) == (1, 1)


def test_signal_that_nobody_answers_stays_pending_beyond_its_expiry() -> None:
    """Given up here it might still have been placed; the executor says DENIED, and that is its end."""
    stage = Stage(signal_lifetime_ms=1_000)
    signal_id = stage.emit()
    stage.take()

    stage.advance(ms=60_000)
    sent = stage.take_signals()
    pending_before = stage.strategy.pending_signals()
    stage.event(make_acknowledgement(signal_id, Acknowledgement.DENIED, reason="EXPIRED"))

    assert [signal.signal_id for signal in sent] == [signal_id]
    assert (pending_before, stage.strategy.pending_signals()) == (1, 0)


def test_last_word_of_a_strategy_is_sent() -> None:
    """It may close its positions in `on_stop`; the outbox goes on until the end of that is known."""
    stage = Stage()
    stage.act("on_stop", lambda: stage.strategy.sell(BTC, 1, reduce_only=True))

    stage.engine.stop(stage.now_ns)
    sent = stage.take_signals()
    stage.advance(ms=250)
    repeated = stage.take_signals()
    stage.event(make_acknowledgement(sent[0].signal_id))

    assert [signal.action for signal in sent] == ["sell"]
    assert repeated == sent
    assert len(stage.engine.outbox) == 0
