"""A strategy that dies and comes back: what it has emitted, in which order, and a memory that is lost or too old."""

import pytest
from support.engine_builders import (
    Diary,
    Stage,
    make_acknowledgement,
    make_order_event,
    make_position_event,
)
from support.message_builders import make_tick
from support.strategy_builders import BTC

from chaos.memory_outbox_store import MemoryOutboxStore
from common.errors import FatalError
from common.events.base import Message
from common.events.market import Tick
from common.events.trading import AmendRequested, CancelRequested, Signal
from strategy.outbox import Instruction, id_of


def ids_of(messages: list[Message]) -> list[str]:
    """What each is acknowledged under."""
    return [id_of(message) for message in messages if isinstance(message, Instruction)]


def restart(store: MemoryOutboxStore, epoch: int = 8, **options: object) -> Stage:
    """The next life, which the executor has not answered yet."""
    return Stage(store=store, epoch=epoch, is_started=False, **options)


def test_nothing_is_sent_that_is_not_in_the_store() -> None:
    """An order that was sent and forgotten could be decided a second time."""
    store = MemoryOutboxStore()
    stage = Stage(store=store)
    stage.emit()
    kept_before = list(store.bodies)

    sent = stage.take()

    assert (kept_before, list(store.bodies)) == ([], ids_of(sent))
    assert store.last_id == "mine-7-1"


def test_nothing_is_sent_when_the_store_fails() -> None:
    """The process ends instead; the next life knows of no decision, and may make it again."""
    store = MemoryOutboxStore()
    stage = Stage(store=store)
    stage.emit()
    store.is_failing = True

    with pytest.raises(FatalError):
        stage.take()

    assert restart(store).take() == []


def test_emissions_of_one_callback_cost_one_transaction_and_a_tick_none() -> None:
    """It is 30 µs on the way from a tick to its order."""
    store = MemoryOutboxStore()
    stage = Stage(store=store)
    stage.act_once(lambda: [stage.strategy.buy(BTC, 1) for _ in range(5)])

    stage.take()
    after_emission = store.transactions
    for seq in range(2, 100):
        stage.market(make_tick(seq))
        stage.take()

    assert (after_emission, store.transactions) == (1, 1)


def test_what_has_its_end_leaves_the_store() -> None:
    """Together with all that ended in the same turn."""
    store = MemoryOutboxStore()
    stage = Stage(store=store)
    ids = [stage.emit() for _ in range(3)]
    stage.take()

    stage.event(make_acknowledgement(ids[0]), make_acknowledgement(ids[2]))
    stage.advance(ms=5)

    assert list(store.bodies) == [ids[1]]
    assert store.transactions == 2
    assert not stage.engine.is_settled


def test_end_of_what_was_not_sent_yet_is_kept_until_it_was_written() -> None:
    """A peer made up the id; it must not confuse the store."""
    store = MemoryOutboxStore()
    stage = Stage(store=store)
    signal_id = stage.emit()

    stage.event(make_acknowledgement(signal_id))
    stage.advance(ms=5)
    stage.take()
    stage.advance(ms=5)

    assert (store.bodies, stage.engine.is_settled) == ({}, True)


def test_new_life_sends_what_is_left_in_the_old_order_before_anything_new() -> None:
    """At once, also before the executor has told where the strategy stands."""
    store = MemoryOutboxStore()
    first = Stage(store=store)
    first.event(make_order_event("mine-6-1"))
    ids = [first.emit() for _ in range(3)]
    first.act_once(lambda: first.strategy.cancel("mine-6-1"))
    first.act_once(lambda: first.strategy.amend("mine-6-1", quantity=2))
    first.take()
    first.event(make_acknowledgement(ids[1]))
    first.advance(ms=5)

    second = restart(store)
    pending = second.strategy.pending_signals(BTC)
    second.start()
    second.emit()
    sent = second.take()

    assert ids_of(sent) == ["mine-7-1", "mine-7-3", "mine-7-4", "mine-7-5", "mine-8-1"]
    assert [type(message) for message in sent] == [Signal, Signal, CancelRequested, AmendRequested, Signal]
    assert (pending, second.count("signals_restored")) == (2, 4)


def test_report_of_the_executor_brings_everything_again_at_once() -> None:
    """It has just come back, and what the one before it had in its socket is gone: no pause is waited for."""
    stage = Stage(resend_ms=1_000)
    ids = [stage.emit(), stage.emit()]
    stage.take()

    stage.start()

    assert (ids_of(stage.take()), ids_of(stage.take())) == (ids, [])
    assert stage.count("signals_resent") == 2


def test_each_instruction_names_the_one_before_it_over_all_lives() -> None:
    """The executor applies them in this order; the last one may have its end already."""
    store = MemoryOutboxStore()
    first = Stage(store=store)
    first_id, second_id = first.emit(), first.emit()
    sent = first.take_signals()
    first.event(make_acknowledgement(first_id), make_acknowledgement(second_id))
    first.advance(ms=5)

    second = restart(store)
    second.start(last_id=second_id)
    second.emit()
    sent += second.take_signals()

    assert [(signal.signal_id, signal.follows) for signal in sent] == [
        ("mine-7-1", None),
        ("mine-7-2", "mine-7-1"),
        ("mine-8-1", "mine-7-2"),
    ]


def test_what_the_outbox_refused_leaves_no_hole_in_the_order() -> None:
    """Nobody would ever send what the next one followed."""
    stage = Stage(outbox_signals_max=1)
    first_id = stage.emit()
    stage.take()
    stage.act_once(lambda: stage.strategy.buy(BTC, 1))
    stage.event(make_acknowledgement(first_id))

    stage.emit()

    assert [signal.follows for signal in stage.take_signals()] == [first_id]


def test_life_that_never_started_keeps_what_it_found() -> None:
    """It was stopped before the executor answered: no checkpoint of it may replace the one that there is."""
    store = MemoryOutboxStore()
    first = Stage(store=store)
    first.emit()
    first.take()
    checkpoint = store.checkpoint

    second = restart(store)
    second.advance(ms=60_000)
    second.engine.stop(second.now_ns)

    assert store.checkpoint is checkpoint
    assert not second.engine.is_settled


def test_events_before_the_start_are_known_but_not_told() -> None:
    """An order of an earlier life is filled while this one starts: `on_start` finds it so."""
    stage = Stage(is_started=False)

    stage.event(make_order_event("mine-6-1"), make_position_event("2"))

    assert stage.strategy.names() == []
    assert (stage.strategy.position(BTC).quantity, len(stage.strategy.open_orders())) == (2, 1)


# One decision, one id


class BuyEachTick(Diary):
    """Decides on each tick that it sees."""

    def on_tick(self, tick: Tick) -> None:
        self.buy(tick, 1)


@pytest.mark.parametrize(
    ("point", "resent", "decided_again"),
    [
        ("before the write", [], ["mine-8-1"]),
        ("between write and send", ["mine-7-1"], []),
        ("after the send", ["mine-7-1"], []),
        ("after the acknowledgement", ["mine-7-1"], []),
        ("after its removal", [], []),
    ],
)
def test_decision_is_never_sent_under_two_ids(point: str, resent: list[str], decided_again: list[str]) -> None:
    """The strategy is killed around its decision, and the gateway's snapshot brings the tick of it again."""
    store = MemoryOutboxStore()
    tick = make_tick(41)
    first = Stage(BuyEachTick, store=store)
    first.market(tick)
    sent: list[str] = []
    if point != "before the write":
        taken = ids_of(first.take())
        sent = [] if point == "between write and send" else taken
    if point in {"after the acknowledgement", "after its removal"}:
        first.event(make_acknowledgement("mine-7-1"))
    if point == "after its removal":
        first.advance(ms=5)

    second = restart(store, strategy_type=BuyEachTick)
    left = ids_of(second.take())
    second.snapshot(tick)
    second.start()
    decided = [found for found in ids_of(second.take()) if found not in left]

    assert (left, decided) == (resent, decided_again)
    assert len({*sent, *left, *decided}) == 1


def test_next_tick_is_decided_on_after_a_restart() -> None:
    """Only what was decided on is passed over, whether it comes as a snapshot or in the stream."""
    store = MemoryOutboxStore()
    first = Stage(BuyEachTick, store=store)
    first.market(make_tick(41))
    first.take()

    second = restart(store, strategy_type=BuyEachTick)
    second.snapshot(make_tick(41), make_tick(7, symbol="ETH/USDT"))
    second.start()
    second.market(make_tick(40), make_tick(41), make_tick(42))

    caused = [signal.cause_id for signal in second.take_signals()]
    assert [None if cause is None else cause.rsplit(".", 1)[1] for cause in caused] == [
        "BTC/USDT:41",
        "ETH/USDT:7",
        "BTC/USDT:42",
    ]
    assert second.count("ticks_taken_before") == 3


# Lost or restored


@pytest.mark.parametrize(("has_emitted", "expected"), [(False, None), (True, "mine-7-1")])
def test_question_for_the_state_names_the_newest_instruction(expected: str | None, *, has_emitted: bool) -> None:
    """So that the executor hears of a strategy that lost its memory."""
    store = MemoryOutboxStore()
    first = Stage(store=store)
    if has_emitted:
        first.emit()
        first.take()

    request = restart(store).engine.request_state(1)

    assert request.last_id == expected


def test_lost_state_directory_is_told_and_the_order_goes_on() -> None:
    """The store is empty, yet the executor has a verdict: the next instruction comes after that one."""
    stage = restart(MemoryOutboxStore())

    stage.start(last_id="mine-7-5")
    stage.start(last_id="mine-7-5")
    stage.emit()

    assert stage.count("state_lost") == 1
    assert stage.warnings == [("state_lost", {"last_id": None, "executor_last_id": "mine-7-5"})]
    assert [(signal.signal_id, signal.follows) for signal in stage.take_signals()] == [("mine-8-1", "mine-7-5")]


@pytest.mark.parametrize("executor_last_id", ["mine-7-2", "mine-7-10", "mine-8-1"])
def test_state_restored_from_a_backup_is_told_and_the_order_goes_on(executor_last_id: str) -> None:
    """The store ends at the first instruction; ids are compared as numbers, not as text."""
    store = MemoryOutboxStore()
    first = Stage(store=store)
    first.emit()
    first.take()

    stage = restart(store, epoch=9)
    stage.start(last_id=executor_last_id)
    stage.emit()

    assert (stage.count("state_restored"), stage.count("state_lost")) == (1, 0)
    assert stage.warnings == [("state_restored", {"last_id": "mine-7-1", "executor_last_id": executor_last_id})]
    assert [(signal.signal_id, signal.follows) for signal in stage.take_signals()] == [
        ("mine-7-1", None),
        ("mine-9-1", executor_last_id),
    ]


@pytest.mark.parametrize("executor_last_id", [None, "mine-7-1", "mine-7-2", "mine-6-900", "client-9-9", "of-a-client"])
def test_executor_that_knows_no_newer_instruction_changes_nothing(executor_last_id: str | None) -> None:
    """It has no verdict yet, or an older one, or one of a foreign client with our name."""
    store = MemoryOutboxStore()
    first = Stage(store=store)
    first.emit()
    first.emit()
    first.take()

    stage = restart(store)
    stage.start(last_id=executor_last_id)
    stage.emit()

    assert (stage.warnings, stage.count("state_lost"), stage.count("state_restored")) == ([], 0, 0)
    assert [signal.follows for signal in stage.take_signals()][-1] == "mine-7-2"


@pytest.mark.parametrize("is_lost", [True, False], ids=["known to the executor", "known to the store"])
def test_life_whose_number_was_used_before_takes_a_new_one(*, is_lost: bool) -> None:
    """The clock was set back: an id that was used before would get the old signal's answer."""
    store = MemoryOutboxStore()
    if not is_lost:
        first = Stage(store=store, epoch=9)
        first.emit()
        first.take()
        store.remove(["mine-9-1"])

    stage = restart(store, epoch=8)
    stage.start(last_id="mine-9-1")

    assert stage.emit() == "mine-10-1"
