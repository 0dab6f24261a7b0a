"""What kind of failure a handler's exception is, and so what follows. Pure.

| category | for example | what follows |
|---|---|---|
| transient | no connection, timeout, a locked database | asked again, with growing pauses; then to the dead letters |
| permanent | a broken rule, a missing value, a bug | to the dead letters at once: it would fail again |
| poison | bytes that are no event, a corrupt one | to the dead letters as skipped; no mark against the handler |

A handler that knows better raises one of the three errors here.
"""

import enum

import msgspec

from common.errors import TickpulseError, WireError


class Category(enum.StrEnum):
    """The kind of a failure."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    POISON = "poison"


class TransientError(TickpulseError):
    """It may go well the next time."""


class PermanentError(TickpulseError):
    """It would fail each time."""


class PoisonError(TickpulseError):
    """The event itself is no good."""


class HandlerTimeoutError(TransientError):
    """A handler took longer than it may."""


class BusClosedError(TickpulseError):
    """The bus takes no more events."""


class PublishRefusedError(TickpulseError):
    """An event was not taken, and is in no queue: its publisher has to act."""


# ConnectionError, TimeoutError and a full disk are OSErrors.
_TRANSIENT = (TransientError, OSError, TimeoutError)
# By name, so that no library is imported for it. What is locked or out of space is an OperationalError; a handler whose
# own task was cancelled by somebody else may have it back the next time.
_TRANSIENT_NAMES = frozenset({"sqlite3.OperationalError", "asyncio.exceptions.CancelledError"})
_POISON = (PoisonError, WireError, msgspec.DecodeError, UnicodeDecodeError)


def category_of(error: BaseException) -> Category:
    """The category of an exception; permanent for whatever is not known to be another."""
    if isinstance(error, _POISON):
        return Category.POISON
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    is_transient = isinstance(error, _TRANSIENT) or not names.isdisjoint(_TRANSIENT_NAMES)
    return Category.TRANSIENT if is_transient else Category.PERMANENT
