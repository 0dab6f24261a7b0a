"""Where the chain of a log stood, kept apart from it: what shows that a tail was cut or an older copy restored.

A folder holds two files for each store. `STORE_ID.head` is rewritten in place with every batch, so it costs some µs:
a log that ends before it has lost records. `STORE_ID.anchors` gets a line a minute, which dates what the log held then.
With a key each is signed, and whoever has no key cannot make the log and its anchors agree again after a change.
Keep the folder where whoever can write the log cannot write: another disk, user or host.
"""

import hashlib
import hmac
import os
from pathlib import Path

import msgspec

from common.clock import NS_PER_S
from common.store.contract import CannotVerifyError, StoreConfigError

ANCHOR_INTERVAL_NS = 60 * NS_PER_S
KEY_BYTES_MIN = 16
_SLOT_BYTES = 256


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """After this record, at this time (ns UTC), the chain had this digest (hex). `mac` signs the rest, or is empty."""

    store_id: str
    last_id: int
    digest: str
    anchored_ns: int
    mac: str = ""


class Anchors:
    """The anchors of one store, for its writer and for who verifies it."""

    def __init__(self, folder: Path, store_id: str, key: bytes | None = None) -> None:
        """Prepare; nothing is opened yet.

        Raises:
            StoreConfigError: The key is too short.
        """
        if key is not None and len(key) < KEY_BYTES_MIN:
            raise StoreConfigError(f"anchor key: expected {KEY_BYTES_MIN} bytes or more, was {len(key)}")
        self.head_path = folder / f"{store_id}.head"
        self.path = folder / f"{store_id}.anchors"
        self._store_id = store_id
        self._key = key
        self._head: int | None = None
        self._slot = 0
        self._next_ns = 0

    def set(self, last_id: int, digest: bytes, now_ns: int) -> None:
        """Say where the chain stands. Call it after the log was written: a log may be ahead of it, never behind.

        Raises:
            OSError: The folder cannot be written.
        """
        anchor = Anchor(store_id=self._store_id, last_id=last_id, digest=digest.hex(), anchored_ns=now_ns)
        line = msgspec.json.encode(msgspec.structs.replace(anchor, mac=self._sign(anchor)))
        if self._head is None:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._head = os.open(self.head_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Two slots in turn: a write that a power loss tears leaves the one before it.
        os.pwrite(self._head, line.ljust(_SLOT_BYTES - 1) + b"\n", self._slot * _SLOT_BYTES)
        self._slot ^= 1
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + ANCHOR_INTERVAL_NS
            with self.path.open("ab") as file:
                file.write(line + b"\n")

    def sync(self) -> None:
        """Make the newest anchor safe against the loss of power."""
        if self._head is not None:
            os.fdatasync(self._head)

    def read(self) -> list[Anchor]:
        """All anchors, by the record that they stand behind; none where there are no files.

        Raises:
            CannotVerifyError: They cannot be read, or are signed and there is no key, or another one.
        """
        lines: list[bytes] = []
        for path in (self.path, self.head_path):
            try:
                lines += path.read_bytes().splitlines()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise CannotVerifyError(f"anchors {path}: expected a readable file, {error.strerror}") from error
        anchors = [anchor for line in lines if line.strip(b" \0") and (anchor := self._parse(line)) is not None]
        return sorted(anchors, key=lambda anchor: (anchor.last_id, anchor.anchored_ns))

    def close(self) -> None:
        """Give the file back."""
        if self._head is not None:
            os.close(self._head)
            self._head = None

    def _parse(self, line: bytes) -> Anchor | None:
        try:
            anchor = msgspec.json.decode(line, type=Anchor)
        except msgspec.DecodeError:
            return None  # torn by a crash: the line before it, or the other slot, stands
        if anchor.mac and self._key is None:
            raise CannotVerifyError(f"anchors {self.path}: signed, and no key was given; name its file")
        if not hmac.compare_digest(anchor.mac, self._sign(anchor)):
            raise CannotVerifyError(f"anchors {self.path}: not signed with this key; give the one of this store")
        return anchor

    def _sign(self, anchor: Anchor) -> str:
        if self._key is None:
            return ""
        text = f"{anchor.store_id} {anchor.last_id} {anchor.digest} {anchor.anchored_ns}"
        return hashlib.blake2b(text.encode(), digest_size=16, key=hashlib.sha256(self._key).digest()).hexdigest()
