"""`@rule` and the engine that rules are given to: who is called, with what, and what stands in the way."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engine_builders import make_acknowledgement, make_batch
from support.message_builders import make_heartbeat, make_ticks
from support.rule_builders import at, fill, letter, position, through_a_file, tick

from common.errors import InvalidValueError
from common.events.base import Message
from common.events.market import Tick, Ticks, Trade
from common.events.risk import Severity
from common.events.trading import OrderEvent, SignalAcknowledged
from common.rules import Finding, KeyState, Rule, RuleEngine, Window, found, last, last_seconds, rule, sequence
from common.rules.finding import Output
from common.rules.measures import mid_price, spread_bps
from common.rules.runner import LATE_IN_A_ROW_MAX


@rule(on=Tick, mid=last(3, of=mid_price))
def top(event: Tick, mid: Window) -> Finding | None:
    """Tells of each tick that is the highest of three."""
    return found(event, "top", mid=mid.last) if mid.is_full and mid.last == mid.max else None


class Counting(KeyState):
    """Tells the number of each event of its key."""

    def __init__(self) -> None:
        self.count = 0

    def take(self, event: Message, now_ns: int) -> Finding:
        self.count += 1
        return found(event, str(self.count))

    def save_state(self) -> int:
        return self.count

    def load_state(self, state: Any) -> None:
        self.count = state


def feed(rules: RuleEngine, events: Iterable[Message]) -> list[Output]:
    """Everything the rules say of these events."""
    return [output for event in events for output in rules.feed(event)]


def details(outputs: Iterable[Output]) -> list[str]:
    """What the findings among them say."""
    return [output.detail for output in outputs if isinstance(output, Finding)]


def raising(times: int, name: str = "raising") -> Rule:
    """A rule that fails so many times, and then tells of each tick."""
    left = [times]

    @rule(on=Tick, name=name)
    def broken(event: Tick) -> Finding:
        left[0] -= 1
        if left[0] >= 0:
            raise RuntimeError("no luck")
        return found(event, "well")

    return broken


# Who is called


def test_finding_says_which_rule_where_when_and_why() -> None:
    """Whoever turns it into an alert needs nothing else."""
    rules = RuleEngine([top])
    event = tick(103, 2)

    outputs = feed(rules, [tick(101, 0), tick(102, 1), event])

    assert outputs == [
        Finding(
            rule="top",
            severity=Severity.WARNING,
            exchange="simulated",
            symbol="BTC/USDT",
            timestamp_ns=at(2),
            detail="top",
            values={"mid": 103.0},
            cause_id=event.event_id(),
        )
    ]


def test_each_symbol_has_windows_of_its_own() -> None:
    """Ticks of two symbols by turns: neither fills the other's window."""
    rules = RuleEngine([top])

    outputs = feed(rules, [tick(100 + n, n, symbol=symbol) for n in range(3) for symbol in ("BTC/USDT", "ETH/USDT")])

    assert [(output.symbol, output.timestamp_ns) for output in outputs if isinstance(output, Finding)] == [
        ("BTC/USDT", at(2)),
        ("ETH/USDT", at(2)),
    ]


def test_windows_come_by_name_in_any_order() -> None:
    """The function's parameters say which is which."""

    @rule(on=Tick, mid=last(2, of=mid_price), spread=last(5, of=spread_bps))
    def seen(event: Tick, spread: Window, mid: Window) -> Finding:
        return found(event, "seen", mids=mid.sum, spread=spread.last)

    outputs = feed(RuleEngine([seen]), [tick(100, 0), tick(101, 1), tick(100, 2, spread=1)])

    assert isinstance(outputs[-1], Finding)
    assert outputs[-1].values == {"mids": 201.0, "spread": pytest.approx(100.0)}


def test_event_without_a_value_is_passed_over() -> None:
    """None, NaN and infinity are no prices; the window's last value is not told a second time."""
    given = iter([1.0, None, float("nan"), float("inf"), -float("inf"), 1e101, 2.0])

    @rule(on=Tick, price=last(5, of=lambda _: next(given)))
    def seen(event: Tick, price: Window) -> Finding:
        return found(event, f"{price.count}")

    rules = RuleEngine([seen])

    assert details(feed(rules, [tick(100, n) for n in range(7)])) == ["1", "2"]
    assert rules.counters()["events_without_value"] == 5


def test_window_without_a_value_still_loses_what_is_too_old() -> None:
    """Of two windows one gets no value for longer than it is: it must not show what is gone."""

    @rule(on=Tick, mid=last(1, of=mid_price), traded=last_seconds(5, of=lambda event: event.last))
    def seen(event: Tick, mid: Window, traded: Window) -> Finding:
        return found(event, f"{mid.count} {traded.count}")

    outputs = feed(RuleEngine([seen]), [tick(100, 0, last=100.0), tick(100, 4), tick(100, 6)])

    assert details(outputs) == ["1 1", "1 1", "1 0"]


def test_changes_and_steps_see_the_value_before() -> None:
    """Equal mids are no change; the first one is a change and no step."""

    @rule(on=Tick, moved=last(9, of=mid_price).changes(), step=last(9, of=mid_price).steps())
    def seen(event: Tick, moved: Window, step: Window) -> Finding:
        return found(event, f"{moved.count} {step.count} {step.last:g}")

    outputs = feed(RuleEngine([seen]), [tick(mid, n) for n, mid in enumerate([100, 100, 103, 103, 101])])

    assert details(outputs) == ["1 0 nan", "1 1 0", "2 2 3", "2 3 0", "3 4 -2"]


def test_rule_is_given_the_types_it_asks_for_and_their_kinds() -> None:
    """A base class stands for all of its kinds; what nobody asked for is counted as an event and nothing else."""

    @rule(on=(OrderEvent, Trade))
    def seen(event: Message) -> Finding:
        return found(event, type(event).__name__)

    rules = RuleEngine([seen])

    outputs = feed(rules, [fill(0), letter("A"), tick(100), position(0), make_acknowledgement("x-1-1")])

    assert details(outputs) == ["OrderFilled", "Trade"]
    assert rules.counters() == {"events": 5, "outputs": 2, "rules_disabled": 0, "states_unfit": 0}


def test_batch_of_ticks_is_as_good_as_its_ticks() -> None:
    """They travel together only because they waited together."""
    ticks = [tick(100 + number % 4, number / 10, seq=number + 1) for number in range(20)]

    one_by_one, together = feed(RuleEngine([top]), ticks), RuleEngine([top]).feed(make_batch(*ticks))

    assert together == one_by_one
    assert len(together) > 3


def test_batch_that_is_malformed_is_refused_whole() -> None:
    """No rule has seen a part of it."""
    rules = RuleEngine([top])

    with pytest.raises(ValueError, match="expected 3 records"):
        rules.feed(make_ticks(count=3, data=b"short"))

    assert rules.counters()["events"] == 0


def test_batch_itself_may_be_what_a_rule_is_on() -> None:
    """Where no rule wants ticks it is an event like any other."""

    @rule(on=Ticks)
    def seen(event: Ticks) -> Finding:
        return found(event, f"{event.count}")

    assert details(RuleEngine([seen]).feed(make_ticks(count=3))) == ["3"]


def test_rule_may_return_messages_and_several_things() -> None:
    """A message goes out as it is."""
    acknowledgement: SignalAcknowledged = make_acknowledgement("x-1-1")

    @rule(on=Tick)
    def many(event: Tick) -> list[Output]:
        return [acknowledgement, found(event, "one"), found(event, "two")]

    outputs = RuleEngine([many]).feed(tick(100))

    assert outputs[0] is acknowledgement
    assert details(outputs) == ["one", "two"]


def test_class_is_a_rule_with_a_state_for_each_key() -> None:
    """Here for each strategy, whatever the instrument."""
    counting = rule(on=OrderEvent, per="strategy")(Counting)
    rules = RuleEngine([counting])

    outputs = feed(rules, [fill(0, strategy=name, symbol=symbol) for name in "aba" for symbol in ("X/Y", "Y/Z")])

    assert details(outputs) == ["1", "2", "1", "2", "3", "4"]
    assert {output.rule for output in outputs if isinstance(output, Finding)} == {"Counting"}


def test_rule_is_silent_after_it_has_spoken_for_as_long_as_it_says() -> None:
    """Counted, for each key by itself; its windows go on."""
    rules = RuleEngine([rule(on=Tick, cooldown_s=2, name="counting")(Counting)])

    outputs = feed(rules, [tick(100, number / 2) for number in range(10)] + [tick(100, 4.6, symbol="ETH/USDT")])

    assert details(outputs) == ["1", "5", "9", "1"]
    assert rules.counters()["outputs_suppressed"] == 7


# Time that goes back


def test_event_within_the_lateness_counts_as_the_newest_and_an_older_one_is_passed_over() -> None:
    """Both are counted; nothing waits for stragglers."""

    @rule(on=Tick, lateness_s=1, mid=last_seconds(10, of=mid_price))
    def seen(event: Tick, mid: Window) -> Finding:
        return found(event, f"{mid.count} {mid.span_s:g}")

    rules = RuleEngine([seen])

    assert details(feed(rules, [tick(100, 0), tick(100, 5), tick(100, 4), tick(100, 3.9), tick(100, 6)])) == [
        "1 0",
        "2 5",
        "3 5",
        "4 6",
    ]
    assert (rules.counters()["events_out_of_order"], rules.counters()["events_late"]) == (1, 1)


def test_key_whose_clock_was_wrong_begins_anew() -> None:
    """One event of the next century, or a clock that was set back, must not silence a rule for ever."""
    rules = RuleEngine([rule(on=Tick, name="counting")(Counting)])

    outputs = feed(rules, [tick(100, 1e9), *(tick(100, number) for number in range(LATE_IN_A_ROW_MAX + 3))])

    assert details(outputs) == ["1", "1", "2", "3", "4"]
    assert rules.counters()["keys_begun_anew"] == 1


def test_few_late_events_do_not_begin_a_key_anew() -> None:
    """Only such that come one after another."""
    rules = RuleEngine([rule(on=Tick, name="counting")(Counting)])

    feed(rules, (tick(100, 0 if number % 2 else 1_000 + number) for number in range(4 * LATE_IN_A_ROW_MAX)))

    assert "keys_begun_anew" not in rules.counters()


# What fails


def test_rule_that_raises_is_counted_told_and_disabled_and_no_other_suffers() -> None:
    """Five failures within a minute; the rule beside it sees every event."""
    failures: list[tuple[str, str]] = []
    rules = RuleEngine(
        [raising(99), rule(on=Tick, name="counting")(Counting)],
        on_failure=lambda name, error: failures.append((name, str(error))),
    )

    outputs = feed(rules, [tick(100, number) for number in range(8)])

    assert details(outputs) == [str(number) for number in range(1, 9)]
    assert failures == [("raising", "no luck")] * 5
    assert rules.disabled == {"raising": "5 failures within 60 s; the last: RuntimeError: no luck"}
    assert rules.counters_by_rule()["raising"] == {"failures": 5, "events_skipped": 3}
    assert rules.counters()["rules_disabled"] == 1


def test_rule_that_fails_now_and_then_is_not_disabled() -> None:
    """Event time decides, so a replay decides alike."""
    rules = RuleEngine([raising(20)], failures_max=5, failure_window_s=60)

    outputs = feed(rules, [tick(100, 16 * number) for number in range(21)])

    assert (rules.disabled, details(outputs)) == ({}, ["well"])


@pytest.mark.parametrize("answer", [True, "mine-1-7", 3.5, [None], ["text"]])
def test_answer_that_is_no_output_is_a_failure_of_the_rule(answer: object) -> None:
    """Such as the id that `buy` returns: it must not be published."""
    failures: list[str] = []

    @rule(on=Tick)
    def wrong(_: Tick) -> Any:
        return answer

    rules = RuleEngine([wrong], on_failure=lambda _, error: failures.append(str(error)))

    assert rules.feed(tick(100)) == []
    assert failures[0].startswith("expected None, findings or messages from a rule, was ")


def test_key_that_is_no_text_is_a_failure_of_the_rule() -> None:
    """It could not be saved."""
    failures: list[str] = []
    numbered = rule(on=Tick, per=lambda event: event.seq)(Counting)  # type: ignore[arg-type, return-value]

    rules = RuleEngine([numbered], on_failure=lambda _, error: failures.append(str(error)))

    assert rules.feed(tick(100)) == []
    assert failures == ["per: expected a text or a tuple of texts as a key, was 1"]


def test_rule_that_raises_in_time_is_counted_like_any_other() -> None:
    """Silence is told by `advance`; the matches of other keys are told all the same."""

    @rule(on=sequence(Trade).without(Tick, within_s=1))
    def silence(matched: tuple[Trade]) -> Finding:
        if matched[0].symbol == "BTC/USDT":
            raise RuntimeError("no luck")
        return found(matched[0], matched[0].symbol)

    rules = RuleEngine([silence])
    feed(rules, [letter("A", 0, symbol) for symbol in ("ADA/USDT", "BTC/USDT", "ETH/USDT")])

    assert details(rules.advance(at(10))) == ["ADA/USDT", "ETH/USDT"]
    assert rules.counters()["failures"] == 1
    assert rules.advance(at(20)) == []


# Limits and restarts


def test_keys_have_a_limit_and_the_one_unseen_for_longest_goes() -> None:
    """An endless list of order ids must not fill the memory."""
    rules = RuleEngine([rule(on=Tick, name="counting")(Counting)], keys_max=3)

    feed(rules, [tick(100, 0, symbol="OLD/USDT")])
    outputs = feed(rules, (tick(100, n, symbol=name) for n in range(500) for name in ("OLD/USDT", f"X{n}/USDT")))

    assert len(rules.save_state()["rules"]["counting"][1]) == 3
    assert rules.counters()["keys_dropped"] == 498
    assert details(outputs)[-2:] == ["501", "1"]


@given(
    st.lists(
        st.tuples(st.integers(95, 105), st.sampled_from([0.0, 0.5, 3.0, -0.5, -5.0]), st.sampled_from("XYZ")),
        max_size=40,
    ),
    st.integers(0, 40),
)
def test_engine_goes_on_after_a_restart_as_if_there_had_been_none(
    steps: list[tuple[int, float, str]], cut: int
) -> None:
    """Windows, silence after speaking, lateness, own classes: and the same events give the same outputs twice."""

    @rule(on=Tick, cooldown_s=1, mid=last_seconds(4, of=mid_price, count_max=5), step=last(4, of=mid_price).steps())
    def wide(event: Tick, mid: Window, step: Window) -> Finding | None:
        return found(event, f"{step.rising} {mid.variance}") if mid.stddev > 1 else None

    def make() -> RuleEngine:
        return RuleEngine([wide, top, rule(on=Tick, name="counting")(Counting)], keys_max=2)

    seconds, events = 100.0, []
    for mid, step_s, symbol in steps:
        seconds += step_s
        events.append(tick(mid, seconds, symbol=symbol))
    whole, before = make(), make()
    expected = [whole.feed(event) for event in events]
    outputs = [before.feed(event) for event in events[:cut]]
    after = through_a_file(before, make())
    outputs += [after.feed(event) for event in events[cut:]]

    assert outputs == expected == [again for engine in [make()] for again in map(engine.feed, events)]
    assert after.save_state() == whole.save_state()


def test_state_of_a_rule_that_has_changed_is_not_used() -> None:
    """A window of another length would tell something else; the other rules go on."""

    def make(count: int, *others: Rule) -> RuleEngine:
        @rule(on=Tick, name="windowed", mid=last(count, of=mid_price))
        def windowed(event: Tick, mid: Window) -> Finding:
            return found(event, f"{mid.count}")

        return RuleEngine([windowed, *others])

    counting = rule(on=Tick, name="counting")(Counting)
    before = make(3, counting, top)
    feed(before, [tick(100, number) for number in range(3)])

    after = through_a_file(before, make(4, counting))

    assert details(after.feed(tick(100, 3))) == ["1", "4"]
    assert after.counters()["states_unfit"] == 2


@pytest.mark.parametrize(
    "state", [None, [], {"rules": []}, {"rules": {"top": ["mid=values:3:None", 7]}}, {"other": {}}]
)
def test_saved_state_that_is_damaged_is_refused_and_changes_nothing(state: object) -> None:
    """The rules go on from where they are."""
    rules = RuleEngine([top])
    feed(rules, [tick(100, 0), tick(101, 1)])

    with pytest.raises(InvalidValueError, match="saved rule"):
        rules.load_state(state)

    assert details(rules.feed(tick(102, 2))) == ["top"]


@pytest.mark.parametrize("windows", [7, [], [[1.0]], [["x", []]], [[1.0, []]]])
def test_saved_windows_that_are_damaged_are_refused(windows: object) -> None:
    """Each part is looked at."""
    state = {"rules": {"top": ["mid=values:3:None", [[["simulated", "BTC/USDT"], 0, 0, 0, windows]]]}}

    with pytest.raises(InvalidValueError, match="saved"):
        RuleEngine([top]).load_state(state)


# What cannot be


def two_windows(event: Tick, a: Window) -> None:
    """Has a window that the rule may not have."""


def alone() -> None:
    """Takes nothing."""


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: rule(on=Tick)(two_windows), r"expected parameters \(event\), was \(event, a\)"),
        (lambda: rule(on=Tick, b=last(1, of=mid_price))(two_windows), r"expected parameters \(event, b\), was"),
        (lambda: rule(on=Tick)(alone), r"was \(\)"),
        (lambda: rule(on=Tick, a=3)(two_windows), r"a: expected last\(...\) or last_seconds\(...\), was 3"),
        (lambda: rule(on=int), "expected message types or a sequence"),
        (lambda: rule(on=()), "expected message types or a sequence"),
        (lambda: rule(on=Tick, per="colour"), "it has no colour"),
        (lambda: rule(on=type(make_heartbeat())), "ChannelHeartbeat, it has no exchange, symbol"),
        (lambda: rule(on=Tick, cooldown_s=-1), "cooldown_s: expected 0 to 604800 seconds, was -1"),
        (lambda: rule(on=Tick, lateness_s=float("nan")), "lateness_s: expected 0"),
        (lambda: rule(on=Tick, a=last(1, of=mid_price))(Counting), "a function for windows and sequences"),
        (lambda: RuleEngine([top, top]), "a name of its own for each rule, was top twice"),
        (lambda: RuleEngine([two_windows]), "expected what @rule makes"),
        (lambda: RuleEngine(keys_max=0), "keys_max and failures_max of 1 or more"),
        (lambda: RuleEngine(failure_window_s=0), "failure_window_s above 0"),
    ],
)
def test_rule_that_can_not_be_is_refused(build: Any, expected: str) -> None:
    """Where it is written, with what was expected and what was there."""
    with pytest.raises(InvalidValueError, match=expected):
        build()


def test_class_without_take_says_so() -> None:
    """It is the one method that a rule cannot do without."""
    failures: list[str] = []
    rules = RuleEngine([rule(on=Tick)(KeyState)], on_failure=lambda _, error: failures.append(str(error)))

    rules.feed(tick(100))

    assert failures == ["KeyState: expected a method take(event, now_ns)"]
