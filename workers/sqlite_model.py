"""A read model in one SQLite file: facts and the number of the last one change in one transaction, or not at all."""

import contextlib
import sqlite3
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from common.bus.worker import Projector, WorkerContext
from common.errors import ConfigError, FatalError, NotReadyError
from common.history import Position, Recorded

FOLDER = "read-models"


class ModelFile:
    """The file of one read model. It can be built anew, so another schema version is no reason to stop: it is."""

    def __init__(self, path: Path, schema: str, version: int) -> None:
        """Open the file, or make it.

        Raises:
            FatalError: It cannot be read or written.
        """
        self.path = path
        self._schema = schema
        self._version = version
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # One thread at a time, not always the same.
            self.connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = NORMAL")
            if self.connection.execute("PRAGMA user_version").fetchone()[0] != version:
                self.reset()
        except sqlite3.Error as error:
            raise FatalError(
                f"read model {path}: expected a SQLite file, {error}; remove it, it is built anew"
            ) from error

    @property
    def position(self) -> Position:
        """The last fact in the model."""
        return position_of(self.connection)

    @contextlib.contextmanager
    def transaction(self, position: Position) -> Iterator[sqlite3.Connection]:
        """Change the model up to this fact."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            self.connection.execute("UPDATE position SET seq = ?, timestamp_ns = ?", position)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def reset(self) -> None:
        """Empty it, in one transaction."""
        names = [
            row[0]
            for row in self.connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        ]
        drops = "".join(f'DROP TABLE "{name}"; ' for name in names)
        self.connection.executescript(
            f"BEGIN; {drops} {self._schema} "  # noqa: S608  # no values
            "CREATE TABLE position (seq INTEGER NOT NULL, timestamp_ns INTEGER NOT NULL); "
            f"INSERT INTO position VALUES (0, 0); PRAGMA user_version = {self._version}; COMMIT;"
        )

    def close(self) -> None:
        """Give the file back."""
        self.connection.close()


class SqliteModel(Projector):
    """A projector whose model is one such file: says what its tables are, and what a fact does to them."""

    schema: ClassVar[str]
    schema_version: ClassVar[int]

    _file: ModelFile | None = None

    @classmethod
    def path(cls, state_directory: Path) -> Path:
        """Where the model of a run directory is."""
        return state_directory / FOLDER / f"{cls.worker_name}.sqlite"

    @classmethod
    @contextlib.contextmanager
    def reading(cls, state_directory: Path) -> Iterator[sqlite3.Connection]:
        """Read the model of a run directory; raises as `open_model`."""
        with open_model(cls.path(state_directory), cls.schema_version) as connection:
            yield connection

    @abstractmethod
    def apply_fact(self, connection: sqlite3.Connection, fact: Recorded) -> None:
        """Change the tables by one fact."""

    async def start(self, context: WorkerContext) -> None:
        self._file = ModelFile(self.path(context.state_directory), self.schema, self.schema_version)

    async def stop(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    async def reset(self) -> None:
        self._opened().reset()

    def position(self) -> Position:
        return self._opened().position

    async def apply(self, facts: Sequence[Recorded], context: WorkerContext) -> None:
        with self._opened().transaction(Position(facts[-1].seq, facts[-1].timestamp_ns)) as connection:
            for fact in facts:
                self.apply_fact(connection, fact)

    def _opened(self) -> ModelFile:
        if self._file is None:
            raise FatalError(f"read model {self.worker_name}: expected an open file, it was not started")
        return self._file


def position_of(connection: sqlite3.Connection) -> Position:
    """The last fact in a model."""
    return Position(*connection.execute("SELECT seq, timestamp_ns FROM position").fetchone())


@contextlib.contextmanager
def open_model(path: Path, version: int) -> Iterator[sqlite3.Connection]:
    """Read a model while its worker may be writing it, or is down.

    Raises:
        NotReadyError: It is not there yet.
        ConfigError: It is of another version.
    """
    if not path.is_file():
        raise NotReadyError(
            f"read model {path}: no such file; have `tickpulse workers` run there, or name another --run-dir"
        )
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("BEGIN")  # one consistent state for all that is read
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found != version:
            raise ConfigError(
                f"read model {path}: expected version {version}, was {found}; "
                "start `tickpulse workers`, it is built anew"
            )
        yield connection
    except sqlite3.Error as error:
        raise NotReadyError(
            f"read model {path}: expected a readable file, {error}; remove it, it is built anew"
        ) from error
    finally:
        connection.close()
