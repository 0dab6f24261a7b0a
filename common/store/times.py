"""Times and durations as people type them: ISO 8601 and 15m. Pure."""

import datetime as dt
import re

from common.clock import NS_PER_S
from common.errors import InvalidValueError
from common.store.selection import TIME_NS_MAX, TIME_NS_MIN

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FRACTION = re.compile(r"(?<=\d)[.,](\d{1,9})(?=$|[Zz+-])", re.ASCII)
_NANOSECONDS = re.compile(r"\d{16,19}", re.ASCII)  # with fewer digits it could be a date
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s|m|h|d|w)", re.ASCII)
_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "h": 3_600 * NS_PER_S,
    "d": 86_400 * NS_PER_S,
    "w": 7 * 86_400 * NS_PER_S,
}


def parse_time_ns(text: str) -> int:
    """A time as ns since 1970, UTC: ISO 8601 with up to 9 decimals, or the ns themselves.

    UTC unless it names an offset; a date alone is its midnight.

    Raises:
        InvalidValueError: It is no time.
    """
    text = text.strip()
    if _NANOSECONDS.fullmatch(text):
        return _in_range(int(text), text)
    fraction = _FRACTION.search(text)
    whole = text if fraction is None else text[: fraction.start()] + text[fraction.end() :]
    try:
        time = dt.datetime.fromisoformat(whole)
    except ValueError as error:
        raise InvalidValueError(
            f"time {text!r}: expected ISO 8601, such as 2026-01-31, 2026-01-31T09:30:00 (UTC) "
            "or 2026-01-31T09:30:00.123456789+02:00"
        ) from error
    if time.tzinfo is None:
        time = time.replace(tzinfo=dt.UTC)
    since = time - _EPOCH
    nanoseconds = 0 if fraction is None else int(fraction[1].ljust(9, "0"))
    return _in_range((since.days * 86_400 + since.seconds) * NS_PER_S + nanoseconds, text)


def parse_duration_ns(text: str) -> int:
    """A duration in ns: a number with ns, us, ms, s, m, h, d or w, or several such parts, as 1h30m.

    Raises:
        InvalidValueError: It is no duration.
    """
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise InvalidValueError(
            f"duration {text!r}: expected a number and a unit, such as 250ms, 90s, 15m, 7d or 1h30m"
        )
    total = 0
    for number, unit in parts:
        whole, _, decimals = number.partition(".")
        total += int(whole) * _UNITS_NS[unit]
        total += int(decimals or 0) * _UNITS_NS[unit] // 10 ** len(decimals)
    return _in_range(total, text)


def format_time_ns(time_ns: int) -> str:
    """A time as `parse_time_ns` reads it: UTC, with as many decimals as it has, to the nanosecond."""
    seconds, nanoseconds = divmod(time_ns, NS_PER_S)
    text = (_EPOCH + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanoseconds:09}".rstrip("0").rstrip(".") + "Z" if nanoseconds else f"{text}Z"


def _in_range(time_ns: int, text: str) -> int:
    if not TIME_NS_MIN <= time_ns <= TIME_NS_MAX:
        raise InvalidValueError(f"{text!r}: expected a time between the years 1678 and 2262")
    return time_ns
