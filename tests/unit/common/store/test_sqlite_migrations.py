"""Every older version of the file becomes the newest one, whole or not at all."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from support.message_builders import NOW_NS, make_tick

from common.sqlite_files import statements
from common.store.address import open_store
from common.store.contract import StoreConfigError
from common.store.json_messages import encode_json
from common.store.record import Record
from common.store.sqlite import schema
from common.store.sqlite.store import migrate

COUNT = 1_500


def make_version(path: Path, version: int, *, is_marked: bool = True) -> list[Record]:
    """A file as an older version wrote it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, timestamp INTEGER, type TEXT, data_json TEXT)")
    ticks = [make_tick(seq) for seq in range(1, COUNT + 1)]
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO events VALUES (?, ?, ?, ?)",
        [
            (row_id, tick.timestamp_ns, "Market.Tick.Received.v1", encode_json(tick).decode())
            for row_id, tick in enumerate(ticks, 1)
        ],
    )
    if version > 1:
        statements(schema._SECOND)(connection)
    if is_marked:
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("COMMIT")
    connection.close()
    return [Record(row_id, tick.timestamp_ns, tick) for row_id, tick in enumerate(ticks, 1)]


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_older_version_becomes_the_newest(tmp_path: Path, version: int) -> None:
    """With all its records; a reader says what to do, a writer does it."""
    path = tmp_path / "log"
    records = make_version(path, version)
    with pytest.raises(StoreConfigError, match=f"expected schema version 3, was {version}; bring it up to date"):
        open_store(f"sqlite:{path}")

    with open_store(f"sqlite:{path}", is_writer=True) as store:
        assert [*store.read()] == [*store.get_events()] == records
        store.append(make_tick(1), NOW_NS)
        assert store.verify().is_whole

    with open_store(f"sqlite:{path}") as store:
        assert store.stats().records == COUNT + 1


def test_migrated_and_new_files_have_one_schema(tmp_path: Path) -> None:
    """There is one way to the newest version."""
    schemas = []
    for version in range(1, schema.VERSION + 1):
        path = tmp_path / str(version)
        if version < schema.VERSION:
            make_version(path, version)
        open_store(f"sqlite:{path}", is_writer=True).close()
        connection = sqlite3.connect(path)
        schemas.append(connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall())
        connection.close()

    assert schemas[0] == schemas[1] == schemas[2]


@pytest.mark.processes
@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_killed_migration_leaves_the_older_version_whole(tmp_path: Path, version: int) -> None:
    """The next one brings it up to date."""
    path = tmp_path / "log"
    records = make_version(path, version)
    script = f"""
import os, signal
from common.store.address import open_store
from common.store.sqlite import schema
link, calls = schema.next_link, []
def next_link(*arguments):
    calls.append(1)
    if len(calls) == 1_200:
        os.kill(os.getpid(), signal.SIGKILL)
    return link(*arguments)
schema.next_link = next_link
open_store("sqlite:{path}", is_writer=True)
"""

    ended = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, env={**os.environ, "PYTHONPATH": "."}
    )

    assert ended.returncode == -signal.SIGKILL, ended.stderr
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (version,)
    assert len(connection.execute("PRAGMA table_info(events)").fetchall()) == (4 if version == 1 else 7)
    connection.close()
    with open_store(f"sqlite:{path}", is_writer=True) as store:
        assert [*store.get_events()] == records


def test_table_made_by_hand_is_taken_over_only_on_purpose(tmp_path: Path) -> None:
    """Opening it is refused; `migrate` takes it over when it is told to."""
    path = tmp_path / "log"
    records = make_version(path, 1, is_marked=False)
    for is_writer in (False, True):
        with pytest.raises(StoreConfigError, match="was another SQLite file"):
            open_store(f"sqlite:{path}", is_writer=is_writer)
    with pytest.raises(StoreConfigError, match="was another SQLite file"):
        migrate(path, is_adopting=False)

    migrate(path, is_adopting=True)

    with open_store(f"sqlite:{path}") as store:
        assert [*store.get_events()] == records
        assert store.verify().is_whole


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ('UPDATE events SET data_json = \'{"event_type":"tick"}\' WHERE id = 3', "row 3: .*nothing was changed"),
        ("UPDATE events SET timestamp = 5 WHERE id = 4", "row 4 of Market.Tick.Received.v1: expected an id from 1"),
        ("CREATE TABLE more (x)", "expected one table events"),
        ("ALTER TABLE events ADD COLUMN more", "and columns .*'more'"),
    ],
)
def test_table_with_other_contents_is_not_taken_over(tmp_path: Path, statement: str, expected: str) -> None:
    """Nothing is changed; the first row that does not fit is named."""
    path = tmp_path / "log"
    make_version(path, 1, is_marked=False)
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    content = path.read_bytes()

    with pytest.raises(StoreConfigError, match=expected):
        migrate(path, is_adopting=True)

    assert path.read_bytes() == content
