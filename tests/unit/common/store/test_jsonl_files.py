"""What only JSON Lines has: segments, their indexes, and lines that are half written."""

import json
import os
import shutil
import zlib
from pathlib import Path

import pytest
from support.message_builders import NOW_NS, make_tick
from support.store_logs import COUNT, JsonlLog

from common.clock import NS_PER_DAY
from common.store.address import open_store
from common.store.contract import StoreDamagedError, StoreFullError
from common.store.sealing import MissingKeyError
from common.store.selection import Selection


@pytest.fixture
def log(tmp_path: Path) -> JsonlLog:
    """A log that nobody has touched."""
    return JsonlLog(tmp_path)


def test_missing_segment_is_named(log: JsonlLog) -> None:
    """And reading ends there with an error, not with a hole that nobody sees."""
    segments = log.segments()
    segments[2].unlink()

    (damage,) = log.verify().damages

    assert damage.place.startswith(f"{segments[3]}:")
    assert segments[2].name in damage.what
    with log.read() as store, pytest.raises(StoreDamagedError, match=segments[2].name):
        list(store.read())


def test_missing_first_segment_is_named(log: JsonlLog) -> None:
    """The chain begins with the log's own name, so its begin cannot be cut either."""
    segments = log.segments()
    segments[0].unlink()

    (damage,) = log.verify().damages

    assert segments[0].name in damage.what


def test_segment_of_another_log_is_named(log: JsonlLog, tmp_path: Path) -> None:
    """Also where its number fits."""
    other = JsonlLog(tmp_path / "other")
    shutil.copy(other.segments()[2], log.segments()[2])

    damages = log.verify().damages

    assert damages[0].place == f"{log.segments()[2]}:1"
    assert "not of this one" in damages[0].what


@pytest.mark.parametrize("field", ["first_ns", "last_ns", "topics", "records"])
@pytest.mark.parametrize("line", [0, -2])
def test_index_that_hides_records_is_named(log: JsonlLog, field: str, line: int) -> None:
    """Its own checksum is right, and every segment is whole; only a range read would miss something."""
    path = sorted(log.path.glob("*.index"))[1]
    lines = path.read_bytes().split(b"\n")
    said = json.loads(lines[line][:-9])
    said[field] = {"x\t\t": 1} if field == "topics" else said[field] + 1
    text = json.dumps(said, separators=(",", ":")).encode()
    lines[line] = b"%b %08x" % (text, zlib.crc32(text))
    path.write_bytes(b"\n".join(lines))

    (damage,) = log.verify().damages

    assert damage.place == str(path)
    with log.write() as store:
        assert store.repair(NOW_NS) == [f"removed {path.name}, which did not fit; it is built anew"]
    assert log.verify().is_whole


def test_torn_tail_is_kept_apart_and_the_log_goes_on(log: JsonlLog) -> None:
    """A crash in a write leaves half a line: it was never acknowledged."""
    with log.segments()[-1].open("ab") as file:
        file.write(b'{"id":61,"recorded_ns":17')
    assert log.ids() == [*range(1, COUNT + 1)]
    assert log.verify().is_whole

    with log.write() as store:
        store.append(make_tick(61), NOW_NS)

    verification = log.verify()
    assert verification.is_whole
    assert any("a crash cut it" in note for note in verification.notes)
    (kept,) = (log.path / "quarantine").glob("*tail*[0-9]")
    assert kept.read_bytes() == b'{"id":61,"recorded_ns":17'
    assert log.ids() == [*range(1, COUNT + 2)]


def test_segment_that_a_crash_left_without_a_header_is_begun_again(log: JsonlLog) -> None:
    """It holds nothing yet."""
    (log.path / "00000099.jsonl").write_bytes(b'{"type":"Sto')
    assert log.ids() == [*range(1, COUNT + 1)]
    assert log.verify().is_whole

    with log.write() as store:
        store.append(make_tick(61), NOW_NS)

    assert log.verify().is_whole


def test_empty_segment_in_the_middle_is_named(log: JsonlLog) -> None:
    """As one that is missing."""
    path = log.segments()[2]
    path.write_bytes(b"")

    assert log.verify().damages[0].place == f"{path}:1"
    with log.read() as store, pytest.raises(StoreDamagedError, match=path.name):
        list(store.read())


def test_damaged_or_missing_index_is_built_anew(log: JsonlLog) -> None:
    """It is derived from the segments, so nothing is lost with it."""
    paths = sorted(log.path.glob("*.index"))
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:-20])
    paths[2].write_bytes(paths[2].read_bytes().replace(b"first_ns", b"f1rst_ns", 1))
    paths[3].write_bytes(paths[4].read_bytes())

    assert log.ids() == [*range(1, COUNT + 1)]
    with log.read() as store:
        assert [record.id for record in store.read(Selection(from_ns=NOW_NS + 12, to_ns=NOW_NS + 35))] == [
            *range(12, 35)
        ]
        assert store.stats().records == COUNT


def test_write_that_breaks_off_anywhere_leaves_a_whole_log(tmp_path: Path) -> None:
    """What was acknowledged is there, of the rest a part from its begin; the log goes on behind it."""
    log = JsonlLog(tmp_path, segment_bytes_max=1 << 20)
    (segment,) = log.segments()
    before = len(segment.read_bytes())
    anchors = {path: path.read_bytes() for path in Path(f"{log.path}.anchors").iterdir()}
    with log.write() as store:
        store.append_batch([make_tick(seq) for seq in range(61, 71)], NOW_NS)
    content = segment.read_bytes()

    for end in range(before, len(content), 101):
        for path, text in anchors.items():
            path.write_bytes(text)
        segment.write_bytes(content[:end])
        assert log.verify().is_whole
        with log.write() as store:
            whole = content[:end].count(b"\n") - 1
            assert store.last_id == whole
            assert store.append(make_tick(99), NOW_NS) == whole + 1
        assert log.verify().is_whole
        assert log.ids() == [*range(1, whole + 2)]


def test_full_disk_records_nothing_of_the_batch(log: JsonlLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part that went in is taken back; with room the same batch goes in."""
    write = os.write

    def write_half(descriptor: int, data: bytes) -> int:
        if len(data) < 2_000:
            return write(descriptor, data)
        if len(data) % 2:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: len(data) // 2 + (len(data) // 2 + 1) % 2])

    batch = [make_tick(seq) for seq in range(61, 81)]
    with log.write() as store:
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", write_half)
            with pytest.raises(StoreFullError, match="No space left"):
                store.append_batch(batch, NOW_NS)
        assert store.last_id == COUNT
        assert log.ids() == [*range(1, COUNT + 1)]

        assert store.append_batch(batch, NOW_NS) == COUNT + 20

    assert log.verify().is_whole
    assert log.ids() == [*range(1, COUNT + 21)]


def test_new_segment_begins_at_midnight(tmp_path: Path) -> None:
    """UTC, by the time of recording, also in the next life of the writer."""
    log = JsonlLog(tmp_path, segment_bytes_max=1 << 20)
    for day in (1, 2):
        with log.write() as store:
            store.append(make_tick(61), NOW_NS + day * NS_PER_DAY)

    assert len(log.segments()) == 3
    assert log.verify().is_whole


def test_missing_segment_is_put_down_as_lost(log: JsonlLog) -> None:
    """There is nothing to move."""
    log.segments()[2].unlink()

    with log.write() as store:
        store.repair(NOW_NS)

    assert log.verify().damages == []
    assert any("loss took out" in note for note in log.verify().notes)


def test_sealed_log_has_nothing_readable_but_what_an_index_needs(tmp_path: Path) -> None:
    """Neither in the segments nor beside them; who has no key is told which one is missing, and can verify."""
    log = JsonlLog(tmp_path, is_sealed=True)

    for path in log.path.rglob("*"):
        assert path.is_dir() or b"99.5" not in path.read_bytes()
    line = json.loads(log.segments()[0].read_bytes().split(b"\n")[1])
    assert [*line] == [
        "id", "recorded_ns", "type", "timestamp_ns", "exchange", "symbol", "key", "sealed", "digest",
    ]  # fmt: skip
    assert log.verify().is_whole
    with open_store(f"jsonl:{log.path}") as store:
        assert store.stats().records == COUNT
        with pytest.raises(MissingKeyError, match="sealed with key 'k1': expected a key ring"):
            list(store.read())


def test_plain_message_that_speaks_of_sealing_is_read_as_it_is(log: JsonlLog) -> None:
    """Only the place tells, not the word."""
    tick = make_tick(61, raw_symbol='"sealed":"x"')
    with log.write() as store:
        store.append(tick, NOW_NS)

    with log.read() as store:
        assert store.tail(1)[0].message == tick
