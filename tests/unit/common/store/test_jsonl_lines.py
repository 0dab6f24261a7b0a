import pytest

from common.events.registry import MESSAGE_TYPES, type_name
from common.events.upcasting import RETIRED_TYPES
from common.store.jsonl.lines import recorded_ns_of, split_line

LINE = b'{"id":7,"recorded_ns":12,"type":"X","digest":"000102030405060708090a0b0c0d0e0f"}'


@pytest.mark.parametrize("message_type", [*MESSAGE_TYPES, *RETIRED_TYPES], ids=type_name)
def test_no_field_has_the_name_of_a_place_in_the_log(message_type: type) -> None:
    """They stand in one flat object."""
    assert not {"id", "recorded_ns", "digest", "ticks", "type", "sealed"} & set(message_type.__struct_fields__)


def test_line_is_taken_apart_without_parsing_it() -> None:
    """Id, what the digest was made from, digest."""
    parts = split_line(LINE)

    assert parts is not None
    assert (parts.id, parts.content, parts.digest) == (7, LINE[:-45], bytes(range(16)))
    assert recorded_ns_of(parts.content) == 12


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        LINE[:-1],
        LINE[1:],
        LINE + b" ",
        LINE.replace(b"0a0b", b"0A0b"),
        LINE.replace(b"0a0b", b"0x0b"),
        LINE.replace(b'"id":7', b'"id":a'),
        LINE.replace(b'"id"', b'"no"'),
        LINE.replace(b'"digest"', b'"digesT"'),
    ],
)
def test_what_is_no_line_of_ours_is_not_taken_apart(line: bytes) -> None:
    """One changed bit is enough."""
    assert split_line(line) is None
