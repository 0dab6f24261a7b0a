"""Hands out what is due of a range of the log: reads ahead, keeps the pace, seeks by reading anew.

Generic over what is played, because a gateway plays updates that it makes of messages. It neither sleeps nor reads a
clock: who calls it does both. Memory is that of the events read ahead, however long the range.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice
from operator import attrgetter, lt
from typing import Generic, TypeVar

import msgspec

from common.errors import InvalidValueError, TickpulseError
from common.events.base import Message
from common.store.contract import Store
from common.store.replay.pacer import Pacer
from common.store.replay.transforms import Transform, transformed
from common.store.selection import TIME_NS_MIN, Selection

T = TypeVar("T")
READ_AHEAD = 1_000


class Player(Generic[T]):
    """Plays what `read` gives for a selection, in its order, each when it is due."""

    def __init__(
        self,
        read: Callable[[Selection], Iterator[T]],
        time_of: Callable[[T], int],
        selection: Selection,
        pacer: Pacer,
    ) -> None:
        """Prepare; nothing is read before `start`.

        Args:
            read: Gives what is selected.
            time_of: When one of them happened, ns UTC. The player counts what is older than one before it.
            selection: What is played; a seek stays inside its range.
            pacer: Says when.
        """
        self.pacer = pacer
        self.selection = selection
        self.count = 0
        self.clock_went_back = 0
        self.seeks = 0
        # Why the reading ended before the end of the range; what came before it is handed out first.
        self.error: Exception | None = None
        self._read = read
        self._time_of = time_of
        self._source: Iterator[T] = iter(())
        self._is_read_out = False
        self._newest_ns = TIME_NS_MIN
        self._ahead: list[T] = []
        self._next = 0
        self._times: list[int] = []
        # When each is due, by the log: not before the one in front of it.
        self._due_times: list[int] = []

    @property
    def is_ended(self) -> bool:
        """Tell whether everything was handed out, or nothing was started."""
        return self._next == len(self._ahead)

    def start(self, clock_ns: int) -> None:
        """Play from the beginning: the first event is due now."""
        self.count = self.clock_went_back = 0
        self._open(self.selection, clock_ns)

    def seek(self, log_ns: int, clock_ns: int) -> None:
        """Go to the first event of this time or later, forward or back; it is due now.

        Raises:
            InvalidValueError: The time is outside the range that is played.
        """
        selection = self.selection
        if not selection.from_ns <= log_ns < selection.to_ns:
            raise InvalidValueError(
                f"seek: expected a time in the range that is played, {selection.from_ns} to {selection.to_ns} ns, "
                f"was {log_ns}"
            )
        self.seeks += 1
        self._open(msgspec.structs.replace(selection, from_ns=log_ns), clock_ns)

    def take(self, clock_ns: int, count_max: int) -> Sequence[T]:
        """What is due by now, in order, at most `count_max`."""
        taken: Sequence[T] = ()
        while count := self._count_due(clock_ns, count_max - len(taken)):
            end = self._next + count
            part = self._ahead[self._next : end]
            taken = [*taken, *part] if taken else part
            if self._times is not self._due_times:
                part_times, due_times = self._times[self._next : end], self._due_times[self._next : end]
                self.clock_went_back += sum(map(lt, part_times, due_times))
            self.pacer.hand_out(self._due_times[end - 1], count)
            self._next = end
            if end == len(self._ahead):
                self._read_ahead()
            self._tell_next()
        self.count += len(taken)
        return taken

    def read_on(self) -> None:
        """Read ahead now, while there is time, and not when the last one that was read is handed out."""
        if not self._is_read_out and len(self._ahead) - self._next < READ_AHEAD:
            self._read_ahead()

    def close(self) -> None:
        """Read no more: it has ended."""
        close = getattr(self._source, "close", None)
        if close is not None:
            close()  # a generator that reads files
        self._source = iter(())
        self._forget()
        self._tell_next()

    def _open(self, selection: Selection, clock_ns: int) -> None:
        self.close()
        self.error = None
        self._newest_ns = TIME_NS_MIN
        self._source = self._read(selection)
        self._read_ahead()
        self.pacer.start(selection.from_ns if self.is_ended else self._due_times[0], clock_ns)
        self._tell_next()

    def _count_due(self, clock_ns: int, count_max: int) -> int:
        left = min(count_max, len(self._ahead) - self._next)
        if left <= 0:
            return 0
        if self.pacer.is_paused:
            return min(self.pacer.steps, left)
        due_until_ns = self.pacer.due_until_ns(clock_ns)
        return bisect_right(self._due_times, due_until_ns, self._next, self._next + left) - self._next

    def _read_ahead(self) -> None:
        """Put what comes next in the place of what was handed out; nothing is left only at the end."""
        read: list[T] = []
        try:
            read.extend(islice(self._source, READ_AHEAD))  # keeps what came before an error
        except (TickpulseError, OSError) as error:
            self.error = error
        self._is_read_out = len(read) < READ_AHEAD
        times = due_times = list(map(self._time_of, read))
        if times and (times[0] < self._newest_ns or sorted(times) != times):
            due_times = list(accumulate(times, max, initial=self._newest_ns))[1:]
        if due_times:
            self._newest_ns = due_times[-1]
        if self._next < len(self._ahead):
            is_in_order = times is due_times and self._times is self._due_times
            read = self._ahead[self._next :] + read
            due_times = self._due_times[self._next :] + due_times
            times = due_times if is_in_order else self._times[self._next :] + times
        self._ahead, self._next = read, 0
        self._times, self._due_times = times, due_times

    def _tell_next(self) -> None:
        self.pacer.wait_for(None if self.is_ended else self._due_times[self._next])

    def _forget(self) -> None:
        self._ahead, self._next = [], 0
        self._times = self._due_times = []


def play_messages(
    store: Store, selection: Selection, pacer: Pacer, transforms: Sequence[Transform] = ()
) -> Player[Message]:
    """Play the messages of a store, changed on their way by each transform in turn."""

    def read(part: Selection) -> Iterator[Message]:
        records = store.read(part)
        return transformed(records, transforms) if transforms else map(attrgetter("message"), records)

    return Player(read, attrgetter("timestamp_ns"), selection, pacer)
