"""The SQLite format: one writer, foreign and damaged files, a full disk, what users of sqlite3 see."""

import json
import sqlite3
from pathlib import Path

import pytest
from support.message_builders import NOW_NS, make_tick, make_ticks

from common.checkpoints import BackgroundCheckpoints
from common.store.address import open_store
from common.store.config import StoreConfig
from common.store.contract import Store, StoreConfigError, StoreDamagedError, StoreFullError
from common.store.selection import Selection, types_named
from common.store.sqlite.store import SqliteWriter

COUNT = 3_000


def write(path: Path, count: int = COUNT) -> None:
    """A log of single ticks of two symbols."""
    with open_store(f"sqlite:{path}", is_writer=True) as store:
        store.append_batch(
            [make_tick(seq, symbol=f"{'BTC' if seq % 2 else 'ETH'}/USDT") for seq in range(1, count + 1)], NOW_NS
        )


def read(path: Path) -> Store:
    """The log, for reading."""
    return open_store(f"sqlite:{path}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is."""
    return tmp_path / "events.sqlite"


def test_sqlite3_shows_readable_events(path: Path) -> None:
    """A person asks the table by time, type, exchange and symbol, and the JSON by its fields."""
    with open_store(f"sqlite:{path}", is_writer=True) as store:
        store.append_batch([make_tick(1), make_ticks(seq=4, count=2)], NOW_NS)

    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT id, timestamp, type, exchange, symbol, data_json FROM events").fetchall()
    ticks = connection.execute("SELECT json_extract(data_json, '$.ticks[1].bid') FROM events WHERE id = 2").fetchall()
    connection.close()

    assert rows[0][:5] == (1, NOW_NS + 1, "Market.Tick.Received.v1", "simulated", "BTC/USDT")
    assert json.loads(rows[0][5])["bid"] == 99.5
    assert ticks == [(99.5,)]


def test_pages_join_without_a_seam(path: Path) -> None:
    """Far more records than a page, of one time too: each comes once, in order, by every way of asking."""
    with open_store(f"sqlite:{path}", is_writer=True) as store:
        store.append_batch([make_tick(seq, timestamp_ns=NOW_NS + seq // 1_300) for seq in range(COUNT)], NOW_NS)

        everything = [*range(1, COUNT + 1)]
        assert [record.id for record in store.read()] == everything
        assert [record.id for record in store.read(Selection(types=types_named(["tick"])))] == everything
        assert [
            record.id for record in store.read(Selection(symbol="BTC/USDT", types=types_named(["tick"])))
        ] == everything
        assert [record.id for record in store.get_events()] == everything


def test_second_writer_is_refused_and_readers_are_not(path: Path) -> None:
    """One process writes; the message names it. A reader sees each batch as soon as it is written."""
    with open_store(f"sqlite:{path}", is_writer=True) as writer:
        with pytest.raises(StoreConfigError, match="is written by pid"):
            open_store(f"sqlite:{path}", is_writer=True)
        with read(path) as reader:
            assert [*reader.read()] == []
            writer.append(make_tick(1), NOW_NS)
            assert (reader.last_id, len([*reader.read()])) == (1, 1)
            with pytest.raises(StoreConfigError, match="opened for reading"):
                reader.append(make_tick(2), NOW_NS)
    write(path.with_name("again"))


def test_unfinished_read_does_not_hold_the_log_back(path: Path) -> None:
    """Between two pages a reader holds nothing: the writer's log can begin anew."""
    write(path)
    with open_store(f"sqlite:{path}", is_writer=True) as writer, read(path) as reader:
        records = reader.read()
        next(records)
        writer.append(make_tick(1), NOW_NS)
        assert isinstance(writer, SqliteWriter)

        busy, pages, done = writer._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()

        assert (busy, pages) == (0, done)
        assert len([*records]) == COUNT - 1  # what came later is not of this read


def test_long_log_begins_anew_while_it_is_written(path: Path) -> None:
    """Told by the thread that the log has grown long, the writer moves the rest itself."""
    with open_store(f"sqlite:{path}", is_writer=True) as writer:
        assert isinstance(writer, SqliteWriter)
        checkpoints = writer._checkpoints
        assert isinstance(checkpoints, BackgroundCheckpoints)
        writer.append_batch([make_tick(seq) for seq in range(COUNT)], NOW_NS)
        size = path.with_name(f"{path.name}-wal").stat().st_size
        checkpoints._is_log_long = True
        writer.append(make_tick(1), NOW_NS)

        for seq in range(20):
            writer.append(make_tick(seq), NOW_NS)

        assert path.with_name(f"{path.name}-wal").stat().st_size < size + 100_000
        assert writer.verify().is_whole


def test_full_disk_records_nothing_of_the_batch(path: Path) -> None:
    """When there is room again, the same batch is recorded under the same ids."""
    with open_store(f"sqlite:{path}", is_writer=True) as store:
        assert isinstance(store, SqliteWriter)
        store.append(make_tick(1), NOW_NS)
        [(pages,)] = store._connection.execute("PRAGMA page_count").fetchall()
        store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        batch = [make_tick(seq) for seq in range(2, 1_002)]

        with pytest.raises(StoreFullError, match="the disk is full, 1000 records were not written"):
            store.append_batch(batch, NOW_NS)

        assert (store.last_id, len([*store.get_events()])) == (1, 1)
        store._connection.execute("PRAGMA max_page_count = 1000000")
        assert store.append_batch(batch, NOW_NS) == 1_001
        assert store.verify().is_whole


def test_room_that_must_stay_free_is_not_used(path: Path) -> None:
    """The recorder stops before others have no room."""
    config = StoreConfig(clear_of_disk_bytes=1 << 60)
    with (
        open_store(f"sqlite:{path}", config, is_writer=True) as store,
        pytest.raises(StoreFullError, match="left free"),
    ):
        store.append(make_tick(1), NOW_NS)


@pytest.mark.parametrize("is_writer", [False, True])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"no database, but text\n" * 100, "expected an SQLite file of tickpulse, was something else"),
        (b"SQLite format 3\0" + b"\xff" * 4_000, "event log"),
    ],
)
def test_file_of_another_kind_is_refused(path: Path, *, content: bytes, expected: str, is_writer: bool) -> None:
    """And stays as it was."""
    path.write_bytes(content)

    with pytest.raises((StoreConfigError, StoreDamagedError), match=expected):
        open_store(f"sqlite:{path}", is_writer=is_writer)

    assert path.read_bytes() == content


@pytest.mark.parametrize("is_writer", [False, True])
def test_other_database_and_future_version_are_refused(path: Path, *, is_writer: bool) -> None:
    """The message says what was expected and what to do."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    with pytest.raises(StoreConfigError, match="was another SQLite file; move it away"):
        open_store(f"sqlite:{path}", is_writer=is_writer)

    newer = path.with_name("newer")
    write(newer, 1)
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreConfigError, match="expected schema version 3, was 99; use the tickpulse that wrote it"):
        open_store(f"sqlite:{newer}", is_writer=is_writer)


def test_missing_and_empty_files_are_told_to_a_reader(path: Path) -> None:
    """Only a writer makes a log."""
    with pytest.raises(StoreConfigError, match="expected a file, was none"):
        read(path)
    path.touch()
    with pytest.raises(StoreConfigError, match="was an empty file"):
        read(path)


def break_page(path: Path, order: str = "pageno LIMIT 1 OFFSET 50") -> None:
    """Make a page of rows unreadable."""
    connection = sqlite3.connect(path)
    [(page,)] = connection.execute(
        f"SELECT pageno FROM dbstat WHERE name = 'events' AND pagetype = 'leaf' ORDER BY {order}"  # noqa: S608  # ours
    ).fetchall()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4_096)
        file.write(b"\xff" * 4_096)


@pytest.mark.parametrize("order", ["pageno LIMIT 1 OFFSET 50", "pageno LIMIT 1", "path DESC LIMIT 1"])
def test_file_with_a_page_that_cannot_be_read_is_repaired(path: Path, order: str) -> None:
    """In the middle, at the begin or at the end: until then nothing is written; then all rows around it are there."""
    write(path)
    break_page(path, order)

    with open_store(f"sqlite:{path}", is_writer=True) as store:
        if order.startswith("path"):
            with pytest.raises(StoreDamagedError, match="`tickpulse store repair` takes it out"):
                store.append(make_tick(1), NOW_NS)
        done = store.repair(NOW_NS)
        assert "kept the damaged file" in done[0]
        assert store.append(make_tick(1), NOW_NS) == COUNT + 2

    with read(path) as store:
        assert store.verify().damages == []
        assert COUNT - 20 < len([*store.read()]) == len([*store.get_events()]) < COUNT + 2


def test_good_part_of_a_damaged_file_is_readable(path: Path) -> None:
    """What came before a damaged page is given, then the error names the place; behind it one can go on by id."""
    write(path)
    break_page(path)

    with read(path) as store:
        found: list[int] = []
        with pytest.raises(StoreDamagedError, match="expected a readable row behind id"):
            found.extend(record.id for record in store.get_events())
        assert found == [*range(1, len(found) + 1)]
        assert len(found) > 100
        assert [record.id for record in store.get_events(COUNT - 500)] == [*range(COUNT - 500, COUNT + 1)]
        verification = store.verify()
    assert verification.damages[0].place == f"{path}: row {found[-1] + 1}"
    assert verification.last_id == COUNT


def test_truncated_file_is_damaged(path: Path) -> None:
    """Half a file is told from a whole one, and does not read as a shorter log."""
    write(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])

    with read(path) as store:
        assert not store.verify().is_whole
        with pytest.raises(StoreDamagedError, match="expected a readable row behind id"):
            [*store.get_events()]


def test_row_that_is_no_message_is_named(path: Path) -> None:
    """Records before it are given."""
    write(path, 10)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE events SET data_json = '{\"type\":' WHERE id = 5")
    connection.commit()
    connection.close()

    found: list[int] = []
    with read(path) as store, pytest.raises(StoreDamagedError, match=r"events\.sqlite: row 5: "):
        found.extend(record.id for record in store.read())

    assert found == [1, 2, 3, 4]
