"""The Parquet store: files, other tools, several files as one, compaction, retention, and what a disk refuses."""

import errno
import os
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.message_builders import NOW_NS, make_tick, make_ticks
from support.message_samples import sample_message
from support.parquet_builders import fill, make_quote, mixed_messages, parquet_files, reader, writer

from common.clock import NS_PER_DAY
from common.events.base import Message
from common.events.market import Quote, Tick, Ticks
from common.events.system import LogPruned
from common.events.trading import OrderFilled
from common.store.arrays import ArrayStore
from common.store.chain import first_link, next_link
from common.store.config import StoreConfig
from common.store.contract import StoreConfigError, StoreDamagedError, StoreFullError
from common.store.parquet import files, merge, snapshot
from common.store.parquet import store as parquet_store
from common.store.record import Record
from common.store.retention import Policy
from common.store.selection import Selection


def expected_by_time(messages: list[Message]) -> list[Message]:
    """The order of `read`."""
    return sorted(messages, key=lambda message: message.timestamp_ns)


def full_after(count: int, write: Callable[[int, bytes], int]) -> Callable[[int, bytes], int]:
    """A disk that has room for so many bytes."""
    left = count

    def limited(descriptor: int, content: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = write(descriptor, content[:left])
        left -= done
        return done

    return limited


def refuse(*_: object) -> tuple[int, str]:
    """A disk without room."""
    raise OSError(errno.ENOSPC, "No space left on device")


def flip(path: Path) -> None:
    """Change one bit of the first column's data."""
    content = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    content[column.data_page_offset + column.total_compressed_size - 1] ^= 1
    path.write_bytes(bytes(content))


def newer_manifest() -> bytes:
    """The first line of a store of version 9."""
    entry = b'{"type":"began","version":9,"store_id":"x"}'
    return b'{"entry":%b,"link":"%b"}\n' % (entry, next_link(first_link("manifest"), entry).hex().encode())


class TestOtherTools:
    """What duckdb finds."""

    def test_duckdb_counts_ticks_single_and_in_groups(self, tmp_path: Path) -> None:
        """A group of four is four rows; folders are columns with the names decoded."""
        with writer(tmp_path) as store:
            store.append_batch([make_tick(1), make_ticks(5, count=4), make_tick(6, symbol="ETH/USDT")], NOW_NS)

        rows = (
            duckdb.read_parquet(f"{tmp_path}/log/*/*/*/*/*.parquet", hive_partitioning=True)
            .filter("type = 'Market.Tick.Received.v1'")
            .aggregate("exchange, symbol, count(*), max(bid)", "exchange, symbol")
            .order("symbol")
            .fetchall()
        )

        assert rows == [("simulated", "BTC/USDT", 5, 99.5), ("simulated", "ETH/USDT", 1, 99.5)]

    def test_one_query_reads_all_types_as_the_readme_says(self, tmp_path: Path) -> None:
        """Each record's rows once: nothing of the write-ahead part, of what was merged, or of quarantine is met."""
        messages = fill(tmp_path)
        with writer(tmp_path) as store:
            assert store.compact() > 0
            store.append_batch([make_quote(1), make_quote(2, symbol="XRP/USDT")], NOW_NS)
        flip(next(path for path in parquet_files(tmp_path) if "XRP" in str(path)))
        with writer(tmp_path) as store:
            store.repair(NOW_NS)

        counts = (
            duckdb.read_parquet(f"{tmp_path}/log/**/*.parquet", hive_partitioning=True, union_by_name=True)
            .aggregate("type, symbol, count(distinct id)", "type, symbol")
            .fetchall()
        )

        assert {symbol for _, symbol, _ in counts} == {"BTC/USDT", "ETH/USDT", None}
        assert sum(count for _, _, count in counts) == len(messages) + 2  # one more, and the event of the quarantine
        assert list((tmp_path / "log" / "quarantine").rglob("*.parquet.damaged"))

    def test_columns_have_types(self, tmp_path: Path) -> None:
        """Times are times, amounts decimals; nothing is an opaque text."""
        fill(tmp_path, lives=1)

        table = duckdb.read_parquet(f"{tmp_path}/log/*/*/type=Market.Tick*/*/*.parquet")
        columns = dict(zip(table.columns, map(str, table.types), strict=True))

        assert columns["timestamp_ns"].startswith("TIMESTAMP")
        assert columns["bid"] == "DOUBLE"
        assert columns["seq"] == "BIGINT"


class TestReading:
    """Many files and the write-ahead part as one log."""

    def test_files_of_several_lives_are_one_log(self, tmp_path: Path) -> None:
        """In the order of ids and in the order of time, with small steps as with large ones."""
        messages = fill(tmp_path)

        store = reader(tmp_path)

        assert [record.message for record in store.get_events()] == messages
        assert [record.id for record in store.get_events(250)] == [*range(250, 301)]
        assert [record.message for record in store.read()] == expected_by_time(messages)
        assert [record.id for record in store.tail(5)] == [296, 297, 298, 299, 300]

    def test_small_row_groups_and_steps_change_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Rows of one time that stand in two row groups stay in the order of ids; groups of ticks are never cut."""
        monkeypatch.setattr(files, "ROWS_PER_GROUP", 3)
        monkeypatch.setattr(merge, "IDS_PER_STEP", 7)
        messages: list[Message] = [make_tick(number, timestamp_ns=NOW_NS + number // 9) for number in range(100)]
        messages += [
            make_ticks(number, count=7, symbol="ETH/USDT", timestamp_ns=NOW_NS + number % 5) for number in range(50)
        ]
        with writer(tmp_path) as store:
            store.append_batch(messages, NOW_NS)

        store = reader(tmp_path)

        assert [record.message for record in store.read()] == expected_by_time(messages)
        assert [record.message for record in store.get_events()] == messages

    def test_reader_follows_a_writer(self, tmp_path: Path) -> None:
        """Before and after batches become files, each record once."""
        with writer(tmp_path) as store:
            store.append_batch(mixed_messages(), NOW_NS)
            beside = reader(tmp_path)
            assert [record.id for record in beside.read()] != []
            before = [*beside.get_events()]
            iterator = beside.read()
            first = next(iterator)
            store.settle()
            assert not list((tmp_path / "log" / "wal").iterdir())
            assert [*beside.get_events()] == before
            assert len([first, *iterator]) == beside.last_id == 100

    def test_single_ticks_and_groups_are_told_apart(self, tmp_path: Path) -> None:
        """They share files, not types."""
        messages = fill(tmp_path)

        store = reader(tmp_path)

        for kind in (Tick, Ticks, Quote):
            found = [record.message for record in store.read(Selection(types=frozenset({kind})))]
            assert found == expected_by_time([message for message in messages if type(message) is kind])

    def test_only_files_of_the_selection_are_opened(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A range of one symbol touches its own files."""
        fill(tmp_path)
        opened: list[str] = []
        open_file = files.open_file

        def watch(root: Path, entry: files.FileEntry, *more: Any) -> files.OpenFile:
            opened.append(entry.path)
            return open_file(root, entry, *more)

        monkeypatch.setattr(snapshot, "open_file", watch)

        found = [*reader(tmp_path).read(Selection(symbol="ETH/USDT", from_ns=NOW_NS + 1200, to_ns=NOW_NS + 1250))]

        assert found
        assert all("symbol=ETH%2FUSDT" in path for path in opened)
        assert len(opened) < len(parquet_files(tmp_path)) / 3

    def test_memory_stays_flat_however_much_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Four times as many records take no more at once, by time and by id."""
        monkeypatch.setattr(files, "ROWS_PER_GROUP", 2_048)
        monkeypatch.setattr(merge, "ROWS_PER_PIECE", 1_024)
        monkeypatch.setattr(merge, "IDS_PER_STEP", 2_048)
        peaks = []
        for count in (10_000, 40_000):
            folder = tmp_path / str(count)
            with writer(folder) as store:
                for first in range(1, count + 1, 1_000):
                    store.append_batch([make_tick(number) for number in range(first, first + 1_000)], NOW_NS)
                    if first % 5_000 == 1:
                        store.settle()
            for read in (reader(folder).read, reader(folder).get_events):
                tracemalloc.start()
                before = pa.total_allocated_bytes()
                most, found = 0, 0
                for record in read():
                    found += 1
                    if record.id % 100 == 0:
                        most = max(most, pa.total_allocated_bytes() - before)
                peaks.append((most + tracemalloc.get_traced_memory()[1]) / 1e6)
                tracemalloc.stop()
                assert found == count

        assert peaks[2] < peaks[0] * 1.3
        assert peaks[3] < peaks[1] * 1.3

    def test_arrays_hold_the_ticks_of_messages(self, tmp_path: Path) -> None:
        """The same ticks in the same order, of single messages and of groups; cut where the instrument changes."""
        fill(tmp_path)
        store = reader(tmp_path)
        assert isinstance(store, ArrayStore)

        arrays = [*store.read_tick_arrays(count_max=5)]

        expected = []
        for record in store.read(Selection(types=frozenset({Tick, Ticks}))):
            message = record.message
            if isinstance(message, Ticks):
                expected += [(message.symbol, bid) for bid in message.records()["bid"].tolist()]
            elif isinstance(message, Tick):
                expected.append((message.symbol, message.bid))
        assert [(array.symbol, bid) for array in arrays for bid in array.records["bid"].tolist()] == expected
        assert max(len(array.records) for array in arrays) <= 5

    def test_arrays_of_one_instrument_are_long(self, tmp_path: Path) -> None:
        """Nothing cuts what is one instrument's."""
        with writer(tmp_path) as store:
            store.append_batch([make_tick(number) for number in range(1, 1001)], NOW_NS)

        (array,) = reader(tmp_path).read_tick_arrays(Selection(symbol="BTC/USDT"))

        assert (array.records["timestamp_ns"] == NOW_NS + np.arange(1, 1001)).all()
        assert not list(reader(tmp_path).read_tick_arrays(Selection(types=frozenset({Quote}))))


class TestCompaction:
    """Few files from many."""

    def test_small_files_become_one_and_nothing_else_changes(self, tmp_path: Path) -> None:
        """Who reads meanwhile is not disturbed."""
        messages = fill(tmp_path)
        count = len(parquet_files(tmp_path))
        reading = reader(tmp_path).read()
        first = next(reading)

        with writer(tmp_path) as store:
            assert store.compact() > 0
            assert len([first, *reading]) == len(messages)
            assert store.compact() == 0
            assert len(parquet_files(tmp_path)) < count
            assert [record.message for record in store.get_events()] == messages
            assert store.verify().damages == []

    def test_many_files_of_a_place_are_merged_without_being_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A log that is opened often stays readable quickly."""
        monkeypatch.setattr(parquet_store, "_FILES_PER_PLACE_MAX", 3)
        for number in range(1, 9):
            with writer(tmp_path) as store:
                store.append(make_quote(number), NOW_NS)

        assert len(reader(tmp_path)._seen.state.files) < 8
        assert [record.id for record in reader(tmp_path).get_events()] == [*range(1, 9)]


class TestRetention:
    """What may go."""

    def test_old_files_go_and_log_and_manifest_say_so(self, tmp_path: Path) -> None:
        """By age; whole files; the log verifies, and says what was removed."""
        with writer(tmp_path) as store:
            store.append_batch([make_tick(day + 1, timestamp_ns=NOW_NS + day * NS_PER_DAY) for day in range(10)])
            now_ns = NOW_NS + 10 * NS_PER_DAY
            planned = store.prune(Policy(older_than_ns=3 * NS_PER_DAY), now_ns, is_dry_run=True)
            store.settle()
            planned = store.prune(Policy(older_than_ns=3 * NS_PER_DAY), now_ns, is_dry_run=True)
            gone = store.prune(Policy(older_than_ns=3 * NS_PER_DAY), now_ns)

            assert gone == planned
            assert gone.records == 7
            *kept, marker = [record.message for record in store.get_events()]
            assert [message.seq for message in kept] == [8, 9, 10]
            assert isinstance(marker, LogPruned)
            assert marker.records_of_type == {"Market.Tick.Received.v1": 7}
            verification = store.verify()

        assert verification.damages == []
        assert verification.notes == ["7 records of 7 files removed: retention"]
        assert [record.id for record in reader(tmp_path).tail(9)] == [8, 9, 10, 11]

    @pytest.mark.parametrize("by", ["retention", "compaction"])
    def test_who_reads_meanwhile_is_told(self, tmp_path: Path, by: str) -> None:
        """A file that was taken out is no missing one."""
        for _ in range(2):
            with writer(tmp_path) as store:
                store.append_batch([make_tick(day + 1, timestamp_ns=NOW_NS + day * NS_PER_DAY) for day in range(5)])
        records = reader(tmp_path).read()
        next(records)
        with writer(tmp_path) as store:
            if by == "retention":
                store.prune(Policy(older_than_ns=NS_PER_DAY), NOW_NS + 10 * NS_PER_DAY)
            else:
                store.compact()
                store.compact()  # the first left what it replaced to its readers

        with pytest.raises(StoreDamagedError, match=f"taken out while it was read, by {by}; read again"):
            list(records)

    def test_size_and_type_have_limits_of_their_own(self, tmp_path: Path) -> None:
        """Orders stay, and so does the newest part, whatever the size."""
        order = sample_message(OrderFilled)
        with writer(tmp_path) as store:
            store.append_batch([order, make_quote(1), make_tick(2), make_tick(3, timestamp_ns=NOW_NS + NS_PER_DAY)])
            store.settle()
            now_ns = NOW_NS + 5 * NS_PER_DAY
            by_type = store.prune(Policy(ages_ns={"Market.Quote.Sampled.v1": NS_PER_DAY}), now_ns)
            by_size = store.prune(Policy(size_bytes_max=1), now_ns)

            assert by_type.records_of_type == {"Market.Quote.Sampled.v1": 1}
            assert by_size.records_of_type == {"Market.Tick.Received.v1": 2}
            assert order in [record.message for record in store.get_events()]
            assert store.verify().damages == []


class TestWriting:
    """Who may write, and what a full disk does."""

    def test_second_writer_is_refused(self, tmp_path: Path) -> None:
        """With the process that has it."""
        with writer(tmp_path), pytest.raises(StoreConfigError, match=f"process {os.getpid()} writes it"):
            writer(tmp_path)

    def test_reader_makes_nothing(self, tmp_path: Path) -> None:
        """A mistyped path is told."""
        with pytest.raises(StoreConfigError, match="no Parquet store here"):
            reader(tmp_path)
        assert not list(tmp_path.iterdir())

    def test_reader_cannot_write(self, tmp_path: Path) -> None:
        """It has no lock."""
        fill(tmp_path, lives=1)
        with pytest.raises(StoreConfigError, match="opened for reading"):
            reader(tmp_path).append(make_tick(1), NOW_NS)

    def test_message_that_the_wire_refuses_is_refused(self, tmp_path: Path) -> None:
        """Nothing of the batch is recorded: what cannot be read again must not stop what comes after it."""
        with writer(tmp_path) as store:
            with pytest.raises(ValueError, match="Expected"):
                store.append_batch([make_tick(1), make_ticks(1, count=2, symbol="")], NOW_NS)
            assert store.last_id == 0
            assert store.append(make_tick(1), NOW_NS) == 1

    @pytest.mark.parametrize("written", [0, 100])
    def test_full_disk_records_nothing_of_the_batch(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
    ) -> None:
        """Also where a part of it was written; when there is room, it goes on."""
        with writer(tmp_path) as store:
            store.append(make_tick(1), NOW_NS)
            with monkeypatch.context() as patch:
                limited = full_after(written, os.write)
                patch.setattr(os, "write", limited)
                patch.setattr(os, "writev", lambda to, pieces: limited(to, b"".join(pieces)))
                with pytest.raises(StoreFullError, match="nothing of the batch was recorded"):
                    store.append_batch([make_tick(2), make_tick(3)], NOW_NS)
            assert store.last_id == 1
            store.append(make_tick(4), NOW_NS)
            assert store.verify().is_whole

        assert [record.message.seq for record in reader(tmp_path).get_events()] == [1, 4]

    def test_disk_that_has_no_room_for_files_loses_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The write-ahead part stays; when there is room, it becomes files."""
        store = writer(tmp_path)
        store.append_batch(mixed_messages(), NOW_NS)
        with monkeypatch.context() as patch:
            patch.setattr(files, "_write", refuse)
            with pytest.raises(StoreFullError, match="make room"):
                store.settle()
            assert len([*store.get_events()]) == 100
        store.settle()
        store.close()

        assert [record.message for record in reader(tmp_path).get_events()] == mixed_messages()
        assert not list((tmp_path / "log").rglob("*.tmp"))

    def test_no_batch_waits_for_a_full_file_to_be_synced(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The thread that converts it syncs it first; `flush` waits for that as well."""
        monkeypatch.setattr(parquet_store, "WAL_RECORDS_MAX", 10)
        sync, threads = os.fdatasync, []

        def watch(descriptor: int) -> None:
            threads.append(threading.current_thread().name)
            sync(descriptor)

        monkeypatch.setattr(os, "fdatasync", watch)
        with writer(tmp_path) as store:
            for number in range(0, 50, 10):
                store.append_batch(mixed_messages(2000 + number, 10), NOW_NS)
            store.settle()
            assert set(threads) == {"parquet"}
            assert len(threads) >= 5

        assert len(list(reader(tmp_path).get_events())) == 50

    def test_room_for_others_is_kept(self, tmp_path: Path) -> None:
        """A log must not take the journal's last bytes."""
        with (
            writer(tmp_path, StoreConfig(clear_of_disk_bytes=1 << 60)) as store,
            pytest.raises(StoreFullError, match="bytes of the disk are free"),
        ):
            store.append(make_tick(1), NOW_NS)


class TestBadInput:
    """Half-written, foreign, empty, newer: a clear message, and the rest readable."""

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda path: path.write_bytes(path.read_bytes()[:-7]), "expected a whole Parquet file"),
            (lambda path: path.write_bytes(b""), "expected a whole Parquet file"),
            (lambda path: path.write_bytes(b"foreign" * 100), "expected a whole Parquet file"),
            (Path.unlink, "it is missing"),
            (flip, "row group 0"),
        ],
        ids=["cut", "empty", "foreign", "missing", "flipped"],
    )
    def test_damaged_file_is_named_and_quarantined(
        self, tmp_path: Path, change: Callable[[Path], object], message: str
    ) -> None:
        """What lies around it stays readable; in quarantine it is in nobody's way."""
        messages = fill(tmp_path)
        bad = next(path for path in parquet_files(tmp_path) if "Quote" in str(path))
        change(bad)

        with pytest.raises(StoreDamagedError, match=message):
            list(reader(tmp_path).read(Selection(types=frozenset({Quote}))))
        ticks = list(reader(tmp_path).read(Selection(types=frozenset({Tick}))))
        with writer(tmp_path) as store:
            (done,) = store.repair(NOW_NS)

        assert len(ticks) == sum(type(other) is Tick for other in messages)
        left = [record.id for record in reader(tmp_path).get_events()]
        lost = sum(type(other) is Quote for other in messages) - len(
            list(reader(tmp_path).read(Selection(types=frozenset({Quote}))))
        )
        assert lost > 0
        assert len(left) == len(messages) - lost + 1  # and the event that tells of it
        assert reader(tmp_path).verify().damages == []
        assert bad.name in done

    def test_newer_versions_are_refused(self, tmp_path: Path) -> None:
        """Guessing would be worse."""
        (tmp_path / "log").mkdir()
        (tmp_path / "log" / "manifest.jsonl").write_bytes(newer_manifest())
        with pytest.raises(StoreConfigError, match="version 9, this program reads up to 1"):
            reader(tmp_path)

    def test_manifest_of_something_else_is_refused(self, tmp_path: Path) -> None:
        """With the line."""
        (tmp_path / "log").mkdir()
        (tmp_path / "log" / "manifest.jsonl").write_text("not ours\n")
        with pytest.raises(StoreDamagedError, match="line 1"):
            list(reader(tmp_path).read())

    def test_torn_lines_and_batches_are_cut(self, tmp_path: Path) -> None:
        """What a crash tore was acknowledged to nobody; the bytes are kept."""
        store = writer(tmp_path)
        store.append_batch(mixed_messages(), NOW_NS)
        wal = next((tmp_path / "log" / "wal").iterdir())
        kept = wal.read_bytes()
        manifest = (tmp_path / "log" / "manifest.jsonl").read_bytes()
        store.close()
        for path in parquet_files(tmp_path):
            path.unlink()
        wal.write_bytes(kept + kept[60:300])
        (tmp_path / "log" / "manifest.jsonl").write_bytes(manifest + b'{"entry":{"type":"conv')

        assert len([*reader(tmp_path).get_events()]) == 100
        with writer(tmp_path) as store:
            assert store.append(make_tick(1), NOW_NS) == 101

        assert [record.message for record in reader(tmp_path).get_events()] == [*mixed_messages(), make_tick(1)]
        assert len(list((tmp_path / "log" / "quarantine").iterdir())) == 1

    def test_removed_holes_are_passed(self, tmp_path: Path) -> None:
        """Records of another store keep their ids."""
        with writer(tmp_path) as store:
            store.append_records([Record(5, 1, make_tick(1)), Record(900_000, 2, make_tick(2))])
            store.settle()
            assert [record.id for record in store.get_events()] == [5, 900_000]
            assert [record.id for record in store.tail(2)] == [5, 900_000]
            assert store.verify().is_whole
