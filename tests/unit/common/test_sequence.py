import pytest

from common.wire.sequence import Arrival, DuplicateSequenceError, Gap, Stream, find_gap


@pytest.mark.parametrize(
    ("last_seq", "received_seq", "gap"),
    [(0, 1, None), (41, 42, None), (0, 2, Gap(1, 1)), (40, 44, Gap(41, 43))],
)
def test_gap_is_what_lies_between_the_last_number_and_the_next(
    last_seq: int, received_seq: int, gap: Gap | None
) -> None:
    """Both ends of a gap are missing."""
    assert find_gap(last_seq, received_seq) == gap


def test_gap_tells_how_many_are_missing() -> None:
    """One number is a gap of one."""
    assert (Gap(41, 43).missing_count, Gap(7, 7).missing_count) == (3, 1)


@pytest.mark.parametrize("received_seq", [42, 41, 0, -1])
def test_number_that_was_seen_is_a_duplicate(received_seq: int) -> None:
    """The publisher or a relay is at fault, not the network."""
    with pytest.raises(DuplicateSequenceError, match=f"expected a sequence above 42, was {received_seq}"):
        find_gap(42, received_seq)


def test_first_message_is_a_baseline() -> None:
    """What was sent before we listened is past, not lost."""
    assert Stream().place(5, 41, 41) == (Arrival.FIRST, None)


def test_following_message_is_in_order() -> None:
    """Also a batch, which takes several numbers."""
    stream = Stream("gateway", 5, 41)

    assert stream.place(5, 42, 42) == (Arrival.IN_ORDER, None)
    assert stream.place(5, 43, 52) == (Arrival.IN_ORDER, None)
    assert stream.last_seq == 52


def test_message_behind_a_hole_tells_the_hole() -> None:
    """Once: the next one follows directly."""
    stream = Stream("gateway", 5, 41)

    assert stream.place(5, 45, 46) == (Arrival.AFTER_GAP, Gap(42, 44))
    assert stream.place(5, 47, 47) == (Arrival.IN_ORDER, None)


def test_repeat_moves_nothing() -> None:
    """An older number never takes a stream back."""
    stream = Stream("gateway", 5, 41)

    assert stream.place(5, 41, 41) == (Arrival.DUPLICATE, None)
    assert stream.place(5, 40, 43) == (Arrival.DUPLICATE, None)
    assert stream.last_seq == 41


def test_new_epoch_begins_with_number_one() -> None:
    """What is missing before it was lost while the publisher was restarted."""
    stream = Stream("gateway", 5, 41)

    assert stream.place(6, 1, 1) == (Arrival.NEW_EPOCH, None)
    assert stream.place(7, 4, 4) == (Arrival.NEW_EPOCH, Gap(1, 3))
    assert (stream.epoch, stream.last_seq) == (7, 4)


def test_message_of_an_ended_life_is_told_apart() -> None:
    """It must not look like a repeat, nor take the stream back."""
    stream = Stream("gateway", 5, 41)

    assert stream.place(4, 99, 99) == (Arrival.OLD_EPOCH, None)
    assert (stream.epoch, stream.last_seq) == (5, 41)
