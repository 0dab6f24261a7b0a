"""Encryption at rest: keys by name, rotation without a pause, and records that cannot be moved."""

import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from support.message_builders import NOW_NS, make_tick

from common.store.address import open_store
from common.store.config import StoreConfig
from common.store.contract import Store, StoreConfigError, StoreDamagedError
from common.store.keyring import KeyRing, add_key, derive_key, read_ring
from common.store.sealing import MissingKeyError


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """A ring with one key, k1."""
    path = tmp_path / "keys.toml"
    assert add_key(path) == "k1"
    return path


def open_sealed(tmp_path: Path, ring: Path | str, *, is_writer: bool = False) -> Store:
    """The log that is sealed with this ring."""
    return open_store(f"sqlite:{tmp_path / 'log'}", StoreConfig(key_ring=str(ring)), is_writer=is_writer)


@pytest.mark.parametrize(
    ("key", "clear", "sealed"),
    [
        (b"\x01", b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        (b"\x03", b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
    ],
)
def test_seals_as_the_specification_does(key: bytes, clear: bytes, sealed: str) -> None:
    """The test vectors of XAES-256-GCM: any other implementation can read our records."""
    nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX"

    found = AESGCM(derive_key(key * 32, nonce[:12])).encrypt(nonce[12:], b"XAES-256-GCM", clear)

    assert found.hex() == sealed


def test_sealed_record_comes_back_only_at_its_place(ring: Path) -> None:
    """Another clear part, another byte, or a part of it is damage."""
    keys = KeyRing(ring)
    sealer = keys.sealer()
    sealed = sealer.seal(b"content", b"place 1")

    assert b"content" not in sealed
    assert keys.unseal("k1", sealed, b"place 1") == b"content"
    for found, clear in (
        (sealed, b"place 2"),
        (sealed[:-1] + b"\0", b"place 1"),
        (sealed[:20], b"place 1"),
        (b"", b""),
    ):
        with pytest.raises(StoreDamagedError, match="sealed with 'k1'"):
            keys.unseal("k1", found, clear)


def test_no_nonce_is_used_twice(ring: Path) -> None:
    """Inside a batch it counts, between batches it is random."""
    keys = KeyRing(ring)

    sealed = [sealer.seal(b"same", b"") for sealer in (keys.sealer(), keys.sealer()) for _ in range(100)]

    assert len({one[:24] for one in sealed}) == 200


def test_new_key_is_taken_up_by_the_running_writer(tmp_path: Path, ring: Path) -> None:
    """Nothing is rewritten, and everything stays readable."""
    with open_sealed(tmp_path, ring, is_writer=True) as store:
        store.append(make_tick(1), NOW_NS)
        with open_sealed(tmp_path, ring) as reader:
            assert add_key(ring) == "k2"
            store.append(make_tick(2), NOW_NS)
            assert [record.message for record in reader.read()] == [make_tick(1), make_tick(2)]

    connection = sqlite3.connect(tmp_path / "log")
    rows = connection.execute("SELECT key, data_json, hex(sealed) FROM events ORDER BY id").fetchall()
    connection.close()
    assert [row[:2] for row in rows] == [("k1", None), ("k2", None)]
    assert all(b"BTCUSDT".hex().upper() not in row[2] for row in rows)


def test_missing_key_is_named_and_no_key_is_needed_to_verify(tmp_path: Path, ring: Path) -> None:
    """Time, type and symbol stay open; the content does not."""
    with open_sealed(tmp_path, ring, is_writer=True) as store:
        store.append(make_tick(1), NOW_NS)
    other = tmp_path / "other.toml"
    add_key(other, "mine")

    with open_sealed(tmp_path, "") as store:
        assert store.verify().is_whole
        assert store.stats().records == 1
        with pytest.raises(MissingKeyError, match="sealed with key 'k1': expected a key ring, was none"):
            [*store.read()]
    with open_sealed(tmp_path, other) as store, pytest.raises(MissingKeyError, match="expected key 'k1', were mine"):
        [*store.read()]


def test_key_of_the_same_name_that_is_another_one_is_told(tmp_path: Path, ring: Path) -> None:
    """A record never reads as something else."""
    with open_sealed(tmp_path, ring, is_writer=True) as store:
        store.append(make_tick(1), NOW_NS)
    ring.unlink()
    add_key(ring)

    with open_sealed(tmp_path, ring) as store, pytest.raises(StoreDamagedError, match="row 1: sealed with 'k1'"):
        [*store.read()]


def test_sealed_record_cannot_be_moved_by_who_can_compute_the_chain(tmp_path: Path, ring: Path) -> None:
    """The seal binds the record to its store, id, time and type."""
    with open_sealed(tmp_path, ring, is_writer=True) as store:
        store.append_batch([make_tick(1), make_tick(2)], NOW_NS)
    connection = sqlite3.connect(tmp_path / "log")
    connection.execute("UPDATE events SET sealed = (SELECT sealed FROM events WHERE id = 1) WHERE id = 2")
    connection.commit()
    connection.close()

    with open_sealed(tmp_path, ring) as store, pytest.raises(StoreDamagedError, match="row 2: sealed with 'k1'"):
        [*store.read()]


def test_plain_and_sealed_records_lie_side_by_side(tmp_path: Path, ring: Path) -> None:
    """A log may begin open and go on sealed, and back."""
    for seq, path in enumerate(("", ring, ""), 1):
        with open_sealed(tmp_path, path, is_writer=True) as store:
            store.append(make_tick(seq), NOW_NS)

    with open_sealed(tmp_path, ring) as store:
        assert [record.message for record in store.read()] == [make_tick(1), make_tick(2), make_tick(3)]
        assert store.verify().is_whole


def test_ring_that_is_edited_wrongly_does_not_stop_the_writer(ring: Path) -> None:
    """It goes on with the keys that it knows, and takes up the repaired ring."""
    keys = KeyRing(ring)
    good = ring.read_bytes()
    ring.write_text("current = ")

    assert keys.sealer().key_id == "k1"

    ring.write_bytes(good)
    assert add_key(ring, "next") == "next"
    assert keys.sealer().key_id == "next"
    assert keys.key_ids == ["k1", "next"]


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        ('current = "k1"\n[keys]\nk1 = "AAAA"', 0o600, "expected 32 bytes as base64, was 3"),
        ('current = "k1"\n[keys]\nk1 = "?"', 0o600, "key 'k1'"),
        (f'current = "k2"\n[keys]\nk1 = "{"A" * 43}="', 0o600, "expected current to be one of"),
        ("nonsense", 0o600, "expected current = NAME"),
        ("", 0o644, "expected mode 0600, was 0644; chmod 600 it"),
        ("", 0o600, "expected current = NAME"),
    ],
)
def test_bad_ring_is_refused(tmp_path: Path, content: str, mode: int, expected: str) -> None:
    """With what was expected; a ring that others may read is none."""
    path = tmp_path / "keys.toml"
    path.write_text(content)
    path.chmod(mode)

    with pytest.raises(StoreConfigError, match=expected):
        KeyRing(path)


def test_keys_are_made_for_this_user_alone(tmp_path: Path, ring: Path) -> None:
    """A name is given once; a ring that is missing says how one is made."""
    assert ring.stat().st_mode & 0o777 == 0o600
    assert len(read_ring(ring)[1]["k1"]) == 32
    for name in ("k1", "a b", ""):
        if name:
            with pytest.raises(StoreConfigError, match="key"):
                add_key(ring, name)
    with pytest.raises(StoreConfigError, match="make one with `tickpulse store keys new`"):
        KeyRing(tmp_path / "none.toml")
    assert [*tmp_path.iterdir()] == [ring]
