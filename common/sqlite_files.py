"""SQLite files of ours: made, told from those of others, and brought up to date, always in one transaction."""

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from common.errors import ConfigError, FatalError

Step = Callable[[sqlite3.Connection], object]
LOCKED_S_MAX = 5.0


class Kind(NamedTuple):
    """One kind of file: how people call it, the mark that tells it from any other, and its schema.

    Steps run inside a transaction: `create` makes an empty file the newest version, `migrations` make of the version
    that they are named after the next one.
    """

    noun: str
    application_id: int
    version: int
    create: Step
    migrations: Mapping[int, Step] = {}


def statements(script: str) -> Step:
    """A step of several statements; none may contain a semicolon."""

    def run(connection: sqlite3.Connection) -> None:
        for statement in script.split(";"):
            connection.execute(statement)

    return run


def open_database(
    path: Path,
    kind: Kind,
    *,
    synchronous: str = "NORMAL",
    locked_s_max: float = LOCKED_S_MAX,
    check_same_thread: bool = True,
) -> sqlite3.Connection:
    """Open a file for writing, in WAL mode; make it where there is none.

    Raises:
        ConfigError: It is another kind of file, or of a version that cannot be brought up to date.
        FatalError: It cannot be read or written.
    """
    try:
        connection = sqlite3.connect(
            path, isolation_level=None, timeout=locked_s_max, check_same_thread=check_same_thread
        )
        try:
            # First of all: setting the journal mode would already change a file that is not ours.
            prepare(connection, path, kind)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {synchronous.upper()}")
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise FatalError(
            f"{kind.noun} {path}: expected a readable SQLite file, {error}; restore or remove it"
        ) from error
    return connection


def prepare(connection: sqlite3.Connection, path: Path, kind: Kind) -> None:
    """Make a new file one of this kind, or an old one up to date.

    Raises:
        ConfigError: As of `open_database`. The file is left as it was.
    """
    if _version(connection, path, kind) == kind.version:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection, path, kind)  # once more: another process may have been faster
        if version == 0:
            kind.create(connection)
            connection.execute(f"PRAGMA application_id = {kind.application_id}")
        else:
            for older in range(version, kind.version):
                kind.migrations[older](connection)
        connection.execute(f"PRAGMA user_version = {kind.version}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check(connection: sqlite3.Connection, path: Path, kind: Kind) -> None:
    """Make sure that a file can be read as this kind as it is.

    Raises:
        ConfigError: It is another kind of file, or not of the newest version.
    """
    version = _version(connection, path, kind)
    if version == 0:
        raise ConfigError(f"{kind.noun} {path}: expected one, was an empty file")
    if version != kind.version:
        raise ConfigError(
            f"{kind.noun} {path}: expected schema version {kind.version}, was {version}; "
            "bring it up to date, or open it for writing, which does"
        )


def _version(connection: sqlite3.Connection, path: Path, kind: Kind) -> int:
    """The version of a file; 0 of an empty one."""
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application_id == 0 and tables == 0:
        return 0
    if application_id != kind.application_id:
        raise ConfigError(
            f"{kind.noun} {path}: expected a tickpulse {kind.noun}, was another SQLite file; move it away"
        )
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version != kind.version and version not in kind.migrations:
        raise ConfigError(
            f"{kind.noun} {path}: expected schema version {kind.version}, was {version}; "
            "use the tickpulse that wrote it"
        )
    return version
