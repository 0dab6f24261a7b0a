import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidValueError
from common.ids import (
    ID_PATTERN,
    SignalPlace,
    check_id,
    check_name,
    is_client_order_id,
    make_client_order_id,
    make_event_id,
    make_signal_id,
    parse_signal_id,
)


@pytest.mark.parametrize("value", ["a", "momentum-1700000000000-5", "A.b_c:d-9", "x" * 64])
def test_id_of_the_allowed_alphabet_is_given_back(value: str) -> None:
    """Whoever checks an id goes on with the same id."""
    assert check_id(value, "signal_id") == value


@pytest.mark.parametrize("value", ["", "x" * 65, "a b", "a/b", "a\n", "\n", "a\0", "é", "a'b", "../x"])
def test_id_that_is_unsafe_as_key_or_file_name_is_refused(value: str) -> None:
    """Ids become keys, log fields and parts of file names; a line feed at the end counts as well."""
    with pytest.raises(InvalidValueError, match="signal_id: expected 1 to 64"):
        check_id(value, "signal_id")


def test_refusal_of_a_huge_id_does_not_repeat_all_of_it() -> None:
    """A peer's megabyte must not fill our log."""
    with pytest.raises(InvalidValueError) as refusal:
        check_id("!" * 1_000_000, "signal_id")

    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("value", ["a", "momentum", "support_resistance", "m2", "x" * 32])
def test_lower_case_word_is_a_name(value: str) -> None:
    """Names of processes, strategies and exchanges."""
    assert check_name(value, "strategy name") == value


@pytest.mark.parametrize("value", ["", "Momentum", "2m", "_m", "a-b", "a.b", "x" * 33, "a\n", "a/b"])
def test_anything_else_is_no_name(value: str) -> None:
    """A dot would shift the parts of a topic, a slash would leave the run directory."""
    with pytest.raises(InvalidValueError, match="strategy name: expected a lower-case word"):
        check_name(value, "strategy name")


def test_signal_id_says_who_in_which_life_and_which_number() -> None:
    """It is never used again with another body, because an epoch is never used twice."""
    assert make_signal_id("momentum", 1_700_000_000_000, 5) == "momentum-1700000000000-5"


def test_client_order_id_is_the_same_for_ever() -> None:
    """After any crash, also of a newer version, a signal must find the order it already has."""
    assert make_client_order_id("momentum-1700000000000-5") == "tp-fad5e17166ce7b4ec5fa9efa6a34c1"


@given(st.from_regex(ID_PATTERN, fullmatch=True))
def test_client_order_id_of_any_signal_is_accepted_by_the_strictest_venue(signal_id: str) -> None:
    """Binance takes 36 characters of `.A-Z:/a-z0-9_-`; our own alphabet is narrower."""
    client_order_id = make_client_order_id(signal_id)

    assert re.fullmatch(r"tp-[0-9a-f]{30}", client_order_id)
    assert check_id(client_order_id, "client_order_id")


@given(st.sets(st.from_regex(ID_PATTERN, fullmatch=True), min_size=2, max_size=20))
def test_different_signals_have_different_orders(signal_ids: set[str]) -> None:
    """Two signals on one order id would be one order too few."""
    assert len({make_client_order_id(signal_id) for signal_id in signal_ids}) == len(signal_ids)


def test_event_id_names_a_place_in_a_stream() -> None:
    """Who, in which life, on which topic, as which number."""
    assert make_event_id("gateway", 17, "tick.simulated.BTC/USDT", 4) == "gateway:17:tick.simulated.BTC/USDT:4"


def test_places_of_signals_compare_as_numbers() -> None:
    """As text, number 10 would come before number 9."""
    ids = [make_signal_id("mine", epoch, number) for epoch, number in ((9, 900), (10, 9), (10, 10))]

    places = [parse_signal_id(signal_id, "mine") for signal_id in ids]

    assert places == [SignalPlace(9, 900), SignalPlace(10, 9), SignalPlace(10, 10)]
    assert places == sorted(places, key=lambda place: place or SignalPlace(0, 0))


@pytest.mark.parametrize(
    "signal_id",
    ["", "mine", "mine-7", "mine-7-", "mine--1", "mine-7-1-2", "mine-07-1", "mine-7-\u0661", "other-7-1", "x-mine-7-1"],
)
def test_id_that_is_not_of_our_making_has_no_place(signal_id: str) -> None:
    """Clients of other people make ids of their own."""
    assert parse_signal_id(signal_id, "mine") is None


@pytest.mark.parametrize(
    ("text", "is_ours"),
    [
        (make_client_order_id("momentum-1-1"), True),
        (make_client_order_id("momentum-1-1") + "0", False),
        (make_client_order_id("momentum-1-1").upper(), False),
        ("tp-1", False),
        ("somebody-elses", False),
        ("", False),
    ],
)
def test_client_order_id_of_ours_is_recognised(text: str, is_ours: bool) -> None:
    """Only what a journal of ours must have intended."""
    assert is_client_order_id(text) is is_ours
