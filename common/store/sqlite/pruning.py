"""Which rows retention lets go, and where the chain stands around them."""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from common.events.system import LogHole
from common.store.chain import first_link
from common.store.retention import Cut, Link, Part, Policy, Pruning, holes_in, plan

# From the index alone: no row is read. Part 0 is the newest and is full, -1 the one before it.
_PARTS = """
SELECT (id - ?) / ?, type, count(*), min(timestamp), max(timestamp) FROM events INDEXED BY events_type GROUP BY 1, 2
"""
_LINKS = "SELECT id, digest, type, timestamp FROM events WHERE id >= ? AND id < ? ORDER BY id"
_BEFORE = "SELECT id, digest FROM events WHERE id < ? ORDER BY id DESC LIMIT 1"
_BEHIND = "SELECT coalesce(min(id), ?) FROM events WHERE id >= ?"
_DELETE = "DELETE FROM events WHERE id >= ? AND id < ? AND type = ? AND timestamp < ?"


class Taken(NamedTuple):
    """What goes of one part: rows from an id up to, and without, another one."""

    first_id: int
    end_id: int
    cut: Cut


class Plan(NamedTuple):
    """What goes, and the holes that it leaves."""

    pruning: Pruning
    holes: list[LogHole]
    taken: list[Taken]


def find(connection: sqlite3.Connection, store_id: str, policy: Policy, now_ns: int, part_bytes: int) -> Plan:
    """What a policy lets go of a file of which about so many bytes are one part.

    Raises:
        sqlite3.Error: A part of it cannot be read.
    """
    [(first_id, newest_id)] = connection.execute("SELECT coalesce(min(id), 1), coalesce(max(id), 1) FROM events")
    ids_per_part = max(1, (newest_id - first_id + 1) * part_bytes // used_bytes(connection))
    parts = list(_parts(connection, newest_id, ids_per_part))
    counts: Counter[str] = Counter()
    holes: list[LogHole] = []
    taken: list[Taken] = []
    for cut in plan(parts, policy, now_ns):
        part_end = newest_id + 1 + int(cut.name) * ids_per_part
        part = Taken(part_end - ids_per_part, part_end, cut)
        before = connection.execute(_BEFORE, (part.first_id,)).fetchone()
        last_id, digest = before or (0, first_link(store_id))
        [(end_id,)] = connection.execute(_BEHIND, (part.end_id, part.end_id))
        holes += holes_in(_links(connection, part), digest.hex(), last_id, end_id, counts)
        taken.append(part)
    sizes = {part.name: part.size_bytes for part in parts}
    names = [f"rows {part.first_id} to {part.end_id - 1}" for part in taken]
    size_bytes = sum(sizes[part.cut.name] for part in taken if part.cut.is_whole)
    return Plan(Pruning(records_of_type=dict(counts), parts=names, size_bytes=size_bytes), holes, taken)


def delete(connection: sqlite3.Connection, part: Taken) -> None:
    """Take the rows of a part out: all, or none."""
    connection.execute("BEGIN IMMEDIATE")
    for name, before_ns in part.cut.before_ns.items():
        connection.execute(_DELETE, (part.first_id, part.end_id, name, before_ns))
    connection.execute("COMMIT")


def give_room_back(connection: sqlite3.Connection) -> None:
    """Make the file smaller where most of it is empty; else what comes takes the room.

    It needs as much room again while it works, and nobody who reads. Where that is not to be had, nothing is lost.
    """
    if used_bytes(connection) * 2 < _pragma(connection, "page_count") * _pragma(connection, "page_size"):
        with contextlib.suppress(sqlite3.Error):
            connection.execute("VACUUM")


def used_bytes(connection: sqlite3.Connection) -> int:
    """How much of the file is in use."""
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return max(1, pages * _pragma(connection, "page_size"))


def _parts(connection: sqlite3.Connection, newest_id: int, ids_per_part: int) -> Iterator[Part]:
    found: dict[int, dict[str, tuple[int, int, int]]] = {}
    for number, name, *rest in connection.execute(_PARTS, (newest_id, ids_per_part)):
        found.setdefault(number, {})[name] = tuple(rest)
    total = sum(count for types in found.values() for count, _, _ in types.values())
    row_bytes = used_bytes(connection) / max(1, total)
    for number, types in sorted(found.items()):
        yield Part(
            name=str(number),
            size_bytes=int(row_bytes * sum(count for count, _, _ in types.values())),
            first_ns=min(first_ns for _, first_ns, _ in types.values()),
            last_ns=max(last_ns for _, _, last_ns in types.values()),
            records_of_type={name: count for name, (count, _, _) in types.items()},
        )


def _links(connection: sqlite3.Connection, part: Taken) -> Iterator[Link]:
    for row_id, digest, name, timestamp_ns in connection.execute(_LINKS, (part.first_id, part.end_id)):
        yield Link(row_id, digest, name, part.cut.takes(name, timestamp_ns))


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
