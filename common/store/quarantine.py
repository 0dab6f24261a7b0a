"""What is no good part of a log is kept in a folder with a note, never thrown away."""

import os
from pathlib import Path

import msgspec

from common.run_directory import replace_file
from common.store.times import format_time_ns


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Why something lies in quarantine. Ids are those that it may hold."""

    file: str
    why: str
    moved_ns: int
    bytes: int
    first_id: int | None = None
    last_id: int | None = None

    def __str__(self) -> str:
        return f"quarantine/{self.file}, {self.bytes} bytes, since {format_time_ns(self.moved_ns)}: {self.why}"


def keep_tail(place: Path, path: Path, descriptor: int, end: int, now_ns: int) -> None:
    """Cut what lies behind the last whole line of a segment, and keep it."""
    size = os.fstat(descriptor).st_size
    if size == end:
        return
    name = f"{path.name}.tail-{now_ns}"
    why = f"the end of {path.name} from byte {end} on is no whole line: a crash cut it before it was acknowledged"
    _write_note(place, Note(file=name, why=why, moved_ns=now_ns, bytes=size - end))
    (place / name).write_bytes(os.pread(descriptor, size - end, end))
    os.ftruncate(descriptor, end)


def keep(place: Path, path: Path, note: Note) -> None:
    """Let a file lie there as well; the note comes first, so nothing lies there unexplained."""
    _write_note(place, note)
    (place / note.file).hardlink_to(path)


def notes_in(place: Path) -> list[Note]:
    """All notes, oldest first; those that cannot be read are left out."""
    notes: list[Note] = []
    for path in sorted(place.glob("*.note.json")):
        try:
            notes.append(msgspec.json.decode(path.read_bytes(), type=Note))
        except (OSError, msgspec.DecodeError):
            continue
    return sorted(notes, key=lambda note: note.moved_ns)


def _write_note(place: Path, note: Note) -> None:
    place.mkdir(exist_ok=True, mode=0o700)
    replace_file(place / f"{note.file}.note.json", msgspec.json.encode(note) + b"\n")
