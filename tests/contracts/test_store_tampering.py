"""Whatever is done to a log behind our back, in whatever format, is found and named, and `repair` makes it whole."""

import contextlib
import json
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from support.message_builders import NOW_NS, make_tick
from support.store_logs import COUNT, LOGS, JsonlLog, Log

from common.clock import NS_PER_S
from common.store.contract import CannotVerifyError, StoreConfigError, StoreDamagedError
from common.store.retention import Policy
from common.store.selection import Selection

CHANGES = [Log.change, Log.swap, Log.insert, Log.garble, Log.remove]
Change = Callable[[Log, int], str]


@pytest.fixture(params=LOGS)
def make_log(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Log]:
    """Makes a log of one format."""

    def make(folder: str = ".", **config: object) -> Log:
        return LOGS[request.param](tmp_path / folder, **config)

    return make


@pytest.fixture
def log(make_log: Callable[..., Log]) -> Log:
    """A log that nobody has touched."""
    return make_log()


def do(log: Log, change: Change, record_id: int) -> str:
    """Tamper; the place that must be named."""
    place: str = getattr(log, change.__name__)(record_id)
    return place


class TestTampering:
    """Each is found, and its place named. No key of the records is needed for it."""

    def test_untouched_log_is_whole(self, log: Log) -> None:
        """Read by a process that does not write it."""
        verification = log.verify()

        assert verification.damages == verification.notes == []
        assert (verification.records, verification.last_id) == (COUNT, COUNT)

    @pytest.mark.parametrize("change", CHANGES)
    @pytest.mark.parametrize("record_id", [1, 15, 58])
    def test_changed_removed_swapped_inserted_or_garbled_record_is_named(
        self, log: Log, record_id: int, change: Change
    ) -> None:
        """By its place, and first."""
        place = do(log, change, record_id)

        assert log.verify().damages[0].place == place

    def test_removed_records_are_counted(self, log: Log) -> None:
        """Which are missing is part of the damage."""
        log.remove(15)

        (damage,) = log.verify().damages

        assert (damage.first_id, damage.last_id) == (15, 16)

    def test_later_damages_are_named_too(self, log: Log) -> None:
        """The walk goes on behind a damage, and says nothing of what is good."""
        places = [log.change(record_id) for record_id in (7, 31, 44)]

        assert [damage.place for damage in log.verify().damages] == places

    def test_cut_tail_is_found_by_the_anchors(self, log: Log) -> None:
        """Also where it is cut between two records, so that the chain alone holds."""
        log.cut(57)

        (damage,) = log.verify().damages

        assert "ends with record 57, its anchor stands at 60" in damage.what
        assert (damage.first_id, damage.last_id) == (58, 60)

    def test_cut_tail_is_still_found_after_the_writer_went_on(self, log: Log) -> None:
        """No id is given twice, and the loss stays on record until a repair puts it down; as after a loss of power."""
        log.cut(57)
        with log.write() as store:
            assert store.append(make_tick(61), NOW_NS + 61) == 61

        (damage,) = log.verify().damages
        assert (damage.first_id, damage.last_id) == (58, 60)

        with log.write() as store:
            store.repair(NOW_NS + NS_PER_S)
        verification = log.verify()
        assert verification.damages == []
        assert any("loss took out" in note for note in verification.notes)
        assert [record_id for record_id in log.ids() if record_id > 55] == [56, 57, 61, 62]

    def test_restored_older_copy_is_found(self, log: Log, tmp_path: Path) -> None:
        """Each file is good in itself; the anchors know more, also when the writer went on."""
        log.copy(tmp_path / "copy")
        with log.write() as store:
            store.append_batch([make_tick(seq) for seq in range(61, 70)], NOW_NS + 61)
        log.restore(tmp_path / "copy")

        (damage,) = log.verify().damages

        assert "an older copy restored" in damage.what
        with log.write() as store:
            store.append_batch([make_tick(seq) for seq in range(200, 240)], NOW_NS + 61)
        assert not log.verify().is_whole

    def test_log_that_was_written_anew_is_found(self, log: Log) -> None:
        """Whoever changes a record and computes the chain anew cannot make the anchors agree."""
        with log.read() as store:
            records = [record._replace(recorded_ns=record.recorded_ns + 1) for record in store.get_events()]
        log.forge(records)

        damages = log.verify().damages

        assert any("its anchor says otherwise" in damage.what for damage in damages)

    @pytest.mark.parametrize("going_back", [True, False])
    def test_clock_that_went_back_is_no_damage(self, log: Log, *, going_back: bool) -> None:
        """It is worth a note, and reading by time and by id goes on."""
        with log.write() as store:
            store.append(make_tick(3), NOW_NS + (30 if going_back else 90))

        verification = log.verify()

        assert verification.is_whole
        assert any("went back" in note for note in verification.notes) == going_back
        assert log.ids() == [*range(1, COUNT + 2)]
        with log.read() as store:
            assert [record.id for record in store.read(Selection(to_ns=NOW_NS + 5))] == [1, 2, 3, 61, 4]


class TestAnchors:
    """What stands apart from the log."""

    def test_log_without_anchors_cannot_be_verified(self, log: Log) -> None:
        """Its chain holds, but nobody can tell whether its end is there."""
        shutil.rmtree(f"{log.path}.anchors")

        with pytest.raises(CannotVerifyError, match="whether the end of the log was cut"):
            log.verify()

    def test_damage_is_told_even_without_anchors(self, log: Log) -> None:
        """What is known to be bad is bad."""
        shutil.rmtree(f"{log.path}.anchors")
        place = log.change(15)

        verification = log.verify()

        assert [damage.place for damage in verification.damages] == [place]
        assert any("not everything could be checked" in note for note in verification.notes)

    @pytest.mark.parametrize("pattern", ["*.head", "*.anchors"])
    def test_one_file_missing_beside_the_other_is_damage(self, log: Log, pattern: str) -> None:
        """Nothing but a hand removes it."""
        (path,) = Path(f"{log.path}.anchors").glob(pattern)
        path.unlink()

        (damage,) = log.verify().damages

        assert damage.place == str(path)

    def test_changed_anchor_is_damage(self, log: Log) -> None:
        """It does not agree with the log any more."""
        (path,) = Path(f"{log.path}.anchors").glob("*.anchors")
        lines = path.read_bytes().split(b"\n")
        lines[0] = json.dumps({**json.loads(lines[0]), "digest": "0" * 32}).encode()
        path.write_bytes(b"\n".join(lines))

        assert not log.verify().is_whole

    def test_garbled_anchor_is_damage(self, log: Log) -> None:
        """Only the last line may be half written."""
        (path,) = Path(f"{log.path}.anchors").glob("*.anchors")
        path.write_bytes(b"garbage\n" + path.read_bytes())

        (damage,) = log.verify().damages

        assert damage.place == f"{path}:1"

    def test_keyed_anchors_need_their_key(self, make_log: Callable[..., Log], tmp_path: Path) -> None:
        """Without it, or with another one, nothing can be said, nor written; with it, a forged one is damage."""
        (tmp_path / "key").write_bytes(b"k" * 32)
        (tmp_path / "other").write_bytes(b"o" * 32)
        log = make_log(anchor_key_file=str(tmp_path / "key"))
        keyed = log.config
        assert log.verify().is_whole

        for key in ("", str(tmp_path / "other")):
            log.config = type(keyed)(key_ring=keyed.key_ring, anchor_key_file=key)
            with pytest.raises(CannotVerifyError):
                log.verify()
            with pytest.raises(StoreConfigError, match="key"):
                log.write()

        log.config = keyed
        (path,) = Path(f"{log.path}.anchors").glob("*.anchors")
        anchor = json.loads(path.read_bytes().split(b"\n")[0])
        with path.open("ab") as file:
            file.write(json.dumps({**anchor, "mac": ""}).encode() + b"\n")
        (damage,) = log.verify().damages
        assert "not signed with the key" in damage.what


class TestRepair:
    """What is damaged is kept in quarantine, and the log is whole without it."""

    def repair(self, log: Log, second: int = 1) -> list[str]:
        """Repair it."""
        with log.write() as store:
            return store.repair(NOW_NS + second * NS_PER_S)

    def quarantine(self, log: Log) -> list[Path]:
        """The notes of what is kept."""
        place = log.path / "quarantine" if isinstance(log, JsonlLog) else Path(f"{log.path}.quarantine")
        return list(place.glob("*.note.json"))

    @pytest.mark.parametrize("change", CHANGES)
    @pytest.mark.parametrize("record_id", [1, 15, 58])
    def test_damaged_part_is_kept_apart_and_the_rest_is_whole(self, log: Log, record_id: int, change: Change) -> None:
        """With a note; the log tells of the hole, and goes on."""
        do(log, change, record_id)

        done = self.repair(log)

        assert len(done) == 2
        verification = log.verify()
        assert verification.damages == []
        assert any("quarantine took out" in note for note in verification.notes)
        assert len(self.quarantine(log)) == 1
        with log.read() as store:
            records = list(store.read())
        assert len(records) == len(log.ids()) > 40
        assert self.repair(log) == []
        with log.write() as store:
            store.append(make_tick(1_000), NOW_NS + 2 * NS_PER_S)
        assert log.verify().damages == []

    @pytest.mark.parametrize("change", [Log.change, Log.garble])
    @pytest.mark.parametrize("goes_on", [True, False])
    def test_damaged_newest_record_is_repaired(self, log: Log, change: Change, *, goes_on: bool) -> None:
        """Also where the writer went on behind it; its id is not given again."""
        do(log, change, COUNT)
        if goes_on:
            with log.write() as store:
                store.append(make_tick(61), NOW_NS + 61)

        self.repair(log)

        assert log.verify().damages == []
        assert COUNT not in log.ids()
        assert log.ids()[-1] > COUNT

    def test_several_damages_are_repaired_at_once_and_over_older_holes(self, log: Log) -> None:
        """Repair after repair after retention."""
        with log.write() as store:
            store.prune(Policy(size_bytes_max=store.stats().size_bytes * 4 // 5), NOW_NS + NS_PER_S)
        log.garble(45)
        log.change(55)
        self.repair(log)
        assert log.verify().damages == []
        with log.write() as store:
            store.append_batch([make_tick(seq) for seq in range(200, 260)], NOW_NS)
        log.change(log.ids()[-30])

        self.repair(log, 2)

        assert log.verify().damages == []

    def test_word_of_a_hole_that_is_damaged_is_said_again(self, log: Log) -> None:
        """Else what retention removed would look like a theft."""
        with log.write() as store:
            pruned = store.prune(Policy(older_than_ns=NS_PER_S), NOW_NS + 3_600 * NS_PER_S)
            store.append_batch([make_tick(seq) for seq in range(200, 240)], NOW_NS)
        assert pruned.records
        log.garble(61)
        assert not log.verify().is_whole

        self.repair(log)

        assert log.verify().damages == []

    def test_nothing_to_repair_changes_nothing(self, log: Log) -> None:
        """Nor is there anything to tell."""
        assert self.repair(log) == []
        assert log.ids() == [*range(1, COUNT + 1)]


@pytest.mark.parametrize("change", CHANGES)
def test_reading_gives_what_is_before_a_damage_or_all_that_can_be_read(log: Log, change: Change) -> None:
    """Behind the damage one can go on by id; no record is given that is none."""
    do(log, change, 15)
    found: list[int] = []

    with log.read() as store:
        with contextlib.suppress(StoreDamagedError):
            found.extend(record.id for record in store.get_events())
        assert found[:14] == [*range(1, 15)]
        assert [record.id for record in islice(store.get_events(18), 30)] == [*range(18, 48)]
        behind = [record.id for record in store.read(Selection(from_ns=NOW_NS + 30, to_ns=NOW_NS + 60))]
        assert len(behind) == 30
