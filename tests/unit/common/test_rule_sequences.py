"""Sequences beside a matcher that looks at everything again for each beginning."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rule_builders import at, letter, through_a_file, tick

from common.errors import InvalidValueError
from common.events.market import Tick, Trade
from common.rules import Finding, Rule, RuleEngine, found, rule, sequence
from common.rules.sequence import Sequence

WITHIN_S = 2.0
LATENESS_S = 1.0
# A letter and how far time moves on: mostly forward, sometimes back, within the lateness and beyond.
STREAMS = st.lists(
    st.tuples(st.sampled_from("ABCD"), st.sampled_from([0.0, 0.5, 1.0, 2.0, 2.5, -0.5, -1.0, -3.0])), max_size=25
)
Letters = list[tuple[str, float]]


def is_(name: str) -> Callable[[Trade, tuple[Trade, ...]], bool]:
    """Fits this letter."""
    return lambda event, _: event.trade_id == name


def spelling(pattern: Sequence, **options: Any) -> Rule:
    """A rule that tells the places of what was matched; a letter's quantity is its place in the stream."""

    @rule(on=pattern, name="spelled", lateness_s=LATENESS_S, **options)
    def spelled(matched: tuple[Trade, ...]) -> Finding:
        return found(matched[-1], "".join(str(event.trade_id) for event in matched), at=matched[0].seq)

    return spelled


def told(rules: RuleEngine, *letters: Trade) -> list[str]:
    """What the rules say of these events."""
    return [output.detail for event in letters for output in rules.feed(event) if isinstance(output, Finding)]


A_THEN_B = sequence(Trade, where=is_("A")).then(Trade, where=is_("B"), within_s=WITHIN_S)
A_THEN_B_NO_C = A_THEN_B.unless(Trade, where=is_("C"))
A_B_D_NO_C = A_THEN_B_NO_C.then(Trade, where=is_("D"), within_s=WITHIN_S)
A_WITHOUT_C = sequence(Trade, where=is_("A")).without(Trade, where=is_("C"), within_s=WITHIN_S)
A_B_WITHOUT_C = A_THEN_B.without(Trade, where=is_("C"), within_s=WITHIN_S)
PATTERNS = {
    "A then B": (A_THEN_B, [("B", "", False)]),
    "A then B, no C between": (A_THEN_B_NO_C, [("B", "C", False)]),
    "A then B then D, no C between A and B": (A_B_D_NO_C, [("B", "C", False), ("D", "", False)]),
    "A without C": (A_WITHOUT_C, [("C", "", True)]),
    "A then B without C": (A_B_WITHOUT_C, [("B", "", False), ("C", "", True)]),
}


def stream(steps: Letters) -> list[Trade]:
    """Letters with times and places."""
    events, seconds = [], 100.0
    for place, (name, step_s) in enumerate(steps):
        seconds += step_s
        events.append(letter(name, seconds))
        events[-1] = type(events[-1])(**{**_fields(events[-1]), "seq": place})
    return events


def _fields(event: Trade) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


def in_time(events: list[Trade]) -> list[Trade]:
    """Those that are not too late, from the definition."""
    kept, newest_ns = [], 0
    for event in events:
        if event.timestamp_ns >= newest_ns - at(LATENESS_S) + at(0):
            newest_ns = max(newest_ns, event.timestamp_ns)
            kept.append(event)
    return kept


def match_by_hand(events: list[Trade], steps: list[tuple[str, str, bool]]) -> list[tuple[int, str]]:
    """Each beginning with its end, found by going through all later events for each step, then each silence."""
    within_ns = at(WITHIN_S) - at(0)
    matches = []
    for begin, first in enumerate(events):
        if first.trade_id != "A":
            continue
        place, spelled = begin, "A"
        for wanted, unwanted, is_absent in steps:
            later = range(place + 1, len(events))
            near = [i for i in later if events[i].timestamp_ns - events[place].timestamp_ns <= within_ns]
            hit = next((i for i in near if events[i].trade_id == wanted), None)
            if is_absent:
                spelled = spelled if hit is None else ""
                break
            barred = next((i for i in later if events[i].trade_id == unwanted), len(events))
            if hit is None or barred < hit:
                spelled = ""
                break
            place, spelled = hit, spelled + wanted
        if spelled:
            matches.append((first.seq, spelled))
    return matches


@pytest.mark.parametrize("name", PATTERNS)
@given(steps=STREAMS)
@settings(max_examples=150)
def test_every_match_is_found_and_no_other(name: str, steps: Letters) -> None:
    """In any order of letters and times, with late events, over silences that only time ends."""
    pattern, by_hand = PATTERNS[name]
    rules = RuleEngine([spelling(pattern)])

    outputs = [output for event in stream(steps) for output in rules.feed(event)]
    outputs += rules.advance(at(10_000))

    found_matches = [(int(each.values["at"]), each.detail) for each in outputs if isinstance(each, Finding)]
    assert sorted(found_matches) == match_by_hand(in_time(stream(steps)), by_hand)
    assert len(found_matches) == len(outputs)


@pytest.mark.parametrize("name", PATTERNS)
@given(steps=STREAMS, cut=st.integers(0, 25))
def test_matches_that_were_under_way_at_a_restart_are_finished(name: str, steps: Letters, cut: int) -> None:
    """As if there had been none; the lateness of events after it is judged by the time before it."""
    make, events = lambda: RuleEngine([spelling(PATTERNS[name][0])]), stream(steps)
    whole, before = make(), make()

    expected = [output for event in events for output in whole.feed(event)]
    outputs = [output for event in events[:cut] for output in before.feed(event)]
    after = through_a_file(before, make())
    outputs += [output for event in events[cut:] for output in after.feed(event)]

    assert outputs == expected
    assert after.advance(at(10_000)) == whole.advance(at(10_000))
    assert after.save_state() == whole.save_state()


def test_what_must_not_come_in_between_ends_a_match_and_does_no_harm_elsewhere() -> None:
    """Before the first event and after the second it is welcome."""
    rules = RuleEngine([spelling(A_THEN_B_NO_C)])

    assert told(rules, letter("A", 0), letter("C", 0.5), letter("B", 1)) == []
    assert told(rules, letter("C", 1), letter("A", 1), letter("D", 1), letter("B", 2), letter("C", 2)) == ["AB"]
    assert told(rules, letter("A", 3), letter("C", 3), letter("A", 3), letter("B", 4)) == ["AB"]


def test_silence_is_told_by_the_next_event_or_by_time_and_only_once() -> None:
    """Once event time is past the limit and the lateness, whoever brings the news."""
    by_event, by_time = RuleEngine([spelling(A_WITHOUT_C)]), RuleEngine([spelling(A_WITHOUT_C)])

    assert told(by_event, letter("A", 0), letter("B", 3.0)) == []
    assert told(by_event, letter("B", 3.1), letter("B", 9)) == ["A"]
    assert told(by_time, letter("A", 0)) == []
    assert by_time.advance(at(3.0)) == []
    assert [output.detail for output in by_time.advance(at(3.1)) if isinstance(output, Finding)] == ["A"]
    assert by_time.advance(at(9)) == []


def test_late_event_that_is_not_too_late_still_breaks_the_silence() -> None:
    """It happened in time and only arrived late: that is what the lateness is for."""
    rules = RuleEngine([spelling(A_WITHOUT_C)])

    assert told(rules, letter("A", 0), letter("B", 2.8), letter("C", 1.9)) == []
    assert rules.advance(at(100)) == []
    assert rules.counters()["events_out_of_order"] == 1


def test_event_on_the_limit_is_within_it() -> None:
    """Within two seconds means two seconds too."""
    assert told(RuleEngine([spelling(A_THEN_B)]), letter("A", 0), letter("B", 2.0)) == ["AB"]
    assert told(RuleEngine([spelling(A_THEN_B)]), letter("A", 0), letter("B", 2.000001)) == []
    assert told(RuleEngine([spelling(A_WITHOUT_C)]), letter("A", 0), letter("C", 2.0), letter("B", 50)) == []
    assert told(RuleEngine([spelling(A_WITHOUT_C)]), letter("A", 0), letter("C", 2.000001), letter("B", 50)) == ["A"]


def test_each_symbol_has_matches_of_its_own() -> None:
    """The end of one is none of another."""
    rules = RuleEngine([spelling(A_THEN_B)])

    assert told(rules, letter("A", 0), letter("B", 1, "ETH/USDT"), letter("B", 1)) == ["AB"]


def test_key_may_be_any_field_and_any_function() -> None:
    """Here everything together, and by the first letter of the symbol."""
    together = RuleEngine([spelling(A_THEN_B, per="all")])
    by_letter = RuleEngine([spelling(A_THEN_B, per=lambda event: str(event.symbol[0]))])

    assert told(together, letter("A", 0), letter("B", 1, "ETH/USDT")) == ["AB"]
    assert told(by_letter, letter("A", 0), letter("B", 1, "ETH/USDT"), letter("B", 1, "BNB/USDT")) == ["AB"]


def test_later_step_may_compare_with_what_was_matched_before() -> None:
    """An event of the same price, of another type."""
    pattern = sequence(Trade).then(Tick, within_s=1, where=lambda event, matched: event.last == matched[0].price)

    @rule(on=pattern)
    def shown(matched: tuple[Trade, Tick]) -> Finding:
        return found(matched[1], f"{matched[0].price}")

    rules = RuleEngine([shown])

    rules.feed(letter("A", 0))
    assert rules.feed(tick(100, 0.1, last=99.0)) == []
    assert [output.detail for output in rules.feed(tick(100, 0.2, last=100.25)) if isinstance(output, Finding)] == [
        "100.25"
    ]


def test_matches_under_way_have_a_limit() -> None:
    """The oldest is given up, and counted: memory does not grow with what never ends."""
    pattern = sequence(Trade, where=is_("A"), matches_max=3).then(Trade, where=is_("B"), within_s=1_000)
    rules = RuleEngine([spelling(pattern)])

    assert told(rules, *(letter("A", number / 100) for number in range(500))) == []
    assert told(rules, letter("B", 6)) == ["AB"] * 3
    assert rules.counters()["matches_dropped"] == 497


def test_matches_that_can_not_be_finished_any_more_are_forgotten() -> None:
    """Also without an answer to any of them."""
    rules = RuleEngine([spelling(A_THEN_B)])

    told(rules, *(letter("A", number) for number in range(1_000)))

    [[_, [[_, _, _, _, matches]]]] = rules.save_state()["rules"].values()
    assert len(matches) <= WITHIN_S + LATENESS_S + 1


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (sequence, "one or more message types"),
        (lambda: sequence(int), "one or more message types"),
        (lambda: sequence(Trade, matches_max=0), "matches_max of 1 or more"),
        (lambda: sequence(Trade).then(Trade, within_s=0), "within_s above 0"),
        (lambda: sequence(Trade).then(Trade, within_s=float("nan")), "within_s above 0"),
        (lambda: sequence(Trade).unless(Trade), r"then\(...\) before unless"),
        (lambda: A_WITHOUT_C.unless(Trade), r"then\(...\) before unless"),
        (lambda: A_WITHOUT_C.then(Trade, within_s=1), r"without\(...\) as the last step"),
        (lambda: spelling(sequence(Trade)), "one or more steps"),
    ],
)
def test_pattern_that_can_not_be_is_refused(build: Any, expected: str) -> None:
    """Where it is written, not when the first event comes."""
    with pytest.raises(InvalidValueError, match=expected):
        build()


@pytest.mark.parametrize("matches", [None, [[]], [[b"garbage"]], [[b"\x80"]], ["text"]])
def test_saved_matches_that_are_damaged_are_refused(matches: object) -> None:
    """A state comes from a file. Nothing is changed by it."""
    rules = RuleEngine([spelling(A_THEN_B)])
    told(rules, letter("A", 0))
    state = rules.save_state()
    broken = {"rules": {"spelled": [state["rules"]["spelled"][0], [[["x", "y"], 0, 0, 0, matches]]]}}

    with pytest.raises(InvalidValueError, match="saved"):
        rules.load_state(broken)

    assert rules.save_state() == state
