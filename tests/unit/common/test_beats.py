"""The proof that a main loop turns."""

import os
from pathlib import Path

from common.beats import Beat, BeatFile, read_beat


def test_beat_is_read_as_it_was_written(tmp_path: Path) -> None:
    """The newest one, and nothing of those before."""
    beats = BeatFile(tmp_path / "gateway.alive")
    beats.write(1 << 62, 1)
    beats.write(7, 2)
    beats.close()

    assert read_beat(tmp_path / "gateway.alive") == Beat(pid=os.getpid(), monotonic_ns=7, turns=2)


def test_new_life_keeps_the_old_beat_until_it_has_one(tmp_path: Path) -> None:
    """A file that was emptied first would look like none of ours for a moment."""
    path = tmp_path / "gateway.alive"
    old = BeatFile(path)
    old.write(7, 2)
    old.close()

    new = BeatFile(path)
    before = read_beat(path)
    new.write(8, 0)
    new.close()

    assert before == Beat(os.getpid(), 7, 2)
    assert read_beat(path) == Beat(os.getpid(), 8, 0)


def test_missing_or_broken_file_is_no_beat(tmp_path: Path) -> None:
    """Whoever watches has no process of ours before it."""
    broken = tmp_path / "broken.alive"
    broken.write_bytes(b"short")

    assert read_beat(tmp_path / "nobody.alive") is None
    assert read_beat(broken) is None


def test_long_turn_that_gets_on_is_a_newer_beat_of_the_same_turn(tmp_path: Path) -> None:
    """It waits for somebody on purpose; before the first turn it is still opening."""
    beats = BeatFile(tmp_path / "gateway.alive")
    seen = []

    beats.write_within_turn(1)
    seen.append(read_beat(tmp_path / "gateway.alive"))
    beats.write(2, 7)
    beats.write_within_turn(3)
    seen.append(read_beat(tmp_path / "gateway.alive"))
    beats.close()

    assert [(beat.monotonic_ns, beat.turns) for beat in seen if beat is not None] == [(1, 0), (3, 7)]
