"""SQLite files of ours: made once, migrated step by step, taken back whole."""

import sqlite3
from pathlib import Path

import pytest

from common.errors import ConfigError, FatalError
from common.sqlite_files import Kind, check, open_database, prepare, statements

FIRST = Kind("thing", 7, 1, statements("CREATE TABLE a (x)"))
THIRD = Kind(
    "thing",
    7,
    3,
    statements("CREATE TABLE a (x, y, z)"),
    {1: statements("ALTER TABLE a ADD COLUMN y"), 2: statements("ALTER TABLE a ADD COLUMN z")},
)


def columns(path: Path) -> list[str]:
    """The columns of the table, as they are on disk."""
    connection = sqlite3.connect(path)
    names = [name for _, name, *_ in connection.execute("PRAGMA table_info(a)")]
    connection.close()
    return names


def test_file_goes_through_every_version(tmp_path: Path) -> None:
    """Each step makes the next version of the one before it."""
    path = tmp_path / "file"
    open_database(path, FIRST).close()

    connection = open_database(path, THIRD)

    assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    check(connection, path, THIRD)
    connection.close()
    assert columns(path) == ["x", "y", "z"]


def test_step_that_fails_takes_all_of_them_back(tmp_path: Path) -> None:
    """The file is of its old version, and whole."""
    path = tmp_path / "file"
    open_database(path, FIRST).close()
    bad = THIRD._replace(migrations={**THIRD.migrations, 2: statements("ALTER TABLE none ADD COLUMN z")})

    with pytest.raises(FatalError, match="no such table: none"):
        open_database(path, bad)

    assert columns(path) == ["x"]


def test_two_that_make_a_file_at_once_agree(tmp_path: Path) -> None:
    """Who comes second finds it made."""
    path = tmp_path / "file"
    second = sqlite3.connect(path, isolation_level=None)
    other = FIRST._replace(create=lambda _: pytest.fail("made twice"))
    open_database(path, FIRST).close()

    prepare(second, path, other)

    second.close()
    assert columns(path) == ["x"]


def test_older_version_is_not_for_who_only_reads(tmp_path: Path) -> None:
    """A reader cannot bring it up to date, and says who can."""
    path = tmp_path / "file"
    connection = open_database(path, FIRST)

    with pytest.raises(ConfigError, match="expected schema version 3, was 1; bring it up to date"):
        check(connection, path, THIRD)
    connection.close()
