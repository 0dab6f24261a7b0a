"""What the floors send."""

from benchmarks.frames import TOPIC, frame_parts, pack_due, read_due, tick_frame
from common.events.market import Tick
from common.wire import codec


def test_frame_of_the_floor_is_as_long_as_a_real_tick_and_on_its_topic() -> None:
    """A floor of smaller messages would be none."""
    head, tail = frame_parts()

    frame = head + pack_due(1_760_000_000_123_456_789) + tail

    assert len(frame) == len(tick_frame())
    assert frame.startswith(TOPIC)
    assert tick_frame().startswith(TOPIC)
    assert read_due(frame) == 1_760_000_000_123_456_789


def test_real_tick_passes_every_check_of_the_codec() -> None:
    """It is a message of ours, not bytes of some length."""
    assert isinstance(codec.decode(tick_frame()), Tick)
