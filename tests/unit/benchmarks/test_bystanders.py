"""How much of the machine others used."""

from pathlib import Path

import pytest

from benchmarks import bystanders
from benchmarks.bystanders import Bystanders, read_busy_s


def test_busy_time_is_all_but_idling_and_waiting_for_disks() -> None:
    """The time that a host stole from a virtual machine is gone, too; guests are in `user` already."""
    text = "cpu  100 20 3 9999 8888 4 5 600 70 7\ncpu0 1 2 3 4 5 6 7 8 9 10\n"

    assert read_busy_s(text, ticks_per_s=100) == pytest.approx(7.32)


def test_system_that_does_not_tell_leaves_it_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rather than claim that nobody was there."""
    monkeypatch.setattr(bystanders, "STAT", tmp_path / "missing")

    with Bystanders() as others:
        pass

    assert others.cores is None


def test_what_others_used_is_never_negative() -> None:
    """The kernel counts them and us with different clocks."""
    with Bystanders() as others:
        sum(range(100_000))

    assert others.cores is not None
    assert others.cores >= 0
