import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.message_builders import NOW_NS, make_tick

from common.events.market import Tick
from common.store.memory import MemoryStore
from common.store.projection import KEPT_MAX, CannotRebuildError, Rebuilt, Snapshots, rebuild
from common.store.record import Record


class History:
    """A projection from whose state the order of everything it was told can be read."""

    name = "history"
    version = 1

    def __init__(self) -> None:
        self.bids: list[int] = []

    def apply(self, record: Record) -> None:
        """Remember a bid."""
        assert isinstance(record.message, Tick)
        assert record.message.bid is not None
        self.bids.append(int(record.message.bid))

    def save(self) -> bytes:
        """As text."""
        return ",".join(map(str, self.bids)).encode()

    def load(self, state: bytes) -> None:
        """From text."""
        self.bids = [int(bid) for bid in state.decode().split(",")] if state else []


class NewHistory(History):
    """The same, after somebody changed it."""

    version = 2


def make_log(recorded: Sequence[int], first: int = 1) -> MemoryStore:
    """A record for each time of recording; its bid is its id."""
    store = MemoryStore()
    store.append_records(
        [
            Record(number, NOW_NS + time, make_tick(number, bid=float(number)))
            for number, time in enumerate(recorded, start=first)
        ]
    )
    return store


def fold(store: MemoryStore, as_of_id: int | None = None, as_of_ns: int | None = None) -> list[int]:
    """From the beginning, with nothing but a loop."""
    bids = []
    for record in store.get_events():
        if as_of_id is not None and record.id > as_of_id:
            break
        if as_of_ns is not None and record.recorded_ns > as_of_ns:
            break
        bids.append(record.id)
    return bids


@settings(deadline=None)
@given(
    recorded=st.lists(st.integers(0, 50), max_size=60),
    points=st.lists(st.tuples(st.none() | st.integers(0, 70), st.none() | st.integers(-1, 55)), max_size=8),
    save_every=st.integers(1, 20),
)
def test_as_of_equals_folding_from_the_beginning(
    recorded: list[int], points: list[tuple[int | None, int | None]], save_every: int
) -> None:
    """At random points, with the snapshots that earlier questions left, whatever the clock of the recorder did."""
    store = make_log(recorded)
    with tempfile.TemporaryDirectory() as folder:
        snapshots = Snapshots(Path(folder))

        for as_of_id, after_ns in points:
            as_of_ns = None if after_ns is None else NOW_NS + after_ns
            found = rebuild(store, History, snapshots, as_of_id=as_of_id, as_of_ns=as_of_ns, save_every=save_every)
            expected = fold(store, as_of_id, as_of_ns)
            assert found.projection.bids == expected
            assert found.last_id == len(expected)
            assert found.snapshot_id + found.applied == len(expected)

        assert snapshots.unusable == 0


def saved(store: MemoryStore, folder: Path, save_every: int = 10) -> Snapshots:
    """Fold the whole log, and keep snapshots."""
    snapshots = Snapshots(folder)
    rebuild(store, History, snapshots, save_every=save_every)
    return snapshots


def test_rebuild_applies_only_what_is_behind_the_newest_snapshot_before_the_point(tmp_path: Path) -> None:
    """A later one knows too much."""
    store = make_log(range(95))
    snapshots = saved(store, tmp_path)

    at_end = rebuild(store, History, snapshots)
    before = rebuild(store, History, snapshots, as_of_id=57)
    at_time = rebuild(store, History, snapshots, as_of_ns=NOW_NS + 49)

    assert (at_end.snapshot_id, at_end.applied) == (95, 0)
    assert (before.snapshot_id, before.applied) == (50, 7)
    assert (at_time.snapshot_id, at_time.applied) == (50, 0)


def test_only_the_newest_snapshots_are_kept(tmp_path: Path) -> None:
    """The folder does not grow for ever."""
    saved(make_log(range(200)), tmp_path)

    names = sorted(path.name for path in (tmp_path / "history").iterdir())

    assert len(names) == KEPT_MAX
    assert names[-1] == f"{200:020}.snapshot"


@pytest.mark.parametrize("what", ["flipped", "cut", "empty", "foreign"])
def test_damaged_snapshot_is_passed_over_and_counted(tmp_path: Path, what: str) -> None:
    """The one before it, and then the log, give the same state."""
    store = make_log(range(40))
    snapshots = saved(store, tmp_path)
    newest = tmp_path / "history" / f"{40:020}.snapshot"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes({"flipped": bytes(content), "cut": bytes(content[:50]), "empty": b"", "foreign": b"{}"}[what])

    found = rebuild(store, History, snapshots)

    assert found.projection.bids == list(range(1, 41))
    assert (found.snapshot_id, snapshots.unusable) == (30, 1)


def test_snapshots_of_another_version_are_passed_over(tmp_path: Path) -> None:
    """The same records may give another state now."""
    store = make_log(range(25))
    snapshots = saved(store, tmp_path)

    found: Rebuilt[NewHistory] = rebuild(store, NewHistory, snapshots)

    assert (found.snapshot_id, found.applied, snapshots.unusable) == (0, 25, 3)


def test_snapshots_of_another_log_are_passed_over(tmp_path: Path) -> None:
    """Such as after an older copy was restored and went on in another way, or was cut."""
    snapshots = saved(make_log(range(30)), tmp_path)
    other, shorter = make_log([*range(15), *range(100, 120)]), make_log(range(12))

    from_other = rebuild(other, History, snapshots)
    from_shorter = rebuild(shorter, History, snapshots)

    assert (from_other.snapshot_id, from_other.applied) == (10, 25)
    assert (from_shorter.snapshot_id, from_shorter.applied) == (10, 2)
    assert snapshots.unusable == 4


def test_retention_that_keeps_what_a_snapshot_needs_changes_nothing(tmp_path: Path) -> None:
    """Records from `needed_from` on are enough, with the snapshots."""
    snapshots = saved(make_log(range(30)), tmp_path)
    needed_from = snapshots.needed_from()
    assert needed_from == 31

    kept = make_log(range(30, 45), first=needed_from)
    found = rebuild(kept, History, snapshots)

    assert found.projection.bids == list(range(1, 46))
    assert (found.snapshot_id, found.applied, snapshots.unusable) == (30, 15, 0)


def test_needed_from_is_that_of_the_projection_that_is_furthest_behind(tmp_path: Path) -> None:
    """And none where nothing was saved."""
    store = make_log(range(30))
    snapshots = saved(store, tmp_path)

    class Other(History):
        name = "other"

    rebuild(store, Other, snapshots, as_of_id=12, save_every=10)

    assert snapshots.needed_from() == 13
    assert Snapshots(tmp_path / "none").needed_from() is None


def test_log_that_lacks_its_beginning_is_not_folded_as_if_it_were_whole(tmp_path: Path) -> None:
    """Without a snapshot of what was removed, and with one that does not reach up to what is left."""
    snapshots = saved(make_log(range(10)), tmp_path)
    kept = make_log(range(30), first=20)

    with pytest.raises(CannotRebuildError, match="begins at record 20"):
        rebuild(kept, History)
    with pytest.raises(CannotRebuildError, match="begins at record 20"):
        rebuild(kept, History, snapshots)


def test_empty_log_gives_a_projection_that_knows_nothing() -> None:
    """At any point."""
    found = rebuild(MemoryStore(), History, as_of_ns=NOW_NS)

    assert (found.projection.bids, found.last_id, found.applied) == ([], 0, 0)
