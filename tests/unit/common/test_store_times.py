import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clock import NS_PER_S
from common.errors import InvalidValueError
from common.store.times import format_time_ns, parse_duration_ns, parse_time_ns

BEGIN_NS = 1_723_161_600 * NS_PER_S  # 2024-08-09


@pytest.mark.parametrize(
    ("text", "after_ns"),
    [
        ("2024-08-09", 0),
        ("2024-08-09T00:00:01", NS_PER_S),
        ("2024-08-09 00:00:01.5", NS_PER_S + NS_PER_S // 2),
        ("2024-08-09T00:00:00.000000001Z", 1),
        ("2024-08-09T02:00:00.123456789+02:00", 123_456_789),
    ],
)
def test_moment_is_read_to_the_nanosecond(text: str, after_ns: int) -> None:
    """ISO 8601; UTC where nothing else is said."""
    assert parse_time_ns(text) == BEGIN_NS + after_ns


@given(st.integers(-(2**60), 2**62))
def test_moment_that_is_written_is_read_as_it_was(time_ns: int) -> None:
    """Nothing is rounded."""
    assert parse_time_ns(format_time_ns(time_ns)) == time_ns


@pytest.mark.parametrize("text", ["", "noon", "2024-13-01", "9999-01-01", "2024-08-09T00:00:00.1234567890", "1e9"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    """With what was expected."""
    with pytest.raises(InvalidValueError, match="ISO 8601"):
        parse_time_ns(text)


@pytest.mark.parametrize(("text", "duration_ns"), [("250ms", 250_000_000), ("1.5h", 5_400 * NS_PER_S), ("7ns", 7)])
def test_duration_is_a_number_with_a_unit(text: str, duration_ns: int) -> None:
    """Exact."""
    assert parse_duration_ns(text) == duration_ns


@pytest.mark.parametrize("text", ["", "5", "-5s", "5 parsecs", "s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """With the units that there are."""
    with pytest.raises(InvalidValueError, match="expected a number with one of the units"):
        parse_duration_ns(text)
