import random

from support.message_builders import EPOCH, NOW_NS, make_tick, make_ticks
from support.recorder_builders import TOPIC, accounted, batch, heartbeat, make_intake, outline, ticks

from common.events.base import Message
from common.events.risk import AlarmRaised, Severity
from common.events.system import GapFound
from common.wire import codec
from common.wire.seal import seal
from recorder.buffer import Buffer, Dropped
from recorder.streams import Position

KEY = ("market", TOPIC.encode(), "gateway", EPOCH)


def test_messages_in_order_are_recorded_as_they_came() -> None:
    """Single ticks and groups of them, each once; heartbeats tell nothing new and are not kept."""
    intake = make_intake()
    sent: list[Message] = [make_tick(1), make_tick(2), make_ticks(5, 3), make_tick(6)]

    found = intake.read(batch([*map(codec.encode, sent), heartbeat(6)]))

    assert found == sent
    assert intake.counts["unusable"] == intake.numbers.duplicates == 0


def test_hole_is_a_gap_in_front_of_what_shows_it() -> None:
    """So whoever reads the log meets the hole where it is."""
    intake = make_intake()

    found = intake.read(batch(ticks(1, 4, 5)))

    assert outline(found) == [1, (2, 3, "LOST_ON_CHANNEL"), 4, 5]
    gap = found[1]
    assert isinstance(gap, GapFound)
    assert (gap.channel, gap.stream, gap.publisher, gap.publisher_epoch) == ("market", TOPIC, "gateway", EPOCH)
    assert (gap.source, gap.is_recovered) == ("", False)  # a draft: who records it numbers it


def test_lost_tail_is_told_by_a_heartbeat_and_only_once() -> None:
    """Nothing newer would ever show it."""
    intake = make_intake()

    found = intake.read(batch([*ticks(1, 2), heartbeat(4), heartbeat(4), *ticks(5)]))

    assert outline(found) == [1, 2, (3, 4, "LOST_ON_CHANNEL"), 5]


def test_what_was_sent_before_we_listened_is_a_gap_from_the_first_number_on() -> None:
    """Nothing is past to a log: it has a number, or a record of its absence."""
    intake = make_intake()

    assert outline(intake.read(batch(ticks(3)))) == [(1, 2, "RECORDER_DOWN"), 3]
    assert outline(make_intake().read(batch([heartbeat(7)]))) == [(1, 7, "RECORDER_DOWN")]


def test_topic_that_begins_after_all_were_named_has_lost_what_is_missing() -> None:
    """A full heartbeat has named all there were, so a new one begins with number 1."""
    intake = make_intake()

    found = intake.read(batch([heartbeat(0), *ticks(3)]))

    assert outline(found) == [(1, 2, "LOST_ON_CHANNEL"), 3]


def test_restart_of_the_recorder_goes_on_behind_what_the_log_has() -> None:
    """What was published meanwhile is a gap with exact bounds; what follows it is whole."""
    intake = make_intake(Position("market", TOPIC, "gateway", EPOCH, 10))

    found = intake.read(batch([heartbeat(14), *ticks(15)]))

    assert outline(found) == [(11, 14, "RECORDER_DOWN"), 15]
    assert intake.numbers.positions() == [Position("market", TOPIC, "gateway", EPOCH, 15)]


def test_publisher_that_was_restarted_while_nobody_recorded_leaves_an_end_that_nobody_knows() -> None:
    """That is said, for each of its topics, as soon as its new life is heard of on that channel."""
    other = "tick.simulated.ETH/USDT"
    intake = make_intake(
        Position("market", TOPIC, "gateway", EPOCH, 10), Position("market", other, "gateway", EPOCH, 3)
    )

    found = intake.read(batch(ticks(1, epoch=EPOCH + 1)))

    gaps = [message for message in found if isinstance(message, GapFound)]
    assert [(gap.stream, gap.first_seq, gap.last_seq, gap.reason) for gap in gaps] == [
        (TOPIC, 11, None, "RECORDER_DOWN"),
        (other, 4, None, "RECORDER_DOWN"),
    ]
    assert outline(found[2:]) == [1]
    assert intake.numbers.positions() == [Position("market", TOPIC, "gateway", EPOCH + 1, 1)]


def test_position_that_only_the_log_tells_of_ends_when_its_topic_goes_on() -> None:
    """A record does not say on which channel it came."""
    intake = make_intake(Position("", TOPIC, "gateway", EPOCH, 10))

    found = intake.read(batch(ticks(1, epoch=EPOCH + 1)))

    assert outline(found) == [(11, None, "RECORDER_DOWN"), 1]
    assert codec.decode(codec.encode(found[0])) == found[0]  # with the channel on which its topic went on


def test_publisher_that_is_restarted_while_we_listen_has_ended_where_we_heard_it_last() -> None:
    """Its last number is known, so there is no gap; its new life begins with 1."""
    intake = make_intake()

    found = intake.read(batch([*ticks(1, 2), *ticks(1, epoch=EPOCH + 1), *ticks(3)]))

    assert outline(found) == [1, 2, 1, 3]  # and what was late of the old life is recorded all the same


def test_repeat_is_not_recorded_twice() -> None:
    """It is counted."""
    intake = make_intake()

    found = intake.read(batch([*ticks(1, 2, 2), codec.encode(make_ticks(2, 2)), *ticks(3)]))

    assert outline(found) == [1, 2, 3]
    assert intake.numbers.duplicates == 2


def test_dropped_numbers_are_a_gap_with_the_reason_of_their_drop() -> None:
    """In their place between what was kept; a hole before them keeps its own reason."""
    intake = make_intake()
    intake.read(batch(ticks(1)))

    dropped = intake.read(Dropped(NOW_NS, {KEY: (3, 9, "DISK_FULL")}))
    after = intake.read(batch([*ticks(10), heartbeat(10)]))

    assert outline(dropped) == [(2, 2, "LOST_ON_CHANNEL"), (3, 9, "DISK_FULL")]
    assert outline(after) == [10]


def test_frame_that_cannot_be_used_is_told_and_its_number_is_missing() -> None:
    """Garbage, a flipped bit, a foreign gap, a number that no publisher gives."""
    told: list[str] = []
    intake = make_intake()
    intake._on_fault = lambda channel, error: told.append(f"{channel} {error.fault}")
    alarm = AlarmRaised(
        source="executor", epoch=0, seq=1, timestamp_ns=1, code="X", severity=Severity.INFO, subject="", detail=""
    )
    flipped = bytearray(seal(ticks(2)[0]))
    flipped[-20] ^= 1
    gap = make_intake().read(batch(ticks(2)))[0]

    found = intake.read(
        batch([*ticks(1), b"no topic", bytes(flipped), codec.encode(alarm), codec.encode(gap), *ticks(3)])
    )

    assert outline(found) == [1, (2, 2, "LOST_ON_CHANNEL"), 3]
    assert told == [
        "market frame_without_topic",
        "market frame_corrupt",
        "market frame_mistyped",
        "market frame_unexpected",
    ]
    assert intake.counts["unusable"] == 4


def test_every_number_is_recorded_or_in_a_gap_whatever_happens() -> None:
    """Losses, repeats, a buffer that overflows and restarts from what the log has: never a hole, never twice."""
    for seed in range(60):
        dice = random.Random(seed)
        log: list[Message] = []
        intake = make_intake()
        buffer = Buffer(2_500, intake.locate)
        for seq in range(1, 200):
            frames = [] if dice.random() < 0.1 else ticks(seq)
            frames += ticks(seq) * (dice.random() < 0.05)
            frames += [heartbeat(seq)] * (dice.random() < 0.1)
            buffer.add(NOW_NS, [("market", frames)], "BUFFER_FULL")
            while dice.random() < 0.45 and (item := buffer.take()) is not None:
                log += intake.read(item)
            if dice.random() < 0.02:  # killed: what waited is gone, the log is what it is
                intake = make_intake()
                for message in log:
                    intake.numbers.fold(message)
                buffer = Buffer(2_500, intake.locate)
        while (item := buffer.take()) is not None:
            log += intake.read(item)
        log += intake.read(batch([heartbeat(199)]))
        assert accounted(log) == list(range(1, 200)), f"seed {seed}"
