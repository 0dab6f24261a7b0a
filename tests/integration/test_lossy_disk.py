"""The disk of the drills: what it keeps is what was synced, so that a drill on it means something."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from support.pipeline import ROOT, child_environment

from chaos.drills import run
from chaos.drills.lossy_disk import Failure, LossyDisk, missing_reason
from chaos.drills.report import format_drill_report, make_drill_report
from common.errors import FatalError
from executor.journal import open_readonly, read_entries

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]
FILES = {"journal.sqlite", "journal.sqlite-wal", "journal.sqlite-journal"}
# Tells of each entry that it may rely on.
WRITER = """
import sys
from pathlib import Path
from executor.entries import OrderUnanswered
from executor.journal import SqliteJournal
journal = SqliteJournal(Path(sys.argv[1], "journal.sqlite"), sys.argv[2])
for number in range(int(sys.argv[3])):
    journal.append([OrderUnanswered(number, f"order-{number}-" + "x" * 1_000)])
    print(number, flush=True)
sys.stdin.readline()
journal.append([OrderUnanswered(-1, "last")])
"""
# Of three files one is never synced, one synced, and one synced and then removed.
REMOVER = """
import os, sys
for name in ("unsynced", "synced", "removed"):
    fd = os.open(f"{sys.argv[1]}/{name}", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"content")
    if name != "unsynced":
        os.fsync(fd)
    os.write(fd, b" and more")
os.unlink(f"{sys.argv[1]}/removed")
if sys.argv[2] == "directory":
    os.fsync(os.open(sys.argv[1], os.O_RDONLY))
"""


@pytest.fixture
def disk(tmp_path: Path) -> LossyDisk:
    """A disk below the test's directory."""
    if (reason := missing_reason()) is not None:
        pytest.skip(reason)
    live = tmp_path / "live"
    live.mkdir()
    return LossyDisk(tmp_path / "disk", live)


def start(disk: LossyDisk, program: str, *arguments: str) -> subprocess.Popen[str]:
    """A process on the disk."""
    return subprocess.Popen(
        [sys.executable, "-c", program, str(disk.live), *arguments],
        cwd=ROOT,
        env={**child_environment(), **disk.environment("writer")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def write_until(disk: LossyDisk, synchronous: str, count: int, failure: Failure) -> tuple[int, str]:
    """Write so many entries, let the disk fail at the next one; the exit code and what the process said then."""
    with start(disk, WRITER, synchronous, str(count)) as writer:
        assert writer.stdout is not None
        for _ in range(count):
            writer.stdout.readline()
        disk.fail("writer", failure)
        _, errors = writer.communicate("go on\n")
    return writer.returncode, errors


def kept(disk: LossyDisk) -> Iterator[str]:
    """Subjects of the entries in the journal."""
    connection = open_readonly(disk.live / "journal.sqlite")
    try:
        yield from [entry.subject for _, entry in read_entries(connection)]
    finally:
        connection.close()


# With 1,500 entries the log is moved into the database and begun anew: files are overwritten in place.
@pytest.mark.parametrize(("count", "seed"), [(10, None), (1_500, None), (1_500, 1)])
def test_power_loss_in_the_middle_of_a_sync_takes_nothing_that_full_has_told(
    disk: LossyDisk, count: int, seed: int | None
) -> None:
    """The entry of the interrupted sync may be there or not."""
    code, _ = write_until(disk, "full", count, Failure.POWER)
    lost = disk.lose_power(FILES, None if seed is None else Random(seed))

    assert code == -signal.SIGKILL
    assert lost > 0
    found = [subject.partition("-x")[0] for subject in kept(disk)]
    assert found[:count] == [f"order-{number}" for number in range(count)]
    assert found[count:] in ([], ["last"])


def test_power_loss_takes_what_normal_has_told(disk: LossyDisk) -> None:
    """That is what the other rows are worth."""
    count = 50
    with start(disk, WRITER, "normal", str(count)) as writer:
        assert writer.stdout is not None
        for _ in range(count):
            writer.stdout.readline()
        writer.kill()
    disk.lose_power(FILES)

    assert len([*kept(disk)]) < count


@pytest.mark.parametrize("failure", [Failure.SYNC, Failure.WRITE])
def test_disk_that_refuses_ends_the_write_with_an_error(disk: LossyDisk, failure: Failure) -> None:
    """And what it refused is gone without power."""
    code, errors = write_until(disk, "full", 10, failure)
    disk.lose_power(FILES)

    assert code == 1
    assert "1 entries could not be written, disk I/O error" in errors
    assert len([*kept(disk)]) == 10


@pytest.mark.parametrize("synced", ["file", "directory"])
def test_files_are_there_once_synced_and_gone_once_their_directory_is(disk: LossyDisk, synced: str) -> None:
    """A removal that the disk has not heard of is undone."""
    with start(disk, REMOVER, synced) as remover:
        assert remover.communicate() == ("", "")
    disk.lose_power({"unsynced", "synced", "removed"})

    found = {path.name: path.read_text() for path in disk.live.iterdir()}
    assert found == {"synced": "content"} | ({"removed": "content"} if synced == "file" else {})


def test_next_life_syncs_what_the_one_before_has_written(disk: LossyDisk) -> None:
    """A process that dies leaves its writes with the machine."""
    with start(disk, WRITER, "normal", "5") as writer:
        assert writer.stdout is not None
        for _ in range(5):
            writer.stdout.readline()
        writer.kill()

    write_until(disk, "full", 1, Failure.POWER)
    disk.lose_power(FILES)

    assert len([*kept(disk)]) in (6, 7)


def test_source_that_cannot_be_compiled_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the compiler's words."""
    source = tmp_path / "wrong.c"
    source.write_text("this is no C")
    monkeypatch.setattr("chaos.drills.lossy_disk.SOURCE", source)

    with pytest.raises(FatalError, match="expected to be compiled"):
        LossyDisk(tmp_path / "disk", tmp_path)


def test_drill_without_a_compiler_is_skipped_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no failure, and no silence either."""
    monkeypatch.setattr(run, "missing_reason", lambda: "it needs a C compiler, found no `cc`")

    report = make_drill_report([*run.run_rounds(3, "power_loss", 0, lambda _: None)])

    assert report.is_sound
    assert report.skipped == ["power_loss: it needs a C compiler, found no `cc`"]
    assert "skipped: power_loss: it needs a C compiler" in format_drill_report(report)
