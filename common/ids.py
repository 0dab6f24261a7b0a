"""Identifiers: their alphabet, and those that are derived from others.

A derived id needs no memory: after any crash the same signal gives the same order id.
"""

import functools
import hashlib
import re
from typing import NamedTuple

from common.errors import InvalidValueError

ID_PATTERN = re.compile(r"[A-Za-z0-9._:-]{1,64}")
NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,31}")
CLIENT_ORDER_ID_PATTERN = re.compile(r"tp-[0-9a-f]{30}")

_is_id = ID_PATTERN.fullmatch
_is_numbered = re.compile(r"(.*)-(0|[1-9][0-9]*)-(0|[1-9][0-9]*)").fullmatch
_is_name = NAME_PATTERN.fullmatch
_is_client_order_id = CLIENT_ORDER_ID_PATTERN.fullmatch


def check_id(value: str, what: str) -> str:
    """Give the id back when it is safe to use as a key, in a log and at a venue.

    Raises:
        InvalidValueError: It is empty, too long or has another character.
    """
    if _is_id(value) is None:
        raise InvalidValueError(f"{what}: expected 1 to 64 of A-Z a-z 0-9 . _ : -, was {value[:80]!r}")
    return value


def check_name(value: str, what: str) -> str:
    """Give back the name of a process, strategy or exchange, which may be part of a topic and of a file name.

    Raises:
        InvalidValueError: It is not a lower-case word of up to 32 characters.
    """
    if _is_name(value) is None:
        raise InvalidValueError(
            f"{what}: expected a lower-case word (a-z, 0-9, _, up to 32 characters), was {value[:80]!r}"
        )
    return value


def make_signal_id(strategy: str, epoch: int, number: int) -> str:
    """Name a strategy's decision: unique for ever, because an epoch is never used twice."""
    return f"{strategy}-{epoch}-{number}"


class SignalPlace(NamedTuple):
    """Where an instruction stands among those of its strategy: the later one has the greater life, then number."""

    epoch: int
    number: int


def parse_signal_id(signal_id: str, strategy: str) -> SignalPlace | None:
    """Take apart what `make_signal_id` has made for this strategy; None when it is somebody else's id."""
    name, place = split_signal_id(signal_id) or ("", None)
    return place if name == strategy else None


@functools.lru_cache(maxsize=1_024)  # asked for twice on an instruction's way
def split_signal_id(signal_id: str) -> tuple[str, SignalPlace] | None:
    """Take an id apart into a name and a place; None when `make_signal_id` makes no such id."""
    found = _is_numbered(signal_id)
    return None if found is None else (found[1], SignalPlace(int(found[2]), int(found[3])))


def make_client_order_id(signal_id: str) -> str:
    """Derive the one order id that a signal can ever have.

    Returns:
        33 characters of lower-case hex behind `tp-`: venues differ in what they accept, and Binance, the strictest that
        we know, takes 36 characters.
    """
    digest = hashlib.blake2b(signal_id.encode(), digest_size=15).hexdigest()
    return f"tp-{digest}"


def is_client_order_id(text: str) -> bool:
    """Tell whether `make_client_order_id` may have made this: no id that a person or another program would choose."""
    return _is_client_order_id(text) is not None


def make_event_id(source: str, epoch: int, topic: str, seq: int) -> str:
    """Name an event by where it stands: who sent it, in which life, on which topic, as which number."""
    return f"{source}:{epoch}:{topic}:{seq}"
