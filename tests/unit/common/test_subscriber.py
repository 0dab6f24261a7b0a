from typing import Any

import pytest
from support.message_builders import (
    EPOCH,
    NOW_NS,
    TOPIC,
    heartbeat_frame,
    make_heartbeat,
    make_tick,
    make_ticks,
    tick_frame,
)

from common.errors import WireError, WireFault
from common.events.base import DRAFT, Message
from common.events.market import LastValue, Tick
from common.events.system import TOPICS_PER_HEARTBEAT_MAX
from common.wire import codec
from common.wire.publisher import Publisher
from common.wire.sequence import Gap
from common.wire.subscriber import Subscriber

TRADE_TOPIC = "trade.simulated.BTC/USDT"


class Ear:
    """A subscriber, with what it was told and what it handed over."""

    def __init__(self, *patterns: str) -> None:
        self.gaps: list[tuple[str, Gap]] = []
        self.faults: list[WireFault] = []
        self.subscriber = Subscriber(
            patterns or ["tick.*.*"],
            on_gap=lambda topic, gap: self.gaps.append((topic, gap)),
            on_fault=lambda error: self.faults.append(error.fault),
        )

    def hear(self, *frames: bytes) -> list[Message]:
        """The messages that these frames turn into."""
        heard = (self.subscriber.accept(frame) for frame in frames)
        return [message for message in heard if message is not None]

    def hear_numbers(self, *seqs: int, **changes: Any) -> list[int]:
        """The numbers that are handed over of the ticks with these numbers."""
        return [message.seq for message in self.hear(*(tick_frame(seq, **changes) for seq in seqs))]

    def take_snapshot(self, seq: int, *, is_join: bool = False, epoch: int = EPOCH) -> list[LastValue]:
        """Take a snapshot in which the tick topic stands at this number."""
        value = LastValue(TOPIC, epoch, seq, make_tick(seq, epoch=epoch))
        return self.subscriber.take_snapshot("gateway", epoch, [value], is_join=is_join)

    @property
    def counts(self) -> dict[str, int]:
        """All counters that are not zero."""
        return {name: count for name, count in self.subscriber.counters().items() if count}


# Numbers of one topic.


def test_messages_in_order_are_handed_over_as_they_are() -> None:
    """The usual case."""
    ear = Ear()

    messages = ear.hear(tick_frame(1), tick_frame(2), tick_frame(3))

    assert messages == [make_tick(1), make_tick(2), make_tick(3)]
    assert ear.counts == {"received": 3}


def test_first_message_is_no_gap_whatever_its_number() -> None:
    """What was sent before we listened is past, not lost."""
    ear = Ear()

    assert ear.hear_numbers(41, 42) == [41, 42]
    assert ear.gaps == []


def test_hole_is_reported_once_with_its_ends_and_counted_by_number() -> None:
    """And the message behind it is still used."""
    ear = Ear()

    assert ear.hear_numbers(1, 5, 6) == [1, 5, 6]

    assert ear.gaps == [(TOPIC, Gap(2, 4))]
    assert ear.counts == {"received": 3, "lost": 3, "gaps": 1}


def test_repeat_is_dropped_and_counted() -> None:
    """Each message at most once."""
    ear = Ear()

    assert ear.hear_numbers(1, 2, 2, 1, 3) == [1, 2, 3]
    assert ear.counts == {"received": 3, "duplicates": 2}


def test_message_that_comes_late_stays_lost() -> None:
    """Order is worth more than completeness: nothing older follows something newer."""
    ear = Ear()

    assert ear.hear_numbers(1, 3, 2, 4) == [1, 3, 4]
    assert ear.counts == {"received": 3, "lost": 1, "gaps": 1, "duplicates": 1}


def test_topics_are_numbered_apart() -> None:
    """A hole in one says nothing about another."""
    ear = Ear()

    ear.hear(tick_frame(1), tick_frame(7, symbol="ETH/USDT"), tick_frame(2), tick_frame(8, symbol="ETH/USDT"))

    assert ear.counts == {"received": 4}


def test_batch_counts_as_many_as_it_has_ticks() -> None:
    """Received and lost are in ticks, however they were packed."""
    ear = Ear()

    ear.hear(tick_frame(1), codec.encode(make_ticks(seq=4, count=3)), codec.encode(make_ticks(seq=14, count=5)))

    assert ear.counts == {"received": 9, "lost": 5, "gaps": 1}
    assert ear.gaps == [(TOPIC, Gap(5, 9))]


def test_repeated_batch_is_counted_by_its_ticks() -> None:
    """As everything else."""
    ear = Ear()

    ear.hear(codec.encode(make_ticks(seq=3, count=3)), codec.encode(make_ticks(seq=3, count=3)))

    assert ear.counts == {"received": 3, "duplicates": 3}


# Lives of a publisher.


def test_new_epoch_starts_again_at_one() -> None:
    """A restarted publisher numbers from the beginning: no gap and no repeat."""
    ear = Ear()

    ear.hear_numbers(41, 42)
    numbers = ear.hear_numbers(1, 2, epoch=EPOCH + 1)

    assert numbers == [1, 2]
    assert ear.counts == {"received": 4, "epoch_changes": 1}


def test_beginning_of_a_new_epoch_that_never_arrived_is_lost() -> None:
    """We were subscribed: it was sent while the connection was being made again."""
    ear = Ear()

    ear.hear_numbers(41)
    ear.hear_numbers(4, epoch=EPOCH + 1)

    assert ear.gaps == [(TOPIC, Gap(1, 3))]
    assert ear.counts == {"received": 2, "lost": 3, "gaps": 1, "epoch_changes": 1}


def test_message_of_an_ended_life_is_dropped() -> None:
    """It was still on its way when the publisher was restarted."""
    ear = Ear()
    ear.hear_numbers(1, epoch=EPOCH + 1)

    assert ear.hear_numbers(43, 44) == []
    assert ear.counts == {"received": 1, "old_epoch": 2}


def test_restart_of_a_publisher_is_one_change_however_many_topics_it_has() -> None:
    """Who reacts to a restart reacts once."""
    ear = Ear()
    ear.hear(tick_frame(1), tick_frame(1, symbol="ETH/USDT"))

    ear.hear(tick_frame(1, epoch=EPOCH + 1), tick_frame(1, epoch=EPOCH + 1, symbol="ETH/USDT"))

    assert ear.counts == {"received": 4, "epoch_changes": 1}


def test_restart_is_noticed_by_the_heartbeat_of_a_publisher_that_has_nothing_to_say() -> None:
    """It may have died with something unsaid: whoever needs it all must ask."""
    ear = Ear()
    ear.hear(heartbeat_frame({TOPIC: 1}), tick_frame(2))

    ear.hear(heartbeat_frame({}, epoch=EPOCH + 1), heartbeat_frame({}, epoch=EPOCH + 1))

    assert ear.counts == {"received": 1, "epoch_changes": 1}


def test_other_source_on_a_topic_starts_over() -> None:
    """Two publishers share a topic: each has its own numbers, so there are no false gaps."""
    ear = Ear()

    ear.hear_numbers(41)
    assert ear.hear_numbers(7, 8, source="gateway_b", epoch=EPOCH - 100) == [7, 8]
    assert ear.counts == {"received": 3, "source_changes": 1}


def test_two_sources_on_a_topic_make_no_false_gaps() -> None:
    """Also when their heartbeats have told that we know all their topics."""
    ear = Ear()
    ear.hear(heartbeat_frame({}), heartbeat_frame({}, source="gateway_b"))

    ear.hear_numbers(1)
    ear.hear_numbers(1, 2, source="gateway_b")
    ear.hear_numbers(2)

    assert ear.counts == {"received": 4, "source_changes": 2}


# What heartbeats show.


def test_lost_last_message_is_noticed_by_the_heartbeat() -> None:
    """Nothing newer follows, so no gap would ever show it."""
    ear = Ear()
    ear.hear_numbers(1, 2)

    assert ear.hear(heartbeat_frame({TOPIC: 4})) == []

    assert ear.subscriber.has_lost_tail
    assert ear.gaps == [(TOPIC, Gap(3, 4))]
    assert ear.counts == {"received": 2, "lost": 2, "gaps": 1}


def test_heartbeat_that_says_what_we_have_is_no_news() -> None:
    """Neither is one that is older than what we have."""
    ear = Ear()
    ear.hear_numbers(1, 2)

    ear.hear(heartbeat_frame({TOPIC: 2}), heartbeat_frame({TOPIC: 1}))

    assert not ear.subscriber.has_lost_tail
    assert ear.subscriber.heartbeats == 2
    assert ear.counts == {"received": 2}


def test_lost_tail_is_reported_once_and_its_late_message_is_a_repeat() -> None:
    """What was counted as lost is not received afterwards."""
    ear = Ear()
    ear.hear_numbers(1)
    ear.hear(heartbeat_frame({TOPIC: 2}), heartbeat_frame({TOPIC: 2}))

    assert ear.hear_numbers(2, 3) == [3]
    assert ear.counts == {"received": 2, "lost": 1, "gaps": 1, "duplicates": 1}


def test_first_heartbeat_tells_what_is_past_and_not_lost() -> None:
    """A late joiner begins behind it."""
    ear = Ear()

    ear.hear(heartbeat_frame({TOPIC: 40}))

    assert ear.hear_numbers(41) == [41]
    assert ear.counts == {"received": 1}


def test_new_topic_after_a_heartbeat_begins_with_one() -> None:
    """The heartbeat named all topics there were, so the first messages of this one are missing."""
    ear = Ear()
    ear.hear(heartbeat_frame({}))

    assert ear.hear_numbers(3) == [3]
    assert ear.gaps == [(TOPIC, Gap(1, 2))]


def test_new_topic_of_which_nothing_arrived_is_noticed_by_the_next_heartbeat() -> None:
    """All of it is lost."""
    ear = Ear()
    ear.hear(heartbeat_frame({}))

    ear.hear(heartbeat_frame({TOPIC: 3}))

    assert ear.gaps == [(TOPIC, Gap(1, 3))]
    assert ear.subscriber.has_lost_tail


def test_new_life_of_which_nothing_arrived_is_noticed_by_its_heartbeat() -> None:
    """The topic was quiet after the restart, so no message would show the gap."""
    ear = Ear()
    ear.hear_numbers(41)

    ear.hear(heartbeat_frame({TOPIC: 2}, epoch=EPOCH + 1))

    assert ear.gaps == [(TOPIC, Gap(1, 2))]
    assert ear.subscriber.has_lost_tail
    assert ear.hear_numbers(3, epoch=EPOCH + 1) == [3]
    assert ear.counts == {"received": 2, "lost": 2, "gaps": 1, "epoch_changes": 1}


def test_topic_that_is_new_in_a_new_life_begins_with_one() -> None:
    """We have been listening since the life before, so nothing of it is past."""
    ear = Ear()
    ear.hear(heartbeat_frame({}))

    ear.hear(heartbeat_frame({TOPIC: 2}, epoch=EPOCH + 1))

    assert ear.gaps == [(TOPIC, Gap(1, 2))]


def test_heartbeat_of_an_ended_life_says_nothing() -> None:
    """It was still on its way."""
    ear = Ear()
    ear.hear(heartbeat_frame({TOPIC: 3}, epoch=EPOCH + 1))

    ear.hear(heartbeat_frame({TOPIC: 99}))

    assert ear.hear_numbers(4, epoch=EPOCH + 1) == [4]
    assert ear.counts == {"received": 1}


def test_heartbeat_about_topics_that_were_not_asked_for_is_no_news() -> None:
    """Another's loss."""
    ear = Ear("tick.simulated.ETH/USDT")

    ear.hear(heartbeat_frame({TOPIC: 3}), heartbeat_frame({TOPIC: 9}))

    assert ear.counts == {}


def test_late_joiner_of_a_publisher_with_many_topics_sees_no_false_loss() -> None:
    """Its heartbeats take turns; which of them comes first must not matter."""
    frames: list[bytes] = []
    publisher = Publisher(role="gateway", source="gateway", epoch=EPOCH, channel="market", send=frames.append)
    for number in range(TOPICS_PER_HEARTBEAT_MAX + 44):
        publisher.publish(make_tick(**DRAFT, symbol=f"S{number}"))
    publisher.heartbeat(NOW_NS)
    frames.clear()
    ear = Ear()

    for _ in range(4):
        publisher.heartbeat(NOW_NS)
    ear.hear(*frames)

    assert ear.counts == {}


def test_loss_at_a_publisher_with_many_topics_is_noticed_by_a_heartbeat() -> None:
    """Also of a topic that began after all others had been heard of."""
    frames: list[bytes] = []
    publisher = Publisher(role="gateway", source="gateway", epoch=EPOCH, channel="market", send=frames.append)
    for number in range(TOPICS_PER_HEARTBEAT_MAX + 44):
        publisher.publish(make_tick(**DRAFT, symbol=f"S{number}"))
    frames.clear()
    for _ in range(4):
        publisher.heartbeat(NOW_NS)
    ear = Ear()
    ear.hear(*frames)
    publisher.publish(make_tick(**DRAFT, symbol="S7"))
    publisher.publish(make_tick(**DRAFT, symbol="NEW"))
    frames.clear()

    for _ in range(4):
        publisher.heartbeat(NOW_NS)
    ear.hear(*frames)

    assert sorted(ear.gaps) == [("tick.simulated.NEW", Gap(1, 1)), ("tick.simulated.S7", Gap(2, 2))]


def test_forgotten_tail_stays_counted() -> None:
    """Who asks for what was lost in another way says so."""
    ear = Ear()
    ear.hear_numbers(1)
    ear.hear(heartbeat_frame({TOPIC: 2}))

    ear.subscriber.forget_lost_tails()

    assert not ear.subscriber.has_lost_tail
    assert ear.counts["lost"] == 1


# Snapshots.


def test_snapshot_at_the_start_is_all_news_and_what_is_older_is_dropped() -> None:
    """What was sent before the snapshot was taken is in it, though it may arrive after it."""
    ear = Ear()

    news = ear.take_snapshot(10, is_join=True)
    numbers = ear.hear_numbers(9, 10, 11)

    assert [value.seq for value in news] == [10]
    assert numbers == [11]
    assert ear.counts == {"received": 1, "older_than_snapshot": 2}


def test_hole_between_snapshot_and_first_message_is_a_loss() -> None:
    """From the snapshot on every number counts."""
    ear = Ear()
    ear.take_snapshot(10, is_join=True)

    ear.hear_numbers(13)

    assert ear.gaps == [(TOPIC, Gap(11, 12))]


def test_batch_that_straddles_the_snapshot_is_dropped_and_its_rest_counted() -> None:
    """A batch is used whole or not at all; the ticks behind the snapshot are then lost, not forgotten."""
    ear = Ear()
    ear.take_snapshot(10, is_join=True)

    ear.hear(codec.encode(make_ticks(seq=12, count=4)), tick_frame(13))

    assert ear.subscriber.received == 1
    assert ear.subscriber.lost == 2


def test_topic_that_is_in_no_snapshot_begins_with_one() -> None:
    """The snapshot named all topics there were."""
    ear = Ear()
    ear.take_snapshot(10, is_join=True)

    ear.hear_numbers(2, symbol="ETH/USDT")

    assert ear.gaps == [("tick.simulated.ETH/USDT", Gap(1, 1))]


def test_snapshot_after_a_lost_tail_brings_it_up_to_date() -> None:
    """The newest value is news, and the stream goes on behind it."""
    ear = Ear()
    ear.hear_numbers(1)
    ear.hear(heartbeat_frame({TOPIC: 2}))

    news = ear.take_snapshot(2)

    assert [value.seq for value in news] == [2]
    assert not ear.subscriber.has_lost_tail
    assert ear.hear_numbers(3) == [3]


def test_snapshot_brings_nothing_for_topics_that_lost_nothing() -> None:
    """What is between is still on its way; to take it from the snapshot would make it a repeat."""
    ear = Ear()
    ear.hear_numbers(1)

    news = ear.take_snapshot(3)

    assert news == []
    assert ear.hear_numbers(2, 3, 4) == [2, 3, 4]
    assert ear.counts == {"received": 4}


def test_snapshot_older_than_what_we_have_changes_nothing() -> None:
    """It was overtaken by the messages that it is older than."""
    ear = Ear()
    ear.hear_numbers(1, 2, 3)

    news = ear.take_snapshot(2, is_join=True)

    assert news == []
    assert ear.hear_numbers(3, 4) == [4]


def test_snapshot_that_was_taken_before_the_loss_leaves_it_open() -> None:
    """It was asked for another loss and does not hold what was lost meanwhile: ask again."""
    ear = Ear()
    ear.hear_numbers(1)
    ear.hear(heartbeat_frame({TOPIC: 3}))

    news = ear.take_snapshot(2)

    assert news == []
    assert ear.subscriber.has_lost_tail


def test_snapshot_of_a_newer_life_begins_that_life() -> None:
    """The gateway was restarted while we asked."""
    ear = Ear()
    ear.hear_numbers(41)
    ear.hear(heartbeat_frame({TOPIC: 42}))

    news = ear.take_snapshot(2, epoch=EPOCH + 1)

    assert [value.seq for value in news] == [2]
    assert ear.hear_numbers(3, epoch=EPOCH + 1) == [3]
    assert ear.hear_numbers(43) == []


def test_snapshot_value_on_something_that_is_no_topic_is_passed_over() -> None:
    """Whatever a peer writes."""
    ear = Ear("*")

    assert ear.subscriber.take_snapshot("gateway", EPOCH, [LastValue("no topic", EPOCH, 7)], is_join=True) == []


# What may not be used.


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (b"", WireFault.NO_TOPIC),
        (b"no topic\0\x80", WireFault.BAD_TOPIC),
        (f"{TOPIC}\0".encode() + b"\xc1", WireFault.GARBAGE),
        (f"{TOPIC}\0".encode() + b"\x81\xa1x" * 200_000, WireFault.GARBAGE),
        (f"{TOPIC}\0".encode() + b"x" * codec.FRAME_BYTES_MAX, WireFault.OVERSIZED),
        (tick_frame().replace(b"Received.v1", b"Received.v2"), WireFault.UNKNOWN_TYPE),
        (tick_frame(bid=-1.0), WireFault.MISTYPED),
        (tick_frame(bid=float("nan")), WireFault.MISTYPED),
        (tick_frame().replace(b"USDT\0", b"USDX\0"), WireFault.OFF_TOPIC),
        (tick_frame(0), WireFault.MISTYPED),
        (tick_frame(0, epoch=EPOCH + 1), WireFault.MISTYPED),
        (codec.encode(make_ticks(seq=2, count=3)), WireFault.MISTYPED),
        (codec.encode(make_ticks(seq=2, count=3, epoch=EPOCH + 1)), WireFault.MISTYPED),
        (heartbeat_frame().replace(b"sequences", b"sequencex"), WireFault.MISTYPED),
    ],
)
@pytest.mark.parametrize("is_known", [True, False], ids=["known topic", "new topic"])
def test_unusable_frame_is_dropped_counted_and_told(frame: bytes, fault: WireFault, *, is_known: bool) -> None:
    """On a topic that is known, where the fast path reads it, as on a new one. It never ends the process."""
    ear = Ear()
    if is_known:
        ear.hear_numbers(1)

    assert ear.hear(frame) == []

    assert ear.faults == [fault]
    assert ear.subscriber.counts[fault.value] == 1
    assert ear.hear_numbers(2) == [2]


def test_body_of_another_instrument_on_a_known_topic_is_off_topic() -> None:
    """Its number fits, its symbol does not."""
    ear = Ear()
    ear.hear_numbers(1)
    body = tick_frame(2, symbol="ETH/USDT").partition(b"\0")[2]

    assert ear.hear(TOPIC.encode() + b"\0" + body) == []

    assert ear.faults == [WireFault.OFF_TOPIC]
    assert ear.hear_numbers(2) == [2]


def test_message_of_another_kind_on_a_known_topic_is_off_topic() -> None:
    """Though it is well-formed, and its number fits."""
    ear = Ear()
    ear.hear_numbers(1)
    body = heartbeat_frame(seq=2).partition(b"\0")[2]

    assert ear.hear(TOPIC.encode() + b"\0" + body) == []

    assert ear.faults == [WireFault.OFF_TOPIC]


def test_topic_that_the_prefix_lets_through_but_the_pattern_does_not_is_not_handed_over() -> None:
    """ZeroMQ filters by the literal beginning only."""
    ear = Ear("tick.*.BTC/USDT")

    assert ear.hear_numbers(1, symbol="ETH/USDT") == []
    assert ear.counts == {"not_subscribed": 1}


@pytest.mark.parametrize("pattern", ["*", "*.*.*", "heartbeat.*.*"])
def test_heartbeats_are_heard_by_a_pattern_that_covers_them_too(pattern: str) -> None:
    """They are never handed over, and always compared."""
    ear = Ear(pattern, "tick.*.*")
    ear.hear_numbers(1)

    messages = ear.hear(heartbeat_frame({TOPIC: 1}), heartbeat_frame({TOPIC: 2}, seq=2))

    assert messages == []
    assert ear.subscriber.heartbeats == 2
    assert ear.gaps == [(TOPIC, Gap(2, 2))]


def test_heartbeat_about_something_that_is_no_topic_is_passed_over() -> None:
    """Whatever a peer writes into it."""
    ear = Ear("*")

    ear.hear(heartbeat_frame({"": 1, "no topic": 2, "a.b": 3, TOPIC: 4}))

    assert ear.hear_numbers(5) == [5]
    assert ear.counts == {"received": 1}


def test_prefixes_are_those_of_the_patterns_and_heartbeats_come_last() -> None:
    """Subscriptions become active in their order, so the first heartbeat proves all of them."""
    subscriber = Subscriber(["tick.*.*", "trade.simulated.BTC/USDT"])

    assert subscriber.prefixes() == [b"tick.", b"trade.simulated.BTC/USDT\0", b"heartbeat."]


def test_subscriber_needs_nobody_to_tell() -> None:
    """Counting is enough for some."""
    subscriber = Subscriber(["tick.*.*"])

    subscriber.accept(tick_frame(1))
    subscriber.accept(tick_frame(3))
    subscriber.accept(b"rubbish")

    assert subscriber.counters() == {"received": 2, "lost": 1, "gaps": 1, "frame_without_topic": 1}


def test_fault_is_told_with_its_reason() -> None:
    """For the log."""
    errors: list[WireError] = []

    Subscriber(["tick.*.*"], on_fault=errors.append).accept(tick_frame(bid=-1.0))

    assert str(errors[0]) == "Market.Tick.Received.v1: Expected `float` >= 0.0 - at `$.bid`"


def test_message_and_heartbeat_builders_agree() -> None:
    """The tests above rest on it."""
    assert make_heartbeat({TOPIC: 1}).source == make_tick().source
    assert isinstance(make_tick(), Tick)
    assert make_tick().topic() == TOPIC


# How far each topic was taken.


def test_positions_name_the_last_message_of_each_topic() -> None:
    """A batch counts with its last tick; a new life of the publisher begins anew."""
    ear = Ear()
    ear.hear_numbers(1, 2)
    ear.hear_numbers(1, symbol="ETH/USDT")
    ear.hear(codec.encode(make_ticks(5)))
    before = ear.subscriber.positions()
    ear.hear_numbers(1, epoch=EPOCH + 1)

    assert before == {TOPIC: ("gateway", EPOCH, 5), "tick.simulated.ETH/USDT": ("gateway", EPOCH, 1)}
    assert ear.subscriber.positions()[TOPIC] == ("gateway", EPOCH + 1, 1)


def test_position_is_not_known_where_the_last_messages_were_lost() -> None:
    """Nobody has taken them: the snapshot that brings them must not look like a repeat after a restart."""
    ear = Ear()
    ear.hear_numbers(1, 2)

    ear.hear(heartbeat_frame({TOPIC: 4}))
    while_lost = ear.subscriber.positions()
    ear.take_snapshot(4)

    assert (while_lost, ear.subscriber.positions()) == ({}, {TOPIC: ("gateway", EPOCH, 4)})
