"""What makes two signals the same decision: their economic content, not when or how often they were sent."""

import hashlib

from common.events.trading import Signal
from common.money import is_bounded, plain


def digest_of(signal: Signal) -> str:
    """Fingerprint of a signal's economic content, 32 hex digits; 1.0 and 1.00 are the same quantity."""
    price = signal.limit_price
    content = (
        signal.strategy,
        signal.exchange,
        signal.symbol,
        signal.action,
        signal.order_type,
        plain(signal.quantity) if is_bounded(signal.quantity) else str(signal.quantity),
        "" if price is None else plain(price) if is_bounded(price) else str(price),
        signal.time_in_force,
        str(signal.expires_ns),
        str(signal.reduce_only),
    )
    return digest_of_bytes("\0".join(content).encode())


def digest_of_bytes(content: bytes) -> str:
    """Fingerprint of a body that could not be read as a signal."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
