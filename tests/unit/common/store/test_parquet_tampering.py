"""Every way of tampering that the store must show, and that the first bad place is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.message_builders import NOW_NS, make_tick
from support.parquet_builders import fill, make_quote, mixed_messages, parquet_files, reader, writer

from common.clock import SystemClock
from common.events.base import Message
from common.store.chain import first_link, next_link
from common.store.config import StoreConfig
from common.store.contract import CannotVerifyError, StoreDamagedError
from common.store.parquet.files import digest_of
from common.store.selection import Selection


def wal_of(folder: Path) -> Path:
    """The write-ahead file that is not converted yet."""
    (found,) = (folder / "log" / "wal").iterdir()
    return found


def copy(folder: Path, name: str) -> Path:
    """The store's files as they are now, without its anchors."""
    kept = folder / name
    shutil.copytree(folder / "log", kept)
    return kept


def restore(folder: Path, kept: Path) -> None:
    """Put an older copy in the place of the store."""
    shutil.rmtree(folder / "log")
    shutil.copytree(kept, folder / "log")


def rewrite_manifest(folder: Path, change: Callable[[str], str]) -> None:
    """Write the manifest anew, with links that fit: what whoever knows the format can do."""
    path = folder / "log" / "manifest.jsonl"
    link = first_link("manifest")
    lines = []
    for line in path.read_text().splitlines():
        entry = change(line[len('{"entry":') : line.rindex(',"link"')])
        link = next_link(link, entry.encode())
        lines.append(f'{{"entry":{entry},"link":"{link.hex()}"}}\n')
    path.write_text("".join(lines))


def change_value(path: Path) -> None:
    """Write a Parquet file again with another price in it."""
    table = pq.read_table(path, partitioning=None)
    bids = table["bid"].to_pylist()
    bids[0] = (bids[0] or 0) + 1
    index = table.schema.get_field_index("bid")
    pq.write_table(table.set_column(index, table.schema.field("bid"), [bids]), path)


def test_whole_store_is_whole(tmp_path: Path) -> None:
    """After several lives, with batches that are no files yet."""
    fill(tmp_path)
    with writer(tmp_path) as store:
        store.append_batch(mixed_messages(), NOW_NS)
        verification = store.verify()

    assert verification.damages == []
    assert (verification.records, verification.last_id) == (400, 400)


class TestFiles:
    """What is done to Parquet files and their folders."""

    def test_flipped_bit_is_found_with_its_row_group(self, tmp_path: Path) -> None:
        """The file, and where in it."""
        fill(tmp_path)
        bad = parquet_files(tmp_path)[0]
        content = bytearray(bad.read_bytes())
        column = pq.ParquetFile(bad).metadata.row_group(0).column(0)
        content[column.data_page_offset + column.total_compressed_size - 1] ^= 1
        bad.write_bytes(bytes(content))

        (damage,) = reader(tmp_path).verify().damages

        assert damage.place == f"{bad} row group 0"
        assert damage.first_id is not None

    def test_changed_value_is_found(self, tmp_path: Path) -> None:
        """Also where the file is a good Parquet file."""
        fill(tmp_path)
        bad = next(path for path in parquet_files(tmp_path) if "Tick" in str(path))
        change_value(bad)

        (damage,) = reader(tmp_path).verify().damages

        assert damage.place == str(bad)

    def test_changed_value_with_a_manifest_to_match_is_found(self, tmp_path: Path) -> None:
        """The anchors bind the manifest too: whoever writes it anew cannot write them."""
        fill(tmp_path)
        bad = next(path for path in parquet_files(tmp_path) if "Tick" in str(path))
        digest, size = digest_of(bad), bad.stat().st_size
        change_value(bad)
        rewrite_manifest(
            tmp_path,
            lambda entry: entry.replace(digest, digest_of(bad)).replace(
                f'"size_bytes":{size}', f'"size_bytes":{bad.stat().st_size}'
            ),
        )

        verification = reader(tmp_path).verify()

        assert "not what an anchor has seen" in verification.damages[-1].what

    def test_removed_and_added_and_swapped_files_are_found(self, tmp_path: Path) -> None:
        """Each by its name."""
        fill(tmp_path)
        first, second, third, *_ = parquet_files(tmp_path)
        content = second.read_bytes()
        second.write_bytes(third.read_bytes())
        third.write_bytes(content)
        added = first.with_name("1-2.77.parquet")
        shutil.copy(first, added)
        first.unlink()

        damages = reader(tmp_path).verify().damages

        assert {damage.place for damage in damages} == {str(path) for path in (first, second, third, added)}
        assert "it was removed" in next(damage.what for damage in damages if damage.place == str(first))
        assert "it was added" in next(damage.what for damage in damages if damage.place == str(added))


class TestManifest:
    """What is done to the list of files."""

    @pytest.mark.parametrize(
        "change",
        [
            lambda lines: [*lines[:1], lines[1].replace('"rows":', '"rows":1'), *lines[2:]],
            lambda lines: [*lines[:1], *lines[2:]],
            lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
            lambda lines: [*lines[:2], lines[1], *lines[2:]],
        ],
        ids=["changed", "removed", "swapped", "inserted"],
    )
    def test_changed_lines_are_found(self, tmp_path: Path, change: Callable[[list[str]], list[str]]) -> None:
        """With the number of the line."""
        fill(tmp_path)
        path = tmp_path / "log" / "manifest.jsonl"
        path.write_text("".join(change(path.read_text().splitlines(keepends=True))))

        with pytest.raises(StoreDamagedError, match=r"line [23]"):
            list(reader(tmp_path).read())
        damages = reader(tmp_path).verify().damages

        assert damages[0].place.startswith(f"{path} line ")

    def test_what_whole_lines_name_stays_readable(self, tmp_path: Path) -> None:
        """Records in the order of their ids up to the damage, then the damage; a second reader meets the same."""
        messages = fill(tmp_path)
        path = tmp_path / "log" / "manifest.jsonl"
        lines = path.read_text().splitlines()
        lines[2] = lines[2].replace("1", "2", 1)
        path.write_text("\n".join(lines) + "\n")

        for _ in range(2):
            given: list[Message] = []
            with pytest.raises(StoreDamagedError, match=r"line 3.*other tools read the Parquet files"):
                given.extend(record.message for record in reader(tmp_path).get_events())
            assert given == messages[:100]

    def test_cut_manifest_is_found(self, tmp_path: Path) -> None:
        """The files that it no longer names are strangers, and an anchor has seen more records."""
        fill(tmp_path)
        path = tmp_path / "log" / "manifest.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))

        whats = [damage.what for damage in reader(tmp_path).verify().damages]

        assert any("it was added" in what for what in whats)
        assert any("an anchor has seen record" in what for what in whats)


class TestWriteAhead:
    """What is done to batches that are not files yet."""

    @pytest.fixture
    def content(self, tmp_path: Path) -> bytes:
        """A write-ahead file of three batches, of a writer that was killed."""
        store = writer(tmp_path)
        for start in (1000, 1100, 1200):
            store.append_batch(mixed_messages(start), NOW_NS)
        kept = copy(tmp_path, "killed")
        shutil.copytree(tmp_path / "log.anchors", tmp_path / "killed.anchors")
        store.close()
        restore(tmp_path, kept)
        shutil.rmtree(tmp_path / "log.anchors")
        (tmp_path / "killed.anchors").rename(tmp_path / "log.anchors")
        return wal_of(tmp_path).read_bytes()

    def cuts(self, content: bytes) -> list[int]:
        """Where the batches begin, and the end."""
        found, at = [], content.find(b"TPB1")
        while at >= 0:
            found.append(at)
            at = content.find(b"TPB1", at + 1)
        return [*found, len(content)]

    def test_killed_writer_leaves_a_whole_store(self, tmp_path: Path, content: bytes) -> None:
        """The anchor stands where the last batch ends."""
        assert content
        assert reader(tmp_path).verify().damages == []
        with writer(tmp_path) as store:
            store.append(make_tick(1), NOW_NS)
            assert store.verify().damages == []

    @pytest.mark.parametrize("kind", ["changed", "removed", "swapped", "inserted", "replaced"])
    def test_changed_batches_are_found(self, tmp_path: Path, content: bytes, kind: str) -> None:
        """In the middle of a file, where no crash could have torn them."""
        first, second, third, end = self.cuts(content)
        head, one, two, three = content[:first], content[first:second], content[second:third], content[third:end]
        flipped = one[:200] + bytes([one[200] ^ 1]) + one[201:]
        changed = {
            "changed": head + flipped + two + three,
            "removed": head + one + three,
            "swapped": head + two + one + three,
            "inserted": head + one + one + two + three,
            "replaced": head + one + two + two,
        }[kind]
        wal_of(tmp_path).write_bytes(changed)

        damages = reader(tmp_path).verify().damages

        assert damages[0].place == str(wal_of(tmp_path))
        with writer(tmp_path) as store:
            with pytest.raises(StoreDamagedError, match="store repair"):
                store.append(make_tick(1), NOW_NS)
            done = store.repair(SystemClock().now_ns())  # as the anchors' times
            assert "frames" in done[0]
            assert store.append(make_tick(2), NOW_NS) > 300
            verification = store.verify()

        assert verification.damages == []
        assert any("damaged batches were taken out" in note for note in verification.notes)
        assert reader(tmp_path).tail(1)[0].message == make_tick(2)
        assert len([*reader(tmp_path).get_events()]) >= 102
        assert [*(tmp_path / "log" / "quarantine").rglob("*.frames")]

    def test_cut_tail_is_found(self, tmp_path: Path, content: bytes) -> None:
        """A batch that is missing altogether looks like a log that ended earlier, but for the anchor."""
        wal_of(tmp_path).write_bytes(content[: self.cuts(content)[2]])

        (damage,) = reader(tmp_path).verify().damages

        assert "the log ends after record 200, an anchor has seen record 300" in damage.what
        assert (damage.first_id, damage.last_id) == (201, 300)


class TestCopies:
    """An older state of everything."""

    def test_restored_older_copy_is_found(self, tmp_path: Path) -> None:
        """It is whole in itself; only the anchor knows better."""
        fill(tmp_path, lives=2)
        kept = copy(tmp_path, "older")
        with writer(tmp_path) as store:
            store.append(make_tick(5), NOW_NS)
        restore(tmp_path, kept)

        (damage,) = reader(tmp_path).verify().damages

        assert "its tail was cut, or an older copy restored" in damage.what

    def test_older_copy_that_was_written_on_is_found(self, tmp_path: Path) -> None:
        """As many records as before, but others."""
        config = StoreConfig(anchors=str(tmp_path / "apart"))
        other = StoreConfig(anchors=str(tmp_path / "elsewhere"))
        with writer(tmp_path, config) as store:
            store.append(make_tick(1), NOW_NS)
        kept = copy(tmp_path, "older")
        with writer(tmp_path, config) as store:
            store.append(make_tick(2), NOW_NS)
        restore(tmp_path, kept)
        with writer(tmp_path, other) as store:
            store.append_batch([make_tick(3), make_tick(4)], NOW_NS)

        (damage,) = reader(tmp_path, config).verify().damages

        assert "not what an anchor has seen" in damage.what

    def test_signed_anchors_cannot_be_verified_without_their_key(self, tmp_path: Path) -> None:
        """Nor with another one: that is no damage, and no clean bill either."""
        key, wrong = tmp_path / "key", tmp_path / "wrong"
        key.write_bytes(b"k" * 32)
        wrong.write_bytes(b"w" * 32)
        with writer(tmp_path, StoreConfig(anchor_key_file=str(key))) as store:
            store.append(make_tick(1), NOW_NS)

        assert reader(tmp_path, StoreConfig(anchor_key_file=str(key))).verify().is_whole
        with pytest.raises(CannotVerifyError, match="no key was given"):
            reader(tmp_path).verify()
        with pytest.raises(CannotVerifyError, match="signed with this key"):
            reader(tmp_path, StoreConfig(anchor_key_file=str(wrong))).verify()

    def test_removal_by_quarantine_stays_in_the_manifest(self, tmp_path: Path) -> None:
        """Who removes by the rules leaves a trace."""
        fill(tmp_path)
        parquet_files(tmp_path)[0].unlink()
        with writer(tmp_path) as store:
            store.repair(NOW_NS)
            verification = store.verify()

        assert verification.is_whole
        assert any("removed: quarantine" in note for note in verification.notes)
        entries = [json.loads(line)["entry"] for line in (tmp_path / "log" / "manifest.jsonl").read_text().splitlines()]
        assert "quarantine" in [entry.get("reason") for entry in entries]


def test_no_flipped_byte_changes_what_is_read(tmp_path: Path) -> None:
    """Every byte of a file: pages, their heads, the footer. Reading raises, whichever part of it is asked for."""
    with writer(tmp_path) as store:
        store.append_batch([make_quote(number) for number in range(1, 21)], NOW_NS)
    (path,) = parquet_files(tmp_path)
    content = path.read_bytes()
    store = reader(tmp_path)

    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 0x10
        path.write_bytes(bytes(changed))
        with pytest.raises(StoreDamagedError, match=r"not (what was|those that were) written"):
            list(store.read(Selection(symbol="BTC/USDT")))

    path.write_bytes(content)
    assert len(list(store.read())) == 20
