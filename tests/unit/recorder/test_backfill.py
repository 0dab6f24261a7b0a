from decimal import Decimal
from typing import Any

import msgspec
from support.message_builders import NOW_NS
from support.message_samples import sample_message

from common.clock import NS_PER_S
from common.events.base import DRAFT, Message
from common.events.system import GapFound
from common.events.trading import OrderFilled, Signal, SignalAcknowledged
from common.events.venue import ExecutionReported
from common.history import Recorded
from recorder.backfill import UNMATCHED_NS_MAX, Backfill


def make_fact(seq: int = 1, *events: Message, kind: str = "answer", **body: Any) -> Recorded:
    """A fact that these events tell of."""
    return Recorded(seq=seq, timestamp_ns=NOW_NS, kind=kind, body=body, events=list(events))


def make_filled(quantity: str = "1", **changes: Any) -> Message:
    """An order event as a history tells it: a draft."""
    event = sample_message(OrderFilled)
    return msgspec.structs.replace(event, **{**DRAFT, "filled_quantity": Decimal(quantity), **changes})


def sent(event: Message, seq: int) -> Message:
    """The same event as it came on the channel."""
    return msgspec.structs.replace(event, source="executor", epoch=1_700_000_000_000, seq=seq)


def make_gap(stream: str, first_seq: int, last_seq: int | None, **changes: Any) -> GapFound:
    """A gap on the events channel."""
    fields: dict[str, Any] = {
        "channel": "events",
        "publisher": "executor",
        "publisher_epoch": 5,
        "reason": "LOST_ON_CHANNEL",
    }
    return GapFound(
        **DRAFT, timestamp_ns=NOW_NS, stream=stream, first_seq=first_seq, last_seq=last_seq, **{**fields, **changes}
    )


def test_what_was_recorded_is_not_filled_in() -> None:
    """The same event, though a history tells it without its place on the channel."""
    backfill = Backfill()
    assert backfill.note(sent(make_filled(), 7), NOW_NS)

    assert backfill.judge(make_fact(1, make_filled()), NOW_NS) == []
    assert (backfill.unmatched, backfill.backfilled) == ({}, 0)


def test_what_is_missing_is_filled_in_under_the_number_of_its_fact() -> None:
    """Epoch 0 says that no channel carried it."""
    backfill = Backfill()
    backfill.note(sent(make_filled("1"), 7), NOW_NS)

    (filled,) = backfill.judge(make_fact(42, make_filled("1"), make_filled("2")), NOW_NS)

    assert (filled.source, filled.epoch, filled.seq) == ("executor", 0, 42)
    assert msgspec.structs.replace(filled, **DRAFT) == make_filled("2")
    assert backfill.backfilled == 1


def test_event_that_no_wire_would_carry_is_counted_and_left_out() -> None:
    """Its owner made it without a check; a log that holds it could not be read."""
    backfill = Backfill()

    assert backfill.judge(make_fact(1, make_filled(signal_id="no id" * 100)), NOW_NS) == []
    assert (backfill.unreadable, backfill.backfilled) == (1, 0)


def test_two_facts_with_equal_events_need_two_records() -> None:
    """Each record stands for one."""
    backfill = Backfill()
    for seq in (1, 2):
        backfill.note(sent(make_filled(), seq), NOW_NS)

    assert not backfill.judge(make_fact(1, make_filled()), NOW_NS)
    assert not backfill.judge(make_fact(2, make_filled()), NOW_NS)
    assert len(backfill.judge(make_fact(3, make_filled()), NOW_NS)) == 1


def test_instructions_are_recorded_from_the_history_as_the_strategy_sent_them() -> None:
    """They go to the executor alone, so no channel tells of them."""
    signal = sample_message(Signal)
    backfill = Backfill()

    found = backfill.judge(make_fact(1, kind="intent", signal=msgspec.to_builtins(signal)), NOW_NS)

    assert found == [signal]
    assert (backfill.instructions, backfill.backfilled) == (1, 0)


def test_execution_is_known_by_its_number_however_it_was_sent() -> None:
    """One that the executor had to ask for again is the same one."""
    report = sample_message(ExecutionReported)
    backfill = Backfill()
    backfill.note(msgspec.structs.replace(report, seq=3, epoch=9), NOW_NS)
    other = msgspec.structs.replace(report, execution_number=report.execution_number + 1)

    facts = [
        make_fact(seq, kind="execution", report=msgspec.to_builtins(each))
        for seq, each in enumerate((report, other), 1)
    ]

    assert backfill.judge(facts[0], NOW_NS) == []
    assert backfill.judge(facts[1], NOW_NS) == [msgspec.structs.replace(other, epoch=0, seq=2)]


def test_event_that_comes_after_it_was_filled_in_is_not_recorded_again() -> None:
    """Only once: whoever records it leaves a gap in its place."""
    backfill = Backfill()
    backfill.judge(make_fact(1, make_filled()), NOW_NS)

    assert not backfill.note(sent(make_filled(), 7), NOW_NS)
    assert backfill.note(sent(make_filled("2"), 8), NOW_NS)
    assert backfill.late == 1


def test_log_alone_tells_what_was_filled_in_before_a_restart() -> None:
    """Nothing is filled in twice, also where the same facts are compared again."""
    before, after = Backfill(), Backfill()
    signal = sample_message(Signal)
    fact = make_fact(4, make_filled(), kind="intent", signal=msgspec.to_builtins(signal))
    log = before.judge(fact, NOW_NS)

    for message in log:
        after.fold(message, NOW_NS)

    assert len(log) == 2
    assert after.judge(fact, NOW_NS) == []
    assert not after.note(sent(make_filled(), 7), NOW_NS)


def test_gap_is_told_again_when_all_of_it_stands_in_the_log() -> None:
    """With the same bounds, and only then; a gap of another topic waits on."""
    events = [make_filled("1"), make_filled("2")]
    backfill = Backfill()
    gap, other = make_gap(events[0].topic(), 5, 6), make_gap("alarm.executor.X", 1, 1)
    backfill.note_gap(gap)
    backfill.note_gap(other)

    first = backfill.judge(make_fact(1, events[0]), NOW_NS)
    second = backfill.judge(make_fact(2, events[1]), NOW_NS + 9)

    assert len(first) == 1
    assert second[1:] == [msgspec.structs.replace(gap, timestamp_ns=NOW_NS + 9, is_recovered=True)]
    assert [each.gap for each in backfill.open_gaps] == [other]


def test_gaps_that_no_history_can_fill_are_not_waited_for() -> None:
    """Ticks, and what has no end that anybody knows."""
    backfill = Backfill()

    for gap in (
        make_gap("tick.simulated.BTC/USDT", 1, 2, channel="market"),
        make_gap("order_filled.simulated.BTC/USDT", 1, None),
        make_gap("order_filled.simulated.BTC/USDT", 1, 1, reason="LATE"),
    ):
        backfill.note_gap(gap)

    assert backfill.open_gaps == []


def test_what_no_fact_tells_of_is_forgotten() -> None:
    """An acknowledgement that was repeated is on the channel alone."""
    backfill = Backfill()
    backfill.note(sent(sample_message(SignalAcknowledged), 1), NOW_NS)
    backfill.note(sent(make_filled(), 1), NOW_NS + NS_PER_S)

    backfill.forget(NOW_NS + UNMATCHED_NS_MAX + 1)

    assert len(backfill.unmatched) == 1
    assert backfill.judge(make_fact(1, make_filled()), NOW_NS) == []
