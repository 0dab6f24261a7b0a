"""A sealed message in a line: what an index needs stays readable."""

from typing import TYPE_CHECKING

import msgspec

from common.events.base import Message
from common.store.sealing import clear_part, subject_of, unseal

if TYPE_CHECKING:
    from common.store.keyring import KeyRing, Sealer

_SEALED_KEY = b'"sealed":"'


class _SealedBody(msgspec.Struct, gc=False, omit_defaults=True, kw_only=True):
    type: str
    timestamp_ns: int
    exchange: str | None = None
    symbol: str | None = None
    key: str
    sealed: bytes


class _SealedLine(_SealedBody, gc=False, kw_only=True):
    id: int
    recorded_ns: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_SealedLine).decode


def seal_message(
    sealer: "Sealer", store_id: str, record_id: int, recorded_ns: int, message: Message, text: bytes
) -> bytes:
    """A message, of which `text` is the JSON, as a JSON object that only who has the key can read; `type` first."""
    name, exchange, symbol = subject_of(message)
    clear = clear_part(store_id, record_id, recorded_ns, name, message.timestamp_ns, exchange, symbol)
    return _encode(
        _SealedBody(
            type=name,
            timestamp_ns=message.timestamp_ns,
            exchange=exchange,
            symbol=symbol,
            key=sealer.key_id,
            sealed=sealer.seal(text, clear),
        )
    )


def unseal_lines(lines: bytes, ring: "KeyRing | None", store_id: str) -> bytes:
    """Whole lines with what was sealed in them as it was, and without its digests.

    Raises:
        MissingKeyError, StoreDamagedError: As of `unseal`.
    """
    if _SEALED_KEY not in lines:
        return lines
    return b"\n".join([_unsealed(line, ring, store_id) for line in lines.split(b"\n")])


def _unsealed(line: bytes, ring: "KeyRing | None", store_id: str) -> bytes:
    try:
        found = _decode(line)
    except msgspec.DecodeError:
        return line  # not sealed, or no record, which is told of it later
    clear = clear_part(
        store_id, found.id, found.recorded_ns, found.type, found.timestamp_ns, found.exchange, found.symbol
    )
    text = unseal(ring, found.key, found.sealed, clear)
    return b'{"id":%d,"recorded_ns":%d,%b' % (found.id, found.recorded_ns, text[1:])
