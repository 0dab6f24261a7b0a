from support.message_builders import EPOCH, NOW_NS, TOPIC, make_tick

from common.events.base import DRAFT, Message
from common.events.system import TOPICS_PER_HEARTBEAT_MAX, ChannelHeartbeat
from common.wire import codec
from common.wire.publisher import Publisher


class Wire:
    """Takes frames, and gives them back as messages."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def take(self) -> list[Message]:
        """What was sent since the last look."""
        messages = [codec.decode(frame) for frame in self.frames]
        self.frames.clear()
        return messages


def make_publisher(wire: Wire) -> Publisher:
    """The gateway's end of the market channel."""
    return Publisher(role="gateway", source="gateway", epoch=EPOCH, channel="market", send=wire.frames.append)


def publish_on(publisher: Publisher, count: int) -> list[str]:
    """Send one tick on each of so many topics."""
    symbols = [f"S{number}" for number in range(count)]
    for symbol in symbols:
        publisher.publish(make_tick(**DRAFT, symbol=symbol))
    return [f"tick.simulated.{symbol}" for symbol in symbols]


def heard_topics(wire: Wire) -> list[str]:
    """The topics of the one heartbeat that was sent."""
    (heartbeat,) = wire.take()
    assert isinstance(heartbeat, ChannelHeartbeat)
    return list(heartbeat.sequences)


def test_draft_is_sent_with_source_epoch_and_number() -> None:
    """A publisher says who, in which life and as which number; the rest is the draft's."""
    wire = Wire()

    make_publisher(wire).publish(make_tick(**DRAFT, bid=7.0))

    assert wire.take() == [make_tick(seq=1, source="gateway", epoch=EPOCH, timestamp_ns=NOW_NS, bid=7.0)]


def test_numbers_rise_by_one_on_each_topic_of_its_own() -> None:
    """A loss on one topic must not look like one on another."""
    wire = Wire()
    publisher = make_publisher(wire)

    for symbol in ("BTC/USDT", "ETH/USDT", "BTC/USDT", "BTC/USDT"):
        publisher.publish(make_tick(**DRAFT, symbol=symbol))

    assert [(message.topic(), message.seq) for message in wire.take()] == [
        (TOPIC, 1),
        ("tick.simulated.ETH/USDT", 1),
        (TOPIC, 2),
        (TOPIC, 3),
    ]


def test_batch_takes_as_many_numbers_as_it_has_ticks() -> None:
    """Single ticks and batches share one numbering."""
    wire = Wire()
    publisher = make_publisher(wire)
    writer = publisher.writer(TOPIC)

    writer.write(make_tick(seq=50), count=50)
    publisher.publish(make_tick(**DRAFT))

    assert [message.seq for message in wire.take()] == [50, 51]


def test_topic_has_one_writer() -> None:
    """Two would give the same number twice."""
    publisher = make_publisher(Wire())

    assert publisher.writer(TOPIC) is publisher.writer(TOPIC)


def test_heartbeat_tells_the_last_number_of_every_topic() -> None:
    """Topics that were prepared but never written to are not mentioned."""
    wire = Wire()
    publisher = make_publisher(wire)
    publisher.writer("tick.simulated.SILENT")
    publisher.publish(make_tick(**DRAFT))
    publisher.publish(make_tick(**DRAFT))
    wire.frames.clear()

    publisher.heartbeat(NOW_NS)

    (heartbeat,) = wire.take()
    assert isinstance(heartbeat, ChannelHeartbeat)
    assert heartbeat.sequences == {TOPIC: 2} == publisher.last_sequences()
    assert (heartbeat.topic(), heartbeat.timestamp_ns) == ("heartbeat.gateway.market", NOW_NS)


def test_heartbeats_are_numbered_and_do_not_mention_themselves() -> None:
    """They are a topic like any other, but not one whose last message could be missed for long."""
    wire = Wire()
    publisher = make_publisher(wire)

    publisher.heartbeat(NOW_NS)
    publisher.heartbeat(NOW_NS + 1)

    heartbeats = wire.take()
    assert [heartbeat.seq for heartbeat in heartbeats] == [1, 2]
    assert all(isinstance(heartbeat, ChannelHeartbeat) and not heartbeat.sequences for heartbeat in heartbeats)


def test_more_topics_than_a_heartbeat_holds_take_turns() -> None:
    """Every topic is heard of within as many heartbeats as it takes, again and again."""
    wire = Wire()
    publisher = make_publisher(wire)
    topics = publish_on(publisher, 2 * TOPICS_PER_HEARTBEAT_MAX + 10)
    wire.frames.clear()

    rounds = []
    for _ in range(6):
        publisher.heartbeat(NOW_NS)
        rounds.append(heard_topics(wire))

    assert {topic for heard in rounds[:3] for topic in heard} == set(topics)
    assert {topic for heard in rounds[3:] for topic in heard} == set(topics)


def test_heartbeat_with_room_left_names_all_topics() -> None:
    """So a receiver may conclude that a topic which it does not name has no message yet."""
    wire = Wire()
    publisher = make_publisher(wire)
    topics = publish_on(publisher, TOPICS_PER_HEARTBEAT_MAX + 44)
    wire.frames.clear()

    heard = []
    for _ in range(5):
        publisher.heartbeat(NOW_NS)
        heard.append(heard_topics(wire))

    assert all(len(names) == TOPICS_PER_HEARTBEAT_MAX or set(names) == set(topics) for names in heard)


def test_exactly_as_many_topics_as_a_heartbeat_holds_are_all_in_each() -> None:
    """No turn is taken for nothing."""
    wire = Wire()
    publisher = make_publisher(wire)
    topics = publish_on(publisher, TOPICS_PER_HEARTBEAT_MAX)
    wire.frames.clear()

    for _ in range(3):
        publisher.heartbeat(NOW_NS)
        assert set(heard_topics(wire)) == set(topics)
