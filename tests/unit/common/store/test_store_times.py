import pytest

from common.errors import InvalidValueError
from common.store.times import format_time_ns, parse_duration_ns, parse_time_ns


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01", 0),
        ("2026-01-31", 1_769_817_600_000_000_000),
        ("2026-01-31T00:00:01", 1_769_817_601_000_000_000),
        ("2026-01-31 00:00:01.5", 1_769_817_601_500_000_000),
        ("2026-01-31T00:00:01.123456789Z", 1_769_817_601_123_456_789),
        ("2026-01-31T02:00:01,000000001+02:00", 1_769_817_601_000_000_001),
        ("1969-12-31T23:59:59.999999999", -1),
        ("1769817601123456789", 1_769_817_601_123_456_789),
    ],
)
def test_time_is_utc_unless_it_says_otherwise(text: str, expected: int) -> None:
    """To the nanosecond, and no local time zone sneaks in."""
    assert parse_time_ns(text) == expected


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "2026-01-31T25:00", "9999-01-01", "2026-01-31T00:00:01."]
)
def test_what_is_no_time_is_told_with_an_example(text: str) -> None:
    """Nobody has to look up the format."""
    with pytest.raises(InvalidValueError, match="expected"):
        parse_time_ns(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250ms", 250_000_000),
        ("90s", 90_000_000_000),
        ("15m", 900_000_000_000),
        ("1.5h", 5_400_000_000_000),
        ("1h30m", 5_400_000_000_000),
        ("7d", 604_800_000_000_000),
        ("0s", 0),
        ("3ns", 3),
    ],
)
def test_duration_is_a_number_with_its_unit(text: str, expected: int) -> None:
    """Alone or in parts."""
    assert parse_duration_ns(text) == expected


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "5 minutes", "5m?", "900000000d"])
def test_what_is_no_duration_is_told_with_an_example(text: str) -> None:
    """A number without a unit could mean anything."""
    with pytest.raises(InvalidValueError, match="expected"):
        parse_duration_ns(text)


@pytest.mark.parametrize("time_ns", [0, -1, 1_769_817_601_123_456_789, 1_769_817_601_500_000_000])
def test_time_that_is_shown_is_read_back(time_ns: int) -> None:
    """What a command prints can be typed into the next one."""
    assert parse_time_ns(format_time_ns(time_ns)) == time_ns
