"""Encryption at rest of the Parquet store: files and batches, new keys, and who has none."""

from pathlib import Path

import pytest
from support.message_builders import NOW_NS, make_tick
from support.parquet_builders import mixed_messages, parquet_files, reader, writer
from support.store_builders import make_key_ring

from common.store.config import StoreConfig
from common.store.keyring import add_key
from common.store.sealing import MissingKeyError


@pytest.fixture
def config(tmp_path: Path) -> StoreConfig:
    """A store that is sealed."""
    return StoreConfig(key_ring=str(make_key_ring(tmp_path)))


def test_nothing_that_is_sealed_can_be_read_on_the_disk(tmp_path: Path, config: StoreConfig) -> None:
    """Neither in batches nor in files; both ways are read with the ring."""
    with writer(tmp_path, config) as store:
        store.append_batch(mixed_messages(), NOW_NS)
        (wal,) = (tmp_path / "log" / "wal").iterdir()
        assert b"BTCUSDT" not in wal.read_bytes()
        assert [record.message for record in reader(tmp_path, config).get_events()] == mixed_messages()

    assert all(path.read_bytes()[:4] == b"PARE" for path in parquet_files(tmp_path))
    assert not any(b"BTCUSDT" in path.read_bytes() for path in parquet_files(tmp_path))
    assert [record.message for record in reader(tmp_path, config).get_events()] == mixed_messages()


def test_new_key_needs_no_rewriting_and_no_pause(tmp_path: Path, config: StoreConfig) -> None:
    """The writer takes it up while it runs; what older keys sealed stays, and so it does when files are merged."""
    with writer(tmp_path, config) as store:
        store.append(make_tick(1), NOW_NS)
        store.settle()
        before = [path.read_bytes() for path in parquet_files(tmp_path)]
        add_key(Path(config.key_ring))
        store.append(make_tick(2), NOW_NS)
        store.settle()
        assert before[0] in [path.read_bytes() for path in parquet_files(tmp_path)]
        assert [record.message.seq for record in store.get_events()] == [1, 2]
        store.compact()
        assert [record.message.seq for record in reader(tmp_path, config).get_events()] == [1, 2]


def test_store_begun_without_keys_can_be_sealed_from_then_on(tmp_path: Path, config: StoreConfig) -> None:
    """Files in the clear and sealed ones are one log."""
    with writer(tmp_path) as store:
        store.append(make_tick(1), NOW_NS)
    with writer(tmp_path, config) as store:
        store.append(make_tick(2), NOW_NS)

    assert [record.message.seq for record in reader(tmp_path, config).get_events()] == [1, 2]


def test_who_has_no_key_can_verify_and_not_read(tmp_path: Path, config: StoreConfig) -> None:
    """Digests and chains run over what is stored."""
    with writer(tmp_path, config) as store:
        store.append_batch(mixed_messages(), NOW_NS)
        assert reader(tmp_path).verify().damages == []
        with pytest.raises(MissingKeyError):
            list(reader(tmp_path).read())

    verification = reader(tmp_path).verify()
    assert verification.damages == []
    assert "was not looked at" in verification.notes[0]
    with pytest.raises(MissingKeyError, match=r"store\.key_ring"):
        list(reader(tmp_path).read())
    other = tmp_path / "other.toml"
    add_key(other, "other")
    with pytest.raises(MissingKeyError, match="expected key 'k1'"):
        list(reader(tmp_path, StoreConfig(key_ring=str(other))).read())

    changed = parquet_files(tmp_path)[0]
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(bytes(content))
    assert reader(tmp_path).verify().damages[0].place == str(changed)
