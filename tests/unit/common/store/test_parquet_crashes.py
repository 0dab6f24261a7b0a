"""A writer that is killed at any moment, and between any two steps: no record is lost, and none is there twice."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.message_builders import NOW_NS, make_tick
from support.parquet_builders import fill, mixed_messages, parquet_files, reader, writer

from common.store.parquet import drafting
from common.store.parquet.manifest import Converted, Manifest

pytestmark = pytest.mark.unmeasured
ROUNDS = 6
SEED = 20_240_809
# Says after each batch which record is acknowledged. Small write-ahead files: most kills meet a conversion.
PROGRAM = """
import sys
from pathlib import Path
from common.store.config import StoreConfig
from common.store.parquet import store as parquet_store, workshop
from support.message_builders import NOW_NS
from support.parquet_builders import mixed_messages

parquet_store.WAL_RECORDS_MAX = 300
parquet_store._FILES_PER_PLACE_MAX = 6
if sys.argv[2] == "beside":
    workshop.BATCH_BYTES_MAX = workshop.FILE_BYTES_MAX = -1
store = parquet_store.open_store(Path(sys.argv[1]), StoreConfig(), True)
while True:
    last_id = store.append_batch(mixed_messages(store.last_id + 1000, 50), NOW_NS)
    print(last_id, flush=True)
"""


@pytest.mark.processes
@pytest.mark.timeout(180)
@pytest.mark.parametrize("where", ["here", "beside"])
def test_kill_at_any_moment_loses_nothing(tmp_path: Path, where: str) -> None:
    """Again and again in the same log, which verifies after each of them; wherever files are made."""
    chance = random.Random(SEED)
    acknowledged = 0
    for _ in range(ROUNDS):
        batches = chance.randint(1, 60)
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "log"), where],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(batches)]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        acknowledged = max(acknowledged, *(int(line) for line in lines if line.endswith(b"\n")))

        store = reader(tmp_path)
        verification = store.verify()
        records = [*store.get_events()]

        assert verification.damages == [], f"seed {SEED}"
        assert [record.id for record in records] == [*range(1, verification.last_id + 1)]
        assert verification.last_id >= acknowledged
        expected = [
            message for start in range(0, verification.last_id, 50) for message in mixed_messages(start + 1000, 50)
        ]
        assert [record.message for record in records] == expected


class TestBetweenSteps:
    """What a crash leaves between two steps of a conversion."""

    def test_files_without_their_entry_are_cleared(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Their batches are still in the write-ahead part, and are converted again."""
        store = writer(tmp_path)
        store.append_batch(mixed_messages(), NOW_NS)

        def die(_: Manifest, entry: object) -> None:
            assert isinstance(entry, Converted)
            raise OSError("killed here")

        with monkeypatch.context() as patch:
            patch.setattr(Manifest, "append", die)
            store.close()
        left = parquet_files(tmp_path)
        left[0].with_suffix(".tmp").write_bytes(b"half")

        assert left
        assert [record.message for record in reader(tmp_path).get_events()] == mixed_messages()
        assert reader(tmp_path).verify().damages == []
        with writer(tmp_path) as store:
            store.append(make_tick(1), NOW_NS)
        assert [record.id for record in reader(tmp_path).get_events()] == [*range(1, 102)]
        assert not list((tmp_path / "log").rglob("*.tmp"))

    def test_batches_that_are_files_already_are_dropped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Killed between the entry and the removal of the write-ahead file."""
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", lambda *_, **__: None)
            with writer(tmp_path) as store:
                store.append_batch(mixed_messages(), NOW_NS)
        assert list((tmp_path / "log" / "wal").iterdir())

        assert [record.id for record in reader(tmp_path).get_events()] == [*range(1, 101)]
        assert [record.id for record in reader(tmp_path).read()] != []
        assert reader(tmp_path).stats().records == 100
        with writer(tmp_path) as store:
            assert store.append(make_tick(1), NOW_NS) == 101
            assert store.verify().damages == []

    def test_conversion_in_steps_is_the_same(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many batches are taken at a time."""
        monkeypatch.setattr(drafting, "_BYTES_PER_STEP", 1)
        messages = fill(tmp_path)

        assert [record.message for record in reader(tmp_path).get_events()] == messages
