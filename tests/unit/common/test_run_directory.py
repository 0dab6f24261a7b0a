import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError
from common.run_directory import Lock, RunDirectory, replace_file

NOW_NS = 1_700_000_000_000_000_000
NOW_MS = NOW_NS // 1_000_000


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    """A run directory that was created."""
    return RunDirectory(tmp_path / "run").create()


def mode_of(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_run_directory_and_all_its_parts_are_closed_to_others(directory: RunDirectory) -> None:
    """Sockets in it take orders from whoever can reach them."""
    parts = sorted(part.name for part in directory.path.iterdir())

    assert parts == ["locks", "logs", "sockets", "state", "status"]
    assert {mode_of(path) for path in (directory.path, *directory.path.iterdir())} == {0o700}


def test_open_directory_is_closed_when_it_is_taken(tmp_path: Path) -> None:
    """Somebody made it with mkdir; their umask must not decide."""
    (tmp_path / "run").mkdir(mode=0o755)

    RunDirectory(tmp_path / "run").create()

    assert mode_of(tmp_path / "run") == 0o700


def test_creating_it_again_keeps_what_is_in_it(directory: RunDirectory) -> None:
    """Every process of a run does so."""
    directory.file("state", "journal.sqlite").write_text("precious")

    RunDirectory(directory.path).create()

    assert directory.file("state", "journal.sqlite").read_text() == "precious"


def test_directory_that_cannot_be_made_is_a_config_error(tmp_path: Path) -> None:
    """A restart would not help; the message says what to change."""
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=r"expected one that this user can create.*choose another with --run-dir"):
        RunDirectory(tmp_path / "file" / "run").create()


def test_relative_path_is_fixed_when_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets must stay where they are when somebody changes the working directory."""
    monkeypatch.chdir(tmp_path)

    assert RunDirectory("run").path == tmp_path / "run"


def test_second_claim_of_a_name_is_told_who_holds_it_and_since_when(directory: RunDirectory) -> None:
    """Two pipelines never share a run directory by accident."""
    lock = directory.lock("executor", NOW_NS)

    with pytest.raises(ConfigError) as refusal:
        directory.lock("executor", NOW_NS + 1)

    who = f"executor is held by pid {os.getpid()} since 2023-11-14 22:13:20 UTC"
    assert f"{who}; stop it or choose another directory" in str(refusal.value)
    lock.release()


def test_holder_that_left_no_word_is_another_process(directory: RunDirectory) -> None:
    """The lock counts, not what is written in the file."""
    lock = directory.lock("executor", NOW_NS)
    directory.file("locks", "executor").write_bytes(b"\xff\x00")

    with pytest.raises(ConfigError, match="executor is held by another process;"):
        directory.lock("executor", NOW_NS)
    lock.release()


def test_other_names_are_free(directory: RunDirectory) -> None:
    """A run has many processes."""
    locks = [directory.lock(name, NOW_NS) for name in ("executor", "gateway")]

    assert [lock.holder() is not None for lock in locks] == [True, True]
    for lock in locks:
        lock.release()


def test_released_lock_can_be_taken_again(directory: RunDirectory) -> None:
    """Releasing twice does no harm, also not to the next holder."""
    first = directory.lock("executor", NOW_NS)
    first.release()
    second = directory.lock("executor", NOW_NS)

    first.release()

    assert Lock(directory.file("locks", "executor")).acquire(NOW_NS) is False
    second.release()


def test_lock_of_a_process_that_was_killed_is_free(directory: RunDirectory) -> None:
    """The kernel frees it; a file that stays behind means nothing."""
    child = os.fork()
    if child == 0:
        directory.lock("executor", NOW_NS)
        os._exit(9)
    os.waitpid(child, 0)

    directory.lock("executor", NOW_NS).release()


def test_first_epoch_is_the_time_in_milliseconds(directory: RunDirectory) -> None:
    """So that epochs rise even where the state directory was lost."""
    assert directory.next_epoch("gateway", NOW_NS) == NOW_MS


@settings(max_examples=30)
@given(times_ns=st.lists(st.integers(0, 2 * NOW_NS), min_size=2, max_size=8))
def test_epochs_rise_strictly_whatever_the_clock_does(
    tmp_path_factory: pytest.TempPathFactory, times_ns: list[int]
) -> None:
    """Also when it goes back, and when a process is started twice within a millisecond."""
    directory = RunDirectory(tmp_path_factory.mktemp("run")).create()

    epochs = [directory.next_epoch("gateway", now_ns) for now_ns in times_ns]

    assert epochs == sorted(set(epochs))


def test_epochs_of_different_processes_are_apart(directory: RunDirectory) -> None:
    """One process's restart does not move another's numbers."""
    directory.next_epoch("gateway", 2 * NOW_NS)

    assert directory.next_epoch("executor", NOW_NS) == NOW_MS


def test_epoch_file_that_is_broken_starts_over_from_the_time(directory: RunDirectory) -> None:
    """Only we write it; a person who emptied it must not stop the process from starting."""
    directory.file("state", "gateway.epoch").write_bytes(b"")

    assert directory.next_epoch("gateway", NOW_NS) == NOW_MS


def test_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Whoever has the old file open keeps the old content, and nothing is left beside the new one."""
    path = tmp_path / "gateway.json"
    replace_file(path, b"old and long")

    with path.open("rb") as reader:
        replace_file(path, b"new")
        old_content = reader.read()

    assert (old_content, path.read_bytes()) == (b"old and long", b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["gateway.json"]
