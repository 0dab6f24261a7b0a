"""Events and frames that nobody could use, kept in SQLite until a person has looked: what, whose, why, how often, when.

One file a process, so that no process waits for another to write. A letter is `kept`; a person discards it or has it
redriven, and the process that owns the file then treats it like a new event. What is gone from here is in the log.
"""

import enum
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from common.sqlite_files import Kind, open_database, statements

SCHEMA_VERSION = 1
APPLICATION_ID = 0x7470646C  # "tpdl"
FOLDER = "dead-letters"
LETTERS_MAX = 100_000  # about 100 MB; the oldest poison makes room first, never a critical event
LOCKED_S_MAX = 0.1  # its owner waits in its main loop
FRAME_BYTES_KEPT = 65_536
# Whose letter it is where that is no handler: a channel of the bus, or one of the hot path.
CHANNEL_OWNER = "channel:"
FRAMES_OWNER = "frames:"

SCHEMA = """
CREATE TABLE letters (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL DEFAULT 'kept',
    owner TEXT NOT NULL,
    category TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    type TEXT NOT NULL,
    event_id TEXT NOT NULL,
    priority INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    frame BLOB NOT NULL
);
CREATE INDEX letters_state ON letters (state);
"""
LETTERS = Kind("dead letters", APPLICATION_ID, SCHEMA_VERSION, statements(SCHEMA))


class LetterState(enum.StrEnum):
    """Where a letter stands. One that was redriven or discarded is gone."""

    KEPT = "kept"
    REDRIVE = "redrive"  # a person wants it tried again; its owner does so within a second, or at its next start


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one handler, or one frame of one channel, that could not be used.

    `owner` is the handler's name, the endpoint as `channel:ENDPOINT`, or the hot path's channel as `frames:signals`.
    `frame` is what came, topic and body; of a frame over 64 KiB its beginning. `reason` is an UPPER_CASE code. Times
    are ns UTC.
    """

    owner: str
    category: str
    reason: str
    detail: str
    type: str
    event_id: str
    priority: int
    attempts: int
    first_ns: int
    last_ns: int
    frame: bytes
    id: int = 0
    state: LetterState = LetterState.KEPT


_COLUMNS = tuple(field for field in DeadLetter.__struct_fields__ if field not in {"id", "state"})
_INSERT = f"INSERT INTO letters ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
_SELECT = f"SELECT {', '.join((*_COLUMNS, 'id', 'state'))} FROM letters"  # noqa: S608


class DeadLetters:
    """The letters of one process. All methods raise `sqlite3.Error` when the disk or the file refuses."""

    def __init__(self, path: Path, *, locked_s_max: float = LOCKED_S_MAX) -> None:
        """Open the file, or make it; `locked_s_max` is how long it is waited for while another process writes.

        Raises:
            ConfigError: It is another kind of file.
            FatalError: It cannot be opened.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # Used by one thread at a time, not always the same.
        self._connection = open_database(path, LETTERS, locked_s_max=locked_s_max, check_same_thread=False)

    def keep(self, letter: DeadLetter) -> int:
        """Write a letter; it is safe against the process's death from here on. Gives back its number."""
        values = [getattr(letter, column) for column in _COLUMNS]
        values[-1] = letter.frame[:FRAME_BYTES_KEPT]
        number = self._connection.execute(_INSERT, values).lastrowid
        if number is not None and number % 1_000 == 0:
            self._make_room()
        return number or 0

    def read(self, state: LetterState | None = None, limit: int = -1) -> list[DeadLetter]:
        """Letters, oldest first; a negative limit means all."""
        where, values = ("", []) if state is None else (" WHERE state = ?", [state.value])
        rows = self._connection.execute(f"{_SELECT}{where} ORDER BY id LIMIT ?", [*values, limit])
        return [_letter_of(row) for row in rows]

    def get(self, number: int) -> DeadLetter | None:
        """One letter, or None."""
        row = self._connection.execute(f"{_SELECT} WHERE id = ?", [number]).fetchone()
        return None if row is None else _letter_of(row)

    def ask_redrive(self, number: int) -> bool:
        """Say that a letter is to be tried again; tell whether it is there."""
        return self._change("UPDATE letters SET state = 'redrive' WHERE id = ?", number)

    def keep_again(self, number: int, *, attempts: int, reason: str, detail: str, last_ns: int | None = None) -> bool:
        """A letter was tried again and failed: add the attempts, and keep it; tell whether it is there."""
        statement = (
            "UPDATE letters SET state = 'kept', attempts = attempts + ?, reason = ?, detail = ?,"
            " last_ns = coalesce(?, last_ns) WHERE id = ?"
        )
        return self._connection.execute(statement, [attempts, reason, detail, last_ns, number]).rowcount > 0

    def remove(self, number: int) -> bool:
        """Forget a letter; tell whether it was there."""
        return self._change("DELETE FROM letters WHERE id = ?", number)

    def count(self) -> int:
        """How many are kept."""
        return int(self._connection.execute("SELECT count(*) FROM letters").fetchone()[0])

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    def _change(self, statement: str, number: int) -> bool:
        return self._connection.execute(statement, [number]).rowcount > 0

    def _make_room(self) -> None:
        excess = self.count() - LETTERS_MAX
        if excess > 0:
            # Of the least urgent the oldest; critical and high ones (0 and 1) stay whatever their number.
            self._connection.execute(
                "DELETE FROM letters WHERE id IN "
                "(SELECT id FROM letters WHERE priority > 1 ORDER BY priority DESC, id LIMIT ?)",
                [excess],
            )


def _letter_of(row: tuple[Any, ...]) -> DeadLetter:
    values = dict(zip((*_COLUMNS, "id", "state"), row, strict=True))
    return DeadLetter(**{**values, "state": LetterState(values["state"])})


def files_of(state_directory: Path) -> Iterator[Path]:
    """The dead letters of all processes of a run directory, in the order of their names."""
    yield from sorted((state_directory / FOLDER).glob("*.sqlite"))
