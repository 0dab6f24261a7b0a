"""Frames that the hot path could not use: kept for people, at no cost to it."""

import sqlite3
from pathlib import Path

import pytest

from common.bus import frame_keeper
from common.bus.dead_letters import DeadLetter, DeadLetters
from common.bus.frame_keeper import FRAMES_PER_FLUSH, FRAMES_WAITING_MAX, FrameKeeper
from common.clock import VirtualClock
from common.errors import WireError, WireFault
from common.log import FaultLog, get_log


def make_fault(frame: bytes = b"tick.simulated.X\0\xc1") -> WireError:
    """What a service has in hand when it drops a frame."""
    error = WireError(WireFault.GARBAGE, "body: expected one MessagePack map")
    error.frame = frame
    return error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the letters go."""
    return tmp_path / "dead-letters" / "executor.sqlite"


def letters_at(path: Path) -> list[DeadLetter]:
    """What is kept there."""
    letters = DeadLetters(path)
    found = letters.read()
    letters.close()
    return found


def test_dropped_frame_is_kept_with_its_channel_and_reason(path: Path) -> None:
    """Every one of them, although the log tells of the first of a kind only."""
    keeper = FrameKeeper(path, VirtualClock())
    faults = FaultLog(get_log(), keeper.keep)

    faults.report("signals", make_fault())
    faults.report("signals", make_fault(b"no topic"))
    assert not path.exists()
    keeper.close()

    kept = [(letter.owner, letter.reason, letter.type, letter.frame) for letter in letters_at(path)]
    assert kept == [
        ("frames:signals", "GARBAGE", "tick.simulated.X", b"tick.simulated.X\0\xc1"),
        ("frames:signals", "GARBAGE", "no topic", b"no topic"),
    ]
    assert keeper.counters() == {"frames_kept": 2}


def test_flood_is_kept_in_samples_and_counted(path: Path) -> None:
    """A main loop has other things to do."""
    keeper = FrameKeeper(path, VirtualClock())

    for _ in range(FRAMES_WAITING_MAX + 5):
        keeper.keep("market", make_fault())
    keeper.flush()

    assert keeper.counters() == {"frames_kept": FRAMES_PER_FLUSH, "frames_not_kept": 5}
    keeper.keep("market", make_fault(b"x" * 2_000_000))
    keeper.close()
    assert len(letters_at(path)) == FRAMES_WAITING_MAX + 1
    assert max(len(letter.frame) for letter in letters_at(path)) == 65_536


@pytest.mark.parametrize(
    ("name", "limit"), [("FRAMES_KEPT_MAX", 3), ("BYTES_KEPT_MAX", 3 * 18), ("BYTES_WAITING_MAX", 3 * 18)]
)
def test_one_life_keeps_no_more_than_so_much(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: int
) -> None:
    """Who sends garbage for days must not fill the disk."""
    monkeypatch.setattr(frame_keeper, name, limit)
    keeper = FrameKeeper(path, VirtualClock())

    for _ in range(5):
        keeper.keep("market", make_fault())
        if name != "BYTES_WAITING_MAX":
            keeper.flush()
    keeper.close()

    assert keeper.counters() == {"frames_kept": 3, "frames_not_kept": 2}


def test_locked_file_or_full_disk_never_reaches_the_main_loop(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is written once it can be."""
    DeadLetters(path).close()
    keeper = FrameKeeper(path, VirtualClock())
    keeper.keep("market", make_fault())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    keeper.flush()
    other.execute("ROLLBACK")
    other.close()
    assert keeper.counters() == {"frames_write_refused": 1}

    with monkeypatch.context() as patched:
        patched.setattr(DeadLetters, "keep", _refuse)
        keeper.flush()
    keeper.flush()
    keeper.close()

    assert keeper.counters() == {"frames_write_refused": 2, "frames_kept": 1}


def test_directory_that_cannot_be_written_costs_the_frames_and_nothing_else(tmp_path: Path) -> None:
    """They are counted."""
    (tmp_path / "file").write_bytes(b"")
    keeper = FrameKeeper(tmp_path / "file" / "executor.sqlite", VirtualClock())
    keeper.keep("market", make_fault())

    keeper.flush()
    keeper.close()

    assert keeper.counters() == {"frames_write_refused": 2, "frames_not_kept": 1}


def _refuse(_letters: DeadLetters, _letter: DeadLetter) -> int:
    raise sqlite3.OperationalError("database or disk is full")
