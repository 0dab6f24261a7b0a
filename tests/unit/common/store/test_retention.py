from typing import Any

import pytest

from common.clock import NS_PER_DAY
from common.errors import InvalidValueError
from common.events.market import Tick, Ticks
from common.events.registry import type_name
from common.events.system import LOG_HOLES_MAX, LogHole, LogPruned
from common.events.trading import OrderFilled
from common.store.retention import Cut, Part, Policy, markers_of, parse_policy, parse_size, plan

TICK, FILL, MARKER = type_name(Tick), type_name(OrderFilled), type_name(LogPruned)
NOW_NS = 100 * NS_PER_DAY


def make_part(day: int, **changes: Any) -> Part:
    """A day's file: 90 ticks, 9 fills and a marker in 1,000 bytes."""
    fields: dict[str, Any] = {
        "name": f"day-{day}",
        "size_bytes": 1_000,
        "first_ns": day * NS_PER_DAY,
        "last_ns": (day + 1) * NS_PER_DAY - 1,
        "records_of_type": {TICK: 90, FILL: 9, MARKER: 1},
    }
    return Part(**{**fields, **changes})


def test_policy_that_lets_nothing_go_cuts_nothing() -> None:
    """Everything is kept until somebody says otherwise."""
    assert plan([make_part(1), make_part(2)], Policy(), NOW_NS) == []


def test_age_takes_market_data_and_leaves_orders_and_markers() -> None:
    """What an audit begins from has no age."""
    (cut,) = plan([make_part(1), make_part(98), make_part(99)], Policy(older_than_ns=10 * NS_PER_DAY), NOW_NS)

    assert cut == Cut(name="day-1", before_ns={TICK: 90 * NS_PER_DAY}, is_whole=False)
    assert cut.takes(TICK, NS_PER_DAY)
    assert not cut.takes(TICK, 90 * NS_PER_DAY)
    assert not cut.takes(FILL, NS_PER_DAY)


def test_part_of_which_nothing_stays_goes_whole() -> None:
    """A file is removed rather than written anew."""
    (cut,) = plan(
        [make_part(1, records_of_type={TICK: 5}), make_part(99)], Policy(older_than_ns=10 * NS_PER_DAY), NOW_NS
    )

    assert cut.is_whole


def test_type_has_an_age_of_its_own() -> None:
    """It is the only way to remove an order, and it spares a type from the general age."""
    policy = Policy(older_than_ns=10 * NS_PER_DAY, ages_ns={FILL: 50 * NS_PER_DAY, TICK: 95 * NS_PER_DAY})

    cuts = plan([make_part(1), make_part(40), make_part(60), make_part(99)], policy, NOW_NS)

    assert [(cut.name, sorted(cut.before_ns)) for cut in cuts] == [("day-1", sorted([TICK, FILL])), ("day-40", [FILL])]


def test_newest_part_is_never_cut() -> None:
    """A log keeps a point to go on from."""
    assert plan([make_part(1)], Policy(older_than_ns=1, size_bytes_max=1), NOW_NS) == []


def test_size_takes_the_oldest_until_it_fits() -> None:
    """By what goes of each part, not by the whole of it."""
    cuts = plan([make_part(day) for day in range(1, 11)], Policy(size_bytes_max=8_000), NOW_NS)

    assert [cut.name for cut in cuts] == ["day-1", "day-2", "day-3"]


def test_policy_is_read_as_people_type_it() -> None:
    """A kind of several types means all of them."""
    policy = parse_policy("30d", "10GB", ["tick=7d"])

    assert policy == Policy(
        older_than_ns=30 * NS_PER_DAY,
        size_bytes_max=10_000_000_000,
        ages_ns={TICK: 7 * NS_PER_DAY, type_name(Ticks): 7 * NS_PER_DAY},
    )


@pytest.mark.parametrize(
    ("text", "expected"), [("5", 5), ("5B", 5), ("2kB", 2_000), ("1 GiB", 1 << 30), ("3TB", 3 * 10**12)]
)
def test_size_is_a_number_with_its_unit(text: str, expected: int) -> None:
    """Powers of ten, or with an i of two."""
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1.5GB", "1 elephant", "10GBGB"])
def test_what_is_no_size_is_told(text: str) -> None:
    """With an example."""
    with pytest.raises(InvalidValueError, match="such as 10GB"):
        parse_size(text)


def test_many_holes_are_told_by_several_events() -> None:
    """Each fits into a frame, and no hole is told twice."""
    digest = "0" * 32
    holes = [
        LogHole(first_id=number, last_id=number, digest_before=digest, digest_after=digest)
        for number in range(1, LOG_HOLES_MAX + 2)
    ]

    first, second = markers_of(holes, {TICK: 3}, store_id="log", cause="retention", detail="why", now_ns=5)

    assert isinstance(first, LogPruned)
    assert isinstance(second, LogPruned)
    assert [*first.holes, *second.holes] == holes
    assert (first.records_of_type, second.records_of_type) == ({TICK: 3}, {})
    assert first.event_id() != second.event_id()


def test_part_at_a_time_is_the_oldest_of_which_something_goes() -> None:
    """Whoever has other work to do comes again for the next one."""
    parts = [make_part(1, records_of_type={FILL: 1}), make_part(2), make_part(3), make_part(99)]

    cuts = plan(parts, Policy(older_than_ns=10 * NS_PER_DAY, parts_max=1), NOW_NS)

    assert [cut.name for cut in cuts] == ["day-2"]
