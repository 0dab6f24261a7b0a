"""Large drafts are made by a process beside the writer: the same files, whatever becomes of that process."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.message_builders import NOW_NS
from support.parquet_builders import fill, mixed_messages, reader, writer

from common.store.contract import StoreDamagedError
from common.store.parquet import workshop
from common.store.parquet.drafting import FromBatches, Task
from common.store.parquet.drafting_process import DraftingProcess

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes that were started; everything is large enough for one, and none is left behind."""
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def watch(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(start(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", watch)
    monkeypatch.setattr(workshop, "BATCH_BYTES_MAX", -1)
    monkeypatch.setattr(workshop, "FILE_BYTES_MAX", -1)
    yield started
    assert [process.returncode for process in started].count(None) == 0


def task(folder: Path, content: bytes) -> Task:
    """Convert a write-ahead file of this content."""
    path = folder / "1.frames"
    path.write_bytes(content)
    work = FromBatches(path=str(path), after_id=0, anchored=[])
    return Task(root=str(folder), store_id="mine", number=1, token="word", key_ring="", work=work)  # noqa: S106  # none


def test_one_process_converts_and_merges(tmp_path: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    """One for all tasks of a writer's life; the log is what it would be without it."""
    messages = fill(tmp_path, lives=2)
    with writer(tmp_path) as store:
        assert store.compact() > 0

    assert len(processes) == 3
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert [record.message for record in reader(tmp_path).get_events()] == messages
    assert reader(tmp_path).verify().damages == []
    assert not list((tmp_path / "log").rglob("*.tmp"))


def test_killed_process_is_started_again(tmp_path: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    """What it was to convert is converted by the next one."""
    with writer(tmp_path) as store:
        store.append_batch(mixed_messages(), NOW_NS)
        store.settle()
        processes[0].kill()
        processes[0].wait()
        store.append_batch(mixed_messages(2000), NOW_NS)
        with pytest.raises(OSError, match="ended with -9"):
            store.settle()
        store.settle()

    assert len(processes) == 2
    assert [record.message for record in reader(tmp_path).get_events()] == mixed_messages() + mixed_messages(2000)
    assert reader(tmp_path).verify().damages == []


def test_errors_come_back_as_what_they_are(tmp_path: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    """With their text, and the process goes on."""
    process = DraftingProcess()
    with pytest.raises(StoreDamagedError, match="expected the heading"):
        process.draft(task(tmp_path, b"something else\n"))
    assert process.draft(task(tmp_path, b"TPWAL 1 mine\n")) is None
    process.close()
    process.close()

    assert len(processes) == 1


def test_process_ends_with_a_writer_that_is_killed(tmp_path: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    """Its input ends: no orphan stays."""
    process = DraftingProcess()
    assert process.draft(task(tmp_path, b"TPWAL 1 mine\n")) is None
    stdin = processes[0].stdin
    assert stdin is not None

    stdin.close()  # as the kernel does for a process that is no more

    assert processes[0].wait(timeout=60) == 0
    process.close()


def test_signals_to_the_group_are_for_the_writer(tmp_path: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    """Who ends it when it has converted what there is."""
    process = DraftingProcess()
    process.draft(task(tmp_path, b"TPWAL 1 mine\n"))

    assert os.getpgid(processes[0].pid) != os.getpgid(0)
    process.close()
