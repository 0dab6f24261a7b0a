"""What makes two signals the same decision: their economic content, not when or how often they were sent."""

import hashlib
from decimal import Decimal

from common.events.trading import AmendRequested, CancelRequested, Signal
from common.money import is_bounded, plain


def digest_of(instruction: Signal | CancelRequested | AmendRequested) -> str:
    """Fingerprint of an instruction's economic content, 32 hex digits; 1.0 and 1.00 are the same quantity."""
    match instruction:
        case Signal():
            content = _content_of_signal(instruction)
        case CancelRequested():
            content = ("cancel", instruction.strategy, instruction.signal_id)
        case AmendRequested():
            amounts = (_text(instruction.quantity), _text(instruction.limit_price))
            content = ("amend", instruction.strategy, instruction.signal_id, *amounts, str(instruction.expires_ns))
    return digest_of_bytes("\0".join(content).encode())


def _content_of_signal(signal: Signal) -> tuple[str, ...]:
    return (
        signal.strategy,
        signal.exchange,
        signal.symbol,
        signal.action,
        signal.order_type,
        _text(signal.quantity),
        _text(signal.limit_price),
        signal.time_in_force,
        str(signal.expires_ns),
        str(signal.reduce_only),
    )


def _text(amount: Decimal | None) -> str:
    if amount is None:
        return ""
    return plain(amount) if is_bounded(amount) else str(amount)


def digest_of_bytes(content: bytes) -> str:
    """Fingerprint of a body that could not be read as a signal."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
