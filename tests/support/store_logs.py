"""Logs in files, and what somebody with the tools of their format can do to them behind our back.

Every format has one `Log`; tests/contracts/test_store_tampering.py and its neighbours run over all in `LOGS`.
"""

import abc
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

from support.message_builders import NOW_NS, make_tick
from support.store_builders import make_key_ring

from common.store.address import open_store
from common.store.chain import first_link, next_link
from common.store.config import StoreConfig
from common.store.contract import Store, Verification
from common.store.json_messages import encode_json
from common.store.jsonl.lines import Header, encode_header
from common.store.record import Record
from common.store.sqlite.schema import COLUMNS, next_digest

COUNT = 60


class Log(abc.ABC):
    """A log of ticks 1 to 60 in several parts, about ten in each."""

    format: str

    def __init__(self, folder: Path, *, is_sealed: bool = False, **config: object) -> None:
        folder.mkdir(exist_ok=True)
        ring = str(make_key_ring(folder)) if is_sealed else ""
        self.path = folder / "log"
        self.config = StoreConfig(**{"segment_bytes_max": 4_000, "key_ring": ring, **config})  # type: ignore[arg-type]
        with self.write() as store:
            for seq in range(1, COUNT + 1):
                store.append(make_tick(seq), NOW_NS + seq)

    def write(self) -> Store:
        """Open it for writing."""
        return open_store(f"{self.format}:{self.path}", self.config, is_writer=True)

    def read(self) -> Store:
        """Open it for reading."""
        return open_store(f"{self.format}:{self.path}", self.config)

    def verify(self) -> Verification:
        """Check it as who has no key of the records."""
        config = StoreConfig(anchor_key_file=self.config.anchor_key_file)
        with open_store(f"{self.format}:{self.path}", config) as store:
            return store.verify()

    def ids(self) -> list[int]:
        """What is in it."""
        with self.read() as store:
            return [record.id for record in store.get_events()]

    def copy(self, folder: Path) -> None:
        """Put the log, without its anchors, into another folder."""
        folder.mkdir()
        for path in self.files():
            (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)

    def restore(self, folder: Path) -> None:
        """Put such a copy in its place."""
        for path in self.files():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in folder.iterdir():
            shutil.move(path, self.path.with_name(path.name))

    def files(self) -> list[Path]:
        """What the log consists of, its anchors apart."""
        return [path for path in self.path.parent.glob("log*") if not path.name.endswith(".anchors")]

    # What somebody does. Each gives the place that `verify` must name first.

    @abc.abstractmethod
    def change(self, record_id: int) -> str:
        """Change a record."""

    @abc.abstractmethod
    def remove(self, record_id: int) -> str:
        """Remove a record."""

    @abc.abstractmethod
    def swap(self, record_id: int) -> str:
        """Put a record and the next one in each other's place."""

    @abc.abstractmethod
    def insert(self, record_id: int) -> str:
        """Put one more record behind this one."""

    @abc.abstractmethod
    def garble(self, record_id: int) -> str:
        """Make something of a record that is none."""

    @abc.abstractmethod
    def cut(self, last_id: int) -> None:
        """Take away everything behind a record of the newest part, and nothing else."""

    @abc.abstractmethod
    def forge(self, records: list[Record]) -> None:
        """Write the log anew with a chain that holds, under its own name, as who knows the format but has no key."""

    @abc.abstractmethod
    def make_foreign(self) -> None:
        """Put something else in its place."""

    @abc.abstractmethod
    def make_empty(self) -> None:
        """Leave what a crash leaves before anything was written."""

    @abc.abstractmethod
    def make_future(self) -> None:
        """Let it be of a version that is not known yet."""


class JsonlLog(Log):
    """What an editor does."""

    format = "jsonl"

    def segments(self) -> list[Path]:
        """Its files."""
        return sorted(self.path.glob("*.jsonl"))

    def place_of(self, record_id: int) -> tuple[Path, int]:
        """File and line, from 0, of a record."""
        for path in self.segments():
            for number, line in enumerate(path.read_bytes().split(b"\n")):
                if line.startswith(b'{"id":%d,' % record_id):
                    return path, number
        raise AssertionError(f"record {record_id} is not there")

    def edit(self, record_id: int, edit: Callable[[list[bytes], int], None]) -> str:
        """Change the lines of the file that a record is in; the record's place."""
        path, number = self.place_of(record_id)
        lines = path.read_bytes().split(b"\n")
        edit(lines, number)
        path.write_bytes(b"\n".join(lines))
        return f"{path}:{number + 1}"

    def change(self, record_id: int) -> str:
        def edit(lines: list[bytes], number: int) -> None:
            lines[number] = _other(lines[number])

        return self.edit(record_id, edit)

    def remove(self, record_id: int) -> str:
        self.edit(record_id, lambda lines, number: lines.__delitem__(number))
        path, number = self.place_of(record_id + 1)
        return f"{path}:{number + 1}"

    def swap(self, record_id: int) -> str:
        def edit(lines: list[bytes], number: int) -> None:
            lines[number], lines[number + 1] = lines[number + 1], lines[number]

        return self.edit(record_id, edit)

    def insert(self, record_id: int) -> str:
        return self.edit(record_id, lambda lines, number: lines.insert(number, _other(lines[number])))

    def garble(self, record_id: int) -> str:
        return self.edit(record_id, lambda lines, number: lines.__setitem__(number, b"\x00" * len(lines[number])))

    def cut(self, last_id: int) -> None:
        path, number = self.place_of(last_id + 1)
        path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[:number]) + b"\n")

    def forge(self, records: list[Record]) -> None:
        store_id = self.segments()[0].read_bytes().partition(b'"store_id":"')[2][:32].decode()
        for path in [*self.segments(), *self.path.glob("*.index")]:
            path.unlink()
        digest = first_link(store_id)
        lines = [encode_header(Header(format=1, store_id=store_id, segment=1, digest=digest.hex()))]
        for record in records:
            body = encode_json(record.message)
            content = b'{"id":%d,"recorded_ns":%d,%b' % (record.id, record.recorded_ns, body[1:-1])
            digest = next_link(digest, content)
            lines.append(content + b',"digest":"' + digest.hex().encode() + b'"}\n')
        (self.path / "00000001.jsonl").write_bytes(b"".join(lines))

    def make_foreign(self) -> None:
        shutil.rmtree(self.path)
        self.path.mkdir()
        (self.path / "00000001.jsonl").write_text('{"hello": 1}\n')

    def make_empty(self) -> None:
        shutil.rmtree(self.path)
        self.path.mkdir()
        (self.path / "00000001.jsonl").touch()

    def make_future(self) -> None:
        path = self.segments()[0]
        path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":2', 1))


class SqliteLog(Log):
    """What `sqlite3` does."""

    format = "sqlite"

    def run(self, statement: str, *values: object) -> None:
        """Run a statement, which must find something to change."""
        connection = sqlite3.connect(self.path)
        assert connection.execute(statement, values).rowcount != 0
        connection.commit()
        connection.close()

    def place_of(self, record_id: int) -> str:
        """Its row."""
        return f"{self.path}: row {record_id}"

    def change(self, record_id: int) -> str:
        changed = "data_json = replace(data_json, '99.5', '98.5'), sealed = substr(sealed, 2)"
        self.run(f"UPDATE events SET {changed} WHERE id = ?", record_id)  # noqa: S608  # ours
        return self.place_of(record_id)

    def remove(self, record_id: int) -> str:
        self.run("DELETE FROM events WHERE id = ?", record_id)
        return self.place_of(record_id + 1)

    def swap(self, record_id: int) -> str:
        for old, new in ((record_id, 0), (record_id + 1, record_id), (0, record_id + 1)):
            self.run("UPDATE events SET id = ? WHERE id = ?", new, old)
        return self.place_of(record_id)

    def insert(self, record_id: int) -> str:
        # All ids up to the newest are taken.
        columns = f"{COLUMNS}, digest".removeprefix("id, ")
        query = f"INSERT INTO events (id, {columns}) SELECT ?, {columns} FROM events WHERE id = ?"  # noqa: S608  # ours
        self.run(query, COUNT + 1, record_id)
        return self.place_of(COUNT + 1)

    def garble(self, record_id: int) -> str:
        self.run("UPDATE events SET data_json = 'x', type = 5, digest = NULL, sealed = 'x' WHERE id = ?", record_id)
        return self.place_of(record_id)

    def cut(self, last_id: int) -> None:
        self.run("DELETE FROM events WHERE id > ?", last_id)

    def forge(self, records: list[Record]) -> None:
        connection = sqlite3.connect(self.path)
        [(store_id,)] = connection.execute("SELECT store_id FROM store")
        insert = f"INSERT INTO events ({COLUMNS}, digest) VALUES ({', '.join('?' * 10)})"  # noqa: S608  # ours
        digest = first_link(store_id)
        rows = connection.execute(f"SELECT {COLUMNS} FROM events ORDER BY id").fetchall()  # noqa: S608  # ours
        connection.execute("DELETE FROM events")
        for row, record in zip(rows, records, strict=True):
            forged = (*row[:4], record.recorded_ns, *row[5:])
            digest = next_digest(digest, forged)
            connection.execute(insert, (*forged, digest))
        connection.commit()
        connection.close()

    def make_foreign(self) -> None:
        self.path.unlink()
        self.run("CREATE TABLE other (x)")

    def make_empty(self) -> None:
        self.path.write_bytes(b"")

    def make_future(self) -> None:
        self.run("PRAGMA user_version = 99")


def _other(line: bytes) -> bytes:
    """The line with another bid, or another sealed part."""
    if b"99.5" in line:
        return line.replace(b"99.5", b"98.5")
    start = line.index(b'"sealed":"') + 60
    return line[:start] + (b"A" if line[start : start + 1] != b"A" else b"B") + line[start + 1 :]


LOGS: Mapping[str, Callable[..., Log]] = {
    "jsonl": JsonlLog,
    "jsonl-sealed": lambda folder, **config: JsonlLog(folder, is_sealed=True, **config),
    "sqlite": SqliteLog,
    "sqlite-sealed": lambda folder, **config: SqliteLog(folder, is_sealed=True, **config),
}
