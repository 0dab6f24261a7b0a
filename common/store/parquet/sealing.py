"""Encryption at rest: Parquet's own, with the keys of a ring, so that other tools that know Parquet can be given them.

Each file has keys of its own, wrapped with the key of the ring that was current when it was written. A new current key
needs no rewriting. Paths and the manifest stay readable: what kind of records of which instrument, when and how many.
"""

import base64
import binascii
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet.encryption as pe

from common.store.contract import StoreDamagedError
from common.store.keyring import KeyRing
from common.store.sealing import MissingKeyError

_CLEAR = b"parquet"
_MAGIC = b"PARE"


class _Wrapping(pe.KmsClient):  # type: ignore[misc]  # untyped
    """Wraps the keys of files with those of a ring."""

    def __init__(self, ring: KeyRing) -> None:
        pe.KmsClient.__init__(self)
        self._ring = ring

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        sealer = self._ring.sealer()
        return f"{sealer.key_id} ".encode() + base64.b64encode(sealer.seal(key_bytes, _CLEAR))

    def unwrap_key(self, wrapped_key: str | bytes, master_key_identifier: str) -> bytes:
        # Arrow gives the text back as text, and its documentation says bytes.
        wrapped = wrapped_key if isinstance(wrapped_key, bytes) else wrapped_key.encode()
        key_id, _, sealed = wrapped.partition(b" ")
        try:
            return self._ring.unseal(key_id.decode(), base64.b64decode(sealed, validate=True), _CLEAR)
        except binascii.Error as error:
            raise StoreDamagedError(f"wrapped key: expected base64, {error}") from error


def encryption(ring: KeyRing | None) -> Any:
    """What a writer of a file is given; None where nothing is sealed."""
    if ring is None:
        return None
    config = pe.EncryptionConfiguration(footer_key="ring", uniform_encryption=True, double_wrapping=False)
    return _factory(ring).file_encryption_properties(pe.KmsConnectionConfig(), config)


def decryption(ring: KeyRing | None, path: Path) -> Any:
    """What a reader of a file is given; None for one that is not sealed.

    Raises:
        MissingKeyError: It is sealed, and there is no ring.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return None
    if ring is None:
        raise MissingKeyError(f"{path}: sealed, expected a key ring, was none; name it in store.key_ring")
    config = pe.DecryptionConfiguration(cache_lifetime=timedelta(minutes=1))
    return _factory(ring).file_decryption_properties(pe.KmsConnectionConfig(), config)


def _factory(ring: KeyRing) -> pe.CryptoFactory:
    return pe.CryptoFactory(lambda _: _Wrapping(ring))
