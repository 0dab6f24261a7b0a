"""Virtual files: what survives the death of a process, and what survives power loss."""

from random import Random

import pytest

from chaos.disk import VirtualFile
from common.errors import FatalError


def make_file(*, is_synced: bool) -> VirtualFile[int]:
    """A file with the transactions 0 to 9."""
    file: VirtualFile[int] = VirtualFile(is_synced=is_synced)
    for number in range(10):
        file.commit(number)
    return file


def test_synced_file_loses_nothing_with_the_power() -> None:
    """What `synchronous = "full"` promises."""
    file = make_file(is_synced=True)

    lost = [file.lose_power(Random(seed)) for seed in range(20)]

    assert lost == [0] * 20
    assert file.transactions == list(range(10))


def test_unsynced_file_loses_a_suffix_and_never_a_hole() -> None:
    """A log is cut at the first damaged transaction."""
    lengths = set()
    for seed in range(50):
        file = make_file(is_synced=False)
        lost = file.lose_power(Random(seed))
        assert file.transactions == list(range(10 - lost))
        lengths.add(lost)

    assert {0, 10} < lengths


def test_what_was_synced_before_stays() -> None:
    """The system writes back by itself every now and then."""
    file = make_file(is_synced=False)
    file.sync()
    file.commit(10)

    for seed in range(20):
        file.lose_power(Random(seed))

    assert file.transactions[:10] == list(range(10))


def test_refusing_disk_keeps_what_it_has() -> None:
    """A full disk: the write fails and the process must end."""
    file = make_file(is_synced=True)
    file.is_refusing = True

    with pytest.raises(FatalError, match="no space"):
        file.commit(10)

    assert file.transactions == list(range(10))
