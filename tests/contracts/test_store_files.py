"""What a log in files must withstand, in whatever format: crashes, foreign and future files, readers beside it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from support.message_builders import NOW_NS, make_tick, make_ticks
from support.store_builders import make_key_ring
from support.store_logs import COUNT, LOGS, Log

from common.events.market import Tick
from common.store.address import open_store
from common.store.config import StoreConfig
from common.store.contract import StoreConfigError, StoreFullError
from common.store.keyring import add_key
from common.store.record import Record
from common.store.selection import Selection


@pytest.fixture(params=LOGS)
def make_log(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Log]:
    """Makes a log of one format."""
    return lambda **config: LOGS[request.param](tmp_path, **config)


@pytest.fixture
def log(make_log: Callable[..., Log]) -> Log:
    """A log that nobody has touched."""
    return make_log()


class TestBadFiles:
    """A clear error, and nothing of others is touched."""

    @pytest.mark.parametrize("is_writer", [False, True])
    @pytest.mark.parametrize(
        ("make", "expected"), [(Log.make_foreign, "expected"), (Log.make_future, "expected .* was (99|2)")]
    )
    def test_foreign_and_future_files_are_refused(
        self, log: Log, make: Callable[[Log], None], expected: str, *, is_writer: bool
    ) -> None:
        """It says what was expected, and they stay as they are."""
        getattr(log, make.__name__)()
        before = {path: path.read_bytes() for path in log.path.parent.rglob("log*/*.jsonl")}

        with pytest.raises(StoreConfigError, match=expected):
            open_store(f"{log.format}:{log.path}", log.config, is_writer=is_writer)

        assert before == {path: path.read_bytes() for path in before}

    def test_empty_log_is_begun_again_and_not_read(self, log: Log) -> None:
        """A crash leaves it; to a reader it is no log."""
        log.make_empty()

        with pytest.raises(StoreConfigError, match="expected"):
            log.read()
        with log.write() as store:
            assert store.append(make_tick(1), NOW_NS) == 1
        assert log.ids() == [1]

    def test_path_that_is_not_there_is_refused(self, log: Log) -> None:
        """A reader makes nothing."""
        path = log.path.with_name("none")

        with pytest.raises(StoreConfigError, match="expected a f"):
            open_store(f"{log.format}:{path}")
        assert not path.exists()

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
    @pytest.mark.parametrize("is_writer", [False, True])
    def test_unreadable_log_is_refused(self, log: Log, *, is_writer: bool) -> None:
        """With the reason of the operating system, or of SQLite."""
        log.path.chmod(0)
        try:
            with pytest.raises(StoreConfigError, match=r"ermission denied|unable to open"):
                open_store(f"{log.format}:{log.path}", log.config, is_writer=is_writer)
        finally:
            log.path.chmod(0o700)

    def test_second_writer_is_refused_and_told_who_writes(self, log: Log) -> None:
        """Readers are not."""
        with log.write(), log.read() as reader:
            with pytest.raises(StoreConfigError, match=f"is written by pid {os.getpid()}"):
                log.write()
            assert reader.last_id == COUNT


class TestCrash:
    """The process dies at any moment."""

    @pytest.mark.processes
    @pytest.mark.parametrize("name", LOGS)
    def test_killed_writer_loses_nothing_that_it_acknowledged(self, name: str, tmp_path: Path) -> None:
        """Killed again and again, wherever it is; each life goes on behind the last one."""
        root = Path(__file__).parents[2]
        address = f"{name.removesuffix('-sealed')}:{tmp_path / 'log'}"
        ring = str(make_key_ring(tmp_path)) if name.endswith("-sealed") else ""
        acknowledged = 0
        for acknowledgements in (1, 7, 30, 60, 90):
            command = [sys.executable, "-c", APPEND_FOR_EVER, address, ring]
            environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}
            with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
                assert process.stdout is not None
                for _ in range(acknowledgements):
                    acknowledged = int(process.stdout.readline())
                process.kill()
                # What was told before the kill arrived counts as well.
                whole, _, _ = process.stdout.read().rpartition(b"\n")
                acknowledged = max([acknowledged, *map(int, whole.split())])

            with open_store(address, StoreConfig(key_ring=ring)) as store:
                assert store.verify().is_whole
                ids = [record.id for record in store.get_events()]
            assert ids == [*range(1, len(ids) + 1)]
            assert len(ids) >= acknowledged


APPEND_FOR_EVER = """
import sys
from support.message_builders import NOW_NS, make_tick
from common.store.address import open_store
from common.store.config import StoreConfig
store = open_store(sys.argv[1], StoreConfig(segment_bytes_max=50_000, key_ring=sys.argv[2]), is_writer=True)
while True:
    store.append_batch([make_tick(seq) for seq in range(1, 31)], NOW_NS)
    print(store.last_id, flush=True)
"""


class TestWriting:
    """Space, readers beside, keys that change."""

    def test_space_that_is_kept_free_counts_as_full(self, log: Log) -> None:
        """Others need the disk as well."""
        log.config = msgspec.structs.replace(log.config, clear_of_disk_bytes=1 << 60)

        with log.write() as store, pytest.raises(StoreFullError, match="left free"):
            store.append(make_tick(61), NOW_NS)

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

    def test_many_symbols_and_times_come_back_by_every_filter(self, make_log: Callable[..., Log]) -> None:
        """Blocks that hold nothing of it are passed over, and nothing is passed over that is asked for."""
        log = make_log(segment_bytes_max=400_000)
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

    def test_key_changes_without_a_restart_and_without_rewriting(self, make_log: Callable[..., Log]) -> None:
        """The running writer takes the new key up with its next batch; what older ones sealed stays readable."""
        log = make_log()
        if not log.config.key_ring:
            pytest.skip("nothing is sealed")
        with log.write() as store:
            store.append(make_tick(61), NOW_NS + 61)
            assert add_key(Path(log.config.key_ring)) == "k2"
            store.append(make_tick(62), NOW_NS + 62)

        content = b"".join(path.read_bytes() for path in log.path.parent.rglob("log*") if path.is_file())
        content += b"".join(path.read_bytes() for path in log.path.rglob("*.jsonl"))
        assert b"k1" in content
        assert b"k2" in content
        assert log.ids() == [*range(1, COUNT + 3)]
        assert log.verify().is_whole
