"""Where the chain of a log stood, kept apart from it: what shows that a tail was cut or an older copy restored.

A folder holds two files for each store. `STORE_ID.head` is rewritten in place with every batch, so it costs some µs:
a log that ends before it has lost records. `STORE_ID.anchors` gets a line a minute, which dates what the log held then.
With a key each is signed, and whoever has no key cannot make the log and its anchors agree again after a change.
Keep the folder where whoever can write the log cannot write: another disk, user or host. Who can restore the log and
its anchors together, to one moment, is not found out.
"""

import errno
import hashlib
import hmac
import os
from pathlib import Path

import msgspec

from common.clock import NS_PER_S
from common.store.config import StoreConfig
from common.store.contract import CannotVerifyError, Damage, StoreConfigError, Verification

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
            self._append(line)

    def keep_head(self) -> None:
        """Put down where the chain stood when a new life of the writer begins, before it is written over.

        A log whose end was cut while nobody wrote it would otherwise lose the proof of it with the first batch.

        Raises:
            CannotVerifyError: As of `read`: whoever cannot read the anchors must not write new ones over them.
            OSError: The folder cannot be written.
        """
        self.read()
        slots = self._lines(self.head_path)
        lines = self._lines(self.path)
        for _, line in slots:
            anchor = _decode(line)
            if anchor is not None and line.rstrip() not in {kept for _, kept in lines[-4:]}:
                self._append(line.rstrip())

    def sync(self) -> None:
        """Make the newest anchor safe against the loss of power."""
        if self._head is not None:
            os.fdatasync(self._head)

    def read(self) -> list[Anchor]:
        """All good anchors, by the record that they stand behind; none where there are no files.

        Raises:
            CannotVerifyError: They cannot be read, or are signed and there is no key, or another one.
        """
        return self.examine()[0]

    def examine(self) -> tuple[list[Anchor], list[Damage]]:
        """All good anchors, and what is wrong with the others.

        One that was changed or forged, and a file that is missing beside the other, are damage. Where there are none at
        all, or none fits the key, nothing can be said.

        Raises:
            CannotVerifyError: As of `read`.
        """
        found = {path: self._lines(path) for path in (self.path, self.head_path)}
        missing = [path for path, lines in found.items() if not lines]
        if len(missing) == len(found):
            return [], []
        damages = [Damage(place=str(path), what="the anchors were removed") for path in missing]
        anchors: list[Anchor] = []
        unsigned = 0
        for path, lines in found.items():
            for number, (place, line) in enumerate(lines, 1):
                anchor = _decode(line)
                if anchor is None or anchor.store_id != self._store_id:
                    if not self._may_be_torn(path, number, len(lines)):
                        damages.append(Damage(place=place, what="expected an anchor of this log, was something else"))
                elif self._is_signed(anchor):
                    anchors.append(anchor)
                elif not anchor.mac and not anchors:
                    unsigned += 1  # from before there was a key: it may stand, and proves little
                else:
                    damages.append(Damage(place=place, what="the anchor is not signed with the key: changed or forged"))
        if not anchors:
            raise CannotVerifyError(
                f"anchors {self.path}: expected some signed with this key, were {unsigned} unsigned ones and "
                f"{len(damages)} others; give the key that the log is written with"
            )
        return sorted(anchors, key=lambda anchor: (anchor.last_id, anchor.anchored_ns)), damages

    def close(self) -> None:
        """Give the file back."""
        if self._head is not None:
            os.close(self._head)
            self._head = None

    def _append(self, line: bytes) -> None:
        """Add a line whole or not at all: a part of one would look as if somebody had changed it."""
        with self.path.open("ab", buffering=0) as file:
            size = file.tell()
            if file.write(line + b"\n") != len(line) + 1:
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _lines(self, path: Path) -> list[tuple[str, bytes]]:
        """The lines of a file with their places; the head has two, of fixed length."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CannotVerifyError(f"anchors {path}: expected a readable file, {error.strerror}") from error
        if path == self.head_path:
            lines = [content[start : start + _SLOT_BYTES] for start in range(0, len(content), _SLOT_BYTES)]
        else:
            lines = content.split(b"\n")
        return [
            (f"{path}:{number}", line.strip(b" \n\0")) for number, line in enumerate(lines, 1) if line.strip(b" \n\0")
        ]

    def _may_be_torn(self, path: Path, number: int, count: int) -> bool:
        """A crash may tear the line that was being written: the last one, or one of the two slots."""
        if path == self.head_path:
            return count > 1 and sum(_decode(line) is not None for _, line in self._lines(path)) == count - 1
        return number == count and not path.read_bytes().endswith(b"\n")

    def _is_signed(self, anchor: Anchor) -> bool:
        if anchor.mac and self._key is None:
            raise CannotVerifyError(f"anchors {self.path}: signed, and no key was given; name its file")
        return hmac.compare_digest(anchor.mac, self._sign(anchor))

    def _sign(self, anchor: Anchor) -> str:
        if self._key is None:
            return ""
        text = f"{anchor.store_id} {anchor.last_id} {anchor.digest} {anchor.anchored_ns}"
        return hashlib.blake2b(text.encode(), digest_size=16, key=hashlib.sha256(self._key).digest()).hexdigest()


def _decode(line: bytes) -> Anchor | None:
    try:
        return msgspec.json.decode(line, type=Anchor)
    except msgspec.DecodeError:
        return None


def open_anchors(path: Path, config: StoreConfig, store_id: str) -> Anchors:
    """The anchors of a store as its config says: in a folder of their own, or beside it.

    Raises:
        StoreConfigError: The key's file cannot be read, or is too short.
    """
    key: bytes | None = None
    if config.anchor_key_file:
        try:
            key = Path(config.anchor_key_file).read_bytes()
        except OSError as error:
            raise StoreConfigError(
                f"anchor key {config.anchor_key_file}: expected a file that this user can read, {error.strerror}"
            ) from error
    return Anchors(Path(config.anchors) if config.anchors else path.with_name(f"{path.name}.anchors"), store_id, key)


def examine_anchors(
    path: Path, config: StoreConfig, store_id: str
) -> tuple[list[Anchor], list[Damage], CannotVerifyError | None]:
    """The good anchors of a log, what is wrong with the others, and why nothing can be said about its end, if so."""
    try:
        anchors = open_anchors(path, config, store_id)
        found, damages = anchors.examine()
    except (CannotVerifyError, StoreConfigError) as error:
        return [], [], CannotVerifyError(str(error))
    if found or damages:
        return found, damages, None
    doubt = f"anchors {anchors.path}: expected to be there, were not; without them nobody can tell"
    return [], [], CannotVerifyError(f"{doubt} whether the end of the log was cut")


def conclude(found: Verification, doubt: CannotVerifyError | None) -> Verification:
    """The outcome of a check that could not see everything: what is known to be bad is bad.

    Raises:
        CannotVerifyError: Nothing is known to be bad.
    """
    if doubt is None:
        return found
    if found.is_whole:
        raise doubt
    found.notes.append(f"not everything could be checked: {doubt}")
    return found
