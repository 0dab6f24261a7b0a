"""What a log in files must withstand: tampering, crashes, full disks, foreign and future files."""

import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.message_builders import NOW_NS, make_tick, make_ticks
from support.message_samples import sample_message

from common.clock import NS_PER_DAY, NS_PER_S
from common.events.market import Tick
from common.events.registry import type_name
from common.events.system import LogPruned
from common.events.trading import OrderFilled
from common.store.address import open_store
from common.store.config import StoreConfig
from common.store.contract import (
    CannotVerifyError,
    Store,
    StoreConfigError,
    StoreDamagedError,
    StoreFullError,
    Verification,
)
from common.store.jsonl import pruning
from common.store.record import Record
from common.store.retention import Policy
from common.store.selection import Selection

SMALL = StoreConfig(segment_bytes_max=4_000)  # about ten ticks a segment
COUNT = 60


class Log:
    """A log of ticks 1 to 60 in several segments, and what can be done to its files."""

    def __init__(self, folder: Path, config: StoreConfig = SMALL) -> None:
        self.path = folder / "log"
        self.config = config
        with self.write() as store:
            for seq in range(1, COUNT + 1):
                store.append(make_tick(seq), NOW_NS + seq)

    def write(self) -> Store:
        """Open it for writing."""
        return open_store(f"jsonl:{self.path}", self.config, is_writer=True)

    def read(self) -> Store:
        """Open it for reading."""
        return open_store(f"jsonl:{self.path}", self.config)

    def verify(self) -> Verification:
        """Check it."""
        with self.read() as store:
            return store.verify()

    def ids(self) -> list[int]:
        """What is in it."""
        with self.read() as store:
            return [record.id for record in store.get_events()]

    def segments(self) -> list[Path]:
        """Its files."""
        return sorted(self.path.glob("*.jsonl"))

    def place_of(self, record_id: int) -> tuple[Path, int]:
        """File and line, from 0, of a record."""
        for path in self.segments():
            for number, line in enumerate(path.read_bytes().split(b"\n")):
                if line.startswith(b'{"id":%d,' % record_id):
                    return path, number
        raise AssertionError(f"record {record_id} is not there")

    def edit(self, record_id: int, change: Callable[[list[bytes], int], None]) -> str:
        """Change the lines of the file that a record is in; the record's place."""
        path, number = self.place_of(record_id)
        lines = path.read_bytes().split(b"\n")
        change(lines, number)
        path.write_bytes(b"\n".join(lines))
        return f"{path}:{number + 1}"


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """A log that nobody has touched."""
    return Log(tmp_path)


def change_price(lines: list[bytes], number: int) -> None:
    """Another bid in one record."""
    lines[number] = lines[number].replace(b"99.5", b"98.5")


def remove(lines: list[bytes], number: int) -> None:
    """A record less."""
    del lines[number]


def swap(lines: list[bytes], number: int) -> None:
    """Two records in each other's place."""
    lines[number], lines[number + 1] = lines[number + 1], lines[number]


def insert(lines: list[bytes], number: int) -> None:
    """A record more."""
    lines.insert(number, lines[number].replace(b"99.5", b"98.5"))


def garble(lines: list[bytes], number: int) -> None:
    """Something that is no record."""
    lines[number] = b"\x00" * len(lines[number])


class TestTampering:
    """Each is found, and its place named."""

    def test_untouched_log_is_whole(self, log: Log) -> None:
        """Over several segments, read by a process that does not write it."""
        verification = log.verify()

        assert verification.damages == []
        assert (verification.records, verification.last_id) == (COUNT, COUNT)
        assert len(log.segments()) > 4

    @pytest.mark.parametrize("change", [change_price, swap, insert, garble])
    @pytest.mark.parametrize("record_id", [1, 15, 58])
    def test_changed_swapped_inserted_or_garbled_record_is_named(
        self, log: Log, record_id: int, change: Callable[[list[bytes], int], None]
    ) -> None:
        """By file and line, and once."""
        place = log.edit(record_id, change)

        (damage,) = log.verify().damages

        assert damage.place == place

    @pytest.mark.parametrize("record_id", [1, 15, 58])
    def test_removed_record_is_named_where_it_is_missing(self, log: Log, record_id: int) -> None:
        """The line that stands there now is the next record's."""
        log.edit(record_id, remove)

        (damage,) = log.verify().damages

        path, number = log.place_of(record_id + 1)
        assert damage.place == f"{path}:{number + 1}"
        assert (damage.first_id, damage.last_id) == (record_id, record_id + 1)

    def test_later_damages_are_named_too(self, log: Log) -> None:
        """The walk goes on behind a damage, and says nothing of what is good."""
        places = [log.edit(record_id, change_price) for record_id in (7, 31, 44)]

        assert [damage.place for damage in log.verify().damages] == places

    def test_cut_tail_is_found_by_the_anchors(self, log: Log) -> None:
        """Also where it is cut between two records, so that the chain alone holds."""
        path, number = log.place_of(58)
        path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[:number]) + b"\n")

        (damage,) = log.verify().damages

        assert "ends with record 57, its anchor stands at 60" in damage.what
        assert (damage.first_id, damage.last_id) == (58, 60)

    def test_cut_tail_is_still_found_after_the_writer_went_on(self, log: Log) -> None:
        """No id is given twice, and the loss stays on record."""
        path, number = log.place_of(58)
        path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[:number]) + b"\n")

        with log.write() as store:
            assert store.append(make_tick(61), NOW_NS) == 61

        (damage,) = log.verify().damages
        assert (damage.first_id, damage.last_id) == (58, 60)

    def test_restored_older_copy_is_found(self, log: Log, tmp_path: Path) -> None:
        """Each file is good in itself; the anchors know more."""
        shutil.copytree(log.path, tmp_path / "copy")
        with log.write() as store:
            store.append(make_tick(61), NOW_NS)
        shutil.rmtree(log.path)
        shutil.move(tmp_path / "copy", log.path)

        (damage,) = log.verify().damages

        assert "an older copy restored" in damage.what

    def test_log_that_was_written_anew_is_found(self, log: Log, tmp_path: Path) -> None:
        """Whoever changes a record and computes the chain anew cannot make the anchors agree."""
        store_id = json.loads(log.segments()[0].read_bytes().split(b"\n")[0])["store_id"]
        records = list(log.read().get_events())
        forged = Log.__new__(Log)
        forged.path, forged.config = tmp_path / "forged" / "log", StoreConfig()
        forged.path.parent.mkdir()
        with forged.write() as store:
            store.append(make_tick(0), 1)
        own_id = json.loads(forged.segments()[0].read_bytes().split(b"\n")[0])["store_id"]
        rewrite_chain(log, store_id, [record._replace(recorded_ns=record.recorded_ns + 1) for record in records])

        damages = log.verify().damages

        assert own_id != store_id
        assert any("its anchor says otherwise" in damage.what for damage in damages)

    def test_missing_segment_is_named(self, log: Log) -> None:
        """And reading ends there with an error, not with a hole that nobody sees."""
        segments = log.segments()
        segments[2].unlink()

        (damage,) = log.verify().damages

        assert damage.place.startswith(f"{segments[3]}:")
        assert segments[2].name in damage.what
        with log.read() as store, pytest.raises(StoreDamagedError, match=segments[2].name):
            list(store.read())

    def test_missing_first_segment_is_named(self, log: Log) -> None:
        """The chain begins with the log's own name, so its begin cannot be cut either."""
        segments = log.segments()
        segments[0].unlink()

        (damage,) = log.verify().damages

        assert segments[0].name in damage.what

    def test_segment_of_another_log_is_named(self, log: Log, tmp_path: Path) -> None:
        """Also where its number fits."""
        other = Log(tmp_path / "other")
        shutil.copy(other.segments()[2], log.segments()[2])

        damages = log.verify().damages

        assert damages[0].place == f"{log.segments()[2]}:1"
        assert "not of this one" in damages[0].what

    @pytest.mark.parametrize("field", ["first_ns", "last_ns", "topics", "records"])
    @pytest.mark.parametrize("line", [0, -2])
    def test_index_that_hides_records_is_named(self, log: Log, field: str, line: int) -> None:
        """Its own checksum is right, and every segment is whole; only a range read would miss something."""
        path = sorted(log.path.glob("*.index"))[1]
        lines = path.read_bytes().split(b"\n")
        said = json.loads(lines[line][:-9])
        said[field] = {"x\t\t": 1} if field == "topics" else said[field] + 1
        text = json.dumps(said, separators=(",", ":")).encode()
        lines[line] = b"%b %08x" % (text, zlib.crc32(text))
        path.write_bytes(b"\n".join(lines))

        (damage,) = log.verify().damages

        assert damage.place == str(path)
        with log.write() as store:
            assert store.repair(NOW_NS) == [f"removed {path.name}, which did not fit; it is built anew"]
        assert log.verify().is_whole


def rewrite_chain(log: Log, store_id: str, records: list[Record]) -> None:
    """What somebody can do who knows the format but has no key."""
    from common.store.chain import first_link, next_link  # noqa: PLC0415
    from common.store.json_messages import encode_messages  # noqa: PLC0415
    from common.store.jsonl.lines import Header, encode_header  # noqa: PLC0415

    for path in [*log.segments(), *log.path.glob("*.index")]:
        path.unlink()
    digest = first_link(store_id)
    lines = [encode_header(Header(format=1, store_id=store_id, segment=1, digest=digest.hex()))]
    for record in records:
        (body,) = encode_messages([record.message])
        content = b'{"id":%d,"recorded_ns":%d,%b' % (record.id, record.recorded_ns, body[1:-1])
        digest = next_link(digest, content)
        lines.append(content + b',"digest":"' + digest.hex().encode() + b'"}\n')
    (log.path / "00000001.jsonl").write_bytes(b"".join(lines))


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
        place = log.edit(15, change_price)

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
        anchor = json.loads(lines[0])
        lines[0] = json.dumps({**anchor, "digest": "0" * 32}).encode()
        path.write_bytes(b"\n".join(lines))

        assert not log.verify().is_whole

    def test_garbled_anchor_is_damage(self, log: Log) -> None:
        """Only the last line may be half written."""
        (path,) = Path(f"{log.path}.anchors").glob("*.anchors")
        path.write_bytes(b"garbage\n" + path.read_bytes())

        (damage,) = log.verify().damages

        assert damage.place == f"{path}:1"

    def test_keyed_anchors_need_their_key(self, tmp_path: Path) -> None:
        """Without it, or with another one, nothing can be said; with it, a forged one is damage."""
        (tmp_path / "key").write_bytes(b"k" * 32)
        (tmp_path / "other").write_bytes(b"o" * 32)
        log = Log(tmp_path, StoreConfig(segment_bytes_max=4_000, anchor_key_file=str(tmp_path / "key")))
        assert log.verify().is_whole

        for key in ("", str(tmp_path / "other")):
            log.config = StoreConfig(anchor_key_file=key)
            with pytest.raises(CannotVerifyError):
                log.verify()

        log.config = StoreConfig(anchor_key_file=str(tmp_path / "key"))
        (path,) = Path(f"{log.path}.anchors").glob("*.anchors")
        with path.open("ab") as file:
            anchor = json.loads(path.read_bytes().split(b"\n")[0])
            file.write(json.dumps({**anchor, "mac": ""}).encode() + b"\n")
        (damage,) = log.verify().damages
        assert "not signed with the key" in damage.what

    def test_writer_without_the_key_is_refused(self, tmp_path: Path) -> None:
        """It would write unsigned anchors over signed ones."""
        (tmp_path / "key").write_bytes(b"k" * 32)
        log = Log(tmp_path, StoreConfig(anchor_key_file=str(tmp_path / "key")))
        log.config = StoreConfig()

        with pytest.raises(StoreConfigError, match="no key was given"):
            log.write()


class TestBadFiles:
    """A clear error with the place, and the good part readable."""

    def test_torn_tail_is_kept_apart_and_the_log_goes_on(self, log: Log) -> None:
        """A crash in a write leaves half a line: it was never acknowledged."""
        with log.segments()[-1].open("ab") as file:
            file.write(b'{"id":61,"recorded_ns":17')
        assert log.ids() == [*range(1, COUNT + 1)]
        assert log.verify().is_whole

        with log.write() as store:
            store.append(make_tick(61), NOW_NS)

        verification = log.verify()
        assert verification.is_whole
        assert any("a crash cut it" in note for note in verification.notes)
        (kept,) = (log.path / "quarantine").glob("*tail*[0-9]")
        assert kept.read_bytes() == b'{"id":61,"recorded_ns":17'
        assert log.ids() == [*range(1, COUNT + 2)]

    def test_segment_that_a_crash_left_without_a_header_is_begun_again(self, log: Log) -> None:
        """It holds nothing yet."""
        (log.path / "00000099.jsonl").write_bytes(b'{"type":"Sto')
        assert log.ids() == [*range(1, COUNT + 1)]
        assert log.verify().is_whole

        with log.write() as store:
            store.append(make_tick(61), NOW_NS)

        assert log.verify().is_whole

    @pytest.mark.parametrize("change", [change_price, garble, remove])
    def test_reading_gives_what_is_before_a_damage_and_names_it(
        self, log: Log, change: Callable[[list[bytes], int], None]
    ) -> None:
        """Behind it one can go on by id."""
        log.edit(15, change)
        found: list[int] = []

        with log.read() as store:
            with pytest.raises(StoreDamagedError, match=r"\.jsonl:\d+: .*`tickpulse store verify`"):
                found.extend(record.id for record in store.get_events())
            assert found == [*range(1, 15)]
            found.clear()
            with pytest.raises(StoreDamagedError):
                found.extend(record.id for record in store.read())
            assert found == [*range(1, 15)]
            assert [record.id for record in store.get_events(17)] == [*range(17, COUNT + 1)]
            assert [record.id for record in store.read(Selection(from_ns=NOW_NS + 40))] == [*range(40, COUNT + 1)]

    def test_empty_segment_in_the_middle_is_named(self, log: Log) -> None:
        """As one that is missing."""
        path = log.segments()[2]
        path.write_bytes(b"")

        assert log.verify().damages[0].place == f"{path}:1"
        with log.read() as store, pytest.raises(StoreDamagedError, match=path.name):
            list(store.read())

    def test_foreign_folder_is_no_store(self, tmp_path: Path) -> None:
        """It says what was expected, and touches nothing."""
        (tmp_path / "00000001.jsonl").write_text('{"hello": 1}\n')

        for is_writer in (False, True):
            with pytest.raises(StoreConfigError, match="expected segments of an event log"):
                open_store(f"jsonl:{tmp_path}", is_writer=is_writer)

        assert (tmp_path / "00000001.jsonl").read_text() == '{"hello": 1}\n'

    def test_future_version_asks_for_the_newer_program(self, log: Log) -> None:
        """Rather than to guess what it means."""
        path = log.segments()[0]
        path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":2', 1))

        with pytest.raises(StoreConfigError, match="a newer tickpulse wrote it"):
            log.read()

    def test_path_that_is_not_there_or_a_file_is_refused(self, tmp_path: Path) -> None:
        """A reader makes nothing; a writer makes no folder of a file."""
        (tmp_path / "file").write_text("")

        with pytest.raises(StoreConfigError, match="No such file"):
            open_store(f"jsonl:{tmp_path / 'none'}")
        with pytest.raises(StoreConfigError, match="was a file"):
            open_store(f"jsonl:{tmp_path / 'file'}", is_writer=True)
        assert not (tmp_path / "none").exists()

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
    def test_unreadable_folder_is_refused(self, log: Log) -> None:
        """With the reason of the operating system."""
        log.path.chmod(0)
        try:
            with pytest.raises(StoreConfigError, match="Permission denied"):
                log.read()
        finally:
            log.path.chmod(0o700)

    def test_second_writer_is_refused_and_told_who_writes(self, log: Log) -> None:
        """Readers are not."""
        with log.write(), log.read() as reader:
            with pytest.raises(StoreConfigError, match=f"is written by pid {os.getpid()}"):
                log.write()
            assert reader.last_id == COUNT

    def test_damaged_or_missing_index_is_built_anew(self, log: Log) -> None:
        """It is derived from the segments, so nothing is lost with it."""
        paths = sorted(log.path.glob("*.index"))
        paths[0].unlink()
        paths[1].write_bytes(paths[1].read_bytes()[:-20])
        paths[2].write_bytes(paths[2].read_bytes().replace(b"first_ns", b"f1rst_ns", 1))
        paths[3].write_bytes(paths[4].read_bytes())

        assert log.ids() == [*range(1, COUNT + 1)]
        with log.read() as store:
            assert [record.id for record in store.read(Selection(from_ns=NOW_NS + 12, to_ns=NOW_NS + 35))] == [
                *range(12, 35)
            ]
            assert store.stats().records == COUNT


class TestCrash:
    """The process dies at any moment."""

    def test_write_that_breaks_off_anywhere_leaves_a_whole_log(self, tmp_path: Path) -> None:
        """What was acknowledged is there, of the rest a part from its begin; the log goes on behind it."""
        log = Log(tmp_path, StoreConfig())
        (segment,) = log.segments()
        before = len(segment.read_bytes())
        anchors = {path: path.read_bytes() for path in Path(f"{log.path}.anchors").iterdir()}
        with log.write() as store:
            store.append_batch([make_tick(seq) for seq in range(61, 71)], NOW_NS)
        content = segment.read_bytes()

        for end in range(before, len(content), 101):
            for path, text in anchors.items():
                path.write_bytes(text)
            segment.write_bytes(content[:end])
            assert log.verify().is_whole
            with log.write() as store:
                whole = content[:end].count(b"\n") - 1
                assert store.last_id == whole
                assert store.append(make_tick(99), NOW_NS) == whole + 1
            assert log.verify().is_whole
            assert log.ids() == [*range(1, whole + 2)]

    @pytest.mark.processes
    def test_killed_writer_loses_nothing_that_it_acknowledged(self, tmp_path: Path) -> None:
        """Killed again and again, wherever it is; each life goes on behind the last one."""
        root = Path(__file__).parents[2]
        acknowledged = 0
        for acknowledgements in (1, 7, 30, 60, 90):
            command = [sys.executable, "-c", APPEND_FOR_EVER, str(tmp_path / "log")]
            environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}
            with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
                assert process.stdout is not None
                for _ in range(acknowledgements):
                    acknowledged = int(process.stdout.readline())
                process.kill()
                # What was told before the kill arrived counts as well.
                whole, _, _ = process.stdout.read().rpartition(b"\n")
                acknowledged = max([acknowledged, *map(int, whole.split())])

            with open_store(f"jsonl:{tmp_path / 'log'}") as store:
                assert store.verify().is_whole
                ids = [record.id for record in store.get_events()]
            assert ids == [*range(1, len(ids) + 1)]
            assert len(ids) >= acknowledged


APPEND_FOR_EVER = """
import sys
from support.message_builders import NOW_NS, make_tick
from common.store.address import open_store
from common.store.config import StoreConfig
store = open_store(f"jsonl:{sys.argv[1]}", StoreConfig(segment_bytes_max=50_000), is_writer=True)
while True:
    store.append_batch([make_tick(seq) for seq in range(1, 31)], NOW_NS)
    print(store.last_id, flush=True)
"""


class TestWriting:
    """Disks that are full, rotation, readers beside."""

    def test_full_disk_records_nothing_of_the_batch(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        """The part that went in is taken back; with room the same batch goes in."""
        write = os.write

        def write_half(descriptor: int, data: bytes) -> int:
            if len(data) < 2_000:
                return write(descriptor, data)
            if len(data) % 2:
                raise OSError(28, "No space left on device")
            return write(descriptor, data[: len(data) // 2 + (len(data) // 2 + 1) % 2])

        batch = [make_tick(seq) for seq in range(61, 81)]
        with log.write() as store:
            with monkeypatch.context() as patched:
                patched.setattr(os, "write", write_half)
                with pytest.raises(StoreFullError, match="No space left"):
                    store.append_batch(batch, NOW_NS)
            assert store.last_id == COUNT
            assert log.ids() == [*range(1, COUNT + 1)]

            assert store.append_batch(batch, NOW_NS) == COUNT + 20

        assert log.verify().is_whole
        assert log.ids() == [*range(1, COUNT + 21)]

    def test_space_that_is_kept_free_counts_as_full(self, log: Log) -> None:
        """Others need the disk as well."""
        log.config = StoreConfig(clear_of_disk_bytes=1 << 60)

        with log.write() as store, pytest.raises(StoreFullError, match="left free"):
            store.append(make_tick(61), NOW_NS)

    def test_new_segment_begins_at_midnight(self, tmp_path: Path) -> None:
        """UTC, by the time of recording, also in the next life of the writer."""
        log = Log(tmp_path, StoreConfig())
        for day in (1, 2):
            with log.write() as store:
                store.append(make_tick(61), NOW_NS + day * NS_PER_DAY)

        assert len(log.segments()) == 3
        assert log.verify().is_whole

    def test_reader_follows_a_writer_over_rotation(self, log: Log) -> None:
        """It meets each record once."""
        with log.read() as reader, log.write() as writer:
            seen = [record.id for record in reader.get_events()]
            for seq in range(61, 121):
                writer.append(make_tick(seq), NOW_NS + seq)
                if seq % 7 == 0:
                    seen += [record.id for record in reader.get_events(seen[-1] + 1)]
            seen += [record.id for record in reader.get_events(seen[-1] + 1)]

        assert seen == [*range(1, 121)]

    def test_many_symbols_and_times_come_back_by_every_filter(self, tmp_path: Path) -> None:
        """Blocks that hold nothing of it are passed over, and nothing is passed over that is asked for."""
        log = Log(tmp_path, StoreConfig(segment_bytes_max=400_000))
        ticks = [
            make_tick(seq, symbol=f"S{seq % 7}", timestamp_ns=NOW_NS + (seq * 7919) % 5_000 + seq)
            for seq in range(61, 6_061)
        ]
        with log.write() as store:
            for start in range(0, len(ticks), 500):
                store.append_batch(ticks[start : start + 500], NOW_NS)
            store.append(make_ticks(4), NOW_NS)
        records = [Record(61 + index, NOW_NS, tick) for index, tick in enumerate(ticks)]
        selection = Selection(from_ns=NOW_NS + 900, to_ns=NOW_NS + 4_100, symbol="S3", types=frozenset({Tick}))

        with log.read() as store:
            found = list(store.read(selection))
            times = [(record.message.timestamp_ns, record.id) for record in store.read()]

        expected = [record for record in records if selection.matches(record.message)]
        assert found == sorted(expected, key=lambda record: (record.message.timestamp_ns, record.id))
        assert times == sorted(times)
        assert len(times) == COUNT + 6_001


class TestRetention:
    """What is removed on purpose is no damage; anything else is."""

    @pytest.fixture
    def mixed(self, tmp_path: Path) -> Log:
        """An order event after every tenth tick."""
        log = Log(tmp_path)
        filled = sample_message(OrderFilled)
        with log.write() as store:
            for seq in range(61, 121):
                store.append(make_tick(seq) if seq % 10 else filled, NOW_NS + seq)
        return log

    def prune(self, log: Log, **policy: object) -> None:
        """Apply a policy an hour after the log began."""
        with log.write() as store:
            store.prune(Policy(**policy), NOW_NS + 3_600 * NS_PER_S)  # type: ignore[arg-type]

    def kinds(self, log: Log) -> dict[str, int]:
        """How many of each type are left."""
        with log.read() as store:
            return store.stats().types

    def test_old_ticks_go_orders_stay_and_the_log_is_whole(self, mixed: Log) -> None:
        """Reading goes over the holes."""
        before = self.kinds(mixed)

        self.prune(mixed, older_than_ns=NS_PER_S)

        after = self.kinds(mixed)
        assert after[type_name(OrderFilled)] == before[type_name(OrderFilled)] == 6
        assert 0 < after[type_name(Tick)] < 20
        verification = mixed.verify()
        assert verification.damages == []
        assert any("retention took out" in note for note in verification.notes)
        assert len(mixed.ids()) == sum(after.values())
        with mixed.read() as store:
            assert len(list(store.read())) == sum(after.values())

    def test_pruning_again_and_again_stays_whole(self, mixed: Log) -> None:
        """Holes grow together."""
        for round_number in range(4):
            self.prune(mixed, older_than_ns=NS_PER_S)
            with mixed.write() as store:
                for seq in range(20):
                    store.append(make_tick(1_000 + round_number * 20 + seq), NOW_NS)
            assert mixed.verify().damages == []

        self.prune(mixed, ages_ns={type_name(OrderFilled): NS_PER_S})
        assert mixed.verify().damages == []
        assert mixed.ids() == sorted(mixed.ids())

    def test_size_takes_the_oldest(self, log: Log) -> None:
        """Until it fits."""
        self.prune(log, size_bytes_max=12_000)

        assert log.verify().damages == []
        with log.read() as store:
            assert store.stats().size_bytes < 14_000
        assert [record_id for record_id in log.ids() if record_id <= COUNT][-1] == COUNT

    def test_dry_run_changes_nothing_and_tells_the_same(self, mixed: Log) -> None:
        """So that one can look first."""
        policy = Policy(older_than_ns=NS_PER_S)
        with mixed.read() as store:
            ids = [record.id for record in store.get_events()]
            planned = store.prune(policy, NOW_NS + 3_600 * NS_PER_S, is_dry_run=True)
        assert mixed.ids() == ids

        with mixed.write() as store:
            assert store.prune(policy, NOW_NS + 3_600 * NS_PER_S).records_of_type == planned.records_of_type

    @pytest.mark.parametrize("applied", range(5))
    def test_crash_while_pruning_leaves_a_whole_log(
        self, mixed: Log, applied: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At whatever segment it stops; the next pruning takes the rest."""
        apply, calls = pruning._apply, []

        def apply_some(*arguments: Any) -> None:
            calls.append(arguments)
            if len(calls) > applied:
                raise KeyboardInterrupt
            apply(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(pruning, "_apply", apply_some)
            with pytest.raises(KeyboardInterrupt):
                self.prune(mixed, older_than_ns=NS_PER_S)
        assert mixed.verify().damages == []
        with mixed.read() as store:
            assert len(list(store.read())) == store.stats().records

        self.prune(mixed, older_than_ns=NS_PER_S)

        assert mixed.verify().damages == []
        assert self.kinds(mixed).get(type_name(Tick), 0) < 20
        assert self.kinds(mixed)[type_name(OrderFilled)] == 6

    def test_removal_that_is_explained_behind_the_anchors_is_damage(self, mixed: Log) -> None:
        """Whoever has no key can write a chain that holds, but nothing that is anchored."""
        anchors = {path: path.read_bytes() for path in Path(f"{mixed.path}.anchors").iterdir()}
        self.prune(mixed, older_than_ns=NS_PER_S)
        for path, content in anchors.items():
            path.write_bytes(content)

        damages = mixed.verify().damages

        assert damages
        assert "has no anchor" in damages[-1].what

    def test_removal_beyond_what_the_log_says_is_damage(self, mixed: Log) -> None:
        """A hole covers its own records only."""
        self.prune(mixed, older_than_ns=NS_PER_S)
        kept = mixed.ids()
        mixed.edit(kept[1], remove)

        assert not mixed.verify().is_whole

    def test_changed_word_of_a_removal_is_damage(self, mixed: Log) -> None:
        """The event that explains a hole is part of the chain."""
        self.prune(mixed, older_than_ns=NS_PER_S)
        with mixed.read() as store:
            (marker,) = store.read(Selection(types=frozenset({LogPruned})))
        mixed.edit(marker.id, lambda lines, at: lines.__setitem__(at, lines[at].replace(b"retention", b"quarantine")))

        assert not mixed.verify().is_whole


class TestRepair:
    """Damaged segments go into quarantine, and the log is whole without them."""

    def repair(self, log: Log) -> list[str]:
        """Repair it."""
        with log.write() as store:
            return store.repair(NOW_NS + NS_PER_S)

    @pytest.mark.parametrize("change", [change_price, garble, remove, swap, insert])
    @pytest.mark.parametrize("record_id", [1, 15, 58])
    def test_damaged_segment_is_quarantined_and_the_rest_is_whole(
        self, log: Log, record_id: int, change: Callable[[list[bytes], int], None]
    ) -> None:
        """The file is kept with a note, the log tells of the hole, and goes on."""
        path = log.place_of(record_id)[0]
        log.edit(record_id, change)

        done = self.repair(log)

        assert path.name in done[0]
        verification = log.verify()
        assert verification.damages == []
        assert any("quarantine took out" in note for note in verification.notes)
        assert record_id not in log.ids()
        with log.read() as store:
            assert len(list(store.read())) == len(log.ids()) > 40
        assert len(list((log.path / "quarantine").glob("*.note.json"))) == 1

    def test_missing_segment_is_put_down_as_lost(self, log: Log) -> None:
        """There is nothing to move."""
        log.segments()[2].unlink()

        self.repair(log)

        assert log.verify().damages == []
        assert any("loss took out" in note for note in log.verify().notes)

    def test_cut_tail_is_put_down_as_lost(self, log: Log) -> None:
        """Its ids are not used again."""
        path, number = log.place_of(58)
        path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[:number]) + b"\n")

        self.repair(log)

        assert log.verify().damages == []
        assert log.ids()[-2:] == [57, 61]

    def test_several_damages_are_repaired_at_once_and_over_older_holes(self, log: Log) -> None:
        """Repair after repair after retention."""
        with log.write() as store:
            store.prune(Policy(size_bytes_max=18_000), NOW_NS + NS_PER_S)
        log.edit(35, garble)
        log.edit(55, change_price)
        self.repair(log)
        assert log.verify().damages == []
        with log.write() as store:
            store.append_batch([make_tick(seq) for seq in range(200, 260)], NOW_NS)
        log.edit(log.ids()[-30], change_price)

        self.repair(log)

        assert log.verify().damages == []

    def test_nothing_to_repair_changes_nothing(self, log: Log) -> None:
        """Nor is there anything to tell."""
        assert self.repair(log) == []
        assert log.ids() == [*range(1, COUNT + 1)]
