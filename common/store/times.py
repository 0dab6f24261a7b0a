"""Times as people write them: ISO 8601 for a moment, a number with a unit for a while. Pure."""

import re
from datetime import UTC, datetime

from common.clock import NS_PER_DAY, NS_PER_MS, NS_PER_S, NS_PER_US
from common.errors import InvalidValueError
from common.store.selection import TIME_NS_MAX, TIME_NS_MIN

UNITS_NS = {
    "ns": 1,
    "us": NS_PER_US,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "h": 3_600 * NS_PER_S,
    "d": NS_PER_DAY,
    "w": 7 * NS_PER_DAY,
}
DECIMALS_MAX = 9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION = re.compile(r"(?<=:\d\d)[.,](\d+)(?=$|[Zz+-])")
_DURATION = re.compile(r"(\d+)(?:\.(\d+))?\s*([a-z]+)")


def parse_time_ns(text: str) -> int:
    """A moment, ns since 1970 UTC: `2024-08-09`, `2024-08-09T00:00:01.5`, with a zone or in UTC; up to nine decimals.

    Raises:
        InvalidValueError: It is none.
    """
    fraction = _FRACTION.search(text)
    if fraction and len(fraction[1]) > DECIMALS_MAX:
        raise _no_time(text)
    try:
        moment = datetime.fromisoformat(_FRACTION.sub("", text.strip()))
    except ValueError as error:
        raise _no_time(text) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    whole_ns = (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * NS_PER_US
    time_ns = whole_ns + (int(fraction[1].ljust(9, "0")) if fraction else 0)
    if not TIME_NS_MIN <= time_ns <= TIME_NS_MAX:
        raise _no_time(text)
    return time_ns


def parse_duration_ns(text: str) -> int:
    """A while, in ns: `250ms`, `90s`, `1.5h`, `30d`.

    Raises:
        InvalidValueError: It is none.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None or found[3] not in UNITS_NS:
        raise InvalidValueError(f"{text!r}: expected a number with one of the units {', '.join(UNITS_NS)}, as in 90s")
    unit_ns, decimals = UNITS_NS[found[3]], found[2] or ""
    return int(found[1]) * unit_ns + (int(decimals) * unit_ns // 10 ** len(decimals) if decimals else 0)


def format_time_ns(time_ns: int) -> str:
    """A moment as `parse_time_ns` reads it, with nine decimals: `2024-08-09T00:00:01.500000000Z`."""
    seconds, fraction_ns = divmod(time_ns, NS_PER_S)
    try:
        return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%dT%H:%M:%S}.{fraction_ns:09}Z"
    except (OverflowError, ValueError, OSError):
        return f"{time_ns} ns"


def _no_time(text: str) -> InvalidValueError:
    return InvalidValueError(
        f"{text!r}: expected a time as of ISO 8601 between 1678 and 2262, such as 2024-08-09T14:30:00Z; "
        "UTC unless it says otherwise"
    )
