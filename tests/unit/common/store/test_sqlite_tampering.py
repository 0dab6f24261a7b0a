"""Whatever is done to a log behind our back, `verify` finds it and names the first bad place."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from support.message_builders import NOW_NS, make_tick
from support.store_builders import make_key_ring

from common.store.address import open_store
from common.store.config import StoreConfig
from common.store.contract import CannotVerifyError, Verification
from common.store.sqlite import checking

COUNT = 2_500


def write(path: Path, first: int = 1, count: int = COUNT, config: StoreConfig | None = None) -> None:
    """Add ticks to a log."""
    with open_store(f"sqlite:{path}", config, is_writer=True) as store:
        store.append_batch([make_tick(seq) for seq in range(first, first + count)], NOW_NS)


def verify(path: Path) -> Verification:
    """Check a log as who has no key of the records."""
    with open_store(f"sqlite:{path}") as store:
        return store.verify()


def change(path: Path, *statements: str) -> None:
    """What somebody with sqlite3 does."""
    connection = sqlite3.connect(path)
    for statement in statements:
        assert connection.execute(statement).rowcount != 0
    connection.commit()
    connection.close()


@pytest.fixture(params=["plain", "sealed"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A whole log."""
    path = tmp_path / "log"
    write(path, config=StoreConfig(key_ring=str(make_key_ring(tmp_path)) if request.param == "sealed" else ""))
    assert verify(path).is_whole
    return path


INSERT = """
INSERT INTO events (id, timestamp, type, data_json, recorded_ns, exchange, symbol, key, sealed, digest)
SELECT 2501, timestamp, type, data_json, recorded_ns, exchange, symbol, key, sealed, digest FROM events WHERE id = 2500
"""
SWAP = (
    "UPDATE events SET id = -1 WHERE id = 1200",
    "UPDATE events SET id = 1200 WHERE id = 1201",
    "UPDATE events SET id = 1201 WHERE id = -1",
)


@pytest.mark.parametrize(
    ("statements", "row"),
    [
        (["UPDATE events SET data_json = replace(coalesce(data_json, 'x'), '99.5', '9.5') WHERE id = 1200"], 1200),
        (["UPDATE events SET sealed = x'00' WHERE id = 1200"], 1200),
        (["UPDATE events SET recorded_ns = recorded_ns + 1 WHERE id = 1200"], 1200),
        (["UPDATE events SET timestamp = timestamp + 1 WHERE id = 1200"], 1200),
        (["UPDATE events SET symbol = 'ETH/USDT' WHERE id = 1200"], 1200),
        (["UPDATE events SET digest = x'00' WHERE id = 1200"], 1200),
        (["DELETE FROM events WHERE id = 1200"], 1201),
        (["DELETE FROM events WHERE id = 1"], 2),
        (SWAP, 1200),
        (["UPDATE events SET id = 9000 WHERE id = 1200"], 1201),
        ([INSERT], 2501),
        (["DELETE FROM events WHERE id > 2400"], 2400),
        (["DELETE FROM events"], 0),
    ],
    ids=[
        "changed", "sealed part", "time of recording", "column", "symbol", "digest", "removed", "first removed",
        "swapped", "moved", "inserted", "cut tail", "emptied",
    ],
)  # fmt: skip
def test_change_is_found(path: Path, statements: list[str], row: int) -> None:
    """The first bad place is named."""
    change(path, *statements)

    verification = verify(path)

    assert verification.damages[0].place == f"{path}: row {row}"


def test_cut_tail_is_found_after_writing_went_on(path: Path) -> None:
    """The next life of the writer does not cover it up."""
    change(path, "DELETE FROM events WHERE id > 2400")
    write(path, 2_401, 200)

    assert not verify(path).is_whole


def test_restored_older_copy_is_found(path: Path) -> None:
    """A whole log, but not the newest: the anchors have seen more; going on from it does not help."""
    older = shutil.copyfile(path, path.with_name("older"))
    write(path, 2_501, 100)
    shutil.copyfile(older, path)

    assert "older copy" in verify(path).damages[0].what
    write(path, 9_000, 300)
    assert not verify(path).is_whole


def test_columns_that_lie_are_found_even_in_a_whole_chain() -> None:
    """Who can compute the chain and has no anchor key may make a row lie: the JSON is compared with the columns."""
    content = [1, 5, "Market.Tick.Received.v1", '{"type":"Market.Tick.Received.v1","timestamp_ns":6}', 7, *[None] * 4]

    assert "expected the columns to repeat" in (checking._find_lie(content) or "")
    content[1] = 6
    assert checking._find_lie(content) is None


def test_index_that_hides_a_row_is_found(path: Path) -> None:
    """A row that is not in an index would be missing in a query by time."""
    change(path, "CREATE TABLE spare AS SELECT 1")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(
        "UPDATE sqlite_master SET sql = 'CREATE INDEX events_time ON events (timestamp, exchange, symbol)'"
        " WHERE name = 'events_time'"
    )
    connection.commit()
    connection.close()

    damages = verify(path).damages

    assert any("events_time" in damage.what for damage in damages)


def test_dropped_index_is_found(path: Path) -> None:
    """A query by time would fail."""
    connection = sqlite3.connect(path)
    connection.execute("DROP INDEX events_time")
    connection.close()

    assert [damage.what for damage in verify(path).damages] == ["index events_time is missing"]


def test_log_without_its_anchors_cannot_be_verified(path: Path) -> None:
    """Whether its end is missing nobody can tell; what is damaged is told all the same."""
    shutil.rmtree(path.with_name("log.anchors"))

    with pytest.raises(CannotVerifyError, match="without them nobody can tell"):
        verify(path)
    change(path, "DELETE FROM events WHERE id = 7")
    assert verify(path).damages[0].place == f"{path}: row 8"


@pytest.mark.parametrize("going_back", [True, False])
def test_clock_that_went_back_is_no_damage(tmp_path: Path, *, going_back: bool) -> None:
    """It is worth a note."""
    path = tmp_path / "log"
    with open_store(f"sqlite:{path}", is_writer=True) as store:
        store.append(make_tick(1), NOW_NS)
        store.append(make_tick(2), NOW_NS - 1 if going_back else NOW_NS + 1)

    verification = verify(path)

    assert verification.is_whole
    assert bool(verification.notes) == going_back
