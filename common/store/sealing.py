"""What the formats need of encryption at rest, without the library that does it: see `keyring`."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec

from common.events.base import Message
from common.events.registry import type_name
from common.events.system import LogPruned
from common.store.config import StoreConfig
from common.store.contract import StoreConfigError

if TYPE_CHECKING:
    from common.store.keyring import KeyRing

# Whoever verifies without a key must read why records are missing.
UNSEALED_TYPES: frozenset[type[Message]] = frozenset({LogPruned})

_encode_clear = msgspec.msgpack.Encoder().encode


class MissingKeyError(StoreConfigError):
    """A record is sealed with a key that is not in the ring, or there is no ring."""


def open_key_ring(config: StoreConfig) -> "KeyRing | None":
    """The ring that a config names; None where it names none.

    Raises:
        StoreConfigError: It cannot be read, or `cryptography` is not installed.
    """
    if not config.key_ring:
        return None
    ring: KeyRing = _keyring().KeyRing(Path(config.key_ring))
    return ring


def add_to_ring(path: Path, key_id: str | None) -> str:
    """As `keyring.add_key`."""
    return str(_keyring().add_key(path, key_id))


def names_in_ring(path: Path) -> tuple[str, list[str]]:
    """The name of the current key, and those of all keys, oldest first."""
    current, keys = _keyring().read_ring(path)
    return current, [*keys]


def _keyring() -> ModuleType:
    try:
        return importlib.import_module("common.store.keyring")
    except ImportError as error:
        raise StoreConfigError(
            f"key ring: encryption needs {error.name}; install it with `pip install tickpulse[store]`"
        ) from error


def subject_of(message: Message) -> tuple[str, str | None, str | None]:
    """The name of a message's type, its exchange and its symbol: what stays readable of it, with its time."""
    return type_name(type(message)), getattr(message, "exchange", None), getattr(message, "symbol", None)


def clear_part(
    store_id: str,
    record_id: int,
    recorded_ns: int,
    type_name: str,
    timestamp_ns: int,
    exchange: str | None,
    symbol: str | None,
) -> bytes:
    """What stays readable of a sealed record, for `seal` and `unseal`: neither it nor the record's place can change."""
    return _encode_clear((store_id, record_id, recorded_ns, type_name, timestamp_ns, exchange, symbol))


def unseal(ring: "KeyRing | None", key_id: str, sealed: bytes, clear: bytes) -> bytes:
    """What was sealed.

    Raises:
        MissingKeyError: The key is not in the ring, or there is no ring.
        StoreDamagedError: It or its clear part is not what was sealed, or the key is another one of this name.
    """
    if ring is None:
        raise MissingKeyError(f"sealed with key {key_id!r}: expected a key ring, was none; name it in store.key_ring")
    return ring.unseal(key_id, sealed, clear)
