from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.file_store import FileStore
from support.message_builders import EPOCH, NOW_NS, make_tick, make_ticks
from support.message_samples import sample_message
from support.recorder_builders import TOPIC, make_intake, ticks

from common.clock import NS_PER_S
from common.errors import FatalError
from common.events.base import DRAFT, Message
from common.events.system import GapFound
from common.events.trading import OrderFilled
from common.history import Position, Recorded
from common.log import get_log
from common.store.contract import StoreFullError
from common.store.memory import MemoryStore
from recorder.backfill import Backfill
from recorder.follower import Follower, HistoryReplacedError
from recorder.standing import Standing, encode_standing, fold, read_standing, records_behind
from recorder.streams import Position as StreamPosition
from recorder.totals import Totals
from recorder.writer import Writer


def make_standing(last_id: int, newest: str) -> Standing:
    """Of a log with nothing but ticks."""
    return Standing(
        last_id=last_id,
        newest=newest,
        positions=[StreamPosition("market", TOPIC, "gateway", EPOCH, last_id)],
        history_seq=3,
        history_ns=NOW_NS,
        unmatched={b"digest": [1, NOW_NS]},
        filled=[b"other"],
        open_gaps=[],
        totals={"log_tick": last_id},
    )


def make_store(count: int) -> MemoryStore:
    """A log of so many ticks."""
    store = MemoryStore()
    store.append_batch([make_tick(seq) for seq in range(1, count + 1)], NOW_NS)
    return store


def make_gap(**changes: Any) -> GapFound:
    """Two ticks that are missing."""
    fields: dict[str, Any] = {"first_seq": 4, "last_seq": 5, "reason": "RECORDER_DOWN", "channel": "market"}
    place: dict[str, Any] = {"stream": TOPIC, "publisher": "gateway", "publisher_epoch": EPOCH}
    return GapFound(**DRAFT, timestamp_ns=1, **{**fields, **place, **changes})


class TestStanding:
    """What was kept, and what the log tells behind it."""

    def test_it_comes_back_as_it_was_kept(self, tmp_path: Path) -> None:
        """A file that is torn or gone is none."""
        path = tmp_path / "standing"
        standing = make_standing(3, "x")

        assert read_standing(path) is None
        path.write_bytes(encode_standing(standing))
        assert read_standing(path) == standing
        path.write_bytes(encode_standing(standing)[:-4])
        assert read_standing(path) is None

    def test_only_records_behind_it_are_read(self) -> None:
        """A start costs what was written since, not the whole log."""
        store = make_store(5)

        standing, records = records_behind(make_standing(3, make_tick(3).event_id()), store)

        assert standing is not None
        assert [record.id for record in records] == [4, 5]

    @pytest.mark.parametrize(("last_id", "newest"), [(3, "another log"), (9, make_tick(9).event_id())])
    def test_one_of_another_log_or_of_a_longer_one_is_not_used(self, last_id: int, newest: str) -> None:
        """The log was replaced, or power loss took its tail: then it alone tells where streams stood."""
        standing, records = records_behind(make_standing(last_id, newest), make_store(5))

        assert standing is None
        assert [record.id for record in records] == [1, 2, 3, 4, 5]

    def test_log_tells_where_streams_stood_with_its_gaps(self) -> None:
        """Behind the last number that is recorded or known to be missing."""
        store = make_store(3)
        store.append_batch([make_gap(), make_gap(stream="tick.x.Y", last_seq=None), make_ticks(9, 2)], NOW_NS)
        intake = make_intake()

        for record in store.get_events():
            fold(record, intake.numbers, Backfill())

        assert intake.numbers.positions() == [StreamPosition("", TOPIC, "gateway", EPOCH, 9)]


BEGINNING = Position()


class Facts:
    """A history of facts a second apart, each with one event."""

    def __init__(self, count: int) -> None:
        self.facts = [
            Recorded(seq=seq, timestamp_ns=NOW_NS + seq * NS_PER_S, kind="answer", body={}, events=[self.event(seq)])
            for seq in range(1, count + 1)
        ]
        self.is_other = self.is_damaged = False
        self.opened = 0

    @staticmethod
    def event(seq: int) -> Message:
        """What tells of that fact."""
        return msgspec.structs.replace(sample_message(OrderFilled), **DRAFT, execution_number=seq)

    def open(self) -> "Facts":
        """As `common.history` opens one."""
        self.opened += 1
        return self

    def last_seq(self) -> int:
        """The newest fact's number."""
        if self.is_damaged:
            raise FatalError("journal: damaged")
        return len(self.facts)

    def has(self, position: Position) -> bool:
        """Tell whether it is this history."""
        return not self.is_other

    def read(self, after_seq: int, count_max: int) -> list[Recorded]:
        """Facts behind a number."""
        return self.facts[after_seq : after_seq + count_max]

    def close(self) -> None:
        """Nothing is open."""


def make_follower(facts: Facts, *, position: Position = BEGINNING, floor_ns: int = 0) -> Follower:
    """One that gives events a second to come."""
    return Follower(facts.open, position, Backfill(), get_log(), grace_ns=NS_PER_S, floor_ns=floor_ns)


class TestFollower:
    """Behind the channels, along the history."""

    def test_fact_is_compared_when_its_events_had_time_to_come(self) -> None:
        """What is still on its way is not missing."""
        follower = make_follower(Facts(3))

        early = follower.look(NOW_NS + 2 * NS_PER_S, NOW_NS)
        later = follower.look(NOW_NS + 4 * NS_PER_S, NOW_NS)

        assert ([each.seq for each in early], [each.seq for each in later]) == ([1], [2, 3])
        assert (follower.seq, follower.behind) == (3, 0)

    def test_it_goes_on_behind_the_fact_that_was_kept(self) -> None:
        """And fills in nothing of before."""
        follower = make_follower(Facts(3), position=Position(2, NOW_NS))

        assert [each.seq for each in follower.look(NOW_NS + 9 * NS_PER_S, NOW_NS)] == [3]

    def test_what_retention_removed_is_not_filled_in_again(self) -> None:
        """Facts that are older than the first record of a log that was cut in front."""
        follower = make_follower(Facts(3), floor_ns=NOW_NS + 3 * NS_PER_S)

        assert [each.seq for each in follower.look(NOW_NS + 9 * NS_PER_S, NOW_NS)] == [3]

    def test_another_history_under_the_same_name_is_refused(self) -> None:
        """Its numbers mean other facts."""
        facts = Facts(3)
        facts.is_other = True

        with pytest.raises(HistoryReplacedError, match="another past"):
            make_follower(facts, position=Position(2, NOW_NS)).look(NOW_NS, NOW_NS)

    def test_damaged_history_stops_nobody_and_is_tried_again(self) -> None:
        """What channels bring is recorded all the same."""
        facts = Facts(3)
        facts.is_damaged = True
        follower = make_follower(facts)

        assert follower.look(NOW_NS + 9 * NS_PER_S, NOW_NS) == []
        facts.is_damaged = False
        assert follower.look(NOW_NS + 9 * NS_PER_S, NOW_NS + NS_PER_S) == []
        assert len(follower.look(NOW_NS + 9 * NS_PER_S, NOW_NS + 10 * NS_PER_S)) == 3
        assert (follower.faults, facts.opened) == (1, 2)


class RefusingStore(MemoryStore):
    """Raises once what it is given."""

    def __init__(self, error: Exception, *, is_written: bool) -> None:
        super().__init__()
        self._errors = [error]
        self._is_written = is_written

    def _write(self, first_id: int, recorded_ns: int, messages: Any) -> None:
        if self._is_written or not self._errors:
            super()._write(first_id, recorded_ns, messages)
        if self._errors:
            raise self._errors.pop()


def outcome_of(writer: Writer, begin: Callable[[], None]) -> object:
    """How a call ended."""
    begin()
    call = writer._call
    assert call is not None
    call.exception(timeout=10)
    return writer.outcome()


class TestWriter:
    """The store behind its thread."""

    def test_outcome_is_taken_once(self) -> None:
        """None while there is nothing to take."""
        writer = Writer(MemoryStore())

        assert writer.outcome() is None
        assert outcome_of(writer, lambda: writer.write([make_tick(1)], NOW_NS)) is True
        assert (writer.outcome(), writer.is_busy, writer.last_id) == (None, False, 1)
        assert outcome_of(writer, writer.flush) is True
        writer.close()

    @pytest.mark.parametrize("error", [StoreFullError("disk: full"), OSError(5, "Input/output error")])
    def test_refusal_is_an_outcome_and_the_same_batch_can_be_tried_again(self, error: Exception) -> None:
        """Nothing of it counts as recorded."""
        writer = Writer(RefusingStore(error, is_written=False))

        assert outcome_of(writer, lambda: writer.write([make_tick(1)], NOW_NS)) is error
        assert writer.last_id == 0
        assert outcome_of(writer, lambda: writer.write([make_tick(1)], NOW_NS)) is True
        writer.close()

    def test_batch_that_was_recorded_before_its_error_is_not_recorded_twice(self) -> None:
        """Such as where only what follows the write failed."""
        writer = Writer(RefusingStore(OSError(5, "Input/output error"), is_written=True))

        assert outcome_of(writer, lambda: writer.write([make_tick(1)], NOW_NS)) is True
        assert writer.last_id == 1
        writer.close()

    def test_damage_is_no_refusal(self) -> None:
        """The process has to end: its log is not what it was."""
        writer = Writer(RefusingStore(FatalError("damaged"), is_written=False))

        with pytest.raises(FatalError, match="damaged"):
            outcome_of(writer, lambda: writer.write([make_tick(1)], NOW_NS))
        writer.close()


def test_totals_count_ticks_one_by_one_and_what_gaps_lack() -> None:
    """Over all lives: what was counted before is taken up."""
    totals = Totals()
    totals.take_up({"log_tick": 10})

    totals.add([make_tick(1), make_ticks(4, 3), make_gap(), make_gap(last_seq=None), make_gap(is_recovered=True)])
    totals.add([make_gap(reason="LATE")])

    assert totals.counts == {
        "log_tick": 14,
        "log_log_gap": 4,
        "log_gaps": 1,
        "log_lost": 2,
        "log_lost_market": 2,
        "log_lost_tick": 2,
        "log_gaps_without_end": 1,
        "log_gaps_recovered": 1,
    }


def test_file_store_of_the_tests_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    """Also behind a tail that was torn; the tests of the process rest on it."""
    with FileStore(tmp_path) as store:
        store.append_batch([make_tick(1), make_tick(2)], NOW_NS)
    with (tmp_path / "log").open("ab") as file:
        file.write(ticks(3)[0][:9])

    with FileStore(tmp_path) as store:
        assert [record.message for record in store.get_events()] == [make_tick(1), make_tick(2)]
        assert store.append(make_tick(3), NOW_NS) == 3
