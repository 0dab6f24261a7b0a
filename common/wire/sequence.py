"""Numbers in a stream: what is missing, what came twice, and when the publisher began a new life."""

import enum
from typing import NamedTuple

from common.errors import TickpulseError


class DuplicateSequenceError(TickpulseError):
    """A number was seen before: the publisher or a relay is at fault, not the network."""


class Gap(NamedTuple):
    """Numbers that never arrived, both ends included."""

    first_seq: int
    last_seq: int

    @property
    def missing_count(self) -> int:
        """How many are missing."""
        return self.last_seq - self.first_seq + 1


def find_gap(last_seq: int, received_seq: int) -> Gap | None:
    """Tell whether messages are missing between two sequence numbers of one topic and epoch.

    Args:
        last_seq: Sequence of the previous message; 0 before the first.
        received_seq: Sequence of the message in hand; for a batch, that of its first tick.

    Returns:
        The hole, or None when the message follows directly.

    Raises:
        DuplicateSequenceError: The number was seen before.

    Source:
        The numbered updates of the ZeroMQ Guide's Clone pattern, chapter 5.
    """
    if received_seq <= last_seq:
        raise DuplicateSequenceError(f"expected a sequence above {last_seq}, was {received_seq}")
    if received_seq == last_seq + 1:
        return None
    return Gap(last_seq + 1, received_seq - 1)


class Arrival(enum.Enum):
    """How a message stands to what came before it on its topic."""

    FIRST = enum.auto()  # nothing is known of the topic yet: a baseline
    IN_ORDER = enum.auto()
    AFTER_GAP = enum.auto()
    DUPLICATE = enum.auto()
    NEW_EPOCH = enum.auto()  # the publisher was restarted
    OLD_EPOCH = enum.auto()  # from a life that has ended


class Stream:
    """Where a subscriber stands in one topic of one publisher."""

    __slots__ = ("epoch", "last_seq", "source")

    def __init__(self, source: str = "", epoch: int = 0, last_seq: int = 0) -> None:
        self.source = source
        self.epoch = epoch
        self.last_seq = last_seq

    def place(self, epoch: int, first_seq: int, last_seq: int) -> tuple[Arrival, Gap | None]:
        """Find a message's place and move on to it, unless it was there before.

        Args:
            epoch: The publisher's life that the message belongs to.
            first_seq: Its first number.
            last_seq: Its last number; equal to the first unless it is a batch.
        """
        if epoch != self.epoch:
            return self._change_epoch(epoch, first_seq, last_seq)
        try:
            gap = find_gap(self.last_seq, first_seq)
        except DuplicateSequenceError:
            return Arrival.DUPLICATE, None
        self.last_seq = last_seq
        return (Arrival.IN_ORDER, None) if gap is None else (Arrival.AFTER_GAP, gap)

    def _change_epoch(self, epoch: int, first_seq: int, last_seq: int) -> tuple[Arrival, Gap | None]:
        if epoch < self.epoch:
            return Arrival.OLD_EPOCH, None
        is_first = self.epoch == 0
        self.epoch, self.last_seq = epoch, last_seq
        if is_first:
            return Arrival.FIRST, None
        return Arrival.NEW_EPOCH, find_gap(0, first_seq)
