"""What every format of the event log promises. tests/contracts/test_store_contract.py holds each of them to it."""

import abc
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

import msgspec

from common.errors import ConfigError, FatalError, InvalidValueError, TickpulseError
from common.events.base import Message
from common.store.record import Record, why_refused
from common.store.retention import Policy, Pruning
from common.store.selection import EVERYTHING, TIME_NS_MAX, TIME_NS_MIN, Selection


class StoreConfigError(ConfigError):
    """There is no store of this kind here, it is of a newer version, or it may not be read or written."""


class StoreFullError(TickpulseError):
    """The disk takes no more. Nothing of the batch counts as recorded; try again when there is room."""


class StoreDamagedError(FatalError):
    """A part of the log is not what was written. `tickpulse store verify` names it; what lies around it is readable."""


class CannotVerifyError(TickpulseError):
    """Whether the log is whole cannot be told: a folder is unreadable, an anchor's key is missing."""


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a store. Times are the messages' own, ns UTC, None where there are no records."""

    format: str
    records: int
    first_id: int
    last_id: int
    first_ns: int | None
    last_ns: int | None
    size_bytes: int
    # Records of each type, by name. A group of ticks is one record.
    types: dict[str, int]


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """One place where the log is not what was written: `place` is a file with line or row, `what` says what is wrong.

    `first_id` and `last_id` are the records that it may concern, where that is known.
    """

    place: str
    what: str
    first_id: int | None = None
    last_id: int | None = None


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a check of the whole log found, in the order of the log; the first damage is the first bad place.

    `notes` are no damage: records that retention removed, a clock that went back, a tail that a crash cut.
    """

    records: int
    last_id: int
    damages: list[Damage] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Tell whether everything is as it was written."""
        return not self.damages


class Store(abc.ABC):
    """An event log. One process writes at a time; any number read, also meanwhile.

    What `append_batch` has returned for is safe against the death of the process; what `flush` has returned for is safe
    against the loss of power as well. Reading meets only whole records, each once.
    """

    format: str

    @property
    @abc.abstractmethod
    def last_id(self) -> int:
        """Id of the newest record; 0 while there is none."""

    @abc.abstractmethod
    def _write(self, first_id: int, recorded_ns: int, messages: Sequence[Message]) -> None:
        """Write messages of one time under consecutive ids; all of them, or raise."""

    def _write_records(self, records: Sequence[Record]) -> None:
        """Write records whose ids rise, each with its own time.

        By itself one write for each run of consecutive ids and one time, which for imported messages is one for each.
        A format that can put them into fewer writes says how.
        """
        for run in _runs(records):
            self._write(run[0].id, run[0].recorded_ns, [record.message for record in run])

    def append(self, message: Message, recorded_ns: int | None = None) -> int:
        """Record one message and return its id; batches cost a fraction of it."""
        return self.append_batch([message], recorded_ns)

    def append_batch(self, messages: Sequence[Message], recorded_ns: int | None = None) -> int:
        """Record messages in this order and return the last one's id.

        Args:
            messages: What was received; may be empty.
            recorded_ns: When, ns UTC. None for messages that are imported: each then has its own `timestamp_ns`.

        Raises:
            InvalidValueError: One of them is refused by every store, as `why_refused` says. Nothing was recorded.
            StoreFullError: The disk is full. Nothing was recorded.
            StoreConfigError: It was opened for reading.
        """
        if not messages:
            return self.last_id
        _check(messages)
        first_id = self.last_id + 1
        if recorded_ns is not None:
            self._write(first_id, recorded_ns, messages)
        else:
            self._write_records(
                [
                    Record(record_id, message.timestamp_ns, message)
                    for record_id, message in enumerate(messages, first_id)
                ]
            )
        return self.last_id

    def append_records(self, records: Sequence[Record]) -> int:
        """Record what another store has, under the same ids and times; return the last id.

        Raises:
            ValueError: The ids do not rise, or begin at or below `last_id`; or as of `append_batch`.
            StoreFullError: As of `append_batch`; a part from the beginning may be recorded, up to `last_id`.
        """
        last_id = self.last_id
        for record in records:
            if record.id <= last_id:
                raise ValueError(f"records: expected an id above {last_id}, was {record.id}")
            last_id = record.id
        _check([record.message for record in records])
        if records:
            self._write_records(records)
        return self.last_id

    @abc.abstractmethod
    def read(self, selection: Selection = EVERYTHING) -> Iterator[Record]:
        """The selected records in the order of their `timestamp_ns`, those of one time by id; memory stays flat.

        Raises:
            StoreDamagedError: A part that it would have to read is damaged. What came before it was given.
        """

    @abc.abstractmethod
    def get_events(self, from_id: int = 1) -> Iterator[Record]:
        """Records from this id on, in the order in which they were recorded.

        Raises:
            StoreDamagedError: As of `read`.
        """

    @abc.abstractmethod
    def tail(self, count: int) -> list[Record]:
        """The newest records, oldest first."""

    @abc.abstractmethod
    def flush(self) -> None:
        """Make everything that was appended safe against the loss of power."""

    @abc.abstractmethod
    def verify(self) -> Verification:
        """Read all of it and compare it with its chain and anchors.

        Raises:
            CannotVerifyError: It cannot be told.
        """

    @abc.abstractmethod
    def stats(self) -> Stats:
        """What is in it."""

    def repair(self, now_ns: int) -> list[str]:
        """Take damaged parts out of the log, keep them in quarantine, record the holes; what was done, in words.

        Raises:
            StoreConfigError: It was opened for reading, or this format cannot.
        """
        raise StoreConfigError(f"store: the format {self.format} cannot be repaired")

    def prune(self, policy: Policy, now_ns: int, *, is_dry_run: bool = False) -> Pruning:
        """Remove what a retention policy lets go, and record that in the log itself.

        Raises:
            StoreConfigError: It was opened for reading and this is no dry run, or this format cannot.
        """
        raise StoreConfigError(f"store: the format {self.format} cannot be pruned")

    @abc.abstractmethod
    def close(self) -> None:
        """Flush and give the files back. Safe to repeat."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _check(messages: Iterable[Message]) -> None:
    for number, message in enumerate(messages, 1):
        if not TIME_NS_MIN <= message.timestamp_ns <= TIME_NS_MAX:
            raise InvalidValueError(f"message {number} of the batch: {why_refused(message)}; nothing was recorded")


def _runs(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Cut records where an id is skipped or the time changes."""
    run: list[Record] = []
    for record in records:
        if run and (record.id != run[-1].id + 1 or record.recorded_ns != run[0].recorded_ns):
            yield run
            run = []
        run.append(record)
    if run:
        yield run
