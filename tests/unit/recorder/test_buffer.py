from support.message_builders import EPOCH, NOW_NS
from support.recorder_builders import TOPIC, make_intake, ticks

from recorder.buffer import TOGETHER_NS, Batch, Buffer, Dropped

FRAME_BYTES = len(ticks(1)[0]) + 48
KEY = ("market", TOPIC.encode(), "gateway", EPOCH)


def make_buffer(frames_max: int) -> Buffer:
    """Room for so many ticks."""
    return Buffer(FRAME_BYTES * frames_max, make_intake().locate)


def test_batches_leave_in_the_order_in_which_they_came() -> None:
    """With the very bytes of the wire."""
    buffer = make_buffer(10)

    buffer.add(NOW_NS, [("market", ticks(1, 2)), ("events", ticks(7))], "BUFFER_FULL")
    buffer.add(NOW_NS + TOGETHER_NS, [("market", ticks(3))], "BUFFER_FULL")

    first, second = buffer.take(), buffer.take()
    assert isinstance(first, Batch)
    assert isinstance(second, Batch)
    assert first.groups == [("market", ticks(1, 2)), ("events", ticks(7))]
    assert (second.recorded_ns, second.groups) == (NOW_NS + TOGETHER_NS, [("market", ticks(3))])
    assert (buffer.take(), buffer.size_bytes, buffer.size_bytes_highest) == (None, 0, 4 * FRAME_BYTES)


def test_what_comes_together_while_something_waits_is_written_together() -> None:
    """However many turns it came in, so that a writer that is behind catches up."""
    buffer = make_buffer(100)
    for number in range(1, 11):
        buffer.add(NOW_NS + number * TOGETHER_NS // 4, [("market", ticks(number))], "BUFFER_FULL")

    taken = []
    while isinstance(item := buffer.take(), Batch):
        taken.append([frame for _, frames in item.groups for frame in frames])

    assert [len(frames) for frames in taken] == [4, 4, 2]
    assert [frame for frames in taken for frame in frames] == ticks(*range(1, 11))
    assert buffer.size_bytes == 0


def test_what_finds_no_room_is_dropped_with_its_exact_numbers_in_its_place() -> None:
    """The newest, so that what was taken before stays whole."""
    buffer = make_buffer(3)

    buffer.add(NOW_NS, [("market", ticks(1, 2))], "BUFFER_FULL")
    buffer.add(NOW_NS + 1, [("market", ticks(3, 4))], "DISK_FULL")
    buffer.add(NOW_NS + 2, [("market", ticks(5))], "BUFFER_FULL")

    assert isinstance(buffer.take(), Batch)
    assert buffer.take() == Dropped(NOW_NS + 1, {KEY: (3, 5, "DISK_FULL")})
    assert buffer.frames_dropped == 3


def test_dropping_ends_when_half_of_it_is_written() -> None:
    """Few long gaps instead of many short ones."""
    buffer = make_buffer(4)
    for number in range(1, 6):
        buffer.add(NOW_NS + number * TOGETHER_NS, [("market", ticks(number))], "BUFFER_FULL")

    buffer.take()
    buffer.add(NOW_NS + 6 * TOGETHER_NS, [("market", ticks(6))], "BUFFER_FULL")
    buffer.take()
    buffer.add(NOW_NS + 7 * TOGETHER_NS, [("market", ticks(7))], "BUFFER_FULL")

    items = [buffer.take() for _ in range(4)]
    assert items[2] == Dropped(NOW_NS + 5 * TOGETHER_NS, {KEY: (5, 6, "BUFFER_FULL")})
    assert isinstance(items[3], Batch)
    assert items[3].groups == [("market", ticks(7))]


def test_batch_that_is_larger_than_the_buffer_is_dropped_alone() -> None:
    """What comes after it finds room."""
    buffer = make_buffer(2)

    buffer.add(NOW_NS, [("market", ticks(1, 2, 3))], "BUFFER_FULL")
    assert buffer.take() == Dropped(NOW_NS, {KEY: (1, 3, "BUFFER_FULL")})
    buffer.add(NOW_NS, [("market", ticks(4))], "BUFFER_FULL")

    assert isinstance(buffer.take(), Batch)


def test_garbage_that_is_dropped_has_no_numbers() -> None:
    """It is counted as unusable, as if it had been read."""
    intake = make_intake()
    buffer = Buffer(1, intake.locate)

    buffer.add(NOW_NS, [("market", [b"\xc1garbage"])], "BUFFER_FULL")

    assert buffer.take() == Dropped(NOW_NS, {})
    assert (buffer.frames_dropped, intake.counts["unusable"]) == (1, 1)
