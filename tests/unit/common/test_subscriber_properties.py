"""Whatever the network does to a numbered stream: nothing twice, nothing backwards, and every number accounted for."""

from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.message_builders import EPOCH, TOPIC, heartbeat_frame, make_ticks, tick_frame
from support.message_samples import sample_message

from common.events.market import LastValue, Ticks
from common.events.registry import MESSAGE_TYPES
from common.wire import codec
from common.wire.sequence import Gap
from common.wire.subscriber import Subscriber

MESSAGES_MAX = 12

# What was sent: the number of ticks in each message; more than one makes a batch.
sizes = st.lists(st.integers(1, 4), min_size=1, max_size=MESSAGES_MAX)
# What arrives: messages by their place, in any order, any of them never or several times; and heartbeats, which are
# negative: -n is the heartbeat that was sent when n messages had been.
arrivals = st.lists(st.integers(-MESSAGES_MAX, MESSAGES_MAX - 1), max_size=40)


@dataclass
class Run:
    """A subscriber, and what it handed over and reported."""

    numbers: list[int] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.subscriber = Subscriber(["tick.*.*"], on_gap=lambda _, gap: self.gaps.append(gap))

    def hear(self, frame: bytes) -> None:
        """Take a frame, and note the numbers that it brought."""
        message = self.subscriber.accept(frame)
        if message is not None:
            count = message.count if isinstance(message, Ticks) else 1
            self.numbers.extend(range(message.seq - count + 1, message.seq + 1))

    @property
    def missing(self) -> list[int]:
        """The numbers that were reported as lost."""
        return [number for gap in self.gaps for number in range(gap.first_seq, gap.last_seq + 1)]

    def assert_accounted(self, first_number: int) -> None:
        """Each number from the first on is either received or lost, and never both."""
        assert self.numbers == sorted(set(self.numbers))
        accounted = sorted([*self.numbers, *self.missing])
        assert accounted == list(range(first_number, first_number + len(accounted)))
        assert (self.subscriber.received, self.subscriber.lost) == (len(self.numbers), len(self.missing))


def last_numbers(sizes: list[int]) -> list[int]:
    """The last number of each message."""
    return [sum(sizes[: index + 1]) for index in range(len(sizes))]


def frame_of(sizes: list[int], index: int) -> bytes:
    """The message at this place."""
    last = last_numbers(sizes)[index]
    return tick_frame(last) if sizes[index] == 1 else codec.encode(make_ticks(seq=last, count=sizes[index]))


def heartbeat_after(sizes: list[int], count: int) -> bytes:
    """The heartbeat that was sent when so many messages had been."""
    last = sum(sizes[:count])
    return heartbeat_frame({TOPIC: last} if last else {})


@settings(max_examples=300)
@given(sizes, arrivals)
@example([1, 3, 1], [0, 2, 1])
@example([1, 1, 1], [-2, 0, 1, 2])
def test_every_number_from_the_first_on_is_received_or_lost_exactly_once(sizes: list[int], arrivals: list[int]) -> None:
    """For any loss, repetition and order of messages and heartbeats."""
    run = Run()
    first_number = None

    for arrival in arrivals:
        index = arrival % len(sizes)
        if arrival < 0:
            run.hear(heartbeat_after(sizes, -arrival))
            # Before the first message a heartbeat tells what is past.
            first_number = first_number or sum(sizes[:-arrival]) + 1
        else:
            run.hear(frame_of(sizes, index))
            first_number = first_number or last_numbers(sizes)[index] - sizes[index] + 1

    run.assert_accounted(first_number or 1)


@settings(max_examples=100)
@given(sizes, arrivals, st.integers(0, MESSAGES_MAX))
def test_after_joining_by_snapshot_every_number_behind_it_is_received_or_lost(
    sizes: list[int], arrivals: list[int], snapshot_index: int
) -> None:
    """Messages that the snapshot holds already are never handed over, however late they come."""
    run = Run()
    snapshot_seq = sum(sizes[:snapshot_index])
    values = [LastValue(TOPIC, EPOCH, snapshot_seq)] if snapshot_seq else []

    run.subscriber.take_snapshot("gateway", EPOCH, values, is_join=True)
    for arrival in arrivals:
        run.hear(heartbeat_after(sizes, -arrival) if arrival < 0 else frame_of(sizes, arrival % len(sizes)))

    run.assert_accounted(snapshot_seq + 1)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 6), st.booleans()), max_size=30))
def test_lives_follow_each_other_and_never_come_back(arrivals: list[tuple[int, int, bool]]) -> None:
    """Over restarts, with messages and heartbeats of every life in any order: epoch and number never go back."""
    subscriber = Subscriber(["tick.*.*"])
    places = []

    for life, seq, is_heartbeat in arrivals:
        epoch = EPOCH + life
        frame = heartbeat_frame({TOPIC: seq}, epoch=epoch) if is_heartbeat else tick_frame(seq, epoch=epoch)
        message = subscriber.accept(frame)
        if message is not None:
            places.append((message.epoch, message.seq))

    assert places == sorted(set(places))
    assert subscriber.received == len(places)
    lives = {EPOCH + life for life, _, _ in arrivals}
    assert subscriber.counts["epoch_changes"] <= max(len(lives) - 1, 0)


@settings(max_examples=100)
@given(sizes, st.data())
def test_stream_without_loss_is_handed_over_whole(sizes: list[int], data: st.DataObject) -> None:
    """Heartbeats at any moment and repeats of what was sent change nothing."""
    run = Run()

    run.hear(heartbeat_after(sizes, 0))
    for index in range(len(sizes)):
        run.hear(frame_of(sizes, index))
        for _ in range(data.draw(st.integers(0, 2))):
            run.hear(heartbeat_after(sizes, data.draw(st.integers(0, index + 1))))
            run.hear(frame_of(sizes, data.draw(st.integers(0, index))))

    assert run.numbers == list(range(1, sum(sizes) + 1))
    assert run.gaps == []
    assert not run.subscriber.has_lost_tail


FRAMES = [codec.encode(sample_message(message_type)) for message_type in MESSAGE_TYPES]


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(FRAMES), st.integers(0, 400), st.binary(max_size=6)), min_size=1, max_size=5))
def test_no_frame_that_a_peer_can_send_ends_a_subscriber(damages: list[tuple[bytes, int, bytes]]) -> None:
    """Every message type, whole and damaged anywhere, on topics that are known by then and on new ones."""
    subscriber = Subscriber(["*"])

    for frame, start, patch in damages:
        subscriber.accept(frame)
        subscriber.accept(frame[:start] + patch + frame[start + len(patch) :])

    subscriber.accept(tick_frame(1, symbol="GOOD"))
    assert subscriber.received >= 1
