"""Encryption at rest: a ring of named keys, one of them current, and what seals a record with it.

A new key is added and made current; what older ones sealed stays as it is, and readable while they are in the ring.
The running writer takes up a ring that has changed with its next batch. Who has no key can still verify: the chain runs
over what is stored.

A record is sealed with XAES-256-GCM: AES-256-GCM under a key derived from the first half of a 24 byte nonce. Plain
AES-GCM must not see more than 2**32 random nonces under one key, which is 12 hours of a busy market; this may see as
many batches. The first half is random for each batch, the second counts.

Source:
    C2SP, XAES-256-GCM, https://c2sp.org/XAES-256-GCM
"""

import base64
import binascii
import os
import stat
import tomllib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from common.errors import InvalidValueError
from common.events.base import Id
from common.log import get_log
from common.store.contract import StoreConfigError, StoreDamagedError
from common.store.sealing import MissingKeyError

KEY_BYTES = 32
_NONCE_BYTES = 24
_HALF = _NONCE_BYTES // 2
_BATCHES_REMEMBERED = 4_096  # batches whose key is remembered: a reader meets them one after the other
_log = get_log()


class _RingFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current: Id
    keys: dict[Id, str]


class Sealer:
    """Seals the records of one batch; not more than 2**32."""

    def __init__(self, key_id: str, key: bytes) -> None:
        self.key_id = key_id
        self._prefix = os.urandom(_HALF)
        self._aead = AESGCM(derive_key(key, self._prefix))
        self._count = 0

    def seal(self, content: bytes, clear: bytes) -> bytes:
        """Nonce, ciphertext and tag: 40 bytes more than the content."""
        self._count += 1
        nonce = self._count.to_bytes(_HALF)
        return self._prefix + nonce + self._aead.encrypt(nonce, content, clear)


class KeyRing:
    """The keys of a file, read again when it changes."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            StoreConfigError: It cannot be read, others may read it, or it is no key ring.
        """
        self.path = path
        self._keys: dict[str, bytes] = {}
        self._current = ""
        self._seen = _identity(path)
        self._current, self._keys = read_ring(path)
        self._aead_of = lru_cache(maxsize=_BATCHES_REMEMBERED)(self._derive)

    @property
    def key_ids(self) -> list[str]:
        """The names of the keys, the current one last."""
        return [*(name for name in self._keys if name != self._current), self._current]

    def sealer(self) -> Sealer:
        """What seals the next batch, with the key that is current now."""
        self._refresh()
        return Sealer(self._current, self._keys[self._current])

    def unseal(self, key_id: str, sealed: bytes, clear: bytes) -> bytes:
        """What was sealed.

        Raises:
            MissingKeyError: The key is not in the ring.
            StoreDamagedError: It or what stays readable of it is not what was sealed, or the key is another one.
        """
        if key_id not in self._keys:
            self._refresh()
        if key_id not in self._keys:
            raise MissingKeyError(f"key ring {self.path}: expected key {key_id!r}, were {', '.join(self.key_ids)}")
        try:
            return self._aead_of(key_id, sealed[:_HALF]).decrypt(
                sealed[_HALF:_NONCE_BYTES], sealed[_NONCE_BYTES:], clear
            )
        except (InvalidTag, ValueError) as error:
            raise StoreDamagedError(
                f"sealed with {key_id!r}: expected what that key sealed at this place, was something else"
            ) from error

    def _derive(self, key_id: str, prefix: bytes) -> AESGCM:
        return AESGCM(derive_key(self._keys[key_id], prefix))

    def _refresh(self) -> None:
        seen = _identity(self.path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._current, keys = read_ring(self.path)
        except StoreConfigError as error:
            # Somebody is editing it. Recording goes on with the keys that are known.
            _log.warning("the changed key ring is not used", reason=str(error))
            return
        if any(keys.get(name, key) != key for name, key in self._keys.items()):
            self._aead_of.cache_clear()
        self._keys = keys


def derive_key(key: bytes, prefix: bytes) -> bytes:
    """The key of AES-256-GCM for all nonces that begin with `prefix`, 12 bytes, as XAES-256-GCM says."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305  # of single blocks, as CMAC has it
    block = int.from_bytes(encryptor.update(bytes(16)))
    mask = ((block << 1) & (2**128 - 1)) ^ (0x87 if block >> 127 else 0)
    return b"".join(
        encryptor.update((int.from_bytes(bytes((0, number, 0x58, 0)) + prefix) ^ mask).to_bytes(16))
        for number in (1, 2)
    )


def read_ring(path: Path) -> tuple[str, dict[str, bytes]]:
    """The name of the current key, and all keys by name.

    Raises:
        StoreConfigError: As of `KeyRing`.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreConfigError(
            f"key ring {path}: expected a file that this user can read, {error}; "
            "make one with `tickpulse store keys new`"
        ) from error
    if stat.S_IMODE(mode) & 0o077:
        raise StoreConfigError(f"key ring {path}: expected mode 0600, was {stat.S_IMODE(mode):04o}; chmod 600 it")
    try:
        ring = msgspec.convert(tomllib.loads(text), _RingFile)
        keys = {name: _parse_key(name, key) for name, key in ring.keys.items()}
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, InvalidValueError) as error:
        raise StoreConfigError(f"key ring {path}: expected current = NAME and a table of keys, {error}") from error
    if ring.current not in keys:
        raise StoreConfigError(f"key ring {path}: expected current to be one of {sorted(keys)}, was {ring.current!r}")
    return ring.current, keys


def add_key(path: Path, key_id: str | None = None) -> str:
    """Make a key and make it the current one; make the ring where there is none. Gives back the key's name.

    Raises:
        StoreConfigError: The name is taken or is none, or the ring cannot be read or written.
    """
    keys = read_ring(path)[1] if path.exists() else {}
    name = key_id or next(name for number in range(1, len(keys) + 2) if (name := f"k{number}") not in keys)
    try:
        msgspec.convert(name, Id)
    except msgspec.ValidationError as error:
        raise StoreConfigError(f"key {name!r}: expected letters, digits, and . _ : -, {error}") from error
    if name in keys:
        raise StoreConfigError(f"key ring {path}: expected a new name, {name!r} is there already")
    keys[name] = os.urandom(KEY_BYTES)
    lines = [f'current = "{name}"', "", "[keys]", *(f'"{each}" = "{_text(key)}"' for each, key in keys.items()), ""]
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write("\n".join(lines))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StoreConfigError(f"key ring {path}: cannot be written, {error.strerror}") from error
    return name


def _parse_key(name: str, text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise InvalidValueError(f"key {name!r}: {error}") from error
    if len(key) != KEY_BYTES:
        raise InvalidValueError(f"key {name!r}: expected {KEY_BYTES} bytes as base64, was {len(key)}")
    return key


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def _identity(path: Path) -> Sequence[int]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size
